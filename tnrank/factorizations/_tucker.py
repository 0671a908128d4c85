"""Tucker: the tree format of the star tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, Self

from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._base import Factorization, as_arrays
from tnrank.factorizations._draw import check_dimensions, check_ranks, draw
from tnrank.factorizations._nodes._convert import dense_to_nodes, to_nodes
from tnrank.factorizations._nodes._cutoff import Cutoff
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

    def __init__(self, core: Array, factors: Iterable[Array]) -> None:
        matrices = as_arrays(factors, "factors")
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
    def from_dense(
        cls,
        tensor: Array,
        rtol: float | None = None,
        max_rank: int | Sequence[int] | None = None,
        method: str = "auto",
        *,
        atol: float | None = None,
    ) -> Self:
        """The sequentially truncated multilinear SVD of a dense tensor.

        Args:
            tensor: array of order 2 or more.
            rtol: bounds ``||tensor - result|| / ||tensor||``; ``None`` is max(sides) * eps.
            max_rank: the largest rank of every mode, or N of them; with it the error may exceed ``rtol``.
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
        backend_of(tensor)
        if len(tensor.shape) < 2:
            raise ValueError(f"got an array of shape {tuple(tensor.shape)}, needed a tensor of order 2 or more")
        tree = DimensionTree.star(len(tensor.shape))
        most: Any = max_rank
        if max_rank is not None and not hasattr(max_rank, "__index__"):
            most = dict(zip(tree.leaves, check_ranks(max_rank, len(tree.leaves), tuple(tensor.shape)), strict=True))

        def cutoff(norm: float) -> Cutoff:
            return Cutoff(tree, tree.leaves, rtol, atol, most, norm)

        return cls._of_nodes(tree, dense_to_nodes(tensor, tree, cutoff, method))

    @classmethod
    def from_factorization(cls, x: Factorization, rtol: float | None = None, max_rank: int | None = None) -> Self:
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
        tree, nodes = to_nodes(x, None)
        arrays, log_norm = _hsvd.orthogonalize(tree, nodes)
        backend = x.backend
        ranks = tuple(int(arrays[leaf].shape[1]) for leaf in tree.leaves)
        if prod(ranks) > _LARGEST_CORE:
            raise ValueError(
                f"the core would have {prod(ranks):,} entries: truncate first, or stay in {type(x).__name__}"
            )
        # With identities in place of its frames, the tensor is its own core.
        inner = {node: a if node.height else backend.xp.eye(a.shape[1], dtype=a.dtype) for node, a in arrays.items()}
        from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

        small = HierarchicalTucker._of_nodes(tree, inner)
        core = contract(small.network, small.arrays) * backend.xp.exp(log_norm)
        made = cls._make(tree.order, [*(arrays[leaf] for leaf in tree.leaves), core])
        if rtol is None and max_rank is None:
            return made
        short: Self = made.truncate(rtol, max_rank).tensor
        return short

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
    def nodes(self) -> dict[Node, Array]:
        """Leaf -> factor, root -> core."""
        return dict(zip(self.tree.nodes, self._values, strict=True))

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        return cls._make(tree.order, [arrays[node] for node in tree.nodes])

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

    def __repr__(self) -> str:
        return f"{self._title()}\n  core {' x '.join(map(str, self.core.shape))}"

    def _static_to_json(self) -> Any:
        return self._static

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return int(content)


@lru_cache(maxsize=64)
def _star_tree(order: int) -> DimensionTree:
    return DimensionTree.star(order)


@lru_cache(maxsize=256)
def _star(order: int) -> Network:
    tensors: dict[str, tuple[str, ...]] = {f"factor {k}": (f"i{k}", f"r{k}") for k in range(order)}
    tensors["core"] = tuple(f"r{k}" for k in range(order))
    return Network(tensors, [f"i{k}" for k in range(order)])
