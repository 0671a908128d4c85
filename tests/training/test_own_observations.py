"""Several runs in one call, each with observations and recorders of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.training import recorders
from tnrank.training.recorders import Recorder

_SHAPES = {"dense": (4, 5, 3), "rows": (40, 50, 60), "sensing": (4, 5, 3)}


def _problem(way: str, backend: str) -> Any:
    rng = np.random.default_rng(0)
    shape = _SHAPES[way]
    xs = [
        tnrank.CPFactorization.random(shape, rank=3, std=0.5, seed=s, backend=backend, dtype="float64")
        for s in range(3)
    ]
    counts = [10, 20, 15] if way == "dense" else [12] * 3
    indices: list[Any]
    if way == "sensing":
        indices = [tnrank.RankOneMeasurements([rng.standard_normal((12, d)) for d in shape]) for _ in xs]
    else:
        size = int(np.prod(shape))
        indices = [np.stack(np.unravel_index(rng.permutation(size)[:c], shape), axis=1) for c in counts]
    return xs, indices, [rng.standard_normal(c) for c in counts], [rng.standard_normal(shape) for _ in xs]


@pytest.mark.few_on_jax("dense")
@pytest.mark.parametrize("way", _SHAPES)
def test_each_run_is_what_it_is_alone(way: str, backend_name: str) -> None:
    xs, indices, values, targets = _problem(way, backend_name)
    record = [[recorders.Loss(5), recorders.Error(t, every=5)] for t in targets]
    together = tnrank.complete(xs, indices, values, record=record, steps=20)
    losses = [result.loss for result in together]
    assert len(set(losses)) == 3
    for k, result in enumerate(together):
        alone = tnrank.complete(xs[k], indices[k], values[k], record=record[k], steps=20)
        for name in ("loss", "error"):
            np.testing.assert_allclose(result.history[name].values, alone.history[name].values, rtol=1e-12)


def test_a_checkpoint_knows_the_observations(tmp_path: Any, backend_name: str) -> None:
    xs, indices, values, targets = _problem("dense", backend_name)
    keep = tnrank.training.Checkpoint(tmp_path, every=5, unit="steps")
    record = [[recorders.Error(t, every=5)] for t in targets]
    tnrank.complete(xs, indices, values, record=record, steps=10, checkpoint=keep)
    resumed = tnrank.complete(xs, indices, values, record=record, steps=20, checkpoint=keep, resume=True)
    straight = tnrank.complete(xs, indices, values, record=record, steps=20)
    for a, b in zip(resumed, straight, strict=True):
        np.testing.assert_array_equal(a.history["error"].values, b.history["error"].values)
    with pytest.raises(ValueError, match="another run: its data, or the batches they come in, are others"):
        tnrank.complete(xs, indices, [v + 1 for v in values], record=record, checkpoint=keep, resume=True)


class _Facts(Recorder):
    """Effective time, rate, and the gradient with respect to the end tensor."""

    name = "facts"

    def measure(self, x: Any, facts: dict[str, Any], data: Any) -> Any:
        found = facts["end_gradient"]()
        gradient = found[1] if isinstance(found, tuple) else found
        return {"time": facts["time"], "rate": facts["rate"], "gradient": gradient}


@pytest.mark.parametrize("several", [False, True])
def test_time_and_gradient_of_the_end_tensor(several: bool, backend_name: str) -> None:
    xs, indices, values, _ = _problem("dense", backend_name)
    given: Any = (xs, indices, values) if several else (xs[0], indices[0], values[0])
    results = tnrank.complete(*given, record=[_Facts(1), recorders.Loss(1)], steps=12)
    for k, result in enumerate(results if several else [results]):
        facts = result.history["facts"].values
        np.testing.assert_allclose(facts["time"], np.cumsum(facts["rate"]), rtol=1e-12)
        end = result.factorization.backend.to_numpy(result.factorization.to_dense())
        expected = np.zeros(end.shape)
        at = tuple(indices[k].T)
        expected[at] = 2 * (end[at] - values[k]) / len(values[k])
        np.testing.assert_allclose(facts["gradient"][-1], expected, rtol=1e-10, atol=1e-14)


def test_the_gradient_on_rows_comes_with_their_indices(backend_name: str) -> None:
    xs, indices, values, _ = _problem("rows", backend_name)
    result = tnrank.complete(xs[0], indices[0], values[0], record=[_Facts(1)], steps=3)
    end = result.factorization.backend.to_numpy(result.factorization.entries(indices[0]))
    expected = 2 * (end - values[0]) / len(end)
    np.testing.assert_allclose(result.history["facts"].values["gradient"][-1], expected, rtol=1e-10)


def test_measurements_have_no_gradient_of_the_end_tensor() -> None:
    xs, indices, values, _ = _problem("sensing", "numpy")
    with pytest.raises(ValueError, match="not for rank-one measurements"):
        tnrank.complete(xs[0], indices[0], values[0], record=[_Facts(1)], steps=1)


def test_wrong_numbers_are_told() -> None:
    xs, indices, values, targets = _problem("dense", "numpy")
    torch = pytest.importorskip("torch")
    assert torch
    there = [x.to("torch") for x in xs]
    with pytest.raises(ValueError, match="observations of 2 runs and values of 3 for 3 factorizations"):
        tnrank.complete(there, indices[:2], values)
    with pytest.raises(ValueError, match="recorders for 2 runs, needed one for each of 3"):
        tnrank.complete(there, indices, values, record=[[recorders.Error(t)] for t in targets[:2]])
    with pytest.raises(ValueError, match="record the same things"):
        tnrank.complete(there, indices, values, record=[[recorders.Loss(k)] for k in (1, 2, 2)])
    rows = _problem("rows", "torch")
    with pytest.raises(ValueError, match=r"train together on \[11, 12\] observations"):
        tnrank.complete(rows[0], [rows[1][0][:11], *rows[1][1:]], [rows[2][0][:11], *rows[2][1:]])
