"""Conformance suites that a third-party backend can run in its own tests.

``check_backend(backend)`` runs everything; ``backend_checks`` is the same as a list for ``pytest.mark.parametrize``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tnrank._backend import CAPABILITIES, Backend, Structure, backend_of, register_backend
from tnrank._typing import Array
from tnrank.network import Network, contract, environment

__all__ = ["backend_checks", "check_backend"]

backend_checks: list[Callable[[Backend], None]] = []
"""Every check of a backend: functions of the backend that raise an AssertionError."""

_NETWORKS = (
    (Network({"A": "ij", "B": "jk", "C": "kl"}), "a chain"),
    (Network({"A": "ir", "B": "jr", "C": "kr"}, "ijk"), "a hyperindex"),
    (Network({"A": "ir", "B": "jr", "C": "kr"}, "rkj"), "a hyperindex in the output"),
    (Network({"A": "bij", "B": "bjk", "C": "bk"}, "kbi"), "a batch index"),
    (Network({"A": "iij", "B": "jkk"}, "i"), "a diagonal and a trace"),
    (Network({"A": "ij", "B": "kl"}, "li"), "private sums and an outer product"),
    (Network({"A": "ij", "B": "ij"}, ""), "a scalar"),
    (Network({"A": "ij"}, "ji"), "one tensor"),
    (Network({"A": "ij", "B": "", "C": "jk"}, "ik"), "a tensor without axes"),
    (Network({"A": "ij", "B": "jk", "C": "ki", "D": "kb", "E": "bi"}, "b"), "cycles"),
)
_SIZES = {"i": 2, "j": 3, "k": 4, "l": 1, "r": 5, "b": 3}


def check_backend(backend: Backend) -> None:
    """Run all checks against ``backend``, which is registered with tnrank on the way.

    Raises:
        AssertionError: naming each check that failed and what it got.

    Example:
        >>> import tnrank
        >>> from tnrank.testing import check_backend
        >>> check_backend(tnrank.get_backend("numpy"))
    """
    failures = []
    for check in backend_checks:
        try:
            check(backend)
        except Exception as error:
            failures.append((check.__name__, error))
    if failures:
        told = "\n".join(f"  {name}: {type(error).__name__}: {error}" for name, error in failures)
        raise AssertionError(f"the backend {backend.name!r} fails {len(failures)} checks:\n{told}") from failures[0][1]


def _check(function: Callable[[Backend], None]) -> Callable[[Backend], None]:
    backend_checks.append(function)
    return function


class Probe(Structure):
    """An array with a title: the smallest structure that a backend can be asked to carry."""

    __slots__ = ("array", "title")

    def __init__(self, array: Array, title: str) -> None:
        self.array, self.title = array, title

    def _flatten(self) -> tuple[tuple[Array, ...], Any]:
        return (self.array,), self.title

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Array]) -> Probe:
        (array,) = arrays
        return cls(array, static)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


def _close(backend: Backend, got: Array, wanted: Any, what: str) -> None:
    found, wanted = np.asarray(backend.to_numpy(got)), np.asarray(wanted)
    _require(found.shape == wanted.shape, f"{what}: got the shape {found.shape}, needed {wanted.shape}")
    rtol = 1e-10 if backend.default_dtype == "float64" else 1e-4
    error = float(np.max(np.abs(found - wanted), initial=0.0))
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    _require(error <= rtol * scale, f"{what}: off by {error:.1e}, the values are about {scale:.1e}")


def _usable(backend: Backend) -> list[str]:
    """Declared dtypes, without those that are refused for now (JAX without x64)."""
    found = []
    for dtype in backend.dtypes:
        try:
            backend.asarray(np.ones(2), dtype=dtype)
        except ValueError:
            continue
        found.append(dtype)
    return found


def _arrays(backend: Backend, network: Network) -> tuple[dict[str, Array], list[Any]]:
    host = [_values(*(_SIZES[x] for x in labels), seed=k) for k, labels in enumerate(network.tensors.values())]
    return {name: backend.asarray(x, backend.default_dtype) for name, x in zip(network.tensors, host, strict=True)}, host


@_check
def describes_itself(backend: Backend) -> None:
    """Name, version, devices, dtypes and capabilities are there and known."""
    _require(isinstance(backend.name, str) and backend.name, "name is a string that is not empty")
    _require(isinstance(backend.version(), str) and backend.version(), "version() is a string that is not empty")
    _require(len(backend.devices()) > 0, "devices() names at least one device")
    _require(backend.default_dtype in backend.dtypes, f"default_dtype {backend.default_dtype!r} is not in dtypes")
    unknown = set(backend.capabilities) - set(CAPABILITIES)
    _require(not unknown, f"capabilities {sorted(unknown)} are unknown: needed some of {', '.join(CAPABILITIES)}")


@_check
def is_found_by_its_arrays(backend: Backend) -> None:
    """``backend_of`` an array is the backend."""
    _require(register_backend(backend) is backend, f"another backend is registered as {backend.name!r}")
    found = backend_of(backend.asarray(np.ones(2)))
    _require(found is backend, f"an array belongs to {found.name!r}: array_modules must be the root of its type")


@_check
def converts_there_and_back(backend: Backend) -> None:
    """Arrays keep values, dtype and device, for every dtype."""
    usable = _usable(backend)
    _require(backend.default_dtype in usable, f"asarray refuses the default dtype {backend.default_dtype!r}")
    for dtype in usable:
        values = np.array([[1.0, -2.0, 0.5], [0.0, 4.0, 8.0]])
        x = backend.asarray(values, dtype=dtype)
        _require(backend.dtype_of(x) == dtype, f"asarray(.., {dtype!r}) gave {backend.dtype_of(x)!r}")
        _require(backend.device_of(x) in backend.devices(), f"{backend.device_of(x)!r} is not among devices()")
        _require(backend.dtype_of(backend.asarray(x)) == dtype, f"asarray of a {dtype} array changed its dtype")
        again = backend.asarray(values, dtype=dtype, device=backend.device_of(x))
        _require(backend.device_of(again) == backend.device_of(x), "asarray(.., device=) is on another device")
        _require(type(backend.to_numpy(x)) is np.ndarray, "to_numpy gives a numpy.ndarray")
        _close(backend, x, values, f"{dtype} to NumPy")
    plain = backend.dtype_of(backend.asarray([1.0, 2.0]))
    _require(plain == backend.default_dtype, f"a list became {plain}, needed the default {backend.default_dtype}")


@_check
def refuses_an_unknown_dtype(backend: Backend) -> None:
    """A dtype that the backend lacks raises a ValueError."""
    try:
        backend.asarray(np.ones(2), dtype="float31")
    except ValueError as error:
        _require("float31" in str(error), f"the error does not name the dtype: {error}")
    else:
        raise AssertionError("asarray took the dtype 'float31': call self.check_dtype(dtype)")


@_check
def has_operators(backend: Backend) -> None:
    """Arrays know ``@``, ``*``, ``+``, ``-``, ``.mT``, slices and broadcasting."""
    a, b = _values(2, 3, 4), _values(2, 4, 5, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(b, backend.default_dtype)
    _close(backend, x @ y, a @ b, "batched x @ y")
    _close(backend, x[0, 0] @ y[0], a[0, 0] @ b[0], "vector @ matrix")
    _close(backend, x[0, 0] @ x[0, 1], a[0, 0] @ a[0, 1], "vector @ vector")
    _close(backend, x.mT, a.mT, "x.mT")
    _close(backend, x[:, 0:1] * x - x + x, a[:, :1] * a, "broadcasting")
    _require(tuple(x.shape) == (2, 3, 4), f"x.shape is {x.shape}, needed (2, 3, 4)")


@_check
def sums_products(backend: Backend) -> None:
    """``einsum`` of one and two operands, ``reshape``, ``permute`` and ``multiply_sum`` agree with NumPy."""
    a, b = _values(2, 3, 3), _values(3, 4, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(b, backend.default_dtype)
    for equation in ("ijj->ij", "ijj->i", "ijk->ki", "ijk->"):
        _close(backend, backend.einsum(equation, x), np.einsum(equation, a), f"einsum {equation}")
    for equation in ("ijk,kl->ijl", "ijk,kl->lkj", "ijj,jl->il"):
        _close(backend, backend.einsum(equation, x, y), np.einsum(equation, a, b), f"einsum {equation}")
    _close(backend, backend.reshape(x, (3, 6)), a.reshape(3, 6), "reshape")
    _close(backend, backend.permute(x, (2, 0, 1)), a.transpose(2, 0, 1), "permute")
    _close(backend, backend.reshape(backend.permute(x, (2, 0, 1)), (6, 3)), a.transpose(2, 0, 1).reshape(6, 3), "both")
    got = backend.multiply_sum(x, backend.reshape(x[:, :, 0], (2, 3, 1)), (0, 2))
    _close(backend, got, (a * a[:, :, :1]).sum((0, 2)), "multiply_sum")


@_check
def gathers_and_scatters(backend: Backend) -> None:
    """``scatter_add`` is the adjoint of ``take``, with repeated indices."""
    a, chosen = _values(3, 5, 2), np.array([4, 0, 4, 2])
    v = _values(3, 4, 2, seed=1)
    x, y, indices = backend.asarray(a, backend.default_dtype), backend.asarray(v, backend.default_dtype), None
    indices = backend.xp.asarray(chosen)
    _close(backend, backend.take(x, indices, 1), a[:, chosen], "take")
    wanted = np.zeros_like(a)
    np.add.at(wanted, (slice(None), chosen), v)
    _close(backend, backend.scatter_add((3, 5, 2), 1, indices, y), wanted, "scatter_add")


@_check
def does_linear_algebra(backend: Backend) -> None:
    """Singular values, squared norms and descent steps."""
    a, b = _values(2, 4, 3), _values(2, 3, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(b, backend.default_dtype)
    _close(backend, backend.svdvals(x), np.linalg.svd(a, compute_uv=False), "svdvals")
    _close(backend, backend.sum_of_squares([x, y]), (a**2).sum() + (b**2).sum(), "sum_of_squares")
    for got, wanted in zip(backend.descend([x, y], 0.5, [x, x[:, 0]]), (a / 2, b - a[:, 0] / 2), strict=True):
        _close(backend, got, wanted, "descend")
    backend.synchronize([x, y])


@_check
def contracts_networks(backend: Backend) -> None:
    """Networks of every kind contract as NumPy's einsum does, whole and in slices."""
    register_backend(backend)
    for network, what in _NETWORKS:
        arrays, host = _arrays(backend, network)
        wanted = np.einsum(network.to_einsum(), *host)
        _close(backend, contract(network, arrays), wanted, f"contract, {what}")
        limit = max(1, network.plan(network.sizes(arrays)).largest_intermediate // 2)
        try:
            sliced = network.plan(network.sizes(arrays), memory_limit=limit)
        except ValueError:
            continue
        _close(backend, sliced(arrays), wanted, f"contract in slices, {what}")


@_check
def keeps_dtypes(backend: Backend) -> None:
    """A contraction has the dtype and the device of its arrays."""
    register_backend(backend)
    network = _NETWORKS[1][0]
    for dtype in _usable(backend):
        arrays = {name: backend.asarray(np.ones((2, 5)), dtype) for name in network.tensors}
        result = contract(network, arrays)
        _require(backend.dtype_of(result) == dtype, f"{dtype} arrays gave a {backend.dtype_of(result)} result")
        _require(
            backend.device_of(result) == backend.device_of(arrays["A"]), f"{dtype}: the result is on another device"
        )


@_check
def pulls_back(backend: Backend) -> None:
    """Environments and ``pull_back`` agree; both are the gradient of the half squared norm."""
    register_backend(backend)
    for network, what in _NETWORKS:
        arrays, host = _arrays(backend, network)
        plan = network.plan(network.sizes(arrays))
        result, pulled = plan.pull_back(arrays, lambda value: value)
        wanted = np.einsum(network.to_einsum(), *host)
        for (name, given), x in zip(arrays.items(), host, strict=True):
            alone = environment(network, arrays, name, cotangent=result)
            _close(backend, alone, backend.to_numpy(pulled[name]), f"environment of {name!r}, {what}")
            turned = backend.to_numpy(pulled[name])
            _require(turned.shape == x.shape, f"pull_back of {name!r} has the shape {turned.shape}, needed {x.shape}")
            # <pulled, x> = <result, result> for each tensor, because the result is linear in it.
            got = float(np.sum(turned * x))
            _close(backend, backend.asarray(np.asarray(got), backend.default_dtype), np.sum(wanted**2), what)
            _require(given is arrays[name], "arrays are left as they are")
