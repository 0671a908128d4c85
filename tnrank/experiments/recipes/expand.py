"""A compact network that trains with each layer expanded into a linear chain, and is collapsed exactly afterwards."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, Number, Positive, Range, Seeds, Several, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, register
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.plots.painters import Figure, Line, legend_below, lines, panels
from tnrank.runs import Fitting

MODELS = ("compact", "expanded")
_EXACT = {"float64": 1e-10, "float32": 1e-4}
"""Dtype -> how far outputs of the collapsed network may be from those of the expanded one, over the largest."""


@register
@dataclass(frozen=True, kw_only=True)
class Expand(Recipe):
    """Accuracy of a small convolutional network, trained as it is and trained expanded.

    A convolution of k x k from m to n channels is expanded into 1 x 1 (m to 4 m), k x k (4 m to 4 n) and 1 x 1 (4 n to
    n), a linear layer into three, with nothing in between. What is claimed is that the collapsed network computes the
    same; whether the expanded one ends with higher accuracy is reported.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        test_limit: images to test on, 0 for all.
        channels: of the compact network's convolutions.
        rate: how many times wider the chains are inside than outside.
        seeds: of initial weights and minibatches.
        steps: of training.
        batch: images of a step.
        learning_rate: of Adam.

    Source: Guo, Alvarez & Salzmann 2020, Sec. 3.
    """

    name: ClassVar[str] = "expand"
    title: ClassVar[str] = "layers expanded into linear chains collapse exactly to the compact network"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"data": "fashion-mnist", "limit": 6000, "test_limit": 0, "channels": (8, 16, 32), "steps": 6000},
            **{"seeds": 5, "learning_rate": 1e-3},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    dtype: str = "float64"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 0
    test_limit: Number = 2000
    channels: Annotated[tuple[Count, ...], Several(1)] = (8, 16)
    rate: Annotated[int, Range(1, 100)] = 4
    seeds: Seeds = 4
    steps: Steps = 400
    batch: Count = 100
    learning_rate: Positive = 3e-3

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        runs: list[dict[str, Any]] = []
        make = partial(get_backend(self.backend).trainer, "expanded_cnn", channels=self.channels, **self._data())
        for model in MODELS:
            for number in range(self.seeds):
                trainer = make(rate=self.rate if model == "expanded" else 0, seed=1000 * self.seed + number)
                every = max(1, self.steps // 20)
                fitted = yield Fitting(f"{model}-{number}", trainer, self.steps, every=every)
                history = {name: np.asarray(values) for name, values in fitted.history.items()}
                runs.append(
                    {"model": model, "seed": number, "steps": fitted.steps, **history, **fitted.trainer.sizes()}
                )
        return _outcome(self, runs)

    def _data(self) -> dict[str, Any]:
        train, labels = gray_images(self.data, "train", self.data_dir, self.limit)
        test, test_labels = gray_images(self.data, "test", self.data_dir, self.test_limit)
        found: dict[str, Any] = {"images": train, "labels": labels, "test_images": test, "test_labels": test_labels}
        return {**found, "batch": self.batch, "dtype": self.dtype, "learning_rate": self.learning_rate}


def _of(runs: Sequence[Mapping[str, Any]], model: str, quantity: str) -> HostArray:
    """Values of all seeds, ``(seeds, measurements)``."""
    return np.stack([run[quantity] for run in runs if run["model"] == model])


def _standard_error(values: HostArray) -> HostArray:
    return np.asarray(values.std(axis=0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0 * values[0])


def _outcome(recipe: Expand, runs: Sequence[Mapping[str, Any]]) -> Outcome:
    rows = []
    for model in MODELS:
        row: dict[str, Any] = {"network": model}
        row["weights trained"], row["weights collapsed"] = (
            int(_of(runs, model, k)[0]) for k in ("trained", "collapsed")
        )
        for split in ("train", "test"):
            last = _of(runs, model, f"{split}_accuracy")[:, -1]
            row[f"{split} accuracy"] = f"{last.mean():.4f} ± {float(_standard_error(last)):.4f}"
        rows.append(row)
    gain = _of(runs, "expanded", "test_accuracy")[:, -1] - _of(runs, "compact", "test_accuracy")[:, -1]
    error = float(_standard_error(gain))
    note = (
        f"Means and standard errors of {recipe.seeds} seeds, at the last step. Expanded less compact, test: "
        f"{100 * gain.mean():+.1f} ± {100 * error:.1f} points."
    )
    plain = [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in run.items()} for run in runs]
    summary = {"runs": plain, "gain": float(gain.mean()), "gain_error": error}
    table = Table.of("Accuracy of a network trained as it is and expanded", rows, note)
    return Outcome(summary, [table], _claims(recipe, runs), partial(_figure, runs))


def _claims(recipe: Expand, runs: Sequence[Mapping[str, Any]]) -> list[Check]:
    limit = _EXACT[recipe.dtype]
    worst = float(_of(runs, "expanded", "collapse_error").max())
    claim = f"collapsed networks give the same outputs to {limit:g}, at the start, while training and at the end"
    sizes = {int(_of(runs, model, "collapsed")[0]) for model in MODELS}
    return [
        Check(claim, f"{worst:.1e} of the largest output", worst <= limit),
        Check("they have as many weights as the compact ones", " and ".join(f"{n:,}" for n in sizes), len(sizes) == 1),
    ]


def _figure(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracies while training, train and test."""
    figure, axes = panels(1, 2, width=4.4)
    for panel, split in zip(axes[0], ("train", "test"), strict=True):
        drawn = []
        for k, model in enumerate(MODELS):
            values = _of(runs, model, f"{split}_accuracy")
            mean, error = values.mean(axis=0), _standard_error(values)
            steps = _of(runs, model, "steps")[0]
            drawn.append(Line(steps, mean, f"trained {model}", k, band=(mean - error, mean + error)))
        lines(panel, drawn, f"Accuracy, {split}", "steps", "accuracy", where=None)
        panel.set_ylim(0, 1.03)
    legend_below(figure, axes[0, 0])
    return figure
