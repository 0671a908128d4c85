"""The analogy between matrix, tensor and hierarchical factorization, as one table of measured rows."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import nan, sqrt
from typing import Any, ClassVar

import numpy as np

from tnrank.data import low_rank_matrix, low_rank_tensor, observe
from tnrank.experiments.fields import Count, Every, NonNegative, Positive, Seed, Steps
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, Training, beside_target, braces, register
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.plots import image_bytes
from tnrank.plots.painters import INK, Axes, Figure, Line, panels, points_and_law, staircase
from tnrank.theory import ExponentFit, fit_exponent
from tnrank.training import CompletionResult, GroupRMSProp, Stop, rates_of, recorders

_ORDER = 3
"""K of all three rows: depth 3, order 3, two children and the parent."""
_THEORY = 2 - 2 / _ORDER
_RISEN = 0.01
_CLOSE = 0.01
"""How near a fitted exponent is to the theory's: the error of a finite learning rate is smaller."""
_HEADERS = ("quantity", "dynamics", "experiment", "minimized rank")
# model -> title, quantity, what K is, minimized rank
_TEXTS = {
    "mf": ("Matrix factorization", "singular values", "depth", "matrix rank"),
    "cp": ("Tensor (CP) factorization", "component norms", "order", "tensor rank"),
    "htf": ("Hierarchical factorization", "local component norms", "children + 1", "hierarchical tensor rank"),
}
_MOST_POINTS = 400


@register
@dataclass(frozen=True, kw_only=True)
class Analogy(Recipe):
    """Quantity, dynamics, experiment and minimized rank of three factorizations, each measured in a run of its own.

    All three start from balanced small weights and complete a target of low rank from half of its entries. With
    depth 3, order 3 and a binary tree, K is 3 in every row.

    Attributes:
        matrix_size: rows and columns of the matrix.
        tensor_size: dimension of the three modes of the tensor of the CP factorization.
        tree_size: dimension of the four modes of the tensor of the hierarchical factorization.
        rank: of the targets: matrix rank, components, local components a node.
        components: of the CP factorization.
        width: local components a node of the hierarchical factorization.
        mf_std: standard deviation of the matrix factorization's initial weights, before they are balanced.
        cp_std: standard deviation of the CP factorization's initial weights, before they are balanced.
        htf_std: standard deviation of the hierarchical factorization's initial weights, before they are balanced.
        mf_steps: the most steps of the matrix factorization.
        cp_steps: the most steps of the CP factorization.
        htf_steps: the most steps of the hierarchical factorization.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps.
        stop_loss: a model is done when its loss is below this at more than 20 checks in a row, one every 25 steps.

    Source: Razin, Maman & Cohen 2022, Sec. 4 and Fig. 2; the authors' summary of the three papers.
    """

    name: ClassVar[str] = "analogy"
    title: ClassVar[str] = "MF, CP and HTF side by side: quantity, dynamics, experiment, minimized rank"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"matrix_size": 64, "tensor_size": 16, "tree_size": 8, "rank": 5, "components": 256, "width": 64},
            **{"mf_std": 1e-3, "cp_std": 1e-3, "htf_std": 3e-2, "htf_steps": 50_000},
        },
    }
    draws: ClassVar[bool] = True

    seed: Seed = 1
    matrix_size: Count = 24
    tensor_size: Count = 10
    tree_size: Count = 5
    rank: Count = 3
    components: Count = 40
    width: Count = 24
    mf_std: NonNegative = 1e-2
    cp_std: NonNegative = 1e-2
    htf_std: NonNegative = 6e-2
    mf_steps: Steps = 20_000
    cp_steps: Steps = 20_000
    htf_steps: Steps = 20_000
    learning_rate: Positive = 1e-2
    record_every: Every = 20
    stop_loss: NonNegative = 5e-5

    def check(self) -> None:
        for field in ("matrix_size", "tensor_size", "tree_size", "components", "width"):
            if self.rank > getattr(self, field):
                raise ValueError(f"rank lies between 1 and {field}={getattr(self, field)}, got {self.rank}")

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        rows, every = [], self.record_every
        rates: dict[str, Any] = {
            "mf": recorders.SingularValueRates(every=every),
            "cp": recorders.Rates("r", every=every),
            "htf": recorders.Rates("r{0,1,2,3}", every=every),
        }
        for model, recorder in rates.items():
            target, start = self._problem(model)
            result = yield Training(
                model,
                start.balance().to(self.backend, dtype=self.dtype),
                *observe(target, target.size // 2, seed=self.seed),
                record=[recorders.ComponentNorms(top=10, every=every), recorder],
                optimizer=GroupRMSProp(self.learning_rate),
                steps=getattr(self, f"{model}_steps"),
                stop=Stop(self.stop_loss, 20, every=25),
            )
            rows.append(_Row(model, result, recorder.name, target))
        # The page is made of drawn panels, and left out where nothing can be drawn.
        files = {"analogy.html": _page(rows).encode()} if find_spec("matplotlib") else {}
        checks = [check for row in rows for check in _checks(row)]
        return Outcome({r.model: _summary(r) for r in rows}, [_table(rows)], checks, partial(_figure, rows), files)

    def _problem(self, model: str) -> tuple[np.ndarray[Any, Any], Factorization]:
        """Target of mean square 1, and initial factorization."""
        seed, rank = self.seed, self.rank
        if model == "mf":
            square = (self.matrix_size,) * 2
            matrix = MatrixFactorization.random(square, depth=3, hidden=self.matrix_size, std=self.mf_std, seed=seed)
            return low_rank_matrix(square, rank, seed=seed), matrix
        if model == "cp":
            cube = (self.tensor_size,) * 3
            cp = CPFactorization.random(cube, self.components, std=self.cp_std, seed=seed)
            return low_rank_tensor(cube, rank, seed=seed), cp
        shape = (self.tree_size,) * 4
        drawn = np.asarray(HierarchicalFactorization.random(shape, width=rank, seed=seed).to_dense())
        htf = HierarchicalFactorization.random(shape, width=self.width, std=self.htf_std, seed=seed)
        return drawn * (sqrt(drawn.size) / float(np.linalg.norm(drawn))), htf


class _Row:
    """A run's curves, the exponent of its growing components, and its ranks at the end.

    A run too short for anything to grow has no exponent: its fit is not a number, and its claim fails.
    """

    def __init__(self, model: str, result: CompletionResult, rates_name: str, target: np.ndarray[Any, Any]) -> None:
        self.model, self.result = model, result
        self.title, self.quantity, self.what, self.rank = _TEXTS[model]
        x: Any = result.factorization
        trace, norms = result.history["component_norms"], x.component_norms()
        self.steps, self.values, self.count = trace.steps, trace.values, min(x.shape) if model == "mf" else len(norms)
        if model == "htf":
            self.values, self.count = trace.values[x.tree.root], len(norms[x.tree.root])
        final = self.values[-1]
        self.risen = int((final > _RISEN * final.max(initial=0.0)).sum())
        rates = rates_of(result.history[rates_name])
        growing = _growing(rates.norms) & (rates.measured > 0) & (rates.projection > 0)
        found, gamma = rates.measured[growing], rates.projection[growing]
        self.norms, self.ratios = rates.norms[growing], found / gamma
        self.grew = len(self.norms) >= 3 and bool(np.ptp(self.norms) > 0)
        nothing = ExponentFit(nan, nan, nan, nan, len(self.norms))
        self.fit = fit_exponent(self.norms, found, gamma) if self.grew else nothing
        groups = [(mode,) for mode in range(1 if model == "mf" else x.ndim)]
        if model == "htf":
            groups = sorted({n.modes for n in x.tree.nodes if n != x.tree.root}, key=lambda modes: (len(modes), modes))
        self.error, self.ranks = beside_target(x, target, groups)

    def about_rank(self) -> list[str]:
        more = " or more" if self.risen == self.values.shape[1] < self.count else ""
        what = "singular values" if self.model == "mf" else "components"
        model, target = max(self.ranks.values(), key=lambda ranks: ranks[0])
        return [
            f"{self.risen}{more} of {self.count} {what} end above 1 %",
            f"largest effective rank {model:.2f}, the target's {target:.2f}",
            f"relative error {self.error:.1e}",
        ]

    def draw_law(self, axes: Axes) -> None:
        kept = np.unique(np.linspace(0, len(self.norms) - 1, min(_MOST_POINTS, len(self.norms))).astype(int))
        low, high = (self.norms.min(), self.norms.max()) if len(self.norms) else (1e-3, 1.0)
        sigma = np.geomspace(low, high, 50)
        law = Line(sigma, _ORDER * sigma**_THEORY, "theory", "ink", width=1.1)
        measured = Line(self.norms[kept], self.ratios[kept], "measured", 0)
        found = f"exponent {self.fit.exponent:.3f}" if self.grew else "no exponent: nothing grew"
        title, rate = f"{found}, theory {_THEORY:.3f}", r"$\dot\sigma\,/\,\gamma$"
        points_and_law(axes, [measured], [law], title, r"$\sigma$", rate, "upper left")


def _summary(row: _Row) -> dict[str, Any]:
    fit, result = row.fit, row.result
    return {
        **{"status": result.status, "steps": result.steps, "loss": result.loss, "relative_error": row.error},
        **{"exponent": fit.exponent, "exponent_interval": [fit.low, fit.high], "prefactor": fit.prefactor},
        **{"points": fit.count, "above_one_percent": row.risen, "final_values": row.values[-1]},
        "effective_ranks": {braces(modes): {"model": a, "target": b} for modes, (a, b) in row.ranks.items()},
    }


def _checks(row: _Row) -> list[Check]:
    name, fit = row.model.upper(), row.fit
    measured = f"nothing grew that an exponent could be fitted to (points: {fit.count}): give more steps"
    if row.grew:
        measured = f"{fit.exponent:.4f}, {fit.prefactor:.3f}"
    holds = abs(fit.exponent - _THEORY) < _CLOSE and abs(fit.prefactor / _ORDER - 1) < 0.05
    law = Check(f"{name}: the exponent is {_THEORY:.4f}, and K is {_ORDER}", measured, holds)
    worst, (a, b) = max(row.ranks.items(), key=lambda item: abs(item[1][0] / item[1][1] - 1))
    claim = f"{name}: effective ranks are within 10 % of the target's"
    return [law, Check(claim, f"worst at {braces(worst)}: {a:.2f} against {b:.2f}", abs(a / b - 1) <= 0.1)]


def _growing(norms: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where a component is on its way up: from 1 % of the largest to nine tenths of its own highest norm."""
    arrived = np.cumsum(norms >= 0.9 * norms.max(0), axis=0) > 0
    return np.asarray((norms > _RISEN * norms.max()) & ~arrived)


def _table(rows: Sequence[_Row]) -> Table:
    cells = []
    for r in rows:
        fitted = f"{r.fit.exponent:.4f} +- {r.fit.half_width:.4f}" if r.grew else "nothing grew"
        cells.append((r.title, r.quantity, fitted, f"{r.fit.prefactor:.2f}", f"{_THEORY:.4f}", r.rank, f"{r.risen}"))
    columns = ("factorization", "quantity", "exponent", "factor K", "theory", "minimized rank", "risen")
    note = (
        f"d sigma / d tau = K sigma^(2 - 2/K) gamma, here K = {_ORDER} in all rows; fitted to the components that are "
        "growing. The interval is that of the regression, without the error of a finite learning rate."
    )
    return Table("The analogy", columns, cells, note)


def _figure(rows: Sequence[_Row]) -> Figure:
    """The table of the rows, with measured rates on the line of the theory, and curves against iterations."""
    widths = {"width_ratios": (1.0, 1.25, 1.6, 1.15)}
    figure, grid = panels(len(rows), 4, width=3.3, height=3.0, gridspec_kw=widths)
    for axes, row in zip(grid, rows, strict=True):
        law = r"$d\sigma/d\tau = K\,\sigma^{\,2-2/K}\,\gamma$"
        _write(axes[0], row.title, [row.quantity, law, f"K = {row.what} = {_ORDER}"])
        row.draw_law(axes[1])
        staircase(axes[2], row.steps, row.values, row.quantity, r"$\sigma$")
        _write(axes[3], row.rank, row.about_rank())
    place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 30), "textcoords": "offset points"}
    for axes, header in zip(grid[0], _HEADERS, strict=True):
        axes.annotate(header.upper(), (0, 1.0), fontsize=8.5, color="#6B7280", annotation_clip=False, **place)
    return figure


def _write(axes: Axes, title: str, below: Sequence[str]) -> None:
    axes.set_axis_off()
    axes.text(0, 0.93, title, fontsize=11, color=INK, va="top", weight="bold", wrap=True)
    for k, line in enumerate(below):
        axes.text(0, 0.74 - 0.13 * k, line, fontsize=8.5, color=INK, va="top")


_CSS = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#22262B;margin:2rem auto;max-width:1280px;padding:0 1rem}"
    "h1{font-size:1.5rem;margin:0 0 .5rem}p{max-width:60rem}.wide{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}"
    "th{font-size:.75rem;text-transform:uppercase;letter-spacing:.05em;color:#6B7280;text-align:left}"
    "th,td{padding:.7rem;vertical-align:top;border-bottom:1px solid #E3E6EA}"
    "img{display:block;width:100%;min-width:17rem}small{color:#6B7280;display:block}"
)


def _page(rows: Sequence[_Row]) -> str:
    """The table as an HTML page that needs no other file."""
    head = "".join(f"<th>{header}</th>" for header in ("factorization", *_HEADERS))
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>" for row in rows)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Three factorizations, one law</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        "<h1>Three factorizations, one law</h1>\n"
        "<p>Each was trained from small weights on half of the entries of a target of low rank. Components grow by "
        "d&sigma;/d&tau; = K &sigma;<sup>2 &minus; 2/K</sup> &gamma;, with &gamma; = &lt;&minus;grad L, C&gt; the "
        "projection of the gradient on the component: what is small stays small for long, so that components appear "
        "one at a time and the rank stays low. Curves, exponents and ranks below were measured in this run.</p>\n"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'
        "</body>\n</html>\n"
    )


def _cells(row: _Row) -> list[str]:
    fit, law = row.fit, f"d&sigma;/d&tau; = {_ORDER} &sigma;<sup>2 &minus; 2/{_ORDER}</sup> &gamma;"
    fitted = f"fitted exponent {fit.exponent:.4f} ({fit.low:.4f} to {fit.high:.4f})"
    found = fitted if row.grew else "no exponent: nothing grew"
    curves = partial(staircase, steps=row.steps, values=row.values, title=row.quantity, ylabel=r"$\sigma$")
    return [
        f"<b>{html.escape(row.title)}</b>",
        f"{html.escape(row.quantity)}<small>K = {html.escape(row.what)} = {_ORDER}</small>",
        f"{law}<small>{found}, theory {_THEORY:.4f}</small>"
        + _image(row.draw_law, 3.1, f"{row.title}: measured rates on the line of the theory"),
        _image(curves, 4.2, f"{row.title}: {row.quantity} against iterations"),
        f"<b>{html.escape(row.rank)}</b>" + "".join(f"<small>{html.escape(line)}</small>" for line in row.about_rank()),
    ]


def _image(draw: Callable[[Axes], None], width: float, about: str) -> str:
    figure, axes = panels(1, 1, width, 2.6)
    draw(axes[0, 0])
    data = base64.b64encode(image_bytes(figure, "cell.png", dpi=150)).decode()
    return f'<img alt="{html.escape(about)}" src="data:image/png;base64,{data}">'
