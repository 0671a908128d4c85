"""One step of greedy low-rank learning: at a saddle, the best direction that a factorization has not used yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.dimension_tree import Node
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.network import Network, contract

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Direction:
    """Where to leave a saddle.

    Attributes:
        what: in words: where the new vectors stand.
        gamma: <-gradient, direction> for unit vectors.
        degree: how many vectors there are.
        add: vectors' norm -> the factorization with the new ones.
    """

    what: str
    gamma: float
    degree: int
    add: Callable[[float], Factorization]


def best_rank_one(tensor: Host, starts: int = 8) -> tuple[float, list[Host]]:
    """The largest found <tensor, outer(unit vectors)>, and the vectors: the singular ones of a matrix.

    Axes of size 1 are allowed.
    """
    shape = tensor.shape
    core = np.squeeze(tensor)
    if not core.size or not np.any(core):
        return 0.0, [np.eye(d)[0] for d in shape]
    if core.ndim == 0:
        vectors: list[Host] = []
    elif core.ndim == 1:
        vectors = [core / np.linalg.norm(core)]
    elif core.ndim == 2:
        u, _, vh = np.linalg.svd(core)
        vectors = [u[:, 0], vh[0]]
    else:
        x = CPFactorization.from_dense(core, rank=1, starts=starts)
        vectors = [np.asarray(f)[:, 0] / np.linalg.norm(f) for f in x.factors]
    found = core
    for vector in reversed(vectors):
        found = found @ vector
    size = float(found)
    rest = iter(vectors)
    full = [next(rest) if d > 1 else np.ones(1) for d in shape]
    return abs(size), [full[0] * (1.0 if size > 0 else -1.0), *full[1:]]


def directions(x: Factorization, gradient: Host, whole: bool = False) -> list[Direction]:
    """What greedy learning chooses from at a saddle, the best first.

    Args:
        x: the saddle, of NumPy arrays; unused components are zero.
        gradient: of the loss with respect to the end tensor there.
        whole: for a hierarchical factorization: offer only a rank-one tensor, a component at every node.
    """
    if isinstance(x, MatrixFactorization):
        return _of_matrix(x, -gradient)
    if isinstance(x, CPFactorization):
        return _of_cp(x, -gradient)
    assert isinstance(x, HierarchicalFactorization)
    local = [] if whole else _of_nodes(x, -gradient)
    # While nothing is there a single component changes nothing: a whole rank-one tensor starts.
    found = [d for d in local if d.gamma > 1e-6 * np.linalg.norm(gradient)] or [_chain(x, -gradient)]
    return sorted(found, key=lambda d: -d.gamma)


def _of_matrix(x: MatrixFactorization, uphill: Host) -> list[Direction]:
    size, (u, v) = best_rank_one(uphill)
    free = _unused([np.linalg.norm(layer, axis=0) for layer in x.layers[:-1]])

    def add(eps: float) -> Factorization:
        layers = [np.array(layer) for layer in x.layers]
        for k, layer in enumerate(layers):
            left = u if k == 0 else np.eye(len(layer))[free]
            right = v if k == x.depth - 1 else np.eye(layer.shape[1])[free]
            layer += eps * np.outer(left, right)
        return MatrixFactorization(layers)

    return [Direction("singular vectors", size, x.depth, add)]


def _of_cp(x: CPFactorization, uphill: Host) -> list[Direction]:
    size, vectors = best_rank_one(uphill)
    free = _unused([np.asarray(x.component_norms())])

    def add(eps: float) -> Factorization:
        factors = [np.array(f) for f in x.factors]
        for factor, vector in zip(factors, vectors, strict=True):
            factor[:, free] = eps * vector
        return CPFactorization(factors)

    return [Direction("component", size, x.ndim, add)]


def _chain(x: HierarchicalFactorization, uphill: Host) -> Direction:
    """A rank-one tensor: a new local component at every node."""
    size, vectors = best_rank_one(uphill)
    free = {node: _free_at(x, node) for node in x.tree.interior}

    def add(eps: float) -> Factorization:
        matrices = {node: np.array(a) for node, a in x.matrices.items()}
        for node, matrix in matrices.items():
            parent = x.tree.parent(node)
            column = 0 if parent is None else free[parent]
            if node.height:
                matrix[free[node], column] = eps
            else:
                matrix[:, column] = eps * vectors[node.modes[0]]
        return HierarchicalFactorization(x.tree, matrices)

    return Direction("every node", size, len(x.matrices), add)


def _of_nodes(x: HierarchicalFactorization, uphill: Host) -> list[Direction]:
    """A new local component at one node, for every interior node, with the best vectors on what is there."""
    found = []
    for node in x.tree.interior:
        children = x.tree.children(node)
        core = component_core(x, node, uphill)
        size, vectors = best_rank_one(core)
        found.append(Direction(_label(node), size, len(children) + 1, _adder(x, node, vectors)))
    return found


def component_core(x: HierarchicalFactorization, node: Node, uphill: Host) -> Host:
    """``<uphill, .>`` of a new local component at ``node`` as a multilinear form of its vectors.

    Returns:
        An array with one axis a child (the column of its matrix), then one for the row of the node's own.
    """
    names = dict(zip(x.tree.nodes, x.network.tensors.items(), strict=True))
    left_out = {node, *x.tree.children(node)}
    tensors = {name: labels for n, (name, labels) in names.items() if n not in left_out}
    output = [names[child][1][0] for child in x.tree.children(node)]
    own = names[node][1][1]
    has_parent = x.tree.parent(node) is not None
    network = Network({"uphill": x.network.output, **tensors}, [*output, own] if has_parent else output)
    core = np.asarray(contract(network, {"uphill": uphill, **{name: x.arrays[name] for name in tensors}}))
    return core if has_parent else core[..., None]


def _adder(x: HierarchicalFactorization, node: Node, vectors: list[Host]) -> Callable[[float], Factorization]:
    free = _free_at(x, node)

    def add(eps: float) -> Factorization:
        matrices = {n: np.array(a) for n, a in x.matrices.items()}
        for child, vector in zip(x.tree.children(node), vectors[:-1], strict=True):
            matrices[child][:, free] = eps * vector
        matrices[node][free] = eps * vectors[-1]
        return HierarchicalFactorization(x.tree, matrices)

    return add


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


def _label(node: Node) -> str:
    return "{" + ",".join(map(str, node.modes)) + "}"
