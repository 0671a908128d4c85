"""The matrix-completion recipe's numbers: errors, ranks and norms of what was found, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._commuting import Commuting
from tnrank.plots import CompletionCurve, ScaleCurve, matrix_completion
from tnrank.ranks import effective_rank, schatten_norm
from tnrank.theory import minimum_nuclear_norm_sensing

NUCLEAR, ZERO = "least nuclear norm", "zero-fill"

_RECOVERED = 0.05
"""The relative error up to which a target counts as recovered."""
_APART = 2.0
"""How many times as large the error of what does not recover it is at least."""
_FITTED = 1e-4
"""Mean squared error of the observed entries, whose mean square is about 1, up to which they count as fitted."""
_LARGER = 1.01
"""A nuclear norm counts as larger than the least from this ratio on; the least is known to 1e-4."""
_FILLED = 0.01
_REACHED = 1e-3
_SYMMETRIC = 100
"""Times eps: how symmetric the layers stay."""


@dataclass(frozen=True)
class Fit:
    """A completed matrix; what was trained has a scale, a loss and steps."""

    model: str
    observed: int
    seed: int
    error: float
    effective_rank: float
    nuclear_norm: float
    matrix: Any
    scale: float | None = None
    loss: float = 0.0
    steps: int = 0
    status: str = ""

    @classmethod
    def of(
        cls,
        model: str,
        observed: int,
        seed: int,
        matrix: Any,
        target: Any,
        scale: float | None = None,
        result: Any = None,
    ) -> Fit:
        """Measure a matrix, trained or not."""
        error = float(np.linalg.norm(matrix - target) / np.linalg.norm(target))
        measured = error, float(effective_rank(matrix)), float(schatten_norm(matrix, 1)), matrix
        if result is None:
            return cls(model, observed, seed, *measured)
        return cls(model, observed, seed, *measured, scale, result.loss, result.steps, result.status)

    def row(self) -> dict[str, Any]:
        """For ``summary.json``."""
        found = {name: value for name, value in vars(self).items() if name != "matrix"}
        trained = {"scale", "loss", "steps", "status"}
        return found if self.scale is not None else {k: v for k, v in found.items() if k not in trained}


@dataclass(frozen=True)
class Sensed:
    """A symmetric factorization at the end, beside the solution of least nuclear norm, relative to it."""

    scale: float
    seed: int
    distance: float
    excess: float
    effective_rank: float
    asymmetry: float
    planted_distance: float
    loss: float
    steps: int
    status: str

    @classmethod
    def of(cls, problem: Commuting, scale: float, seed: int, result: Any, asymmetry: float) -> Sensed:
        """Measure the end of a run against the convex solver's solution."""
        least = minimum_nuclear_norm_sensing(problem.matrices, problem.values, psd=True)
        x = result.factorization
        end = np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)
        return cls(
            scale,
            seed,
            float(np.linalg.norm(end - least.matrix) / np.linalg.norm(least.matrix)),
            float(schatten_norm(end, 1)) / least.objective - 1,
            float(effective_rank(end)),
            asymmetry,
            float(np.linalg.norm(least.matrix - problem.solution)),
            result.loss,
            result.steps,
            result.status,
        )


def depth_name(depth: int) -> str:
    """How a factorization is called."""
    return f"depth {depth}"


def outcome(fits: Sequence[Fit], few: Sequence[Fit], sensed: Sequence[Sensed], eps: float) -> Outcome:
    """Figure, tables, checks and summary."""
    summary = {
        "completion": [fit.row() for fit in fits],
        "few_observations": [fit.row() for fit in few],
        "commuting": [vars(one) for one in sensed],
    }
    tables = [_completion_table(fits), _few_table(few), _sensing_table(sensed)]
    checks = [*_completion_checks(fits), *_few_checks(few), *_sensing_checks(sensed, eps)]
    return Outcome(summary, tables, checks, matrix_completion(_curves(fits), _scale_curves(few, sensed)))


def _median(fits: Sequence[Fit], model: str, count: int, of: Callable[[Fit], float]) -> float:
    return float(np.median([of(fit) for fit in fits if fit.model == model and fit.observed == count]))


def _error(fit: Fit) -> float:
    return fit.error


def _ratios(fits: Sequence[Fit]) -> Callable[[Fit], float]:
    """Nuclear norms over the least of the same target and observations."""
    least = {(fit.seed, fit.observed): fit.nuclear_norm for fit in fits if fit.model == NUCLEAR}
    return lambda fit: fit.nuclear_norm / least[fit.seed, fit.observed]


def _models(fits: Sequence[Fit]) -> list[str]:
    return list(dict.fromkeys(fit.model for fit in fits))


def _counts(fits: Sequence[Fit]) -> list[int]:
    return sorted({fit.observed for fit in fits})


def _completion_checks(fits: Sequence[Fit]) -> list[Check]:
    filled = {(fit.seed, fit.observed): fit.matrix for fit in fits if fit.model == ZERO}
    shallow = [
        float(
            np.linalg.norm(fit.matrix - filled[fit.seed, fit.observed]) / np.linalg.norm(filled[fit.seed, fit.observed])
        )
        for fit in fits
        if fit.model == depth_name(1)
    ]
    counts = _counts(fits)
    learned = [model for model in _models(fits) if model not in (ZERO, depth_name(1))]
    last = {model: _median(fits, model, counts[-1], _error) for model in learned}
    worst = max(last, key=lambda model: last[model])
    pairs = [
        (count, _median(fits, depth_name(3), count, _error), _median(fits, NUCLEAR, count, _error)) for count in counts
    ]
    ahead = [pair for pair in pairs if pair[1] <= _RECOVERED < pair[2] and pair[2] >= _APART * pair[1]]
    told = ahead or [min(pairs, key=lambda pair: pair[1] / max(pair[2], 1e-12))]
    return [
        Check(
            f"depth 1 ends within {_FILLED:.0%} of zero-fill: it learns nothing of what is not observed",
            f"at most {max(shallow):.1e} away",
            max(shallow) <= _FILLED,
        ),
        Check(
            f"from {counts[-1]:,} entries, depths from 2 on and the least nuclear norm recover the target "
            f"(median error up to {_RECOVERED:g})",
            f"worst {last[worst]:.1e}, {worst}",
            last[worst] <= _RECOVERED,
        ),
        Check(
            f"depth 3 recovers the target from fewer entries: median error up to {_RECOVERED:g} where that of the "
            f"least nuclear norm is larger, {_APART:g} times or more that of depth 3",
            "; ".join(f"{count:,} entries: {deep:.3f} against {convex:.3f}" for count, deep, convex in told),
            bool(ahead),
        ),
    ]


def _few_checks(few: Sequence[Fit]) -> list[Check]:
    ratio = _ratios(few)
    ranks = {fit.seed: fit.effective_rank for fit in few if fit.model == NUCLEAR}
    checks = []
    for model in (depth_name(2), depth_name(3)):
        own = [fit for fit in few if fit.model == model]
        scale = min(fit.scale or 0.0 for fit in own)
        smallest = [fit for fit in own if fit.scale == scale]
        held = [
            fit.loss <= _FITTED and fit.effective_rank < ranks[fit.seed] and ratio(fit) >= _LARGER for fit in smallest
        ]
        told = [
            f"{fit.effective_rank:.2f} < {ranks[fit.seed]:.2f} and {ratio(fit):.3f}"
            if ok
            else f"{fit.effective_rank:.2f} against {ranks[fit.seed]:.2f}, {ratio(fit):.3f}, loss {fit.loss:.0e}"
            for fit, ok in zip(smallest, held, strict=True)
        ]
        checks.append(
            Check(
                f"{few[0].observed:,} entries, {model} from scale {scale:g}: they are fitted with lower effective "
                f"rank than the least nuclear norm has, and a nuclear norm larger by {_LARGER - 1:.0%} or more",
                "; ".join(told),
                all(held),
            )
        )
    return checks


def _sensing_checks(sensed: Sequence[Sensed], eps: float) -> list[Check]:
    scales = sorted({one.scale for one in sensed}, reverse=True)
    worst = [max(one.distance for one in sensed if one.scale == scale) for scale in scales]
    excess = max(abs(one.excess) for one in sensed if one.scale == scales[-1])
    apart = max(one.asymmetry for one in sensed)
    return [
        Check(
            "commuting measurements: a factorization that starts as U U^T stays symmetric, to rounding "
            f"({_SYMMETRIC * eps:.0e})",
            f"the layers differ by {apart:.1e} of their norm",
            apart <= _SYMMETRIC * eps,
        ),
        Check(
            f"commuting measurements: from scale {scales[-1]:g} it ends within {_REACHED:g} of the solution of least "
            "nuclear norm, and its norm does, for every target",
            f"distance {worst[-1]:.1e}, norm {excess:.1e}",
            worst[-1] <= _REACHED and excess <= _REACHED,
        ),
        Check(
            "commuting measurements: the distance falls as the scale does",
            "  ".join(f"{scale:g}: {distance:.1e}" for scale, distance in zip(scales, worst, strict=True)),
            len(scales) > 1 and all(a > b for a, b in pairwise(worst)),
        ),
    ]


def _completion_table(fits: Sequence[Fit]) -> Table:
    counts, ratio = _counts(fits), _ratios(fits)
    rows = []
    quantities: list[tuple[str, Callable[[Fit], float], str]] = [
        ("error", _error, ".1e"),
        ("effective rank", lambda fit: fit.effective_rank, ".2f"),
        ("nuclear norm / least", ratio, ".3f"),
    ]
    for name, of, shown in quantities:
        for k, model in enumerate(_models(fits)):
            cells = [format(_median(fits, model, count, of), shown) for count in counts]
            rows.append(("" if k else name, model, *cells))
    unfit = sum(fit.loss > _FITTED for fit in fits)
    note = "Medians over the targets; errors relative."
    if unfit:
        note += f" {unfit} runs did not reach a mean squared error of {_FITTED:g} on the observed entries."
    return Table(
        "Completion, by the number of observed entries", ("quantity", "model", *(f"{c:,}" for c in counts)), rows, note
    )


def _few_table(few: Sequence[Fit]) -> Table:
    ratio = _ratios(few)
    ranks = [fit.effective_rank for fit in few if fit.model == NUCLEAR]
    rows = [(NUCLEAR, "", f"{np.median(ranks):.2f}", "1", "")]
    for model, scale in dict.fromkeys((fit.model, fit.scale) for fit in few if fit.scale is not None):
        own = [fit for fit in few if (fit.model, fit.scale) == (model, scale)]
        rank = np.median([fit.effective_rank for fit in own])
        norm = np.median([ratio(fit) for fit in own])
        rows.append((model, f"{scale:g}", f"{rank:.2f}", f"{norm:.3f}", f"{max(fit.loss for fit in own):.0e}"))
    columns = ("model", "scale", "effective rank", "nuclear norm / least", "largest loss")
    return Table(f"Few observations: {few[0].observed:,} entries", columns, rows, "Medians over the targets.")


def _sensing_table(sensed: Sequence[Sensed]) -> Table:
    rows = []
    for scale in dict.fromkeys(one.scale for one in sensed):
        own = [one for one in sensed if one.scale == scale]
        cells = [max(getattr(one, name) for one in own) for name in ("distance", "excess", "asymmetry", "loss")]
        rank = f"{np.median([one.effective_rank for one in own]):.2f}"
        rows.append((f"{scale:g}", *(f"{cell:.1e}" for cell in cells), rank, f"{max(one.steps for one in own):,}"))
    columns = ("scale", "distance", "norm above the least", "asymmetry", "loss", "effective rank", "steps")
    note = "The largest over the targets (ranks: medians), relative to the solution of least nuclear norm."
    return Table("Commuting measurements: symmetric factorization of depth 2", columns, rows, note)


def _curves(fits: Sequence[Fit]) -> list[CompletionCurve]:
    counts, ratio = _counts(fits), _ratios(fits)

    def line(model: str, of: Callable[[Fit], float]) -> list[float]:
        return [_median(fits, model, count, of) for count in counts]

    return [
        CompletionCurve(
            model if model != depth_name(1) else f"{model}, zero-fill",
            counts,
            line(model, _error),
            line(model, lambda f: f.effective_rank),
            line(model, ratio),
        )
        for model in _models(fits)
        # zero-fill is what depth 1 finds: one line for both
        if model != ZERO
    ]


def _scale_curves(few: Sequence[Fit], sensed: Sequence[Sensed]) -> list[ScaleCurve]:
    ratio = _ratios(few)
    found = []
    for model in (depth_name(2), depth_name(3)):
        scales = sorted({fit.scale for fit in few if fit.model == model and fit.scale is not None})
        excess = [
            float(np.median([ratio(fit) - 1 for fit in few if (fit.model, fit.scale) == (model, scale)]))
            for scale in scales
        ]
        found.append(ScaleCurve(f"{few[0].observed:,} entries, {model}", scales, excess))
    scales = sorted({one.scale for one in sensed})
    excess = [float(np.median([one.excess for one in sensed if one.scale == scale])) for scale in scales]
    found.append(ScaleCurve("commuting measurements, symmetric", scales, excess))
    return found
