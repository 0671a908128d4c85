"""The ranks of every weight of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from tnrank._check import instance, real_number, shown
from tnrank._explained import explained
from tnrank.radar._files import StoredWeights
from tnrank.radar._measure import is_measured, measure_matrix, read_weight, sides_of, tensor_ranks
from tnrank.radar._report import LayerRanks, WeightRanks
from tnrank.ranks import effective_rank

Progress = Callable[[str, float], None]
_NEEDED = "a mapping of names to arrays such as model.state_dict()"


@explained
def layer_ranks(
    weights: Mapping[str, Any],
    initial: Mapping[str, Any] | None = None,
    activations: Mapping[str, Any] | None = None,
    rtol: float = 0.1,
    *,
    progress: Progress | None = None,
) -> LayerRanks:
    """Measure the ranks of the weights of a model, given by name.

    Weights of order 3 and more (convolutions) are measured as matrices, their first axis against all others, and as
    tensors. Vectors are left out and counted. Arrays are fetched one after the other, so that a mapping may read each
    from a file. Half precision is measured in float32.

    Args:
        weights: ``{name: array}``, of any backend.
        initial: the weights before training by the same names; the differences are measured as well. It may hold more.
        activations: ``{name: array}`` of shape ``(samples, features)``, by the names of weights or of their layers (the
            name without ``".weight"``).
        rtol: in (0, 1); ranks are given at which compressed weights have this relative error.
        progress: called with words and the share that is done.

    Returns:
        A :class:`LayerRanks`, one row a weight.

    Raises:
        ValueError: if there are no weights of order 2 or more, a weight has entries that are not finite, or names or
            shapes do not fit; the weight is named.
        TypeError: if something else than arrays by name is given.

    Source: Roy & Vetterli 2007 (effective rank); Rudelson & Vershynin 2007 (stable rank); De Lathauwer, De Moor &
        Vandewalle 2000 (multilinear rank).

    Example:
        >>> import numpy as np
        >>> from tnrank.radar import layer_ranks
        >>> report = layer_ranks({"fc.weight": np.outer(np.ones(8), np.ones(6)), "fc.bias": np.ones(8)})
        >>> print(report)
        ranks of 1 weight, 48 parameters
        compressed  smallest rank with a relative error of at most 0.1
        kept        parameters at that rank: 29.2 % in all, where only weights that gain by it change
        left out    1 array without ranks (vectors such as biases), 8 numbers
        <BLANKLINE>
        layer      shape  parameters  rank  effective  stable  compressed    kept  singular values
        fc.weight  8 x 6          48     1       1.00    1.00           1  29.2 %  6.93  ...
    """
    instance(weights, "weights", Mapping, _NEEDED)
    instance(initial, "initial", (Mapping, type(None)), f"{_NEEDED}, or None")
    instance(activations, "activations", (Mapping, type(None)), "a mapping of names to arrays (samples, features)")
    rtol = real_number(rtol, "rtol", 0, 1, above=True)
    names = list(weights)
    stored = weights.dtypes if isinstance(weights, StoredWeights) else {}
    outputs = _by_weight(activations or {}, names)
    rows: list[WeightRanks] = []
    left_out: list[str] = []
    count = 0
    for done, name in enumerate(names):
        if progress is not None:
            progress("measuring weights", done / len(names))
        if not isinstance(name, str):
            raise TypeError(f"weights have names, which are strings, got {shown(name)}")
        array, backend, dtype = read_weight(weights[name], name)
        dtype = stored.get(name, dtype)
        shape = tuple(int(size) for size in array.shape)
        if len(shape) > 1 and "weight" in name.rpartition(".")[2] and dtype.startswith(("int", "uint", "float8")):
            raise ValueError(
                f"the weight {name!r} holds {dtype} and is quantized, and ranks are those of floating-point weights: "
                "measure the model before it is quantized"
            )
        if not is_measured(name, shape, dtype):
            left_out.append(name)
            count += math.prod(shape)
            continue
        before = None if initial is None else _initial_of(initial, name, shape)
        rows.append(_row(name, array, backend, dtype, before, outputs.get(name), rtol))
    if not rows:
        held = f"{len(left_out)} arrays of order 0 or 1 or of whole numbers" if left_out else "nothing"
        raise ValueError(f"ranks are those of weights with two axes or more, and the mapping holds {held}")
    if progress is not None:
        progress("measuring weights", 1.0)
    return LayerRanks(tuple(rows), rtol, tuple(left_out), count)


def _row(name: str, weight: Any, backend: Any, dtype: str, before: Any, outputs: Any, rtol: float) -> WeightRanks:
    shape = tuple(int(size) for size in weight.shape)
    sides = sides_of(shape)
    change = multilinear = compressed = rank = width = None
    try:
        matrix = measure_matrix(backend.reshape(weight, sides), backend, dtype, rtol)
        if len(shape) > 2:
            first = np.asarray(matrix.singular_values)
            multilinear, compressed = tensor_ranks(weight, backend, dtype, rtol, first)
    except ValueError as error:
        raise ValueError(f"the weight {name!r} cannot be measured: {error}") from None
    if before is not None:
        device = backend.device_of(weight)
        moved = backend.asarray(before, backend.dtype_of(weight), None if device == backend.devices()[0] else device)
        try:
            change = measure_matrix(backend.reshape(weight - moved, sides), backend, dtype, rtol)
        except ValueError as error:
            raise ValueError(f"the change of the weight {name!r} cannot be measured: {error}") from None
    if outputs is not None:
        rank, width = activations_rank(outputs, name), int(outputs.shape[1])
    return WeightRanks(name, shape, dtype, sides, matrix, change, multilinear, compressed, rank, width)


def activations_rank(outputs: Any, name: str) -> float:
    """The effective rank of activations ``(samples, features)``."""
    array, backend, _ = read_weight(outputs, name)
    if len(array.shape) != 2 or 0 in array.shape:
        raise ValueError(f"activations are arrays (samples, features), and those of {name!r} have shape {array.shape}")
    try:
        return float(backend.to_numpy(effective_rank(array)))
    except ValueError as error:
        raise ValueError(f"the activations of {name!r} cannot be measured: {error}") from None


def _initial_of(initial: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Any:
    """The initial weight, in a dtype that differences are taken in."""
    if name not in initial:
        near = get_close_matches(name, [str(other) for other in initial], n=3)
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise ValueError(f"initial has no weight {name!r}{hint}: give the weights of the same model before training")
    array, backend, _ = read_weight(initial[name], name)
    if tuple(array.shape) != shape:
        raise ValueError(
            f"the weight {name!r} has shape {shape} and the initial one {tuple(array.shape)}: give the weights of the "
            "same model before training"
        )
    return backend.to_numpy(array)


def _by_weight(activations: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Activations by the names of weights."""
    found = {}
    for name, outputs in activations.items():
        weight = next((own for own in (name, f"{name}.weight") if own in names), None)
        if weight is None:
            near = get_close_matches(str(name), [n.removesuffix(".weight") for n in map(str, names)], n=3)
            hint = f"; similar: {', '.join(near)}" if near else ""
            raise ValueError(f"activations of {shown(name)} belong to no weight{hint}")
        found[weight] = outputs
    return found
