"""What recipes are written with besides their own mathematics: fields, claims, text, targets of a user's own.

A recipe is one module: settings, run, claims, figure. See the page "A recipe of your own".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import shown
from tnrank.data import read_array
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipe import Recipe, register
from tnrank.factorizations import Factorization, HierarchicalFactorization
from tnrank.linalg import matricize
from tnrank.ranks import effective_rank, onsets, separated
from tnrank.runs import Journal, SampleTraining, Training
from tnrank.training import CompletionResult

__all__ = [
    "Check",
    "HostArray",
    "Journal",
    "Outcome",
    "Recipe",
    "Table",
    "SampleTraining",
    "Training",
    "beside_target",
    "braces",
    "count_observed",
    "end_tensor",
    "falls",
    "median",
    "onsets",
    "orthonormal_target",
    "read_target",
    "register",
    "relative_error",
    "rises",
    "separated",
    "told",
    "told_end",
    "unit",
]

HostArray = np.ndarray[Any, Any]


def falls(values: Sequence[Any]) -> bool:
    """Whether each of two or more values is below the one before."""
    return len(values) > 1 and all(a > b for a, b in pairwise(values))


def told(values: Iterable[Any], form: str = ",", none: str = "none") -> str:
    """Numbers in one cell or claim, each in a format such as ``.2g``."""
    return "  ".join(format(value, form) for value in values) or none


def told_end(result: CompletionResult) -> str:
    """Steps and loss of a run in one cell; ``the most`` says that its stop rule was not met."""
    return f"{result.steps:,}{', the most' if result.status == 'steps' else ''}  {result.loss:.1e}"


def read_target(file: str | Path, orders: Sequence[int] = ()) -> HostArray:
    """A user's own tensor in place of a recipe's target, in float64.

    Args:
        file: read by :func:`tnrank.data.read_array`.
        orders: that the recipe can train; all from 2 on if empty.

    Raises:
        ValueError: for another order, complex numbers, NaN or infinite entries, or a tensor of zeros.
        OSError: if it cannot be read.
    """
    array = read_array(file)
    if array.dtype.kind == "c":
        raise ValueError(f"the target {file} holds complex numbers, and training is for real ones")
    array = np.asarray(array, np.float64)
    if array.ndim < 2 or (orders and array.ndim not in orders):
        needed = " or ".join(map(str, orders)) or "2 or more"
        raise ValueError(f"the target {file} has shape {shown(array.shape)}: needed a tensor of order {needed}")
    if not np.isfinite(array).all():
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"the target {file} has {array[where]} at index {where}: an experiment needs all entries; where some are "
            f"missing: tnrank complete {file}"
        )
    if not array.any():
        raise ValueError(f"all entries of the target {file} are 0: there is nothing to learn from")
    return array


def count_observed(given: int | None, shape: Sequence[int], share: float, of: str, field: str = "observed") -> int:
    """How many entries of a target are observed: ``given``, or a share of all, rounded down.

    Args:
        given: the field's value.
        shape: of the target, ``(d_1, .., d_N)``.
        share: above 0, at most 1.
        of: the target's name.
        field: whose value it is.

    Raises:
        ValueError: if there are not as many as given.
    """
    size = prod(shape)
    if given is not None and given > size:
        own = int(share * size)
        raise ValueError(
            f"{field} lies in 1 .. {size}, the entries of {of}, got {given}: leave it out to observe {own}"
        )
    return max(1, int(share * size)) if given is None else given


def rises(values: Sequence[Any]) -> bool:
    """Whether each value is above the one before; also if there are fewer than two."""
    return all(a < b for a, b in pairwise(values))


def braces(modes: Iterable[int]) -> str:
    """Modes as they are written in tables, such as ``{0,1}``."""
    return "{" + ",".join(map(str, modes)) + "}"


def end_tensor(x: Factorization) -> HostArray:
    """The dense tensor of a factorization on any backend, in float64."""
    return np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)


def median(runs: Iterable[Mapping[str, Any]], quantity: str, **of: Any) -> Any:
    """The median of a quantity over the runs that have all these values: ``median(runs, "error", depth=2)``."""
    return np.median([run[quantity] for run in runs if of.items() <= run.items()], axis=0)


def relative_error(found: HostArray, target: HostArray) -> float:
    """``||found - target|| / ||target||``."""
    return float(np.linalg.norm(found - target) / np.linalg.norm(target))


def orthonormal_target(shape: tuple[int, ...], rank: int, generator: np.random.Generator) -> HostArray:
    """A tensor of mean square 1, of ``rank`` on the balanced tree: orthonormal factors, and 1 to 1/2 at the root."""

    def draw(matrix: Any) -> HostArray:
        if matrix.shape[1] == 1:
            return np.linspace(1.0, 0.5, len(matrix))[:, None]
        return np.asarray(np.linalg.qr(generator.standard_normal(matrix.shape))[0])

    x = HierarchicalFactorization.random(shape, width=rank, seed=0, dtype="float64")
    return unit(x.map(draw).to_dense())


def unit(tensor: Any) -> HostArray:
    """A tensor scaled to a mean square of 1, in float64."""
    array = np.asarray(tensor, np.float64)
    return np.asarray(array / np.sqrt(np.mean(array**2)))


def beside_target(
    x: Factorization, target: HostArray, groups: Iterable[tuple[int, ...]]
) -> tuple[float, dict[tuple[int, ...], tuple[float, float]]]:
    """The relative error of a factorization, and the effective ranks of its matricizations and of the target's."""
    end = end_tensor(x)

    def rank(tensor: HostArray, modes: tuple[int, ...]) -> float:
        return float(effective_rank(matricize(tensor, modes)))

    return relative_error(end, target), {modes: (rank(end, modes), rank(target, modes)) for modes in groups}
