"""The tensor-completion recipe's numbers: medians and quartiles beside what was published, and the verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.plots import Rebound, Recovery, recovery

if TYPE_CHECKING:
    from tnrank.experiments._recipes._tensor_completion import TensorCompletion

ZEROS = "zeros"
_REPETITIONS = 10
_ACCURATE, _ACCURATE_4 = 1e-5, 5e-5
_REBOUND = 100.0
_FEW_3, _FEW_4 = 100, 1000
"""From how many observations on the claims about smaller initial weights and about order 4 are made."""

# (order, std or zeros) -> count -> (error, CP rank), read off the published figure
_PUBLISHED: dict[tuple[int, Any], dict[int, tuple[float | None, int | None]]] = {
    (3, ZEROS): {
        **{50: (1.0, 12), 100: (None, 16), 150: (None, 17), 200: (None, 17), 250: (None, 17), 300: (None, 17)},
        **{350: (None, 17), 400: (None, 16), 450: (None, 16), 511: (0.07, 2)},
    },
    (3, 1e-2): {
        **{50: (1.2, 4), 100: (0.05, 1), 150: (8e-3, 1), 200: (None, 1), 250: (3e-3, 1)},
        **dict.fromkeys((300, 350, 400, 450, 511), (6e-4, 1)),
    },
    (3, 1e-3): {
        **{50: (0.12, 1), 100: (4e-3, 1), 150: (4e-4, 1), 200: (5e-6, 1), 511: (5e-7, 1)},
        **dict.fromkeys((250, 300, 350, 400, 450), (2e-6, 1)),
    },
    (4, ZEROS): {
        **{100: (1.0, 7), 500: (None, 37), 1000: (None, 47), 1500: (None, 51), 2000: (None, 52), 2500: (None, 52)},
        **{3000: (None, 48), 3500: (None, 41), 4095: (0.01, 1)},
    },
    (4, 1e-2): {
        **{100: (1.5, 2), 500: (0.2, 2), 1000: (1e-4, 1)},
        **dict.fromkeys((1500, 2000, 2500, 3000, 3500, 4095), (2e-5, 1)),
    },
    (4, 1e-3): {
        **{100: (10.0, 1), 500: (2.5e-4, 1), 1000: (8e-7, 1)},
        **dict.fromkeys((1500, 2000, 2500, 3000, 3500, 4095), (5e-7, 1)),
    },
}


@dataclass(frozen=True)
class Fitted:
    """One trained factorization: the lowest loss and the error there, and the CP rank of the end tensor."""

    order: int
    count: int
    std: float
    seed: int
    reached: bool
    steps: int
    lowest_step: int
    loss: float
    error: float
    cp_rank: int


@dataclass(frozen=True)
class Baseline:
    """The observed entries and zeros elsewhere; the CP rank where it was measured."""

    order: int
    count: int
    seed: int
    error: float
    cp_rank: int | None


@dataclass(frozen=True)
class Continued:
    """Losses and errors ``(runs, K)`` of runs without a stop rule."""

    steps: Any
    losses: Any
    errors: Any

    @property
    def at_lowest(self) -> Any:
        """The error of each run at its lowest loss."""
        return self.errors[np.arange(len(self.errors)), np.argmin(self.losses, axis=1)]


def quartiles(numbers: Iterable[float | None]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; NaN of nothing."""
    found = [float(n) for n in numbers if n is not None]
    if not found:
        return (np.nan,) * 3
    low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def outcome(
    recipe: TensorCompletion, fitted: Sequence[Fitted], baselines: Sequence[Baseline], continued: Continued | None
) -> Outcome:
    """Figure, tables, checks and summary."""
    tables, rows, summary = [], [], dict[str, Any]()
    for order in recipe.orders:
        cells = _Cells(order, recipe.stds, fitted, baselines)
        tables += [cells.table("error"), cells.table("cp_rank")]
        rows.append(cells.row(recipe.target_rank))
        summary[f"order_{order}"] = cells.summary()
    checks = _checks(recipe, fitted, baselines, continued)
    if continued is not None:
        summary["continued"] = {
            "median_error_at_lowest_loss": float(np.median(continued.at_lowest)),
            "median_error_at_end": float(np.median(continued.errors[:, -1])),
        }
    figure = recovery(rows, _rebound(recipe, continued))
    return Outcome(summary, tables, checks, figure, {"runs.csv": _csv(fitted)})


class _Cells:
    """What was measured at one order, by label and number of observations."""

    def __init__(
        self, order: int, stds: Sequence[float], fitted: Sequence[Fitted], baselines: Sequence[Baseline]
    ) -> None:
        self.order, self.labels = order, (ZEROS, *stds)
        self.found: dict[Any, list[Any]] = {ZEROS: [b for b in baselines if b.order == order]}
        self.found |= {std: [f for f in fitted if (f.order, f.std) == (order, std)] for std in stds}
        self.counts = sorted({b.count for b in self.found[ZEROS]})

    def of(self, label: Any, count: int, quantity: str) -> tuple[float, float, float]:
        return quartiles(getattr(one, quantity) for one in self.found[label] if one.count == count)

    def table(self, quantity: str) -> Table:
        """Medians, quartiles in brackets, and the published medians."""
        title, show = ("Relative error", _small) if quantity == "error" else ("CP rank", _plain)
        columns = ["observed"]
        for label in self.labels:
            columns += [_label(label), "published"]
        rows = []
        for count in self.counts:
            row = [f"{count:,}"]
            for label in self.labels:
                low, middle, high = self.of(label, count, quantity)
                published = _PUBLISHED.get((self.order, label), {}).get(count, (None, None))[quantity != "error"]
                row += [f"{show(middle)} [{show(low)}, {show(high)}]", "" if published is None else f"{published:g}"]
            rows.append(row)
        note = "Median and quartiles. The published targets were others."
        if quantity == "error":
            note += " Errors are those at the lowest training loss."
        else:
            note += " The CP rank is the fewest components that a search finds: a longer one may find fewer."
        return Table(f"{title} at order {self.order}", columns, rows, note)

    def row(self, true_rank: int) -> Recovery:
        def series(quantity: str) -> dict[str, Any]:
            return {
                _label(label): np.transpose([self.of(label, count, quantity) for count in self.counts])
                for label in self.labels
            }

        return Recovery(f"Order {self.order}", self.counts, series("error"), series("cp_rank"), true_rank)

    def summary(self) -> dict[str, Any]:
        return {
            _label(label): {
                str(count): {
                    "repetitions": sum(one.count == count for one in self.found[label]),
                    "error": self.of(label, count, "error"),
                    "cp_rank": self.of(label, count, "cp_rank"),
                }
                | ({} if label == ZEROS else {"reached": sum(o.reached for o in self.found[label] if o.count == count)})
                for count in self.counts
            }
            for label in self.labels
        }


def _checks(
    recipe: TensorCompletion, fitted: Sequence[Fitted], baselines: Sequence[Baseline], continued: Continued | None
) -> list[Check]:
    small, large, count = min(recipe.stds), max(recipe.stds), recipe.claim_count
    checks = []
    if 3 in recipe.orders:
        where = f"order 3, {count} observations, std {small:g}"
        chosen = [f for f in fitted if (f.order, f.count, f.std) == (3, count, small)]
        median = quartiles(f.error for f in chosen)[1]
        ranks = sorted({f.cp_rank for f in chosen})
        reached = sum(f.reached for f in chosen)
        checks += [
            Check(
                f"{where}: the median error of {_REPETITIONS} repetitions or more is under {_ACCURATE:g}",
                f"{median:.1e} of {len(chosen)}; {reached} reached a loss of {recipe.stop_loss:g}",
                len(chosen) >= _REPETITIONS and median < _ACCURATE,
            ),
            Check(
                f"{where}: all have the CP rank of the target",
                f"CP rank {', '.join(map(str, ranks)) or 'not measured'}",
                ranks == [recipe.target_rank],
            ),
            _rebounds(where, continued),
        ]
        several = small < large
        if several:
            checks.append(_smaller_is_better(recipe, fitted))
    for order in recipe.orders:
        checks.append(_beats_zeros(recipe, order, fitted, baselines))
    if 4 in recipe.orders:
        checks.append(_order_4(recipe, fitted))
    return checks


def _rebounds(where: str, continued: Continued | None) -> Check:
    claim = f"{where}: training on past the lowest loss makes the median error {_REBOUND:g} times larger or more"
    if continued is None:
        return Check(claim, "not measured", False)
    lowest, end = float(np.median(continued.at_lowest)), float(np.median(continued.errors[:, -1]))
    told = f"{lowest:.1e} at the lowest loss, {end:.1e} at step {int(continued.steps[-1]):,}"
    return Check(claim, told, lowest < _ACCURATE and end >= _REBOUND * lowest)


def _medians(fitted: Sequence[Fitted], order: int, std: float, least: int) -> dict[int, float]:
    chosen = [f for f in fitted if (f.order, f.std) == (order, std) and f.count >= least]
    return {
        count: quartiles(f.error for f in chosen if f.count == count)[1] for count in sorted({f.count for f in chosen})
    }


def _smaller_is_better(recipe: TensorCompletion, fitted: Sequence[Fitted]) -> Check:
    small, large = min(recipe.stds), max(recipe.stds)
    a, b = _medians(fitted, 3, small, _FEW_3), _medians(fitted, 3, large, _FEW_3)
    factors = [b[count] / a[count] for count in a]
    return Check(
        f"order 3, from {_FEW_3} observations on: std {small:g} has a lower median error than std {large:g}",
        f"by factors of {min(factors):.1f} to {max(factors):.0f}" if factors else "not measured",
        bool(factors) and min(factors) > 1,
    )


def _beats_zeros(
    recipe: TensorCompletion, order: int, fitted: Sequence[Fitted], baselines: Sequence[Baseline]
) -> Check:
    """Between few entries, from which nothing can be told, and all of them."""
    least, most = (_FEW_3 if order == 3 else _FEW_4), 0.9 * recipe.dimension**order
    small = min(recipe.stds)
    counts = sorted({b.count for b in baselines if b.order == order and least <= b.count <= most})
    told, holds = [], bool(counts)
    for count in counts:
        ours = [f for f in fitted if (f.order, f.count, f.std) == (order, count, small)]
        zeros = [b for b in baselines if (b.order, b.count) == (order, count)]
        errors = quartiles(f.error for f in ours)[1], quartiles(b.error for b in zeros)[1]
        ranks = quartiles(f.cp_rank for f in ours)[1], quartiles(b.cp_rank for b in zeros)[1]
        told.append((errors[1] / errors[0], ranks))
        holds = holds and errors[0] < 0.1 * errors[1] and ranks[0] < ranks[1]
    measured = "not measured"
    if told:
        factor, (own, other) = min(told, key=lambda one: one[0])
        measured = f"at least {factor:.0f} times lower; CP rank {own:g} against {other:g} there"
    claim = f"order {order}, from {least:,} observations on: error below a tenth of zero-filling's, and a lower CP rank"
    return Check(claim, measured, holds)


def _order_4(recipe: TensorCompletion, fitted: Sequence[Fitted]) -> Check:
    small = min(recipe.stds)
    medians = _medians(fitted, 4, small, _FEW_4)
    ranks = [f.cp_rank for f in fitted if (f.order, f.std) == (4, small) and f.count >= _FEW_4]
    worst = max(medians.values(), default=np.nan)
    return Check(
        f"order 4, from {_FEW_4:,} observations on, std {small:g}: median errors under {_ACCURATE_4:g} and the CP rank "
        "of the target",
        f"at most {worst:.1e}; CP ranks {', '.join(map(str, sorted(set(ranks)))) or 'not measured'}",
        worst < _ACCURATE_4 and set(ranks) == {recipe.target_rank},
    )


def _rebound(recipe: TensorCompletion, continued: Continued | None) -> Rebound | None:
    if continued is None:
        return None
    title = f"No stop rule ({recipe.claim_count} entries, std {min(recipe.stds):g})"
    over = (0.25, 0.5, 0.75)
    return Rebound(
        title, continued.steps, np.quantile(continued.errors, over, axis=0), np.quantile(continued.losses, over, axis=0)
    )


def _csv(fitted: Sequence[Fitted]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(field.name for field in fields(Fitted))
    writer.writerows(astuple(one) for one in fitted)
    return buffer.getvalue().encode()


def _label(label: Any) -> str:
    return "zero-filling" if label == ZEROS else f"std {label:g}"


_small: Callable[[float], str] = "{:.1e}".format


def _plain(number: float) -> str:
    return "-" if np.isnan(number) else f"{number:g}"
