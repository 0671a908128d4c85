"""What a training recorded, against iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import instance, sequence
from tnrank._explained import explained
from tnrank.plots.painters import Line, lines, panels, staircase
from tnrank.training import CompletionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_MOST_PANELS = 24
_MOST_LINES = 40
"""Lines of an array that is no spectrum."""


@explained
def learning_curves(results: CompletionResult | Sequence[CompletionResult], labels: Sequence[str] = ()) -> Figure:
    """A panel for everything that was recorded: numbers as lines, spectra and component norms as staircases.

    Args:
        results: of :func:`tnrank.complete`; several are drawn into the same panels, where they recorded numbers, and
            side by side, where they recorded spectra.
        labels: one a result; ``run 0``, .. if not given.

    Raises:
        TypeError: for something else than results.
        ValueError: if nothing was recorded, or there are not as many labels as results.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.training.recorders import ComponentNorms, Loss
        >>> x, everywhere = tnrank.CPFactorization.random((2, 2), 2, seed=0), np.argwhere(np.ones((2, 2)))
        >>> result = tnrank.complete(x, everywhere, np.ones(4), steps=50, record=[Loss(10), ComponentNorms(every=10)])
        >>> len(tnrank.plots.learning_curves(result).axes)
        2
    """
    what = "the result of tnrank.complete, or a list of them"
    given = [results] if isinstance(results, CompletionResult) else sequence(results, "results", what)
    for one in given:
        instance(one, "each of the results", CompletionResult, what)
    if not any(one.history for one in given):
        raise ValueError("nothing was recorded: train with record=[tnrank.training.recorders.Loss(), ..]")
    names = [instance(x, "each of the labels", str, "text") for x in sequence(labels, "labels", "words")]
    if names and len(names) != len(given):
        raise ValueError(f"got {len(names)} labels for {len(given)} results: needed one for each")
    names = names or ([""] if len(given) == 1 else [f"run {k}" for k in range(len(given))])
    drawn = _panels(given, names)
    left_out, drawn = max(len(drawn) - _MOST_PANELS, 0), drawn[:_MOST_PANELS]
    columns = min(_COLUMNS, len(drawn))
    figure, axes = panels(-(-len(drawn) // columns), columns)
    for panel, draw in zip(axes.ravel(), drawn, strict=False):
        draw(panel)
    for panel in axes.ravel()[len(drawn) :]:
        panel.remove()
    if left_out:
        figure.suptitle(f"the first {len(drawn)} of {left_out + len(drawn)} panels", fontsize=9)
    return figure


def _panels(results: Sequence[CompletionResult], labels: Sequence[str]) -> list[Any]:
    """Functions that draw one panel each."""
    numbers: dict[str, list[Line]] = {}
    others: list[Any] = []
    for k, (result, label) in enumerate(zip(results, labels, strict=True)):
        for name, trace in result.history.items():
            parts = trace.values.items() if isinstance(trace.values, Mapping) else [("", trace.values)]
            for node, values in parts:
                what = name.replace("_", " ")
                own = f"{what} {node}".strip()
                title = ", ".join(part for part in (own, label) if part)
                flat = np.asarray(values, np.float64).reshape(len(trace), -1)
                if np.ndim(values) == 1:
                    numbers.setdefault(own, []).append(Line(trace.steps, flat[:, 0], label, k))
                elif (np.diff(flat, axis=1) <= 0).all() and (flat >= 0).all():
                    others.append(partial(_staircase, trace.steps, flat, what, title))
                else:
                    others.append(partial(_lines, [Line(trace.steps, y) for y in flat.T[:_MOST_LINES]], what, title))
    return [*(partial(_lines, drawn, name, name) for name, drawn in numbers.items()), *others]


def _lines(drawn: list[Line], what: str, title: str, axes: Axes) -> None:
    finite = np.concatenate([line.y[np.isfinite(line.y)] for line in drawn])
    wide = len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min()
    lines(axes, drawn, title, "iterations", what, "y" if wide else "")


def _staircase(steps: Any, values: Any, what: str, title: str, axes: Axes) -> None:
    staircase(axes, steps, values, title, what)
