"""Errors say what was got and what was needed."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.theory import conserved_quantities, inner_indices, local_components, predicted_rate, unbalancedness

X = tnrank.CPFactorization.random((3, 3, 3), rank=2, seed=0)
G = np.ones((3, 3, 3))


def test_both_forms_of_a_call():
    one, two = local_components(X, "r"), local_components(X.network, X.arrays, index="r")
    np.testing.assert_array_equal(one.norms, two.norms)
    assert list(one.slice_norms) == ["A0", "A1", "A2"]
    wanted = predicted_rate(X, "r", G).exact
    np.testing.assert_array_equal(predicted_rate(X.network, X.arrays, "r", gradient=G).exact, wanted)
    np.testing.assert_array_equal(predicted_rate(X, gradient=G, index="r").exact, wanted)


SHARED = np.ones((3, 4))


@pytest.mark.parametrize(
    "arrays",
    [
        [SHARED, SHARED],
        [SHARED[:, :2], SHARED[:, 1:3]],
    ],
)
def test_a_tied_index(arrays):
    x = tnrank.CPFactorization([*arrays, np.ones((2, arrays[0].shape[1]))])
    for call in (local_components, conserved_quantities, unbalancedness, lambda x, i: predicted_rate(x, i, G)):
        with pytest.raises(ValueError, match=r"'A0' and 'A1' are the same array.*copy"):
            call(x, "r")
    assert conserved_quantities(tnrank.CPFactorization([a.copy() for a in x.factors]), "r")


def test_a_tie_elsewhere_does_not_matter():
    w = np.ones((2, 2))
    x = tnrank.MatrixFactorization([w, w, np.eye(2), np.eye(2)])
    assert local_components(x, "h3").order == 2
    with pytest.raises(ValueError, match="tied"):
        local_components(x, "h2")


def test_tied_columns_of_one_array_are_not_shared():
    both = np.random.default_rng(0).standard_normal((3, 4))
    x = tnrank.CPFactorization([both[:, :2], both[:, 2:]])
    assert local_components(x, "r").order == 2


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: local_components(), TypeError, r"local_components\(network, arrays, index\)"),
        (lambda: local_components(X), TypeError, "no 'index' given"),
        (lambda: local_components(X, "r", 3), TypeError, "3 arguments"),
        (lambda: local_components(X, "r", index="r"), TypeError, "unknown or twice"),
        (lambda: local_components(X, indx="r"), TypeError, "unknown or twice"),
        (lambda: local_components(np.eye(2), "r"), TypeError, "needed a factorization"),
        (lambda: local_components(X.network, "r", "r"), TypeError, "mapping"),
        (lambda: local_components(X.network, {"A0": np.eye(2)}, "r"), ValueError, "no array"),
        (lambda: local_components(X, "s"), ValueError, "no index 's': needed one of 'r'"),
        (lambda: local_components(X, ["r"]), ValueError, "no index"),
        (lambda: local_components(X.to(dtype="complex128"), "r"), TypeError, "real floating"),
        (lambda: predicted_rate(X, "r"), TypeError, "no 'gradient' given"),
        (lambda: predicted_rate(X, "r", np.ones((3, 3))), ValueError, r"shape \(3, 3, 3\)"),
        (lambda: predicted_rate(X, "r", 1.0), ValueError, "got a float"),
        (lambda: predicted_rate(X, "r", ([[0, 0, 0]],)), ValueError, "pair"),
        (lambda: predicted_rate(X, "r", ([[0, 0, 0]], np.ones(2))), ValueError, r"shape \(1,\)"),
        (lambda: predicted_rate(X, "r", ([[0, 0, 3]], np.ones(1))), ValueError, "out of range"),
        (lambda: predicted_rate(X, "r", G.astype("float32")), TypeError, "two dtypes"),
        (lambda: unbalancedness(tnrank.MatrixFactorization([np.eye(2)])), ValueError, "nothing can be unbalanced"),
        (lambda: inner_indices(np.eye(2)), TypeError, "needed a factorization or a Network"),
    ],
)
def test_wrong_calls(call, error, said):
    with pytest.raises(error, match=said):
        call()
