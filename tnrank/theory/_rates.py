"""How fast the components of an index grow under gradient flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import add, mul
from typing import TYPE_CHECKING, Any, overload

from tnrank._typing import Array, Arrays, Label
from tnrank.network import Network
from tnrank.theory._components import components_of
from tnrank.theory._projection import projection
from tnrank.theory._source import read

if TYPE_CHECKING:
    from tnrank.factorizations import Factorization


@dataclass(frozen=True)
class Rates:
    """Growth of the components of one index, each of shape ``(R,)``, per unit of effective time.

    Attributes:
        norms: sigma_r, the component norms.
        projection: gamma_r = <-grad L, C_r>, C_r the end tensor of component r alone with slices of norm 1.
        exact: d sigma_r / dt.
        balanced: K sigma_r^(2 - 2/K) gamma_r, which is ``exact`` where the slices have equal norms.
        lower: bound of ``exact`` that knows sigma_r, gamma_r and the unbalancedness only.
        upper: likewise.
        unbalancedness: the largest difference of squared slice norms within component r.
        order: K.
    """

    norms: Array
    projection: Array
    exact: Array
    balanced: Array
    lower: Array
    upper: Array
    unbalancedness: Array
    order: int


@overload
def predicted_rate(x: Factorization, /, index: Label, gradient: Any) -> Rates: ...
@overload
def predicted_rate(x: Network, arrays: Arrays, /, index: Label, gradient: Any) -> Rates: ...
def predicted_rate(*given: Any, **named: Any) -> Rates:
    """d sigma_r / dt of all components of an index: ``predicted_rate(x, index, gradient)``.

    Or ``predicted_rate(network, arrays, index, gradient)``. For any index met by K tensors with slice norms n_k,

        d sigma_r / dt = <-grad L, C_r> * sum_k prod_{m != k} n_m^2,

    which is K sigma_r^(2 - 2/K) <-grad L, C_r> where the norms are equal. With eps the largest difference of their
    squares and gamma >= 0, the rate lies between K gamma sigma^2 / (sigma^(2/K) + eps) and
    K gamma (sigma^(2/K) + eps)^(K-1); for gamma < 0 the bounds change places. A component of norm 0 has projection 0.

    Args:
        given: as in :func:`local_components`, then ``gradient``: that of the loss with respect to the end tensor,
            dense ``(d_1, .., d_N)``, or sparse as ``(indices (M, N), values (M,))``, where entries may repeat.
        named: ``index``, ``gradient`` (and ``arrays``) by name.

    Returns:
        The projections of all r come from one contraction; no component is formed.

    Raises:
        ValueError: if there is no such index, one array stands at two tensors, or the gradient does not fit.
        TypeError: if arrays are not real, or backends or dtypes are mixed.

    Source: Razin, Maman & Cohen 2021, Theorem 1 and its corollary; 2022, Theorem 1.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.theory import predicted_rate
        >>> x = tnrank.CPFactorization([np.eye(2), np.eye(2), 2 * np.eye(2)])
        >>> gradient = x.to_dense() - np.ones((2, 2, 2))  # of half the squared distance to the tensor of ones
        >>> rates = predicted_rate(x, "r", gradient)
        >>> rates.projection, rates.exact
        (array([-1., -1.]), array([-9., -9.]))
    """
    source, (index, gradient) = read("predicted_rate", ("index", "gradient"), given, named)
    components = components_of(source, index)
    xp, order, sigma = source.backend.xp, components.order, components.norms
    gamma = projection(source, components, gradient)
    squares = [norms * norms for norms in components.slice_norms.values()]
    eps = reduce(xp.maximum, squares) - reduce(xp.minimum, squares)
    mean = sigma ** (2 / order) + eps
    safe = xp.where(mean > 0, mean, xp.ones_like(mean))
    slow, fast = order * gamma * sigma * sigma / safe, order * gamma * mean ** (order - 1)
    return Rates(
        norms=sigma,
        projection=gamma,
        exact=gamma * reduce(add, _others(squares, xp)),
        balanced=order * gamma * sigma ** (2 - 2 / order),
        lower=xp.where(gamma >= 0, slow, fast),
        upper=xp.where(gamma >= 0, fast, slow),
        unbalancedness=eps,
        order=order,
    )


def _others(squares: Sequence[Array], xp: Any) -> list[Array]:
    """For each k the product of all squares but the k-th, without a division."""
    one = xp.ones_like(squares[0])
    before = list(accumulate(squares[:-1], mul, initial=one))
    after = list(accumulate(reversed(squares[1:]), mul, initial=one))[::-1]
    return [a * b for a, b in zip(before, after, strict=True)]
