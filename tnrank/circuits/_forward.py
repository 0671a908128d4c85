"""The output of a circuit for a batch of inputs, level by level.

Arrays are laid out ``(location, batch, channel)``: one matrix product a level, over all locations, and windows are
products of large contiguous blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import log as ln
from math import prod
from typing import TYPE_CHECKING, Any

from tnrank._backend import Backend, backend_of, common_backend, plain_array
from tnrank._typing import Array, Function
from tnrank.circuits import _layout
from tnrank.circuits._lookup import looked_up

if TYPE_CHECKING:
    from tnrank.circuits._circuit import Circuit
    from tnrank.circuits._layout import Level

# Up to this many factors of size 1 at most do not vanish, even in single precision, unless the channels of their
# locations have next to nothing in common.
_FEW = 4


def forward(circuit: Circuit, weights: Sequence[Array], features: Array, log: bool) -> Any:
    """See :meth:`tnrank.circuits.Circuit.forward`."""
    check_weights(circuit, weights)
    backend = backend_of(weights[0])
    weights, features = [backend.plain(w) for w in weights], plain_array(features)[0]
    indexed = _checked(circuit, weights, features, backend)
    weights = [_without_padding(circuit, k, w, backend) for k, w in enumerate(weights)]
    if not indexed and features.dtype != weights[0].dtype:
        features = backend.xp.astype(features, weights[0].dtype)
    if log and circuit.pooling != "product":
        raise ValueError(f"log=True keeps scales of products, got pooling={circuit.pooling!r}: use log=False")
    x: Any = None if indexed else backend.permute(features, (1, 0, 2))
    scale: Any = None
    for k, level in enumerate(circuit.levels):
        if k == 0 and indexed:
            x = _gathered(circuit, weights[0], features, backend)
        else:
            x = _convolved(circuit, k, weights[k], x, backend)
        if circuit.activation == "relu":
            x = backend.xp.where(x > 0, x, 0 * x)
        if log:
            x, scale = _pooled_with_scale(x, scale, circuit.grids[k], level, backend)
        else:
            x = pooled(x, circuit.grids[k], level.window, circuit.pooling, backend)
    x = x[0]
    if log:
        return _signed(circuit, weights, x, scale[0], backend)
    if not circuit.dense:
        return backend.xp.sum(x, axis=-1)
    x = x @ weights[-1]
    return x if circuit.classes > 1 else x[:, 0]


def check_weights(circuit: Circuit, weights: Sequence[Array]) -> None:
    """Raises:
    ValueError: if shapes are not those of the circuit.
    TypeError: if they belong to two backends, or are no arrays.
    """
    common_backend(weights)
    shapes = [tuple(w.shape) for w in weights]
    if shapes != list(circuit.shapes):
        wrong = next((k for k, (a, b) in enumerate(zip(shapes, circuit.shapes, strict=False)) if a != b), None)
        detail = (
            f"{len(shapes)} weights instead of {len(circuit.shapes)}"
            if wrong is None
            else f"weight {wrong} of shape {shapes[wrong]}, needed {circuit.shapes[wrong]}"
        )
        raise ValueError(f"got {detail}; circuit.shapes lists them, circuit.initial_weights() makes them")


def _without_padding(circuit: Circuit, k: int, weight: Array, backend: Backend) -> Array:
    """Zeros where matrices of different shapes are filled up, whatever is there."""
    sizes = circuit.padding[k]
    if sizes is None:
        return weight
    xp, device = backend.xp, _device(weight)
    for axis, counts in zip((1, 2), sizes, strict=True):
        places = xp.arange(weight.shape[axis], device=device)
        places = places[None, :, None] if axis == 1 else places[None, None, :]
        counts = xp.reshape(xp.asarray(counts, dtype=places.dtype, device=device), (-1, 1, 1))
        weight = xp.where(places < counts, weight, 0)
    return weight


def _checked(circuit: Circuit, weights: Sequence[Array], features: Array, backend: Backend) -> bool:
    """Whether the features are indices."""
    if backend_of(features) is not backend:
        raise TypeError(
            f"got features of {backend_of(features).name} and weights of {backend.name}: "
            f"tnrank.get_backend({backend.name!r}).asarray(features)"
        )
    shape, dtype = tuple(features.shape), backend.dtype_of(features)
    kinds = {backend.dtype_of(weights[0]).startswith("complex"), dtype.startswith("complex")}
    if True in kinds and (circuit.pooling == "max" or circuit.activation == "relu"):
        what = "max pooling" if circuit.pooling == "max" else "the activation 'relu'"
        raise TypeError(f"got complex numbers and {what}, which needs an order: use real weights and features")
    if kinds == {True, False} and dtype.startswith("complex"):
        raise TypeError(
            f"got features of dtype {dtype} and weights of dtype {backend.dtype_of(weights[0])}: give complex weights, "
            f"circuit.initial_weights(dtype={dtype!r})"
        )
    whole = not dtype.startswith(("float", "bfloat", "complex"))
    most = max(circuit.widths[0])
    if len(shape) == 2 and whole:
        if shape[1] != circuit.order:
            raise ValueError(
                f"got {shape[1]} patches, needed {circuit.order}, one a location of the grid "
                f"{_layout.crossed(circuit.grid)}"
            )
        return True
    if len(shape) != 3 or shape[1:] != (circuit.order, most):
        raise ValueError(
            f"got features of shape {shape}, needed (batch, {circuit.order}, {most}) values of the representation "
            f"functions, or whole numbers (batch, {circuit.order})"
        )
    if backend.dtype_of(weights[0]).startswith(("int", "uint", "bool")):
        raise TypeError(f"got weights of dtype {backend.dtype_of(weights[0])}: convert them to float64")
    if whole:
        raise TypeError(
            f"got features of dtype {dtype}, whose products overflow: convert them to "
            f"{backend.dtype_of(weights[0])}, or give whole numbers (batch, {circuit.order}) that name the functions"
        )
    return False


def _gathered(circuit: Circuit, filters: Array, features: Array, backend: Backend) -> Array:
    """The first convolution of one-hot features: rows of the filters."""
    level, sizes = circuit.levels[0], circuit.widths[0]
    fix = "they name representation functions, Circuit(.., features=) says how many there are"
    if level.locations is not None and len(level.locations) < circuit.order:
        # One-hot vectors, because some of them pass on as they are.
        table = backend.xp.eye(max(circuit.widths[0]), dtype=filters.dtype, device=_device(filters))
        return _convolved(circuit, 0, filters, looked_up(table, features, sizes, 1, backend, fix), backend)
    banks = 1 if level.shared else circuit.order
    table = backend.reshape(filters, (banks * filters.shape[-2], filters.shape[-1]))
    return looked_up(table, features, sizes, banks, backend, fix)


def _convolved(circuit: Circuit, k: int, filters: Array, x: Array, backend: Backend) -> Array:
    level = circuit.levels[k]
    if level.locations is None or len(level.locations) == x.shape[0]:
        if level.shared:
            count, batch, channels = x.shape
            flat = backend.reshape(x, (count * batch, channels)) @ filters
            return backend.reshape(flat, (count, batch, filters.shape[1]))
        return x @ filters
    rows, widths, xp = [], circuit.widths[k], backend.xp
    after = max(_layout.channels_at(level, n) for n in range(x.shape[0]))
    places = {n: j for j, n in enumerate(level.locations)}
    for n in range(x.shape[0]):
        row = x[n]
        row = row[:, : filters.shape[1]] @ filters[places[n]] if n in places else row[:, : widths[n]]
        missing = after - row.shape[1]
        rows.append(
            xp.concat([row, xp.zeros((row.shape[0], missing), dtype=row.dtype, device=_device(row))], axis=1)
            if missing > 0
            else row
        )
    return xp.stack(rows)


def pooled(x: Array, grid: Sequence[int], window: Sequence[int], pooling: str, backend: Backend) -> Array:
    """Windows of the grid pooled: ``(locations, batch, channels)`` to one row a window."""
    xp = backend.xp
    if pooling == "product":
        return _fold_windows(x, grid, window, lambda a, b: a * b, 1.0, backend, backend.pair_product)
    if pooling == "max":
        return _fold_windows(x, grid, window, xp.maximum, -float("inf"), backend)
    x = _fold_windows(x, grid, window, lambda a, b: a + b, 0.0, backend)
    if pooling == "average":
        sizes = [len(places) for places in _layout.windows_of(grid, window)]
        if len(set(sizes)) == 1:
            return x / sizes[0]
        return x / backend.reshape(backend.asarray(sizes, backend.dtype_of(x), backend.device_of(x)), (-1, 1, 1))
    return x


def _fold_windows(
    x: Array,
    grid: Sequence[int],
    window: Sequence[int],
    operation: Function,
    neutral: float,
    backend: Backend,
    of_pairs: Function | None = None,
) -> Array:
    rest = tuple(x.shape[1:])
    sides = list(grid)
    # One axis of the grid after another, the last one first.
    for axis in reversed(range(len(grid))):
        side, w = sides[axis], window[axis]
        if w == 1:
            continue
        count = -(-side // w)
        before, after = prod(sides[:axis]), prod(sides[axis + 1 :]) * prod(rest)
        if count * w > side:
            x = backend.reshape(x, (before, side, after))
            border = backend.xp.full((before, count * w - side, after), neutral, dtype=x.dtype, device=_device(x))
            x = backend.xp.concat([x, border], axis=1)
        # Three axes and no more: of arrays with four or five, PyTorch keeps the last but two as channels, and copies.
        x = _fold(backend.reshape(x, (before * count, w, after)), operation, of_pairs, backend)
        sides[axis] = count
    return backend.reshape(x, (prod(sides), *rest))


def _fold(x: Array, operation: Function, of_pairs: Function | None, backend: Backend) -> Array:
    """An associative operation along the middle one of three axes, by halves."""
    before, size, after = x.shape
    kept: list[Array] = []
    while size > 1:
        if size % 2:
            kept.append(x[:, size - 1])
            x, size = x[:, : size - 1], size - 1
        size //= 2
        halves = backend.reshape(x, (before, 2, size * after))
        x = of_pairs(halves) if of_pairs else operation(halves[:, 0], halves[:, 1])
        x = backend.reshape(x, (before, size, after))
    return reduce(operation, [backend.reshape(x, (before, after)), *kept])


def _pooled_with_scale(
    x: Array, scale: Array | None, grid: Sequence[int], level: Level, backend: Backend
) -> tuple[Array, Array]:
    """Numbers of size 1 and the logarithm of what they were divided by, pooled."""
    xp = backend.xp
    # The scale is a constant to derivatives: the output does not depend on it.
    sizes = backend.stop_gradient(abs(x))
    few = prod(level.window) <= _FEW
    if few:
        sizes = xp.max(sizes, axis=-1, keepdims=True)
    sizes = xp.where(sizes > 0, sizes, xp.ones_like(sizes))
    x, logs = x / sizes, xp.log(sizes)
    logs = logs if scale is None else logs + scale
    x = pooled(x, grid, level.window, "product", backend)
    logs = pooled(logs, grid, level.window, "sum", backend)
    if not few:
        # Channels that are zero have no say in the scale. They count for derivatives, and only there may be too large.
        zero = backend.stop_gradient(x) == 0
        top = xp.max(xp.where(zero, -float("inf"), logs), axis=-1, keepdims=True)
        top = xp.where(top > -float("inf"), top, xp.max(logs, axis=-1, keepdims=True))
        most = ln(float(xp.finfo(logs.dtype).max)) / 2
        x, logs = x * xp.exp(xp.clip(logs - top, None, most)), top
    return x, logs


def _signed(
    circuit: Circuit, weights: Sequence[Array], x: Array, scale: Array, backend: Backend
) -> tuple[Array, Array]:
    xp = backend.xp
    x = x @ weights[-1] if circuit.dense else xp.sum(x, axis=-1, keepdims=True)
    size = abs(x)
    none = backend.stop_gradient(size) == 0
    # The logarithm of 0 without its warning, and with derivatives 0 rather than NaN.
    size = xp.where(none, -float("inf"), xp.log(xp.where(none, xp.ones_like(size), size)) + scale)
    sign = xp.sign(backend.stop_gradient(x))
    return (sign, size) if circuit.classes > 1 else (sign[:, 0], size[:, 0])


def _device(x: Array) -> Any:
    device = getattr(x, "device", None)
    return None if callable(device) else device
