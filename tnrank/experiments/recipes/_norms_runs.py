"""Runs of the norms-to-infinity recipe: where they start, what is measured of them, what is claimed of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._check import generator as make_generator
from tnrank.experiments.kit import Check
from tnrank.factorizations import MatrixFactorization
from tnrank.ranks import effective_rank_of
from tnrank.theory import NuclearNormResult, TwoByTwo

HostArray = np.ndarray[Any, Any]
_LOW = 1e-2
"""The loss below which the laws are tested."""
_BAND = (0.97, 1.01)
_CLOSE = 0.02
_LONGEST = 1e7
"""Time of an exact flow, many times what those take that arrive: from some starts W22 gets the wrong sign for good."""


@dataclass(frozen=True, eq=False)
class Plan:
    """One run before it starts: ``std`` is that of the end matrix."""

    name: str
    layers: list[HostArray]
    problem: TwoByTwo
    std: float
    rate: float
    balanced: bool

    @property
    def depth(self) -> int:
        return len(self.layers)


def balanced_plan(
    name: str, problem: TwoByTwo, std: float, rate: float, seed: int, size: int = 2, depth: int = 3, sign: int = 1
) -> Plan:
    """A run from balanced layers whose determinant has the sign."""
    return Plan(name, balanced_layers(end_matrix(size, std, seed, sign), depth), problem, std, rate, True)


class Measured:
    """A run as it was recorded at K steps: losses, end matrices ``(K, d, d)`` and their determinants."""

    def __init__(
        self, plan: Plan, status: str, steps: int, loss: HostArray, matrix: HostArray, determinant: HostArray
    ) -> None:
        self.plan, self.problem, self.status, self.steps = plan, plan.problem, status, steps
        self.loss, self.matrix, self.determinant = loss, matrix, determinant
        self.entry = abs(matrix[:, 0, 0])
        self.singular_values = np.linalg.svd(matrix, compute_uv=False)
        # The smallest one from the determinant, where rounding would be larger than it.
        self.singular_values[:, -1] = abs(determinant) / np.prod(self.singular_values[:, :-1], axis=1)
        self.effective_rank = np.asarray(effective_rank_of(self.singular_values))
        changed = ~(determinant * determinant[0] > 0)
        self.keeps_sign = not changed.any()
        self.crossing = float(loss[np.argmax(changed)]) if changed.any() else float("nan")
        """The loss at the first recorded step whose determinant has another sign; NaN if there is none."""

    def at(self, level: float) -> float:
        """|W11| where the loss first passes ``level``, between recorded steps by a power law; NaN if it does not."""
        low = self.loss < level
        k = int(np.argmax(low))
        if not low.any() or k == 0:
            return float("nan")
        before, after = np.log(self.loss[k - 1 : k + 1])
        share = (np.log(level) - before) / (after - before)
        first, second = np.log(self.entry[k - 1 : k + 1])
        return float(np.exp(first + share * (second - first)))


class Flow:
    """The exact balanced flow of one problem at one depth, from the balanced run's start down to the loss ``last``."""

    def __init__(self, problem: TwoByTwo, depth: int, std: float, seed: int, last: float) -> None:
        self.problem, self.depth = problem, depth
        start, losses = end_matrix(2, std, seed, problem.sign), np.geomspace(0.4, last, 60)
        ahead = losses[losses < problem.loss(start)].tolist()
        self.found = problem.balanced_flow(depth, start, ahead, max_time=_LONGEST)
        self.loss, self.entry = self.found.loss, abs(self.found.w[:, 0, 0])


def products(run: Measured | Flow, below: float) -> HostArray:
    """|W11| sqrt(2 loss) where the loss is below ``below``."""
    low = run.loss < below
    return np.asarray(run.entry[low] * np.sqrt(2 * run.loss[low]))


def step_limit(depth: int, entry: float) -> float:
    """The learning rate up to which gradient descent is stable where |W11| = ``entry`` is large: 2 |W11|^(2/L - 2)."""
    return float(2 * entry ** (2 / depth - 2))


def layer_std(end_std: float, size: int, depth: int) -> float:
    """Standard deviation of the entries of layers whose product has entries of ``end_std``."""
    return float((end_std / size ** ((depth - 1) / 2)) ** (1 / depth))


def random_layers(size: int, depth: int, end_std: float, key: Sequence[int], sign: int = 1) -> list[HostArray]:
    """Gaussian layers, drawn until the determinant of their product has the sign."""
    generator = np.random.default_rng(list(key))
    while True:
        layers = generator.standard_normal((depth, size, size))
        if sign * np.prod(np.linalg.det(layers)) > 0:
            return list(layer_std(end_std, size, depth) * layers)


def end_matrix(size: int, std: float, seed: int, sign: int = 1) -> HostArray:
    """A Gaussian matrix, drawn until its determinant has the sign."""
    generator = make_generator(seed)
    while True:
        found = generator.standard_normal((size, size))
        if sign * np.linalg.det(found) > 0:
            return np.asarray(std * found)


def balanced_layers(end: HostArray, depth: int) -> list[HostArray]:
    """``U S^(1/L), S^(1/L), .., S^(1/L) V^T``; the sign of the determinant is that of ``end``."""
    return list(MatrixFactorization.from_dense(end, rank=len(end), depth=depth).layers)


def law(depth: int, runs: Sequence[Measured], last: float) -> list[Check]:
    """Of the balanced runs of a depth, and of those from the smallest random weights that keep the sign."""
    here = [run for run in runs if run.plan.depth == depth]
    smallest = min(run.plan.std for run in here)
    balanced = [run for run in here if run.plan.balanced]
    random = [run for run in here if not run.plan.balanced and run.plan.std == smallest and run.keeps_sign]
    wanted = balanced + random
    positive = [run.keeps_sign for run in wanted]
    claim = f"depth {depth}: the determinant stays positive if balanced, and from small random weights"
    measured = f"{sum(positive)} of {len(positive)} runs, {len(random)} of them from random weights"
    signs = Check(claim, measured, all(positive) and bool(random))

    reached = all(run.loss[-1] < min(_LOW, 1.01 * last) for run in wanted)
    found = np.concatenate([products(run, _LOW) for run in wanted])
    whose = f"the balanced runs and the {'one' if len(random) == 1 else len(random)} from small weights at random"
    claim = f"depth {depth}: |W11| sqrt(2 loss) is in [{_BAND[0]}, {_BAND[1]}] below a loss of {_LOW:g}"
    measured = f"{_range(found)} in {whose}, to a loss of {max(run.loss[-1] for run in wanted):.1e}"
    in_band = Check(claim, measured, reached and _in_band(found))

    ranks = np.concatenate([run.effective_rank[run.loss < _LOW] for run in wanted])
    low_rank = reached and bool(len(ranks)) and bool((abs(ranks - 1) <= 0.01).all())
    claim = f"depth {depth}: the effective rank is within 0.01 of 1 there"
    return [signs, in_band, Check(claim, f"at most {ranks.max(initial=0.0):.5f}", low_rank)]


def exact(flow: Flow) -> Check:
    found, ranks = products(flow, _LOW), flow.found.effective_rank[flow.loss < _LOW]
    claim = f"depth {flow.depth}, exact balanced flow: the same band, and the effective rank within 0.01 of 1"
    measured = f"{_range(found)}, log det down to {flow.found.log_det.min():,.0f}"
    return Check(claim, measured, _in_band(found) and bool((abs(ranks - 1) <= 0.01).all()))


def lower_bound(runs: Sequence[Measured]) -> Check:
    """Theory's bound holds step by step, for whatever start, as long as the determinant is positive."""
    margins = [
        entry / bound
        for run in runs
        for entry, loss, det in zip(run.entry, run.loss, run.determinant, strict=True)
        if det > 0 and (bound := run.problem.entry_lower_bound(float(loss))) > 0
    ]
    least = min(margins, default=float("nan"))
    claim = "no run with a positive determinant is below the lower bound (1 - s)^2 / s of |W11|, s = sqrt(2 loss)"
    return Check(claim, f"at least {least:.4f} of it at {len(margins):,} recorded steps", bool(margins) and least >= 1)


def bounded_entries(bounded: Sequence[Measured], flows: Sequence[Flow], last: float) -> list[Check]:
    checks = []
    kinds: dict[str, Sequence[Measured | Flow]] = {"gradient descent": bounded, "the exact flow": flows}
    for what, runs in kinds.items():
        shares = {run.problem.w22: float(run.entry[-1]) * run.problem.w22 for run in runs if len(run.entry)}
        arrived = all(len(run.loss) and run.loss[-1] < 1.01 * last for run in runs)
        claim = f"perturbed observations, {what}: |W11| ends within {_CLOSE:.0%} of |W12 W21 / W22|"
        measured = ", ".join(f"{share / e:.2f} of {1 / e:g}" for e, share in shares.items())
        if shares:
            near = all(abs(share - 1) <= _CLOSE for share in shares.values())
            checks.append(Check(claim, measured, arrived and near))
    return checks


def stays(control: Measured, last: float) -> Check:
    before, end, loss = control.at(1e-4), float(control.entry[-1]), control.loss[-1]
    claim = "control, a start of negative determinant: |W11| changes by less than 2 % below a loss of 1e-4"
    holds = control.keeps_sign and loss < 1.01 * last and abs(end / before - 1) < 0.02
    return Check(claim, f"{before:.2f} to {end:.2f} at a loss of {loss:.1e}", holds)


def convex_stays(convex: NuclearNormResult) -> Check:
    entry, norm = convex.matrix[0, 0], convex.objective
    measured = f"W11 = {entry:.1e}, nuclear norm {norm:.9f}, duality gap {convex.gap:.1e}"
    holds = bool(abs(entry) < 1e-6 and abs(norm - 2) < 1e-6)
    return Check("the solution of minimal nuclear norm has W11 = 0 and nuclear norm 2", measured, holds)


def larger_law(run: Measured) -> Check:
    found, d, smallest = products(run, _LOW), run.matrix.shape[1], run.singular_values[-1, -1]
    claim = f"{d} x {d}: |W11| sqrt(2 loss) is in the same band, the determinant stays positive"
    measured = f"{_range(found)}, to a loss of {run.loss[-1]:.1e}; smallest singular value {smallest:.1e}"
    return Check(claim, measured, run.keeps_sign and _in_band(found))


def _in_band(found: Any) -> bool:
    return bool(len(found)) and bool(_BAND[0] <= found.min() and found.max() <= _BAND[1])


def _range(found: Any) -> str:
    return f"{found.min():.4f} to {found.max():.4f}" if len(found) else "never there"
