"""How much a truncation may drop at each node of a dimension tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from tnrank._check import real_number, whole_number
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.linalg import check_rtol

PerNode = float | Mapping[Any, float] | None
MaxRank = int | Mapping[Any, int] | Sequence[int] | None


class Cutoff:
    """Tolerances and largest ranks, at all nodes together or node by node.

    Nodes of the same or of complementary modes share one matricization, and what is said of one holds for all.

    Args:
        tree: the dimension tree.
        reduced: nodes whose frames are made narrower; their edges share one ``rtol`` evenly, in squares.
        rtol: bounds ``||x - y|| / ||x||``; a mapping gives each named node its own share, others keep all but zeros.
        atol: bounds ``||x - y||``, or each named node's share of it; with ``rtol`` too, the looser of the two holds.
        max_rank: the most columns of any frame, of each named node, or of each node of ``in_order``.
        norm: ``||x||``, which makes ``atol`` relative; may be infinite or 0.
        in_order: the nodes that a sequence of ranks is for.

    Raises:
        ValueError: for values out of range, and nodes that do not exist or are not made narrower.
    """

    def __init__(
        self,
        tree: DimensionTree,
        reduced: Collection[Node],
        rtol: PerNode,
        atol: PerNode,
        max_rank: MaxRank,
        norm: float,
        in_order: Sequence[Node] = (),
    ) -> None:
        self._edges = _hsvd.edges(tree)
        known = {self._edges[node] for node in reduced if node in self._edges}

        def edge(key: Any) -> tuple[int, ...]:
            try:
                found = self._edges.get(tree.node(_named(tree, key)))
            except (KeyError, TypeError) as error:
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
        self._rank, self._ranks = _read(_by_name(max_rank, in_order), _checked_rank, edge)

    def share(self, node: Node, floor: float) -> float:
        """The part of ``||x||`` that may go at this node; ``floor`` where nothing is asked for."""
        edge = self._edges.get(node)
        own = [values[edge] for values in self._per_edge if edge in values]
        return max([*own, *self._everywhere], default=floor)

    def most(self, node: Node) -> int | None:
        """The most columns at this node."""
        most: int | None = self._ranks.get(self._edges.get(node), self._rank)
        return most


def _by_name(max_rank: Any, nodes: Sequence[Node]) -> Any:
    """A sequence of ranks as a mapping."""
    if max_rank is None or isinstance(max_rank, (Mapping, str)) or _is_number(max_rank):
        return max_rank
    if not isinstance(max_rank, Iterable):
        return max_rank
    given = list(max_rank)
    if len(given) != len(nodes):
        raise ValueError(
            f"max_rank has {len(given)} numbers, needed {len(nodes)}, for the nodes {', '.join(map(str, nodes))}; "
            "or one number for all, or a mapping {modes: rank}"
        )
    return dict(zip(nodes, given, strict=True))


def _is_number(value: Any) -> bool:
    return hasattr(value, "__index__") and not getattr(value, "shape", ())


def _named(tree: DimensionTree, key: Any) -> Any:
    """The key, or the modes complementary to it if they are a node: both have one matricization."""
    if isinstance(key, Node) or not isinstance(key, (tuple, list, set, frozenset)):
        return key
    modes = tuple(sorted(key))
    rest = tuple(mode for mode in range(tree.order) if mode not in modes)
    known = {node.modes for node in tree.nodes}
    return rest if modes not in known and rest in known and set(modes) <= set(range(tree.order)) else key


def _read(
    given: Any, check: Callable[[Any], Any], edge: Callable[[Any], tuple[int, ...]]
) -> tuple[Any, dict[Any, Any]]:
    """A value for all nodes, or values of single edges."""
    if isinstance(given, Mapping):
        return None, {edge(key): check(value) for key, value in given.items()}
    return None if given is None else check(given), {}


def _relative(atol: float, norm: float) -> float:
    atol = real_number(atol, "atol, a bound of the Frobenius norm of the error,", 0)
    return 0.0 if not atol else 1.0 if norm <= atol else atol / norm


def _checked_rank(most: Any) -> int:
    return whole_number(most, "max_rank, the most columns of a frame,", 1)
