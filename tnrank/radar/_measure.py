"""One weight of a model, measured as a matrix and as a tensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import plain_array
from tnrank.linalg import default_rtol, eps_of, matricize
from tnrank.radar._spectrum import Host, MatrixSpectrum, rank_within, spectrum_of
from tnrank.ranks import singular_values

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array

_HALF = ("float16", "bfloat16")
_NUMBERS = ("float32", "float64", "complex64", "complex128", *_HALF)


def read_weight(x: Any, name: str) -> tuple[Array, Backend, str]:
    """A weight in a dtype that has singular values, its backend, and the dtype as given.

    Raises:
        TypeError: if it is no dense array; the weight is named.
    """
    try:
        array, backend = plain_array(x)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the weight {name!r} cannot be measured: {error}") from None
    dtype = backend.dtype_of(array)
    if dtype in _HALF:
        array = backend.asarray(array, "float32")
    return backend.stop_gradient(array), backend, dtype


def is_measured(name: str, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether an array of a model is a weight with ranks: floating-point numbers, two axes or more, none empty.

    A bias is a vector whatever its shape is: those of convolutions in Equinox are (channels, 1, 1).
    """
    bias = name.rpartition(".")[2] == "bias"
    return len(shape) >= 2 and 0 not in shape and dtype in _NUMBERS and not bias


def sides_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a weight as a matrix: its first axis, and all others together."""
    return shape[0], math.prod(shape[1:])


def measure_matrix(matrix: Array, backend: Backend, dtype: str, rtol: float) -> MatrixSpectrum:
    """All singular values of a matrix by the route for its shape, and its ranks."""
    s = np.asarray(backend.to_numpy(singular_values(matrix)))
    return spectrum_of(s, tolerance_of(s, tuple(matrix.shape), dtype), rtol)


def tolerance_of(s: Host, sides: tuple[int, ...], dtype: str) -> float:
    """The share of the largest singular value up to which others are rounding.

    The usual max(sides) * eps would take everything for rounding in half precision. Entries that were rounded to it are
    off by at most eps / 2 of themselves, independently, and such a matrix has a spectral norm of about eps / 2 times
    the root mean square of the entries times the sum of the roots of the sides; twice that is the tolerance.
    """
    if dtype not in _HALF:
        return default_rtol(sides, dtype)
    if not s[0] > 0:
        return 0.0
    size = math.hypot(*s.astype(np.float64)) / float(s[0]) / math.sqrt(math.prod(sides))
    return eps_of(dtype) * size * sum(map(math.sqrt, sides))


def tensor_ranks(
    weight: Array, backend: Backend, dtype: str, rtol: float, first: Host
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The multilinear rank of a weight, and that of a Tucker tensor within ``rtol`` of it.

    A truncation in N modes adds up N squared errors, so that each mode gets the share rtol / sqrt(N). ``first`` has
    the singular values of the first mode, which are those of the weight as a matrix.
    """
    numerical, compressed = [], []
    for mode in range(len(weight.shape)):
        matrix = matricize(weight, (mode,))
        s = first if mode == 0 else np.asarray(backend.to_numpy(singular_values(matrix)))
        numerical.append(int((s > tolerance_of(s, tuple(matrix.shape), dtype) * s[0]).sum()))
        compressed.append(rank_within(s.astype(np.float64), rtol / math.sqrt(len(weight.shape))))
    return tuple(numerical), tuple(compressed)
