"""How much a truncation may drop at each node of a dimension tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any

from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.linalg import check_rtol

PerNode = float | Mapping[Any, float] | None


class Cutoff:
    """Tolerances and largest ranks, at all nodes together or node by node.

    Nodes of the same or of complementary modes share one matricization, and what is said of one holds for all.

    Args:
        tree: the dimension tree.
        reduced: nodes whose frames are made narrower; their edges share one ``rtol`` evenly, in squares.
        rtol: bounds ``||x - y|| / ||x||``; a mapping gives each named node its own share, others keep all but zeros.
        atol: bounds ``||x - y||``, or each named node's share of it; with ``rtol`` too, the looser of the two holds.
        max_rank: the most columns of any frame, or of each named node.
        norm: ``||x||``, which makes ``atol`` relative; may be infinite or 0.

    Raises:
        ValueError: for values out of range, and nodes that do not exist or are not made narrower.
    """

    def __init__(
        self,
        tree: DimensionTree,
        reduced: Collection[Node],
        rtol: PerNode,
        atol: PerNode,
        max_rank: int | Mapping[Any, int] | None,
        norm: float,
    ) -> None:
        self._edges = _hsvd.edges(tree)
        known = {self._edges[node] for node in reduced if node in self._edges}

        def edge(key: Any) -> tuple[int, ...]:
            try:
                found = self._edges.get(tree.node(key))
            except KeyError as error:
                raise ValueError(error.args[0]) from None
            if found not in known:
                raise ValueError(f"node {key} has no rank of its own in this format that a tolerance could act on")
            return found

        relative, relative_of = _read(rtol, check_rtol, edge)
        absolute, absolute_of = _read(atol, lambda value: _relative(value, norm), edge)
        given = [v for v in (relative, absolute, *relative_of.values(), *absolute_of.values()) if v is not None]
        positive = [value for value in given if value]
        self.tightest: float | None = min(positive) if positive else 0.0 if given else None
        """The smallest tolerance given, for the choice of a method; ``None`` where only zeros are dropped."""
        share = max(1, len(known)) ** -0.5
        self._everywhere = [value * share for value in (relative, absolute) if value is not None]
        self._per_edge = (relative_of, absolute_of)
        self._rank, self._ranks = _read(max_rank, _checked_rank, edge)

    def share(self, node: Node, floor: float) -> float:
        """The part of ``||x||`` that may go at this node; ``floor`` where nothing is asked for."""
        edge = self._edges.get(node)
        own = [values[edge] for values in self._per_edge if edge in values]
        return max([*own, *self._everywhere], default=floor)

    def most(self, node: Node) -> int | None:
        """The most columns at this node."""
        most: int | None = self._ranks.get(self._edges.get(node), self._rank)
        return most


def _read(
    given: Any, check: Callable[[Any], Any], edge: Callable[[Any], tuple[int, ...]]
) -> tuple[Any, dict[Any, Any]]:
    """A value for all nodes, or values of single edges."""
    if isinstance(given, Mapping):
        return None, {edge(key): check(value) for key, value in given.items()}
    return None if given is None else check(given), {}


def _relative(atol: float, norm: float) -> float:
    if not (isfinite(atol) and atol >= 0):
        raise ValueError(f"atol bounds the Frobenius norm of the error and is at least 0, got {atol}")
    return 0.0 if not atol else 1.0 if norm <= atol else atol / norm


def _checked_rank(most: Any) -> int:
    if not hasattr(most, "__index__") or most < 1:
        raise ValueError(f"max_rank is the most columns of a frame, a whole number from 1 on, got {most!r}")
    return int(most)
