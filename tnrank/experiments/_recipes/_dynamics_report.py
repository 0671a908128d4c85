"""The dynamics recipe's numbers: what was measured, beside what was published, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tnrank.experiments._onsets import onsets, separated
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._dynamics_root import ORIGIN, RISEN, Rises
from tnrank.linalg import matricize
from tnrank.plots import Panel, dynamics
from tnrank.ranks import effective_rank
from tnrank.training import CompletionResult

_TITLES = {
    "mf": ("Matrix factorization: singular values", "singular value"),
    "cp": ("CP factorization: component norms", "component norm"),
    "htf": ("Hierarchical factorization: local component norms", "local component norm at the root"),
}
# (onsets, final values) read off the published figure
_PUBLISHED = {
    "mf": ((100, 1150, 2350, 3000, 4450), (36.4, 32.0, 28.3, 23.3, 20.2)),
    "cp": ((150, 1200, 2300, 4750, 6100), (37.2, 36.3, 24.2, 21.6, 17.5)),
    "htf": ((10100, 13100, 15300, 19900, 30000), (9.5, 5.5, 2.6, 1.5, 0.9)),
}
_ON_TREE = ((0,), (1,), (2,), (3,), (0, 1))
_OFF_TREE = ((0, 2), (0, 3))
_GROUPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "mf": ((0,),),
    "cp": ((0,), (1,), (2,)),
    "htf": (*_ON_TREE, *_OFF_TREE),
}
_CLOSE = 0.1
_RESTING = 1e-3
_ROOT_SPLIT = (0, 1)


@dataclass(frozen=True)
class Measured:
    """One model at the end of its run.

    ``ranks``: modes -> effective ranks of the model and of the target; ``rises``: of the local components at the root;
    ``split``: the target's singular values at the root split.
    """

    model: str
    result: CompletionResult
    steps: Any
    values: Any
    onsets: list[int]
    error: float
    ranks: dict[tuple[int, ...], tuple[float, float]]
    rises: Rises | None = None
    split: Any = None

    @classmethod
    def of(cls, model: str, result: CompletionResult, target: Any, share: float) -> Measured:
        """Measure the end of a run."""
        trace = result.history["component_norms"]
        values, rises, split = trace.values, None, None
        x: Any = result.factorization
        if isinstance(values, dict):
            values = values[x.tree.root]
            final = x.backend.to_numpy(x.component_norms()[x.tree.root])
            rises = Rises.of(trace.steps, values, result.history["root_components"].values, final)
            split = np.linalg.svd(matricize(target, _ROOT_SPLIT), compute_uv=False)
        dense = np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)
        ranks = {
            modes: (
                float(effective_rank(matricize(dense, modes))),
                float(effective_rank(matricize(target, modes))),
            )
            for modes in _GROUPS[model]
        }
        error = float(np.linalg.norm(dense - target) / np.linalg.norm(target))
        found = onsets(trace.steps, values, share)
        return cls(model, result, trace.steps, values, found, error, ranks, rises, split)

    @property
    def final(self) -> Any:
        """The values at the end, descending."""
        return self.values[-1]

    @property
    def risen(self) -> int:
        """How many values end above 1 % of the largest."""
        return int((self.final > RISEN * self.final.max(initial=0.0)).sum())

    def summary(self) -> dict[str, Any]:
        """For ``summary.json``."""
        found = {
            "status": self.result.status,
            "steps": self.result.steps,
            "seconds": round(self.result.seconds, 2),
            "loss": self.result.loss,
            "relative_error": self.error,
            "onsets": self.onsets,
            "final_values": self.final,
            "above_one_percent": self.risen,
            "effective_ranks": {modes: {"model": a, "target": b} for modes, (a, b) in self.ranks.items()},
        }
        if self.rises is not None:
            found["root"] = {**asdict(self.rises), "target_singular_values": self.split[: _shown(self)]}
        return found


def outcome(found: Sequence[Measured], preset: str, share: float) -> Outcome:
    """Figure, tables, checks and summary of the three models."""
    panels = [Panel(_TITLES[m.model][0], m.steps, m.values, _TITLES[m.model][1], m.onsets) for m in found]
    note = (
        f"An onset is the first recorded step above {100 * share:g} % of the final largest value. "
        "The published runs had other random targets: numbers and magnitudes compare, single steps do not."
    )
    if preset != "paper":
        note += " The published HTF has width 512 and std 1e-2: its steps do not compare at all."
    tables = [
        Table("Onsets and final values", ("model", "quantity", "measured", "published"), _rows(found), note),
        _root_table(found[-1]),
        _rank_table(found[-1]),
    ]
    checks = [check for m in found for check in (_hierarchical(m) if m.model == "htf" else _incremental(m))]
    if preset == "paper":
        checks += _one_at_a_time(found[-1])
    return Outcome({m.model: m.summary() for m in found}, tables, checks, dynamics(panels))


def _rows(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for m in found:
        steps, finals = _PUBLISHED[m.model]
        shown = [v for v in m.final[: max(m.risen, 1)]]
        rows.append((m.model.upper(), "onsets", _whole(m.onsets), _whole(steps)))
        rows.append(("", "final values", _short(shown), _short(finals)))
        rows.append(("", "steps, loss", f"{m.result.steps:,}  {m.result.loss:.1e}", ""))
        rows.append(("", "relative error", f"{m.error:.1e}", ""))
    return rows


def _rank_table(m: Measured) -> Table:
    rows = [
        ("{" + ",".join(map(str, modes)) + "}", "on" if modes in _ON_TREE else "off", f"{a:.2f}", f"{b:.2f}")
        for modes, (a, b) in m.ranks.items()
    ]
    title = "Effective ranks of the hierarchical factorization"
    return Table(title, ("matricization", "tree", "measured", "target"), rows)


def _shown(m: Measured) -> int:
    """Rows of the root's table: all that rose, and all of the target's singular values that are not zero."""
    assert m.rises is not None
    return max(len(m.rises.finals), int((m.split > 1e-10 * m.split[0]).sum()))


def _root_table(m: Measured) -> Table:
    assert m.rises is not None
    cells = [("", "")] * _shown(m)
    cells[: len(m.rises.finals)] = [
        (f"{onset:,}", _short([norm])) for onset, norm in zip(m.rises.onsets, m.rises.finals, strict=True)
    ]
    rows = [(f"{k + 1}", *cell, _short([m.split[k]])) for k, cell in enumerate(cells)]
    note = (
        f"Rose: passed {100 * RISEN:g} % of the largest, and {ORIGIN:g} times the largest initial norm; {m.rises.left} "
        f"passed the latter. The others end at {m.rises.resting:.1e} of the largest or less."
    )
    title = "Local components at the root, beside the target's matricization {0,1}"
    return Table(title, ("", "rises at", "final norm", "singular value of the target"), rows, note)


def _one_at_a_time(m: Measured) -> list[Check]:
    """What the hierarchical factorization shows at the published width and scale, where its steps are far apart."""
    assert m.rises is not None
    rises = m.rises
    return [
        Check(
            "HTF: the run ends by the published stop rule",
            f"{m.result.status} after {m.result.steps:,} steps, loss {m.result.loss:.1e}",
            m.result.status == "converged",
        ),
        Check(
            "HTF: 4 or more components at the root rise strictly one at a time, in order of final size",
            f"at {_whole(rises.onsets) or 'no step'}, to {_short(rises.finals) or 'nothing'}",
            len(rises.onsets) >= 4 and rises.in_turn,
        ),
        Check(
            "HTF: components at the root that never left the initial scale end under 1e-3 of the largest",
            f"{rises.resting:.1e}; {rises.left} left it",
            rises.left > 0 and rises.resting < _RESTING,
        ),
    ]


def _incremental(m: Measured) -> list[Check]:
    what = "singular values" if m.model == "mf" else "component norms"
    name = m.model.upper()
    ordered = len(m.onsets) >= 5 and all(a < b for a, b in pairwise(m.onsets[:5]))
    return [
        Check(f"{name}: exactly 5 {what} end above 1 % of the largest", f"{m.risen}", m.risen == 5),
        Check(
            f"{name}: the 5 appear strictly one after the other",
            f"at {_whole(m.onsets) or 'no step'}",
            ordered,
        ),
    ]


def _hierarchical(m: Measured) -> list[Check]:
    apart = separated(m.onsets)
    gaps = {modes: abs(a / b - 1) for modes, (a, b) in m.ranks.items() if modes in _ON_TREE and b}
    worst = max(gaps, key=lambda modes: gaps[modes])
    a, b = m.ranks[worst]
    largest = max(m.ranks[modes][0] for modes in _ON_TREE)
    return [
        Check(
            "HTF: at least 3 onsets at the root, apart by 5 % of the last one or more",
            f"{len(apart)}, at {_whole(apart) or 'no step'}",
            len(apart) >= 3,
        ),
        Check(
            "HTF: effective ranks on the tree are at most about 5, and within 10 % of the target's",
            f"at most {largest:.2f}; worst {a:.2f} against {b:.2f}",
            gaps[worst] <= _CLOSE and largest <= 5 * (1 + _CLOSE),
        ),
    ]


def _whole(numbers: Sequence[int]) -> str:
    return "  ".join(f"{n:,}" for n in numbers)


def _short(numbers: Sequence[float]) -> str:
    return "  ".join(f"{n:.1f}" if n >= 2 else f"{n:.2f}" if n >= 0.1 else f"{n:.1g}" for n in numbers)
