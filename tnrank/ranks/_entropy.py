"""Entanglement entropies: what the normalized squares of singular values say, as probabilities."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from tnrank._by_node import ByNode
from tnrank._explained import explained
from tnrank._scale import nonzero
from tnrank.linalg import check_rtol, default_rtol
from tnrank.ranks._routes._measure import measure, measured_nodes
from tnrank.ranks._spectrum import check_spectrum, scaled

if TYPE_CHECKING:
    from tnrank._typing import Array
    from tnrank.dimension_tree import DimensionTree


@explained
def renyi_entropy_of(s: Array, order: float = 1.0, rtol: float | None = None) -> Array:
    """Renyi entropy ``ln(sum p^a) / (1 - a)`` of ``p = s^2 / sum(s^2)``, in nats; the zero spectrum has 0.

    Args:
        s: singular values, shape ``(.., n)``, descending.
        order: a >= 0. 1 is von Neumann's, ``-sum p ln p``; 0 the logarithm of the rank; 2 that of the participation
            ratio; ``inf`` the min-entropy ``-ln p[0]``, which is the logarithm of the stable rank.
        rtol: values up to this share of the largest count as zero; ``None`` is n * eps. Below order 1 it matters.

    Returns:
        Shape ``(..,)``, between 0 and ln(n), falling in the order.

    Raises:
        ValueError: if ``s`` is no spectrum, ``order`` is negative or NaN, or ``rtol`` is outside [0, 1).

    Source: Renyi 1961, *On measures of entropy and information*; Horodecki et al. 2009, *Quantum entanglement*.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import renyi_entropy_of
        >>> s = np.ones(4)
        >>> [round(float(np.exp(renyi_entropy_of(s, order))), 12) for order in (0, 0.5, 1, 2, np.inf)]
        [4.0, 4.0, 4.0, 4.0, 4.0]
    """
    s, backend = check_spectrum(s)
    order, xp = check_order(order), backend.xp
    rtol = check_rtol(rtol)
    rtol = default_rtol((s.shape[-1],), backend.dtype_of(s)) if rtol is None else rtol
    t, _ = scaled(s, backend)
    squares = xp.where(t <= rtol, xp.zeros_like(t), t) ** 2
    total = xp.sum(squares, axis=-1, keepdims=True)
    p = squares / nonzero(total, backend)
    safe = nonzero(p, backend)
    if order == math.inf:
        found = -xp.log(safe[..., 0])
    elif order == 1:
        found = -xp.sum(p * xp.log(safe), axis=-1)
    elif order == 0:
        count = backend.stop_gradient(xp.sum(p / safe, axis=-1))
        found = xp.log(nonzero(count, backend))
    else:
        # sum p^a = 1 + sum p (p^(a-1) - 1): near order 1 the difference from 1 is what is left.
        powers = xp.expm1((order - 1) * xp.log(safe))
        found = xp.log1p(xp.sum(p * powers, axis=-1)) / (1 - order)
    return abs(found)


@explained
def entanglement_entropy(
    x: Any,
    tree: DimensionTree | None = None,
    order: float = 1.0,
    method: str = "auto",
    rtol: float | None = None,
) -> ByNode[Array]:
    """Entanglement entropy at every node of a dimension tree but the root: of the squares of its singular values.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations; its norm does not matter.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        order: 1 is von Neumann's, others Renyi's; 0 and ``inf`` are defined (:func:`renyi_entropy_of`).
        method: as for :func:`hierarchical_singular_values`.
        rtol: singular values up to this share of the largest count as zero; ``None`` as for :func:`hierarchical_rank`.

    Returns:
        ``{node: entropy}`` in nats, from 0 (a product of the node's modes and the others) to ln(rank); 0 at every node
        of the zero tensor.

    Raises:
        ValueError: if ``order`` is negative or NaN, or as :func:`hierarchical_singular_values`.

    Source: Horodecki et al. 2009; for networks and data Levine et al. 2018, Alexander et al. 2023.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import entanglement_entropy
        >>> ghz = np.zeros((2,) * 4)
        >>> ghz[0, 0, 0, 0] = ghz[1, 1, 1, 1] = 1
        >>> round(float(np.exp(entanglement_entropy(ghz)[0, 1])), 12)
        2.0
    """
    order = check_order(order)
    found = measure(x, tree, method, rtol)
    return ByNode(
        {
            node: renyi_entropy_of(found.relative(node.modes), order, capped(found.tolerance(node.modes)))
            for node in measured_nodes(found.tree)
        }
    )


def capped(rtol: float) -> float:
    """Below 1, where all that is left of a sum is rounding."""
    return min(rtol, 1 - 2.0**-20)


def check_order(order: Any) -> float:
    """The order of an entropy as a float from 0 to inf."""
    if isinstance(order, bool) or not isinstance(order, Real):
        raise TypeError(f"order is a number from 0 on (1 is von Neumann's entropy), got {order!r}")
    if not (given := float(order)) >= 0:
        raise ValueError(f"order is a number from 0 on (1 is von Neumann's entropy), got {order}")
    return given
