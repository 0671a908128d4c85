"""The core consistency of a CP factorization: whether its components leave room for interactions between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._backend import host_svd
from tnrank._explained import explained
from tnrank.factorizations import CPFactorization
from tnrank.factorizations._cp_fit._als import HostArray, balanced
from tnrank.ranks._input import read_tensor


@explained
def core_consistency(tensor: Any, x: CPFactorization) -> float:
    """The core consistency diagnostic (CORCONDIA) in percent: 100 at best, without a lower end.

    With G the core ``(R, .., R)`` of the least-squares Tucker fit on the factors of ``x``, and I the core of a CP
    factorization, ones on the superdiagonal: ``100 (1 - ||G - I||^2 / R)``. Near 100 the tensor is as good as
    multilinear in these components; far below, there are too many of them, or they cancel. The vectors of each
    component are first scaled to equal norms, because G depends on the scales. A single component that fits best gives
    100, the zero factorization 0.

    G is never formed: its norm comes from the singular values of the factors, mode by mode, and its superdiagonal from
    one contraction, in at most ``prod(d) R`` operations a mode.

    Args:
        tensor: array ``(d_1, .., d_N)`` of any backend, N >= 2, or a factorization.
        x: a CP factorization of that shape.

    Raises:
        TypeError: if ``x`` is no CP factorization.
        ValueError: if the shapes differ, or entries are not finite.

    Source: Bro & Kiers 2003, *A new efficient method for determining the number of components in PARAFAC models*;
        Papalexakis & Faloutsos 2015 (without the Kronecker product).

    Example:
        >>> import tnrank
        >>> x = tnrank.CPFactorization.random((4, 5, 6), rank=2, seed=0)
        >>> round(tnrank.ranks.core_consistency(x.to_dense(), x), 6)
        100.0
    """
    if not isinstance(x, CPFactorization):
        raise TypeError(
            f"got a {type(x).__name__}, needed a CPFactorization: CPFactorization.from_dense(tensor, rank=R) fits one"
        )
    found = read_tensor(tensor)
    if tuple(found.array.shape) != x.shape:
        raise ValueError(f"the tensor has shape {tuple(found.array.shape)} and x has {x.shape}: needed the same")
    factors = [np.asarray(x.backend.to_numpy(f)) for f in x.factors]
    if x.weights is not None:
        factors[0] = factors[0] * np.asarray(x.backend.to_numpy(x.weights))
    # Both over the same power of two, which the diagnostic does not depend on: squares of entries may be out of range.
    unit = 1.0 if found.unit is None else float(found.backend.to_numpy(found.unit))
    wide = [f.astype(np.promote_types(f.dtype, np.float64)) * unit ** (-1 / len(factors)) for f in factors]
    return consistency(np.asarray(found.backend.to_numpy(found.scaled()[0])), balanced(wide), factors[0].dtype)


def consistency(tensor: HostArray, factors: list[HostArray], dtype: Any) -> float:
    """The core consistency on the host, of factors with balanced components, whose rounding is that of ``dtype``."""
    core = tensor.astype(np.promote_types(tensor.dtype, np.float64))
    rank, right = int(factors[0].shape[1]), list[HostArray]()
    for mode, factor in enumerate(factors):
        u, s, vh = host_svd(factor.astype(np.promote_types(factor.dtype, np.float64)))
        kept = s > max(factor.shape) * np.finfo(dtype).eps * s[0]
        # The isometry on the right of the pseudoinverse changes no norm and is left out of the core.
        small = u[:, kept].conj().T / s[kept, None]
        core = np.moveaxis(np.tensordot(small, core, axes=(1, mode)), 0, mode)
        right.append(vh[kept].conj().T)
    diagonal = np.tensordot(core, right[0], axes=(0, 1))  # shape: (k_2, .., k_N, R)
    for isometry in right[1:]:
        diagonal = np.einsum("a...r,ra->...r", diagonal, isometry)
    squared = float(np.vdot(core, core).real) - 2 * float(diagonal.real.sum()) + rank
    return 100 * (1 - squared / rank)
