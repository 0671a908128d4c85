"""Contraction: the search for a path, the cost of a planned call, and google/TensorNetwork graphs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import opt_einsum
import tensornetwork

import tnrank
from benchmarks._harness import Report, alternate, seconds_of
from tnrank.network import _choose

BACKENDS = ("numpy", "torch", "jax")
PLANNED = {"numpy": 0.7, "torch": 0.6, "jax": 1.1}
THERE = {"numpy": "numpy", "jax": "jax", "torch": "pytorch"}


def hierarchical(order: int, dim: int, rank: int, batch: int = 0) -> tuple[dict[str, Any], dict[Any, int], Any]:
    """A balanced hierarchical Tucker network; with a batch, applied to that many tuples of vectors."""
    tensors: dict[str, Any] = {f"U{k}": (("i", k), ("r", 0, k)) for k in range(order)}
    below, height = [("r", 0, k) for k in range(order)], 0
    while len(below) > 1:
        height += 1
        above = [("r", height, k) for k in range(len(below) // 2)]
        for k, label in enumerate(above):
            tensors[f"B{height}.{k}"] = (
                below[2 * k],
                below[2 * k + 1],
                *((label,) if len(above) > 1 else ()),
            )
        below = above
    sizes = {x: dim if x[0] == "i" else rank for labels in tensors.values() for x in labels}
    if not batch:
        return tensors, sizes, tuple(("i", k) for k in range(order))
    tensors |= {f"x{k}": ("batch", ("i", k)) for k in range(order)}
    return tensors, {**sizes, "batch": batch}, ("batch",)


def leaves_to_root(order: int, dim: int, rank: int, batch: int) -> int:
    """Multiplications of the plain order: vectors into leaves, then both children into each node."""
    flops, width = order * batch * dim * rank, order
    while width > 2:
        width //= 2
        flops += width * batch * (rank**3 + rank**2)
    return flops + batch * (rank**2 + rank)


def search(report: Report) -> None:
    """Inputs in any order; the worst of five shuffles. Caches are emptied, imports are done."""
    tensors, sizes, output = hierarchical(16, 2, 2, 5)
    tnrank.Network(tensors, output).plan(sizes)
    for order, seconds in ((64, 0.03), (256, 0.15), (1024, 1.0)):
        tensors, sizes, output = hierarchical(order, 8, 8, 1000)
        times, flops = [], []
        for seed in range(5):
            items = list(tensors.items())
            random.Random(seed).shuffle(items)
            network = tnrank.Network(dict(items), output)

            def fresh(network: tnrank.Network = network, sizes: Any = sizes) -> None:
                _choose._cached_plan.cache_clear()
                network.plan(sizes)

            times.append(seconds_of(fresh, 3))
            flops.append(network.plan(sizes).flops)
        name = f"batched HT order {order}, shuffled"
        plain = leaves_to_root(order, 8, 8, 1000)
        report.compare(name, "FLOPs / leaves to root", max(flops), plain, at_most=1.0, show=lambda f: f"{f:.3g}")
        report.limit(name, "search, all candidates", max(times), seconds)


def pairwise(plan: tnrank.ContractionPlan) -> Callable[[Any], Any]:
    """The plan's steps as pairwise einsums, as one would write them by hand for ``jax.jit``."""
    steps = []
    for step in plan.steps:
        letters = {x: chr(97 + k) for k, x in enumerate(dict.fromkeys((*step.left, *step.right)))}
        terms = ["".join(letters[x] for x in labels) for labels in (step.left, step.right, step.output)]
        steps.append((step.first, step.second, "{},{}->{}".format(*terms)))

    def contract(arrays: Any) -> Any:
        made = dict(arrays)
        for number, (first, second, equation) in enumerate(steps, 1):
            made[f"#{number}"] = jax.numpy.einsum(equation, made[first], made[second])
        return made[f"#{len(steps)}"]

    return contract


def calls(report: Report) -> None:
    """A planned call with its input checks against an opt_einsum expression; on JAX the jitted plan against by hand."""
    cp = tnrank.Network({"A": "ir", "B": "jr", "C": "kr", "D": "lr"}, "ijkl")
    cases = [
        (f"CP order 4, R {rank}", dtype, cp, {**dict.fromkeys("ijkl", 10), "r": rank})
        for rank in (10, 30, 100)
        for dtype in ("float32", "float64")
    ]
    for order in (8, 16):
        for title, dim, batch in (("end tensor, dim 2", 2, 0), ("batch 100", 8, 100)):
            tensors, sizes, output = hierarchical(order, dim, 8, batch)
            cases.append((f"HT order {order}, {title}", "float32", tnrank.Network(tensors, output), sizes))
    for name in BACKENDS:
        for title, dtype, network, sizes in cases:
            ours, peer = one_call(tnrank.get_backend(name), network, sizes, dtype)
            what = "jitted einsum" if name == "jax" else "contract_expression"
            report.compare(f"{name}: {title}, {dtype}", what, ours, peer, at_most=PLANNED[name])


def one_call(backend: tnrank.Backend, network: tnrank.Network, sizes: Any, dtype: str) -> tuple[float, float]:
    """Seconds of a planned call, and of the peer's."""
    arrays, plan = random_arrays(backend, network, sizes, dtype), network.plan(sizes)
    if backend.name == "jax":
        ours, by_hand = jax.jit(plan), jax.jit(pairwise(plan))
        return alternate(lambda: ours(arrays).block_until_ready(), lambda: by_hand(arrays).block_until_ready())
    given = list(arrays.values())
    expression = opt_einsum.contract_expression(network.to_einsum(), *(a.shape for a in given))
    return alternate(lambda: plan(arrays), lambda: expression(*given))


def graphs(report: Report) -> None:
    """A CP graph with a copy node, R = 1000: read, planned and contracted."""
    for name in BACKENDS:
        backend = tnrank.get_backend(name)
        for dtype in ("float32", "float64", "complex64", "complex128", "bfloat16"):
            if dtype in backend.dtypes:
                ours, peer, reading = one_graph(backend, dtype)
                title = f"{name}: CP graph, copy node, R 1000, {dtype}"
                report.compare(title, "opt_einsum, bare arrays", ours, peer, at_most=1.3)
                report.limit(title, "read and plan", reading, 0.005)


def one_graph(backend: tnrank.Backend, dtype: str) -> tuple[float, float, float]:
    """Seconds to contract the graph, of opt_einsum on the bare arrays, and to read and plan it."""
    rng = np.random.default_rng(0)
    bare = [backend.asarray(rng.standard_normal((10, 1000)), dtype=dtype) for _ in range(4)]
    there = THERE[backend.name]
    nodes = [tensornetwork.Node(a, name=name, backend=there) for a, name in zip(bare, "ABCD", strict=True)]
    copy = tensornetwork.CopyNode(4, 1000, backend=there)
    for axis, node in enumerate(nodes):
        node[1] ^ copy[axis]

    def read() -> None:
        _choose._cached_plan.cache_clear()
        network, arrays = tnrank.Network.from_nodes([*nodes, copy])
        network.plan(network.sizes(arrays))

    network, arrays = tnrank.Network.from_nodes([*nodes, copy])
    expression = opt_einsum.contract_expression("ir,jr,kr,lr->ijkl", *(a.shape for a in bare))
    ours, peer = alternate(
        lambda: backend.synchronize(tnrank.contract(network, arrays)),
        lambda: backend.synchronize(expression(*bare)),
        repeat=15,
    )
    return ours, peer, seconds_of(read, 21)


def random_arrays(backend: tnrank.Backend, network: tnrank.Network, sizes: Any, dtype: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        name: backend.asarray(rng.standard_normal([sizes[x] for x in labels]), dtype=dtype)
        for name, labels in network.tensors.items()
    }


def run(report: Report) -> None:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        search(report)
        calls(report)
        graphs(report)
    finally:
        jax.config.update("jax_enable_x64", before)
