"""``tnrank.fill_missing``: what it takes, what it finds, what it says, and that the command finds the same."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.completion import Incomplete, Settings, filling
from tnrank.data import low_rank_tensor
from tnrank.experiments import run
from tnrank.experiments.recipes.completion import Completion
from tnrank.runs import Training
from tnrank.training import Checkpoint

QUICK: dict[str, Any] = {"steps": 40, "hold_out": 0, "backend": "numpy"}
TABLE = np.outer(np.arange(1.0, 6), np.arange(1.0, 5))
MASK = np.zeros(TABLE.shape, bool)
MASK[1, 2] = MASK[4, 0] = True


def holed(shape: tuple[int, ...], scale: float = 1.0, share: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """A tensor of rank 2, and which of its entries are to be hidden."""
    return scale * low_rank_tensor(shape, rank=2, seed=0), np.random.default_rng(1).random(shape) < share


# what is found


@pytest.mark.parametrize(
    ("shape", "options", "scale"),
    [
        ((20, 16), {"model": "mf", "learning_rate": 2e-3, "steps": 9000}, 1e6),
        ((12, 10, 8), {"model": "cp", "steps": 4000}, 1e-6),
        ((10, 9, 8), {"model": "htf", "rank": 12, "steps": 3500}, 1.0),
    ],
)
def test_what_is_of_low_rank_is_recovered_at_any_scale(
    shape: tuple[int, ...], options: dict[str, Any], scale: float
) -> None:
    tensor, missing = holed(shape, scale)
    filled = tnrank.fill_missing(tensor, missing, backend="numpy", **options)
    error = np.linalg.norm((filled.array - tensor)[missing]) / np.linalg.norm(tensor[missing])
    assert error < 0.02
    assert filled.is_better_than_mean
    assert filled.variance_explained > 0.99
    np.testing.assert_allclose(filled.factorization.to_dense()[missing], filled.array[missing], rtol=1e-6)


def test_the_errors_are_those_of_the_entries_that_were_held_out() -> None:
    tensor, missing = holed((12, 9), 7.0)
    filled = tnrank.fill_missing(tensor, missing, hold_out=0.3, steps=300, seed=5, backend="numpy", dtype="float64")
    # The split by hand: positions in the generator's order, first those that choose the step, then those that measure.
    order = np.random.default_rng(5).permutation(np.argwhere(~missing))
    count = round(0.3 * len(order))
    test, train = order[count // 2 : count], order[count:]
    dense = filled.factorization.to_dense()

    def rms(x: np.ndarray) -> float:
        return float(np.sqrt(np.mean(x**2)))

    mean = tensor[tuple(train.T)].mean()
    assert filled.held_out == len(test)
    assert filled.held_out_error == pytest.approx(rms(dense[tuple(test.T)] - tensor[tuple(test.T)]))
    assert filled.mean_predictor_error == pytest.approx(rms(tensor[tuple(test.T)] - mean))
    assert filled.observed_error == pytest.approx(rms(dense[tuple(train.T)] - tensor[tuple(train.T)]))
    assert filled.training_loss == pytest.approx(filled.observed_error**2)
    share = 1 - (filled.held_out_error / filled.mean_predictor_error) ** 2
    assert filled.variance_explained == pytest.approx(share)
    # The history is of the array itself, and the refit ends where it has its lowest validation error.
    traces = filled.history
    assert traces["validation_error"].steps[np.argmin(traces["validation_error"].values)] == filled.steps
    at = traces["held_out_error"].steps.tolist().index(filled.steps)
    assert traces["held_out_error"].values[at] == pytest.approx(filled.held_out_error)
    assert traces["loss"].values[at] == pytest.approx(filled.training_loss)


def test_centering_gives_the_mean_back() -> None:
    tensor, missing = holed((16, 12))
    filled = tnrank.fill_missing(tensor + 100, missing, backend="numpy", steps=1500, center=True)
    assert filled.offset == pytest.approx(100, abs=1)
    assert np.sqrt(np.mean((filled.array - tensor - 100)[missing] ** 2)) < 0.3
    assert "is added to the factorization" in str(filled)


# the command


@pytest.mark.parametrize("options", [{"hold_out": 0.2, "center": True}, {"hold_out": 0.0, "model": "cp", "rank": 3}])
def test_the_command_finds_the_same(tmp_path: Path, backend_name: str, options: dict[str, Any]) -> None:
    if backend_name == "jax" and options["hold_out"]:
        pytest.skip("takes long to compile, and goes the same way")
    tensor, missing = holed((9, 8), 30.0)
    np.save(tmp_path / "t.npy", np.where(missing, np.nan, tensor))
    settings: dict[str, Any] = {"backend": backend_name, "steps": 150, "seed": 3, **options}
    done = run(Completion(source=str(tmp_path / "t.npy"), **settings), out=tmp_path / "runs")
    filled = tnrank.fill_missing(np.load(tmp_path / "t.npy"), **settings)
    assert (filled.array == np.load(done.folder / "completed.npy")).all()
    saved = tnrank.load(done.folder / "factorization.safetensors")
    for name, array in saved.arrays.items():
        assert (np.asarray(array) == np.asarray(filled.factorization.arrays[name])).all()
    facts = done.outcome.summary
    for name in ("held_out_error", "mean_predictor_error", "observed_error", "steps", "stopped", "training_loss"):
        assert facts.get(name) == getattr(filled, name)


# what is taken


@pytest.mark.parametrize(
    ("array", "mask"),
    [
        (np.where(MASK, np.nan, TABLE), None),
        (np.where(MASK, np.nan, TABLE).tolist(), None),
        (np.where(MASK, None, TABLE).tolist(), None),
        (np.ma.array(np.where(MASK, -999, TABLE), mask=MASK), None),
        (np.ma.array(np.where(MASK, np.nan, TABLE)), None),
        (TABLE, MASK),
        (TABLE.astype(int), MASK.astype("uint8")),
        (TABLE.tolist(), MASK.tolist()),
        (np.where(MASK, np.inf, TABLE), np.ma.array(MASK)),
        (np.asfortranarray(TABLE).astype(">f8"), MASK),
    ],
    ids=["nan", "lists", "None", "masked", "masked nothing", "mask", "integers", "lists and mask", "inf", "foreign"],
)
def test_every_way_to_say_what_is_missing(array: Any, mask: Any) -> None:
    filled = tnrank.fill_missing(array, mask, **QUICK)
    expected = tnrank.fill_missing(np.where(MASK, np.nan, TABLE), **QUICK)
    assert type(filled.array) is np.ndarray
    assert filled.array.dtype == np.float64
    assert (filled.array == expected.array).all()
    assert (filled.array[~MASK] == TABLE[~MASK]).all()
    assert filled.missing == 2
    assert filled.observed == 18


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
def test_the_array_stays_what_it_was(backend_name: str, dtype: str) -> None:
    if backend_name == "numpy":
        if dtype == "bfloat16":
            pytest.skip("NumPy has no bfloat16")
        given: Any = TABLE.astype(dtype)
    else:
        backend = tnrank.get_backend(backend_name)
        given = {"jax": lambda: backend.xp.asarray(TABLE).astype(dtype)}.get(
            backend_name, lambda: backend.xp.asarray(TABLE).to(getattr(__import__("torch"), dtype))
        )()
    filled = tnrank.fill_missing(given, MASK, **QUICK)
    assert type(filled.array) is type(given)
    assert str(filled.array.dtype).removeprefix("torch.") == (dtype if "float" in dtype else "float64")
    assert bool((filled.array == given)[~MASK].all())
    assert filled.factorization.backend.name == "numpy"


def test_the_backend_follows_from_the_array() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.tensor(TABLE, requires_grad=True)
    filled = tnrank.fill_missing(weights, torch.tensor(MASK), steps=20, hold_out=0, dtype="float64")
    assert filled.factorization.backend.name == "torch"
    assert filled.factorization.dtype == "float64"
    assert isinstance(filled.array, torch.Tensor)
    assert not filled.array.requires_grad


def test_what_was_given_is_left_alone() -> None:
    array = np.where(MASK, np.nan, TABLE)
    before = array.copy()
    assert tnrank.fill_missing(array, **QUICK).array is not array
    np.testing.assert_array_equal(array, before)


def test_what_makes_an_array_is_taken() -> None:
    class Frame:
        shape = TABLE.shape

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.where(MASK, np.nan, TABLE)

    assert type(tnrank.fill_missing(Frame(), **QUICK).array) is np.ndarray


def test_float64_on_jax_without_its_flag() -> None:
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        given = jax.numpy.asarray(TABLE.astype("int32"))
        filled = tnrank.fill_missing(given, MASK, **QUICK)
        assert str(filled.array.dtype) == "float32"
        filled = tnrank.fill_missing(TABLE, MASK, steps=5, hold_out=0, backend="jax", dtype="float64")
        assert filled.factorization.dtype == "float64"
        assert not jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", before)


# what is said


def test_it_prints_itself() -> None:
    tensor, missing = holed((12, 9), 7.0)
    filled = tnrank.fill_missing(tensor, missing, hold_out=0.3, steps=600, backend="numpy")
    text = str(filled)
    assert repr(filled) == text
    assert text.startswith(f"{missing.sum()} of 108 entries of a 12 x 9 array filled in\n")
    assert "completed  mean predictor\n" in text
    assert f"{filled.held_out_error:.4g}" in text
    assert f"{filled.mean_predictor_error:.4g}" in text
    assert "the validation error was lowest at step" in text
    assert "not better" not in text


def test_it_says_if_the_mean_is_as_good() -> None:
    noise = np.random.default_rng(0).standard_normal((12, 10)) + 5
    filled = tnrank.fill_missing(noise, noise > 6.5, hold_out=0.3, steps=1, backend="numpy")
    assert filled.is_better_than_mean is False
    assert "not better than the mean" in str(filled)


def test_nothing_held_out() -> None:
    filled = tnrank.fill_missing(TABLE, MASK, **QUICK)
    assert filled.held_out == 0
    assert filled.held_out_error is filled.mean_predictor_error is filled.variance_explained is None
    assert filled.is_better_than_mean is None
    assert list(filled.history) == ["loss"]
    assert "is not known" in str(filled)


def test_slices_that_nothing_is_learned_of() -> None:
    tensor, missing = holed((7, 6, 5), share=0.1)
    missing[3] = missing[:, :, [0, 4]] = True
    with pytest.warns(UserWarning, match="nothing is observed in slice 3 of mode 0 and slices 0, 4 of mode 2") as told:
        filled = tnrank.fill_missing(tensor, missing, **{**QUICK, "hold_out": 0.1})
    assert len(told) == 1
    assert {mode: found.tolist() for mode, found in filled.unobserved.items()} == {0: [3], 2: [0, 4]}
    blind = np.zeros(missing.shape, bool)
    blind[3] = blind[:, :, [0, 4]] = True
    assert filled.unlearned == (missing & blind).sum()
    assert f"{filled.unlearned} of the missing entries lie there: their values are not learned" in str(filled)


def test_slices_that_are_held_out_wholly() -> None:
    missing = np.zeros((40, 3), bool)
    missing[:, 1:] = np.arange(40)[:, None] % 4 > 0  # most rows have one observed entry
    array = np.outer(np.arange(1.0, 41), [1.0, 2.0, 3.0])
    with pytest.warns(UserWarning, match=r"all that is observed in rows .* is held out: hold_out=0, or another seed"):
        filled = tnrank.fill_missing(array, missing, steps=3, hold_out=0.2, backend="numpy")
    assert not filled.unobserved
    assert filled.unlearned == 2 * len(filled.held_out_wholly[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tnrank.fill_missing(array, missing, **QUICK).unlearned == 0


def test_a_full_slice_without_missing_entries_is_no_warning() -> None:
    # Row 0 has one entry alone: nothing in it is missing, whether it is trained on or not.
    array = np.arange(1.0, 13).reshape(12, 1) * np.ones((1, 1))
    array = np.hstack([array, 2 * array])
    array[3, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled = tnrank.fill_missing(array, **QUICK)
    assert filled.unlearned == 0


# what is refused

NAN = np.where(MASK, np.nan, TABLE)


@pytest.mark.parametrize(
    ("array", "mask", "options", "kind", "said"),
    [
        (NAN + 1j, None, {}, TypeError, "array.real and array.imag"),
        (NAN[0], None, {}, ValueError, r"shape \(4,\): needed a matrix or a tensor"),
        (np.zeros((0, 3)), None, {}, ValueError, "no entries"),
        (TABLE, None, {}, ValueError, "give mask=, true where one is"),
        (TABLE, MASK & False, {}, ValueError, "mask marks no entry"),
        (TABLE, MASK | True, {}, ValueError, "all 20 entries of the array are missing"),
        (NAN * np.nan, None, {}, ValueError, "all 20 entries"),
        (np.where(TABLE == 20, np.inf, NAN), None, {}, ValueError, r"inf at index \(4, 3\), .* write NaN there"),
        (NAN, ~MASK, {}, ValueError, r"nan at index \(1, 2\), .* mask=~mask"),
        (NAN, np.roll(MASK, 1), {}, ValueError, r"nan at index \(1, 2\), .*isfinite\(array\)$"),
        (TABLE, MASK.astype(float), {}, TypeError, r"got dtype float64: mask.astype\(bool\)"),
        (TABLE, 2 * MASK.astype(int), {}, ValueError, r"2 at index \(1, 2\): mask != 0"),
        (TABLE, MASK[0], {}, ValueError, r"shape \(4,\), needed \(5, 4\).*broadcast_to"),
        (np.ma.array(TABLE, mask=MASK), MASK, {}, ValueError, "leave mask out"),
        (0 * NAN, None, {}, ValueError, "all observed entries are 0"),
        (0 * NAN + 0.1, None, {"center": True}, ValueError, "all observed entries are equal.* center=False"),
        (NAN * 1e40, None, {}, ValueError, "dtype='float64'"),
        (NAN * 1e-40, None, {}, ValueError, "dtype='float64'"),
        (NAN * 1e200, None, {"dtype": "float64"}, ValueError, r"array / 2e\+201"),
        ("x.npy", None, {}, TypeError, r"tnrank\.data\.read_array\(path\)"),
        ([["1", "2"], ["3", ""]], None, {}, TypeError, r"array.astype\(float\)"),
        ([[1, 2], [3]], None, {}, ValueError, "makes no array"),
        (np.array([[1, None], [{}, 2]], dtype=object), None, {}, TypeError, "na_value=numpy.nan"),
        (NAN, None, {"hold_out": 0.05}, ValueError, "0 holds none out"),
        (NAN, None, {"hold_out": 1}, ValueError, r"a share of the observed entries in \[0, 1\)"),
        (NAN, None, {"model": "hft"}, ValueError, "did you mean 'htf'"),
        (np.stack([NAN, NAN]), None, {"model": "mf"}, ValueError, "model='cp' or model='htf'"),
        (NAN, None, {"tree": (0, 1)}, ValueError, "belongs to the model htf"),
        (NAN, None, {"model": "htf", "tree": (0, (1, 2))}, ValueError, "the tree has 3 modes"),
        (NAN, None, {"rank": 0}, ValueError, "rank is a whole number from 1"),
        (NAN, None, {"std": 0}, ValueError, "std is a finite number above 0"),
        (NAN, None, {"dtype": "float16"}, ValueError, "float32 or float64, got"),
        (NAN, None, {"progress": "yes"}, TypeError, "progress is True, False or a function"),
        (NAN, None, {"checkpoint": 3}, TypeError, "checkpoint is a folder"),
        (NAN, None, {"center": "no"}, TypeError, "center is True or False"),
        (NAN, None, {"steps": 1.5}, TypeError, "steps is a whole number"),
    ],
)
def test_what_cannot_be_filled_in_is_one_sentence(
    array: Any, mask: Any, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as told:
        tnrank.fill_missing(array, mask, **{**QUICK, **options})
    assert "\n" not in str(told.value)


def test_sparse_arrays_are_refused_with_the_call_that_makes_them_dense() -> None:
    import scipy.sparse

    with pytest.raises(TypeError, match=r"x\.toarray\(\)"):
        tnrank.fill_missing(scipy.sparse.eye_array(3), **QUICK)


# interruption


def fill(tmp_path: Path | None, progress: Any = False) -> tnrank.Filled:
    tensor, missing = holed((12, 10), 3.0)
    checkpoint = None if tmp_path is None else Checkpoint(tmp_path / "kept", every=50, unit="steps")
    return tnrank.fill_missing(
        tensor, missing, hold_out=0.2, steps=700, backend="numpy", checkpoint=checkpoint, progress=progress
    )


def same(a: tnrank.Filled, b: tnrank.Filled) -> bool:
    plain = ("array", "factorization", "history", "seconds", "unobserved", "held_out_wholly")
    equal = all(getattr(a, f.name) == getattr(b, f.name) for f in dataclasses.fields(a) if f.name not in plain)
    arrays = zip(a.factorization.arrays.values(), b.factorization.arrays.values(), strict=True)
    return equal and (a.array == b.array).all() and all((x == y).all() for x, y in arrays)


@pytest.mark.parametrize("phase", ["fit", "refit"])
def test_an_interrupted_call_goes_on_when_it_is_made_again(tmp_path: Path, phase: str) -> None:
    lines: list[str] = []

    def press(line: str) -> None:
        lines.append(line)
        if line.startswith(f"{phase}: step ") and int(line.split()[2].replace(",", "")) > 100:
            raise KeyboardInterrupt

    straight = fill(None)
    assert straight.steps < 700
    stopped = fill(tmp_path, press)
    assert stopped.status == "interrupted"
    assert "interrupted by the keyboard" in str(stopped)
    assert np.isfinite(stopped.array).all()
    assert (stopped.steps < straight.steps) == (phase == "fit")
    count = len(lines)
    resumed = fill(tmp_path, lines.append)
    assert same(resumed, straight)
    firsts = [line for line in lines[count:] if line.startswith(f"{phase}: ")]
    assert int(firsts[0].split()[2].replace(",", "")) > 100
    for name, trace in straight.history.items():
        assert (resumed.history[name].values == trace.values).all()
    # Made once more, it has nothing to do; of another call, it is refused.
    assert same(fill(tmp_path), straight)
    with pytest.raises(ValueError, match="is of another run"):
        tnrank.fill_missing(TABLE, MASK, checkpoint=tmp_path / "kept", **QUICK)
    Checkpoint(tmp_path / "kept").remove()
    assert not (tmp_path / "kept").exists()


def test_ctrl_c_without_a_checkpoint_gives_what_there_is() -> None:
    def press(line: str) -> None:
        raise KeyboardInterrupt

    filled = fill(None, press)
    assert filled.status == "interrupted"
    assert filled.factorization.shape == (12, 10)


# the parts


def test_the_generator_is_driven_by_whoever_trains() -> None:
    work = filling(Incomplete.of(TABLE, MASK), Settings(hold_out=0, steps=7))
    asked = next(work)
    assert isinstance(asked, Training)
    assert asked.models == ["fit"]
    result = tnrank.complete(asked.starts, asked.indices, asked.values, record=asked.record, **asked.options)
    with pytest.raises(StopIteration) as end:
        work.send(result)
    assert end.value.value.steps == 7
