"""The singular-value law of deep matrix factorization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._backend import Backend
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations._entries import checked_indices
from tnrank.theory._source import check_index, read

if TYPE_CHECKING:
    from tnrank.factorizations import MatrixFactorization


@dataclass(frozen=True)
class SingularValueRates:
    """Growth of the singular values of an end matrix, each of shape ``(min(m, n),)``, per unit of effective time.

    Attributes:
        singular_values: sigma_r, descending.
        projection: gamma_r = <-grad L, u_r v_r^T>.
        balanced: L sigma_r^(2 - 2/L) gamma_r, which is ``exact`` where the layers are balanced.
        exact: d sigma_r / dt for any layers.
        depth: L.
    """

    singular_values: Array
    projection: Array
    balanced: Array
    exact: Array
    depth: int


@explained
def singular_value_rate(x: MatrixFactorization, gradient: Any) -> SingularValueRates:
    """d sigma_r / dt of the singular values of the end matrix of depth L: balanced, L sigma^(2-2/L) <-grad L, u v^T>.

    The exact rate is u_r^T (dW/dt) v_r with dW/dt the sum over the layers of -A A^T (grad L) B^T B, where A and B are
    the products of the layers before and after. Values that coincide have no derivative of their own.

    Args:
        x: the factorization, end matrix ``(m, n)``.
        gradient: of the loss with respect to the end matrix, ``(m, n)``, or ``(indices (M, 2), values (M,))``.

    Raises:
        ValueError: if the gradient does not fit, or two layers are the same array.
        TypeError: if ``x`` is not a matrix factorization, or not real.

    Source: Arora et al. 2019, Theorem 3; Razin & Cohen 2020, Sec. 2.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.theory import singular_value_rate
        >>> x = tnrank.MatrixFactorization([np.diag([2.0, 1.0]), np.diag([2.0, 1.0])])
        >>> singular_value_rate(x, -np.eye(2)).balanced
        array([8., 2.])
    """
    layers = getattr(x, "layers", None)
    if layers is None:
        raise TypeError(f"got a {type(x).__name__}, needed a MatrixFactorization; for others use predicted_rate")
    source, _ = read("singular_value_rate", (), (x,), {})
    backend, depth = source.backend, len(layers)
    for label in source.network.indices:
        check_index(source, label)
    u, s, vh = backend.svd(x.to_dense())
    v = vh.mT
    pair = _pairing(backend, x.shape, gradient, layers[0])
    gamma = -pair(u, v)
    # rows[j] = A_j^T u_r for the product A_j of the layers before layer j, and columns[j] likewise from the right.
    rows, columns = [u], [v]
    for layer in layers[:-1]:
        rows.append(layer.mT @ rows[-1])
    for layer in reversed(layers[1:]):
        columns.append(layer @ columns[-1])
    columns.reverse()
    total = backend.xp.zeros_like(s)
    for j in range(depth):
        left, right = rows[j], columns[j]
        for layer in reversed(layers[:j]):
            left = layer @ left
        for layer in layers[j + 1 :]:
            right = layer.mT @ right
        total = total - pair(left, right)
    return SingularValueRates(s, gamma, depth * s ** (2 - 2 / depth) * gamma, total, depth)


def _pairing(backend: Backend, shape: tuple[int, ...], gradient: Any, like: Array) -> Any:
    """The function ``(P, Q) -> <gradient, p_r q_r^T>`` for the columns of P and Q."""
    if isinstance(gradient, (tuple, list)):
        if len(gradient) != 2:
            raise ValueError(f"a sparse gradient is a pair (indices (M, 2), values (M,)), got {len(gradient)} items")
        indices, values = checked_indices(gradient[0], shape), gradient[1]
        if not hasattr(values, "shape") or tuple(values.shape) != (len(indices),):
            raise ValueError(
                f"a sparse gradient has one value an entry, shape ({len(indices)},), got "
                f"{getattr(values, 'shape', values)!r}"
            )
        device = default_or_named_device(like)
        at = [backend.asarray(np.ascontiguousarray(indices[:, k]), device=device) for k in (0, 1)]
        column = backend.reshape(values, (-1, 1))

        def sparse(p: Array, q: Array) -> Array:
            found = column * backend.take(p, at[0], 0) * backend.take(q, at[1], 0)
            return backend.xp.sum(found, axis=0)

        return sparse
    if not hasattr(gradient, "shape") or tuple(gradient.shape) != shape:
        got = f"shape {tuple(gradient.shape)}" if hasattr(gradient, "shape") else f"a {type(gradient).__name__}"
        raise ValueError(f"the gradient has the shape {shape} of the end matrix, or is (indices, values); got {got}")
    return lambda p, q: backend.xp.sum(p * (gradient @ q), axis=0)
