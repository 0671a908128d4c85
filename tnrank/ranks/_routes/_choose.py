"""The ways to the spectra of something: from the dense tensor, from local components, or from frames on a tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._scale import nonzero, norm, on_host
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.linalg import eps_of, matricization_sides, matricize, scaled_singular_values
from tnrank.ranks._input import DENSE_LIMIT, Dense, listed, read_tensor
from tnrank.ranks._routes import _bipartition, _formats, _gramians

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array, Shape

Modes = tuple[int, ...]
_SAFE = (1e-30, 1e30)
"""Norms with which singular values far below them are numbers still, in single precision too."""
_MANY_STEPS = 2000
_QUICKLY = 2**20
"""Elements of the arrays by which another tree is tried where there is a way without: decomposed in a second."""
_IN_FAVOR_OF_THE_FORMAT = 4.0
"""A dense measurement must be this much cheaper: it also has to be made dense, and holds all of its entries."""


class Found(NamedTuple):
    """Spectra of groups of modes."""

    values: Mapping[Modes, Array]
    """Divided by ``exp(log_unit)``, or as they are if that is ``None``."""
    log_unit: Callable[[], Array] | None
    side: Callable[[Modes], int]
    """The larger side of what was decomposed there: its multiple of eps is the default tolerance."""
    condition: Callable[[], float]
    """How much larger than the tensor the terms are that cancel in it."""
    by_components: bool = False
    """Whether Gram matrices, where asked for, are those of terms that may cancel."""
    unit: Array | None = None
    """A power of two that the values are divided by; ``None`` is 1."""
    tolerance: Callable[[float], float] = float
    """The tolerance of entries rounded to eps -> that of the entries as they are."""


class _Route(NamedTuple):
    """A way to measure: multiplications, elements of the largest array, and the call that does it."""

    work: float
    largest: int
    run: Callable[[], Found]
    steps: int = 0
    """Nodes that are worked on for groups of modes that are none of the format's own."""


def _complement(modes: Modes, order: int) -> Modes:
    inside = set(modes)
    return tuple(mode for mode in range(order) if mode not in inside)


def from_dense(
    dense: Dense, wanted: Iterable[Modes], method: str, condition: Callable[[], float] = lambda: 1.0
) -> Found:
    """Decompose each matricization; a group of modes and its complement share theirs."""
    shape = tuple(dense.array.shape)
    array, valid = dense.scaled()
    known: dict[Modes, Array] = {}
    values = {}
    for modes in wanted:
        key = min(modes, _complement(modes, len(shape)))
        if key not in known:
            s = scaled_singular_values(matricize(array, key), method)
            known[key] = s if valid is None else s * valid
        values[modes] = known[key]
    return Found(
        values,
        None,
        lambda modes: max(matricization_sides(shape, modes)),
        condition,
        False,
        dense.unit,
        dense.tolerance,
    )


def from_factorization(x: Any, shape: Shape, tree: DimensionTree, wanted: Sequence[Modes], method: str) -> Found:
    """Measure in the format, or densely where that costs much less, or the format cannot.

    Raises:
        ValueError: if neither is within memory; the sizes are named.
    """
    from tnrank.factorizations import TensorTrainOperator, TreeFormat

    if isinstance(x, (TreeFormat, TensorTrainOperator)):
        nodes = _nodes_of(x.tree, wanted, len(shape))
        if len(nodes) == len(wanted):
            return _own_spectra(x, shape, nodes, method)
    x, log_scale = _formats.moderate(x)
    return _rescaled(_by_the_cheapest(x, shape, tree, wanted, method), x.backend, log_scale)


def _rescaled(found: Found, backend: Backend, log_scale: float) -> Found:
    """The spectra of ``exp(log_scale)`` times what was measured: over the norm, which may leave the range."""
    if not log_scale:
        return found
    if (given := found.log_unit) is not None:
        return found._replace(log_unit=lambda: given() + log_scale)
    first = next(iter(found.values.values()))
    size = norm(first, backend)
    log_size = backend.xp.log(size) if found.unit is None else backend.xp.log(size) + backend.xp.log(found.unit)
    return found._replace(
        values={modes: s / nonzero(size, backend) for modes, s in found.values.items()},
        log_unit=lambda: log_size + log_scale,
        unit=None,
    )


def _by_the_cheapest(x: Any, shape: Shape, tree: DimensionTree, wanted: Sequence[Modes], method: str) -> Found:
    routes = _routes(x, shape, tree, wanted, method)
    possible = [route for route in routes if route.largest <= DENSE_LIMIT]
    best = min(possible, key=lambda route: route.work) if possible else None
    if best is not None and best.steps <= _MANY_STEPS:
        return best.run()
    # Many bipartitions share most of their work on a tree that has them as nodes.
    try:
        return _after_moving(x, shape, tree, wanted, method, None if best is None else _QUICKLY)
    except ValueError as error:
        if best is not None:
            return best.run()
        entries = f"10^{sum(math.log10(d) for d in shape):.1f}"
        reason = (
            f"in the format an intermediate array has 10^{math.log10(min(r.largest for r in routes)):.1f} entries"
            if routes
            else "its terms live on different dimension trees"
        )
        raise ValueError(
            f"cannot measure {len(wanted)} matricizations of a {type(x).__name__} of shape {listed(shape)}: {reason}, "
            f"the dense tensor has {entries}, the limit is {DENSE_LIMIT}, and no change of tree is within reach "
            f"({error}). Truncate first, or measure on the factorization's own tree"
        ) from error


def _after_moving(
    x: Any, shape: Shape, tree: DimensionTree, wanted: Sequence[Modes], method: str, memory_limit: int | None
) -> Found:
    """On a tree that has the groups as nodes, which every term is brought to by exchanges of subtrees."""
    target = _formats.tree_through(wanted, tree, len(shape))
    if len(_nodes_of(target, wanted, len(shape))) < len(wanted):
        raise ValueError("the groups of modes overlap")
    there, lost = _formats.moved(x, target, memory_limit)
    found = _by_frames(there, target, shape, wanted, method).run()
    eps = eps_of(str(x.dtype))
    return found._replace(condition=lambda: found.condition() * (1 + lost / eps))


def _routes(x: Any, shape: Shape, tree: DimensionTree, wanted: Sequence[Modes], method: str) -> list[_Route]:
    """The ways to measure a factorization, the format's own first."""
    routes = []
    order, own = len(shape), _formats.tree_of(x)
    parts = _formats.components(x, _formats.tree_through(wanted, tree, order))
    if parts is not None:
        nodes = _nodes_of(parts.tree, wanted, order)
        if len(nodes) == len(wanted):
            routes.append(_by_components(parts, shape, wanted, nodes, method))
    if own is not None and not routes:
        routes.append(_by_frames(x, own, shape, wanted, method))
    if math.prod(shape) <= DENSE_LIMIT:
        work = sum(4 * math.prod(shape) * min(matricization_sides(shape, modes)) for modes in wanted)
        work += 2 * math.prod(shape) * max(max(a.shape) for _, t in _formats.terms_of(x) for a in t.arrays.values())

        def dense() -> Found:
            read = read_tensor(x)

            def condition() -> float:
                return _formats.cancellation(x, tree, _log_norm(read))

            return from_dense(read, wanted, method, condition)

        routes.append(_Route(_IN_FAVOR_OF_THE_FORMAT * work, math.prod(shape), dense))
    return routes


def _nodes_of(tree: DimensionTree, wanted: Iterable[Modes], order: int) -> dict[Modes, Node]:
    """The node of each group or of its complement, where there is one."""
    by_modes: dict[Modes, Node] = {}
    for node in tree.nodes:
        by_modes.setdefault(node.modes, node)
    found = {}
    for modes in wanted:
        found_here = by_modes.get(modes) or by_modes.get(_complement(modes, order))
        if found_here is not None:
            found[modes] = found_here
    return found


def _by_components(
    parts: _gramians.LocalComponents, shape: Shape, wanted: Sequence[Modes], nodes: Mapping[Modes, Node], method: str
) -> _Route:
    work, largest = _gramians.cost(parts, method)
    count = len(parts.tree.nodes)

    def side(modes: Modes) -> int:
        node = nodes[modes]
        array = parts.matrices.get(node) if node.height else parts.leaves[node.modes[0]]
        return count + int(max([parts.leaves[0].shape[1], *(() if array is None else array.shape)]))

    def run() -> Found:
        found = _gramians.spectra(parts, method, nodes.values())
        values = {modes: _trimmed(found.values[nodes[modes]], shape, modes) for modes in wanted}
        return Found(values, lambda: found.log_norm, side, found.cancellation, True)

    return _Route(work, largest, run)


def _by_frames(x: Any, own: DimensionTree, shape: Shape, wanted: Sequence[Modes], method: str) -> _Route:
    from tnrank.factorizations import _hsvd

    shapes = _formats.frame_shapes(x, own, shape)
    direct = _nodes_of(own, wanted, len(shape))
    others = [modes for modes in wanted if modes not in direct]
    work = sum(4 * math.prod(s) * max(s) for s in shapes.values())
    largest = max(math.prod(s) for s in shapes.values())
    layout, steps = _bipartition.Layout.of(own), 0
    for modes in others:
        more, array, count = _bipartition.cost(layout, shapes, modes)
        work, largest, steps = work + more, max(largest, array), steps + count

    def run() -> Found:
        found = _formats.frames(x, own)
        spectra = _hsvd.spectra(own, found.arrays, method) if direct else {}
        values = {modes: _trimmed(spectra[node], shape, modes) for modes, node in direct.items()}
        for modes in others:
            values[modes] = scaled_singular_values(_bipartition.halves(layout, found.arrays, modes), method)

        def side(modes: Modes) -> int:
            node = direct.get(modes)
            return len(shapes) + (max(values[modes].shape) if node is None else _larger_side(shapes[node]))

        def condition() -> float:
            return _formats.cancellation(x, own, float(x.backend.to_numpy(found.log_norm)))

        return Found(values, lambda: found.log_norm, side, condition)

    return _Route(work, largest, run, steps)


def _own_spectra(x: Any, shape: Shape, nodes: Mapping[Modes, Node], method: str) -> Found:
    """Of a tree format on its own tree: as they are where they are numbers, else over the norm, by a second pass."""
    log_norm = None
    with np.errstate(all="ignore"):
        values = x.singular_values(method)
        sample = on_host(next(iter(values.values())), x.backend)
        if sample is not None and not _SAFE[0] < float(np.linalg.norm(sample.astype(np.float64))) < _SAFE[1]:
            values, log_norm = x.singular_values(method, relative=True), x.log_norm
    arrays = x.nodes
    return Found(
        {modes: _trimmed(values[node], shape, modes) for modes, node in nodes.items()},
        log_norm,
        lambda modes: len(arrays) + _larger_side(arrays[nodes[modes]].shape),
        lambda: 1.0,
    )


def _log_norm(dense: Dense) -> float:
    scaled = np.asarray(dense.backend.to_numpy(dense.scaled()[0]))
    size = float(np.linalg.norm(scaled))
    unit = 0.0 if dense.unit is None else math.log(float(dense.backend.to_numpy(dense.unit)))
    return math.log(size) + unit if size > 0 else -math.inf


def _larger_side(shape: Sequence[int]) -> int:
    return max(math.prod(shape[:-1]), shape[-1])


def _trimmed(values: Array, shape: Shape, modes: Modes) -> Array:
    """No more values than the matricization has."""
    inside = set(modes)
    columns = (shape[mode] for mode in range(len(shape)) if mode not in inside)
    most = min(_up_to(values.shape[0], sizes) for sizes in ((shape[mode] for mode in modes), columns))
    return values[:most]


def _up_to(most: int, sizes: Iterable[int]) -> int:
    """The product of the sizes, or ``most`` if that is less; products of a thousand sizes are long numbers."""
    found = 1
    for size in sizes:
        found *= size
        if found >= most:
            return most
    return found
