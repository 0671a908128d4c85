"""Ranks of tensors: the spectra of their matricizations, one mode, one bipartition or one tree at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tnrank.dimension_tree import DimensionTree, Node
from tnrank.linalg import (
    check_modes,
    choose_method,
    default_rtol,
    matricization_sides,
    matricize,
    singular_values,
)
from tnrank.ranks._by_node import ByNode
from tnrank.ranks._input import Dense, read_tensor, read_tree
from tnrank.ranks._numbers import numerical_rank_of

if TYPE_CHECKING:
    from tnrank._typing import Array
    from tnrank.factorizations import HierarchicalTucker


class Spectra:
    """Singular values of the matricizations of one tensor; a group of modes and its complement share them."""

    def __init__(self, found: Dense, method: str = "auto", rtol: float | None = None) -> None:
        self.found, self.rtol = found, rtol
        self.shape = tuple(found.array.shape)
        self.method = choose_method(method, rtol, found.dtype)
        self._known: dict[tuple[int, ...], Array] = {}

    def of(self, modes: tuple[int, ...]) -> Array:
        """Singular values with the given modes (ascending) as rows, shape ``(min of the sides,)``."""
        others = tuple(mode for mode in range(len(self.shape)) if mode not in modes)
        key = min(modes, others)
        if key not in self._known:
            self._known[key] = singular_values(matricize(self.found.array, key), self.method)
        return self._known[key]

    def tolerance(self, modes: tuple[int, ...]) -> float:
        """The relative tolerance of this matricization."""
        if self.rtol is not None:
            return self.rtol
        return default_rtol(matricization_sides(self.shape, modes), self.found.dtype)

    def rank(self, modes: tuple[int, ...]) -> int:
        """The numerical rank with the given modes (ascending) as rows."""
        return int(numerical_rank_of(self.of(modes), self.tolerance(modes)))


def measured_nodes(tree: DimensionTree) -> tuple[Node, ...]:
    """All nodes but the root, each group of modes once: of a unary node and its child, the child."""
    found: dict[tuple[int, ...], Node] = {}
    for node in tree.nodes:  # children before parents
        if node.modes != tree.root.modes:
            found.setdefault(node.modes, node)
    return tuple(found.values())


def in_format(x: Any, tree: DimensionTree | None) -> HierarchicalTucker | None:
    """``x`` in the hierarchical Tucker format on ``tree``, if it is measured there; nothing is made dense.

    A CP or hierarchical factorization goes there if its transfer tensors are smaller than its end tensor.
    """
    from tnrank.factorizations import CPFactorization, HierarchicalFactorization, HierarchicalTucker

    if isinstance(x, HierarchicalTucker):
        return x if tree is None or tree == x.tree else None
    if isinstance(x, CPFactorization):
        tree = tree or DimensionTree.balanced(x.ndim) if x.ndim > 1 else None
        if tree is None or tree.order != x.ndim:
            return None
        size = sum(x.rank ** (len(tree.children(node)) + 1) for node in tree.interior)
    elif isinstance(x, HierarchicalFactorization) and x.ndim == x.tree.order and tree in (None, x.tree):
        tree = x.tree
        size = sum(
            matrix.shape[0] ** len(tree.children(node)) * matrix.shape[1]
            for node, matrix in x.matrices.items()
            if node.height
        )
    else:
        return None
    return HierarchicalTucker.from_factorization(x, tree) if size < math.prod(x.shape) else None


def multilinear_rank(x: Any, rtol: float | None = None) -> tuple[int, ...]:
    """Multilinear rank: for each mode, the rank of the matricization with this mode as rows.

    Args:
        x: array of order N >= 2, or a factorization.
        rtol: relative to the largest singular value of each matricization; ``None`` is max(its sides) * eps.

    Returns:
        N integers; zeros for the zero tensor.

    Raises:
        ValueError: if ``x`` has order 0 or 1, an empty mode or an entry that is not finite, or ``rtol`` is
            outside [0, 1) or below eps.

    Source: De Lathauwer, De Moor & Vandewalle 2000.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import multilinear_rank
        >>> multilinear_rank(np.ones((2, 3, 4)))
        (1, 1, 1)
    """
    if in_format(x, None) is not None:
        found = hierarchical_rank(x, rtol=rtol)
        return tuple(found[Node((mode,), 0)] for mode in range(len(x.shape)))
    spectra = Spectra(read_tensor(x), rtol=rtol)
    return tuple(spectra.rank((mode,)) for mode in range(len(spectra.shape)))


def separation_rank(x: Any, modes: Iterable[int] | int, rtol: float | None = None) -> int:
    """Separation rank for a bipartition: the rank of the matricization with the given modes as rows.

    Args:
        x: array of order N >= 2, or a factorization.
        modes: one side of the bipartition, neither empty nor all modes.
        rtol: relative to the largest singular value; ``None`` is max(sides) * eps.

    Raises:
        ValueError: if the modes are not such a side, or as :func:`multilinear_rank`.

    Source: Beylkin & Mohlenkamp 2002; Cohen & Shashua 2017.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import separation_rank
        >>> bell_pairs = np.einsum("ac,bd->abcd", np.eye(2), np.eye(2))
        >>> separation_rank(bell_pairs, modes=(0, 1)), separation_rank(bell_pairs, modes=(0, 2))
        (4, 1)
    """
    spectra = Spectra(read_tensor(x), rtol=rtol)
    return spectra.rank(check_modes(modes, spectra.shape))


def hierarchical_singular_values(
    x: Any, tree: DimensionTree | None = None, method: str = "auto", rtol: float | None = None
) -> ByNode[Array]:
    """Singular values of the matricization at every node of a dimension tree but the root.

    Args:
        x: array of order N >= 2, or a factorization.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        method: ``"qr"`` (accurate to eps of the largest value), ``"gram"`` (faster, to sqrt(eps)) or
            ``"auto"``.
        rtol: the accuracy needed, relative to the largest value at each node; ``"auto"`` is ``"gram"`` where
            it is above ten times sqrt(eps) and ``"qr"`` elsewhere.

    Returns:
        ``{node: values}``, arrays of shape ``(min(rows, columns),)``, children before parents. A unary node
        and its child have one matricization and count once, under the child. ``found[0, 1]`` finds a node by
        its modes.

    Raises:
        ValueError: if the tree has other modes than ``x``, ``rtol`` is outside [0, 1) or below the floor of
            the method, or ``x`` has order 0 or 1, an empty mode or an entry that is not finite.

    Source: Grasedyck 2010, *Hierarchical singular value decomposition of tensors*.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import hierarchical_singular_values
        >>> hierarchical_singular_values(np.ones((2, 2, 2, 2)))[0, 1].round(12) + 0
        array([4., 0., 0., 0.])
    """
    format = in_format(x, tree)
    if format is not None:
        found = format.singular_values(choose_method(method, rtol, format.dtype))
        return ByNode({node: found[node] for node in measured_nodes(format.tree)})
    spectra = Spectra(dense := read_tensor(x), method, rtol)
    return ByNode({node: spectra.of(node.modes) for node in measured_nodes(read_tree(tree, dense))})


def hierarchical_rank(x: Any, tree: DimensionTree | None = None, rtol: float | None = None) -> ByNode[int]:
    """Hierarchical tensor rank: the rank of the matricization at every node of a dimension tree but the root.

    Args:
        x: array of order N >= 2, or a factorization.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        rtol: relative to the largest singular value at each node; ``None`` is max(sides) * eps.

    Returns:
        ``{node: rank}``; ``max(found.values())`` is the scalar. Unary nodes as in
        :func:`hierarchical_singular_values`.

    Raises:
        ValueError: as :func:`hierarchical_singular_values`.

    Source: Hackbusch & Kuehn 2009; Razin, Maman & Cohen 2022, Sec. 4.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import hierarchical_rank
        >>> total = sum(np.ogrid[:3, :3, :3, :3])
        >>> {str(node): rank for node, rank in hierarchical_rank(total).items()}
        {'{0}': 2, '{1}': 2, '{2}': 2, '{3}': 2, '{0,1}': 2, '{2,3}': 2}
    """
    format = in_format(x, tree)
    if format is not None:
        method = choose_method("auto", rtol, format.dtype)
        values = format.singular_values(method, relative=True)
        return ByNode(
            {
                node: int(numerical_rank_of(values[node], format.default_rtol(node) if rtol is None else rtol))
                for node in measured_nodes(format.tree)
            }
        )
    spectra = Spectra(dense := read_tensor(x), rtol=rtol)
    return ByNode({node: spectra.rank(node.modes) for node in measured_nodes(read_tree(tree, dense))})
