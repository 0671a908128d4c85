"""Generalized tensor products: grid tensors of circuits with other pooling and activation, node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import Backend, backend_of, common_backend
from tnrank._check import shown
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.circuits import _layout
from tnrank.circuits._forward import check_weights
from tnrank.circuits._memory import check_size

if TYPE_CHECKING:
    from tnrank.circuits._circuit import Circuit

Operator = Callable[[Any, Any], Any]
_NAMES = ("product", "max", "sum", "relu_product", "relu_max", "relu_sum")


@explained
def generalized_product(a: Array, b: Array, g: str | Operator = "product") -> Array:
    """The generalized tensor product: ``g(a[i_1, ..], b[j_1, ..])`` for all indices of both.

    Args:
        a: shape ``(i_1, ..)``, of any order.
        b: shape ``(j_1, ..)``, of any order.
        g: a function of two arrays that broadcasts, or the name of one: ``"product"`` (the outer product), ``"max"``,
            ``"sum"``; ``"relu_product"``, ``"relu_max"`` (the largest of both and 0) and ``"relu_sum"`` take the
            positive parts first, as pooling after a ReLU does. All of these are associative and commutative.

    Returns:
        Shape ``(i_1, .., j_1, ..)``.

    Raises:
        TypeError: if ``a`` or ``b`` is no array.
        ValueError: if ``g`` has another name, or returns another shape than that of both arguments broadcast.

    Source: Cohen & Shashua 2016, *Convolutional Rectifier Networks as Generalized Tensor Decompositions*.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import generalized_product
        >>> generalized_product(np.array([-2.0, 1.0]), np.array([-1.0, 3.0]), "relu_max")
        array([[0., 3.],
               [1., 3.]])
    """
    # What NumPy makes of arrays of order 0 are scalars.
    a, b = (np.asarray(x) if isinstance(x, np.generic) else x for x in (a, b))
    backend = common_backend([a, b], lambda: ("a", "b"))
    a, b = backend.plain(a), backend.plain(b)
    shape = (*a.shape, *b.shape)
    a = backend.reshape(a, (*a.shape, *([1] * len(b.shape))))
    found = _operator(g, backend)(a, b)
    if tuple(getattr(found, "shape", ())) != shape:
        raise ValueError(
            f"g gave shape {tuple(getattr(found, 'shape', ()))} for arguments of shapes {tuple(a.shape)} and "
            f"{tuple(b.shape)}: needed {shape}, one number for every pair"
        )
    return np.asarray(found) if isinstance(found, np.generic) else found


@explained
def generalized_tensor(
    circuit: Circuit,
    weights: Sequence[Array],
    template_features: Any = None,
    *,
    memory_limit: int | str | None = None,
) -> Array:
    """The grid tensor of a circuit by its generalized tensor decomposition, node by node.

    Channels of a location are tensors over the templates of its patches. A pooling window joins those of its locations
    by the generalized product that belongs to pooling and activation; a convolution takes linear combinations. No
    input is evaluated. Average pooling joins by sums, divided by the number of locations in each window: that is no
    function of two arguments where windows are ragged.

    Args:
        circuit: of any pooling and activation.
        weights: arrays of the shapes of ``circuit.shapes``.
        template_features: ``(M, features)``, the representation functions of M templates; or N of them, one a
            location. ``None`` is one template a function, the identity: with product pooling that is the coefficient
            tensor, ``circuit.to_factorization(weights).to_dense()``.
        memory_limit: as for :func:`grid_tensor`.

    Returns:
        Shape ``(M_1, .., M_N)``, or ``(M_1, .., M_N, classes)``.

    Raises:
        ValueError: if shapes do not fit the circuit, or the tensor is over ``memory_limit``.

    Source: Cohen & Shashua 2016, *Convolutional Rectifier Networks as Generalized Tensor Decompositions*.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import Circuit, generalized_tensor
        >>> circuit = Circuit.deep(4, features=2, channels=3, pooling="max", activation="relu")
        >>> weights = circuit.initial_weights(seed=0)
        >>> tensor = generalized_tensor(circuit, weights)
        >>> bool(np.isclose(tensor[0, 1, 1, 0], circuit.forward(weights, np.array([[0, 1, 1, 0]]))[0]))
        True
    """
    check_weights(circuit, weights)
    backend = backend_of(weights[0])
    weights = [backend.plain(w) for w in weights]
    tensors = _features(circuit, weights[0], template_features, backend)
    shape = tuple(int(t.shape[0]) for t in tensors)
    _check_memory(circuit, shape, backend.dtype_of(weights[0]), memory_limit)
    join = _operator(circuit.pooling if circuit.pooling != "average" else "sum", backend)
    modes: list[tuple[int, ...]] = [(n,) for n in range(circuit.order)]
    for k, level in enumerate(circuit.levels):
        tensors = [_activated(circuit, a, backend) for a in _convolved(circuit, k, weights[k], tensors)]
        pooled, joined = [], []
        for window in _layout.windows_of(circuit.grids[k], level.window):
            made = tensors[window[0]]
            for n in window[1:]:
                # Channels stay, the indices of the templates multiply.
                made = join(made[:, None, :], tensors[n][None, :, :])
                made = backend.reshape(made, (-1, made.shape[-1]))
            pooled.append(made / len(window) if circuit.pooling == "average" else made)
            joined.append(tuple(mode for n in window for mode in modes[n]))
        tensors, modes = pooled, joined
    found = tensors[0] @ weights[-1] if circuit.dense else backend.xp.sum(tensors[0], axis=-1, keepdims=True)
    order = modes[0]
    found = backend.reshape(found, (*(shape[mode] for mode in order), found.shape[-1]))
    places = {mode: axis for axis, mode in enumerate(order)}
    found = backend.permute(found, (*(places[mode] for mode in range(len(order))), len(order)))
    return found if circuit.dense and circuit.classes > 1 else found[..., 0]


def _operator(g: str | Operator, backend: Backend) -> Operator:
    if callable(g):
        return g
    if g not in _NAMES:
        raise ValueError(f"g is a function of two arrays or one of {', '.join(_NAMES)}, got {shown(g)}")
    name = g.removeprefix("relu_")
    plain: Operator = {
        "product": lambda a, b: a * b,
        "max": backend.xp.maximum,
        "sum": lambda a, b: a + b,
    }[name]
    return plain if name == g else lambda a, b: plain(_relu(a, backend), _relu(b, backend))


def _relu(x: Array, backend: Backend) -> Array:
    return backend.xp.where(x <= 0, backend.xp.zeros_like(x), x)


def _activated(circuit: Circuit, x: Array, backend: Backend) -> Array:
    return _relu(x, backend) if circuit.activation == "relu" else x


def _features(circuit: Circuit, like: Array, given: Any, backend: Backend) -> list[Array]:
    """One matrix of templates by features a location."""
    dtype, device = backend.dtype_of(like), backend.device_of(like)
    count, most = circuit.order, max(circuit.widths[0])
    if given is None:
        return [backend.asarray(np.eye(size), dtype, device) for size in circuit.widths[0]]
    found = list(given) if isinstance(given, (list, tuple)) else [given] * count
    if len(found) != count:
        raise ValueError(f"got template features for {len(found)} locations: the circuit has {count}")
    for n, each in enumerate(found):
        backend_of(each)
        shape = tuple(getattr(each, "shape", ()))
        if len(shape) != 2 or shape[1] != most or not shape[0]:
            raise ValueError(
                f"template features of location {n} have shape {shape}: needed (M, {most}), a row a template; "
                "circuit.represent(arrays, templates) computes them"
            )
    return [backend.asarray(each, dtype, device)[:, :size] for each, size in zip(found, circuit.widths[0], strict=True)]


def _convolved(circuit: Circuit, k: int, filters: Array, tensors: Sequence[Array]) -> list[Array]:
    level = circuit.levels[k]
    where = range(len(tensors)) if level.locations is None else level.locations
    places = {n: place for place, n in enumerate(where)}
    made = []
    for n, tensor in enumerate(tensors):
        if n in places:
            # Filters are padded where locations differ in channels.
            rows, columns = circuit.widths[k][n], _layout.channels_at(level, n)
            bank = filters if level.shared else filters[places[n]]
            tensor = tensor[:, :rows] @ bank[:rows, :columns]
        made.append(tensor)
    return made


def _check_memory(circuit: Circuit, shape: tuple[int, ...], dtype: str, memory_limit: int | str | None) -> None:
    largest = max(circuit.widths[-1][0], circuit.classes)
    fix = (
        "measure it by network_ranks(lambda x: circuit.forward(weights, x), templates), which forms no grid tensor, "
        "give fewer templates, or raise memory_limit="
    )
    what = f"the grid tensor for {largest} channels" if largest > 1 else "the grid tensor"
    check_size((*shape, largest), dtype, memory_limit, what, fix)
