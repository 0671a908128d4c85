"""Training steps a second against the straightforward PyTorch loop, and what recording costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tnrank
from tnrank.training import recorders

# name: (how to make the factorization, entries observed, required ratio of torch, of JAX)
CASES: dict[str, tuple[Callable[..., Any], int, float, float]] = {
    "mf 64x64 depth 2": (
        lambda **o: tnrank.MatrixFactorization.random((64, 64), depth=2, std=1e-2, **o),
        2048,
        0.95,
        5.0,
    ),
    "mf 64x64 depth 3": (
        lambda **o: tnrank.MatrixFactorization.random((64, 64), depth=3, std=1e-2, **o),
        2048,
        0.95,
        5.0,
    ),
    "cp 16^3 R 256": (lambda **o: tnrank.CPFactorization.random((16,) * 3, std=1e-2, **o), 2048, 0.95, 3.0),
    "cp 8^4 R 512": (lambda **o: tnrank.CPFactorization.random((8,) * 4, std=1e-2, **o), 2048, 0.95, 3.0),
    "cp 10^4 R 1000": (lambda **o: tnrank.CPFactorization.random((10,) * 4, std=1e-2, **o), 2000, 0.95, 1.5),
    "htf 8^4 width 64": (
        lambda **o: tnrank.HierarchicalFactorization.random((8,) * 4, width=64, std=1e-2, **o),
        2048,
        0.95,
        5.0,
    ),
    "htf 8^4 width 512": (
        lambda **o: tnrank.HierarchicalFactorization.random((8,) * 4, width=512, std=1e-2, **o),
        2048,
        0.95,
        1.8,
    ),
    "htf 3^8 width 64": (
        lambda **o: tnrank.HierarchicalFactorization.random((3,) * 8, width=64, std=1e-2, **o),
        2048,
        0.95,
        5.0,
    ),
    "htf 3^8 width 128": (
        lambda **o: tnrank.HierarchicalFactorization.random((3,) * 8, width=128, std=1e-2, **o),
        2048,
        0.95,
        3.0,
    ),
}


def yardstick(name: str, x: Any, index: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Callable[[], None]:
    """One step of the obvious efficient loop: matrix products, a gather, autograd, GroupRMSprop."""
    import torch

    params = [torch.tensor(a, requires_grad=True) for a in x.arrays.values()]
    observed, values, state = torch.tensor(index), torch.tensor(y), [0.0, 0]

    def khatri_rao(a: Any, b: Any) -> Any:
        return (a[:, None] * b[None]).reshape(-1, a.shape[1])

    def end_tensor() -> Any:
        p = params
        if name.startswith("mf"):
            return torch.linalg.multi_dot(p).reshape(-1)
        if name.startswith("cp 16"):
            return (khatri_rao(p[0], p[1]) @ p[2].T).reshape(-1)
        if name.startswith("cp"):
            return (khatri_rao(p[0], p[1]) @ khatri_rao(p[2], p[3]).T).reshape(-1)
        if name.startswith("htf 8"):
            left, right = khatri_rao(p[0], p[1]) @ p[4], khatri_rao(p[2], p[3]) @ p[5]
            return ((left * p[6].T) @ right.T).reshape(-1)
        a = [khatri_rao(p[2 * i], p[2 * i + 1]) @ p[8 + i] for i in range(4)]
        b = [khatri_rao(a[0], a[1]) @ p[12], khatri_rao(a[2], a[3]) @ p[13]]
        return ((b[0] * p[14].T) @ b[1].T).reshape(-1)

    def step() -> None:
        loss = ((end_tensor()[observed] - values) ** 2).mean()
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            state[0] = 0.99 * state[0] + 0.01 * torch.stack([(g * g).sum() for g in grads]).sum()
            state[1] += 1
            eta = 1e-2 / ((state[0] / (1 - 0.99 ** state[1])).sqrt() + 1e-6)
            torch._foreach_sub_(list(params), [eta * g for g in grads])

    return step


def steps_per_second(run: Callable[[int], None], steps: int) -> float:
    """CPU time counts: a busy neighbor core must not change the ratio."""
    began = time.process_time()
    run(steps)
    return steps / (time.process_time() - began)


def measure(name: str, seconds: float = 0.6, rounds: int = 5) -> tuple[float, float, float]:
    """Median steps a second of the yardstick, of torch and of JAX, measured in turn."""
    make, count, _, _ = CASES[name]
    generator = np.random.default_rng(0)
    x = make(seed=0, dtype="float32")
    size = int(np.prod(x.shape))
    index = generator.permutation(size)[:count]
    y = generator.standard_normal(count).astype(np.float32)
    indices = np.stack(np.unravel_index(index, x.shape), axis=1)
    step = yardstick(name, x, index, y)
    runs: list[Callable[[int], None]] = [lambda n: [step() for _ in range(n)] and None]
    for backend in ("torch", "jax"):
        there = x.to(backend)
        runs.append(lambda n, there=there: tnrank.complete(there, indices, y, steps=n) and None)  # type: ignore[misc]  # a default binds the loop's value
    lengths = []
    for run in runs:
        run(30)
        lengths.append(max(20, int(seconds * steps_per_second(run, 30))))
    lengths = [max(20, int(seconds * steps_per_second(run, n))) for run, n in zip(runs, lengths, strict=True)]
    found = [[steps_per_second(run, n) for run, n in zip(runs, lengths, strict=True)] for _ in range(rounds)]
    medians = np.median(np.asarray(found), axis=0)
    ratios = np.median(np.asarray(found) / np.asarray(found)[:, :1], axis=0)
    return float(medians[0]), float(ratios[1]), float(ratios[2])


def recording_cost(
    backend: str, x: Any, recorder: Callable[[int], recorders.Recorder], steps: int
) -> tuple[float, float]:
    """Seconds of a plain step, and of a step that records (every step records)."""
    generator = np.random.default_rng(0)
    size = int(np.prod(x.shape))
    indices = np.stack(np.unravel_index(generator.permutation(size)[: size // 2], x.shape), axis=1)
    y = generator.standard_normal(len(indices)).astype(np.float32)
    there = x.to(backend)
    chosen = recorder(1)

    def run(record: bool) -> float:
        began = time.process_time()
        tnrank.complete(there, indices, y, steps=steps, record=[chosen] if record else [])
        return (time.process_time() - began) / steps

    for record in (False, True):
        run(record)
    found = np.asarray([[run(False), run(True)] for _ in range(7)])
    plain, recorded = np.median(found, axis=0)
    return float(plain), float(recorded)


def decomposition_cost(backend: str, x: Any, groups: list[tuple[int, ...]], repeat: int = 200) -> float:
    """Seconds that the singular values of the end tensor's matricizations take alone, compiled where possible."""
    from tnrank.linalg import matricize

    there = x.to(backend)
    b = there.backend
    matrices = tuple(matricize(there.to_dense(), modes) for modes in groups)

    def all_of(given: Any, count: int) -> Any:
        def body(state: Any) -> Any:
            k, total = state
            # The input depends on the loop, or a compiler would take the decomposition out of it.
            values = [b.svdvals(m + 0 * total) for m in given]
            return k + 1, total + 0 * sum(v[0] for v in values)

        return b.while_loop(lambda s: s[0] < count, body, (0, 0.0 * given[0][0, 0]))[1]

    fn = b.jit(all_of)
    b.synchronize(fn(matrices, 3))
    times = []
    for _ in range(5):
        began = time.process_time()
        b.synchronize(fn(matrices, repeat))
        times.append((time.process_time() - began) / repeat)
    return float(np.median(times))


def run(report: Any) -> None:
    """Throughput against the yardstick, then what recording costs."""

    def rate(value: float) -> str:
        return f"{value:,.0f}/s"

    for name, (_, _, torch_target, jax_target) in CASES.items():
        yard, torch_ratio, jax_ratio = measure(name)
        report.compare(name, "steps, torch", yard * torch_ratio, yard, at_least=torch_target, show=rate)
        report.compare(name, "steps, JAX", yard * jax_ratio, yard, at_least=jax_target, show=rate)
    shapes: dict[str, tuple[Any, int]] = {
        "mf 64x64 depth 3": (
            tnrank.MatrixFactorization.random((64, 64), depth=3, std=1e-2, dtype="float32"),
            1500,
        ),
        "cp 16^3 R 256": (tnrank.CPFactorization.random((16,) * 3, std=1e-2, dtype="float32"), 1500),
        "htf 8^4 width 64": (
            tnrank.HierarchicalFactorization.random((8,) * 4, width=64, std=1e-2, dtype="float32"),
            1500,
        ),
    }
    for backend in ("torch", "jax"):
        for name, (x, steps) in shapes.items():
            target = np.random.default_rng(1).standard_normal(x.shape)
            kinds: dict[str, Callable[[int], recorders.Recorder]] = {
                "loss": lambda every: recorders.Loss(every=every),
                "error": lambda every, target=target: recorders.Error(target, every=every),  # type: ignore[misc]
            }
            if x.ndim > 2:
                kinds["norms"] = lambda every: recorders.ComponentNorms(every=every)
            for what, recorder in kinds.items():
                plain, recorded = recording_cost(backend, x, recorder, steps)
                report.compare(name, f"records {what}, {backend}", recorded, plain, at_most=2.0)
            plain, recorded = recording_cost(backend, x, lambda every: recorders.SingularValues(every=every), 200)
            tree = getattr(x, "tree", None) or tnrank.DimensionTree.balanced(x.ndim)
            groups = sorted({n.modes for n in tree.nodes if len(n.modes) < tree.order}) if x.ndim > 2 else [(0,)]
            whole = set(range(x.ndim))
            groups = [g for k, g in enumerate(groups) if tuple(sorted(whole - set(g))) not in groups[:k]]
            alone = decomposition_cost(backend, x, groups)
            report.compare(name, f"singular values, {backend}", recorded, plain + 1.2 * alone, at_most=1.0)
