"""The tensor-dynamics recipe's numbers: onsets, component norms and errors beside the published ones, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments._onsets import onsets, separated
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.plots import Panel, Staircase, tensor_dynamics

if TYPE_CHECKING:
    from tnrank.experiments._recipes._tensor_dynamics import TensorDynamics
    from tnrank.training import CompletionResult

_TITLES = {"l2": "l2 loss", "l1": "l1 loss", "huber": "Huber loss"}
_RISEN = 0.01
_SETTLED = 0.8
_RECOVERED = 0.1

# std -> (onsets, final norms, final error) with the l2 loss, read off the published figure
_PUBLISHED: dict[float, tuple[str, str, str]] = {
    5e-2: ("no plateaus", "", "0.08"),
    1e-2: ("1,100 .. 5,800", "", "0.03"),
    5e-3: ("4,200  5,300  7,000  9,800  11,200", "0.60  0.59  0.40  0.31  0.21", "0.003"),
}


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        loss: which one.
        std: of the initial weights.
        result: of the training.
        steps: ``(K,)`` recorded steps.
        norms: ``(K, 10)`` the largest component norms, descending.
        errors: ``(K,)`` relative reconstruction errors.
        lowest: position of the lowest recorded training loss.
        onsets: of the components.
    """

    loss: str
    std: float
    result: CompletionResult
    steps: Any
    norms: Any
    errors: Any
    lowest: int
    onsets: list[int]

    @classmethod
    def of(cls, loss: str, std: float, result: CompletionResult, share: float) -> Measured:
        """Measure the end of a run."""
        trace = result.history["component_norms"]
        losses, errors = result.history["loss"].values, result.history["error"].values
        found = onsets(trace.steps, trace.values, share)
        return cls(loss, std, result, trace.steps, trace.values, errors, int(np.argmin(losses)), found)

    @property
    def risen(self) -> int:
        """How many components end above 1 % of the largest."""
        return int((self.norms[-1] > _RISEN * self.norms[-1].max()).sum())

    @property
    def best_error(self) -> float:
        """The error at the lowest recorded training loss."""
        return float(self.errors[self.lowest])

    @property
    def settled(self) -> list[float]:
        """The share of its final norm that each component has when the next one sets in."""
        at = np.searchsorted(self.steps, self.onsets)
        return [float(self.norms[at[k + 1], k] / self.norms[-1, k]) for k in range(len(at) - 1)]

    @property
    def name(self) -> str:
        """For tables and the summary."""
        return f"{self.loss}, std {self.std:g}"

    def summary(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {
            "status": self.result.status,
            "steps": self.result.steps,
            "seconds": round(self.result.seconds, 2),
            "loss": self.result.loss,
            "relative_error": float(self.errors[-1]),
            "relative_error_at_lowest_loss": self.best_error,
            "onsets": self.onsets,
            "settled_at_next_onset": self.settled,
            "final_norms": self.norms[-1],
            "above_one_percent": self.risen,
        }


def outcome(found: Sequence[Measured], recipe: TensorDynamics) -> Outcome:
    """Figure, table, checks and summary."""
    published = recipe.preset == "paper"
    rows = [row for m in found for row in _rows(m, published)]
    note = (
        f"An onset is the first recorded step above {100 * recipe.onset_share:g} % of the final largest norm. "
        "The published target was another: numbers and magnitudes compare, single steps do not."
    )
    columns = ("run", "quantity", "measured", *(["published"] if published else []))
    table = Table("Component norms and errors", columns, rows, note)
    grid = [[_staircase(m) for m in found if m.loss == loss] for loss in recipe.losses]
    return Outcome({m.name: m.summary() for m in found}, [table], _checks(found, recipe), tensor_dynamics(grid))


def _rows(m: Measured, published: bool) -> list[tuple[str, ...]]:
    told = _PUBLISHED.get(m.std, ("", "", "")) if published and m.loss == "l2" else ("", "", "")
    shown = m.norms[-1][: max(m.risen, 1)]
    cells = [
        (m.name, "onsets", _whole(m.onsets), told[0]),
        ("", "final norms", "  ".join(f"{n:.2f}" for n in shown), told[1]),
        ("", "final error", f"{m.errors[-1]:.2g}", told[2]),
        ("", "error at lowest loss", f"{m.best_error:.2g}", ""),
        ("", "steps, loss", f"{m.result.steps:,}  {m.result.loss:.1e}", ""),
    ]
    return [row if published else row[:3] for row in cells]


def _staircase(m: Measured) -> Staircase:
    title = f"{_TITLES[m.loss]}, std {m.std:g}: component norms"
    return Staircase(_TITLES[m.loss], Panel(title, m.steps, m.norms, "component norm", m.onsets), m.errors)


def _checks(found: Sequence[Measured], recipe: TensorDynamics) -> list[Check]:
    rank, checks = recipe.target_rank, []
    for loss in recipe.losses:
        runs = [m for m in found if m.loss == loss]
        # From the smallest weights, plateaus of the other losses may be longer than the steps given to them.
        done = runs if loss == "l2" else [m for m in runs if m.result.status == "converged"] or runs[-1:]
        smallest, largest = done[-1], runs[0]
        checks += [_count(smallest, rank), _one_at_a_time(smallest, rank, plateaus=loss == "l2")]
        if len(runs) > 1:
            checks += [_at_once(largest), _more_components(largest, rank), _errors_fall(done)]
    return checks


def _count(m: Measured, rank: int) -> Check:
    claim = f"{m.name}: exactly {rank} components end above 1 % of the largest, as many as the target has"
    return Check(claim, f"{m.risen}", m.risen == rank)


def _one_at_a_time(m: Measured, rank: int, plateaus: bool) -> Check:
    least = min(m.settled, default=0.0)
    claim = f"{m.name}: they appear one at a time, apart by 5 % of the last onset"
    measured = f"at {_whole(m.onsets)}"
    if plateaus:
        claim += f", each when the one before has {100 * _SETTLED:g} % of its final norm or more"
        measured += f", with {100 * least:.0f} % or more"
    ordered = len(m.onsets) == rank and all(a < b for a, b in pairwise(m.onsets))
    apart = len(separated(m.onsets)) == rank
    return Check(claim, measured, ordered and apart and (not plateaus or least >= _SETTLED))


def _at_once(m: Measured) -> Check:
    least = min(m.settled, default=1.0)
    return Check(
        f"{m.name}: no such plateaus, a component sets in while the one before grows",
        f"with {100 * least:.0f} % of its final norm",
        least < _SETTLED,
    )


def _more_components(m: Measured, rank: int) -> Check:
    return Check(f"{m.name}: more than {rank} components end above 1 % of the largest", f"{m.risen}", m.risen > rank)


def _errors_fall(runs: Sequence[Measured]) -> Check:
    errors = [m.best_error for m in runs]
    return Check(
        f"{runs[0].loss}: the error at the lowest loss falls with the initial scale, to a tenth or less",
        "  ".join(f"{m.best_error:.1e} (std {m.std:g})" for m in runs),
        len(errors) > 1 and all(a > b for a, b in pairwise(errors)) and errors[-1] <= _RECOVERED * errors[0],
    )


def _whole(numbers: Sequence[int]) -> str:
    return "  ".join(f"{n:,}" for n in numbers) or "no step"
