from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from tnrank import get_backend
from tnrank.linalg import accuracy_floor, choose_method, default_rtol, eps_of, singular_values

SHAPES = [(5, 5), (7, 5), (3, 40), (40, 3), (1, 6), (6, 1), (1, 1), (2, 3, 4, 9), (4, 2, 2)]


def _dense(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


@pytest.mark.few_on_jax(
    "auto-float64", "qr-complex128-shape2", "qr-complex128-shape7", "gram-complex128-shape3", "gram-float64-shape7"
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("method", ["qr", "gram", "auto"])
def test_agrees_with_lapack(backend_name: str, shape: tuple[int, ...], dtype: str, method: str) -> None:
    backend = get_backend(backend_name)
    x = _dense(shape, dtype)
    found = singular_values(backend.asarray(x), method)
    assert backend.dtype_of(found) == "float64"
    oracle = [scipy.linalg.svdvals(m) for m in x.reshape(-1, *shape[-2:])]
    oracle = np.reshape(oracle, (*shape[:-2], min(shape[-2:])))
    tolerance = 1e-7 if method == "gram" else 1e-13
    np.testing.assert_allclose(backend.to_numpy(found), oracle, atol=tolerance * oracle.max())


@pytest.mark.few_on_jax("shape1")
@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 9), (9, 2)])
def test_zero_matrix(backend_name: str, method: str, shape: tuple[int, int]) -> None:
    backend = get_backend(backend_name)
    found = backend.to_numpy(singular_values(backend.asarray(np.zeros(shape)), method))
    np.testing.assert_array_equal(found, np.zeros(min(shape)))


@pytest.mark.few_on_jax("sides1-gram-float64", "sides0-qr-float32", "sides1-gram-float32")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize("sides", [(12, 12), (12, 200)])
def test_accuracy_floors(backend_name: str, dtype: str, method: str, sides: tuple[int, int]) -> None:
    """Singular values 1, 1/4, 1/16 ..: each is off by at most a small multiple of the floor of the method."""
    rng = np.random.default_rng(1)
    u, _ = np.linalg.qr(rng.standard_normal((sides[0], 12)))
    v, _ = np.linalg.qr(rng.standard_normal((sides[1], 12)))
    s = 4.0 ** -np.arange(12)
    backend = get_backend(backend_name)
    x = backend.asarray(((u * s) @ v.T).astype(dtype))
    found = backend.to_numpy(singular_values(x, method))
    assert str(found.dtype) == dtype
    assert abs(found - s).max() < 8 * accuracy_floor(method, dtype)


@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize(("shape", "rank"), [((4, 4), 4), ((3, 20), 2), ((20, 3), 2), ((5, 6), 1), ((3, 4), 0)])
@pytest.mark.parametrize("is_complex", [False, True])
def test_gradient(method: str, shape: tuple[int, int], rank: int, is_complex: bool) -> None:
    """U diag(g) V^H by either method, with 0 in place of g where a value cannot be told from zero."""
    torch = pytest.importorskip("torch")
    dtype = "complex128" if is_complex else "float64"
    x = _dense((shape[0], rank), dtype) @ _dense((rank, shape[1]), dtype)
    g = np.arange(1.0, min(shape) + 1)
    u, _, vh = np.linalg.svd(x, full_matrices=False)
    expected = (u[:, :rank] * g[:rank]) @ vh[:rank]
    if rank in (2, 4) or is_complex:  # of JAX, which compiles each
        jax = pytest.importorskip("jax")
        found = jax.jit(jax.grad(lambda m: (singular_values(m, method) * g).sum()))(x)
        np.testing.assert_allclose(found.conj(), expected, atol=1e-12)
    leaf = torch.tensor(x, requires_grad=True)
    (singular_values(leaf, method) * torch.as_tensor(g)).sum().backward()
    np.testing.assert_allclose(leaf.grad, expected, atol=1e-12)


def test_gradient_asks_for_singular_vectors_alone() -> None:
    """The function that computes the values is never differentiated."""
    torch = pytest.importorskip("torch")
    backend = get_backend("torch")
    x = torch.tensor(_dense((3, 4), "float64"), requires_grad=True)
    backend.spectrum(lambda m: torch.linalg.svdvals(m.detach()), x, 1e-15).sum().backward()
    u, _, vh = np.linalg.svd(x.detach().numpy(), full_matrices=False)
    np.testing.assert_allclose(x.grad, u @ vh, atol=1e-12)
    assert get_backend("numpy").spectrum(sum, np.ones(3), 0.1) == 3


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_gram_neither_overflows_nor_vanishes(scale: float) -> None:
    x = _dense((4, 30), "float64")
    np.testing.assert_allclose(singular_values(x * scale, "gram") / scale, scipy.linalg.svdvals(x), rtol=1e-10)


def test_choice_of_the_method() -> None:
    assert choose_method("auto", None, "float64") == "qr"
    assert choose_method("auto", 1e-7, "float64") == "qr"
    assert choose_method("auto", 1e-6, "float64") == "gram"
    assert choose_method("auto", 1e-6, "float32") == "qr"
    assert choose_method("gram", 2e-8, "float64") == "gram"


@pytest.mark.parametrize(
    ("method", "rtol", "dtype", "message"),
    [
        ("gram", 1e-10, "float64", "below the accuracy floor 1.49e-08 of 'gram' in float64: use method='qr'"),
        ("qr", 1e-17, "float64", "floor 2.22e-16 of 'qr' in float64"),
        ("auto", 1e-17, "float64", "floor 2.22e-16"),
        ("auto", 0.0, "float64", "rtol 0 is below"),
        ("qr", 1e-9, "float32", "or convert to float64"),
        ("auto", 1.0, "float64", r"lies in \[0, 1\), got 1.0"),
        ("auto", -0.1, "float64", r"lies in \[0, 1\)"),
        ("auto", float("nan"), "float64", r"lies in \[0, 1\)"),
        ("lq", None, "float64", "unknown method 'lq'"),
    ],
)
def test_tolerances_that_raise(method: str, rtol: float | None, dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_method(method, rtol, dtype)


def test_other_bad_tolerances() -> None:
    with pytest.raises(TypeError, match="got '1e-3'"):
        choose_method("auto", "1e-3", "float64")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="convert to float32"):
        default_rtol((4096, 2), "bfloat16")
    with pytest.raises(ValueError, match="no rounding unit"):
        eps_of("int32")
    with pytest.raises(ValueError, match=r"got an array of shape \(3,\)"):
        singular_values(np.ones(3))


def test_eps() -> None:
    for dtype in ("float16", "float32", "float64", "complex64", "complex128"):
        assert eps_of(dtype) == np.finfo(dtype).eps
