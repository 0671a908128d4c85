"""The door of all factorizations: which arrays they take, and which dtype a result has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from tnrank._backend import Backend, backend_of, common_backend, plain_array
from tnrank._check import sequence, shown
from tnrank._typing import Array, Function
from tnrank.factorizations._whole import check_multiple, is_whole
from tnrank.linalg import eps_of

F = TypeVar("F", bound=Function)
_NUMBERS = ("float", "bfloat", "complex", "int", "uint", "bool")
_WIDE = ("float32", "float64", "complex64", "complex128")


def read_arrays(given: Any, what: str) -> list[Array]:
    """A sequence of arrays of numbers, of one backend.

    Raises:
        TypeError: for anything but a sequence of dense arrays of numbers of one backend.
        ValueError: if there are none, or entries are masked.
    """
    arrays = sequence(given, what, "arrays")
    if not arrays:
        raise ValueError(f"got no {what}, needed at least one")
    return checked_arrays(arrays, lambda: [f"{what}[{k}]" for k in range(len(arrays))])


def checked_arrays(arrays: Sequence[Array], names: Callable[[], Sequence[str]]) -> list[Array]:
    """The arrays without wrappers that change arithmetic; one array at two places stays one.

    Raises:
        TypeError: if one is not a dense array of numbers, or they are of two backends.
        ValueError: if entries are masked.
    """
    plain: dict[int, Array] = {}
    for place, array in enumerate(arrays):
        if id(array) in plain:
            continue
        try:
            plain[id(array)], backend = plain_array(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{names()[place]}: {error}") from None
        if not backend.dtype_of(array).startswith(_NUMBERS):
            raise TypeError(f"{names()[place]} is {shown(array)}, needed numbers: convert it, x.astype('float64')")
    common_backend(list(arrays), names)
    return [plain[id(array)] for array in arrays]


def converted(backend: Backend, arrays: Iterable[Array], dtype: Any) -> list[Array]:
    """The arrays in another dtype; one array at two places stays one."""
    given = list(arrays)
    made = {id(a): a if a.dtype == dtype else backend.xp.astype(a, dtype) for a in {id(a): a for a in given}.values()}
    return [made[id(a)] for a in given]


def measurable(dtype: str, backend: Backend) -> str:
    """The dtype in which arrays of ``dtype`` have norms and decompositions: integers as the default float, half
    precision in single precision."""
    if dtype in _WIDE:
        return dtype
    if is_whole(dtype):
        return backend.default_dtype
    return "float32" if dtype.startswith(("float", "bfloat")) and _bits(dtype) < 32 else dtype


def rounding_of(dtype: str) -> float:
    """The relative rounding error of numbers that are measured in a wider dtype; 0 for all others."""
    return eps_of(dtype) if dtype in ("float16", "bfloat16") else 0.0


def _bits(dtype: str) -> int:
    digits = "".join(c if c.isdigit() else " " for c in dtype).split()
    return int(digits[0]) if digits else 64


def measured(method: F) -> F:
    """Have a method measure integers as floating-point numbers, and half precision in single precision.

    Squares and products of small integers wrap around, and no framework decomposes either.
    """

    @wraps(method)
    def measure(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self._measurable(), *args, **kwargs)

    return measure  # type: ignore[return-value]  # the same signature


def kept_dtype(method: F) -> F:
    """The same for a method whose result has entries of the sizes given: half precision stays what it is."""

    @wraps(method)
    def measure(self: Any, *args: Any, **kwargs: Any) -> Any:
        moved = self._measurable()
        made = method(moved, *args, **kwargs)
        return made if is_whole(self.dtype) or moved is self else made.to(dtype=self.dtype)

    return measure  # type: ignore[return-value]  # the same signature


def is_number(value: Any) -> bool:
    """True for numbers of Python and NumPy and for arrays without axes."""
    if isinstance(value, (int, float, complex)):
        return True
    return tuple(getattr(value, "shape", (None,))) == () and hasattr(value, "dtype")


def is_zero(number: Any) -> bool:
    """True for a number that is known to be zero; a framework that traces the call knows none."""
    try:
        return bool(number == 0)
    except (TypeError, RuntimeError):
        return False


def scaled(array: Array, number: Any) -> Array:
    """``array * number`` in the dtype of the framework's promotion.

    Raises:
        OverflowError: if a whole number leaves the range of the dtype, where arrays would wrap around.
    """
    backend = backend_of(array)
    if is_whole(backend.dtype_of(array)) and isinstance(number, (int, np.integer)):
        check_multiple(array, int(number))
    return array * number


def in_one_dtype(backend: Backend, *groups: Mapping[Any, Array]) -> list[dict[Any, Array]]:
    """Mappings of arrays in the common dtype of all of them, one that has sums of products."""
    dtype = backend.xp.result_type(*(array for group in groups for array in group.values()))
    name = str(dtype).removeprefix("torch.")
    if (wide := measurable(name, backend)) != name:
        dtype = getattr(backend.xp, wide)
    return [dict(zip(group, converted(backend, group.values(), dtype), strict=True)) for group in groups]
