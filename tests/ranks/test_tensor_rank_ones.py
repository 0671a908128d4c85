"""Modes of size 1, which change no rank and should cost nothing, and what tensor_rank accepts."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tnrank import CPFactorization, get_backend, tensor_rank
from tnrank.ranks import Certificate, rank_scan
from tnrank.ranks._certified._existence import exists_near

Host = np.ndarray[Any, Any]
W3 = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
REAL = np.einsum("ir,jr,kr->ijk", *np.random.default_rng(0).standard_normal((3, 2, 2)))


def spread(t: Host, gap: int) -> Host:
    """As many modes of size 1 after the first mode, and one at the end."""
    return t.reshape(t.shape[0], *(1,) * gap, *t.shape[1:], 1)


@pytest.mark.parametrize(
    ("tensor", "rank", "exact"),
    [
        (np.ones((1,) * 33), 1, True),
        (np.ones((1,) * 40), 1, True),
        (np.ones((1,) * 64), 1, True),
        (np.zeros((1,) * 40), 0, True),
        (np.ones((2, *(1,) * 30, 2, 2)), 1, True),
        (spread(np.array([[1, 2], [3, 4]]), 50), 2, True),
        (spread(W3, 30), 3, True),
        (spread(REAL, 30), 2, False),
        (np.full((1, 1, 5, 1), 0.1), 1, False),
    ],
)
def test_ranks(tensor: Host, rank: int, exact: bool, tmp_path: Any) -> None:
    found = tensor_rank(tensor)
    assert (found.lower, found.upper, found.exact) == (rank, rank, exact)
    assert found.shape == tensor.shape == found.witness.shape
    total = np.ones(rank)
    for factor in found.witness.factors:
        total = total * factor[0] if len(factor) == 1 else total[..., None, :] * factor
    np.testing.assert_allclose(total.sum(axis=-1), np.squeeze(tensor), atol=1e-10)
    found.certificate.save(tmp_path / "c.json")
    again = Certificate.load(tmp_path / "c.json")
    assert again.verify()
    assert again.exact == exact
    assert again.content["tensor"]["shape"] == list(tensor.shape)


def test_bounds_name_the_modes_of_the_tensor() -> None:
    names = [bound.name for bound in tensor_rank(spread(W3, 2), max_rank=1).bounds]
    assert names[0] == "matricization {0}|{3,4}"
    assert "pencil {0}|{3}|{4}" in names
    assert tensor_rank(np.ones((1, 1, 1))).bounds[0].name == "matricization {0}|{1}"


def test_existence_takes_them_out() -> None:
    root = np.array([[1.0, 1.0], [2**0.5, -(2**0.5)]])
    t = np.rint(2 * np.einsum("ir,jr,kr->ijk", root, root, root)).astype(int).astype(object)
    signs = np.array([[-1.0, 3.0]])
    factors = [root, signs, root / signs, root, np.ones((1, 2))]
    assert exists_near(t.reshape(2, 1, 2, 2, 1), factors)
    assert not exists_near(t.reshape(2, 1, 2, 2, 1), [root, signs, root, root, np.ones((1, 2))])


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_fits_and_scans(backend: str) -> None:
    wide = spread(REAL, 20)
    t = get_backend(backend).asarray(wide, dtype="float32")
    norms = []
    for x in (CPFactorization.from_dense(t, rank=2), CPFactorization.from_dense(t, rtol=1e-4)):
        assert (x.rank, x.shape) == (2, wide.shape)
        host = [get_backend(backend).to_numpy(f) for f in x.factors]
        total = np.prod([f[0] for f in host if len(f) == 1], axis=0)
        made = np.einsum("r,ir,jr,kr->ijk", total, *(f for f in host if len(f) > 1))
        np.testing.assert_allclose(made, REAL, atol=1e-5)
        norms.append([np.linalg.norm(f, axis=0) for f in host])
    np.testing.assert_allclose(norms[0], np.broadcast_to(norms[0][0], (len(wide.shape), 2)), rtol=1e-5)
    x = CPFactorization.from_dense(wide, rank=2, init=CPFactorization([np.ones((d, 1)) for d in wide.shape]))
    np.testing.assert_allclose(np.linalg.norm(x.to_dense() - wide), 0, atol=1e-8)
    scan = rank_scan(t, 2)
    assert scan.lower == 2
    assert scan.ranks[1].error < 1e-6 < scan.ranks[0].error
    assert all(entry.error >= entry.error_floor - 1e-6 for entry in scan.ranks)


def test_no_list_of_all_bipartitions_above_the_limit() -> None:
    t = np.zeros((2,) * 18)
    t[(0,) * 18] = 1.0
    assert rank_scan(t, 1).ranks[0].error < 1e-12


@pytest.mark.parametrize(
    ("x", "rank"),
    [
        (np.full((2, 2, 2), 3e38, np.float32), 1),
        (np.array([[2**63 - 1, 0], [0, -(2**63)]]), 2),
        (np.array([[2**64 - 1, 1], [1, 0]], np.uint64), 2),
        (np.full((3, 3, 3), 100, np.int8), 1),
        (np.array([[True, False], [False, True]]), 2),
        (np.full((2, 2, 2), 65504, np.float16), 1),
        (np.array([[10**90, 1], [1, 0]], dtype=object), 2),
        (np.array([[np.int8(100), np.float32(0.5)], [np.uint8(200), 1]], dtype=object), 1),
        (np.array([[Decimal("0.1"), 1], [Fraction(1, 10), 1]], dtype=object), 1),
        (np.ma.masked_array(W3, mask=np.zeros(W3.shape)), 3),
    ],
)
def test_every_kind_of_number(x: Any, rank: int) -> None:
    found = tensor_rank(x)
    assert found.lower == found.upper == rank
    assert found.certificate.verify()


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.full((2, 2, 2), np.inf), {}, ValueError, "NaN or infinite"),
        (np.full((2, 2, 2), 1e300), {}, ValueError, "rescale the tensor"),
        (np.full((3, 4, 2), 1e-310), {}, ValueError, "rescale the tensor"),
        (np.array([[10**200, 1], [1, 1]], dtype=object), {}, ValueError, "rescale the tensor"),
        (np.array([[10**400, 1], [1, 1]], dtype=object), {}, ValueError, "more than 300 digits"),
        (np.array([[np.inf, 1], [1, 1]], dtype=object), {}, ValueError, "infinite"),
        (np.array([[np.nan, 1], [1, 1]], dtype=object), {}, TypeError, "no fractions"),
        (np.array([[None, 1], [1, 1]], dtype=object), {}, TypeError, "no fractions"),
        (np.array([["1/2", "1"]], dtype=object), {}, TypeError, "no fractions"),
        (np.zeros((2, 0), dtype=object), {}, ValueError, "mode 1"),
        (np.ma.masked_array(W3, mask=W3), {}, ValueError, "masked"),
        (np.ma.masked_array(W3.astype(object), mask=W3), {}, ValueError, "masked"),
        ([[1, 2], [3, 4]], {}, TypeError, "numpy.asarray"),
        (None, {}, TypeError, "needed an array"),
        (np.array([["a"]]), {}, TypeError, "needed numbers"),
        (W3, {"field": np.ones(2)}, ValueError, "give 'real' or 'complex'"),
        (W3, {"field": None}, ValueError, "give 'real' or 'complex'"),
        (W3, {"max_rank": 2.0}, TypeError, "max_rank is a whole number"),
        (W3, {"max_rank": True}, TypeError, "max_rank is a whole number"),
        (W3, {"seed": -1}, ValueError, "seed is a whole number"),
        (W3, {"seed": None}, TypeError, "seed is a whole number"),
    ],
)
def test_what_is_refused(x: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        tensor_rank(x, **options)
    assert "\n" not in str(caught.value)
