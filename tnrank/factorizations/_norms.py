"""The norm of a factorization whose arrays, or products of them, are near the ends of the range of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tnrank._scale import is_safe, nonzero, norm, not_finite, on_host, over, peak, quiet, root, times_power, unit_of
from tnrank._typing import Array


def check_numbers(log_norm: Array, terms: Sequence[Any]) -> None:
    """Refuse factorizations of which the logarithm of the norm is no number.

    Raises:
        ValueError: with the array that has an entry which is not finite, and the index of the first.
    """
    backend = terms[0].backend
    host = on_host(log_norm, backend)
    if host is None or not np.isnan(host):
        return
    for term in terms:
        check_finite(term)
    raise ValueError(
        f"products of the arrays of the {type(terms[0]).__name__} leave the range of {terms[0].dtype}: divide each by "
        "a number of its size first, or use float64"
    )


def check_finite(x: Any) -> None:
    """Refuse a factorization with an entry that is NaN or infinite.

    Raises:
        ValueError: with the name of the array, and the index of the first.
    """
    for name, array in x.arrays.items():
        host = on_host(x.backend.xp.all(x.backend.xp.isfinite(array)), x.backend)
        if host is not None and not host:
            where = f"of the array {name!r} of the {type(x).__name__} "
            raise not_finite(array, x.backend, where, "replace them first, by x.replace({name: array})")


def norm_in_range(x: Any) -> Array:
    """The norm of a factorization or a sum of some, from its arrays as they are or, if need be, divided by powers of 2.

    While a framework traces the call no value says whether that is needed, and it is done.
    """
    with quiet(x.backend):
        if on_host(_smallest(x), x.backend) is not None:
            found = _plain(x)
            host = on_host(found, x.backend)
            if host is not None and host > 0 and is_safe(found, x.backend):
                return found
        moderate, exponent = _moderate(x)
        return times_power(_plain(moderate), exponent, x.backend)


def end_in_range(x: Any) -> tuple[Array, Array | None, bool]:
    """The end tensor, over ``2^exponent`` where products of the arrays leave the range (``None`` is 0), and whether its
    entries are known to be of moderate size."""
    with quiet(x.backend):
        end = x.to_dense()
        largest = peak(end, x.backend)
        host = on_host(largest, x.backend)
        if host is None or (host > 0 and is_safe(largest, x.backend)):
            return end, None, host is not None
        moderate, exponent = _moderate(x)
        return moderate.to_dense(), exponent, False


def _plain(x: Any) -> Array:
    if prod(x.shape) <= max(4096, 4 * x.parameter_count):
        return norm(x.to_dense(), x.backend)
    squared, xp = x.inner(x), x.backend.xp
    return root(xp.real(squared) if xp.isdtype(squared.dtype, "complex floating") else squared, x.backend)


def _smallest(x: Any) -> Array:
    arrays = [array for term in getattr(x, "terms", (x,)) for array in term._values]
    found = arrays[0]
    for array in arrays:  # written out for compilers that read Python
        found = array if prod(array.shape) < prod(found.shape) else found
    return found


def _moderate(x: Any) -> tuple[Any, Array]:
    """``x`` over a power of two, with arrays of moderate size, and the exponent."""
    if not hasattr(x, "terms"):
        return _moderate_term(x)
    xp, made = x.backend.xp, [_moderate_term(term) for term in x.terms]
    most = made[0][1]
    for _, exponent in made[1:]:
        most = xp.maximum(most, exponent)
    terms = []
    for term, exponent in made:
        first, *others = term._values
        terms.append(term._with([first * 2.0 ** (exponent - most), *others]))
    return type(x)(terms, x.weights), most


def _moderate_term(x: Any) -> tuple[Any, Array]:
    backend, output = x.backend, x.network.output
    xp, exponent, left, arrays = backend.xp, 0.0, 1.0, []
    sizes = x._sizes
    for array, labels in zip(x._values, x.network.tensors.values(), strict=True):
        # About what the array multiplies norms by; what its power of two leaves goes to the next, so that the norm of
        # many arrays stays in range.
        columns = prod([sizes[label] for label in dict.fromkeys(labels) if label not in output])
        size = backend.stop_gradient(norm(array, backend)) / columns**0.5
        unit = unit_of(size, backend)
        size = left * (size / unit)
        more = unit_of(size, backend)
        arrays.append(over(array, unit, backend) / more)
        exponent, left = exponent + xp.round(xp.log2(unit)) + xp.round(xp.log2(more)), nonzero(size / more, backend)
    return x._with(arrays), exponent
