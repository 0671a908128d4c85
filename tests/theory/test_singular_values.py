"""The singular-value law of deep matrix factorization against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.theory import singular_value_rate

torch = pytest.importorskip("torch")
from tests.theory.flows import Flow, close  # noqa: E402


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_law(depth, balanced, shape):
    x = tnrank.MatrixFactorization.random(shape, depth=depth, seed=depth)
    x = x.balance() if balanced else x
    flow = Flow(x.network, x.arrays)
    values, wanted = flow.derivative(lambda a: torch.linalg.svdvals(flow.end(a)))
    found = singular_value_rate(x, flow.gradient)
    close(found.singular_values, values, 1e-12)
    close(found.exact, wanted, 1e-9)
    if balanced:
        close(found.balanced, wanted, 1e-9)
    elif depth > 1:
        assert abs(found.balanced - wanted).max() > 1e-3 * abs(wanted).max()


def test_sparse_and_backends(backend_name):
    backend = tnrank.get_backend(backend_name)
    x = tnrank.MatrixFactorization.random((4, 3), depth=3, seed=0)
    generator = np.random.default_rng(0)
    indices, values = generator.integers(0, 3, (7, 2)), generator.standard_normal(7)
    dense = np.zeros((4, 3))
    np.add.at(dense, tuple(indices.T), values)
    wanted = singular_value_rate(x, dense)
    moved = x.to(backend_name)
    for gradient in (backend.asarray(dense, "float64"), (indices, backend.asarray(values, "float64"))):
        found = singular_value_rate(moved, gradient)
        for name in ("singular_values", "projection", "balanced", "exact"):
            close(backend.to_numpy(getattr(found, name)), getattr(wanted, name), 1e-12)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda x: singular_value_rate(np.eye(2), np.eye(2)), TypeError, "MatrixFactorization"),
        (lambda x: singular_value_rate(x, np.eye(2)), ValueError, r"shape \(4, 3\) of the end matrix"),
        (lambda x: singular_value_rate(x, ([[0, 0]], np.ones(2))), ValueError, r"shape \(1,\)"),
        (lambda x: singular_value_rate(x, ([[0, 0]],)), ValueError, "pair"),
        (lambda x: singular_value_rate(x, ([[0, 9]], np.ones(1))), ValueError, "out of range"),
        (lambda x: singular_value_rate(tnrank.MatrixFactorization([np.eye(2)] * 2), np.eye(2)), ValueError, "tied"),
    ],
)
def test_wrong_calls(call, error, said):
    with pytest.raises(error, match=said):
        call(tnrank.MatrixFactorization.random((4, 3), depth=2, seed=0))
