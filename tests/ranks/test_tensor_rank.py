from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

import tnrank
from tnrank import CPFactorization, get_backend, tensor_rank

COMPLEX_PRODUCT = np.array([[[1, 0], [0, 1]], [[0, 1], [-1, 0]]])


def matrix_product() -> np.ndarray:
    t = np.zeros((4, 4, 4), dtype=int)
    for i, j, k in itertools.product(range(2), repeat=3):
        t[2 * i + j, 2 * j + k, 2 * k + i] = 1
    return t


def permutations(signed: bool) -> np.ndarray:
    t = np.zeros((3, 3, 3), dtype=int)
    for p in itertools.permutations(range(3)):
        t[p] = round(np.linalg.det(np.eye(3)[list(p)])) if signed else 1
    return t


def ghz(order: int) -> np.ndarray:
    t = np.zeros((2,) * order, dtype=int)
    t[(0,) * order] = t[(1,) * order] = 1
    return t


def w(order: int) -> np.ndarray:
    t = np.zeros((2,) * order, dtype=int)
    for k in range(order):
        t[tuple(int(i == k) for i in range(order))] = 1
    return t


@cache
def rank_of_w():
    """Of W of order 3, for all that is said about it."""
    return tensor_rank(w(3))


@pytest.mark.parametrize(
    ("tensor", "rank", "border", "by"),
    [
        pytest.param(matrix_product(), 7, 6, "algebra", id="<2,2,2>"),
        pytest.param(permutations(signed=True), 5, 5, "Koszul", id="det_3"),
        pytest.param(permutations(signed=False), 4, 4, "Koszul", id="perm_3"),
        pytest.param(ghz(3), 2, 2, "matricization", id="GHZ_3"),
        pytest.param(w(3), 3, 2, "pencil", id="W_3"),
        pytest.param(COMPLEX_PRODUCT, 3, 2, "pencil", id="complex product"),
        pytest.param(w(4), 4, 2, "substitution", id="W_4"),
        pytest.param(w(6), 6, 2, "substitution", id="W_6", marks=pytest.mark.slow),
        pytest.param(sum(np.ogrid[:3, :3, :3, :3]), 4, 2, "substitution", id="sum of x_i", marks=pytest.mark.slow),
    ],
)
def test_known_ranks_are_proven_by_the_bound_that_can(tensor, rank, border, by, tmp_path):
    found = rank_of_w() if tensor.shape == (2, 2, 2) and np.array_equal(tensor, w(3)) else tensor_rank(tensor)
    assert found.settled
    assert found.exact
    assert (found.lower, found.upper, found.border_lower) == (rank, rank, border)
    values = {b.name.split()[0].rstrip(","): b.value for b in found.bounds}
    assert values[by] == rank
    if by not in ("Koszul", "matricization"):
        assert max(b.value for b in found.bounds if b.kind == "border") < rank
    np.testing.assert_allclose(found.witness.to_dense(), tensor, atol=1e-12)
    assert found.witness.rank == rank
    found.certificate.save(tmp_path / "c.json")
    assert tnrank.ranks.Certificate.load(tmp_path / "c.json").problems() == ()


def test_all_three_bounds_agree_on_w3_and_its_border_rank_is_named():
    found = rank_of_w()
    assert {b.name.split()[0].rstrip(",") for b in found.bounds if b.value == 3} == {
        "pencil",
        "algebra",
        "substitution",
    }
    assert found.diverging is not None
    assert found.diverging[0] == found.border_upper == found.border_lower == 2
    assert found.border_settled
    assert "border-rank behavior: 2 components" in str(found)
    assert "tensor rank 3 over the reals, proven; border rank 2" in str(found)


def test_rank_depends_on_the_field():
    # Whole numbers are in test_tensor_rank_exact.
    assert tensor_rank(0.1 * COMPLEX_PRODUCT).lower == 3
    over_complex = tensor_rank(0.1 * COMPLEX_PRODUCT, field="complex")
    assert (over_complex.lower, over_complex.upper) == (2, 2)
    assert np.iscomplexobj(over_complex.witness.to_dense())
    assert over_complex.certificate.verify()


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 4, 4, 4)])
def test_random_cp_tensors_settle_at_their_components(shape, rank):
    x = CPFactorization.random(shape, rank=rank, seed=rank)
    found = tensor_rank(x)
    assert (found.lower, found.border_lower, found.upper) == (rank, rank, rank)
    assert found.residual < 1e-11
    assert not found.exact
    assert found.certificate.verify()


def test_every_backend(backend_name):
    backend = get_backend(backend_name)
    factors = [np.random.default_rng(k).standard_normal((4, 2)).astype(np.float32) for k in range(3)]
    found = tensor_rank(backend.asarray(np.einsum("ir,jr,kr->ijk", *factors)))
    assert (found.lower, found.upper) == (2, 2)
    assert tensor_rank(backend.asarray(ghz(3))).exact


@pytest.mark.parametrize("seed", range(8))
def test_real_2_x_2_x_2_follows_the_sign_of_the_hyperdeterminant(seed):
    t = np.random.default_rng(seed).standard_normal((2, 2, 2))
    a, b = t[..., 0], t[..., 1]
    mixed = np.linalg.det(a + b) - np.linalg.det(a) - np.linalg.det(b)
    cayley = mixed**2 - 4 * np.linalg.det(a) * np.linalg.det(b)
    found = tensor_rank(t)
    assert (found.lower, found.upper) == ((2, 2) if cayley > 0 else (3, 3))
    assert tensor_rank(t, field="complex").upper == 2


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 2), (1, 1, 1, 1)])
def test_zero_tensors_have_rank_zero(shape):
    found = tensor_rank(np.zeros(shape))
    assert (found.lower, found.border_lower, found.upper, found.residual) == (0, 0, 0, 0)
    assert found.settled
    assert found.certificate.verify()
    assert "tensor rank 0" in str(found)


def test_rank_one_and_matrices():
    assert tensor_rank(np.ones((2, 3, 4))).upper == 1
    found = tensor_rank(np.arange(12).reshape(3, 4))
    assert (found.lower, found.upper, found.exact) == (2, 2, True)
    numbers = tensor_rank(np.random.default_rng(0).standard_normal((4, 5)))
    assert (numbers.lower, numbers.upper, numbers.exact) == (4, 4, False)
    thirds = np.array([Fraction(k, 3) for k in (1, 2, 2, 4)], dtype=object).reshape(2, 2)
    assert tensor_rank(thirds).exact


def test_without_a_search_the_fibers_are_a_witness():
    t = np.random.default_rng(0).integers(-3, 4, (3, 3, 3))
    found = tensor_rank(t, max_rank=1)
    assert found.lower <= 5 <= found.upper <= 9
    np.testing.assert_array_equal(found.witness.to_dense(), t)
    assert found.certificate.verify()


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.ones(3), {}, "order 2 or more"),
        (np.ones(()), {}, "order 2 or more"),
        (np.ones((2, 0, 2)), {}, "mode 1"),
        (np.full((2, 2, 2), np.nan), {}, "NaN or infinite"),
        (np.ones((2, 2)), {"field": "rational"}, "give 'real' or 'complex'"),
        (1j * np.ones((2, 2)), {}, "pass field='complex'"),
        (np.ones((2, 2)), {"max_rank": 0}, "max_rank is a whole number from 1 on, got 0"),
        (1e-200 * np.ones((2, 2, 2)), {}, "rescale the tensor"),
    ],
)
def test_bad_input(x, options, message):
    with pytest.raises(ValueError, match=message):
        tensor_rank(x, **options)


def test_objects_that_are_no_numbers():
    with pytest.raises(TypeError, match="no fractions"):
        tensor_rank(np.array([["a", "b"]], dtype=object))


@pytest.mark.parametrize("scale", [10**15, pytest.param(1 / 3, marks=pytest.mark.slow), 1e-30, 1e30])
def test_rank_knows_no_scale(scale):
    found = tensor_rank(w(3) * scale)
    assert found.lower <= 3 == found.upper
    assert found.border_lower == 2
    assert found.exact == (scale == 10**15)
    assert found.certificate.verify()


def test_single_precision_does_not_take_cancelling_components_for_a_witness():
    found = tensor_rank(w(3).astype(np.float32) * np.float32(0.1))
    assert found.upper == 3
    assert found.diverging is not None


def test_the_same_seed_gives_the_same_answer():
    assert tensor_rank(w(3), seed=0).certificate == rank_of_w().certificate
