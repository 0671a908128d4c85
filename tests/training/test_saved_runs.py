"""Some of the runs that were saved together go on without the others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.training.test_checkpoints import OPTIMIZERS, broken_off, run, same, start
from tnrank.training import Checkpoint, SavedRuns


@pytest.mark.few_on_jax
@pytest.mark.parametrize(
    "optimizer", ["rmsprop", *(pytest.param(o, marks=pytest.mark.slow) for o in ("momentum", "adam"))]
)
@pytest.mark.parametrize("every", [20, 1000])
def test_some_runs_go_on_without_the_others(backend_name, optimizer, every, tmp_path):
    """From the way and from the end; those at the end are what they were, the others up to rounding."""
    given = [start(backend_name, seed) for seed in range(3)]
    options = {"optimizer": OPTIMIZERS[optimizer], "stop": 0.05}
    whole = run(given, **options)
    folder = tmp_path / "all"
    if every == 20:
        broken_off(given, folder, at=30, **options)
    else:
        run(given, checkpoint=Checkpoint(folder, every=every, unit="steps"), **options)
    # JAX compiles a program for each number of runs, and steps of PyTorch take longer: one selection there.
    for chosen in ([2, 0], [1])[: 2 if backend_name == "numpy" else 1]:
        checkpoint = Checkpoint(tmp_path / f"{chosen}", every=20, unit="steps")
        steps = []
        found = run(
            [given[k] for k in chosen],
            checkpoint=checkpoint,
            resume=SavedRuns(folder, chosen),
            callback=lambda step, loss, seen=steps: seen.append(step),
            **options,
        )
        if every == 1000:
            assert not steps
        elif backend_name != "numpy":  # whose runs train one after the other, and had not all begun
            assert min(steps) > 30
        for k, one in zip(chosen, found, strict=True):
            assert (one.status, one.steps) == (whole[k].status, whole[k].steps)
            np.testing.assert_array_equal(one.history["loss"].steps, whole[k].history["loss"].steps)
            np.testing.assert_allclose(one.history["loss"].values, whole[k].history["loss"].values, rtol=1e-9)
            if every == 1000:
                same(one, whole[k])
        again = run([given[k] for k in chosen], checkpoint=checkpoint, resume=True, **options)
        for one, other in zip(again, found, strict=True):
            same(one, other)


def test_some_runs_of_others_are_refused(tmp_path):
    pytest.importorskip("torch")
    given = [start("torch", seed) for seed in range(3)]
    folder = tmp_path / "all"
    run(given, steps=20, checkpoint=Checkpoint(folder))
    with pytest.raises(ValueError, match="its initial weights are others"):
        run(given[:2], resume=SavedRuns(folder, [1, 2]))
    with pytest.raises(ValueError, match="has 3 runs, 0 to 2, and none 3: name others"):
        run(given[:2], resume=SavedRuns(folder, [1, 3]))
    run(given[0], steps=20, checkpoint=Checkpoint(tmp_path / "one"))
    with pytest.raises(ValueError, match="has a run that trained alone: name others, or resume="):
        run(given[:1], resume=SavedRuns(tmp_path / "one", [0]))
    with pytest.raises(ValueError, match="names 1 saved runs for a sequence of 2 factorizations"):
        run(given[:2], resume=SavedRuns(folder, [1]))
    with pytest.raises(ValueError, match="for one factorization: needed a sequence, a run for each"):
        run(given[1], resume=SavedRuns(folder, [1]))
    with pytest.raises(ValueError, match="each once"):
        SavedRuns(folder, [1, 1])
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        run(given[:1], resume=SavedRuns(tmp_path / "none", [0]))


def test_some_runs_of_torch_optim(tmp_path):
    torch = pytest.importorskip("torch")
    given = [start("torch", seed) for seed in range(3)]
    options = {"optimizer": partial(torch.optim.Adam, lr=0.02), "steps": 20}
    run(given, checkpoint=Checkpoint(tmp_path), **options)
    with pytest.raises(ValueError, match="keeps the state of all runs together: resume all of them"):
        run(given[:1], resume=SavedRuns(tmp_path, [0]), **options)
