"""Checks of a backend with networks: contraction, slices, environments."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._backend import Backend, register_backend
from tnrank._typing import Array, Label
from tnrank.network import Network, contract, environment
from tnrank.testing._checks import check, close, require, usable, values

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
_SIZES: dict[Label, int] = {"i": 2, "j": 3, "k": 4, "l": 1, "r": 5, "b": 3}


def _arrays(backend: Backend, network: Network) -> tuple[dict[str, Array], list[Any]]:
    host = [values(*(_SIZES[x] for x in labels), seed=k) for k, labels in enumerate(network.tensors.values())]
    return {
        name: backend.asarray(x, backend.default_dtype) for name, x in zip(network.tensors, host, strict=True)
    }, host


@check
def contracts_networks(backend: Backend) -> None:
    """Networks of every kind contract as NumPy's einsum does, whole and in slices."""
    register_backend(backend)
    for network, what in _NETWORKS:
        arrays, host = _arrays(backend, network)
        wanted = np.einsum(network.to_einsum(), *host)
        close(backend, contract(network, arrays), wanted, f"contract, {what}")
        limit = max(1, network.plan(network.sizes(arrays)).largest_intermediate // 2)
        try:
            sliced = network.plan(network.sizes(arrays), memory_limit=limit)
        except ValueError:
            continue
        close(backend, sliced(arrays), wanted, f"contract in slices, {what}")


@check
def keeps_dtypes(backend: Backend) -> None:
    """A contraction has the dtype and the device of its arrays."""
    register_backend(backend)
    network = _NETWORKS[1][0]
    for dtype in usable(backend):
        arrays = {name: backend.asarray(np.ones((2, 5)), dtype) for name in network.tensors}
        result = contract(network, arrays)
        require(backend.dtype_of(result) == dtype, f"{dtype} arrays gave a {backend.dtype_of(result)} result")
        require(
            backend.device_of(result) == backend.device_of(arrays["A"]),
            f"{dtype}: the result is on another device",
        )


@check
def pulls_back(backend: Backend) -> None:
    """Environments and ``pull_back`` agree; both are the gradient of the half squared norm."""
    register_backend(backend)
    for network, what in _NETWORKS:
        arrays, host = _arrays(backend, network)
        plan = network.plan(network.sizes(arrays))
        result, pulled = backend.jit(lambda given, plan=plan: plan.pull_back(given, _itself))(arrays)
        wanted = np.einsum(network.to_einsum(), *host)
        for (name, given), x in zip(arrays.items(), host, strict=True):
            alone = environment(network, arrays, name, cotangent=result)
            close(backend, alone, backend.to_numpy(pulled[name]), f"environment of {name!r}, {what}")
            turned = backend.to_numpy(pulled[name])
            require(
                turned.shape == x.shape,
                f"pull_back of {name!r} has the shape {turned.shape}, needed {x.shape}",
            )
            # <pulled, x> = <result, result> for each tensor, because the result is linear in it.
            got = float(np.sum(turned * x))
            close(backend, backend.asarray(np.asarray(got), backend.default_dtype), np.sum(wanted**2), what)
            require(given is arrays[name], "arrays are left as they are")


def _itself(value: Array) -> Array:
    return value
