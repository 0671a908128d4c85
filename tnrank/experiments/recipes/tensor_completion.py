"""Tensor completion by CP factorization: error and CP rank against the number of observations."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from tnrank.data import low_rank_tensor, observe
from tnrank.experiments.fields import Count, Every, NonNegative, Positive, Range, Seeds, Several, Steps
from tnrank.experiments.kit import Journal, Outcome, Recipe, Table, Training, end_tensor, register
from tnrank.experiments.recipes import _tensor_completion_claims as report
from tnrank.factorizations import CPFactorization
from tnrank.plots.painters import INK, Figure, Line, legend, lines, panels
from tnrank.training import CompletionResult, GroupRMSProp, Stop, recorders

_LEFT_ORIGIN = 0.01  # the share of the first loss below which a run is past the plateau at the origin
_WRITTEN_EVERY = 100

_PUBLISHED_COUNTS = {
    3: (50, 100, 150, 200, 250, 300, 350, 400, 450, 511),
    4: (100, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4095),
}
# (order, std or zeros) -> errors and CP ranks at these counts, read off the published figure
_PUBLISHED: dict[tuple[int, Any], dict[str, Sequence[float | None]]] = {
    (3, report.ZEROS): {"error": (1.0, *[None] * 8, 0.07), "cp_rank": (12, 16, 17, 17, 17, 17, 17, 16, 16, 2)},
    (3, 1e-2): {"error": (1.2, 0.05, 8e-3, None, 3e-3, *[6e-4] * 5), "cp_rank": (4, *[1] * 9)},
    (3, 1e-3): {"error": (0.12, 4e-3, 4e-4, 5e-6, *[2e-6] * 5, 5e-7), "cp_rank": [1] * 10},
    (4, report.ZEROS): {"error": (1.0, *[None] * 7, 0.01), "cp_rank": (7, 37, 47, 51, 52, 52, 48, 41, 1)},
    (4, 1e-2): {"error": (1.5, 0.2, 1e-4, *[2e-5] * 6), "cp_rank": (2, 2, *[1] * 7)},
    (4, 1e-3): {"error": (10.0, 2.5e-4, 8e-7, *[5e-7] * 6), "cp_rank": [1] * 9},
}

# order, number of observed entries, standard deviation, seed
_Key = tuple[int, int, float, int]


@register
@dataclass(frozen=True, kw_only=True)
class TensorCompletion(Recipe):
    """Completion of tensors of low CP rank from few entries, beside filling in zeros.

    Each repetition has a target, an order in which its entries become known, and initial weights of its own. The CP
    factorizations have ``dimension ** (order - 1)`` components, enough for any tensor.

    Attributes:
        orders: of the targets, 3 or 4 or both.
        dimension: of every mode.
        target_rank: CP rank of the targets, whose norm is 1.
        counts: numbers of observed entries at order 3.
        order4_counts: numbers of observed entries at order 4.
        stds: standard deviations of the initial weights.
        seeds: repetitions at order 3: seed, seed + 1, ..
        order4_seeds: repetitions at order 4.
        steps: the most steps at order 3.
        order4_steps: the most steps at order 4, where small weights take long to leave the origin.
        continued_steps: of the runs that go on past the lowest loss.
        claim_count: the number of observed entries, at order 3, that the claims are about.
        learning_rate: of GroupRMSProp.
        stop_loss: a run is done at the first step whose loss is below this.
        patience: runs that train together end when each is done or has left the origin and not lowered its loss for
            so many steps.
        rank_tolerance: mean squared entry error of the CP fit that the CP rank is read off.
        baseline_seeds: repetitions in which the CP rank of the baseline is measured, which takes longer than training.

    Source: Razin & Cohen 2020, Sec. 4.2 and App.
    """

    name: ClassVar[str] = "tensor-completion"
    title: ClassVar[str] = "gradient descent on CP factorizations completes tensors of low rank from few entries"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"counts": (50, 100, 200, 300, 400), "steps": 1500, "continued_steps": 2500, "baseline_seeds": 1},
        "paper": {
            "orders": (3, 4),
            "counts": (50, 100, 150, 200, 250, 300, 350, 400, 450, 511),
            "order4_counts": (100, 500, 1000, 2000, 3000, 4095),
        },
    }
    draws: ClassVar[bool] = True

    orders: Annotated[tuple[Literal[3, 4], ...], Several(once=True)] = (3,)
    dimension: Annotated[int, Range(2, 1000)] = 8
    target_rank: Count = 1
    counts: Annotated[tuple[Count, ...], Several()] = (50, 100, 200, 300, 400)
    order4_counts: Annotated[tuple[Count, ...], Several()] = (100, 500, 1000, 2000)
    stds: Annotated[tuple[Positive, ...], Several()] = (1e-2, 1e-3)
    seeds: Seeds = 10
    order4_seeds: Seeds = 5
    steps: Steps = 3000
    order4_steps: Steps = 50_000
    continued_steps: Steps = 3000
    claim_count: Count = 300
    learning_rate: Positive = 1e-2
    stop_loss: NonNegative = 1e-14
    patience: Every = 2000
    rank_tolerance: NonNegative = 1e-6
    baseline_seeds: Seeds = 5

    def check(self) -> None:
        for order in self.orders:
            counts, size = self._counts(order), self.dimension**order
            if max(counts) > size:
                raise ValueError(f"numbers of observed entries at order {order} lie in 1 .. {size}, got {counts}")

    def _counts(self, order: int) -> tuple[int, ...]:
        return self.counts if order == 3 else self.order4_counts

    def _repetitions(self, order: int) -> range:
        return range(self.seed, self.seed + (self.seeds if order == 3 else self.order4_seeds))

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        fitted = []
        for keys in self._batches():
            results = yield from self._train(journal, keys, self.steps if keys[0][0] == 3 else self.order4_steps)
            journal.say(f"{_name(*keys[0])}: CP ranks")
            fitted += [self._fitted(key, result) for key, result in zip(keys, results, strict=True)]
        found = fitted + [one for order in self.orders for one in self._baselines(journal, order)]
        continued = yield from self._continue(journal)
        summary = {f"order_{order}": _summary(self, found, order) for order in self.orders}
        if continued is not None:
            lowest, end = report.rebound(continued)
            summary["continued"] = {"median_error_at_lowest_loss": lowest, "median_error_at_end": end}
        tables = [_table(self, found, order, what) for order in self.orders for what in ("error", "cp_rank")]
        checks, files = report.claims(self, found, continued), {"runs.csv": _csv(fitted)}
        return Outcome(summary, tables, checks, partial(_figure, self, found, continued), files)

    def _batches(self) -> Iterator[list[_Key]]:
        """Runs that train together."""
        for order in self.orders:
            if order == 3:
                yield list(product([3], self.counts, self.stds, self._repetitions(3)))
            else:
                # Steps are dear there, and runs of one kind end at about the same one.
                for count, std in product(self.order4_counts, self.stds):
                    yield list(product([4], [count], [std], self._repetitions(4)))

    def _target(self, order: int, seed: int) -> np.ndarray[Any, Any]:
        return low_rank_tensor((self.dimension,) * order, self.target_rank, norm=1.0, seed=seed)

    def _train(
        self, journal: Journal, keys: Sequence[_Key], steps: int, continued: bool = False
    ) -> Generator[Training, Any, list[CompletionResult]]:
        """Results whose histories have the loss and the error at every step; few of these are written."""
        names = [_name(*key) + ("-continued" if continued else "") for key in keys]
        starts, seen, record = [], [], []
        for order, count, std, seed in keys:
            target = self._target(order, seed)
            seen.append(observe(target, count, seed=seed))
            options: dict[str, Any] = {"seed": seed, "backend": self.backend, "dtype": self.dtype}
            starts.append(CPFactorization.random(target.shape, std=std, **options))
            record.append([recorders.Loss(1), recorders.Error(target, every=1)])
        settled = _Settled(len(keys), self.stop_loss, self.patience)
        indices, values = zip(*seen, strict=True)
        results: list[CompletionResult] = yield Training(
            *(names, starts, list(indices), list(values)),
            optimizer=GroupRMSProp(self.learning_rate),
            steps=steps,
            stop=Stop() if continued else Stop(self.stop_loss, 0, every=1),
            record=record,
            on_record=None if continued else settled.see,
            callback=None if continued else settled.ends,
            save=False,
            metrics=False,
        )
        for name, result in zip(names, results, strict=True):
            for quantity, trace in result.history.items():
                last = len(trace) - 1
                for k in sorted({*range(0, last, _WRITTEN_EVERY), _lowest(result), last}):
                    journal.record(name, int(trace.steps[k]), quantity, trace.values[k])
        journal.flush()
        return results

    def _fitted(self, key: _Key, result: CompletionResult) -> dict[str, Any]:
        """A trained factorization: the lowest loss, the error there, and the CP rank of the end tensor."""
        k = _lowest(result)
        loss, error = (float(result.history[name].values[k]) for name in ("loss", "error"))
        rank = report.fewest_components(end_tensor(result.factorization), self.rank_tolerance)
        found = dict(zip(("order", "count", "std", "seed"), key, strict=True))
        found |= {"reached": loss < self.stop_loss, "steps": result.steps, "lowest_step": k}
        return found | {"loss": loss, "error": error, "cp_rank": rank}

    def _baselines(self, journal: Journal, order: int) -> Iterator[dict[str, Any]]:
        """Observed entries, and zero elsewhere; the CP rank of some of them."""
        for count, (k, seed) in product(self._counts(order), enumerate(self._repetitions(order))):
            journal.say(f"zeros at order {order} with {count} entries: CP rank")
            target = self._target(order, seed)
            indices, values = observe(target, count, seed=seed)
            filled = np.zeros_like(target)
            filled[tuple(indices.T)] = values
            rank = report.fewest_components(filled, self.rank_tolerance) if k < self.baseline_seeds else None
            error = float(np.linalg.norm(filled - target))
            yield {"order": order, "count": count, "std": report.ZEROS, "seed": seed, "error": error, "cp_rank": rank}

    def _continue(self, journal: Journal) -> Generator[Training, Any, dict[str, Any] | None]:
        """Losses and errors ``(runs, K)`` of the runs that the claims are about, without a stop rule."""
        if 3 not in self.orders or self.claim_count not in self.counts:
            return None
        keys = list(product([3], [self.claim_count], [min(self.stds)], self._repetitions(3)))
        results = yield from self._train(journal, keys, self.continued_steps, continued=True)
        count = min(len(result.history["loss"]) for result in results)
        found = {name: np.stack([r.history[name].values[:count] for r in results]) for name in ("loss", "error")}
        return {"steps": results[0].history["loss"].steps[:count], **found}


class _Settled:
    """When runs that train together may end: each is below the loss asked for, or has not lowered its own for long."""

    def __init__(self, runs: int, stop_loss: float, patience: int) -> None:
        self.first, self.lowest = np.full(runs, np.nan), np.full(runs, np.inf)
        self.at, self.now = np.zeros(runs, int), np.zeros(runs, int)
        self.stop_loss, self.patience = stop_loss, patience

    def see(self, name: str, step: int, value: Any, run: int) -> None:
        if name == "loss":
            self.now[run] = step
            if step == 0:
                self.first[run] = value
            if value < self.lowest[run]:
                self.lowest[run], self.at[run] = value, step

    def ends(self, step: int, loss: float) -> bool:
        stuck = (self.lowest < _LEFT_ORIGIN * self.first) & (self.now - self.at > self.patience)
        return bool(np.all((self.lowest < self.stop_loss) | stuck))


def _lowest(result: CompletionResult) -> int:
    return int(np.argmin(result.history["loss"].values))


def _name(order: int, count: int, std: float, seed: int) -> str:
    return f"order{order}-n{count}-std{std:g}-seed{seed}"


def _label(std: Any) -> str:
    return "zero-filling" if std == report.ZEROS else f"std {std:g}"


def _summary(recipe: TensorCompletion, found: report.Found, order: int) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for std, count in product((report.ZEROS, *recipe.stds), report.counts_of(found, order)):
        cell = {"order": order, "std": std, "count": count}
        own: dict[str, Any] = {"repetitions": len(report.measured(found, "seed", **cell))}
        own |= {quantity: report.quartiles(found, quantity, **cell) for quantity in ("error", "cp_rank")}
        if std != report.ZEROS:
            own["reached"] = sum(report.measured(found, "reached", **cell))
        summary.setdefault(_label(std), {})[str(count)] = own
    return summary


def _table(recipe: TensorCompletion, found: report.Found, order: int, quantity: str) -> Table:
    """Medians, quartiles in brackets, and the published medians."""
    title, form = ("Relative error", ".1e") if quantity == "error" else ("CP rank", "g")
    columns = ["observed", *(cell for std in (report.ZEROS, *recipe.stds) for cell in (_label(std), "published"))]
    rows = []
    for count in report.counts_of(found, order):
        row = [f"{count:,}"]
        for std in (report.ZEROS, *recipe.stds):
            numbers = report.quartiles(found, quantity, order=order, std=std, count=count)
            low, middle, high = ("-" if np.isnan(n) and form == "g" else format(n, form) for n in numbers)
            known = _PUBLISHED.get((order, std), {}).get(quantity, ())
            published = dict(zip(_PUBLISHED_COUNTS[order], known, strict=False)).get(count)
            row += [f"{middle} [{low}, {high}]", "" if published is None else f"{published:g}"]
        rows.append(row)
    note = "Errors are those at the lowest training loss."
    if quantity == "cp_rank":
        note = "The CP rank is the fewest components that a search finds: a longer one may find fewer."
    note = f"Median and quartiles. The published targets were others. {note}"
    return Table(f"{title} at order {order}", columns, rows, note)


def _csv(fitted: report.Found) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(fitted[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(fitted)
    return buffer.getvalue().encode()


def _figure(recipe: TensorCompletion, found: report.Found, continued: Mapping[str, Any] | None) -> Figure:
    """Error and rank, one row an order, beside a run that goes on past its lowest loss."""
    figure, axes = panels(len(recipe.orders), 2 + (continued is not None), height=3.1)
    for row, order in zip(axes, recipe.orders, strict=True):
        counts = report.counts_of(found, order)
        shown = (("error", "reconstruction error", "relative error"), ("cp_rank", "CP rank", "CP rank"))
        for panel, (quantity, title, label) in zip(row, shown, strict=False):
            drawn = []
            for k, std in enumerate((report.ZEROS, *recipe.stds)):
                cells = [report.quartiles(found, quantity, order=order, std=std, count=count) for count in counts]
                low, middle, high = np.transpose(cells)
                color, marker = (k - 1, "o") if k else ("#7A828C", "s")
                drawn.append(Line(counts, middle, _label(std), color, marker=marker, band=(low, high)))
            lines(panel, drawn, f"Order {order}: {title}", "observed entries", label, "y", where=None)
            panel.set_xlim(0, None)
        row[1].axhline(recipe.target_rank, color=INK, linewidth=1.0, linestyle=":", zorder=1, label="target")
        row[1].set_yscale("log", base=2)
        row[1].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    legend(axes[0, 1])
    if continued is not None:
        steps, drawn = continued["steps"], []
        for color, (name, label) in enumerate((("error", "relative error"), ("loss", "training loss")), 1):
            low, middle, high = np.quantile(continued[name], (0.25, 0.5, 0.75), axis=0)
            drawn.append(Line(steps, middle, label, color, band=(low, high), width=1.4))
        title = f"No stop rule ({recipe.claim_count} entries, std {min(recipe.stds):g})"
        lines(axes[0, 2], drawn, title, "iterations", "error, loss", "y")
        axes[0, 2].set_xlim(0, max(1, int(steps[-1])))
        for panel in axes[1:, 2]:
            panel.remove()
    return figure
