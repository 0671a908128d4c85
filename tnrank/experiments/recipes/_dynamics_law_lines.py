"""The factorizations whose rates the recipe dynamics-law measures, and what was measured, one line an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from tnrank.data import low_rank_matrix, low_rank_tensor
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.theory import ExponentFit, fit_exponent, inner_indices, local_components
from tnrank.training import MeasuredRates

Host = np.ndarray[Any, Any]
FAMILIES = {"mf": "matrix factorization", "cp": "CP factorization", "htf": "hierarchical factorization"}
_MATRIX, _RANK = (10, 10), 3
# Dimension of the modes by their number: tensors of 200 to 730 entries.
_DIMENSIONS = {2: 10, 3: 6, 4: 4, 5: 3, 6: 3}
_COMPONENTS, _WIDTH, _TARGET_WIDTH = 10, 8, 2
_TOLD = 0.1
"""Rates tell something where the projection is at least this share of its largest, and not about to change sign."""
_BALANCED = 0.01
"""The law is fitted where squared slice norms, sigma^(2/K), are equal up to this share: steps unbalance components."""


@dataclass(frozen=True)
class Case:
    """One kind of factorization; seeds draw its Gaussian entries, and the tensor of mean square 1 to complete.

    ``orders`` are index -> K; for a matrix factorization ``None``, the singular values, -> its depth.
    """

    family: str
    name: str
    title: str
    orders: Mapping[Any, int]
    draw: Callable[[int], Factorization]
    target: Callable[[int], Host]

    def start(self, seed: int, size: float, balanced: bool = True, lopsided: float = 1.0) -> Factorization:
        """Initial weights whose largest component norm, or singular value, is ``size`` or, at other indices, more.

        With ``lopsided`` one of the tensors that meet the first index is scaled by it, the others back, so that the
        end tensor stays as it is.
        """
        x = self.draw(seed).balance() if balanced else self.draw(seed)
        norms = x.component_norms()
        found = norms.values() if isinstance(norms, dict) else [norms]
        # Norms of an index of K go with the K-th power of what all tensors are multiplied by.
        factor = max((size / float(np.max(n))) ** (1 / K) for n, K in zip(found, self.orders.values(), strict=True))
        x = x.map(lambda a: a * factor)
        if lopsided == 1.0:
            return x
        index = next(iter(self.orders))
        names = list(x.arrays) if index is None else list(local_components(x, index).slice_norms)
        # Leaves first: of a hierarchical factorization the scaled matrix then belongs to one family alone.
        names.sort(key=lambda name: not name.startswith("leaf"))
        scales = {name: lopsided if name == names[0] else lopsided ** (-1 / (len(names) - 1)) for name in names}
        return x.replace({name: a * scales.get(name, 1.0) for name, a in x.arrays.items()})


def matrix_case(depth: int) -> Case:
    return Case(
        *("mf", f"mf-depth{depth}", f"matrix, depth {depth}", {None: depth}),
        lambda seed: MatrixFactorization.random(_MATRIX, depth=depth, seed=seed),
        lambda seed: low_rank_matrix(_MATRIX, _RANK, seed=seed),
    )


def cp_case(order: int, weighted: bool) -> Case:
    shape = (_DIMENSIONS[order],) * order
    return Case(
        *("cp", f"cp-order{order}" + "-weighted" * weighted, f"CP, order {order}" + ", weighted" * weighted),
        {"r": order + weighted},
        lambda seed: CPFactorization.random(shape, rank=_COMPONENTS, weighted=weighted, seed=seed),
        lambda seed: low_rank_tensor(shape, _RANK, seed=seed),
    )


def hierarchical_case(arity: int) -> Case:
    """A root with two children, each with ``arity`` leaves."""
    tree = DimensionTree((tuple(range(arity)), tuple(range(arity, 2 * arity))))
    shape = ({2: 4, 3: 3}.get(arity, 2),) * tree.order

    def draw(seed: int, width: int = _WIDTH) -> HierarchicalFactorization:
        return HierarchicalFactorization.random(shape, tree=tree, width=width, seed=seed)

    def target(seed: int) -> Host:
        drawn = np.asarray(draw(seed, _TARGET_WIDTH).to_dense())
        return np.asarray(drawn * (sqrt(drawn.size) / float(np.linalg.norm(drawn))))

    x = draw(0)
    orders = {index: local_components(x, index).order for index in inner_indices(x)}
    return Case("htf", f"htf-arity{arity}", f"hierarchical, {arity} leaves a node", orders, draw, target)


@dataclass(frozen=True)
class Measured:
    """One index of one case, from one kind of start; ``index`` is ``None`` for singular values, ``order`` is K.

    Each seed has its rates, and its ``drifts``: the unbalancedness at the same moments, ``(P,)``. With ``balanced`` the
    law of balanced components is fitted.
    """

    case: Case
    index: Any
    order: int
    rates: Sequence[MeasuredRates]
    drifts: Sequence[Host]
    balanced: bool
    confidence: float = 0.95

    @property
    def law(self) -> float:
        return 2 - 2 / self.order

    @property
    def title(self) -> str:
        return self.case.title if self.case.family == "cp" or self.index is None else f"{self.case.title}: {self.index}"

    @property
    def drift(self) -> float:
        """The largest unbalancedness at the end."""
        return max(float(drift[-1]) for drift in self.drifts)

    @cached_property
    def told(self) -> list[Host]:
        """Which rates tell something, ``(P, R)`` a seed."""
        found = []
        for r, drift in zip(self.rates, self.drifts, strict=True):
            level = _TOLD * np.abs(r.projection).max(initial=0.0)
            told = (np.abs(r.projection) >= level) & (np.abs(r.next_projection) >= level) & (r.projection != 0)
            if self.balanced:
                gap = drift[:, None] if r.unbalancedness is None else r.unbalancedness
                told &= gap <= _BALANCED * r.norms ** (2 / self.order)
            found.append(np.asarray(told & np.isfinite(r.measured)))
        return found

    def points(self, name: str) -> Host:
        """A field of the rates at all moments, components and seeds that tell something."""
        return np.concatenate([getattr(r, name)[told] for r, told in zip(self.rates, self.told, strict=True)])

    @cached_property
    def groups(self) -> Host:
        """The trajectory, a component of a seed, that each point lies on."""
        (width,) = {r.norms.shape[1] for r in self.rates}
        every = [k * width + np.arange(width) + np.zeros_like(r.norms, np.int64) for k, r in enumerate(self.rates)]
        return np.concatenate([groups[told] for groups, told in zip(every, self.told, strict=True)])

    @cached_property
    def fit(self) -> ExponentFit | None:
        """The exponent with what its interval is by chance and by the finite step.

        The increment of a step is the rate at a point between its ends. The fit is made with norms and projections at
        either end, and the interval spans both. ``None`` where there are too few points.
        """
        measured, ends = self.points("measured"), [("norms", "projection"), ("next_norms", "next_projection")]
        try:
            before, after = (
                fit_exponent(self.points(norms), measured, self.points(projection), self.groups, self.confidence)
                for norms, projection in ends
            )
        except ValueError:
            return None
        low, high = min(before.low, after.low), max(before.high, after.high)
        factor = float(np.sqrt(before.prefactor * after.prefactor))
        return ExponentFit((before.exponent + after.exponent) / 2, low, high, factor, before.count)

    def excludes(self, order: int) -> bool:
        """Whether there is an interval, and 2 - 2/K of another K lies outside."""
        return self.fit is not None and not self.fit.contains(2 - 2 / order)

    def deviation(self, name: str = "exact") -> Host:
        """|measured / predicted - 1| at every point."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.abs(self.points("measured") / self.points(name) - 1))

    def excess(self) -> Host:
        """How far measured rates lie outside their bounds, relative to the rate, at every point; 0 inside."""
        measured = self.points("measured")
        outside = np.maximum(self.points("lower") - measured, measured - self.points("upper"))
        return np.asarray(np.maximum(outside, 0) / np.abs(self.points("exact")))

    def gap(self) -> float:
        """The median ratio of the bounds."""
        low, high = np.abs(self.points("lower")), np.abs(self.points("upper"))
        return float(np.median(np.maximum(low, high) / np.minimum(low, high)))


def mean_deviation(found: Sequence[MeasuredRates]) -> float:
    """The mean deviation of measured from exact rates, relative to these."""
    wrong, scale = [], []
    for r in found:
        # One-sided differences at the ends of the flow's spline are less accurate.
        kept = slice(None) if r.interval.any() else slice(3, -3)
        wrong.append(np.abs(r.measured - r.exact)[kept].mean())
        scale.append(np.abs(r.exact)[kept].mean())
    return float(np.sum(wrong) / np.sum(scale))
