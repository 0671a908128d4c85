"""Greedy low-rank learning: from saddle to saddle along the best rank-one direction that is not in use yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.dimension_tree import Node
from tnrank.experiments.recipes._flow_paths import Host, Observed, Path
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.linalg import matricize
from tnrank.network import Network, contract
from tnrank.theory import escape_time

CHUNKS = 40
"""The most pieces of one flow."""
DONE = 1e-5
"""A flow is over when its loss is below this share of the loss of zero."""
_LONGER = 2.0
_STILL = 1e-5
"""A flow has reached a saddle when its gradient is below this share of what it was on the way."""
_RANK = 1e-2
"""Singular values below this share of the largest do not count: a saddle is reached only nearly."""


@dataclass(frozen=True)
class Saddle:
    """A stationary point of greedy learning; ``gamma`` is <-gradient, unit direction> of what was added to get here."""

    what: str
    gamma: float
    tensor: Host
    loss: float

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of the matricization of every mode."""
        matrices = [matricize(self.tensor, (k,)) for k in range(self.tensor.ndim)]
        return tuple(int(np.linalg.matrix_rank(matrix, rtol=_RANK)) for matrix in matrices)


@dataclass(frozen=True)
class Greedy:
    """Saddles from zero on, and the end tensors on the way, ``(K, size)``."""

    saddles: Sequence[Saddle]
    points: Host

    @property
    def size(self) -> float:
        """The norm of the last tensor, which distances are relative to."""
        return float(np.linalg.norm(self.saddles[-1].tensor)) or 1.0


@dataclass(frozen=True)
class Direction:
    """Where to leave a saddle: each new unit vector with its array and its index in that.

    ``what`` says where they stand, ``gamma`` is <-gradient, direction>, ``saddle`` has NumPy arrays.
    """

    what: str
    gamma: float
    saddle: Factorization
    vectors: Sequence[tuple[str, Any, Any]]

    def add(self, norm: float) -> Factorization:
        """The factorization with the new vectors, each of that norm."""
        arrays = {name: np.array(array) for name, array in self.saddle.arrays.items()}
        for name, where, vector in self.vectors:
            arrays[name][where] = norm * vector
        return self.saddle.replace(arrays)


def greedy_learning(
    problem: Observed, start: Factorization, step_size: float, most: int, whole: bool = False
) -> Greedy:
    """From zero, in the structure of ``start``, to at most so many saddles, left by vectors of norm ``step_size``."""
    x = start.map(np.zeros_like)
    saddles = [Saddle("zero", 0.0, np.zeros(x.shape), 0.5 * float(problem.values @ problem.values))]
    points = [np.zeros((1, saddles[0].tensor.size))]
    while len(saddles) <= most and saddles[-1].loss > DONE * saddles[0].loss:
        best = directions(x, problem.gradient(saddles[-1].tensor), whole)[0]
        if best.gamma <= 1e-4 * np.linalg.norm(problem.values):
            break
        path = _settle(problem, best.add(step_size), step_size, best)
        points.append(path.points)
        x = path.end.to("numpy")
        saddles.append(Saddle(best.what, best.gamma, path.points[-1].reshape(x.shape), float(path.losses[-1])))
        if path.cut:
            break
    return Greedy(saddles, np.concatenate(points))


def _settle(problem: Observed, x: Factorization, step_size: float, left: Direction) -> Path:
    """From beside a saddle to the next one."""
    degree = len(left.vectors)
    parts = [problem.flow(x, escape_time(step_size**degree, 1.0, degree, left.gamma))]
    until = 10.0 / left.gamma
    for _ in range(CHUNKS):
        parts.append(problem.flow(parts[-1].end, until))
        path = Path.joined(parts)
        if path.cut or path.slopes[-1] < _STILL * path.slopes.max(initial=0.0):
            break
        until *= _LONGER
    return path


def best_rank_one(tensor: Host, starts: int = 8) -> tuple[float, list[Host]]:
    """The largest found <tensor, outer(unit vectors)>, and the vectors: the singular ones of a matrix.

    Axes of size 1 are allowed.
    """
    core = np.squeeze(tensor)
    if not core.size or not np.any(core):
        return 0.0, [np.eye(d)[0] for d in tensor.shape]
    if core.ndim < 2:
        vectors = [core / np.linalg.norm(core)] * core.ndim
    elif core.ndim == 2:
        u, _, vh = np.linalg.svd(core)
        vectors = [u[:, 0], vh[0]]
    else:
        x = CPFactorization.from_dense(core, rank=1, starts=starts)
        vectors = [np.asarray(f)[:, 0] / np.linalg.norm(f) for f in x.factors]
    found = core
    for vector in reversed(vectors):
        found = found @ vector
    size, rest = float(found), iter(vectors)
    full = [next(rest) if d > 1 else np.ones(1) for d in tensor.shape]
    return abs(size), [full[0] * (1.0 if size > 0 else -1.0), *full[1:]]


def directions(x: Factorization, gradient: Host, whole: bool = False) -> list[Direction]:
    """What greedy learning chooses from at a saddle of NumPy arrays, the best first; unused components are zero.

    ``gradient`` is with respect to the end tensor. With ``whole`` a hierarchical factorization is offered only a
    rank-one tensor, a component at every node.
    """
    if isinstance(x, HierarchicalFactorization):
        local = [] if whole else [_at_node(x, node, -gradient) for node in x.tree.interior]
        # While nothing is there a single component changes nothing: a whole rank-one tensor starts.
        found = [d for d in local if d.gamma > 1e-6 * np.linalg.norm(gradient)] or [_at_every_node(x, -gradient)]
        return sorted(found, key=lambda d: -d.gamma)
    size, best = best_rank_one(-gradient)
    if isinstance(x, MatrixFactorization):
        free = _unused([np.linalg.norm(layer, axis=0) for layer in x.layers[:-1]])
        first, *inner, last = x.arrays
        vectors = [(first, np.s_[:, free], best[0]), *((name, (free, free), 1.0) for name in inner)]
        return [Direction("singular vectors", size, x, [*vectors, (last, free, best[1])])]
    assert isinstance(x, CPFactorization)
    free = _unused([np.asarray(x.component_norms())])
    columns = [(name, np.s_[:, free], vector) for name, vector in zip(x.arrays, best, strict=True)]
    return [Direction("component", size, x, columns)]


def _at_every_node(x: HierarchicalFactorization, uphill: Host) -> Direction:
    """A rank-one tensor: a new local component at every node."""
    size, best = best_rank_one(uphill)
    free = {node: _free_at(x, node) for node in x.tree.interior}
    vectors: list[tuple[str, Any, Any]] = []
    for name, node in zip(x.arrays, x.tree.nodes, strict=True):
        parent = x.tree.parent(node)
        column = 0 if parent is None else free[parent]
        where, vector = ((free[node], column), 1.0) if node.height else (np.s_[:, column], best[node.modes[0]])
        vectors.append((name, where, vector))
    return Direction("every node", size, x, vectors)


def _at_node(x: HierarchicalFactorization, node: Node, uphill: Host) -> Direction:
    """A new local component at one node, with the best vectors on what is there.

    ``<uphill, .>`` of it is a multilinear form of its vectors: one axis a child, for the column of the child's array,
    then one for the row of the node's own.
    """
    children, free = x.tree.children(node), _free_at(x, node)
    names = dict(zip(x.tree.nodes, x.arrays, strict=True))
    changed = [names[one] for one in (*children, node)]
    labels = x.network.tensors
    rest = {name: labels[name] for name in labels if name not in changed}
    has_parent = x.tree.parent(node) is not None
    output = [labels[names[child]][0] for child in children] + [labels[names[node]][1]] * has_parent
    network = Network({"uphill": x.network.output, **rest}, output)
    core = np.asarray(contract(network, {"uphill": uphill, **{name: x.arrays[name] for name in rest}}))
    size, best = best_rank_one(core if has_parent else core[..., None])
    places = [*(np.s_[:, free] for _ in children), free]
    return Direction(names[node], size, x, list(zip(changed, places, best, strict=True)))


def _free_at(x: HierarchicalFactorization, node: Node) -> int:
    rows = [np.linalg.norm(x.matrices[node], axis=1)]
    return _unused(rows + [np.linalg.norm(x.matrices[child], axis=0) for child in x.tree.children(node)])


def _unused(norms: list[Host]) -> int:
    """The first index at which all is zero."""
    free = np.flatnonzero(np.sum(norms, axis=0) == 0)
    if not len(free):
        raise ValueError(
            f"all {len(norms[0])} components are in use at a saddle: greedy learning needs a wider factorization"
        )
    return int(free[0])
