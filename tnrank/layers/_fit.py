"""A dense weight in a format: truncated by its rank, within an error, or by what its inputs see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import backend_of, get_backend
from tnrank._check import real_number, shown
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat
from tnrank.layers._host import host_array
from tnrank.layers._sizes import Rank, weight_format
from tnrank.layers._structures import Host

_FLOOR = 1e-6
"""Directions in which inputs vary less than by this share of the largest variance count as this share of it."""


@dataclass(frozen=True)
class Fit:
    """A dense weight written in a format.

    Attributes:
        weight: the format.
        arrays: tensor name -> array.
        error: ``||W - W'|| / ||W||`` of the dense weight W; weighted by the inputs, if their statistics were given.
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
        moments: second moments of the inputs, ``(inputs, inputs)`` or one matrix for each group: the error of the
            outputs is made small in place of that of the weight. Structures with more than one mode of inputs take them
            mode by mode, as if they were a Kronecker product.

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
    size = host.shape
    frame = weight_format(
        kind, size, structure, rank=1 if rtol is not None else rank, parameters=parameters, modes=modes,
        depth=depth, groups=groups,
    )  # fmt: skip
    backend = backend_of(dense)
    tensors = frame.to_tensors(host)
    roots = _roots(frame, moments)
    seen = [_through(frame, tensor, root) for tensor, root in zip(tensors, roots, strict=True)]
    fitted = _fitted(frame, seen, None if rtol is not None else frame.inner, rtol)
    weight = frame.of_shapes({name: array.shape for name, array in fitted.items()})
    before, after = np.stack(seen), np.stack(_ends(weight, fitted))
    if moments is None:  # what fills up the modes is no part of the weight
        before, after = frame.from_tensor(before), frame.from_tensor(after)
    lost, whole = float(np.linalg.norm(before - after)), float(np.linalg.norm(before))
    fitted = _undone(weight, fitted, roots)
    dtype, device = backend.dtype_of(dense), _place(dense)
    arrays = {name: backend.asarray(np.ascontiguousarray(a, _host(dtype)), dtype, device) for name, a in fitted.items()}
    return Fit(weight, arrays, lost / whole if whole else 0.0)


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


def _ends(weight: WeightFormat, arrays: Mapping[str, Host]) -> list[Host]:
    tensor = np.asarray(weight.plan(dict(arrays)))
    return [*tensor] if weight.groups > 1 else [tensor]


def _roots(frame: WeightFormat, moments: Array | None) -> list[list[tuple[Host, Host] | None]]:
    """Of each group and each mode of inputs, the square root of its second moments and that one's inverse."""
    columns = frame.layout.columns
    if moments is None:
        return [[None] * len(columns)] * frame.groups
    if frame.kind == "embedding":
        raise ValueError("an embedding has no inputs that are summed: leave out their statistics")
    host = host_array(moments, "moments, the second moments of the inputs,")
    _, inputs = frame.sides
    if host.shape not in ((inputs, inputs), (frame.groups, inputs, inputs)):
        raise ValueError(f"second moments of shape {host.shape}: needed ({inputs}, {inputs}), of the inputs")
    if not np.any(host):
        raise ValueError("second moments of the inputs are not all 0: run the model on other inputs")
    found = []
    for one in host if host.ndim == 3 else [host] * frame.groups:
        filled = np.zeros((prod(columns), prod(columns)))
        filled[:inputs, :inputs] = one if np.any(one) else np.eye(inputs)  # no inputs of a group see anything
        by_mode = filled.reshape(*columns, *columns)
        roots: list[tuple[Host, Host] | None] = []
        for mode, size in enumerate(columns):
            rest = [k for k in range(len(columns)) if k != mode]
            labels = [*range(len(columns)), *(k if k in rest else len(columns) for k in range(len(columns)))]
            einsum: Any = np.einsum  # whose form with lists of axes has no types
            marginal = einsum(by_mode, labels, [mode, len(columns)])
            if frame.structure == "btt" and mode == 0:
                marginal = np.diag(np.diag(marginal))  # an index of both tensors can be scaled, not mixed
            roots.append(_root(marginal / np.trace(marginal) * size))
        found.append(roots)
    return found


def _root(moments: Host) -> tuple[Host, Host]:
    values, vectors = np.linalg.eigh((moments + moments.T) / 2)
    values = np.sqrt(np.maximum(values, _FLOOR * values.max()))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


def _through(frame: WeightFormat, tensor: Host, roots: Sequence[tuple[Host, Host] | None]) -> Host:
    for mode, root in enumerate(roots):
        if root is not None:
            axis = len(frame.layout.rows) + mode
            tensor = np.moveaxis(np.tensordot(tensor, root[0], axes=(axis, 0)), -1, axis)
    return tensor


def _undone(
    weight: WeightFormat, arrays: dict[str, Host], roots: Sequence[Sequence[tuple[Host, Host] | None]]
) -> dict[str, Host]:
    found = dict(arrays)
    for mode, label in enumerate(weight.layout.ins):
        if roots[0][mode] is None:
            continue
        name = next(name for name in reversed(list(weight.parts)) if label in weight.parts[name].labels)
        axis = list(weight.parts[name].labels).index(label)
        inverses = [root[mode][1] for root in roots]  # type: ignore[index]  # all groups have roots, or none has
        if weight.groups == 1:
            found[name] = _mixed(found[name], inverses[0], axis)
        else:
            found[name] = np.stack([_mixed(a, m, axis - 1) for a, m in zip(found[name], inverses, strict=True)])
    return found


def _mixed(array: Host, matrix: Host, axis: int) -> Host:
    return np.asarray(np.moveaxis(np.tensordot(array, matrix, axes=(axis, 0)), -1, axis))


def _host(dtype: str) -> str:
    return dtype if dtype in ("float32", "float64") else "float32"


def _place(array: Array) -> Any:
    backend = backend_of(array)
    name = backend.device_of(array)
    return None if name == get_backend(backend.name).devices()[0] else name
