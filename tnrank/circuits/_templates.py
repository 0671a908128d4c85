"""Templates of a network's inputs, and the network as a function of which template stands at which location."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import common_backend, plain_array
from tnrank._check import shown, whole_number
from tnrank._typing import Array, Function
from tnrank.circuits._layout import MOST_LOCATIONS
from tnrank.factorizations._entries import checked_indices
from tnrank.linalg import eps_of

Host = np.ndarray[Any, Any]
_ELEMENTS = 2**20  # numbers in the inputs of one call, unless batch_size says otherwise
_LEAST = 64  # inputs in a call of a function that may be compiled anew for every batch size
_PROBES = 8
_SAME = 1e-2  # of the values: what rounding in batches of two sizes stays below, in single precision too


class Templates:
    """The templates of all locations, one after another in one array.

    Attributes:
        shape: ``(d_1, .., d_N)``, how many templates each location has.
        patch: shape of one template: ``(p,)``, or ``()`` for numbers.
    """

    def __init__(self, templates: Any, order: int | None) -> None:
        locations = _locations(templates, order)
        self.backend = common_backend(locations, lambda: [f"location {n}" for n in range(len(locations))])
        self.shape: tuple[int, ...] = tuple(int(t.shape[0]) for t in locations)
        self.patch: tuple[int, ...] = tuple(locations[0].shape[1:])
        for n, each in enumerate(locations):
            if not each.shape[0]:
                raise ValueError(f"location {n} has no templates (shape {tuple(each.shape)}): needed at least one")
            if tuple(each.shape[1:]) != self.patch:
                raise ValueError(
                    f"templates of location {n} have shape {tuple(each.shape[1:])} and those of location 0 have "
                    f"{self.patch}: all patches need the same shape"
                )
        distinct = {id(t): t for t in locations}
        starts = dict(zip(distinct, np.cumsum([0, *(int(t.shape[0]) for t in distinct.values())]), strict=False))
        self._offsets = np.array([starts[id(t)] for t in locations], np.int64)
        arrays = [self.backend.stop_gradient(t) for t in distinct.values()]
        self._all = arrays[0] if len(arrays) == 1 else self.backend.xp.concat(arrays, axis=0)
        self._device = self.backend.device_of(self._all)

    @property
    def order(self) -> int:
        """N, the number of locations."""
        return len(self.shape)

    def inputs(self, indices: Host) -> Array:
        """The inputs ``(batch, N, *patch)`` with the templates ``indices`` ``(batch, N)``."""
        rows = (indices.astype(np.int64) + self._offsets).reshape(-1)
        taken = self.backend.take(self._all, self.backend.asarray(rows, device=self._device), 0)
        return self.backend.reshape(taken, (*indices.shape, *self.patch))

    def checked(self, indices: Any) -> Host:
        """Multi-indices ``(K, N)`` of templates, as somebody gives them."""
        none = np.zeros((0, self.order), np.int64)
        return none if indices is None else checked_indices(indices, self.shape)

    def batch_size(self, given: int | None) -> int:
        """Inputs in one call of the network."""
        if given is not None:
            return whole_number(given, "batch_size", 1)
        return min(2**16, max(1, _ELEMENTS // (self.order * max(1, prod(self.patch)))))

    def probes(self) -> Host:
        """A few multi-indices that differ from one another."""
        count = min(_PROBES, max(self.shape))
        return np.arange(count)[:, None] % np.array(self.shape, np.int64)


class Values:
    """A network's checked outputs as NumPy arrays, by the multi-indices of its templates.

    ``classes`` is ``None`` for one number an input; ``dtype`` is the name of the outputs' own dtype. Both are known
    after the first call. ``count`` is the number of inputs evaluated.
    """

    def __init__(self, function: Function, templates: Templates, batch_size: int | None) -> None:
        if not callable(function):
            raise TypeError(
                f"got {type(function).__name__}, needed a function or a network that takes a batch of inputs"
            )
        self.function, self.templates = function, templates
        self.batch_size = templates.batch_size(batch_size)
        # Compilers specialize on the size of a batch: a few sizes, and not one for every call.
        self._padded = "jit" in templates.backend.capabilities
        self.classes: int | None = None
        self.dtype = ""
        self.count = 0

    def __call__(self, indices: Host) -> Host:
        """The outputs ``(batch,)`` or ``(batch, classes)``.

        Raises:
            TypeError: if the network does not return one number, or one a class, an input.
            ValueError: if an output is NaN or infinite; the index is named.
        """
        parts = [self._part(indices[k : k + self.batch_size]) for k in range(0, len(indices), self.batch_size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _part(self, indices: Host) -> Host:
        count = given = len(indices)
        if self._padded and count < self.batch_size:
            given = min(self.batch_size, max(_LEAST, 1 << (count - 1).bit_length()))
            indices = np.concatenate([indices, np.broadcast_to(indices[:1], (given - count, indices.shape[1]))])
        inputs = self.templates.inputs(indices)
        found, dtype = _host(self.function(inputs))
        good = found.dtype.kind in "biufc" and found.ndim in (1, 2) and len(found) == given and found.size
        if not good:
            raise TypeError(
                f"the network returned {_described(found)} for inputs of shape {tuple(inputs.shape)}: needed numbers "
                f"of shape ({given},), or ({given}, classes)"
            )
        if found.dtype.kind in "biu":
            found, dtype = found.astype(np.float64), "float64"
        found = found[:count, 0] if found.ndim == 2 and found.shape[1] == 1 else found[:count]
        classes = found.shape[1] if found.ndim == 2 else None
        if self.dtype and classes != self.classes:
            raise TypeError(f"the network returned {classes or 1} numbers an input, and {self.classes or 1} before")
        self.classes, self.dtype = classes, dtype
        self.count += count
        wrong = ~np.isfinite(found)
        if wrong.any():
            place = tuple(int(k) for k in np.argwhere(wrong)[0])
            where = f"class {place[1]} " if classes else ""
            raise ValueError(
                f"the network is {found[place]} {where}at the index {tuple(map(int, indices[place[0]]))} of templates: "
                "needed finite values; scale weights or templates where values leave the range of "
                f"{self.dtype}"
            )
        return found

    def check_repeats(self, first: Host, second: Host) -> None:
        """Refuse a network that gives two values for one input."""
        largest = float(abs(first).max(initial=0.0))
        difference = float(abs(second - first).max(initial=0.0))
        if difference > _SAME * largest:
            raise ValueError(
                f"the network gives two values for the same input, {difference:.2g} apart (values up to {largest:.2g})"
                ": dropout or batch normalization in training mode? Call model.eval() first"
            )

    @property
    def eps(self) -> float:
        """The rounding unit of the outputs."""
        return eps_of(self.dtype)


def _locations(templates: Any, order: int | None) -> list[Array]:
    if order is not None:
        order = whole_number(order, "order, the number of locations,", 1, MOST_LOCATIONS)
    if not (_is_array(templates) or isinstance(templates, Sequence)) or isinstance(templates, (str, bytes)):
        raise TypeError(f"templates are an array (M, p) or (M,) with order=N, or N arrays, got {shown(templates)}")
    if _is_array(templates) or (order is not None and not any(map(_is_array, templates))):
        shared = _numbers(templates, "templates")
        if order is None:
            raise ValueError(
                f"got one array of templates of shape {tuple(shared.shape)}: give order=N to use it at N locations, or "
                "a list of N arrays, one a location"
            )
        return [shared] * order
    if not templates:
        raise ValueError("got no templates: needed an array (M, p) with order=N, or one array a location")
    if order not in (None, len(templates)):
        raise ValueError(f"got {len(templates)} arrays of templates and order={order}: needed one array a location")
    known: dict[int, Array] = {}
    return [known.setdefault(id(t), _numbers(t, f"templates of location {n}")) for n, t in enumerate(templates)]


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype") and len(x.shape) > 0


def _numbers(x: Any, what: str) -> Array:
    if not _is_array(x):
        try:
            x = np.asarray(x)
        except ValueError:  # ragged
            x = np.empty(0, object)
        if x.ndim == 0 or x.dtype.kind not in "biufc":
            raise TypeError(f"{what} are an array (M, p) or (M,) of numbers, got {_described(x)}")
    x, backend = plain_array(x)
    if backend.name == "numpy" and x.dtype.kind not in "biufc":
        raise TypeError(f"{what} are an array (M, p) or (M,) of numbers, got {_described(x)}")
    return x


def _host(values: Any) -> tuple[Host, str]:
    """Outputs on the host, and the name of their own dtype."""
    if hasattr(values, "shape") and not isinstance(values, np.generic):
        values, backend = plain_array(values)
        return backend.to_numpy(values), backend.dtype_of(values)
    try:
        found = np.asarray(values)
    except ValueError:  # ragged
        found = np.empty(0, object)
    return found, str(found.dtype)


def _described(x: Host) -> str:
    return f"an array of shape {x.shape} and dtype {x.dtype}"
