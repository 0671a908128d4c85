"""Ranks of tensors: the spectra of their matricizations, one mode, one bipartition or one tree at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tnrank._by_node import ByNode
from tnrank._explained import explained
from tnrank.dimension_tree import DimensionTree
from tnrank.linalg import check_modes
from tnrank.ranks._routes._measure import measure, measured_nodes

if TYPE_CHECKING:
    from tnrank._typing import Array


@explained
def multilinear_rank(x: Any, rtol: float | None = None, method: str = "auto") -> tuple[int, ...]:
    """Multilinear rank: for each mode, the rank of the matricization with this mode as rows.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations.
        rtol: relative to the largest singular value of each matricization; ``None`` is max(its sides) * eps, and for
            factorizations and ``method="gram"`` see :func:`hierarchical_rank`.
        method: as for :func:`hierarchical_singular_values`.

    Returns:
        N integers; zeros for the zero tensor.

    Raises:
        ValueError: if ``x`` has order 0 or 1, an empty mode or an entry that is not finite, or ``rtol`` is
            outside [0, 1) or below the floor of the method.

    Source: De Lathauwer, De Moor & Vandewalle 2000.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import multilinear_rank
        >>> multilinear_rank(np.ones((2, 3, 4)))
        (1, 1, 1)
    """
    found = measure(x, None, method, rtol, lambda shape, tree: ((mode,) for mode in range(len(shape))))
    return tuple(found.rank((mode,)) for mode in range(len(found.shape)))


@explained
def separation_rank(x: Any, modes: Iterable[int] | int, rtol: float | None = None, method: str = "auto") -> int:
    """Separation rank for a bipartition: the rank of the matricization with the given modes as rows.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations.
        modes: one side of the bipartition, neither empty nor all modes.
        rtol: relative to the largest singular value; ``None`` is max(sides) * eps, and for factorizations and
            ``method="gram"`` see :func:`hierarchical_rank`.
        method: as for :func:`hierarchical_singular_values`.

    Raises:
        ValueError: if the modes are not such a side, or as :func:`multilinear_rank`, or a bipartition cuts so many
            edges of a factorization's tree that neither the format nor the dense tensor can be measured.

    Source: Beylkin & Mohlenkamp 2002; Cohen & Shashua 2017.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import separation_rank
        >>> bell_pairs = np.einsum("ac,bd->abcd", np.eye(2), np.eye(2))
        >>> separation_rank(bell_pairs, modes=(0, 1)), separation_rank(bell_pairs, modes=(0, 2))
        (4, 1)
    """
    rows: list[tuple[int, ...]] = []
    listed = list(modes) if isinstance(modes, Iterable) else modes

    def groups(shape: tuple[int, ...], tree: DimensionTree) -> list[tuple[int, ...]]:
        rows.append(check_modes(listed, shape))
        return rows

    found = measure(x, None, method, rtol, groups)
    return found.rank(rows[0])


@explained
def tt_ranks(x: Any, rtol: float | None = None, method: str = "auto") -> tuple[int, ...]:
    """TT ranks: the ranks of the matricizations at the first 1, .., N - 1 modes, those of the linear tree.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations.
        rtol: relative to the largest singular value of each; ``None`` is max(sides) * eps, and for factorizations
            and ``method="gram"`` see :func:`hierarchical_rank`.
        method: as for :func:`hierarchical_singular_values`.

    Returns:
        N - 1 integers, the smallest ranks that a ``TensorTrain`` of ``x`` can have; zeros for the zero tensor.

    Raises:
        ValueError: as :func:`separation_rank`.

    Source: Oseledets 2011, Thm. 2.1.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import tt_ranks
        >>> tt_ranks(sum(np.ogrid[:3, :3, :3, :3]))
        (2, 2, 2)
    """

    def groups(shape: tuple[int, ...], tree: DimensionTree) -> list[tuple[int, ...]]:
        return [tuple(range(first, len(shape))) for first in range(1, len(shape))]

    found = measure(x, None, method, rtol, groups)
    order = len(found.shape)
    return tuple(found.rank(tuple(range(first, order))) for first in range(1, order))


@explained
def hierarchical_singular_values(
    x: Any,
    tree: DimensionTree | None = None,
    method: str = "auto",
    rtol: float | None = None,
    *,
    relative: bool = False,
) -> ByNode[Array]:
    """Singular values of the matricization at every node of a dimension tree but the root.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations. Formats are measured as they are, on any
            tree, unless the dense tensor is cheaper.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        method: ``"qr"`` (accurate to eps of the largest value), ``"gram"`` (faster, to sqrt(eps)) or
            ``"auto"``.
        rtol: the accuracy needed, relative to the largest value at each node; ``"auto"`` is ``"gram"`` where
            it is above ten times sqrt(eps) and ``"qr"`` elsewhere.
        relative: divide by the norm of ``x``, which at high order may be beyond the range of floating-point numbers.

    Returns:
        ``{node: values}``, descending, children before parents: ``min(rows, columns)`` of them, or fewer where the
        format shows that all others are zero. A unary node and its child have one matricization and count once, under
        the child. ``found[0, 1]`` finds a node by its modes.

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
    found = measure(x, tree, method, rtol)
    nodes = measured_nodes(found.tree)
    if not relative:
        return ByNode({node: found.absolute(node.modes) for node in nodes})
    return ByNode({node: found.relative(node.modes) for node in nodes})


@explained
def hierarchical_rank(
    x: Any, tree: DimensionTree | None = None, rtol: float | None = None, method: str = "auto"
) -> ByNode[int]:
    """Hierarchical tensor rank: the rank of the matricization at every node of a dimension tree but the root.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations. Formats are measured as they are, on any
            tree, unless the dense tensor is cheaper.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        rtol: relative to the largest singular value at each node. ``None`` is max(sides) * eps, or the rounding of
            the entries where that is coarser, as it is of subnormal numbers. A format is measured
            without those sides: ``None`` is then eps * (number of nodes + larger side of the node's array), times the
            summed norms of the terms over the norm of their sum where terms cancel. With ``method="gram"``, ``None``
            is at least 10 * sqrt(eps), below which its values are rounding; times the same where the Gram matrices
            are those of components.
        method: as for :func:`hierarchical_singular_values`.

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
    found = measure(x, tree, method, rtol)
    return ByNode({node: found.rank(node.modes) for node in measured_nodes(found.tree)})
