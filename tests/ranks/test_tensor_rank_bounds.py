from __future__ import annotations

import copy
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnrank import tensor_rank
from tnrank.ranks import Certificate
from tnrank.ranks._certified._algebra import algebra_bound, inertia
from tnrank.ranks._certified._exact import inverse, null_space, random_primes, rank_modulo, row_reduce, to_fractions
from tnrank.ranks._certified._pencil import pencil_rank
from tnrank.ranks._certified._substitution import search_substitution, substitution_rank

W3 = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])


def regular(matrix) -> np.ndarray:
    """The pencil t - M."""
    matrix = np.array(matrix)
    return np.stack([-matrix, np.eye(len(matrix), dtype=int)], axis=-1)


@pytest.mark.parametrize(
    ("tensor", "real", "over_complex"),
    [
        (regular([[1, 0], [0, 2]]), 2, 2),
        (regular([[1, 1], [0, 1]]), 3, 3),
        (regular([[0, -1], [1, 0]]), 3, 2),
        (regular([[0, 2], [1, 0]]), 2, 2),  # the square root of 2 is real and not rational
        (regular([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]]), 6, 4),
        (regular([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -2], [0, 0, 1, 0]]), 5, 4),
        (regular(np.kron(np.eye(2, dtype=int), [[0, 1], [0, 0]])), 6, 6),
        (np.array([[[1, 0], [0, 1]]]), 2, 2),  # L_1
        (np.array([[[1, 0], [0, 1], [0, 0]], [[0, 0], [1, 0], [0, 1]]]), 3, 3),  # L_2
        (np.stack([np.eye(2, dtype=int), np.array([[0, 1], [0, 0]])], axis=-1), 3, 3),  # infinite eigenvalue
    ],
)
def test_pencils(tensor, real, over_complex):
    for shear in (np.eye(2, dtype=int), np.array([[1, 2], [1, 3]])):  # rank knows no basis
        mixed = tensor @ shear
        assert pencil_rank(mixed, "real") == real
        assert pencil_rank(mixed, "complex") == over_complex


def group_algebra(order: int) -> np.ndarray:
    t = np.zeros((order,) * 3, dtype=int)
    for i in range(order):
        for j in range(order):
            t[i, j, (i + j) % order] = 1
    return t


def test_algebras():
    assert algebra_bound(group_algebra(3), "real") == 6 - 2  # R x C
    assert algebra_bound(group_algebra(3), "complex") == 3
    assert algebra_bound(group_algebra(4), "real") == 8 - 3  # R x R x C
    truncated = np.zeros((3, 3, 3), dtype=int)
    for i in range(3):
        for j in range(3 - i):
            truncated[i, j, i + j] = 1
    assert algebra_bound(truncated, "real") == 5  # R[x] / x^3
    hidden = np.einsum("ijk,ai,bj,ck->abc", group_algebra(3), *np.random.default_rng(0).integers(-3, 4, (3, 3, 3)))
    assert algebra_bound(hidden, "real") == 4
    assert algebra_bound(np.random.default_rng(1).integers(-3, 4, (3, 3, 3)), "real") is None


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(0, 50))
def test_exact_linear_algebra(m, n, rank, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(-3, 4, (m, rank)) @ rng.integers(-3, 4, (rank, n))
    found = np.linalg.matrix_rank(a)
    assert rank_modulo(a, random_primes(seed)[0]) == len(row_reduce(a)[1]) == found
    basis = null_space(a)
    assert basis.shape == (n - found, n)
    assert not np.any(to_fractions(a) @ basis.T)
    square = a @ a.T
    positive, negative = inertia(to_fractions(square - np.eye(m, dtype=int)))
    eigenvalues = np.linalg.eigvalsh(square - np.eye(m))
    if np.min(np.abs(eigenvalues)) > 1e-6:
        assert (positive, negative) == (np.sum(eigenvalues > 0), np.sum(eigenvalues < 0))
    inverted = inverse(square + np.eye(m, dtype=int))
    assert inverted is not None
    assert np.all(inverted @ (square + np.eye(m, dtype=int)) == np.eye(m, dtype=int))


@given(st.integers(1, 4), st.integers(0, 100))
def test_no_bound_exceeds_the_components_of_an_integer_tensor(rank, seed):
    rng = np.random.default_rng(seed)
    t = np.einsum("ir,jr,kr->ijk", *(rng.integers(-2, 3, (d, rank)) for d in (3, 3, 2)))
    found = tensor_rank(t, max_rank=1)
    assert all(bound.value <= rank and bound.exact for bound in found.bounds)


def test_an_argument_that_may_fail_counts_nothing():
    value, data = search_substitution(W3)
    assert value == 3
    empty = np.zeros((2, 2, 2), dtype=int)
    empty[0] = np.eye(2, dtype=int)
    assert substitution_rank(empty, data | {"bases": [], "removed": [[0, 1]]}) == 0


def changes():
    yield "lower", lambda c: c.update(lower=4)
    yield "border_lower", lambda c: c.update(border_lower=3)
    yield "gives 3, not 4", lambda c: c["bounds"][1].update(value=4)
    yield "bounds the rank", lambda c: c["bounds"][1].update(kind="border")
    yield "not the tensor", lambda c: c["witness"]["factors"][0].__setitem__(0, "7/3")
    yield "not the tensor", lambda c: c["tensor"]["integers"].__setitem__(7, 1)
    yield "damaged", lambda c: c.update(upper=2)
    yield "damaged", lambda c: c.pop("bounds")
    yield "damaged", lambda c: c["tensor"].update(field="finite")


@cache
def proven():
    """What a certificate holds that all changes start from."""
    good = tensor_rank(W3).certificate
    assert good.verify()
    return good.content


@pytest.mark.parametrize(("message", "change"), list(changes()))
def test_a_changed_certificate_fails(message, change):
    content = copy.deepcopy(proven())
    change(content)
    bad = Certificate(content)
    assert not bad.verify()
    assert message in " ".join(bad.problems())


def test_a_false_witness_of_floats_fails():
    content = copy.deepcopy(tensor_rank(np.random.default_rng(0).standard_normal((2, 2, 2))).certificate.content)
    content["witness"]["factors"][0][0] += 1e-3
    content["witness"]["residual"] = 1.0
    assert "the witness has residual" in Certificate(content).problems()[0]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "c.json"
    path.write_text("no")
    with pytest.raises(ValueError, match="is not JSON"):
        Certificate.load(path)
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="of version 1"):
        Certificate.load(path)
