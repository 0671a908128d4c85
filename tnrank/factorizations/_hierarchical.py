"""Hierarchical factorization with CP-type nodes: the papers' hierarchical tensor factorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from tnrank._by_node import ByNode
from tnrank._check import instance, whole_number
from tnrank._explained import explained
from tnrank._scale import norm_products
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._arrays import checked_arrays, kept_dtype, measured
from tnrank.factorizations._balance import balanced_hierarchy, family_norms, largest_difference
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._draw import Center, check_dimensions, draw
from tnrank.factorizations._norms import check_finite
from tnrank.network import Network


class HierarchicalFactorization(Factorization):
    """One matrix a node of a dimension tree; the children of a node share its local components.

    Node v has the matrix W of shape ``(R_v, R_parent)``; a leaf has ``(d_n, R_parent)``, the root ``(R_root, 1)`` or
    ``(R_root, classes)``. Column r of a leaf is the tensor of (leaf, r). At an interior node v

        T(v, r) = sum_k W_v[k, r] * outer(T(c, k) for the children c of v),

    and the end tensor is T(root, 0), modes in ascending order; with classes, they are one more mode at the end.

    Args:
        tree: a DimensionTree, k-ary, ragged, unary nodes allowed, or nested tuples.
        matrices: Node, or its tuple of modes where that is unique -> matrix.

    Raises:
        ValueError: if a node's matrix is missing or its sizes do not fit its neighbors; node and sizes are named.

    Source: Razin, Maman & Cohen 2022, Sec. 4 (hierarchical tensor factorization).

    Example:
        >>> import tnrank
        >>> tnrank.HierarchicalFactorization.random((8,) * 4, width=64, std=1e-2, seed=0)
        HierarchicalFactorization of order 4: 8 x 8 x 8 x 8, 10,304 parameters, float64, numpy
          {0,1,2,3}  64 x 1
          ├── {0,1}  64 x 64
          │   ├── {0}  8 x 64
          │   └── {1}  8 x 64
          └── {2,3}  64 x 64
              ├── {2}  8 x 64
              └── {3}  8 x 64
    """

    __slots__ = ()
    kind: ClassVar[str] = "hierarchical"

    @explained
    def __init__(self, tree: DimensionTree | Sequence[Any], matrices: Mapping[Any, Array]) -> None:
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        instance(matrices, "matrices", Mapping, "a mapping {node: matrix}")
        found = {}
        checked = checked_arrays(list(matrices.values()), lambda: [f"matrices[{key}]" for key in matrices])
        for key, matrix in zip(matrices, checked, strict=True):
            node = _named(tree, key)
            if node in found:
                raise ValueError(f"got two matrices for the node {node}: needed one")
            if len(matrix.shape) != 2:
                raise ValueError(f"the matrix of node {node} has shape {tuple(matrix.shape)}: needed two axes")
            found[node] = matrix
        missing = [node for node in tree.nodes if node not in found]
        if missing:
            raise ValueError(f"no matrix for the node {missing[0]!r}: {len(tree.nodes)} nodes, got {len(found)}")
        for node in tree.nodes:
            parent = tree.parent(node)
            sibling = tree.children(parent)[0] if parent else node
            if found[node].shape[1] != found[sibling].shape[1]:
                raise ValueError(
                    f"node {node} has {found[node].shape[1]} columns and its sibling {sibling} has "
                    f"{found[sibling].shape[1]}: both need one a local component of {parent}"
                )
            if parent and found[parent].shape[0] != found[node].shape[1]:
                raise ValueError(
                    f"node {parent} has {found[parent].shape[0]} rows and its child {node} has "
                    f"{found[node].shape[1]} columns: both need one a local component of {parent}"
                )
        static = (tree, found[tree.root].shape[1] > 1)
        self._fill(static, [found[node] for node in tree.nodes])

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _tree_network(*static)

    @classmethod
    @explained
    def random(
        cls,
        shape: Sequence[int],
        tree: DimensionTree | Sequence[Any] | None = None,
        width: int | Mapping[Any, int] = 64,
        *,
        classes: int = 1,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        balanced: bool = False,
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random weights.

        Args:
            shape: ``(d_1, .., d_N)``; dimensions may differ.
            tree: ``DimensionTree.balanced(N)`` if not given.
            width: local components R_v of every interior node (the root too), or one number a node. Not a rank: it
                bounds the ranks.
            classes: columns of the root's matrix; more than one adds a mode at the end.
            std: standard deviation of every entry (``init="identity"``: what stands on the diagonal). The end tensor
                scales like ``std`` to the number of matrices.
            mean: added to every entry.
            init: ``"normal"``, ``"identity"``, or one of two that keep entries of the end tensor near 1 at any order
                and width. ``"mean_one"``: entries of mean 1, those of a node of width R divided by R.
                ``"near_identity"``: the same for leaves and root, and matrices between them drawn around the identity
                with ``std / sqrt(R)``, so that components start apart and width helps.
            balanced: rescale the drawn weights so that all vectors of every local component have equal norms.
            seed: of NumPy's Generator; the same weights on every backend.
            backend: where the arrays live.
            dtype: the backend's default if ``None``.
            device: likewise.

        Raises:
            ValueError: if the tree has another order than the shape, or a width is missing or below 1.
        """
        d = check_dimensions(shape)
        tree = DimensionTree.balanced(len(d)) if tree is None else tree
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        if tree.order != len(d):
            raise ValueError(f"the tree has {tree.order} modes and the shape {d} has {len(d)}")
        if isinstance(width, Mapping):
            widths = {_named(tree, key): whole_number(value, f"width[{key}]", 1) for key, value in width.items()}
            for node in widths:
                if not node.height:
                    raise ValueError(f"got a width for {node}, but {node} is a leaf: its rows are its mode's dimension")
        else:
            widths = dict.fromkeys(tree.interior, whole_number(width, "width", 1))
        for node in tree.interior:
            if widths.get(node, 0) < 1:
                raise ValueError(f"node {node!r} has width {widths.get(node)}: needed a whole number from 1 on")
        classes = whole_number(classes, "classes, the columns of the root's matrix,", 1)
        shapes = []
        for node in tree.nodes:
            parent = tree.parent(node)
            rows = d[node.modes[0]] if node.height == 0 else widths[node]
            shapes.append((rows, classes if parent is None else widths[parent]))
        arrays = draw(shapes, std, mean, init, seed, backend, dtype, device, _centers(tree, widths))
        made = cls._make((tree, classes > 1), arrays)
        return made.balance() if balanced else made

    @property
    def tree(self) -> DimensionTree:
        """The dimension tree."""
        tree: DimensionTree = self._static[0]
        return tree

    @property
    def matrices(self) -> ByNode[Array]:
        """Node -> matrix, leaves first."""
        return ByNode(zip(self.tree.nodes, self._values, strict=True))

    @measured
    def component_norms(self) -> ByNode[Array]:
        """Norms of the local components of every interior node, {node: ``(R_v,)``}.

        The product of the norms of the children's columns and of the node's own row.

        Source: Razin, Maman & Cohen 2022, Def. 3.
        """
        matrices, interior = dict(zip(self.tree.nodes, self._values, strict=True)), self.tree.interior
        families = [[(matrices[v], 1), *((matrices[child], 0) for child in self.tree.children(v))] for v in interior]
        return ByNode(zip(interior, norm_products(families, None, self.backend), strict=True))

    @kept_dtype
    def balance(self) -> Self:
        """The same tensor with equal norms of all vectors of every local component.

        Rescales the vectors of each local component to their common mean norm, again and again: the minimum of the
        summed squared norms over all such scalings, a convex problem.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalFactorization.random((3,) * 4, width=4, seed=0)
            >>> bool(x.balance().unbalancedness() < 1e-13)
            True
        """
        check_finite(self)
        return self._make(self._static, balanced_hierarchy(self.tree, self._values))

    @measured
    def unbalancedness(self) -> float:
        """The largest difference of squared norms within a local component, relative to the largest; 0 if all are 0,
        NaN if an entry is NaN or infinite.
        """
        return largest_difference(list(family_norms(self.tree, self._values).values()))

    def _details(self) -> list[str]:
        shapes = {node: f"{a.shape[0]} x {a.shape[1]}" for node, a in self.matrices.items()}
        if len(shapes) > 40:
            widths = sorted({a.shape[0] for n, a in self.matrices.items() if n.height})
            return [f"{self.tree!r}, local components {', '.join(map(str, widths))}"]
        return self.tree.draw(lambda node: shapes[node]).splitlines()

    def _check_structure(self) -> None:
        columns = self._values[-1].shape[1]
        if (columns > 1) != self._static[1]:
            raise ValueError(f"the matrix of its root has {columns} columns, and classes: {self._static[1]}")

    def _static_to_json(self) -> Any:
        return [self.tree.text, self._static[1]]

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return DimensionTree.from_text(content[0]), bool(content[1])


def _named(tree: DimensionTree, key: Any) -> Node:
    try:
        return tree.node(key)
    except KeyError as error:
        raise ValueError(error.args[0]) from None


def _centers(tree: DimensionTree, widths: Mapping[Node, int]) -> dict[str, list[tuple[Center, float]]]:
    """Name of the initialization -> center and spread of every node's entries, in units of ``std``."""
    mean_one: list[tuple[Center, float]] = [(1 / widths.get(v, 1), 1 / widths.get(v, 1)) for v in tree.nodes]
    near_identity = [
        (_cyclic_identity, widths[v] ** -0.5) if v.height and v != tree.root else ones
        for v, ones in zip(tree.nodes, mean_one, strict=True)
    ]
    return {"mean_one": mean_one, "near_identity": near_identity}


def _cyclic_identity(shape: Sequence[int]) -> Any:
    """Column r takes component r of the children, counted around where they have fewer."""
    rows, columns = shape
    return np.arange(rows)[:, None] == np.arange(columns) % rows


@lru_cache(maxsize=256)
def _tree_network(tree: DimensionTree, classes: bool) -> Network:
    tensors: dict[str, tuple[str, ...]] = {}
    bond: dict[Node, str] = {}
    used: dict[str, int] = {}
    for node in tree.nodes:
        # Unary nodes repeat the modes of the node below them: primes tell them apart.
        name = str(node) + "'" * used.get(str(node), 0)
        used[str(node)] = used.get(str(node), 0) + 1
        bond[node] = f"r{name}" if node.height else f"i{node.modes[0]}"
    for node in tree.nodes:
        parent = tree.parent(node)
        tensors[bond[node].replace("i", "leaf ") if not node.height else bond[node][1:]] = (
            bond[node],
            bond[parent] if parent else "class",
        )
    modes = [f"i{n}" for n in range(tree.order)]
    return Network(tensors, [*modes, "class"] if classes else modes)
