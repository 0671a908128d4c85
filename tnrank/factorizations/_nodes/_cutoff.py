"""How much a truncation may drop at each node of a dimension tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any

from tnrank.dimension_tree import DimensionTree, Node
from tnrank.linalg import check_rtol

PerNode = float | Mapping[Any, float] | None


class Cutoff:
    """Tolerances and largest ranks, at all nodes together or node by node.

    Args:
        tree: the dimension tree.
        counted: nodes whose errors add up in squares; one ``rtol`` for all is shared among them evenly.
        rtol: bounds ``||x - y|| / ||x||``; a mapping gives each named node its own share, others keep all but zeros.
        atol: bounds ``||x - y||``, or each named node's share of it; with ``rtol`` too, the looser of the two holds.
        max_rank: the most columns of any frame, or of each named node.
        norm: ``||x||``, which makes ``atol`` relative; may be infinite or 0.
    """

    def __init__(
        self,
        tree: DimensionTree,
        counted: Collection[Node],
        rtol: PerNode,
        atol: PerNode,
        max_rank: int | Mapping[Any, int] | None,
        norm: float,
    ) -> None:
        relative, relative_of = _read(tree, rtol, check_rtol)
        absolute, absolute_of = _read(tree, atol, lambda value: _relative(value, norm))
        given = [v for v in (relative, absolute, *relative_of.values(), *absolute_of.values()) if v is not None]
        positive = [value for value in given if value]
        self.tightest: float | None = min(positive) if positive else 0.0 if given else None
        """The smallest tolerance given, for the choice of a method; ``None`` where only zeros are dropped."""
        share = max(1, len(counted)) ** -0.5
        everywhere = [value * share for value in (relative, absolute) if value is not None]
        self._everywhere = everywhere
        self._per_node = (relative_of, absolute_of)
        self._rank, self._ranks = _read(tree, max_rank, _checked_rank)

    def share(self, node: Node, floor: float) -> float:
        """The part of ``||x||`` that may go at this node; ``floor`` where nothing is asked for."""
        own = [values[node] for values in self._per_node if node in values]
        return max([*own, *self._everywhere], default=floor)

    def most(self, node: Node) -> int | None:
        """The most columns at this node."""
        most: int | None = self._ranks.get(node, self._rank)
        return most


def _read(tree: DimensionTree, given: Any, check: Callable[[Any], Any]) -> tuple[Any, dict[Node, Any]]:
    """A value for all nodes, or values of single ones."""
    if isinstance(given, Mapping):
        return None, {tree.node(key): check(value) for key, value in given.items()}
    return None if given is None else check(given), {}


def _relative(atol: float, norm: float) -> float:
    if not (isfinite(atol) and atol >= 0):
        raise ValueError(f"atol bounds the Frobenius norm of the error and is at least 0, got {atol}")
    return 0.0 if not atol else 1.0 if norm <= atol else atol / norm


def _checked_rank(most: int) -> int:
    if most < 1 or most != int(most):
        raise ValueError(f"max_rank is the most columns of a frame, at least 1, got {most}")
    return int(most)
