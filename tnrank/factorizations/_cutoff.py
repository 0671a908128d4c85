"""How much a truncation may drop at each node of a dimension tree."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        atol: bounds ``||x - y||``; with ``rtol`` too, the looser of the two holds.
        max_rank: the most columns of any frame, or of each named node.
        norm: ``||x||``, which makes ``atol`` relative; may be infinite or 0.
    """

    def __init__(
        self,
        tree: DimensionTree,
        counted: Collection[Node],
        rtol: PerNode,
        atol: float | None,
        max_rank: int | Mapping[Any, int] | None,
        norm: float,
    ) -> None:
        if atol is not None and not (isfinite(atol) and atol >= 0):
            raise ValueError(f"atol bounds the Frobenius norm of the error and is at least 0, got {atol}")
        absolute = 0.0 if not atol else 1.0 if norm <= atol else atol / norm
        per_node = (
            {tree.node(key): check_rtol(value) for key, value in rtol.items()} if isinstance(rtol, Mapping) else {}
        )
        shared = None if isinstance(rtol, Mapping) else check_rtol(rtol)
        given = [value for value in (shared, absolute, *per_node.values()) if value]
        self.tightest: float | None = min(given) if given else 0.0 if shared == 0 else None
        """The smallest tolerance given, for the choice of a method; ``None`` where only zeros are dropped."""
        share = max(1, len(counted)) ** -0.5
        together = max(shared or 0.0, absolute) * share
        self._everywhere = together if shared is not None or atol is not None else None
        self._per_node: Mapping[Node, float | None] = per_node
        self._ranks = (
            {tree.node(key): value for key, value in max_rank.items()} if isinstance(max_rank, Mapping) else {}
        )
        self._rank = None if isinstance(max_rank, Mapping) else max_rank
        for most in (self._rank, *self._ranks.values()):
            if most is not None and (most < 1 or most != int(most)):
                raise ValueError(f"max_rank is the most columns of a frame, at least 1, got {most}")

    def share(self, node: Node, floor: float) -> float:
        """The part of ``||x||`` that may go at this node; ``floor`` where nothing is asked for."""
        own = self._per_node.get(node)
        asked = [value for value in (own, self._everywhere) if value is not None]
        return max(asked) if asked else floor

    def most(self, node: Node) -> int | None:
        """The most columns at this node."""
        return self._ranks.get(node, self._rank)
