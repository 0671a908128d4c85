"""The largest stable learning rate, and what a run past it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.training import stability_limit

_HALF = tnrank.SquaredLoss(reduction="half_sum")


def _hessian(x: Any, indices: Any, values: Any) -> Any:
    """Of the half sum of squares, by JAX's automatic differentiation."""
    jax = pytest.importorskip("jax")
    place = tuple(np.asarray(indices).T)

    def loss(flat: Any) -> Any:
        parts, at = [], 0
        for layer in x.layers:
            parts.append(flat[at : at + layer.size].reshape(layer.shape))
            at += layer.size
        end = parts[0]
        for part in parts[1:]:
            end = end @ part
        return 0.5 * ((end[place] - values) ** 2).sum()

    return np.asarray(jax.jit(jax.hessian(loss))(np.concatenate([np.ravel(a) for a in x.layers])))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_it_is_two_over_the_largest_curvature(depth: int, backend_name: str) -> None:
    x = tnrank.MatrixFactorization.random((4, 3), depth=depth, std=0.7, seed=depth)
    indices = np.argwhere(np.ones((4, 3)))[::2]
    values = np.random.default_rng(0).standard_normal(len(indices))
    expected = 2 / np.linalg.eigvalsh(_hessian(x, indices, values)).max()
    found = stability_limit(x.to(backend_name), indices, values, _HALF)
    assert found == pytest.approx(expected, rel=2e-3)


def test_the_two_by_two_problem() -> None:
    # Where W is s e1 e1^T with balanced layers, the published closed form.
    s, depth = 20.0, 3
    layer = np.diag([s ** (1 / depth), 0.0])
    x = tnrank.MatrixFactorization([layer] * depth)
    indices, values = [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.0]
    assert stability_limit(x, indices, values, _HALF) == pytest.approx(2 / s ** (2 - 2 / depth), rel=0.05)


def test_flat_everywhere_is_no_limit() -> None:
    x = tnrank.CPFactorization([np.zeros((3, 2))] * 3)
    assert stability_limit(x, [[0, 0, 0]], [1.0]) == float("inf")


@pytest.mark.few_on_jax("0.5")
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_run_past_it_says_so(momentum: float, backend_name: str) -> None:
    rng = np.random.default_rng(0)
    measured = tnrank.RankOneMeasurements([rng.standard_normal((5, 8)), np.ones((5, 1))])
    gram = measured.vectors[0].T @ measured.vectors[0]
    limit = 2 * (1 + momentum) / np.linalg.eigvalsh(gram).max()
    x = tnrank.MatrixFactorization([np.zeros((8, 1))]).to(backend_name)
    values = rng.standard_normal(5)

    def run(rate: float) -> Any:
        optimizer = tnrank.GradientDescent(rate, momentum)
        return tnrank.complete(x, measured, values, loss=_HALF, optimizer=optimizer, steps=2_000 if momentum else 4_500)

    assert run(0.98 * limit).status == "steps"
    past = run(1.05 * limit)
    assert past.status == "nan"
    assert f"past the stability limit, which was {limit:.3g} at the start" in past.message


def test_of_several_runs_each_is_told(backend_name: str) -> None:
    xs = [tnrank.MatrixFactorization.random((3, 3), depth=2, std=s, seed=0, backend=backend_name) for s in (1e-3, 3.0)]
    indices = np.argwhere(np.ones((3, 3)))
    found = tnrank.complete(
        xs, indices, np.eye(3).ravel(), loss=_HALF, optimizer=tnrank.GradientDescent(0.3), steps=300
    )
    assert [result.status for result in found] == ["steps", "nan"]
    assert "past the stability limit" in found[1].message
    assert "stability" not in found[0].message


def test_adaptive_rates_have_no_limit(backend_name: str) -> None:
    x = tnrank.MatrixFactorization.random((3, 3), depth=3, std=5.0, seed=0, backend=backend_name, dtype="float32")
    result = tnrank.complete(x, [[0, 0]], [1.0], optimizer=tnrank.Adam(1e30), steps=50)
    assert result.status == "nan"
    assert result.message.endswith("try a smaller learning rate")
