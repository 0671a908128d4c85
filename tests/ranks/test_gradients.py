from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tnrank import MatrixFactorization, linalg, ranks

Matrix = np.ndarray[Any, Any]

# On matrices, and by NumPy alone from nonzero singular values.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Matrix], float]]] = {
    "effective_rank": (ranks.effective_rank, lambda s: math.exp(_entropy(s))),
    "spectral_entropy": (ranks.spectral_entropy, lambda s: _entropy(s)),
    "stable_rank": (ranks.stable_rank, lambda s: (s**2).sum() / s[0] ** 2),
    "participation_ratio": (ranks.participation_ratio, lambda s: (s**2).sum() ** 2 / (s**4).sum()),
    "nuclear_norm": (ranks.nuclear_norm, lambda s: s.sum()),
    "schatten_0.5": (lambda M: ranks.schatten_norm(M, 0.5), lambda s: np.sqrt(s).sum() ** 2),
    "schatten_1": (lambda M: ranks.schatten_norm(M, 1), lambda s: s.sum()),
    "schatten_2": (lambda M: ranks.schatten_norm(M, 2), lambda s: math.sqrt((s**2).sum())),
    "schatten_3": (lambda M: ranks.schatten_norm(M, 3), lambda s: (s**3).sum() ** (1 / 3)),
    "schatten_inf": (lambda M: ranks.schatten_norm(M, math.inf), lambda s: s[0]),
    "ky_fan_norm": (lambda M: ranks.ky_fan_norm(M, 2), lambda s: s[:2].sum()),
    "condition_number": (ranks.condition_number, lambda s: s[0] / s[-1]),
    "distance_to_rank": (lambda M: ranks.distance_to_rank(M, 1), lambda s: math.sqrt((s[1:] ** 2).sum())),
    "smallest, by gram": (lambda M: linalg.singular_values(M, "gram")[..., -1], lambda s: s[-1]),
}


FEW_ON_JAX = ("effective_rank", "schatten_0.5", "ky_fan_norm", "distance_to_rank", "smallest, by gram")
"""Of the functions whose derivatives JAX transforms and compiles, those of the quick suite."""


def _entropy(s: Matrix) -> float:
    p = s / s.sum()
    return float(-(p * np.log(p)).sum())


def _random(shape: tuple[int, ...], is_complex: bool = False, seed: int = 0) -> Matrix:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if is_complex else x


@pytest.fixture(params=["jax", "torch"])
def gradient(request: pytest.FixtureRequest) -> Callable[..., Matrix]:
    """``gradient(f, x)``: with respect to real plus i times imaginary parts; of the sum over a batch."""
    if request.param == "jax":
        jax = pytest.importorskip("jax")
        # In one program: step by step, each step is compiled.
        return lambda f, x: np.conj(jax.jit(jax.grad(lambda y: f(y).sum()))(x))
    torch = pytest.importorskip("torch")

    def backward(f: Callable[[Any], Any], x: Matrix) -> Matrix:
        leaf = torch.tensor(x, requires_grad=True)
        f(leaf).sum().backward()
        return leaf.grad.numpy()

    return backward


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (5, 2)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_differences(gradient: Any, name: str, shape: tuple[int, int], is_complex: bool) -> None:
    function, formula = FUNCTIONS[name]
    x, step = _random(shape, is_complex), _random(shape, is_complex, seed=1)

    def along(t: float) -> float:
        return float(formula(np.linalg.svd(x + t * step, compute_uv=False)))

    assert float(function(x)) == pytest.approx(along(0), rel=1e-12)
    h = 1e-3  # of fourth order, so that neither rounding nor the step is seen
    slope = (8 * (along(h) - along(-h)) - along(2 * h) + along(-2 * h)) / (12 * h)
    found = gradient(function, x)
    assert found.shape == shape
    assert float(np.vdot(found, step).real) == pytest.approx(slope, rel=1e-6)


def _orthogonal(n: int, is_complex: bool = False) -> Matrix:
    return np.linalg.qr(_random((n, n), is_complex, seed=2))[0]


SINGULAR = {
    "zero": np.zeros((3, 3)),
    "zero, wide": np.zeros((2, 7)),
    "zero, complex": np.zeros((3, 2), np.complex128),
    "identity": np.eye(3),
    "orthogonal": _orthogonal(4),
    "unitary": _orthogonal(3, is_complex=True),
    "exact rank 1": np.ones((4, 3)),
    "rank 1, tall": np.outer(np.arange(9.0), [1.0, -2.0, 0.0]),
    "rank 2 with equal values": np.diag([2.0, 2.0, 0.0, 0.0]),
    "rank 2 up to rounding": _random((5, 2)) @ _random((2, 6), seed=1),
    "rank 2 up to rounding, wide": _random((4, 2)) @ _random((2, 16), seed=1),
    "rank 1, complex": np.outer(_random((6,), True), _random((2,), True)),
    "batch": np.stack([np.zeros((2, 5)), np.eye(2, 5), np.ones((2, 5)), _random((2, 5))]),
    "tiny": 1e-120 * _random((3, 3)),
    "huge": 1e120 * np.eye(3),
}


@pytest.mark.parametrize("case", SINGULAR)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_everywhere(gradient: Any, name: str, case: str) -> None:
    x = SINGULAR[case]
    function = FUNCTIONS[name][0]
    found = gradient(function, x)
    assert np.isfinite(found).all()
    if case.startswith("zero"):
        assert not found.any()
    if case == "batch":
        np.testing.assert_allclose(found, [gradient(function, m) for m in x], rtol=1e-12, atol=1e-14)


def test_closed_forms(gradient: Any) -> None:
    close = {"rtol": 1e-12, "atol": 1e-12}
    for x in (_random((3, 6)), _random((6, 3), True)):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        norm = np.linalg.norm(x)
        np.testing.assert_allclose(gradient(ranks.nuclear_norm, x), u @ vh, **close)
        np.testing.assert_allclose(gradient(FUNCTIONS["schatten_2"][0], x), x / norm, **close)
        top = np.outer(u[:, 0], vh[0])
        np.testing.assert_allclose(gradient(FUNCTIONS["schatten_inf"][0], x), top, **close)
        stable = 2 * x / s[0] ** 2 - 2 * norm**2 / s[0] ** 3 * top
        np.testing.assert_allclose(gradient(ranks.stable_rank, x), stable, **close)
        rest = x - s[0] * top
        np.testing.assert_allclose(gradient(FUNCTIONS["distance_to_rank"][0], x), rest / np.linalg.norm(rest), **close)
        np.testing.assert_allclose(gradient(lambda M: ranks.ky_fan_norm(M, 3), x), u @ vh, **close)
    x = _random((1, 5))
    for name in ("nuclear_norm", "schatten_0.5", "schatten_inf"):
        np.testing.assert_allclose(gradient(FUNCTIONS[name][0], x), x / np.linalg.norm(x), **close)
    for name in ("effective_rank", "stable_rank", "participation_ratio", "condition_number"):
        np.testing.assert_allclose(gradient(FUNCTIONS[name][0], x), np.zeros((1, 5)), **close)


def test_subgradient_of_least_norm_at_low_rank(gradient: Any) -> None:
    """Directions that leave the space of matrices of this rank have derivative 0, rounding noise or not."""
    x = _random((6, 2)) @ _random((2, 9), seed=1)
    u, s, vh = (f[..., :2] if k < 2 else f[:2] for k, f in enumerate(np.linalg.svd(x, full_matrices=False)))
    np.testing.assert_allclose(gradient(ranks.nuclear_norm, x), u @ vh, atol=1e-12)
    half = (u * (np.sqrt(s).sum() / np.sqrt(s))) @ vh
    np.testing.assert_allclose(gradient(FUNCTIONS["schatten_0.5"][0], x), half, atol=1e-6)
    assert not gradient(lambda M: ranks.distance_to_rank(M, 2), x).any()
    y = _random((6, 9), seed=3)  # a subgradient: the norm lies above its tangent
    slope = float((gradient(ranks.nuclear_norm, x) * (y - x)).sum())
    assert float(ranks.nuclear_norm(y)) >= float(ranks.nuclear_norm(x)) + slope


@pytest.mark.parametrize("s", [[3.0, 2.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0] * 4, [1.0] * 4])
def test_finite_on_spectra(gradient: Any, s: list[float]) -> None:
    for name, arguments in (
        ("effective_rank_of", ()),
        ("spectral_entropy_of", ()),
        ("stable_rank_of", ()),
        ("participation_ratio_of", ()),
        ("schatten_norm_of", (0.3,)),
        ("schatten_norm_of", (2,)),
        ("schatten_norm_of", (math.inf,)),
        ("nuclear_norm_of", ()),
        ("ky_fan_norm_of", (2,)),
        ("condition_number_of", ()),
        ("distance_to_rank_of", (1,)),
        ("distance_to_rank_of", (4,)),
    ):
        function = getattr(ranks, name)
        assert np.isfinite(gradient(lambda t, f=function, a=arguments: f(t, *a), np.array(s))).all(), name


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # of torch.func.jvp
@pytest.mark.parametrize("name", FUNCTIONS)
def test_under_transformations_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    function = FUNCTIONS[name][0]
    x, step = _random((3, 4, 9)), _random((3, 4, 9), seed=1)
    t, d = torch.as_tensor(x), torch.as_tensor(step)
    expected = np.stack([torch.func.grad(function)(m) for m in t])
    close = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(torch.func.vmap(torch.func.grad(function))(t), expected, **close)
    np.testing.assert_allclose(torch.func.grad(lambda y: function(y).sum())(t), expected, **close)
    slopes = (expected * step).sum((1, 2))
    np.testing.assert_allclose(torch.func.jvp(function, (t,), (d,))[1], slopes, **close)
    np.testing.assert_allclose(torch.func.vmap(function)(t), [float(function(m)) for m in x], **close)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW_ON_JAX else pytest.mark.slow) for name in FUNCTIONS]
)
def test_under_transformations_of_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    function = FUNCTIONS[name][0]
    x, step = _random((3, 4, 9)), _random((3, 4, 9), seed=1)
    expected = np.stack([torch.func.grad(function)(m) for m in torch.as_tensor(x)])
    close = {"rtol": 1e-10, "atol": 1e-12}

    @jax.jit  # one program, since each is compiled
    def by_jax(x: Any, step: Any) -> Any:
        return jax.vmap(jax.grad(function))(x), jax.jvp(function, (x,), (step,))[1], function(x)

    gradients, slopes, values = by_jax(x, step)
    np.testing.assert_allclose(gradients, expected, **close)
    np.testing.assert_allclose(slopes, (expected * step).sum((1, 2)), **close)
    np.testing.assert_allclose(values, [float(function(m)) for m in x], **close)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # of torch.func.jvp
def test_second_derivatives() -> None:
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    x, step = _random((3, 4)), _random((3, 4), seed=1)
    hessian = np.asarray(jax.jit(jax.hessian(ranks.effective_rank))(x))
    np.testing.assert_allclose(torch.func.hessian(ranks.effective_rank)(torch.as_tensor(x)), hessian, atol=1e-10)
    gradient = jax.jit(jax.grad(ranks.effective_rank))
    gradients = [np.asarray(gradient(x + t * step)) for t in (1e-5, -1e-5)]
    np.testing.assert_allclose(np.tensordot(hessian, step), (gradients[0] - gradients[1]) / 2e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision(gradient: Any, dtype: str) -> None:
    is_complex = dtype == "complex64"
    x = (_random((5, 2), is_complex) @ _random((2, 5), is_complex, seed=1)).astype(dtype)
    for function, _ in FUNCTIONS.values():
        found = gradient(function, x)
        assert str(found.dtype) == dtype
        assert np.isfinite(found).all()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_through_a_factorization(backend: str) -> None:
    """The gradient in the layers of a product: what a penalty on the rank of the end matrix needs."""
    pytest.importorskip(backend)
    a, b = _random((5, 4)), _random((4, 6), seed=1)
    x = MatrixFactorization([a, b]).to(backend)
    both = x.backend.value_and_grad(lambda layers: ranks.stable_rank(x.replace(layers)))
    value, found = both(tuple(x.arrays.values()))
    assert float(value) == pytest.approx(float(ranks.stable_rank(a @ b)))
    u, s, vh = np.linalg.svd(a @ b, full_matrices=False)
    outer = 2 * (a @ b) / s[0] ** 2 - 2 * (s**2).sum() / s[0] ** 3 * np.outer(u[:, 0], vh[0])
    np.testing.assert_allclose(x.backend.to_numpy(found[0]), outer @ b.T, atol=1e-12)
    np.testing.assert_allclose(x.backend.to_numpy(found[1]), a.T @ outer, atol=1e-12)
