"""The cores of a tensor train operator: on a dimension tree of rows and columns, and products core by core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import log10, prod
from typing import NamedTuple

from tnrank._alike import identity
from tnrank._backend import backend_of
from tnrank._by_node import ByNode
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._whole import check_product
from tnrank.network import Network


class CoreNodes(NamedTuple):
    """The nodes of one core k of d: the leaves k and d + k, the pair of both, and the cores from k on.

    ``rest`` is the pair itself for the last core.
    """

    row: Node
    column: Node
    pair: Node
    rest: Node


@lru_cache(maxsize=64)
def tree_of_cores(count: int) -> DimensionTree:
    """``((0, d), ((1, d+1), (.., (d-1, 2d-1))))``: the train over pairs of a row and a column mode."""
    nested: object = (count - 1, 2 * count - 1)
    for k in range(count - 2, -1, -1):
        nested = ((k, count + k), nested)
    return DimensionTree(nested)  # type: ignore[arg-type]  # nested tuples of modes


@lru_cache(maxsize=64)
def nodes_of_cores(count: int) -> tuple[CoreNodes, ...]:
    """The nodes of each core, from the first to the last."""
    tree = tree_of_cores(count)
    chain = [node for node in reversed(tree.nodes) if node.modes[-1] == 2 * count - 1 and node.height]
    chain.sort(key=lambda node: -node.height)
    pairs = [*(Node((k, count + k), 1) for k in range(count - 1)), chain[-1]]
    leaves = [(Node((k,), 0), Node((count + k,), 0)) for k in range(count)]
    return tuple(CoreNodes(*leaf, pair, rest) for leaf, pair, rest in zip(leaves, pairs, chain, strict=True))


@lru_cache(maxsize=256)
def chain_of_cores(count: int) -> Network:
    """Cores ``(r_k, row k, column k, r_k+1)``, whose output are all rows and then all columns."""
    tensors = {}
    for k in range(count):
        left, right = ((f"r{k}",) if k else ()), ((f"r{k + 1}",) if k < count - 1 else ())
        tensors[f"core {k}"] = (*left, f"o{k}", f"i{k}", *right)
    return Network(tensors, [*(f"o{k}" for k in range(count)), *(f"i{k}" for k in range(count))])


def with_four_axes(values: Sequence[Array]) -> list[Array]:
    """The cores ``(r_k, m_k, n_k, r_k+1)``, the ranks at both ends being 1."""
    cores = list(values)
    cores[0] = cores[0][None]
    cores[-1] = cores[-1][..., None]
    return cores


def without_ends(cores: Sequence[Array]) -> list[Array]:
    """The cores as they are stored: the first and the last without the axis of size 1."""
    values = list(cores)
    values[0] = values[0][0]
    values[-1] = values[-1][..., 0]
    return values


def nodes_from_cores(values: Sequence[Array]) -> ByNode[Array]:
    """The same tensor in the hierarchical Tucker layout, with identities at the leaves.

    A core goes into the node of its pair or into the one above, whichever leaves the smaller identity at the other.
    """
    count, frames = len(values), dict[Node, Array]()
    for k, (core, node) in enumerate(zip(values, nodes_of_cores(count), strict=True)):
        backend = backend_of(core)
        # shape: (m, n, [r'], [r]); the first core has no r and the last no r'
        turned = core if not k else backend.permute(core, (*range(1, core.ndim), 0))
        rows, columns, *ranks = (int(size) for size in turned.shape)
        frames[node.row], frames[node.column] = identity(core, rows), identity(core, columns)
        size, width = rows * columns, prod(ranks)
        if k == count - 1:
            frames[node.pair] = turned
        elif size <= width:
            frames[node.pair] = backend.reshape(identity(core, size), (rows, columns, size))
            frames[node.rest] = backend.reshape(turned, (size, *ranks))
        else:
            frames[node.pair] = backend.reshape(turned, (rows, columns, width))
            frames[node.rest] = backend.reshape(identity(core, width), (width, *ranks))
    return ByNode((node, frames[node]) for node in tree_of_cores(count).nodes)


def cores_from_nodes(arrays: Mapping[Node, Array], count: int) -> list[Array]:
    """The cores as they are stored: the leaves of each go into its pair, the pair into the node above."""
    values = []
    for k, node in enumerate(nodes_of_cores(count)):
        pair, backend = arrays[node.pair], backend_of(arrays[node.pair])
        xp = backend.xp
        core = xp.tensordot(arrays[node.row], pair, axes=((1,), (0,)))
        core = xp.moveaxis(xp.tensordot(arrays[node.column], core, axes=((1,), (1,))), 0, 1)
        if k < count - 1:
            core = xp.tensordot(core, arrays[node.rest], axes=((2,), (0,)))
        values.append(backend.permute(core, (core.ndim - 1, *range(core.ndim - 1))) if k else core)
    return values


def times_operator(a: Sequence[Array], b: Sequence[Array]) -> list[Array]:
    """Cores ``(r s, m, p, r' s')`` of the product of cores ``(r, m, n, r')`` and ``(s, n, p, s')``."""
    made = []
    for left, right in zip(a, b, strict=True):
        check_product(left, right, terms=left.shape[2])
        backend = backend_of(left)
        # shape: (r, m, r', s, p, s')
        core = backend.xp.tensordot(left, right, axes=((2,), (1,)))
        r, m, r_next, s, p, s_next = core.shape
        core = backend.permute(core, (0, 3, 1, 4, 2, 5))
        made.append(backend.reshape(core, (r * s, m, p, r_next * s_next)))
    return made


def times_train(a: Sequence[Array], b: Sequence[Array]) -> list[Array]:
    """Cores ``(r s, m, r' s')`` of the product of cores ``(r, m, n, r')`` and ``(s, n, s')``."""
    columns = [core[:, :, None, :] for core in b]
    return [core[:, :, 0, :] for core in times_operator(a, columns)]


def size_text(shape: Sequence[int]) -> str:
    """The product of the sizes, or its order of magnitude."""
    digits = sum(log10(size) for size in shape) if 0 not in shape else 0.0
    return f"10^{digits:.1f}" if digits > 15 else str(prod(shape))
