"""A run that was interrupted and went on is the run that was not, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank.training import Checkpoint, Stop, recorders

SHAPE = (3, 2, 3, 2)
TARGET = np.random.default_rng(1).standard_normal(SHAPE)
INDICES = np.argwhere(np.random.default_rng(5).random(SHAPE) < 0.7)
VALUES = TARGET[tuple(INDICES.T)]
OPTIMIZERS = {
    "rmsprop": tnrank.GroupRMSProp(0.02),
    "momentum": tnrank.GradientDescent(0.02, momentum=0.9),
    "adam": tnrank.Adam(0.02),
}


def start(backend, seed=0, dtype="float64"):
    return tnrank.HierarchicalFactorization.random(SHAPE, width=3, std=0.5, seed=seed, backend=backend, dtype=dtype)


def record(every=7):
    return [
        recorders.Loss(every=1),
        recorders.LearningRate(every=every),
        recorders.ComponentNorms(top=2, every=every),
        recorders.Error(TARGET, at=[0, 50, 83]),
    ]


def run(x, steps=150, optimizer=OPTIMIZERS["rmsprop"], **options):
    options = {"record": record(), **options}
    return tnrank.complete(x, INDICES, VALUES, optimizer=optimizer, steps=steps, **options)


def same(a, b):
    """Nothing differs but the time."""
    assert (a.status, a.steps, a.loss, a.message) == (b.status, b.steps, b.loss, b.message)
    for name, array in a.factorization.arrays.items():
        backend = a.factorization.backend
        other = b.factorization.arrays[name]
        assert backend.dtype_of(array) == backend.dtype_of(other)
        np.testing.assert_array_equal(backend.to_numpy(array), backend.to_numpy(other))
    assert list(a.history) == list(b.history)
    for name, trace in a.history.items():
        np.testing.assert_array_equal(trace.steps, b.history[name].steps)
        if isinstance(trace.values, dict):
            assert list(trace.values) == list(b.history[name].values)
            for key, values in trace.values.items():
                np.testing.assert_array_equal(values, b.history[name].values[key])
                assert values.dtype == b.history[name].values[key].dtype
        else:
            np.testing.assert_array_equal(trace.values, b.history[name].values)
            assert trace.values.dtype == b.history[name].values.dtype


def interrupt(at):
    """A callback that presses Ctrl-C once some steps are done."""

    def callback(step, loss):
        if step >= at:
            raise KeyboardInterrupt

    return callback


def broken_off(x, folder, at=40, **options):
    """A run that Ctrl-C ended somewhere after ``at`` steps; its checkpoint."""
    checkpoint = Checkpoint(folder, every=20, unit="steps")
    result = run(x, checkpoint=checkpoint, callback=interrupt(at), **options)
    first = result[0] if isinstance(result, list) else result
    assert first.status == "interrupted"
    assert at <= first.steps < 150
    return checkpoint


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# the same run


@pytest.mark.few_on_jax("rmsprop")
@pytest.mark.parametrize("optimizer", ["rmsprop", pytest.param("momentum", marks=pytest.mark.slow), "adam"])
def test_resumed_is_uninterrupted(backend_name, optimizer, tmp_path):
    x = start(backend_name)
    options = {"optimizer": OPTIMIZERS[optimizer]}
    if optimizer == "rmsprop":
        options["record"] = [*record(), recorders.SingularValues(top=2, modes=((0, 2),), every=21)]
    whole = run(x, **options)
    checkpoint = broken_off(x, tmp_path / "c", **options)
    same(run(x, checkpoint=checkpoint, resume=True, **options), whole)
    assert names(tmp_path / "c")[-1] == "step-000000000150.safetensors"
    # Finished: nothing is left to do, and the result is there again.
    seen = []
    same(run(x, checkpoint=checkpoint, resume=True, callback=lambda *_: seen.append(1), **options), whole)
    assert not seen


@pytest.mark.parametrize(
    "optimizer", ["rmsprop", *(pytest.param(name, marks=pytest.mark.slow) for name in ("momentum", "adam"))]
)
def test_batches_of_runs(backend_name, optimizer, tmp_path):
    given = [start(backend_name, seed) for seed in range(2)]
    options = {"optimizer": OPTIMIZERS[optimizer], "stop": 0.05}
    whole = run(given, **options)
    checkpoint = broken_off(given, tmp_path, at=30, **options)
    for a, b in zip(run(given, checkpoint=checkpoint, resume=True, **options), whole, strict=True):
        same(a, b)


@pytest.mark.parametrize(
    ("kind", "several"),
    [
        ("torch.SGD", True),
        ("torch.Adam", False),
        ("optax.chain", False),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("torch.SGD", False), ("torch.Adam", True), ("optax.chain", True))
        ),
    ],
)
def test_optimizers_of_a_framework(kind, several, tmp_path):
    framework, name = kind.split(".")
    if framework == "torch":
        torch = pytest.importorskip("torch")
        more = {"momentum": 0.9} if name == "SGD" else {"amsgrad": True}
        optimizer, backend = partial(getattr(torch.optim, name), lr=0.02, **more), "torch"
    else:
        optax = pytest.importorskip("optax")
        backend = "jax"
        rate = optax.cosine_decay_schedule(0.03, 200)
        optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.inject_hyperparams(optax.adamw)(rate))
    x = [start(backend, seed) for seed in range(2)] if several else start(backend)
    whole = run(x, optimizer=optimizer)
    checkpoint = broken_off(x, tmp_path, optimizer=optimizer)
    resumed = run(x, optimizer=optimizer, checkpoint=checkpoint, resume=True)
    for a, b in zip(resumed, whole, strict=True) if several else [(resumed, whole)]:
        same(a, b)


def test_interrupted_within_a_chunk(tmp_path, monkeypatch):
    """An optimizer that changes its state in place has gone further than what is known of the run."""
    torch = pytest.importorskip("torch")
    from tnrank.training._run import Run

    optimizer = partial(torch.optim.Adam, lr=0.02)
    whole = run(start("torch"), optimizer=optimizer)
    genuine = Run._chunk

    def chunk(self, state, marks):
        done = genuine(self, state, marks)
        if marks[-1] > 60:
            raise KeyboardInterrupt
        return done

    for name, given in (("torch", optimizer), ("ours", tnrank.Adam(0.02))):
        checkpoint = Checkpoint(tmp_path / name)
        with monkeypatch.context() as patched:
            patched.setattr(Run, "_chunk", chunk)
            result = run(start("torch"), optimizer=given, checkpoint=checkpoint)
        assert result.status == "interrupted"
        assert all(trace.steps[-1] == result.steps <= 60 for trace in result.history.values())
        same(
            run(start("torch"), optimizer=given, checkpoint=checkpoint, resume=True),
            whole if name == "torch" else run(start("torch"), optimizer=given),
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lower_precision(backend_name, dtype, tmp_path):
    if dtype == "bfloat16" and backend_name == "numpy":
        pytest.skip("NumPy has no bfloat16")
    x = start(backend_name, dtype=dtype)
    options = {"optimizer": tnrank.Adam(0.02), "record": [recorders.Loss(every=5)]}
    whole = run(x, **options)
    checkpoint = broken_off(x, tmp_path, **options)
    same(run(x, checkpoint=checkpoint, resume=True, **options), whole)


def test_chunks_do_not_change_the_numbers(backend_name, tmp_path):
    x = start(backend_name)
    whole = run(x)
    for every in (5, 64):
        checkpoint = Checkpoint(tmp_path / str(every), every=every, unit="steps", keep=200)
        same(run(x, checkpoint=checkpoint), whole)
        assert len(names(tmp_path / str(every))) == 2 * (-(-150 // every))


@pytest.mark.few_on_jax("jax")
def test_a_run_that_stops_by_itself(backend_name, tmp_path):
    x = start(backend_name)
    stop = Stop(float(run(start("numpy")).history["loss"].values[90]), patience=2, every=3)
    whole = run(x, stop=stop)
    assert whole.status == "converged"
    assert whole.steps < 150
    checkpoint = broken_off(x, tmp_path, stop=stop)
    same(run(x, stop=stop, checkpoint=checkpoint, resume=True), whole)
    same(run(x, stop=stop, checkpoint=checkpoint, resume=True), whole)


def test_a_run_that_fails(backend_name, tmp_path):
    x = [start(backend_name), start(backend_name).map(lambda a: 0.01 * a)]
    options = {"optimizer": tnrank.GradientDescent(2.0), "steps": 40}
    whole = run(x, **options)
    assert whole[0].status == "nan"
    checkpoint = Checkpoint(tmp_path, every=1, unit="steps")
    for a, b in zip(run(x, checkpoint=checkpoint, **options), whole, strict=True):
        same(a, b)
    for a, b in zip(run(x, checkpoint=checkpoint, resume=True, **options), whole, strict=True):
        same(a, b)


def test_more_steps_than_before(backend_name, tmp_path):
    x = start(backend_name)
    checkpoint = Checkpoint(tmp_path)
    run(x, 100, checkpoint=checkpoint)
    same(run(x, 150, checkpoint=checkpoint, resume=True), run(x, 150))
    with pytest.raises(ValueError, match="is at step 150, beyond steps=120"):
        run(x, 120, checkpoint=checkpoint, resume=True)


def test_what_was_recorded_is_told_again(backend_name, tmp_path):
    def told(**options):
        seen = []
        run(start(backend_name), on_record=lambda *what: seen.append(what), **options)
        return seen

    checkpoint = broken_off(start(backend_name), tmp_path)
    whole, resumed = told(), told(checkpoint=checkpoint, resume=True)
    assert [what[:2] for what in resumed] == [what[:2] for what in whole]
    for a, b in zip(resumed, whole, strict=True):
        np.testing.assert_equal(a[2], b[2])


def test_resume_into_another_folder(backend_name, tmp_path):
    x = start(backend_name)
    broken_off(x, tmp_path / "a")
    before = {name: (tmp_path / "a" / name).read_bytes() for name in names(tmp_path / "a")}
    whole = run(x)
    same(run(x, resume=tmp_path / "a"), whole)
    same(run(x, resume=str(tmp_path / "a"), checkpoint=Checkpoint(tmp_path / "b" / "c")), whole)
    assert len(names(tmp_path / "b" / "c")) == 2
    assert {name: (tmp_path / "a" / name).read_bytes() for name in names(tmp_path / "a")} == before


def test_resume_where_there_is_nothing_yet(backend_name, tmp_path):
    """A script that is always run with resume=True begins, too."""
    for x in (start(backend_name), [start(backend_name), start(backend_name, 1)]):
        folder = tmp_path / type(x).__name__
        resumed, whole = run(x, checkpoint=Checkpoint(folder), resume=True), run(x)
        for a, b in zip(resumed, whole, strict=True) if isinstance(x, list) else [(resumed, whole)]:
            same(a, b)


# files


def test_old_ones_are_removed(tmp_path):
    run(start("numpy"), 100, checkpoint=Checkpoint(tmp_path, every=10, unit="steps", keep=2))
    assert names(tmp_path) == [f"step-{step:012d}.{kind}" for step in (90, 100) for kind in ("json", "safetensors")]
    (tmp_path / "step-000000000050.safetensors").write_bytes(b"left by a crash")
    (tmp_path / ".step-000000000050.json.0123456789ab.partial").write_text("left by a kill")
    mine = ["notes.txt", "step-notes.json", "step-1.json", "step-000000000050.json.bak", "step-a00000000050.json"]
    mine += ["step-000000000050.txt", "my-step-000000000050.json", ".step-notes.json.0123456789ab.partial"]
    mine += ["step-²²²²²²²²²²²².json", "run-notes"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    checkpoint = Checkpoint(tmp_path, every=10, unit="steps", keep=1)
    run(start("numpy"), 110, checkpoint=checkpoint, resume=True)
    assert names(tmp_path) == sorted([*mine, "step-000000000110.json", "step-000000000110.safetensors"])
    checkpoint.remove()
    assert names(tmp_path) == sorted(mine)


def test_no_checkpoint_is_left_of_several_runs(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c")
    run([start("numpy"), start("numpy", 1)], 5, checkpoint=checkpoint)
    assert names(tmp_path / "c") == ["run-0", "run-1"]
    checkpoint.remove()
    assert names(tmp_path) == []


def test_a_folder_has_one_run_at_a_time(tmp_path):
    x, checkpoint = start("numpy"), Checkpoint(tmp_path / "c")
    refused = []

    def other(step, loss):
        for given in (x, [x, x]):
            with pytest.raises(BlockingIOError, match=rf"c is in use by process {os.getpid()} on .* since 20\d\d-"):
                run(given, checkpoint=checkpoint, resume=True)
            refused.append(step)
        with pytest.raises(BlockingIOError, match="in use"):
            checkpoint.remove()
        return True

    run(x, checkpoint=checkpoint, callback=other)
    run([x, x], checkpoint=Checkpoint(tmp_path / "c2"), callback=lambda *_: True)
    assert len(refused) == 2
    assert len(names(tmp_path / "c")) == 2
    same(run(x, checkpoint=checkpoint, resume=True), run(x))


def test_a_pipe_in_the_place_of_a_checkpoint(tmp_path):
    x = start("numpy")
    checkpoint = broken_off(x, tmp_path, at=80)
    last = sorted(tmp_path.glob("*.safetensors"))[-1]
    last.unlink()
    os.mkfifo(last)
    os.mkfifo(tmp_path / "step-000000000999.json")
    with pytest.warns(RuntimeWarning) as caught:
        same(run(x, checkpoint=checkpoint, resume=True), run(x))
    texts = [str(one.message) for one in caught]
    assert [text.rpartition(": ")[2] for text in texts] == [
        f"{last.name} is no ordinary file",
        "it is a pipe that nobody reads from; training goes on",
    ]


def test_every_so_many_seconds(tmp_path, monkeypatch):
    import tnrank.training._checkpoint as module

    clock = iter(range(0, 10**6, 5))
    saved = []
    genuine = module.write_checkpoint
    monkeypatch.setattr(
        module, "write_checkpoint", lambda folder, step, *rest: (saved.append(step), genuine(folder, step, *rest))
    )
    monkeypatch.setattr(module.Keeper, "_now", lambda self: next(clock))
    run(start("numpy"), 1200, record=[], checkpoint=Checkpoint(tmp_path, every=10))
    assert saved[-1] == 1200
    assert saved == sorted(set(saved))
    assert len(saved) > 2


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


DAMAGES = {"flip": flip, "cut": cut, "empty": lambda path: path.write_bytes(b""), "remove": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_damaged_ones_are_skipped(damage, kind, tmp_path):
    x = start("numpy")
    whole = run(x)
    checkpoint = broken_off(x, tmp_path, at=80)
    last = sorted(tmp_path.glob(f"*.{kind}"))
    DAMAGES[damage](last[-1])
    if (damage, kind) == ("remove", "json"):  # as if the machine had stopped between the two files
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            same(run(x, checkpoint=checkpoint, resume=True), whole)
        return
    with pytest.warns(RuntimeWarning, match=rf"skipped the checkpoint .*{last[-1].stem}\.json") as caught:
        same(run(x, checkpoint=checkpoint, resume=True), whole)
    assert len(caught) == 1


def test_all_of_them_damaged(tmp_path):
    x = start("numpy")
    checkpoint = broken_off(x, tmp_path, at=80)
    for path in tmp_path.glob("*.safetensors"):
        flip(path)
    with (
        pytest.warns(RuntimeWarning, match="its arrays do not match their checksum"),
        pytest.raises(ValueError, match=r"none of the 3 checkpoints in .* is whole"),
    ):
        run(x, checkpoint=checkpoint, resume=True)


def test_a_full_disk_does_not_end_the_run(tmp_path, monkeypatch):
    import tnrank.training._checkpoint_folder as module

    x = start("numpy")
    whole = run(x)
    genuine = module.write_atomically

    def full(path, content):
        if "100" in path.name or "040.json" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        genuine(path, content)

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.warns(RuntimeWarning, match=r"could not be written to .*No space left on device; training") as caught:
        same(run(x, checkpoint=Checkpoint(tmp_path, every=20, unit="steps", keep=9)), whole)
    assert [path.stem[-3:] for path in sorted(tmp_path.glob("*.json"))] == ["020", "060", "080", "120", "140", "150"]
    assert [str(one.message).split(" could")[0] for one in caught] == [f"the checkpoint of step {k}" for k in (40, 100)]


# not the same run


def test_of_another_run(tmp_path):
    x = start("numpy")
    checkpoint = broken_off(x, tmp_path)
    resume = {"checkpoint": checkpoint, "resume": True}

    def refused(match, x=x, indices=INDICES, values=VALUES, **options):
        options = {"optimizer": OPTIMIZERS["rmsprop"], "steps": 150, "record": record(), **resume, **options}
        with pytest.raises(ValueError, match=rf"the checkpoint in .* is of another run: .*{match}"):
            tnrank.complete(x, indices, values, **options)

    refused(r"its optimizer is GroupRMSProp\(learning_rate=0\.02.*, here Adam", optimizer=tnrank.Adam())
    refused(r"its optimizer is .*0\.02.*, here GroupRMSProp\(learning_rate=0\.03", optimizer=tnrank.GroupRMSProp(0.03))
    refused(r"its loss is SquaredLoss\(reduction='mean'\), here HuberLoss", loss=tnrank.HuberLoss())
    refused("its stop rule is", stop=1e-3)
    refused("its data, or the batches they come in, are others", values=VALUES + 1e-12)
    refused("its data, or the batches they come in, are others", indices=INDICES[:-1], values=VALUES[:-1])
    refused("its initial weights are others", x=start("numpy", seed=1))
    refused("its dtype is float64, here float32", x=start("numpy", dtype="float32"))
    refused("its recorders is", record=[recorders.Loss()])
    refused(
        "what its recorders compare with is other", record=[*record()[:-1], recorders.Error(TARGET + 1, at=[0, 50, 83])]
    )
    wider = tnrank.HierarchicalFactorization.random(SHAPE, width=4, std=0.5, seed=0)
    refused("its shapes is", x=wider)
    refused("its factorization is htf, here cp|its factorization is", x=tnrank.CPFactorization.random(SHAPE, rank=3))
    if "torch" in tnrank.available_backends():
        refused("its backend is numpy, here torch", x=start("torch"))
        with pytest.raises((ValueError, FileNotFoundError)):
            run([start("torch")] * 2, resume=tmp_path)


def test_wrong_folders(tmp_path):
    x = start("numpy")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint: leave resume out"):
        run(x, resume=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        run([x, x], resume=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        run(x, resume=True)
    with pytest.raises(TypeError, match=r"checkpoint is tnrank\.training\.Checkpoint\(folder\), got 'here'"):
        run(x, checkpoint="here")
    broken_off(x, tmp_path / "used")
    with pytest.raises(FileExistsError, match=r"holds checkpoints of an earlier run, up to step .*resume=True goes on"):
        run(x, checkpoint=Checkpoint(tmp_path / "used"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write checkpoints into"):
        run(x, checkpoint=Checkpoint(tmp_path / "file" / "below"))


@pytest.mark.parametrize("options", [{"every": 0}, {"every": -1.0}, {"every": float("nan")}, {"keep": 0}])
def test_wrong_checkpoints(options):
    with pytest.raises(ValueError, match="needed every above 0"):
        Checkpoint("c", **options)


WRONG_TYPES = {
    "folder": [3, b"c", None],
    "every": ["1", True, None, np.ones(2), 1j],
    "keep": [1.0, True, None, "3"],
}


@pytest.mark.parametrize(("field", "value"), [(field, v) for field, values in WRONG_TYPES.items() for v in values])
def test_wrong_types(field, value):
    with pytest.raises(TypeError, match=rf"^{field} is .*, got "):
        Checkpoint(**{"folder": "c", field: value})


@pytest.mark.parametrize("resume", [1, b"c", 0.5, ["c"]])
def test_wrong_folders_to_resume(resume, tmp_path):
    with pytest.raises(TypeError, match=r"^resume is True or the folder of a checkpoint"):
        run(start("numpy"), checkpoint=Checkpoint(tmp_path), resume=resume)


def test_wrong_units():
    with pytest.raises(ValueError, match="unit='minutes': needed 'seconds' or 'steps'"):
        Checkpoint("c", unit="minutes")
    with pytest.raises(ValueError, match="steps: a whole number"):
        Checkpoint("c", every=1.5, unit="steps")


def test_an_optimizer_state_that_cannot_be_kept(tmp_path):
    torch = pytest.importorskip("torch")

    class Odd:
        """Something that no file can hold."""

    class Forgetful(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["odd"] = Odd()
            return super().step(closure)

    with pytest.raises(TypeError, match=r"this optimizer's state has a .*Odd: train without checkpoint="):
        run(start("torch"), optimizer=Forgetful, checkpoint=Checkpoint(tmp_path, every=10, unit="steps"))


def test_the_description_tells_what_it_is_of(tmp_path):
    broken_off(start("numpy"), tmp_path)
    content = json.loads(sorted(tmp_path.glob("*.json"))[-1].read_text())["content"]
    assert content["format"] == "tnrank checkpoint 3"
    assert content["identity"]["backend"] == "numpy"
    assert content["identity"]["optimizer"].startswith("GroupRMSProp(learning_rate=0.02")
