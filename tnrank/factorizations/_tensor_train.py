"""Tensor train: the tree format of the linear tree, stored as cores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, Self

from tnrank._alike import identity, zeros
from tnrank._backend import backend_of, plain_array
from tnrank._by_node import ByNode
from tnrank._check import instance, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._arrays import read_arrays
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._draw import check_dimensions, check_ranks, draw
from tnrank.factorizations._nodes._convert import as_tree, dense_to_nodes, to_nodes
from tnrank.factorizations._nodes._cutoff import Cutoff, MaxRank, PerNode
from tnrank.factorizations._nodes._modes import kronecker
from tnrank.factorizations._tree_core import TreeCore
from tnrank.factorizations._tree_format import TreeFormat
from tnrank.factorizations._whole import check_product
from tnrank.network import Network


class TensorTrain(TreeFormat):
    """The tensor ``cores[0] @ cores[1] @ .. @ cores[N-1]``, one matrix an entry and core.

    It is the hierarchical Tucker format on ``DimensionTree.linear(N)`` with identities at the leaves, and has all of
    that format's methods.

    Args:
        cores: N arrays ``(r_n, d_n, r_n+1)`` with ``r_1 = r_N+1 = 1``; the first and the last may leave that axis out.

    Raises:
        ValueError: if there are fewer than two cores or neighbors do not fit; core and sizes are named.

    Source: Oseledets 2011; in physics, a matrix product state with open boundary.

    Example:
        >>> import tnrank
        >>> x = tnrank.TensorTrain.random((4,) * 6, rank=3, seed=0)
        >>> x
        TensorTrain of order 6: 4 x 4 x 4 x 4 x 4 x 4, 168 parameters, float64, numpy
          ranks 3, 3, 3, 3, 3
    """

    __slots__ = ()
    kind: ClassVar[str] = "tensor train"

    @explained
    def __init__(self, cores: Iterable[Array]) -> None:
        arrays = read_arrays(cores, "cores")
        last = len(arrays) - 1
        if last < 1:
            raise ValueError("got one core, needed two or more: a tensor of order 1 is its own vector")
        for k, array in enumerate(arrays):
            backend = backend_of(array)
            shape = tuple(array.shape)
            if k == 0 and len(shape) == 3 and shape[0] == 1:
                arrays[k] = backend.reshape(array, shape[1:])
            elif k == last and len(shape) == 3 and shape[2] == 1:
                arrays[k] = backend.reshape(array, shape[:2])
            elif len(shape) != (2 if k in (0, last) else 3):
                wanted = "(1, d, r) or (d, r)" if k == 0 else "(r, d, 1) or (r, d)" if k == last else "(r, d, r')"
                raise ValueError(f"core {k} has shape {shape}: needed {wanted}")
        for k in range(last):
            if arrays[k].shape[-1] != arrays[k + 1].shape[0]:
                raise ValueError(
                    f"core {k} ends in rank {arrays[k].shape[-1]} and core {k + 1} begins with rank "
                    f"{arrays[k + 1].shape[0]}: needed the same"
                )
        self._fill(len(arrays), arrays)

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _chain(static)

    @classmethod
    @explained
    def random(
        cls,
        shape: Sequence[int],
        rank: int | Sequence[int] = 5,
        *,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random cores: ``rank`` between all of them, or N - 1 ranks; else as for the other classes.

        Raises:
            ValueError: if the order is below 2, or there are not N - 1 ranks from 1 on.
        """
        d = check_dimensions(shape)
        ranks = check_ranks(rank, max(0, len(d) - 1), d)
        shapes = [(d[0], ranks[0]), *zip(ranks, d[1:-1], ranks[1:], strict=False), (ranks[-1], d[-1])]
        return cls._make(len(d), draw(shapes, std, mean, init, seed, backend, dtype, device))

    @classmethod
    @explained
    def from_dense(
        cls,
        tensor: Array,
        rtol: float | None = None,
        max_rank: MaxRank = None,
        method: str = "auto",
        *,
        atol: float | None = None,
    ) -> Self:
        """The TT-SVD of a dense tensor, from the last mode to the first.

        Args:
            tensor: array of order 2 or more.
            rtol: bounds ``||tensor - result|| / ||tensor||``; ``None`` is max(sides) * eps.
            max_rank: the largest rank, N - 1 of them from the first core to the last, or {modes: rank} for modes on
                one side of a core's end; with it the error may exceed ``rtol``.
            method: as for :meth:`tnrank.HierarchicalTucker.from_dense`.
            atol: bounds ``||tensor - result||``; with ``rtol`` too, the looser of the two holds.

        Raises:
            ValueError: as for :meth:`tnrank.HierarchicalTucker.from_dense`.

        Source: Oseledets 2011, Alg. 1.

        Example:
            >>> import numpy as np, tnrank
            >>> total = sum(np.ogrid[:5, :5, :5, :5]) * 1.0
            >>> tnrank.TensorTrain.from_dense(total, rtol=1e-10).tt_ranks
            (2, 2, 2)
        """
        tensor = plain_array(tensor)[0]
        tree = as_tree(None, tuple(tensor.shape), DimensionTree.linear)
        reduced = cls._reduced(tree)

        def cutoff(norm: float) -> Cutoff:
            return Cutoff(tree, reduced, rtol, atol, max_rank, norm, cls._in_order(tree))

        return cls._of_nodes(tree, dense_to_nodes(tensor, tree, cutoff, method, reduced))

    @classmethod
    @explained
    def from_factorization(cls, x: Factorization, rtol: PerNode = None, max_rank: MaxRank = None) -> Self:
        """Another factorization as a tensor train: exactly, or truncated if ``rtol`` or ``max_rank`` is given.

        Raises:
            TypeError: for a factorization with classes.

        Example:
            >>> import tnrank
            >>> cp = tnrank.CPFactorization.random((3, 4, 5, 6), rank=2, seed=0)
            >>> tnrank.TensorTrain.from_factorization(cp).tt_ranks
            (2, 2, 2)
        """
        instance(x, "x", Factorization, f"a factorization; {cls.__name__}.from_dense(array) takes an array")
        if x.ndim < 2:
            raise ValueError(f"got a {type(x).__name__} of order {x.ndim}, needed order 2 or more")
        x, exact = x._measurable(), rtol is None and max_rank is None
        if isinstance(x, CPFactorization):
            # The transfer tensors of the tree layout would have R^3 entries, the cores have d R^2.
            return cls._make(x.ndim, _cp_cores(x)) if exact else cls.truncate_sum([x], None, rtol, max_rank).tensor
        made = cls._of_nodes(*to_nodes(x, DimensionTree.linear(x.ndim)))
        if exact:
            return made
        short: Self = made.truncate(rtol, max_rank).tensor
        return short

    @property
    def cores(self) -> tuple[Array, ...]:
        """The cores, all with three axes ``(r_n, d_n, r_n+1)``."""
        first, *middle, last = self._values
        return (first[None], *middle, last[..., None])

    @property
    def tt_ranks(self) -> tuple[int, ...]:
        """The N - 1 ranks between the cores: upper bounds of those of the tensor."""
        return tuple(int(core.shape[0]) for core in self._values[1:])

    @property
    def tree(self) -> DimensionTree:
        """``DimensionTree.linear(N)``."""
        return _linear(len(self._values))

    @property
    def nodes(self) -> ByNode[Array]:
        """The same tensor in the hierarchical Tucker layout.

        A core is a transfer tensor above an identity, or a leaf below one: whichever identity is the smaller.
        """
        backend, tree, order = self.backend, self.tree, len(self._values)
        frames = {Node((order - 1,), 0): backend.permute(self._values[-1], (1, 0))}
        for mode, node in enumerate(reversed(tree.interior)):
            # shape: (d, r') for the first core, (d, r', r) for the others
            core = self._values[mode] if not mode else backend.permute(self._values[mode], (1, 2, 0))
            size, columns = core.shape[0], tuple(core.shape[1:])
            width = prod(columns)
            leaf = Node((mode,), 0)
            if size <= width:
                frames[leaf], frames[node] = identity(core, size), core
            else:
                frames[leaf] = backend.reshape(core, (size, width))
                frames[node] = backend.reshape(identity(core, width), (width, *columns))
        return ByNode((node, frames[node]) for node in tree.nodes)

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        """Each leaf goes into the transfer tensor above it; the last one is a core of its own.

        A leaf that is missing is the identity.
        """
        xp = backend_of(arrays[tree.root]).xp
        cores: list[Array] = [None] * tree.order
        for node in tree.interior:
            leaf = arrays.get(Node((node.modes[0],), 0))
            core = arrays[node] if leaf is None else xp.tensordot(leaf, arrays[node], axes=((1,), (0,)))
            cores[node.modes[0]] = core if node == tree.root else xp.permute_dims(core, (2, 0, 1))
        cores[-1] = xp.permute_dims(arrays[Node((tree.order - 1,), 0)], (1, 0))
        return cls._make(tree.order, cores)

    # Sums and products core by core: the identities of the tree layout would grow with them.
    def _sum_with(self, other: TreeCore) -> Self:
        xp, last = self.backend.xp, len(self._values) - 1
        cores = []
        for k, (a, b) in enumerate(zip(self._values, self._alike(other)._values, strict=True)):
            if k in (0, last):
                cores.append(xp.concat([a, b], axis=-1 if not k else 0))
                continue
            above = xp.concat([a, zeros(a, (*a.shape[:2], b.shape[2]))], axis=2)
            below = xp.concat([zeros(b, (*b.shape[:2], a.shape[2])), b], axis=2)
            cores.append(xp.concat([above, below], axis=0))
        return self._make(self._static, cores)

    def _product_with(self, other: TreeCore) -> Self:
        permute, cores = self.backend.permute, []
        for k, (a, b) in enumerate(zip(self._values, self._alike(other)._values, strict=True)):
            check_product(a, b)
            # The mode first, which is shared; the swap of two axes is its own inverse.
            axes = (0, 1) if not k else (1, 0, 2)[: a.ndim]
            cores.append(permute(kronecker(permute(a, axes), permute(b, axes), 1), axes))
        return self._make(self._static, cores)

    def _at_root(self, change: Callable[[Array], Array]) -> Self:
        first = change(self._values[0])
        x = self if first.dtype == self._values[0].dtype else self._converted(first.dtype)
        return self._make(self._static, [first, *x._values[1:]])

    def _alike(self, other: TreeCore) -> TensorTrain:
        return other if isinstance(other, TensorTrain) else self._of_nodes(other.tree, other.nodes)

    @classmethod
    def _reduced(cls, tree: DimensionTree) -> Collection[Node]:
        """The ranks of the train; those of the single modes cost it nothing."""
        last = Node((tree.order - 1,), 0)
        trailing = [node for node in tree.nodes if node == last or (node.height and node != tree.root)]
        return trailing

    @classmethod
    def _in_order(cls, tree: DimensionTree) -> Sequence[Node]:
        last = Node((tree.order - 1,), 0)
        return [*(node for node in reversed(tree.interior) if node != tree.root), last]

    @classmethod
    def _default_tree(cls, order: int) -> DimensionTree:
        return _linear(order)

    @classmethod
    def _tree_of_sum(cls, terms: Sequence[Factorization], tree: DimensionTree | None) -> DimensionTree:
        own = _linear(terms[0].ndim)
        if tree not in (None, own):
            raise ValueError(
                f"a {cls.__name__} has the tree {own!r}, got {tree!r}: use HierarchicalTucker.truncate_sum"
            )
        return own

    def _details(self) -> list[str]:
        ranks = self.tt_ranks
        return ["ranks " + ", ".join(map(str, ranks[:12])) + (f", .. up to {max(ranks)}" if len(ranks) > 12 else "")]

    def _static_to_json(self) -> Any:
        return self._static

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return whole_number(content, "its order", 2)


def _cp_cores(x: CPFactorization) -> list[Array]:
    permute, factors = x.backend.permute, x.factors
    first = factors[0] if x.weights is None else factors[0] * x.weights
    eye = identity(first, x.rank)
    middle = [eye[:, None, :] * permute(factor, (1, 0))[:, :, None] for factor in factors[1:-1]]
    return [first, *middle, permute(factors[-1], (1, 0))]


@lru_cache(maxsize=64)
def _linear(order: int) -> DimensionTree:
    return DimensionTree.linear(order)


@lru_cache(maxsize=256)
def _chain(order: int) -> Network:
    tensors: dict[str, tuple[str, ...]] = {}
    for k in range(order):
        left, right = ([f"r{k}"] if k else []), ([f"r{k + 1}"] if k < order - 1 else [])
        tensors[f"core {k}"] = (*left, f"i{k}", *right)
    return Network(tensors, [f"i{k}" for k in range(order)])
