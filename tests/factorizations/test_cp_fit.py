"""CPFactorization.from_dense: known ranks, Eckart and Young, TensorLy; and the parts of the solver."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization
from tnrank.factorizations._cp_fit._als import als, compose, mttkrps
from tnrank.factorizations._cp_fit._lm import descend, gram_of_jacobian
from tnrank.factorizations._cp_fit._starts import compress, eigenvectors, error_floors, expand

Host = np.ndarray[Any, Any]


def host(x: Any) -> Host:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def drawn(shape: tuple[int, ...], rank: int, seed: int = 0, dtype: str = "float64") -> list[Host]:
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((d, rank)) for d in shape]
    if dtype == "complex128":
        factors = [f + 1j * rng.standard_normal(f.shape) for f in factors]
    return factors


def summed(factors: list[Host]) -> Host:
    """The definition, component by component."""
    total = 0
    for r in range(factors[0].shape[1]):
        outer = factors[0][:, r]
        for f in factors[1:]:
            outer = np.multiply.outer(outer, f[:, r])
        total = total + outer
    return total


def error_of(x: CPFactorization, tensor: Host) -> float:
    return float(np.linalg.norm(host(x.to_dense()) - tensor) / np.linalg.norm(tensor))


def noisy(tensor: Host, share: float, seed: int = 1) -> Host:
    noise = np.random.default_rng(seed).standard_normal(tensor.shape)
    return tensor + share * np.linalg.norm(tensor) / np.linalg.norm(noise) * noise


def matrix_product() -> Host:
    t = np.zeros((4, 4, 4))
    for i, j, k in itertools.product(range(2), repeat=3):
        t[2 * i + j, 2 * j + k, 2 * k + i] = 1
    return t


def w(order: int) -> Host:
    t = np.zeros((2,) * order)
    for k in range(order):
        t[tuple(int(i == k) for i in range(order))] = 1
    return t


def match(found: list[Host], expected: list[Host]) -> float:
    """The largest difference of unit rank-one components, in the best order."""
    ours, theirs = (
        np.stack([summed([f[:, [r]] for f in factors]).ravel() for r in range(factors[0].shape[1])])
        for factors in (found, expected)
    )
    distances = np.linalg.norm(ours[:, None] - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    assert sorted(np.argmin(distances, axis=0)) == list(range(len(ours)))
    return float(distances.min(axis=0).max())


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(
    ("shape", "rank"),
    [((6, 7, 8), 5), ((9, 2, 9), 8), ((5, 4, 6, 5), 4), ((4, 4, 3, 4, 4), 4), ((3,) * 6, 3), ((40, 30, 20), 10)],
)
def test_random_components_are_recovered(shape: tuple[int, ...], rank: int, dtype: str) -> None:
    factors = drawn(shape, rank, dtype=dtype)
    x = CPFactorization.from_dense(summed(factors), rank=rank)
    assert error_of(x, summed(factors)) < 1e-12
    assert match(list(x.factors), factors) < 1e-8  # unique up to order and scale (Kruskal)
    norms = x.component_norms()
    assert np.all(norms[:-1] >= norms[1:])
    assert x.unbalancedness() < 1e-12


@pytest.mark.parametrize(
    ("shape", "rank"),
    [
        ((4, 4, 4), 5),
        pytest.param((6, 5, 4), 8, marks=pytest.mark.slow),
        ((10, 10, 10), 13),
        ((3, 3, 3, 3), 7),
        ((2,) * 6, 6),
    ],
)
def test_more_components_than_a_mode_is_long(shape: tuple[int, ...], rank: int) -> None:
    tensor = summed(drawn(shape, rank, seed=3))
    assert error_of(CPFactorization.from_dense(tensor, rank=rank), tensor) < 1e-10


def test_strassen() -> None:
    x = CPFactorization.from_dense(matrix_product(), rank=7)
    assert error_of(x, matrix_product()) < 1e-12
    # The border rank is 7 (Landsberg 2006): six components stay away from it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert error_of(CPFactorization.from_dense(matrix_product(), rank=6), matrix_product()) > 0.1


@pytest.mark.parametrize("order", [3, *(pytest.param(order, marks=pytest.mark.slow) for order in (4, 5))])
def test_sum_of_coordinates_has_as_many_components_as_modes(order: int) -> None:
    tensor = sum(np.ogrid[(slice(3),) * order]) * 1.0
    x = CPFactorization.from_dense(tensor, rtol=1e-8)
    assert x.rank == order
    assert error_of(x, tensor) < 1e-8


def test_every_backend_and_dtype(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    for dtype, floor in (("float64", 1e-13), ("float32", 1e-5), ("complex64", 1e-5), ("complex128", 1e-13)):
        tensor = summed(drawn((4, 5, 6), 3, dtype="complex128" if "complex" in dtype else "float64"))
        given = backend.asarray(tensor, dtype=dtype)
        x = CPFactorization.from_dense(given, rank=3)
        assert (x.backend.name, x.dtype, x.device) == (backend_name, dtype, backend.device_of(given))
        assert error_of(x, tensor) < floor
        assert CPFactorization.from_dense(given, rtol=1e-4).rank == 3


def test_integers_count_as_the_default_float() -> None:
    tensor = np.einsum("ir,jr,kr->ijk", *np.random.default_rng(0).integers(-3, 4, (3, 4, 2)))
    x = CPFactorization.from_dense(tensor, rtol=1e-13)
    assert (x.rank, x.dtype) == (2, "float64")
    np.testing.assert_allclose(x.to_dense(), tensor, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_matrices_follow_eckart_and_young(dtype: str) -> None:
    matrix = summed(drawn((7, 5), 5, dtype=dtype)) / 3
    s = np.linalg.svd(matrix, compute_uv=False)
    tails = [np.linalg.norm(s[k:]) / np.linalg.norm(s) for k in range(6)]
    for rank in range(1, 8):
        x = CPFactorization.from_dense(matrix, rank=rank)
        assert x.rank == rank
        assert abs(error_of(x, matrix) - (tails[rank] if rank < 5 else 0)) < 1e-14
    for rank in range(1, 5):
        assert CPFactorization.from_dense(matrix, rtol=1.001 * tails[rank]).rank == rank
        assert CPFactorization.from_dense(matrix, rtol=0.999 * tails[rank]).rank == rank + 1


@pytest.mark.parametrize(
    ("shape", "rank", "true", "share"),
    [
        ((10, 11, 12), 3, 6, 0.0),
        ((6, 5, 4, 7), 4, 4, 0.3),
        *(
            pytest.param(*case, marks=pytest.mark.nightly)
            for case in (
                ((10, 11, 12), 4, 4, 0.1),
                ((6, 6, 6), 8, 9, 0.05),
                ((4, 4, 4, 4), 6, 8, 0.1),
                ((30, 30, 30), 5, 5, 1.0),
            )
        ),
    ],
)
def test_no_worse_than_tensorly(shape: tuple[int, ...], rank: int, true: int, share: float) -> None:
    import tensorly
    from tensorly.decomposition import parafac

    tensor = noisy(summed(drawn(shape, true, seed=7)), share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # border-rank behavior; TensorLy on ranks above the dimensions
        ours = error_of(CPFactorization.from_dense(tensor, rank=rank), tensor)
        for init, seed in (("svd", 0), ("random", 0), ("random", 1)):
            peer = parafac(tensor, rank, n_iter_max=500, tol=1e-10, init=init, random_state=seed)
            theirs = np.linalg.norm(tensorly.cp_to_tensor(peer) - tensor) / np.linalg.norm(tensor)
            assert ours <= theirs * (1 + 1e-7)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 3), st.floats(0.02, 0.6), st.integers(0, 99))
def test_a_tolerance_is_kept_with_no_fewer_components_than_possible(
    shape: list[int], rank: int, rtol: float, seed: int
) -> None:
    tensor = noisy(summed(drawn(tuple(shape), rank, seed)), 0.1, seed)
    x = CPFactorization.from_dense(tensor, rtol=rtol, starts=3)
    assert error_of(x, tensor) <= rtol * (1 + 1e-12)
    assert error_floors(tensor)[: x.rank + 1][-1] <= rtol + 1e-12
    assert x.rank == 1 or error_of(CPFactorization.from_dense(tensor, rank=1, starts=3), tensor) > rtol


@settings(max_examples=12)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(1, 4), st.integers(0, 99))
def test_no_fit_gets_below_the_matricizations(shape: list[int], rank: int, seed: int) -> None:
    tensor = np.random.default_rng(seed).standard_normal(shape)
    floors = error_floors(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        x = CPFactorization.from_dense(tensor, rank=rank, starts=2, steps=50)
    assert error_of(x, tensor) >= (floors[rank] if rank < len(floors) else 0) - 1e-12


def test_rank_zero_has_no_factorization_and_the_zero_tensor_is_one_of_zeros() -> None:
    for options, rank in (({"rtol": 0.1}, 1), ({"rank": 3}, 3)):
        x = CPFactorization.from_dense(np.zeros((2, 3, 4)), **options)
        assert (x.rank, x.shape) == (rank, (2, 3, 4))
        assert not np.any(x.to_dense())


@pytest.mark.parametrize("scale", [1e-250, 1e-30, 1e30, 1e250])
def test_fits_know_no_scale(scale: float) -> None:
    tensor = summed(drawn((4, 5, 6), 3))
    x = CPFactorization.from_dense(scale * tensor, rtol=1e-10)
    assert x.rank == 3
    np.testing.assert_allclose(x.to_dense() / scale, tensor, atol=1e-11)


def test_a_warm_start_is_kept_and_extended() -> None:
    tensor = noisy(summed(drawn((8, 9, 10), 4)), 0.2)
    x = CPFactorization.from_dense(tensor, rank=4, starts=1)
    again = CPFactorization.from_dense(tensor, rank=4, init=x, starts=1, steps=1)
    assert error_of(again, tensor) <= error_of(x, tensor) * (1 + 1e-12)
    assert match(list(again.factors), list(x.factors)) < 1e-4
    more = CPFactorization.from_dense(tensor, rank=5, init=x.to("torch") if _has_torch() else x, starts=1)
    assert error_of(more, tensor) < error_of(x, tensor)
    weighted = CPFactorization(drawn((8, 9, 10), 2), np.array([2.0, 3.0]))
    exact = CPFactorization.from_dense(weighted.to_dense(), rank=2, init=weighted, starts=1, steps=1)
    assert error_of(exact, weighted.to_dense()) < 1e-12


def _has_torch() -> bool:
    return "torch" in tnrank.available_backends()


@pytest.mark.parametrize(
    "tensor",
    [w(3), *(pytest.param(t, marks=pytest.mark.slow) for t in (w(4), sum(np.ogrid[:4, :4, :4, :4]) * 1.0))],
    ids=["W", "W of order 4", "sum"],
)
def test_border_rank_behavior_is_named(tensor: Host) -> None:
    with pytest.warns(RuntimeWarning, match="border-rank behavior: the 2 components grow"):
        x = CPFactorization.from_dense(tensor, rank=2, starts=3)
    assert error_of(x, tensor) < 1e-4
    with pytest.raises(ValueError, match=r"up to rank 2: .* with 2 components, by components that grow and cancel"):
        # The first start, eigenvectors of a defective matrix, depends on the processor's rounding.
        CPFactorization.from_dense(tensor, rtol=1e-6, max_rank=2, starts=3)
    # Two moderate components come within a loose tolerance of it.
    x = CPFactorization.from_dense(w(3), rtol=0.1)
    assert x.rank == 2
    assert x.component_norms().max() < 10 * np.linalg.norm(w(3))


def test_an_attained_best_fit_with_large_components_is_not_diverging() -> None:
    rng = np.random.default_rng(0)
    base = [rng.standard_normal((5, 1)) for _ in range(3)]
    factors = [np.concatenate([b, b + 0.1 * rng.standard_normal((5, 1))], axis=1) for b in base]
    factors[0][:, 1] *= -1
    tensor = noisy(summed(factors), 1e-5)
    x = CPFactorization.from_dense(tensor, rank=2)  # warnings are errors in these tests
    assert x.component_norms().max() > 3 * np.linalg.norm(tensor)
    assert error_of(x, tensor) < 1e-5


@pytest.mark.slow
def test_the_same_seed_gives_the_same_fit_and_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    tensor = noisy(summed(drawn((4, 5, 6), 3)), 0.5)
    lines: list[str] = []
    first = CPFactorization.from_dense(tensor, rank=3, seed=4, progress=lines.append)
    second = CPFactorization.from_dense(tensor, rank=3, seed=4, progress=True)
    assert all(np.array_equal(a, b) for a, b in zip(first.factors, second.factors, strict=True))
    assert lines
    assert all(line.startswith("rank 3, start ") for line in lines)
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    ("tensor", "options", "message"),
    [
        (np.ones(3), {"rank": 1}, "order 2 or more"),
        (np.ones((2, 0, 2)), {"rank": 1}, "mode 1 of the tensor"),
        (np.full((2, 2), np.nan), {"rank": 1}, "NaN or infinite"),
        (np.full((2, 2), np.inf), {"rtol": 0.1}, "NaN or infinite"),
        (np.ones((2, 2)), {}, "neither rank nor rtol"),
        (np.ones((2, 2)), {"rank": 2, "rtol": 0.1}, "rank=2 and rtol=0.1"),
        (np.ones((2, 2)), {"rank": 0}, "rank is a number of components, at least 1, got 0"),
        (np.ones((2, 2)), {"rtol": 1.0}, r"\[0, 1\)"),
        (np.ones((2, 2)), {"rtol": 1e-15}, "below the floor of float64, 32 eps = 7.1e-15"),
        (np.ones((2, 2), dtype=np.float32), {"rtol": 1e-6}, "below the floor of float32"),
        (np.ones((2, 2)), {"rtol": 0.1, "max_rank": 0}, "max_rank is a number of components"),
        (np.ones((2, 2)), {"rank": 1, "max_rank": 2}, "goes with rtol"),
        (np.ones((2, 2)), {"rank": 1, "starts": 0}, "starts is 0"),
        (np.ones((2, 2)), {"rank": 1, "steps": 0}, "steps is 0"),
        (np.ones((2, 2)), {"rank": 1, "tol": 1.0}, "tol is the relative decrease"),
        (np.ones((2, 2, 2)), {"rank": 1, "init": CPFactorization(drawn((2, 2, 3), 1))}, r"init has shape \(2, 2, 3\)"),
        (np.ones((2, 2, 2)), {"rank": 1, "init": CPFactorization(drawn((2, 2, 2), 2))}, "pass rank=2 or more"),
        (np.random.default_rng(0).standard_normal((4, 4, 4)), {"rtol": 0.01, "max_rank": 2}, "larger max_rank"),
    ],
)
def test_bad_input(tensor: Host, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CPFactorization.from_dense(tensor, **options)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 5), (2, 3, 4, 3), (2, 3, 2, 2, 3), (1, 3, 1)])
def test_the_parts_of_the_solver_are_their_definitions(shape: tuple[int, ...], dtype: str) -> None:
    factors, tensor = drawn(shape, 3, 1, dtype), summed(drawn(shape, 6, 2, dtype))
    np.testing.assert_allclose(compose(factors), summed(factors), atol=1e-12)

    def derivative(n: int, i: int, r: int) -> Host:
        unit = np.zeros_like(factors[n])
        unit[i, r] = 1
        return summed([unit if k == n else f for k, f in enumerate(factors)]).ravel()

    places = [(n, i, r) for n, f in enumerate(factors) for i in range(len(f)) for r in range(3)]
    jacobian = np.stack([derivative(*place) for place in places], axis=1)
    np.testing.assert_allclose(gram_of_jacobian(factors), jacobian.conj().T @ jacobian, atol=1e-11)
    products: dict[int, Host] = {}
    mttkrps(tensor, factors, products.__setitem__)
    flat = np.concatenate([products[n].ravel() for n in range(len(shape))])
    np.testing.assert_allclose(flat, jacobian.conj().T @ tensor.ravel(), atol=1e-11)


def test_als_never_grows_the_error_and_is_scipy_least_squares_in_the_end() -> None:
    from scipy.optimize import least_squares

    tensor = noisy(summed(drawn((4, 5, 6), 2)), 0.3)
    tensor /= np.linalg.norm(tensor)
    factors, errors = drawn((4, 5, 6), 2, seed=9), [np.inf]
    for _ in range(40):
        factors, error = als(tensor, factors, 1, 0.0)
        assert error <= errors[-1] * (1 + 1e-12)
        errors.append(error)
    _, error = descend(tensor, factors, None, 0.0, 50)

    def residual(flat: Host) -> Host:
        parts = np.split(flat, [8, 18])
        return np.asarray((tensor - summed([p.reshape(-1, 2) for p in parts])).ravel())

    reference = least_squares(
        residual, np.concatenate([f.ravel() for f in factors]), xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    assert abs(error - np.sqrt(2 * reference.cost)) < 1e-10


@pytest.mark.parametrize("rtol", [0.0, 1e-3, 0.3])
def test_compression_keeps_its_tolerance_and_says_its_error(rtol: float) -> None:
    tensor = noisy(summed(drawn((12, 3, 4, 5), 2)), 1e-4)
    core, bases, dropped = compress(tensor, rtol)
    again = core
    for mode, basis in enumerate(bases):
        again = np.moveaxis(np.tensordot(basis, again, axes=(1, mode)), 0, mode)
        np.testing.assert_allclose(basis.conj().T @ basis, np.eye(basis.shape[1]), atol=1e-13)
    distance = np.linalg.norm(again - tensor) / np.linalg.norm(tensor)
    assert distance <= rtol + 1e-13
    assert abs(distance - dropped) < 1e-8
    factors = drawn(core.shape, 2)
    np.testing.assert_allclose(
        summed(expand(bases, factors)), np.einsum("ar,br,cr,dr->abcd", *expand(bases, factors)), atol=1e-12
    )


def test_eigenvectors_solve_where_two_sides_have_the_rank() -> None:
    rng = np.random.default_rng(0)
    tensor = summed(drawn((3, 2, 3, 2, 2), 6))  # 6 x 6 x 2 when grouped
    factors = eigenvectors(rng, tensor, 6)
    assert factors is not None
    np.testing.assert_allclose(summed(factors), tensor, atol=1e-9)
    assert eigenvectors(rng, np.ones((3, 3, 3)), 4) is None
