"""What the rank functions accept: dense arrays of any backend, and factorizations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._backend import backend_of, plain_array
from tnrank._scale import moderate, not_finite, on_host
from tnrank.dimension_tree import DimensionTree

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array, Shape

DENSE_LIMIT = 2**28
"""The most elements that a factorization is turned into (2 GiB in float64)."""

_NATIVE = ("float32", "float64", "complex64", "complex128")
_SHORT = ("float16", "bfloat16")


class Dense(NamedTuple):
    """A checked array to measure: its values in a dtype that has a singular value decomposition."""

    array: Array
    backend: Backend
    dtype: str
    """The dtype as given, whose rounding sets tolerances; integers count as the default float."""
    given: str
    """What was given, in words."""
    tree: DimensionTree | None
    """The factorization's own dimension tree."""
    unit: Array | None = None
    """A power of two, for each matrix of a stack ``(.., 1, 1)``, to divide by; ``None`` is 1. NaN in place of entries
    that are not finite, which only a traced call can have."""
    moderate: Array | None = None
    """``array / unit``, whose squares are numbers; ``None`` where that is ``array``."""
    valid: Array | None = None
    """1 or NaN to multiply results by; ``None`` is 1."""

    def scaled(self) -> tuple[Array, Array | None]:
        """The array over its unit, and what to multiply results by."""
        return self.array if self.moderate is None else self.moderate, self.valid

    def tolerance(self, rtol: float) -> Any:
        """What ``rtol`` is for entries rounded as these are, a number or one a matrix ``(.., 1)``.

        The smallest numbers are rounded to whole multiples of the least, below ``smallest_normal`` to more than eps.
        """
        host = None if self.unit is None else on_host(self.unit, self.backend)
        if host is None:
            return rtol
        coarser = np.finfo(host.dtype).smallest_normal / host
        if not (coarser > 1).any():
            return rtol
        found = np.where(coarser > 1, np.minimum(rtol * np.maximum(coarser, 1.0), max(0.5, rtol)), rtol)
        return self.backend.asarray(found[..., 0].astype(host.dtype)) if found.ndim else float(found)


def _read(x: Any) -> Dense:
    """An array, or a factorization made dense.

    Raises:
        TypeError: if it is neither, or has no numbers in it.
        ValueError: if entries are masked, NaN or infinite, or a factorization is too large to be made dense.
    """
    tree, given = None, "array"
    if _is_factorization(x):
        tree, given = getattr(x, "tree", None), type(x).__name__
        x = _to_dense(x)
    x, backend = plain_array(x)
    dtype = backend.dtype_of(x)
    if dtype.startswith(("int", "uint", "bool")):
        x, dtype = backend.asarray(x, dtype=backend.default_dtype), backend.default_dtype
    elif dtype in _SHORT:
        x = backend.xp.astype(x, backend.xp.float32)
    elif dtype not in _NATIVE:
        numbers = ", ".join((*_NATIVE, *_SHORT))
        raise TypeError(
            f"got an array of dtype {dtype}, needed numbers ({numbers}, or integers): convert it, for "
            "example x.astype('float64')"
        )
    return Dense(x, backend, dtype, given, tree if isinstance(tree, DimensionTree) else None)


def read_tensor(x: Any) -> Dense:
    """A tensor of order at least 2 without empty modes."""
    found = _read(x)
    shape = tuple(found.array.shape)
    _check_order(shape)
    check_sides(shape, found.given)
    return _moderate(found, None)


def read_matrix(x: Any) -> Dense:
    """A matrix or a stack of matrices ``(.., m, n)`` without empty sides; of an operator, its matrix."""
    found = _read(x)
    if found.given != "array" and hasattr(x, "matrix_shape"):
        found = found._replace(array=found.backend.reshape(found.array, x.matrix_shape))
    shape = tuple(found.array.shape)
    if len(shape) < 2:
        raise ValueError(f"got an array of shape {shape}, needed a matrix (m, n) or a stack of matrices (.., m, n)")
    if found.given != "array" and len(shape) != 2:
        raise ValueError(
            f"got a {found.given} of order {len(shape)}, needed a matrix: use hierarchical_singular_values, "
            "multilinear_rank or separation_rank, or take x.to_dense() for a stack of matrices"
        )
    for axis in (-2, -1):
        if shape[axis] == 0:
            raise ValueError(f"a matrix of shape {shape[-2:]} is empty: axis {len(shape) + axis} has size 0")
    return found if 0 in shape else _moderate(found, (-2, -1))


def read_tree(tree: Any, shape: Shape, own: DimensionTree | None = None) -> DimensionTree:
    """The given tree, or the factorization's own, or the balanced one; fitting the tensor.

    A tensor may have one axis more than the factorization's own tree has modes: the classes at its root.

    Raises:
        ValueError: if the tree has other modes than the tensor; the node and the mode are named.
    """
    order = len(shape)
    fits = own is not None and own.order in (order, order - 1)
    if tree is None:
        return own if own is not None and fits else DimensionTree.balanced(order)
    wanted = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
    if wanted.order == order or (fits and wanted == own):
        return wanted
    fix = f"use DimensionTree.balanced({order}) or another tree over the modes 0 .. {order - 1}"
    what = f"the tree has {wanted.order} modes, the tensor of shape {listed(shape)} has {order}"
    if wanted.order > order:
        raise ValueError(f"{what}: its node {{{order}}} names mode {order}; {fix}")
    root = str(wanted.root) if wanted.order <= 8 else "{0,..," + str(wanted.order - 1) + "}"
    raise ValueError(f"{what}: mode {wanted.order} is missing from its root {root}; {fix}")


def read_factorization(x: Any, shape: Shape) -> Any:
    """A factorization or a sum of some whose arrays are checked and have a dtype with a QR decomposition.

    Raises:
        ValueError: if it has order 0 or 1 or an empty mode, or arrays have NaN or infinite entries; the array is named.
    """
    _check_order(shape)
    check_sides(shape, type(x).__name__)
    dtype = x.dtype
    if dtype.startswith(("int", "uint", "bool")):
        x = x.to(dtype=x.backend.default_dtype)
    elif dtype in _SHORT:
        x = x.to(dtype="float32")
    for term in getattr(x, "terms", (x,)):
        for name, array in term.arrays.items():
            _check_finite(array, term.backend, f"of the array {name!r} of the {type(term).__name__} ")
    return x


def is_factorization(x: Any) -> bool:
    """Whether ``x`` is measured in its format, where that is cheaper than making it dense."""
    from tnrank.factorizations import Factorization, FactorizationSum

    return isinstance(x, (Factorization, FactorizationSum))


def _is_factorization(x: Any) -> bool:
    if not (hasattr(x, "to_dense") and hasattr(x, "shape")):
        return False
    try:
        backend_of(x)  # torch tensors have a to_dense of their own
    except TypeError:
        return True
    return False


def _to_dense(x: Any) -> Array:
    shape: Shape = tuple(int(size) for size in x.shape)
    check_sides(shape, type(x).__name__)
    if math.prod(shape) > DENSE_LIMIT:
        raise ValueError(
            f"a {type(x).__name__} of {size_of(shape)} is measured as a dense tensor here, up to {DENSE_LIMIT} "
            "entries: contract modes first, or measure a slice"
        )
    return x.to_dense()


def size_of(shape: Shape) -> str:
    """Order, shape and the number of entries, in words."""
    digits = sum(math.log10(d) for d in shape)
    return f"order {len(shape)} and shape {listed(shape)} with 10^{digits:.1f} entries"


def listed(shape: Shape) -> str:
    """A shape, shortened where it is long."""
    return str(tuple(shape)) if len(shape) <= 8 else f"({', '.join(map(str, shape[:3]))}, .., {shape[-1]})"


def _check_order(shape: Shape) -> None:
    if len(shape) < 2:
        kind = "a vector" if shape else "a number"
        raise ValueError(f"got {kind} (shape {shape}), needed a tensor of order 2 or more: it has no matricization")


def check_sides(shape: Shape, given: str) -> None:
    """Refuse a tensor with an empty mode."""
    for mode, size in enumerate(shape):
        if size == 0:
            raise ValueError(
                f"mode {mode} of the {given} of shape {listed(shape)} is empty: node {{{mode}}} has no rows"
            )


_FIX = "ranks need every entry; fill in missing ones first, for example by tnrank.fill_missing"


def _moderate(found: Dense, axes: tuple[int, ...] | None) -> Dense:
    """With what the tensor, or each matrix of a stack, is divided by where that is needed.

    Raises:
        ValueError: if an entry is not finite.
    """
    array, unit, valid = moderate(found.array, found.backend, axes)
    if unit is None:
        return found
    host = on_host(unit, found.backend)
    if host is not None and np.isnan(host).any():
        raise not_finite(found.array, found.backend, "", _FIX)
    return found._replace(unit=unit, moderate=array, valid=valid)


def _check_finite(x: Array, backend: Backend, where: str) -> None:
    good = on_host(backend.xp.all(backend.xp.isfinite(x)), backend)
    if good is not None and not good:
        raise not_finite(x, backend, where, _FIX)
