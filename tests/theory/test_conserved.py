"""Conserved quantities have derivative zero along gradient flow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import tnrank
from tnrank.theory import conserved_quantities, inner_indices, unbalancedness

torch = pytest.importorskip("torch")
from tests.theory.flows import Flow, factorizations, networks_with_index  # noqa: E402

CASES = factorizations()


def is_conserved(network, arrays, index):
    flow = Flow(network, arrays)
    size = max(float((v * v).sum()) for v in flow.velocity.values()) ** 0.5
    size *= max(float((a * a).sum()) for a in flow.arrays.values()) ** 0.5
    values = conserved_quantities(network, flow.arrays, index)
    for pair in values:
        value, rate = flow.derivative(lambda a, pair=pair: conserved_quantities(network, a, index)[pair])
        assert abs(rate).max() <= 1e-10 * max(size, 1e-30)
        yield pair, value


@pytest.mark.parametrize("x", CASES.values(), ids=CASES)
def test_at_every_index(x):
    for index in inner_indices(x):
        found = dict(is_conserved(x.network, x.arrays, index))
        bond = len(x.network.holders(index)) == 2
        size = x._sizes[index]
        assert len(found) == len(x.network.holders(index)) - 1
        assert all(value.shape == ((size, size) if bond else (size,)) for value in found.values())


@given(networks_with_index())
def test_at_any_index_of_any_network(given):
    network, arrays, index = given
    assert len(dict(is_conserved(network, arrays, index))) == len(network.holders(index)) - 1


def test_a_matrix_factorization_by_hand():
    x = tnrank.MatrixFactorization.random((4, 3), depth=3, seed=0)
    a, b, c = x.layers
    np.testing.assert_allclose(conserved_quantities(x, "h1")["W0", "W1"], a.T @ a - b @ b.T, atol=1e-14)
    worst = max(abs(a.T @ a - b @ b.T).max(), abs(b.T @ b - c @ c.T).max())
    assert float(unbalancedness(x)) == pytest.approx(worst, rel=1e-14)
    assert float(unbalancedness(x, "h1")) == pytest.approx(abs(a.T @ a - b @ b.T).max(), rel=1e-14)


def test_of_a_hyperindex_only_the_diagonal_is_conserved():
    x = tnrank.CPFactorization.random((3, 3, 3), rank=3, seed=0)
    flow = Flow(x.network, x.arrays)

    def gram(a):
        return a["A0"].T @ a["A0"] - a["A1"].T @ a["A1"]

    _, rate = flow.derivative(gram)
    assert abs(np.diag(rate)).max() < 1e-12
    assert abs(rate).max() > 1e-2


def test_unbalancedness(backend_name):
    x = tnrank.CPFactorization.random((3, 4, 2), rank=5, seed=0)
    squares = np.stack([(f**2).sum(0) for f in x.factors])
    wanted = np.ptp(squares, axis=0).max()
    moved = x.to(backend_name)
    for got in (unbalancedness(moved), unbalancedness(moved, "r"), unbalancedness(moved.network, moved.arrays)):
        assert float(got) == pytest.approx(wanted, rel=1e-14)
    assert float(unbalancedness(x.balance())) < 1e-13 * squares.max()
