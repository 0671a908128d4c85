"""A dense weight in a format: truncated by its rank, within an error, or by what its inputs see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import backend_of, get_backend
from tnrank._check import real_number, shown
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat
from tnrank.layers._host import host_array, host_arrays
from tnrank.layers._sizes import Rank, weight_format
from tnrank.layers._structures import Host
from tnrank.layers._weighting import Weighting

_ATTEMPTS = 8
"""Fits to a smaller error than asked for, until that for the inputs is within it."""


@dataclass(frozen=True)
class Fit:
    """A dense weight written in a format.

    Attributes:
        weight: the format.
        arrays: tensor name -> array.
        error: ``||W - W'|| / ||W||`` of the dense weight W, rounding to its dtype included; with statistics of the
            inputs, that of the outputs for them, without bias.
    """

    weight: WeightFormat
    arrays: dict[str, Array]
    error: float


@explained
def fit_weight(
    dense: Array,
    kind: str,
    structure: str,
    *,
    rank: Rank = None,
    rtol: float | None = None,
    parameters: float | str | None = None,
    modes: Any = None,
    depth: int = 2,
    groups: int = 1,
    moments: Array | None = None,
) -> Fit:
    """A dense weight as a factorization.

    Args:
        dense: the weight; its shape as for :func:`weight_format`.
        kind: as there.
        structure: as there.
        rank: as there; one of ``rank``, ``rtol`` and ``parameters``.
        rtol: bounds the relative error; the smallest ranks that were found are taken.
        parameters: as there.
        modes: as there.
        depth: as there.
        groups: as there.
        moments: second moments of the inputs (:func:`input_moments`, :func:`patch_moments`), a matrix of the size
            inputs times window, or one for each group: the error of the outputs is made small in place of that of the
            weight. ``"mf"`` takes them as they are; structures with more than one mode of inputs take them mode by
            mode, as if they were a Kronecker product.

    Returns:
        Arrays on the weight's backend in its dtype.

    Raises:
        ValueError: if not one of the three is given, entries are not finite, or as for :func:`weight_format`.
        TypeError: for entries that are no real floating-point numbers.

    Source: Eckart & Young 1936 for ``"mf"``; Qiu et al. 2024 for ``"btt"``; for the others, that of the factorization.

    Example:
        >>> import numpy as np
        >>> from tnrank.layers import fit_weight
        >>> u, v = np.random.default_rng(0).standard_normal((2, 64, 3))
        >>> found = fit_weight(u @ v.T, "linear", "tt", rtol=1e-8)
        >>> print(found.weight)
        tt, ranks (8, 3, 8), 512 of 4,096 parameters (12.5 %)
        >>> found.error < 1e-8
        True
    """
    given = [rank is not None, rtol is not None, parameters is not None]
    if sum(given) != 1:
        raise ValueError(
            f"got rank={shown(rank)}, rtol={shown(rtol)}, parameters={shown(parameters)}: needed one of the three"
        )
    if rtol is not None and real_number(rtol, "rtol", 0, above=True) >= 1:
        raise ValueError(f"rtol={rtol:g} would leave nothing of the weight: give less than 1")
    host = host_array(dense, "the weight")
    frame = weight_format(
        kind, host.shape, structure, rank=1 if rtol is not None else rank, parameters=parameters, modes=modes,
        depth=depth, groups=groups,
    )  # fmt: skip
    weighting = None if moments is None else Weighting(frame, moments)
    tensors = frame.to_tensors(host)
    tensors = tensors if weighting is None else weighting.seen(tensors)
    norm = np.linalg.norm if weighting is None else weighting.norm
    whole, goal = float(norm(host)), rtol
    for _ in range(_ATTEMPTS):
        fitted = _fitted(frame, tensors, None if rtol is not None else frame.inner, goal)
        weight = frame.of_shapes({name: array.shape for name, array in fitted.items()})
        arrays = _like(dense, fitted if weighting is None else weighting.undone(weight, fitted))
        # The error of what the layer computes with: in the dtype of the weight, and for the inputs as they are.
        error = float(norm(weight.dense(host_arrays(weight, arrays)[1]) - host)) / whole if whole else 0.0
        if goal is None or rtol is None or weighting is None or error <= rtol:
            break
        goal *= min(0.9 * rtol / error, 0.7)  # the weighting is that of the inputs but for a Kronecker product
    else:
        raise ValueError(
            f"no {structure!r} within rtol={rtol:g} was found, the last has error {error:.2g}: give a "
            "larger rtol, or rank"
        )
    return Fit(weight, arrays, error)


def _like(dense: Array, arrays: Mapping[str, Host]) -> dict[str, Array]:
    """Arrays on the backend, in the dtype and on the device of the dense weight."""
    backend = backend_of(dense)
    dtype, device = backend.dtype_of(dense), backend.device_of(dense)
    host = dtype if dtype in ("float32", "float64") else "float32"
    place = None if device == get_backend(backend.name).devices()[0] else device
    return {name: backend.asarray(np.ascontiguousarray(a, host), dtype, place) for name, a in arrays.items()}


def _fitted(
    frame: WeightFormat, tensors: Sequence[Host], ranks: Mapping[Any, int] | None, rtol: float | None
) -> dict[str, Host]:
    made = [frame.rules.fit(frame.layout, tensor, ranks, rtol) for tensor in tensors]
    made = [{name: np.asarray(array, np.float64) for name, array in one.items()} for one in made]
    if frame.groups == 1:
        return _widened(frame, made[0], ranks)
    # Groups share their ranks: shorter ones are filled up with zeros.
    found = {}
    for name in made[0]:
        widest = np.max([one[name].shape for one in made], axis=0)
        found[name] = np.stack([_padded(one[name], widest) for one in made])
    return found if ranks is None else _widened(frame, found, ranks)


def _widened(frame: WeightFormat, arrays: dict[str, Host], ranks: Mapping[Any, int] | None) -> dict[str, Host]:
    """Arrays of the ranks asked for, where a fit has found fewer to be enough."""
    if ranks is None:
        return arrays
    shapes = frame.with_ranks(ranks).shapes
    return {name: _padded(array, shapes[name]) for name, array in arrays.items()}


def _padded(array: Host, wanted: Sequence[int]) -> Host:
    return np.pad(array, [(0, int(most) - size) for size, most in zip(array.shape, wanted, strict=True)])
