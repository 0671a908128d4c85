"""Hierarchical Tucker: a frame a leaf and a transfer tensor an interior node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._draw import check_dimensions, draw
from tnrank.factorizations._ht_convert import dense_to_nodes, sum_of_nodes, to_nodes
from tnrank.linalg import check_rtol, choose_method, default_rtol
from tnrank.network import Network


class Truncation(NamedTuple):
    """A truncated tensor y of x, bounds of ``||x - y||`` and of ``||x - y|| / ||x||``, and the spectra of x.

    ``singular_values`` are relative to ``||x||``, which may be beyond the range of floating-point numbers.
    """

    tensor: HierarchicalTucker
    error_bound: float
    relative_error_bound: float
    singular_values: dict[Node, Array]


class HierarchicalTucker(Factorization):
    """A tensor in the hierarchical Tucker format on a dimension tree.

    Args:
        tree: a DimensionTree, k-ary, ragged, unary nodes allowed, or nested tuples.
        leaves: mode -> frame ``(d_n, k)``.
        transfers: interior Node, or its tuple of modes where that is unique -> transfer tensor ``(k_c1, .., k_cm, k)``
            for its children c in the order of the tree; the root's is ``(k_c1, .., k_cm)``.

    Raises:
        ValueError: if an array is missing, or its sizes do not fit its neighbors; node and sizes are named.

    Source: Hackbusch & Kuehn 2009; Grasedyck 2010.

    Example:
        >>> import tnrank
        >>> tnrank.HierarchicalTucker.random((8,) * 4, rank=3, seed=0)
        HierarchicalTucker of order 4: 8 x 8 x 8 x 8, 159 parameters, float64, numpy
          {0,1,2,3}  3 x 3
          ├── {0,1}  3 x 3 x 3
          │   ├── {0}  8 x 3
          │   └── {1}  8 x 3
          └── {2,3}  3 x 3 x 3
              ├── {2}  8 x 3
              └── {3}  8 x 3
    """

    __slots__ = ()
    kind: ClassVar[str] = "hierarchical tucker"

    def __init__(
        self, tree: DimensionTree | Sequence[Any], leaves: Mapping[Any, Array], transfers: Mapping[Any, Array]
    ) -> None:
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        found: dict[Node, Array] = {}
        for key, array in [*((Node((int(m),), 0), a) for m, a in leaves.items()), *transfers.items()]:
            try:
                node = tree.node(key)
            except KeyError as error:
                raise ValueError(error.args[0]) from None
            axes = 2 if not node.height else len(tree.children(node)) + (node != tree.root)
            if len(array.shape) != axes:
                raise ValueError(f"the array of node {node} has shape {tuple(array.shape)}: needed {axes} axes")
            found[node] = array
        missing = [node for node in tree.nodes if node not in found]
        if missing:
            raise ValueError(f"no array for the node {missing[0]!r}: {len(tree.nodes)} nodes, got {len(found)}")
        for node in tree.interior:
            for axis, child in enumerate(tree.children(node)):
                if found[child].shape[-1] != found[node].shape[axis]:
                    raise ValueError(
                        f"node {child} has rank {found[child].shape[-1]} (its last axis) and axis {axis} of its parent "
                        f"{node} has size {found[node].shape[axis]}: needed the same"
                    )
        made = type(self)._make(tree, [found[node] for node in tree.nodes])
        object.__setattr__(self, "_static", made._static)
        object.__setattr__(self, "_values", made._values)

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _tree_network(static)

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        return cls._make(tree, [arrays[node] for node in tree.nodes])

    @classmethod
    def random(
        cls,
        shape: Sequence[int],
        tree: DimensionTree | Sequence[Any] | None = None,
        rank: int | Mapping[Any, int] = 5,
        *,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random arrays: ``rank`` at every node but the root, one or ``{node: rank}``; else as for the other classes.

        Raises:
            ValueError: if the tree has another order than the shape, or a rank is missing or below 1.
        """
        d = check_dimensions(shape)
        tree = DimensionTree.balanced(len(d)) if tree is None else tree
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        if tree.order != len(d):
            raise ValueError(f"the tree has {tree.order} modes and the shape {d} has {len(d)}")
        ranks = (
            {tree.node(key): int(value) for key, value in rank.items()}
            if isinstance(rank, Mapping)
            else dict.fromkeys(tree.nodes, int(rank))
        )
        shapes = []
        for node in tree.nodes:
            inner = (d[node.modes[0]],) if not node.height else tuple(ranks.get(c, 0) for c in tree.children(node))
            full = inner if node == tree.root else (*inner, ranks.get(node, 0))
            if min(full) < 1:
                raise ValueError(f"node {node!r} or a child of it has no rank from 1 on: got {rank!r}")
            shapes.append(full)
        return cls._make(tree, draw(shapes, std, mean, init, seed, backend, dtype, device))

    @classmethod
    def from_dense(
        cls,
        tensor: Array,
        tree: DimensionTree | Sequence[Any] | None = None,
        rtol: float | None = None,
        max_rank: int | None = None,
        method: str = "auto",
    ) -> Self:
        """The hierarchical SVD of a dense tensor, leaves to root, each step on what the steps before left.

        Args:
            tensor: array of order 2 or more.
            tree: ``DimensionTree.balanced(N)`` if not given.
            rtol: bounds ``||tensor - result|| / ||tensor||``; ``None`` is max(sides) * eps.
            max_rank: the most columns of any frame; with it the error may exceed ``rtol``.
            method: ``"qr"`` (LQ, accurate to eps), ``"gram"`` (faster, to sqrt(eps)), or ``"auto"`` by ``rtol``.

        Raises:
            ValueError: for NaN or infinite entries, another order than the tree's, an empty mode, ``rtol`` outside
                [0, 1) or below the method's floor.

        Source: Grasedyck 2010, Sec. 3.

        Example:
            >>> import numpy as np, tnrank
            >>> total = sum(np.ogrid[:5, :5, :5, :5]) * 1.0
            >>> x = tnrank.HierarchicalTucker.from_dense(total, rtol=1e-10)
            >>> max(x.ranks.values()), bool(abs(x.to_dense() - total).max() < 1e-9)
            (2, True)
        """
        tree, arrays = dense_to_nodes(tensor, tree, check_rtol(rtol), max_rank, method)
        return cls._of_nodes(tree, arrays)

    @classmethod
    def from_factorization(cls, x: Factorization, tree: DimensionTree | None = None) -> Self:
        """A CP or hierarchical factorization in this format, exactly: its ranks are the numbers of components.

        Args:
            x: a CPFactorization (on any ``tree``, the balanced one if not given) or a HierarchicalFactorization
                without classes (on its own tree).
            tree: see above.

        Raises:
            TypeError: for other factorizations.

        Example:
            >>> import tnrank
            >>> cp = tnrank.CPFactorization.random((3, 4, 5, 6), rank=2, seed=0)
            >>> x = tnrank.HierarchicalTucker.from_factorization(cp)
            >>> bool(abs(x.to_dense() - cp.to_dense()).max() < 1e-12)
            True
        """
        return cls._of_nodes(*to_nodes(x, tree))

    @property
    def tree(self) -> DimensionTree:
        """The dimension tree."""
        tree: DimensionTree = self._static
        return tree

    @property
    def nodes(self) -> dict[Node, Array]:
        """Node -> frame or transfer tensor, leaves first."""
        return dict(zip(self.tree.nodes, self._values, strict=True))

    @property
    def ranks(self) -> dict[Node, int]:
        """Node -> columns of its frame, the root left out: upper bounds of the hierarchical rank."""
        return {node: int(a.shape[-1]) for node, a in self.nodes.items() if node != self.tree.root}

    def orthogonalize(self) -> Self:
        """The same tensor with orthonormal frames at all nodes but the root.

        A norm beyond the range of floating-point numbers gives infinite entries at the root: see :meth:`log_norm`.
        """
        arrays, log_norm = _hsvd.orthogonalize(self.tree, self.nodes)
        root = self.tree.root
        return self._of_nodes(self.tree, {**arrays, root: arrays[root] * self.backend.xp.exp(log_norm)})

    def log_norm(self) -> Array:
        """The natural logarithm of the Frobenius norm, a scalar array; -inf for the zero tensor.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((10,) * 1000, rank=1, std=0.0, mean=1.0)  # all ones
            >>> bool(np.isclose(x.log_norm(), 500 * np.log(10)))
            True
        """
        return _hsvd.orthogonalize(self.tree, self.nodes)[1]

    def norm(self) -> Array:
        """The Frobenius norm, a scalar array, from orthonormal frames: accurate to eps where terms cancel."""
        return self.backend.xp.exp(self.log_norm())

    def singular_values(self, method: str = "qr", relative: bool = False) -> dict[Node, Array]:
        """Hierarchical singular values, {node: values} for every node but the root; nothing is made dense.

        Args:
            method: ``"qr"`` keeps eps of the largest value, ``"gram"`` sqrt(eps) and is faster at large ranks.
            relative: divide by the norm, which may be beyond the range of floating-point numbers at high order.

        Source: Grasedyck 2010, Sec. 4.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((4,) * 6, rank=2, seed=0)
            >>> x.singular_values()[tnrank.Node((0,), 0)].shape
            (2,)
        """
        method = choose_method(method, None, self.dtype)
        arrays, log_norm = _hsvd.orthogonalize(self.tree, self.nodes)
        found = _hsvd.spectra(self.tree, arrays, method)
        if relative:
            return found
        with np.errstate(over="ignore"):
            scale = self.backend.xp.exp(log_norm)
        return {node: s * scale for node, s in found.items()}

    def default_rtol(self, node: Node) -> float:
        """What counts as zero at a node, relative to its largest value: max(sides of its array's matricization) * eps.

        The sides of the tensor's own matricization grow with the dimensions of all other modes; the rounding errors
        of the format do not.
        """
        shape = tuple(self.nodes[node].shape)
        return default_rtol((prod(shape[:-1]), shape[-1]), self.dtype)

    def component_norms(self) -> dict[Node, Array]:
        """The hierarchical singular values: this format's components are fixed only up to a basis change."""
        return self.singular_values()

    def truncate(self, rtol: float | None = None, max_rank: int | None = None, method: str = "qr") -> Truncation:
        """Fewer columns: all singular values that ``rtol`` allows are dropped, at every node at once.

        Args:
            rtol: bounds ``||x - y|| / ||x||``; ``None`` is :meth:`default_rtol`, which drops zeros only.
            max_rank: the most columns of any frame; with it the error may exceed ``rtol``, not the returned bound.
            method: ``"qr"`` or ``"gram"``, as in :meth:`singular_values`.

        Returns:
            The tensor, the bounds ``sqrt(sum of the dropped squares)``, rounding left out, and the spectra before.

        Raises:
            ValueError: for ``rtol`` outside [0, 1) or below the method's floor.

        Source: Grasedyck 2010, Thm. 3.11.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((4,) * 4, rank=2, seed=0)
            >>> max((x + x).ranks.values()), max((x + x).truncate().tensor.ranks.values())
            (4, 2)
        """
        chosen = choose_method(method, check_rtol(rtol), self.dtype)
        arrays, log_norm = _hsvd.orthogonalize(self.tree, self.nodes)
        backend, counted = self.backend, set(_hsvd.distinct_nodes(self.tree))
        share = None if rtol is None else rtol / max(1.0, len(counted)) ** 0.5
        bases, values, dropped = {}, {}, 0.0
        for node, factor in _hsvd.square_roots(self.tree, arrays, chosen).items():
            u, s = _hsvd.dominant(backend, factor, "qr")
            s = backend.xp.sqrt(s) if chosen == "gram" else s
            host = np.asarray(backend.to_numpy(s), np.float64)
            floor, size = self.default_rtol(node), float(np.linalg.norm(host))
            count = _hsvd.kept_count(host, size * (floor if share is None else share), max_rank)
            if node in counted:
                dropped += float((host[count:] ** 2).sum())
            bases[node], values[node] = u[:, :count], s
        made = _hsvd.project(self.tree, arrays, bases)
        # The norm is spread over all arrays, because at high order no single one can hold it.
        share_of_norm = backend.xp.exp(log_norm / len(made))
        tensor = self._of_nodes(self.tree, {node: array * share_of_norm for node, array in made.items()})
        with np.errstate(over="ignore"):
            norm = float(np.exp(np.float64(backend.to_numpy(log_norm))))
        return Truncation(tensor, dropped**0.5 * norm, dropped**0.5, values)

    def __add__(self, other: HierarchicalTucker) -> HierarchicalTucker:
        """The sum, exactly: ranks add. :meth:`truncate` makes them small again."""
        if not isinstance(other, HierarchicalTucker):
            return NotImplemented
        if self.tree != other.tree or self.shape != other.shape:
            raise ValueError(
                f"sum of {self._title()} on {self.tree!r} and {other._title()} on {other.tree!r}: needed equal shapes "
                "and trees"
            )
        return self._of_nodes(self.tree, sum_of_nodes(self.tree, self.nodes, other.nodes))

    def __mul__(self, factor: Any) -> Self:
        """The tensor times a number."""
        if isinstance(factor, Factorization):
            return NotImplemented
        root = self.tree.root
        return self._of_nodes(self.tree, {**self.nodes, root: self.nodes[root] * factor})

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self * -1.0

    def __sub__(self, other: HierarchicalTucker) -> HierarchicalTucker:
        return self + -other

    def __repr__(self) -> str:
        if len(self._values) > 40:
            return f"{self._title()}\n  {self.tree!r}, ranks up to {max(self.ranks.values())}"
        shapes = {node: " x ".join(map(str, a.shape)) for node, a in self.nodes.items()}
        lines = self.tree.draw(lambda node: shapes[node]).splitlines()
        return "\n".join([self._title(), *(f"  {line}" for line in lines)])

    def _static_to_json(self) -> Any:
        return self.tree.text

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return DimensionTree.from_text(content)


@lru_cache(maxsize=256)
def _tree_network(tree: DimensionTree) -> Network:
    used: dict[str, int] = {}
    names: dict[Node, str] = {}
    for node in tree.nodes:
        text = f"leaf {node.modes[0]}" if not node.height else str(node)
        names[node] = text + "'" * used.get(text, 0)
        used[text] = used.get(text, 0) + 1
    tensors = {}
    for node in tree.nodes:
        inner = [f"i{node.modes[0]}"] if not node.height else [f"k{names[c]}" for c in tree.children(node)]
        tensors[names[node]] = tuple(inner if node == tree.root else [*inner, f"k{names[node]}"])
    return Network(tensors, [f"i{n}" for n in range(tree.order)])
