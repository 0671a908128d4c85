"""The door of all factorizations: which arrays they take, and which dtype a result has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from math import prod
from typing import Any, TypeVar

import numpy as np

from tnrank._backend import Backend, backend_of, common_backend, plain_array
from tnrank._check import sequence, shown
from tnrank._typing import Array, Function
from tnrank.linalg import eps_of

F = TypeVar("F", bound=Function)
_NUMBERS = ("float", "bfloat", "complex", "int", "uint", "bool")
_WHOLE = ("int", "uint", "bool")
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


def is_whole(dtype: str) -> bool:
    """True for integers and booleans."""
    return dtype.startswith(_WHOLE)


def measurable(dtype: str, backend: Backend) -> str:
    """The dtype in which arrays of ``dtype`` have norms and decompositions: integers as the default float, half
    precision in single precision."""
    if is_whole(dtype):
        return backend.default_dtype
    return "float32" if dtype not in _WIDE and dtype.startswith(("float", "bfloat")) and _bits(dtype) < 32 else dtype


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
        _check_range(backend.dtype_of(array), extremes(array), int(number))
    return array * number


def check_product(a: Array, b: Array) -> None:
    """Refuse integer arrays whose entries may have products beyond the range of their dtype.

    Raises:
        OverflowError: if they have.
    """
    dtype = backend_of(a).dtype_of(a)
    if is_whole(dtype) and dtype != "bool":
        pairs = extremes(a), extremes(b)
        if pairs[0] and pairs[1]:
            check_whole_result(dtype, max(abs(x * y) for x in pairs[0] for y in pairs[1]), "products of entries")


def in_one_dtype(backend: Backend, *groups: Mapping[Any, Array]) -> list[dict[Any, Array]]:
    """Mappings of arrays in the common dtype of all of them, one that has sums of products."""
    dtype = backend.xp.result_type(*(array for group in groups for array in group.values()))
    name = str(dtype).removeprefix("torch.")
    if (wide := measurable(name, backend)) != name:
        dtype = getattr(backend.xp, wide)
    return [dict(zip(group, converted(backend, group.values(), dtype), strict=True)) for group in groups]


def extremes(array: Array) -> tuple[int, int] | None:
    """The least and the largest entry of an integer array; ``None`` where a framework traces the call."""
    if not prod(array.shape):
        return 0, 0
    try:
        host = np.asarray(backend_of(array).to_numpy(array))
        return int(host.min()), int(host.max())
    except (TypeError, RuntimeError):
        return None


def largest_whole(dtype: str) -> int:
    """The largest number of an integer dtype."""
    return int(np.iinfo(dtype).max)


def check_whole_result(dtype: str, largest: int | float, what: str) -> None:
    """Refuse what an integer dtype cannot hold.

    Raises:
        OverflowError: if ``largest`` is beyond its range.
    """
    if largest > largest_whole(dtype):
        raise OverflowError(
            f"{what} may be as large as {largest:.4g}, beyond the range of {dtype}, in which integers wrap around: "
            "use x.to(dtype='float64')"
        )


def _check_range(dtype: str, found: tuple[int, int] | None, number: int) -> None:
    if found is None or dtype == "bool":
        return
    low, high = sorted((found[0] * number, found[1] * number))
    limits = np.iinfo(dtype)
    if low < limits.min or high > limits.max:
        raise OverflowError(
            f"{number} times entries from {found[0]} to {found[1]} leaves the range of {dtype}, in which integers wrap "
            "around: use x.to(dtype='float64') first"
        )
