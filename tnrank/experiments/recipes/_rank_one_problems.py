"""Problems of the rank-one recipe: targets, starts, and the hypotheses of the theorem, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import ge, gt, lt
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import generator as make_generator
from tnrank.experiments.recipes._flow_paths import Host, Observed
from tnrank.training import HuberLoss

if TYPE_CHECKING:
    from tnrank.experiments.recipes.rank_one import RankOne

NEEDED = "leading norm over that of any other component"
_EXACT = 1e-12
_ACCURACY = 1e-9


@dataclass(frozen=True)
class Problem:
    """What is observed of a target of a rank, the gradient of its Huber loss at zero, and the sphere of reference.

    Starts are unscaled factors ``(d_n, R)``, the leading component first: the theorem's under "", beside it one under
    ", control" that prefers neither of two blocks.
    """

    name: str
    target: Host
    rank: int
    observed: Observed
    gradient: Host
    threshold: float
    radius: float
    starts: Mapping[str, list[Host]]


def problem_of(recipe: RankOne, order: int, rank: int) -> Problem:
    """A target of rank one, some of its entries observed; or two blocks of rank one and equal signs, both observed."""
    generator, half = make_generator(recipe.seed + rank - 1), recipe.size // 2
    if rank == 1:
        vectors = [_signed(generator, recipe.size) for _ in range(order)]
        target, signs = outer(vectors), [np.sign(v) for v in vectors]
        count = max(1, round(recipe.observed_share * target.size))
        chosen = np.sort(generator.choice(target.size, count, replace=False))
        indices = np.stack(np.unravel_index(chosen, target.shape), axis=1)
    else:
        first = [_signed(generator, half) for _ in range(order)]
        second = [np.sign(v) * np.abs(_signed(generator, half)) for v in first]
        target = outer([np.pad(v, (0, half)) for v in first]) + outer([np.pad(v, (half, 0)) for v in second])
        signs, indices = [np.pad(np.sign(v), (0, half)) for v in first], np.argwhere(target != 0)
    values = target[tuple(indices.T)]
    smallest = float(np.abs(values).min())
    threshold = recipe.threshold_share * smallest
    options: dict[str, Any] = {"rtol": _ACCURACY, "points": recipe.points, "backend": recipe.backend}
    observed = Observed(indices, values, HuberLoss(delta=threshold), recipe.steps, **options)

    gradient = observed.gradient(np.zeros(target.shape))
    leading = [_tilted(generator, sign, recipe.tilt) for sign in signs]
    projection = float(np.sum(-gradient * outer(leading)))
    needed = (float(np.linalg.norm(gradient)) / projection) ** (1.0 / (order - 2)) if projection > 0 else 1.0
    others = [_directions(generator, recipe.size, recipe.components - 1) / (recipe.margin * needed) for _ in signs]
    start = [np.column_stack([u, rest]) for u, rest in zip(leading, others, strict=True)]
    starts = {"": start}
    if rank == 2:
        # The gradient near zero is the same in both blocks, so that neither of the two components leads.
        twins = [np.roll(u, half) for u in leading]
        starts[", control"] = [np.column_stack([a[:, :1], b, a[:, 2:]]) for a, b in zip(start, twins, strict=True)]
    radius = recipe.radius_share * (smallest - threshold)
    name = f"order {order}, {'rank one' if rank == 1 else 'two blocks'}"
    return Problem(name, target, rank, observed, gradient, threshold, radius, starts)


def outer(vectors: Sequence[Host]) -> Host:
    return reduce(np.multiply.outer, vectors)


def _signed(generator: Any, size: int) -> Host:
    return np.asarray(generator.choice([-1.0, 1.0], size) * generator.uniform(0.8, 1.25, size))


def _directions(generator: Any, size: int, count: int) -> Host:
    found = generator.standard_normal((size, count))
    return np.asarray(found / np.linalg.norm(found, axis=0))


def _tilted(generator: Any, sign: Host, tilt: float) -> Host:
    unit = sign / np.linalg.norm(sign)
    aside = generator.standard_normal(len(sign))
    aside -= (aside @ unit) * unit
    found = unit + tilt * aside / (np.linalg.norm(aside) or 1.0)
    return np.asarray(found / np.linalg.norm(found))


@dataclass(frozen=True)
class Hypothesis:
    """One of the theorem's: ``measured`` is ``relation`` (">", "<" or ">=") than ``bound``."""

    what: str
    measured: float
    relation: str
    bound: float

    @property
    def holds(self) -> bool:
        return bool({">": gt, "<": lt, ">=": ge}[self.relation](self.measured, self.bound))


def hypotheses(problem: Problem, start: Sequence[Host]) -> list[Hypothesis]:
    """The theorem's hypotheses at a start."""
    order = len(start)
    norms = np.stack([np.linalg.norm(a, axis=0) for a in start])
    smallest = float(np.abs(problem.observed.values).min())
    slope = -problem.gradient
    for a, norm in zip(start, norms[:, 0], strict=True):
        slope = np.tensordot(a[:, 0] / norm, slope, 1)
    projection = float(slope)
    others = norms[:, 1:].max(initial=0.0)
    positive = projection > 0 and order > 2
    needed = (float(np.linalg.norm(problem.gradient)) / projection) ** (1.0 / (order - 2)) if positive else np.inf
    return [
        Hypothesis("order", order, ">=", 3),
        Hypothesis("Huber threshold below the smallest observed |y|", problem.threshold, "<", smallest),
        Hypothesis("unbalancedness of the start", float(np.ptp(norms**2, axis=0).max()), "<", _EXACT),
        Hypothesis("<-gradient at 0, leading direction>", projection, ">", 0.0),
        Hypothesis(NEEDED, float(norms[:, 0].min() / others) if others > 0 else np.inf, ">", needed),
        Hypothesis("radius below smallest |y| - threshold", problem.radius, "<", smallest - problem.threshold),
    ]
