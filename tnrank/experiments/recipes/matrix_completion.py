"""Matrix completion by factorizations of depth 1 to 4 beside the nuclear norm, and both sides of the conjecture."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank.data import low_rank_matrix, observe
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Depth, NonNegative, Positive, Seeds, Several, Steps, TargetFile
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, Training, register
from tnrank.experiments.recipes._commuting import Commuting, sensed, sensing_checks, sensing_table
from tnrank.factorizations import MatrixFactorization
from tnrank.plots.painters import Figure, Line, lines, panels, plain_logarithms
from tnrank.ranks import effective_rank, schatten_norm
from tnrank.theory import minimum_nuclear_norm, zero_fill
from tnrank.training import CompletionResult, GradientDescent, GroupRMSProp, recorders

_Fit = dict[str, Any]

_NUCLEAR, _ZERO = "least nuclear norm", "zero-fill"
_GAP = 1e-4  # relative duality gap of the solutions of least nuclear norm
_STOP = 1e-14  # of the sensing loss, whose target has norm 1
_RECORDS = 100
_SHARES = (3 / 16, 1 / 4, 5 / 16, 3 / 8, 1 / 2, 3 / 4)  # of the entries that are observed, if no numbers are given

_RECOVERED = 0.05  # the relative error up to which a target counts as recovered
_APART = 2.0  # how many times as large the error of what does not recover it is at least
_FITTED = 1e-4  # mean squared error, where the mean square is about 1, up to which observed entries count as fitted
_LARGER = 1.01  # a nuclear norm counts as larger than the least from this ratio on; the least is known to 1e-4
_FILLED = 0.01  # the share of zero-fill's norm within which a matrix counts as zero-fill
_EXACT = 1e-8  # what is less above the least nuclear norm is drawn there

# what is measured of a fit -> its name and format in the table, title and label of its panel
_QUANTITIES = {
    "error": ("error", ".1e", "Error over all entries", "relative error"),
    "effective_rank": ("effective rank", ".2f", "Effective rank", "effective rank"),
    "ratio": ("nuclear norm / least", ".3f", "Nuclear norm", "nuclear norm / least"),
}


@register
@dataclass(frozen=True, kw_only=True)
class MatrixCompletion(Recipe):
    """Completion of low-rank matrices, and of commuting measurements, by matrix factorizations from small weights.

    A *scale* is that of the initial end matrix relative to the target: the standard deviation of its entries where the
    target's mean square is 1, its norm where the target's norm is 1.

    Attributes:
        target: file of a matrix to complete in place of the random ones; what is claimed of their rank is left out.
        seeds: how many targets (one target with other observations and starts, if it is given): seed, seed + 1, ..
        size: of the random square targets.
        rank: of the random targets.
        observed: numbers of observed entries; from 3/16 to 3/4 of all if not given.
        depths: of the factorizations, whose hidden sizes are full.
        scales: one a depth.
        learning_rate: of GroupRMSProp.
        steps: of a completion, at most.
        stop_loss: a completion is done when its mean squared error is below.
        few: a small number of observed entries; 3/16 of all if not given.
        few_scales_2: scales of the factorizations of depth 2 on few observed entries.
        few_scales_3: scales of the factorizations of depth 3 on few observed entries.
        sensing_size: of the matrix with commuting measurements.
        sensing_rank: of the solution of least nuclear norm of the commuting measurements.
        measurements: how many commuting ones.
        sensing_scales: scales of the symmetric factorizations of depth 2 on commuting measurements.
        sensing_rate: of gradient descent on commuting measurements.
        sensing_steps: of a symmetric factorization on commuting measurements, at most.

    The paper preset has the published size and rank, 100 x 100 and 5. Deeper factorizations start from larger scales,
    since they fit few observations slowly: of the quick size, from 1e-6, depth 4 has not fitted 192 entries after
    40,000 steps.

    Source: Gunasekar et al. 2017 (the conjecture, and its proof for commuting measurements); Arora et al. 2019, Figs. 1
    and 2; Razin & Cohen 2020 (the optimizer).
    """

    name: ClassVar[str] = "matrix-completion"
    title: ClassVar[str] = "matrix factorizations of depth 1 to 4 beside the least nuclear norm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"seeds": 3, "size": 100, "rank": 5, "observed": (1000, 1500, 2000, 2500, 3000, 4000, 6000)},
            **{"few": 1000, "steps": 30_000, "sensing_size": 50, "sensing_rank": 5, "measurements": 20},
            "sensing_steps": 40_000,
        },
    }
    draws: ClassVar[bool] = True

    target: TargetFile = None
    seeds: Seeds = 2
    size: Count = 32
    rank: Count = 3
    observed: Annotated[tuple[Count, ...] | None, Several()] = None
    depths: Annotated[tuple[Depth, ...], Several()] = (1, 2, 3, 4)
    scales: Annotated[tuple[Positive, ...], Several()] = (1e-6, 1e-6, 1e-4, 1e-4)
    learning_rate: Positive = 3e-3
    steps: Steps = 20_000
    stop_loss: NonNegative = 1e-5
    few: Count | None = None
    few_scales_2: Annotated[tuple[Positive, ...], Several()] = (1e-2, 1e-4, 1e-6, 1e-8)
    few_scales_3: Annotated[tuple[Positive, ...], Several()] = (1e-2, 1e-3, 1e-4, 1e-5)
    sensing_size: Count = 16
    sensing_rank: Count = 3
    measurements: Count = 8
    sensing_scales: Annotated[tuple[Positive, ...], Several()] = (1e-2, 1e-4, 1e-6, 1e-8)
    sensing_rate: Positive = 0.05
    sensing_steps: Steps = 20_000

    def check(self) -> None:
        if self.target is None:
            if self.rank > self.size:
                raise ValueError(f"a target of size {self.size} has a rank from 1 to {self.size}, got rank={self.rank}")
            self._counts((self.size, self.size))
        if len(self.scales) != len(self.depths):
            raise ValueError(f"scales has one number for each of depths={self.depths}, got {self.scales}")
        if not {1, 2, 3} <= set(self.depths):
            raise ValueError(f"depths has 1, 2 and 3 in it, which the verdict compares, got {self.depths}")
        if self.sensing_rank > (most := min(self.measurements, self.sensing_size)):
            raise ValueError(f"sensing_rank is at most {most}, measurements or sensing_size, got {self.sensing_rank}")

    def _counts(self, shape: tuple[int, ...]) -> tuple[list[int], int]:
        """Numbers of observed entries of a target, and the small one."""
        whose = self.target or "the target"
        given = self.observed or (None,) * len(_SHARES)
        observed = [kit.count_observed(n, shape, share, whose) for n, share in zip(given, cycle(_SHARES), strict=False)]
        # Of a small target some shares are one number.
        return sorted({*observed}), kit.count_observed(self.few, shape, _SHARES[0], whose, "few")

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        given = None
        if self.target is not None:
            given = kit.unit(kit.read_target(self.target, orders=[2]))
        observed, fewest = self._counts((self.size, self.size) if given is None else given.shape)
        fits, few, commuting = list[_Fit](), list[_Fit](), list[dict[str, Any]]()
        for seed in range(self.seed, self.seed + self.seeds):
            target = low_rank_matrix((self.size, self.size), self.rank, seed=seed) if given is None else given
            for count in observed:
                journal.say(f"least nuclear norm, {count} entries")
                problem = _Problem(target, count, seed)
                fits += [problem.fit(_NUCLEAR, problem.least), problem.fit(_ZERO, problem.filled)]
                for depth, scale in zip(self.depths, self.scales, strict=True):
                    fits.append((yield from self._trained(f"depth_{depth}_{count}", problem, depth, scale)))
            problem = _Problem(target, fewest, seed)
            few.append(problem.fit(_NUCLEAR, problem.least))
            for depth, scales in ((2, self.few_scales_2), (3, self.few_scales_3)):
                for scale in scales:
                    few.append((yield from self._trained(f"few_depth_{depth}_scale_{scale:g}", problem, depth, scale)))
            commuting += yield from self._sensing(seed)
        summary = {"completion": [*map(_row, fits)], "few_observations": [*map(_row, few)], "commuting": commuting}
        checks = _completion_checks(fits, low_rank=given is None) + _few_checks(few)
        checks += sensing_checks(commuting, float(np.finfo(self.dtype).eps))
        tables = [_completion_table(fits), _few_table(few), sensing_table(commuting)]
        return Outcome(summary, tables, checks, partial(_figure, fits, few, commuting))

    def _trained(self, name: str, problem: _Problem, depth: int, scale: float) -> Generator[Training, Any, _Fit]:
        shape, every = problem.target.shape, max(1, self.steps // _RECORDS)
        # Entries of a product of L layers with entries of deviation s have deviation s^L hidden^((L-1)/2).
        std = float((scale / min(shape) ** ((depth - 1) / 2)) ** (1 / depth))
        options: dict[str, Any] = {"seed": problem.seed, "backend": self.backend, "dtype": self.dtype}
        result: CompletionResult = yield Training(
            f"{name}_seed_{problem.seed}",
            MatrixFactorization.random(shape, depth, std=std, **options),
            *(problem.indices, problem.values),
            optimizer=GroupRMSProp(self.learning_rate),
            steps=self.steps,
            stop=self.stop_loss,
            record=[recorders.Loss(every), recorders.Error(problem.target, every=every)],
            save=False,
        )
        return problem.fit(f"depth {depth}", kit.end_tensor(result.factorization), scale, result)

    def _sensing(self, seed: int) -> Generator[Training, Any, list[dict[str, Any]]]:
        problem = Commuting.planted(self.sensing_size, self.measurements, self.sensing_rank, seed)
        measured, values, loss = problem.observations()
        every, scales = max(1, self.sensing_steps // _RECORDS), self.sensing_scales
        results = yield Training(
            [f"sensing_scale_{scale:g}_seed_{seed}" for scale in scales],
            [problem.start(scale, seed).to(self.backend, dtype=self.dtype) for scale in scales],
            *(measured, values),
            loss=loss,
            optimizer=GradientDescent(self.sensing_rate),
            steps=self.sensing_steps,
            stop=_STOP,
            record=[recorders.Loss(every), recorders.Error(problem.solution, every=every)],
            save=False,
        )
        return [sensed(problem, scale, seed, one) for scale, one in zip(scales, results, strict=True)]


class _Problem:
    """A target, some of its entries, and what two convex programs make of them."""

    def __init__(self, target: HostArray, count: int, seed: int) -> None:
        self.target, self.count, self.seed = target, count, seed
        self.indices, self.values = observe(target, count, seed=seed)
        if not self.values.any():
            raise ValueError(
                f"all {count} entries of the target that seed {seed} observes are 0: nothing to learn from"
            )
        self.least = minimum_nuclear_norm(target.shape, self.indices, self.values, rtol=_GAP).matrix
        self.least_norm = float(schatten_norm(self.least, 1))
        self.filled = zero_fill(target.shape, self.indices, self.values)

    def fit(self, model: str, matrix: HostArray, scale: float = 0.0, result: CompletionResult | None = None) -> _Fit:
        """What is measured of a matrix; of a trained one also its scale, loss and steps."""
        rank, norm = float(effective_rank(matrix)), float(schatten_norm(matrix, 1))
        found: _Fit = {"model": model, "observed": self.count, "seed": self.seed}
        found["error"], found["from_zeros"] = (kit.relative_error(matrix, one) for one in (self.target, self.filled))
        found |= {"effective_rank": rank, "nuclear_norm": norm, "ratio": norm / self.least_norm}
        if result is not None:
            found |= {"scale": scale, "loss": result.loss, "steps": result.steps, "status": result.status}
        return found


def _row(fit: _Fit) -> dict[str, Any]:
    return {name: value for name, value in fit.items() if name not in ("ratio", "from_zeros")}


def _medians(fits: Sequence[_Fit], quantity: str) -> dict[str, list[float]]:
    """Model -> median over the targets for each number of observed entries."""
    models = dict.fromkeys(fit["model"] for fit in fits)
    return {m: [kit.median(fits, quantity, model=m, observed=n) for n in _counts(fits)] for m in models}


def _counts(fits: Sequence[_Fit]) -> list[int]:
    return sorted({fit["observed"] for fit in fits})


def _completion_checks(fits: Sequence[_Fit], low_rank: bool = True) -> list[Check]:
    counts, errors = _counts(fits), _medians(fits, "error")
    away = max(fit["from_zeros"] for fit in fits if fit["model"] == "depth 1")
    shallow = f"depth 1 ends within {_FILLED:.0%} of zero-fill: it learns nothing of what is not observed"
    checks = [Check(shallow, f"at most {away:.1e} away", away <= _FILLED)]
    if low_rank:
        last = {model: own[-1] for model, own in errors.items() if model not in (_ZERO, "depth 1")}
        worst = max(last, key=lambda model: last[model])
        claim = (
            f"from {counts[-1]:,} entries, depths from 2 on and the least nuclear norm recover the target "
            f"(median error up to {_RECOVERED:g})"
        )
        checks.append(Check(claim, f"worst {last[worst]:.1e}, {worst}", last[worst] <= _RECOVERED))
    pairs = list(zip(counts, errors["depth 3"], errors[_NUCLEAR], strict=True))
    ahead = [pair for pair in pairs if pair[1] <= _RECOVERED < pair[2] and pair[2] >= _APART * pair[1]]
    shown = ahead or [min(pairs, key=lambda pair: pair[1] / max(pair[2], 1e-12))]
    claim = (
        f"depth 3 recovers the target from fewer entries: median error up to {_RECOVERED:g} where that of the "
        f"least nuclear norm is larger, {_APART:g} times or more that of depth 3"
    )
    measured = "; ".join(f"{n:,} entries: {deep:.3f} against {convex:.3f}" for n, deep, convex in shown)
    return [*checks, Check(claim, measured, bool(ahead))]


def _few_checks(few: Sequence[_Fit]) -> list[Check]:
    ranks = {fit["seed"]: fit["effective_rank"] for fit in few if fit["model"] == _NUCLEAR}
    checks = []
    for model in ("depth 2", "depth 3"):
        scale = min(fit["scale"] for fit in few if fit["model"] == model)
        told, holds = [], True
        for fit in (one for one in few if (one["model"], one.get("scale")) == (model, scale)):
            rank, least, ratio, loss = fit["effective_rank"], ranks[fit["seed"]], fit["ratio"], fit["loss"]
            if loss <= _FITTED and rank < least and ratio >= _LARGER:
                told.append(f"{rank:.2f} < {least:.2f} and {ratio:.3f}")
            else:
                told.append(f"{rank:.2f} against {least:.2f}, {ratio:.3f}, loss {loss:.0e}")
                holds = False
        claim = (
            f"{few[0]['observed']:,} entries, {model} from scale {scale:g}: they are fitted with lower effective "
            f"rank than the least nuclear norm has, and a nuclear norm larger by {_LARGER - 1:.0%} or more"
        )
        checks.append(Check(claim, "; ".join(told), holds))
    return checks


def _completion_table(fits: Sequence[_Fit]) -> Table:
    rows = []
    for quantity, (title, form, *_) in _QUANTITIES.items():
        for k, (model, medians) in enumerate(_medians(fits, quantity).items()):
            rows.append(("" if k else title, model, *(format(value, form) for value in medians)))
    note = "Medians over the targets; errors relative."
    if unfit := sum(fit.get("loss", 0.0) > _FITTED for fit in fits):
        note += f" {unfit} runs did not reach a mean squared error of {_FITTED:g} on the observed entries."
    columns = ("quantity", "model", *(f"{n:,}" for n in _counts(fits)))
    return Table("Completion, by the number of observed entries", columns, rows, note)


def _few_table(few: Sequence[_Fit]) -> Table:
    rows = [(_NUCLEAR, "", f"{kit.median(few, 'effective_rank', model=_NUCLEAR):.2f}", "1", "")]
    for model, scale in dict.fromkeys((fit["model"], fit["scale"]) for fit in few if "scale" in fit):
        rank, norm = (kit.median(few, quantity, model=model, scale=scale) for quantity in ("effective_rank", "ratio"))
        loss = max(fit["loss"] for fit in few if (fit["model"], fit.get("scale")) == (model, scale))
        rows.append((model, f"{scale:g}", f"{rank:.2f}", f"{norm:.3f}", f"{loss:.0e}"))
    columns = ("model", "scale", "effective rank", "nuclear norm / least", "largest loss")
    return Table(f"Few observations: {few[0]['observed']:,} entries", columns, rows, "Medians over the targets.")


def _figure(fits: Sequence[_Fit], few: Sequence[_Fit], commuting: Sequence[dict[str, Any]]) -> Figure:
    """Errors, effective ranks and nuclear norms against observed entries; nuclear norms against the initial scale."""
    figure, axes = panels(2, 2, width=5.1, height=3.6)
    for panel, (quantity, (*_, title, label)) in zip(axes.flat, _QUANTITIES.items(), strict=False):
        drawn = list[Line]()
        for model, medians in _medians(fits, quantity).items():
            if model != _ZERO:
                # Depth 1 finds what zero-fill does: one line for both.
                name = f"{model}, {_ZERO}" if model == "depth 1" else model
                color, style = ("ink", "--") if model == _NUCLEAR else (len(drawn) - 1, "-")
                drawn.append(Line(_counts(fits), medians, name, color, style, marker=True))
        lines(panel, drawn, title, "observed entries", label, "y", "best" if quantity == "effective_rank" else None)
        if quantity == "error":
            # Where a convex solver is exact there is nothing left to see.
            panel.set_ylim(bottom=0.5 * max(min(min(line.y) for line in drawn[1:]), 1e-12))
        else:
            plain_logarithms(panel.yaxis)
    trained = [{**fit, "excess": fit["ratio"] - 1} for fit in few if "scale" in fit]
    drawn = []
    for name, color in (("depth 2", 1), ("depth 3", 2), ("commuting measurements, symmetric", 4)):
        runs = [fit for fit in trained if fit["model"] == name] or commuting
        label = f"{few[0]['observed']:,} entries, {name}" if runs is not commuting else name
        scales = sorted({run["scale"] for run in runs})
        excess = [kit.median(runs, "excess", scale=scale) for scale in scales]
        drawn.append(Line(scales, np.maximum(excess, _EXACT), label, color, marker=True))
    label = "nuclear norm / least - 1"
    lines(axes[1, 1], drawn, "As the initial scale shrinks", "initial scale", label, "xy", "lower left")
    axes[1, 1].invert_xaxis()
    return figure
