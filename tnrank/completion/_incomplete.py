"""An array with missing entries, as people give it: NaN, a mask, or NumPy's masked arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._backend import Backend, backend_of, host_array
from tnrank._check import shown

NDArray = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Incomplete:
    """An array of real numbers, checked, and which of its entries are missing.

    Attributes:
        array: ``(d_1, .., d_N)``, float64; what it holds where an entry is missing is not looked at.
        missing: booleans of the same shape.
        backend: that of the array that was given, ``None`` for lists and NumPy.
        device: as a backend takes it: ``None`` for its default one.
        fill: the given array with its missing entries taken from another one: of its own kind, dtype and device.
    """

    array: NDArray
    missing: NDArray
    backend: Backend | None
    device: Any
    fill: Callable[[NDArray], Any]

    @classmethod
    def of(cls, array: Any, mask: Any = None, name: str = "the array") -> Self:
        """Read an array and its mask.

        Args:
            array: of any backend, nested sequences, or a ``numpy.ma.MaskedArray``.
            mask: of its shape, true (or 1) where an entry is missing; ``None`` takes those that are masked, or NaN.
            name: of the array in messages.

        Raises:
            TypeError: for anything but real numbers, and for a mask that is neither of booleans nor of 0 and 1.
            ValueError: for an order below 2, a mask of another shape, nothing or all missing, or an observed entry
                that is not finite.

        Example:
            >>> from tnrank.completion import Incomplete
            >>> Incomplete.of([[1, 2], [3, float("nan")]]).missing
            array([[False, False],
                   [False,  True]])
        """
        hidden = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
        if hidden is not None and hidden.dtype != bool:
            raise TypeError(f"{name} has several fields in each entry ({array.dtype}): give one of them, array['name']")
        if hidden is not None and mask is not None and hidden.any():
            raise ValueError(
                f"{int(hidden.sum()):,} entries of {name} are masked, and mask is given, too: "
                "leave mask out, or give the numbers alone, array.data"
            )
        given = np.ma.getdata(array) if hidden is not None else array
        original = _numbers(given, name)
        values = original.astype(np.float64, copy=False)
        if mask is not None:
            missing = _mask(mask, values.shape, name)
        else:
            missing = hidden if hidden is not None and hidden.any() else np.isnan(values)
        _check(values, missing, name, mask is not None)
        kept = original if original.dtype.kind == "f" else values
        backend, device, back = _home(given)

        def fill(found: NDArray) -> Any:
            filled = kept.copy()
            filled[missing] = found[missing].astype(kept.dtype)
            return back(filled)

        return cls(values, missing, backend, device, fill)


def _home(given: Any) -> tuple[Backend | None, Any, Callable[[NDArray], Any]]:
    """The backend of an array (``None`` for NumPy's and lists), its device, and the way back to both."""
    if isinstance(given, np.ndarray) or not (hasattr(given, "shape") and hasattr(given, "dtype")):
        return None, None, lambda array: array
    try:
        backend = backend_of(given)
    except TypeError:  # what only makes an array, such as a table
        return None, None, lambda array: array
    dtype, device = backend.dtype_of(given), default_or_named_device(given)

    def back(array: NDArray) -> Any:
        if dtype.startswith(("float", "bfloat")):
            return backend.asarray(array, dtype, device)
        try:
            return backend.asarray(array, "float64", device)
        except ValueError:  # JAX keeps it behind a flag
            return backend.asarray(array, backend.default_dtype, device)

    return backend, device, back


def _numbers(given: Any, name: str) -> NDArray:
    """``given`` as real numbers on the host, in its own dtype.

    Raises:
        TypeError: if it is something else.
        ValueError: if it is of order 0 or 1, or empty.
    """
    if isinstance(given, (str, bytes)) or given is None:
        raise TypeError(
            f"{name} is an array of real numbers, got {shown(given)}: tnrank.data.read_array(path) reads a file"
        )
    # Tables make an array, and are none.
    table = hasattr(given, "__array__") and not hasattr(given, "dtype")
    found = _on_host(np.asarray(given) if table else given, name)
    if found.dtype.kind == "O":
        try:
            found = found.astype(np.float64)  # None becomes NaN
        except (TypeError, ValueError, OverflowError):
            raise TypeError(
                f"{name} is of real numbers, got objects that are none: write NaN where an entry is missing "
                "(of a pandas table: table.to_numpy(float, na_value=numpy.nan))"
            ) from None
    if found.dtype.kind == "c":
        raise TypeError(
            f"{name} holds complex numbers, and training is for real ones: fill in array.real and array.imag, "
            "each in a call of its own"
        )
    if found.dtype.kind not in "fiub":
        fix = ": array.astype(float), if it is numbers that are written there" if found.dtype.kind in "US" else ""
        raise TypeError(f"{name} is of real numbers, got dtype {found.dtype}{fix}")
    if found.ndim < 2:
        raise ValueError(
            f"{name} has shape {found.shape}: needed a matrix or a tensor, of order 2 or more; "
            "numpy.stack(vectors) makes one"
        )
    if not found.size:
        raise ValueError(f"{name} has shape {found.shape} and no entries: needed at least one along each mode")
    return found


def _on_host(given: Any, name: str) -> NDArray:
    """``given`` as a NumPy array; bfloat16, which NumPy does not have, as float32.

    Raises:
        TypeError: if it is neither an array nor nested sequences.
        ValueError: for sequences of unequal lengths.
    """
    if hasattr(given, "shape") and hasattr(given, "dtype") and "bfloat16" in str(given.dtype):
        given = backend_of(given).asarray(given, "float32")
    return host_array(given, f"the entries of {name}")


def _mask(mask: Any, shape: tuple[int, ...], name: str) -> NDArray:
    """Booleans, true where an entry is missing.

    Raises:
        TypeError: for a mask of anything but booleans, 0 and 1.
        ValueError: for another shape.
    """
    found = host_array(np.ma.getdata(mask) if isinstance(mask, np.ma.MaskedArray) else mask, "the entries of mask")
    if found.dtype.kind not in "biu":
        raise TypeError(
            f"mask is of booleans, true where an entry is missing, got dtype {found.dtype}: mask.astype(bool)"
        )
    if found.shape != shape:
        raise ValueError(
            f"mask has shape {found.shape}, needed {shape}, that of {name}: numpy.broadcast_to(mask, array.shape) "
            "if it says the same of all slices"
        )
    wrong = (found != 0) & (found != 1)
    if wrong.any():
        where = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise ValueError(
            f"mask has entries 0 and 1, and 1 where an entry is missing; it has {found[where]} at index {where}: "
            "mask != 0 makes booleans"
        )
    return found.astype(bool)


def _check(values: NDArray, missing: NDArray, name: str, masked: bool) -> None:
    if missing.all():
        raise ValueError(f"all {missing.size:,} entries of {name} are missing: needed some that are observed")
    wrong = ~np.isfinite(values) & ~missing
    if wrong.any():
        where = tuple(int(k) for k in np.argwhere(wrong)[0])
        fix = (
            "mark it, mask=mask | ~numpy.isfinite(array)"
            if masked
            else "write NaN there, numpy.where(numpy.isfinite(array), array, numpy.nan)"
        )
        if masked and not np.isfinite(values[~missing]).any():
            fix += "; or, if mask is true where an entry is observed, mask=~mask"
        raise ValueError(f"{name} has {values[where]} at index {where}, which is not marked as missing: {fix}")
    if not missing.any():
        if masked:
            raise ValueError(f"mask marks no entry of {name} as missing: it is true where one is")
        raise ValueError(
            f"no entry of {name} is NaN: write NaN where an entry is missing, or give mask=, true where one is"
        )
