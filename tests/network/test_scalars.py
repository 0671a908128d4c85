"""Numbers as tensors without indices, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank import Network

SCALED = Network({"s": "", "A": "ij", "t": (), "B": "jk"}, "ik")
A = np.arange(6.0).reshape(2, 3)
B = np.arange(12.0).reshape(3, 4) - 5


@pytest.mark.parametrize("s", [3, -0.5, True, np.float64(2.5), np.int8(-3), np.bool_(1), np.float32(0.25), 2 - 1j])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_scalars_take_the_dtype_of_the_arrays(backend_name, s, dtype):
    backend = tnrank.get_backend(backend_name)
    if backend_name == "jax" and (dtype == "complex64" or isinstance(s, (bool, np.generic))):
        pytest.skip("compiles each case")
    arrays = {"s": s, "A": backend.asarray(A, dtype=dtype), "t": 2, "B": backend.asarray(B, dtype=dtype)}
    result = tnrank.contract(SCALED, arrays)
    number = s.item() if isinstance(s, np.generic) else s
    wanted = np.asarray(number * 2 * (A.astype(dtype) @ B.astype(dtype)))  # NumPy's rule for Python's numbers
    assert backend.dtype_of(result) == str(wanted.dtype)
    np.testing.assert_allclose(backend.to_numpy(result), wanted, rtol=1e-6)
    plan = SCALED.plan({"i": 2, "j": 3, "k": 4})
    assert SCALED.sizes(arrays) == plan.sizes
    np.testing.assert_allclose(backend.to_numpy(plan(arrays)), wanted, rtol=1e-6)


def test_a_norm_is_a_scalar():
    """The entry ``x.norm()`` of a factorization, and its square by a hyperindex-free network."""
    x = tnrank.CPFactorization.random((3, 4), rank=2, seed=0)
    network = Network({"n": "", "x": "ij"}, "ij")
    arrays = {"n": x.norm(), "x": x.to_dense()}
    np.testing.assert_allclose(tnrank.contract(network, arrays), np.linalg.norm(x.to_dense()) * x.to_dense())


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((2, 3), np.array(6)),
        ((2, 0.5), np.array(1.0)),
        ((np.float32(2), 3.0), np.array(6.0, "float32")),
        ((np.float32(2), np.float64(3)), np.array(6.0)),
        ((1j, 1j), np.array(-1 + 0j)),
        ((np.inf, 2.0), np.array(np.inf)),
    ],
)
def test_scalars_alone_are_numpy_arrays(values, wanted):
    network = Network.from_einsum(",->")
    arrays = dict(zip("01", values, strict=True))
    for result in (tnrank.contract(network, arrays), network.plan({})(arrays)):
        assert isinstance(result, np.ndarray)
        assert result.dtype == wanted.dtype
        np.testing.assert_array_equal(result, wanted)
    assert tnrank.contract(Network.from_einsum("->"), {"0": 2.5}) == 2.5


def test_integers_become_floating_beside_a_fraction_only():
    network = Network({"s": "", "A": "i"}, "i")
    assert tnrank.contract(network, {"s": 3, "A": np.arange(3)}).dtype == np.arange(3).dtype
    np.testing.assert_array_equal(tnrank.contract(network, {"s": 0.5, "A": np.arange(3)}), [0, 0.5, 1])


@pytest.mark.parametrize(("value", "dtype"), [(300, "int8"), (-1, "uint8"), (1e300, "float32"), (10**400, "float64")])
def test_scalars_that_do_not_fit_are_refused(value, dtype):
    network = Network({"s": "", "A": "i"}, "i")
    with pytest.raises(ValueError, match=r"'s' is the number .*, which does not fit the dtype"):
        tnrank.contract(network, {"s": value, "A": np.ones(2, dtype)})


def test_environments_and_pull_back_of_scalars():
    network = Network({"s": "", "A": "i", "B": "i"}, "")
    a, b = np.arange(3.0), np.array([1.0, -2.0, 4.0])
    arrays = {"s": 2.0, "A": a, "B": b}
    np.testing.assert_allclose(tnrank.environment(network, arrays, "s"), a @ b)
    np.testing.assert_allclose(tnrank.environment(network, arrays, "A"), 2 * b)
    np.testing.assert_allclose(tnrank.environment(network, arrays, "A", cotangent=3.0), 6 * b)
    np.testing.assert_allclose(tnrank.environment(network, arrays, "s", cotangent=np.float32(3.0)), 3 * (a @ b))
    result, pulled = network.plan({"i": 3}).pull_back(arrays, 3.0)
    np.testing.assert_allclose(result, 2 * (a @ b))
    for name, wanted in (("s", 3 * (a @ b)), ("A", 6 * b), ("B", 6 * a)):
        np.testing.assert_allclose(pulled[name], wanted)
    with pytest.raises(ValueError, match=r"the cotangent is .*, needed an array of the numpy backend with the shape"):
        network.plan({"i": 3}).pull_back(arrays, np.ones(2))


def test_traced_and_given_scalars_under_jit():
    jax = pytest.importorskip("jax")
    network = Network({"s": "", "A": "i", "t": ""}, "i")
    values = jax.numpy.arange(3, dtype="float32")
    compiled = jax.jit(lambda s, a: tnrank.contract(network, {"s": s, "A": a, "t": 2.0}))
    result = compiled(1.5, values)
    assert str(result.dtype) == "float32"
    np.testing.assert_allclose(result, 3 * np.arange(3))
    slope = jax.grad(lambda s: tnrank.contract(network, {"s": s, "A": values, "t": 2.0}).sum())(1.0)
    np.testing.assert_allclose(slope, 6.0)


def test_gradients_pass_scalars_on_torch():
    torch = pytest.importorskip("torch")
    a = torch.ones(3, requires_grad=True)
    network = Network({"s": "", "A": "i"}, "i")
    tnrank.contract(network, {"s": 2, "A": a}).sum().backward()
    np.testing.assert_allclose(a.grad, [2, 2, 2])


def test_what_is_no_scalar():
    network = Network({"s": "", "A": "i"}, "i")
    for thing in ("2", None, [2.0], np.datetime64("2020-01-01"), np.str_("a")):
        with pytest.raises(TypeError, match="needed an array of a backend"):
            tnrank.contract(network, {"s": thing, "A": np.ones(2)})
    with pytest.raises(TypeError, match="needed an array of a backend"):
        tnrank.contract(network, {"s": 1.0, "A": 2.0})


def test_scalars_in_one_graph_of_torch():
    torch = pytest.importorskip("torch")
    network = Network({"s": "", "A": "i"}, "i")
    compiled = torch.compile(lambda x: tnrank.contract(network, {"s": 2.0, "A": x}), fullgraph=True, backend="eager")
    np.testing.assert_array_equal(compiled(torch.ones(3)), [2, 2, 2])
