"""Components that training has made superfluous, found and cut, with the moments of an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2, sqrt
from typing import Any

import numpy as np

from tnrank._check import real_number, shown, whole_number
from tnrank._explained import explained
from tnrank.layers._components import Components
from tnrank.layers._format import WeightFormat, checked_format
from tnrank.layers._host import host_arrays
from tnrank.layers._structures import Host

_TINY = 1e-300
_EXPONENT = 200
"""Powers of two by which the arrays may be off 1, all together, before they are scaled."""


@dataclass(frozen=True)
class Pruned:
    """A weight with fewer components.

    Attributes:
        weight: its format.
        arrays: tensor name -> array, on the host in double precision.
        moments: {kind: {tensor name: array}}, those of the optimizer in the new components.
        error: ``||W - W'|| / ||W||`` of the weight before and after.
        norms: inner index -> norms of its components before, descending, relative to the weight's norm.
    """

    weight: WeightFormat
    arrays: dict[str, Host]
    moments: dict[str, dict[str, Host]]
    error: float
    norms: dict[Any, Host]


@explained
def prune_weight(
    weight: WeightFormat,
    arrays: Mapping[str, Host],
    moments: Mapping[str, Mapping[str, Host]] | None = None,
    rtol: float | None = None,
    keep: int | None = None,
) -> Pruned:
    """Drop the smallest components of every inner index.

    An index of two tensors is first brought to the basis of its singular vectors, where its components are orthogonal;
    those of an index of more tensors are what they are. One after the other, indices lose their smallest components:
    those beyond ``keep``, or as many as leave the relative error of the weight within ``rtol`` in the end.

    Args:
        weight: the format.
        arrays: on the host.
        moments: of an optimizer, by kind: names that end in "sq" hold averages of squares, which change with the
            squares of the basis.
        rtol: bounds ``||W - W'|| / ||W||``.
        keep: components to keep at each index, at most.

    Raises:
        ValueError: if not one of ``rtol`` and ``keep`` is given, nothing would be left, or entries are not finite.
        TypeError: if ``weight`` is no format, or what is given is no arrays.

    Example:
        >>> from tnrank.layers import initial, prune_weight, weight_format
        >>> weight = weight_format("linear", (16, 16), "mf", rank=8)
        >>> found = prune_weight(weight, initial(weight, seed=0, backend="numpy", dtype="float64"), keep=3)
        >>> found.weight.ranks, found.arrays["layer0"].shape
        ((3,), (16, 3))
    """
    checked_format(weight)
    if (rtol is None) == (keep is None):
        raise ValueError(f"got rtol={shown(rtol)} and keep={shown(keep)}: needed one of the two")
    if keep is not None:
        keep = whole_number(keep, "keep, the number of components to keep,", 1)
    if rtol is not None:
        rtol = real_number(rtol, "rtol", 0)
        if rtol >= 1:
            raise ValueError(f"rtol={rtol:g} would leave nothing of the weight: give less than 1")
    weight, held = host_arrays(weight, arrays)
    kept = _moments(weight, moments)
    scales = _scales(held)
    common = 2.0 ** (sum(map(log2, scales.values())) / len(scales))
    scaled = {name: array / scales[name] for name, array in held.items()}
    count = max(len(weight.limits), 1)
    # Errors at several indices add up in squares where components are orthogonal, and at worst as they are.
    for share in (1.0,) if rtol is None else (rtol / sqrt(count), rtol / count, 0.0):
        state, norms, error = _cut(weight, scaled, kept, share, keep)
        if rtol is None or error <= rtol:
            break
    found = {name: array * common for name, array in state.arrays.items()}
    for kind, one in state.moments.items():
        power = 2 if kind.endswith("sq") else 1
        state.moments[kind] = {name: array * (scales[name] / common) ** power for name, array in one.items()}
    pruned = weight.of_shapes({name: array.shape for name, array in found.items()})
    return Pruned(pruned, found, state.moments, error, norms)


def _moments(weight: WeightFormat, moments: Mapping[str, Mapping[str, Host]] | None) -> dict[str, dict[str, Host]]:
    found = {}
    for kind, one in (moments or {}).items():
        shapes, found[kind] = host_arrays(weight, one)
        if shapes != weight:
            raise ValueError(f"moments {kind!r} have the ranks {shapes.ranks}, needed {weight.ranks}, of the arrays")
    return found


def _cut(
    weight: WeightFormat,
    arrays: Mapping[str, Host],
    moments: Mapping[str, Mapping[str, Host]],
    share: float,
    keep: int | None,
) -> tuple[Components, dict[Any, Host], float]:
    """The weight without components, their norms, and the error; ``share`` is what each index may lose of the norm."""
    state = Components(weight, arrays, moments)
    before = state.dense()
    total = float(np.linalg.norm(before))
    norms = {}
    for label in weight.limits:
        state.rotate(label)
        gram = state.gram(label)
        norms[label] = np.sqrt(np.sort(np.maximum(np.diag(gram), 0.0))[::-1]) / max(total, _TINY)
        state.select(label, _chosen(gram, share * total) if keep is None else _largest(gram, keep))
    error = float(np.linalg.norm(state.dense() - before)) / total if total else 0.0
    return state, norms, error


def _scales(arrays: Mapping[str, Host]) -> dict[str, float]:
    """What each array is divided by, so that norms of products and their squares are numbers: mostly 1."""
    powers = {name: log2(peak) if (peak := float(np.abs(array).max())) else 0.0 for name, array in arrays.items()}
    if sum(map(abs, powers.values())) <= _EXPONENT:
        return dict.fromkeys(arrays, 1.0)
    return {name: 2.0 ** round(power) for name, power in powers.items()}


def _chosen(gram: Host, allowed: float) -> list[int]:
    """Components to keep so that the sum of the others has at most the norm ``allowed``."""
    order = np.argsort(np.diag(gram))
    # Squared norms of the sums of the k smallest components.
    squares = gram[np.ix_(order, order)].cumsum(0).cumsum(1).diagonal()[:-1]
    # Rounding may leave nothing of a sum: without an allowance, nothing but components of zeros goes.
    within = np.flatnonzero(squares <= allowed**2 if allowed else np.diag(gram)[order][:-1] == 0)
    dropped = int(within.max()) + 1 if len(within) else 0
    return sorted(order[dropped:].tolist())


def _largest(gram: Host, keep: int) -> list[int]:
    return sorted(np.argsort(np.diag(gram))[::-1][:keep].tolist())
