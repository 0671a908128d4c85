"""Tucker: the tree format of the star tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, Self

from tnrank._alike import identity
from tnrank._backend import plain_array
from tnrank._by_node import ByNode
from tnrank._check import instance, sequence, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._arrays import checked_arrays
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._draw import check_dimensions, check_ranks, draw
from tnrank.factorizations._nodes._change_tree import scaled
from tnrank.factorizations._nodes._convert import as_tree, dense_to_nodes, to_nodes
from tnrank.factorizations._nodes._cutoff import Cutoff, MaxRank, PerNode
from tnrank.factorizations._tree_format import TreeFormat
from tnrank.network import Network, contract

_LARGEST_CORE = 2**28


class Tucker(TreeFormat):
    """The tensor ``core`` with ``factors[n]`` multiplied onto mode n.

    It is the hierarchical Tucker format on ``DimensionTree.star(N)``, and has all of that format's methods.

    Args:
        core: array ``(r_1, .., r_N)``.
        factors: N matrices ``(d_n, r_n)``.

    Raises:
        ValueError: if a factor does not fit the core; mode and sizes are named.

    Source: Tucker 1966; De Lathauwer, De Moor & Vandewalle 2000.

    Example:
        >>> import tnrank
        >>> tnrank.Tucker.random((8, 9, 10), rank=(2, 3, 4), seed=0)
        Tucker of order 3: 8 x 9 x 10, 107 parameters, float64, numpy
          core 2 x 3 x 4
    """

    __slots__ = ()
    kind: ClassVar[str] = "tucker"

    @explained
    def __init__(self, core: Array, factors: Iterable[Array]) -> None:
        given = sequence(factors, "factors", "matrices")
        *matrices, core = checked_arrays(
            [*given, core], lambda: [*(f"factors[{k}]" for k in range(len(given))), "core"]
        )
        if len(core.shape) != len(matrices) or len(matrices) < 2:
            raise ValueError(
                f"a core of shape {tuple(core.shape)} and {len(matrices)} factors: needed one an axis, two or more"
            )
        for mode, matrix in enumerate(matrices):
            if len(matrix.shape) != 2 or matrix.shape[1] != core.shape[mode]:
                raise ValueError(
                    f"factor {mode} has shape {tuple(matrix.shape)}: needed (d_{mode + 1}, {core.shape[mode]}), "
                    f"as axis {mode} of the core has"
                )
        self._fill(len(matrices), [*matrices, core])

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _star(static)

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
        """Random factors and core: ``rank`` for every mode, or N of them; else as for the other classes.

        Raises:
            ValueError: if the order is below 2, or there are not N ranks from 1 on.
        """
        d = check_dimensions(shape)
        ranks = check_ranks(rank, len(d), d)
        shapes = [*zip(d, ranks, strict=True), ranks]
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
        """The sequentially truncated multilinear SVD of a dense tensor.

        Args:
            tensor: array of order 2 or more.
            rtol: bounds ``||tensor - result|| / ||tensor||``; ``None`` is max(sides) * eps.
            max_rank: the largest rank of every mode, N of them, or {mode: rank}; with it the error may exceed
                ``rtol``.
            method: as for :meth:`tnrank.HierarchicalTucker.from_dense`.
            atol: bounds ``||tensor - result||``; with ``rtol`` too, the looser of the two holds.

        Raises:
            ValueError: as for :meth:`tnrank.HierarchicalTucker.from_dense`.

        Source: Vannieuwenhoven, Vandebril & Meerbergen 2012 (ST-HOSVD).

        Example:
            >>> import numpy as np, tnrank
            >>> total = sum(np.ogrid[:5, :6, :7]) * 1.0
            >>> tnrank.Tucker.from_dense(total, rtol=1e-10).core.shape
            (2, 2, 2)
        """
        tensor = plain_array(tensor)[0]
        tree = as_tree(None, tuple(tensor.shape), DimensionTree.star)

        def cutoff(norm: float) -> Cutoff:
            return Cutoff(tree, tree.leaves, rtol, atol, max_rank, norm, tree.leaves)

        return cls._of_nodes(tree, dense_to_nodes(tensor, tree, cutoff, method))

    @classmethod
    @explained
    def from_factorization(cls, x: Factorization, rtol: PerNode = None, max_rank: MaxRank = None) -> Self:
        """Another factorization in this format: exactly, or truncated if ``rtol`` or ``max_rank`` is given.

        Raises:
            TypeError: for a factorization with classes.
            ValueError: if the core would have more than 2^28 entries.

        Example:
            >>> import tnrank
            >>> tt = tnrank.TensorTrain.random((6,) * 4, rank=2, seed=0)
            >>> tnrank.Tucker.from_factorization(tt, rtol=1e-12).core.shape
            (2, 4, 4, 2)
        """
        instance(x, "x", Factorization, f"a factorization; {cls.__name__}.from_dense(array) takes an array")
        x = x._measurable()
        made = cls._from_cp(x) if isinstance(x, CPFactorization) else cls._from_nodes(x)
        if rtol is None and max_rank is None:
            return made
        short: Self = made.truncate(rtol, max_rank).tensor
        return short

    @classmethod
    def _from_cp(cls, x: CPFactorization) -> Self:
        """Orthonormal factors; the core is the CP factorization of the triangular ones, never R^N."""
        pairs = [x.backend.xp.linalg.qr(factor) for factor in x.factors]
        _check_core([q.shape[1] for q, _ in pairs], x)
        core = CPFactorization([r for _, r in pairs], x.weights).to_dense()
        return cls._make(x.ndim, [*(q for q, _ in pairs), core])

    @classmethod
    def _from_nodes(cls, x: Factorization) -> Self:
        tree, nodes = to_nodes(x, None)
        arrays, log_norm = _hsvd.orthogonalize(tree, nodes)
        _check_core([int(arrays[leaf].shape[1]) for leaf in tree.leaves], x)
        # With identities in place of its frames, the tensor is its own core.
        inner = {node: a if node.height else identity(a, a.shape[1]) for node, a in arrays.items()}
        from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

        small = HierarchicalTucker._of_nodes(tree, inner)
        star, core = _star_tree(tree.order), contract(small.network, small.arrays)
        parts = {**{leaf: arrays[leaf] for leaf in star.leaves}, star.root: core}
        return cls._of_nodes(star, scaled(x.backend.xp, parts, list(parts), star.root, log_norm))

    @property
    def core(self) -> Array:
        """The core, ``(r_1, .., r_N)``."""
        return self._values[-1]

    @property
    def factors(self) -> tuple[Array, ...]:
        """The factor of each mode, ``(d_n, r_n)``."""
        return self._values[:-1]

    @property
    def tree(self) -> DimensionTree:
        """``DimensionTree.star(N)``."""
        return _star_tree(len(self._values) - 1)

    @property
    def nodes(self) -> ByNode[Array]:
        """Leaf -> factor, root -> core."""
        return ByNode(zip(self.tree.nodes, self._values, strict=True))

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        return cls._make(tree.order, [arrays[node] for node in tree.nodes])

    @classmethod
    def _in_order(cls, tree: DimensionTree) -> Sequence[Node]:
        return tree.leaves

    @classmethod
    def _default_tree(cls, order: int) -> DimensionTree:
        return _star_tree(order)

    @classmethod
    def _tree_of_sum(cls, terms: Sequence[Factorization], tree: DimensionTree | None) -> DimensionTree:
        own = _star_tree(terms[0].ndim)
        if tree not in (None, own):
            raise ValueError(
                f"a {cls.__name__} has the tree {own!r}, got {tree!r}: use HierarchicalTucker.truncate_sum"
            )
        return own

    def _details(self) -> list[str]:
        return [f"core {' x '.join(map(str, self.core.shape))}"]

    def _static_to_json(self) -> Any:
        return self._static

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return whole_number(content, "its order", 2)


def _check_core(ranks: Sequence[int], x: Factorization) -> None:
    if prod(ranks) > _LARGEST_CORE:
        raise ValueError(f"the core would have {prod(ranks):,} entries: truncate first, or stay in {type(x).__name__}")


@lru_cache(maxsize=64)
def _star_tree(order: int) -> DimensionTree:
    return DimensionTree.star(order)


@lru_cache(maxsize=256)
def _star(order: int) -> Network:
    tensors: dict[str, tuple[str, ...]] = {f"factor {k}": (f"i{k}", f"r{k}") for k in range(order)}
    tensors["core"] = tuple(f"r{k}" for k in range(order))
    return Network(tensors, [f"i{k}" for k in range(order)])
