"""Networks from and to google/TensorNetwork nodes.

A copy node says that its edges are one index, so each connected group of copy nodes becomes one hyperindex by
union-find. The copy tensor itself (dimension^rank elements, made when ``CopyNode.tensor`` is touched) is
never built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import backend_of, get_backend
from tnrank._check import sequence, shown
from tnrank._typing import Array, Arrays, Label
from tnrank.network._labels import checked_arrays, listed, show
from tnrank.network._scalars import with_scalars

if TYPE_CHECKING:
    from tnrank.network._network import Network

_NODE_BACKENDS = {"numpy": "numpy", "jax": "jax", "torch": "pytorch"}
_FRAMEWORKS = {there: here for here, there in _NODE_BACKENDS.items()}
_UNNAMED_NODE, _UNNAMED_EDGE = "__unnamed_node__", "__unnamed_edge__"


def from_nodes(
    cls: type[Network], nodes: Iterable[Any], output: Sequence[Any] | None
) -> tuple[Network, dict[str, Array]]:
    """See :meth:`tnrank.Network.from_nodes`."""
    from tensornetwork import AbstractNode, CopyNode

    try:
        given = list(nodes)  # a single node gives its edges, which the loop refuses
    except TypeError:
        raise TypeError(f"got {shown(nodes)}, needed a collection of tensornetwork nodes") from None
    if output is not None:
        output = sequence(output, "output", "dangling edges or their names")
    for node in given:
        if not isinstance(node, AbstractNode):
            raise TypeError(f"got {type(node).__name__}, needed a collection of tensornetwork nodes")
        if node.is_disabled:
            raise ValueError(f"node {node.name!r} is disabled, and its edges are gone: build it again")
    if len({id(node) for node in given}) != len(given):
        twice = next(node for node in given if sum(other is node for other in given) > 1)
        raise ValueError(f"node {twice.name!r} is given twice: each node once")
    tensors = [node for node in given if not isinstance(node, CopyNode)]
    groups = _Groups(given, [node for node in given if isinstance(node, CopyNode)])
    dangling = [edge for node in given for edge in node.edges if edge.is_dangling()]
    order = dangling if output is None else _ordered(output, dangling)
    if output is None and isinstance(nodes, AbstractSet) and len(dangling) > 1:
        raise ValueError(
            f"a set of nodes has no order, and {len(dangling)} edges dangle: give output=[edge, ..], or a list of nodes"
        )
    names = _unique_names([node.name for node in tensors])
    labels = _label_groups(groups, given, dict(zip(map(id, tensors), names, strict=True)))
    found: dict[str, tuple[Label, ...]] = {}
    arrays: dict[str, Array] = {}
    for name, node in zip(names, tensors, strict=True):
        found[name] = tuple(labels[groups.of(edge)] for edge in node.edges)
        arrays[name] = node.tensor
    # One index stands for a whole group of copy nodes. Where it dangles more than once, an identity matrix
    # gives the further axes; where no tensor carries it, a vector of ones does.
    result: list[Label] = []
    carried = {label for member in found.values() for label in member}
    for edge in order:
        label = labels[groups.of(edge)]
        if label in result:
            again = _fresh(f"{label}'", {*labels.values(), *result})
            name = _fresh(f"identity {label}", set(found))
            found[name], arrays[name] = (label, again), _like(groups, edge, tensors, np.eye(edge.dimension))
            carried.add(label)
            label = again
        result.append(label)
    for node in groups.copies:
        if node.edges and (label := labels[groups.of(node.edges[0])]) not in carried:
            name = _fresh(f"ones {label}", set(found))
            found[name], arrays[name] = (
                (label,),
                _like(groups, node.edges[0], tensors, np.ones(node.dimension)),
            )
            carried.add(label)
    return cls(found, result), arrays


class _Groups:
    """Which edges are one index: union-find over the edges of copy nodes."""

    def __init__(self, nodes: Sequence[Any], copies: Sequence[Any]) -> None:
        self.copies = copies
        self.parent: dict[int, int] = {}
        inside = {id(node) for node in nodes}
        for node in nodes:
            for axis, edge in enumerate(node.edges):
                self.parent[id(edge)] = id(edge)
                for end in edge.get_nodes():
                    if end is not None and id(end) not in inside:
                        raise ValueError(
                            f"axis {axis} of node {node.name!r} is connected to node {end.name!r}, which was "
                            "not given: add it, or disconnect the edge"
                        )
        for node in copies:
            for edge in node.edges[1:]:
                self.parent[self.of(edge)] = self.of(node.edges[0])

    def of(self, edge: Any) -> int:
        """The group of ``edge``, as a number."""
        here = id(edge)
        while self.parent[here] != here:
            self.parent[here] = here = self.parent[self.parent[here]]
        return here


def _ordered(output: Sequence[Any], dangling: Sequence[Any]) -> list[Any]:
    """The edges that ``output`` names, by edge or by name."""
    named = Counter(edge.name for edge in dangling)
    by_name = {edge.name: edge for edge in dangling}
    order = []
    for wanted in output:
        edge = wanted
        if not any(edge is other for other in dangling):
            edge = by_name.get(show(wanted))
            if edge is None or named[edge.name] > 1:
                names = [name for name in named if name != _UNNAMED_EDGE]
                raise ValueError(
                    f"the output edge {show(wanted)!r} is no dangling edge of these nodes: {len(dangling)} "
                    "dangle" + (f", named {listed(names)}" if names else "")
                )
        order.append(edge)
    if len({id(edge) for edge in order}) != len(order) or len(order) != len(dangling):
        left = [edge for edge in dangling if not any(edge is other for other in order)]
        hint = f"; left out: {listed(f'{e.node1.name}[{e.axis1}]' for e in left)}" if left else ""
        raise ValueError(
            f"the output has {len(order)} edges, needed each of the {len(dangling)} dangling ones once{hint}"
        )
    return order


def _unique_names(names: Sequence[str]) -> list[str]:
    """Names as given; unnamed nodes by position, and a number behind a name that came before."""
    taken = {name for name in names if name != _UNNAMED_NODE}
    seen: set[str] = set()
    unique = []
    for position, name in enumerate(names):
        if name == _UNNAMED_NODE:
            name = _fresh(f"node{position}", taken)
        elif name in seen:
            name = next(new for k in count(1) if (new := f"{name}_{k}") not in taken)
        seen.add(name)
        taken.add(name)
        unique.append(name)
    return unique


def _label_groups(groups: _Groups, nodes: Sequence[Any], names: dict[int, str]) -> dict[int, str]:
    """A label for each group: the name of an edge if no other group has it, else tensor and axis."""
    wanted: dict[int, str] = {}
    place: dict[int, str] = {}
    for node in nodes:
        for axis, edge in enumerate(node.edges):
            group = groups.of(edge)
            if id(node) in names:
                place.setdefault(group, f"{names[id(node)]}.{axis}")
            if edge.name and not edge.name.startswith("__"):
                wanted.setdefault(group, edge.name)
    times = Counter(wanted.values())
    labels = {group: name for group, name in wanted.items() if times[name] == 1}
    taken = set(labels.values())
    for node in nodes:
        for edge in node.edges:
            group = groups.of(edge)
            if group not in labels:
                labels[group] = _fresh(place.get(group, f"copy.{len(labels)}"), taken)
                taken.add(labels[group])
    return labels


def _fresh(name: str, taken: AbstractSet[Any]) -> str:
    while name in taken:
        name += "'"
    return name


def _like(groups: _Groups, edge: Any, tensors: Sequence[Any], values: np.ndarray[Any, Any]) -> Array:
    """``values`` as an array like those of the tensors, or of the copy node where there is none."""
    if tensors:
        model = tensors[0].tensor
        backend = backend_of(model)
        return backend.asarray(values, dtype=backend.dtype_of(model), device=backend.device_of(model))
    node = next(n for n in groups.copies if any(e is edge for e in n.edges))
    backend = get_backend(_FRAMEWORKS.get(node.backend.name, "numpy"))
    return backend.asarray(values, dtype=np.dtype(node.dtype).name)


def to_nodes(network: Network, arrays: Arrays) -> list[Any]:
    """See :meth:`tnrank.Network.to_nodes`."""
    from tensornetwork import CopyNode, Node, connect

    arrays = with_scalars(network.without_indices, checked_arrays(arrays, network.tensors))
    sizes = network.sizes(arrays)
    backend = network.check_uniform(arrays)
    if backend.name not in _NODE_BACKENDS:
        raise ValueError(
            f"tensornetwork knows the backends {listed(_NODE_BACKENDS)}, got arrays of {backend.name!r}: convert them"
        )
    there = _NODE_BACKENDS[backend.name]
    nodes = {name: Node(backend.plain(arrays[name]), name=name, backend=there) for name in network.tensors}
    # CopyNode takes a NumPy dtype, and it must be the tensors' own: torch refuses to mix, NumPy promotes.
    dtype = np.dtype("float32")
    if arrays:
        with suppress(TypeError):  # bfloat16
            dtype = np.dtype(backend.dtype_of(next(iter(arrays.values()))))
    ends: dict[Label, list[Any]] = {label: [] for label in network.indices}
    for name, labels in network.tensors.items():
        for axis, label in enumerate(labels):
            ends[label].append(nodes[name][axis])
    copies = []
    opened = set(network.output)
    for label, edges in ends.items():
        title = show(label)
        if len(edges) == 1 and label in opened:
            edges[0].set_name(title)
        elif len(edges) == 2 and label not in opened:
            connect(*edges, name=title)
        else:
            node = CopyNode(len(edges) + (label in opened), sizes[label], name=title, backend=there, dtype=dtype)
            for axis, edge in enumerate(edges):
                connect(edge, node[axis], name=title)
            if label in opened:
                node[-1].set_name(title)
            copies.append(node)
    return [*nodes.values(), *copies]
