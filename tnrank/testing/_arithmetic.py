"""Checks of a backend's arrays: conversion, operators, sums of products, linear algebra."""

from __future__ import annotations

import numpy as np

from tnrank._backend import CAPABILITIES, Backend, backend_of, register_backend
from tnrank.testing._checks import check, close, require, usable, values


@check
def describes_itself(backend: Backend) -> None:
    """Name, version, devices, dtypes and capabilities are there and known."""
    require(isinstance(backend.name, str) and backend.name, "name is a string that is not empty")
    require(isinstance(backend.version(), str) and backend.version(), "version() is a string that is not empty")
    require(len(backend.devices()) > 0, "devices() names at least one device")
    require(backend.default_dtype in backend.dtypes, f"default_dtype {backend.default_dtype!r} is not in dtypes")
    unknown = set(backend.capabilities) - set(CAPABILITIES)
    require(not unknown, f"capabilities {sorted(unknown)} are unknown: needed some of {', '.join(CAPABILITIES)}")


@check
def is_found_by_its_arrays(backend: Backend) -> None:
    """``backend_of`` an array is the backend."""
    require(register_backend(backend) is backend, f"another backend is registered as {backend.name!r}")
    found = backend_of(backend.asarray(np.ones(2), backend.default_dtype))
    require(found is backend, f"an array belongs to {found.name!r}: array_modules must be the root of its type")


@check
def converts_there_and_back(backend: Backend) -> None:
    """Arrays keep values, dtype and device, for every dtype."""
    dtypes = usable(backend)
    require(backend.default_dtype in dtypes, f"asarray refuses the default dtype {backend.default_dtype!r}")
    for dtype in dtypes:
        host = np.array([[1.0, -2.0, 0.5], [0.0, 4.0, 8.0]])
        x = backend.asarray(host, dtype=dtype)
        require(backend.dtype_of(x) == dtype, f"asarray(.., {dtype!r}) gave {backend.dtype_of(x)!r}")
        require(backend.device_of(x) in backend.devices(), f"{backend.device_of(x)!r} is not among devices()")
        require(backend.dtype_of(backend.asarray(x)) == dtype, f"asarray of a {dtype} array changed its dtype")
        again = backend.asarray(host, dtype=dtype, device=backend.device_of(x))
        require(backend.device_of(again) == backend.device_of(x), "asarray(.., device=) is on another device")
        require(type(backend.to_numpy(x)) is np.ndarray, "to_numpy gives a numpy.ndarray")
        close(backend, x, host, f"{dtype} to NumPy")
    plain = backend.dtype_of(backend.asarray([1.0, 2.0]))
    require(plain == backend.default_dtype, f"a list became {plain}, needed the default {backend.default_dtype}")


@check
def refuses_an_unknown_dtype(backend: Backend) -> None:
    """A dtype that the backend lacks raises a ValueError."""
    try:
        backend.asarray(np.ones(2), dtype="float31")
    except ValueError as error:
        require("float31" in str(error), f"the error does not name the dtype: {error}")
    else:
        raise AssertionError("asarray took the dtype 'float31': call self.check_dtype(dtype)")


@check
def has_operators(backend: Backend) -> None:
    """Arrays know ``@``, ``*``, ``+``, ``-``, ``.mT``, slices and broadcasting."""
    a, b = values(2, 3, 4), values(2, 4, 5, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(b, backend.default_dtype)
    close(backend, x @ y, a @ b, "batched x @ y")
    close(backend, x[0, 0] @ y[0], a[0, 0] @ b[0], "vector @ matrix")
    close(backend, x[0, 0] @ x[0, 1], a[0, 0] @ a[0, 1], "vector @ vector")
    close(backend, x.mT, a.mT, "x.mT")
    close(backend, x[:, 0:1] * x - x + x, a[:, :1] * a, "broadcasting")
    require(tuple(x.shape) == (2, 3, 4), f"x.shape is {x.shape}, needed (2, 3, 4)")


@check
def sums_products(backend: Backend) -> None:
    """``einsum`` of one and two operands, ``reshape``, ``permute`` and ``multiply_sum`` agree with NumPy."""
    a, b = values(2, 3, 3), values(3, 4, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(b, backend.default_dtype)
    for equation in ("ijj->ij", "ijj->i", "ijk->ki", "ijk->"):
        close(backend, backend.einsum(equation, x), np.einsum(equation, a), f"einsum {equation}")
    for equation in ("ijk,kl->ijl", "ijk,kl->lkj", "ijj,jl->il"):
        close(backend, backend.einsum(equation, x, y), np.einsum(equation, a, b), f"einsum {equation}")
    close(backend, backend.reshape(x, (3, 6)), a.reshape(3, 6), "reshape")
    close(backend, backend.permute(x, (2, 0, 1)), a.transpose(2, 0, 1), "permute")
    close(
        backend,
        backend.reshape(backend.permute(x, (2, 0, 1)), (6, 3)),
        a.transpose(2, 0, 1).reshape(6, 3),
        "both",
    )
    got = backend.multiply_sum(x, backend.reshape(x[:, :, 0], (2, 3, 1)), (0, 2))
    close(backend, got, (a * a[:, :, :1]).sum((0, 2)), "multiply_sum")


@check
def gathers_and_scatters(backend: Backend) -> None:
    """``scatter_add`` is the adjoint of ``take``, with repeated indices."""
    a, chosen = values(3, 5, 2), np.array([4, 0, 4, 2])
    v = values(3, 4, 2, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(v, backend.default_dtype)
    indices = backend.xp.asarray(chosen)
    close(backend, backend.take(x, indices, 1), a[:, chosen], "take")
    wanted = np.zeros_like(a)
    np.add.at(np.moveaxis(wanted, 1, 0), chosen, np.moveaxis(v, 1, 0))
    close(backend, backend.scatter_add((3, 5, 2), 1, indices, y), wanted, "scatter_add")


@check
def does_linear_algebra(backend: Backend) -> None:
    """Singular values, squared norms and descent steps."""
    a, b = values(2, 4, 3), values(2, 3, seed=1)
    x, y = backend.asarray(a, backend.default_dtype), backend.asarray(b, backend.default_dtype)
    close(backend, backend.svdvals(x), np.linalg.svd(a, compute_uv=False), "svdvals")
    close(backend, backend.sum_of_squares([x, y]), (a**2).sum() + (b**2).sum(), "sum_of_squares")
    for got, wanted in zip(backend.descend([x, y], 0.5, [x, x[:, 0]]), (a / 2, b - a[:, 0] / 2), strict=True):
        close(backend, got, wanted, "descend")
    backend.synchronize([x, y])
