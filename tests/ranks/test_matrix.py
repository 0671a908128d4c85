from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tnrank import get_backend
from tnrank.data import low_rank_matrix
from tnrank.ranks import (
    condition_number,
    distance_to_rank,
    effective_rank,
    ky_fan_norm,
    matrix_rank,
    nuclear_norm,
    participation_ratio,
    schatten_norm,
    singular_values,
    spectral_entropy,
    stable_rank,
)

# Each on matrices, and from singular values by NumPy alone.
NUMBERS = {
    "effective_rank": (effective_rank, lambda s: np.exp(scipy.stats.entropy(s, axis=-1))),
    "spectral_entropy": (spectral_entropy, lambda s: scipy.stats.entropy(s, axis=-1)),
    "stable_rank": (stable_rank, lambda s: (s**2).sum(-1) / s[..., 0] ** 2),
    "participation_ratio": (participation_ratio, lambda s: (s**2).sum(-1) ** 2 / (s**4).sum(-1)),
    "nuclear_norm": (nuclear_norm, lambda s: s.sum(-1)),
    "schatten_norm": (lambda M: schatten_norm(M, 0.5), lambda s: np.sqrt(s).sum(-1) ** 2),
    "spectral_norm": (lambda M: schatten_norm(M, np.inf), lambda s: s[..., 0]),
    "ky_fan_norm": (lambda M: ky_fan_norm(M, 1), lambda s: s[..., 0]),
    "condition_number": (condition_number, lambda s: s[..., 0] / s[..., -1]),
    "distance_to_rank": (lambda M: distance_to_rank(M, 1), lambda s: np.sqrt((s[..., 1:] ** 2).sum(-1))),
}


class Product:
    """What rank functions need of a factorization."""

    def __init__(self, *layers: np.ndarray) -> None:
        self.layers = layers
        self.shape = (layers[0].shape[0], layers[-1].shape[1])

    def to_dense(self) -> np.ndarray:
        return np.linalg.multi_dot(self.layers)


def test_stacks_of_matrices(backend_name: str) -> None:
    backend = get_backend(backend_name)
    stack = np.stack([low_rank_matrix((6, 9), rank, seed=rank) for rank in (1, 2, 5, 6)]).reshape(2, 2, 6, 9)
    x = backend.asarray(stack)
    found = backend.to_numpy(matrix_rank(x))
    np.testing.assert_array_equal(found, [[1, 2], [5, 6]])
    s = np.linalg.svd(stack, compute_uv=False)
    p = s / s.sum(-1, keepdims=True)
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(backend.to_numpy(singular_values(x)), s, **close)
    np.testing.assert_allclose(backend.to_numpy(effective_rank(x)), np.exp(-(p * np.log(p)).sum(-1)), **close)
    np.testing.assert_allclose(backend.to_numpy(stable_rank(x)), (s**2).sum(-1) / s[..., 0] ** 2, **close)
    np.testing.assert_allclose(backend.to_numpy(schatten_norm(x, 2)), np.linalg.norm(stack, axis=(-2, -1)), **close)
    np.testing.assert_allclose(
        backend.to_numpy(schatten_norm(x, 1)), np.linalg.norm(stack, "nuc", axis=(-2, -1)), **close
    )


@pytest.mark.few_on_jax("shape3-real", "shape5-complex")
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(4, 4), (1, 6), (6, 1), (2, 9), (9, 2), (2, 3, 4, 5), (1, 1), (2, 7, 1)])
def test_against_singular_values(backend_name: str, shape: tuple[int, ...], is_complex: bool) -> None:
    backend = get_backend(backend_name)
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0)
    s = np.reshape([scipy.linalg.svdvals(m) for m in x.reshape(-1, *shape[-2:])], (*shape[:-2], min(shape[-2:])))
    for name, (function, formula) in NUMBERS.items():
        found = backend.to_numpy(function(backend.asarray(x)))
        assert found.dtype == np.float64, name
        np.testing.assert_allclose(found, formula(s), rtol=1e-11, atol=1e-13, err_msg=name)


def test_against_numpys_norms() -> None:
    x, axes = np.random.default_rng(4).standard_normal((5, 3, 4)), {"axis": (-2, -1)}
    np.testing.assert_allclose(nuclear_norm(x), np.linalg.norm(x, "nuc", **axes))
    np.testing.assert_allclose(ky_fan_norm(x, 3), np.linalg.norm(x, "nuc", **axes))
    np.testing.assert_allclose(ky_fan_norm(x, 1), np.linalg.norm(x, 2, **axes))
    np.testing.assert_allclose(distance_to_rank(x, 0), np.linalg.norm(x, **axes))
    np.testing.assert_allclose(condition_number(x), np.linalg.cond(x))
    np.testing.assert_array_equal(distance_to_rank(x, 3), np.zeros(5))
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    best = (u[..., :2] * s[:, None, :2]) @ vh[:, :2]
    np.testing.assert_allclose(distance_to_rank(x, 2), np.linalg.norm(x - best, **axes))


def test_zero_and_low_rank_matrices(backend_name: str) -> None:
    backend = get_backend(backend_name)
    shapes = ((3, 3), (1, 4), (4, 1), (2, 3, 9))
    for shape in shapes[:1] if backend_name == "jax" else shapes:  # JAX compiles each anew
        x = backend.asarray(np.zeros(shape))
        for name, (function, _) in NUMBERS.items():
            expected = np.inf if name == "condition_number" else 0
            np.testing.assert_array_equal(backend.to_numpy(function(x)), np.full(shape[:-2], expected), err_msg=name)
    x = backend.asarray(np.diag([3.0, 1.0, 0.0]))
    assert (float(condition_number(x)), float(distance_to_rank(x, 2))) == (np.inf, 0)
    assert float(participation_ratio(x)) == pytest.approx(100 / 82)
    assert float(schatten_norm(x, 0.5)) == pytest.approx((1 + np.sqrt(3)) ** 2)


def test_norms_of_integers_and_factorizations() -> None:
    assert float(nuclear_norm(np.array([[3, 0], [0, 4]]))) == 7
    x = Product(*(np.random.default_rng(0).standard_normal(s) for s in ((5, 2), (2, 7))))
    s = np.linalg.svd(x.to_dense(), compute_uv=False)
    assert float(ky_fan_norm(x, 2)) == pytest.approx(s.sum())
    assert float(distance_to_rank(x, 2)) < 1e-13
    assert float(distance_to_rank(x, 1)) == pytest.approx(s[1])


def test_wrong_arguments() -> None:
    x = np.eye(2, 5)
    for k in (0, 3):
        with pytest.raises(ValueError, match=rf"k lies in 1 .. 2, the number of singular values, got {k}"):
            ky_fan_norm(x, k)
    with pytest.raises(ValueError, match="got r = -1"):
        distance_to_rank(x, -1)
    with pytest.raises(TypeError, match=r"r is an integer, got 1\.5"):
        distance_to_rank(x, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="p = 0 count values"):
        schatten_norm(x, 0)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.integers(0, 9))
def test_laws(m: int, n: int, rank: int, is_complex: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((m, rank)), rng.standard_normal((rank, n))
    x = u @ (v + 1j * rng.standard_normal((rank, n))) if is_complex else u @ v
    found = int(matrix_rank(x, rtol=1e-10))
    assert found == min(m, n, rank)
    assert 1 - 1e-12 <= float(effective_rank(x)) <= found + 1e-9
    assert 1 - 1e-12 <= float(stable_rank(x)) <= found + 1e-9
    assert 1 - 1e-12 <= float(participation_ratio(x)) <= found + 1e-9
    assert 0 <= float(spectral_entropy(x)) <= np.log(found) + 1e-9
    scale, frobenius = float(nuclear_norm(x)), float(schatten_norm(x, 2))
    assert float(distance_to_rank(x, found)) <= 1e-12 * scale
    assert float(ky_fan_norm(x, found)) == pytest.approx(scale)
    assert float(schatten_norm(x, np.inf)) <= frobenius * (1 + 1e-12) <= scale * (1 + 1e-11)
    assert scale <= np.sqrt(found) * frobenius * (1 + 1e-9)


@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(0, 9))
def test_numbers_are_unitarily_invariant(m: int, n: int, is_complex: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, z = (rng.standard_normal(s) + 1j * is_complex * rng.standard_normal(s) for s in ((m, n), (m, m), (n, n)))
    turned = np.linalg.qr(y)[0] @ x @ np.linalg.qr(z)[0]
    for name, (function, _) in NUMBERS.items():
        assert float(function(turned)) == pytest.approx(float(function(x)), rel=1e-8, abs=1e-12), name
        assert float(function(x.conj().T)) == pytest.approx(float(function(x)), rel=1e-8, abs=1e-12), name


@pytest.mark.parametrize("shape", [(3, 3), (1, 4), (4, 1), (2, 3, 9)])
def test_zero_matrices_have_rank_zero(backend_name: str, shape: tuple[int, ...]) -> None:
    x = get_backend(backend_name).asarray(np.zeros(shape))
    for function in (matrix_rank, effective_rank, stable_rank):
        assert not np.asarray(function(x)).any()


def test_default_tolerance_is_numpys(backend_name: str) -> None:
    backend = get_backend(backend_name)
    for factor, expected in ((2.0, 5), (0.5, 4)):
        for dtype in ("float64", "float32"):
            x = np.diag([1, 1, 1, 1, factor * 50 * np.finfo(dtype).eps]).astype(dtype)
            x = np.pad(x, ((0, 0), (0, 45)))
            assert int(matrix_rank(backend.asarray(x))) == expected == np.linalg.matrix_rank(x)


def test_tolerances() -> None:
    x = np.diag([1.0, 1e-3, 1e-6])
    assert int(matrix_rank(x, rtol=1e-4)) == 2
    assert int(matrix_rank(10 * x, atol=1e-4)) == 2
    assert int(matrix_rank(x, rtol=1e-2, atol=1e-7)) == 1
    with pytest.raises(ValueError, match="rtol 1e-17 is below the accuracy floor"):
        matrix_rank(x, rtol=1e-17)
    with pytest.raises(ValueError, match=r"atol 1e-15 is below the accuracy of the singular values, 2\.22e-14"):
        matrix_rank(100 * x, atol=1e-15)
    with pytest.raises(ValueError, match=r"below the accuracy floor 1\.49e-08 of 'gram'"):
        singular_values(x, method="gram", rtol=1e-9)


def test_factorizations() -> None:
    rng = np.random.default_rng(0)
    x = Product(rng.standard_normal((5, 2)), rng.standard_normal((2, 3)), rng.standard_normal((3, 7)))
    assert int(matrix_rank(x)) == 2
    np.testing.assert_allclose(singular_values(x), np.linalg.svd(x.to_dense())[1], atol=1e-12)
    x.shape = (2**20, 2**20)
    with pytest.raises(ValueError, match=r"a Product of order 2 and shape \(1048576, 1048576\)"):
        effective_rank(x)
    x.shape = (10,) * 1000
    with pytest.raises(ValueError, match=r"of order 1000 and shape \(10, 10, 10, .., 10\) with 10\^1000.0 ent"):
        effective_rank(x)


def test_integers_and_short_floats(backend_name: str) -> None:
    backend = get_backend(backend_name)
    x = np.array([[1, 2, 3], [2, 4, 6]])
    assert int(matrix_rank(backend.asarray(x))) == 1
    assert float(stable_rank(backend.asarray(x > 1))) > 1
    if "bfloat16" in backend.dtypes:
        short = backend.asarray(np.diag([1.0, 0.5, 0.001]), dtype="bfloat16")
        assert int(matrix_rank(short)) == 2  # the rounding of bfloat16 counts, not that of float32
        assert backend.dtype_of(singular_values(short)) == "float32"


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (
            np.array([[1, np.nan], [np.inf, 0]]),
            ValueError,
            r"2 of 4 entries are NaN or infinite, the first at index \(0, 1\)",
        ),
        (np.ones(3), ValueError, r"got an array of shape \(3,\), needed a matrix"),
        (np.float32(3), TypeError, "got numpy.float32"),
        (np.ones((0, 3)), ValueError, r"of shape \(0, 3\) is empty: axis 0 has size 0"),
        (np.ones((2, 3, 0)), ValueError, "axis 2 has size 0"),
        (np.array([["a", "b"]]), TypeError, "array of dtype <U1, needed numbers"),
        (np.array([[None, 1]]), TypeError, "array of dtype object"),
        ([[1.0, 2.0]], TypeError, "got builtins.list"),
    ],
)
def test_bad_input(x: object, kind: type[Exception], message: str) -> None:
    for function in (singular_values, matrix_rank, *(f for f, _ in NUMBERS.values())):
        with pytest.raises(kind, match=message):
            function(x)


def test_under_transformations() -> None:
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    expected = effective_rank(x)
    np.testing.assert_allclose(jax.jit(jax.vmap(effective_rank))(x), expected)
    np.testing.assert_allclose(torch.func.vmap(effective_rank)(torch.as_tensor(x)), expected)
    np.testing.assert_array_equal(jax.jit(matrix_rank)(x), [4, 4, 4])
    gradients = (
        jax.jit(jax.grad(effective_rank))(x[0]),
        torch.func.grad(effective_rank)(torch.as_tensor(x[0])).numpy(),
    )
    step = np.random.default_rng(1).standard_normal((4, 5))
    slope = (float(effective_rank(x[0] + 1e-6 * step)) - float(effective_rank(x[0] - 1e-6 * step))) / 2e-6
    for gradient in gradients:
        assert float((gradient * step).sum()) == pytest.approx(slope, rel=1e-6)
