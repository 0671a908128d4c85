"""Hierarchical singular values straight from the format, and hierarchical Tucker from dense tensors, against others."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report

METHODS = ("gram", "qr")


def run(report: Report) -> None:
    """Orders 64 and 1024 with ranks 5, 20 and 50; three frameworks; a dense tensor 20^5."""
    against_quimb(report)
    against_multiplications(report)
    frameworks(report)
    from_dense(report)


def random(order: int, rank: int) -> tnrank.HierarchicalTucker:
    """A tensor with equal ranks; std keeps its norm within the range of numbers."""
    return tnrank.HierarchicalTucker.random((max(rank, 8),) * order, rank=rank, seed=0, std=0.3)


def measure(x: tnrank.HierarchicalTucker, method: str) -> Callable[[], Any]:
    """What is timed."""
    return lambda: x.singular_values(method, relative=True)


def least(*functions: Callable[[], Any], repeat: int = 15) -> tuple[float, ...]:
    """The least seconds of each, called in turns: other programs on the machine only ever add to a time."""
    times = [float("inf")] * len(functions)
    for turn in range(repeat + 1):
        for k, fn in enumerate(functions):
            began = time.perf_counter()
            fn()
            if turn:
                times[k] = min(times[k], time.perf_counter() - began)
    return tuple(times)


def quimb_gauges(x: tnrank.HierarchicalTucker) -> tuple[Callable[[], dict[str, Any]], float]:
    """quimb's simple-update gauges, which are the spectra of a tree, and their largest difference from ours."""
    import quimb.tensor as qtn

    tensors = [
        qtn.Tensor(x.arrays[name], inds=[str(label) for label in labels]) for name, labels in x.network.tensors.items()
    ]

    def gauge() -> dict[str, Any]:
        gauges: dict[str, Any] = {}
        qtn.TensorNetwork(tensors).gauge_all_simple_(max_iterations=100, tol=1e-12, gauges=gauges)
        return gauges

    gauges, worst = gauge(), 0.0  # the first call compiles
    for node, values in x.singular_values(relative=True).items():
        name = f"leaf {node.modes[0]}" if not node.height else str(node)
        found = np.sort(np.asarray(gauges[f"k{name}"]))[::-1]
        worst = max(worst, float(abs(found / np.linalg.norm(found) - values).max()))
    return gauge, worst


def against_quimb(report: Report) -> None:
    """Rank 5, where calls cost more than arithmetic."""
    small, large = random(64, 5), random(1024, 5)
    gauge, difference = quimb_gauges(small)
    report.limit("order 64, rank 5", "difference from quimb", difference, 1e-10, show=lambda value: f"{value:.1e}")
    for method, target in (("gram", 1 / 400), ("qr", 1 / 200)):
        peer, *ours = least(gauge, *[measure(small, method)] * 30, repeat=7)
        report.compare("order 64, rank 5", f"{method} against quimb", min(ours), peer, at_most=target)
        ours_large, *ours_small = least(measure(large, method), *[measure(small, method)] * 5)
        report.compare("order 1024, rank 5", f"{method} against order 64", ours_large, min(ours_small), at_most=20)


def against_multiplications(report: Report) -> None:
    """Ranks from 20 on, where arithmetic costs more than calls; and memory."""
    from tnrank.factorizations._hsvd._schedule import schedule
    from tnrank.factorizations._hsvd._sweeps import measure as sweep

    x = random(1024, 20)
    one_by_one = schedule(x.tree, tuple(a.shape for a in x.nodes.values()), 1)
    for method in METHODS:
        alone = partial(sweep, one_by_one, method, False, *x.nodes.values())
        report.compare(
            "order 1024, rank 20",
            f"{method} against single nodes",
            *least(measure(x, method), alone, repeat=3),
            at_most=1,
        )
    matrix = np.random.default_rng(0).standard_normal((1000, 1000))
    for order, rank in ((64, 5), (1024, 5), (1024, 20), (64, 50), (1024, 50)):
        x = random(order, rank)
        ideal_count = 14 * rank**4 * (order - 1) + 4 * order * x.shape[0] * rank**2
        for method, target in (("gram", 3.5), ("qr", 6.0)):
            if rank == 50:
                ours, product = least(measure(x, method), lambda: matrix @ matrix, repeat=1 if order > 64 else 3)
                product = min(product, *least(lambda: matrix @ matrix))
                ideal = ideal_count * product / 1000**3
                name = f"{method} against multiplications"
                report.compare(f"order {order}, rank {rank}", name, ours, ideal, at_most=target)
            own = float(sum(a.nbytes for a in x.nodes.values()))
            tracemalloc.start()
            measure(x, method)()
            peak = float(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            if order > 64 or rank > 5:
                report.compare(
                    f"order {order}, rank {rank}", f"{method}, memory", peak, own, at_most=3, show=_mebibytes
                )


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:.3g} MiB"


def frameworks(report: Report) -> None:
    """JAX compiled and torch as it is, against NumPy."""
    import jax

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]  # jax gives it no types
    x = random(64, 20)
    on_jax, on_torch = x.to("jax"), x.to("torch")
    for method in METHODS:
        compiled = jax.jit(lambda y, m=method: y.singular_values(m, relative=True))
        plain, jitted, eager = least(
            measure(x, method),
            lambda f=compiled: jax.block_until_ready(f(on_jax)),  # type: ignore[no-untyped-call]  # as above
            measure(on_torch, method),
        )
        report.compare("order 64, rank 20", f"{method}, jax against numpy", jitted, plain, at_most=1.5)
        report.compare("order 64, rank 20", f"{method}, torch against numpy", eager, plain, at_most=1.5)
    # What torch cannot be faster than: its batched products of such sizes.
    a, b = np.ones((16, 20, 20)), np.ones((16, 20, 400))
    to_torch = on_torch.backend.asarray
    ta, tb = to_torch(a), to_torch(b)
    plain, eager = least(lambda: a @ b, lambda: ta @ tb, repeat=100)
    report.compare("16 of 20 x 20 by 20 x 400", "product, torch against numpy", eager, plain)


def from_dense(report: Report) -> None:
    """20^5 of hierarchical rank 4 with noise below the tolerance."""
    rng = np.random.default_rng(0)
    exact = np.asarray(tnrank.HierarchicalTucker.random((20,) * 5, rank=4, seed=0).to_dense())
    noise = rng.standard_normal(exact.shape)
    exact, noise = exact / np.linalg.norm(exact), noise / np.linalg.norm(noise)
    for rtol, against_torchtt, against_tensorly in ((1e-2, 1 / 15, 1 / 80), (1e-10, 1 / 2, None)):
        tensor = exact + 0.1 * rtol * noise
        found = tnrank.HierarchicalTucker.from_dense(tensor, rtol=rtol)
        name = f"dense 20^5, rtol {rtol:g}"
        wrong = max(abs(rank - 4) for rank in found.ranks.values())
        report.limit(name, "ranks off by", float(wrong), 0.0, show=lambda value: f"{value:g}")
        (ours,) = least(lambda t=tensor, r=rtol: tnrank.HierarchicalTucker.from_dense(t, rtol=r))
        try:
            import torch
            import torchtt
        except ImportError as error:
            print(f"     {name}: torchTT is left out ({error}): pip install --no-build-isolation torchTT")
        else:
            given = torch.as_tensor(tensor)
            (peer,) = least(lambda t=given, r=rtol: torchtt.TT(t, eps=r), repeat=5)
            report.compare(name, "against torchTT", ours, peer, at_most=against_torchtt)
        try:
            from tensorly.decomposition import tucker
        except ImportError as error:
            print(f"     {name}: TensorLy is left out ({error}): pip install tensorly")
        else:
            (peer,) = least(lambda t=tensor: tucker(t, rank=[4] * 5, n_iter_max=1, init="svd"), repeat=3)
            report.compare(name, "against TensorLy, one sweep", ours, peer, at_most=against_tensorly)
