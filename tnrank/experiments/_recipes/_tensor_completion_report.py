"""The tensor-completion recipe's numbers: medians and quartiles beside what was published, and the verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments._outcome import Outcome, Table
from tnrank.experiments._recipes._tensor_completion_checks import checks_of
from tnrank.experiments._recipes._tensor_completion_runs import Baseline, Continued, Fitted, quartiles
from tnrank.plots import Rebound, Recovery, recovery

if TYPE_CHECKING:
    from tnrank.experiments._recipes._tensor_completion import TensorCompletion

ZEROS = "zeros"

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
    checks = checks_of(recipe, fitted, baselines, continued)
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
