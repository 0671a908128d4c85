"""A compact network trained as it is, and trained with every layer expanded into three linear ones."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, Number, Positive, Seeds, Several
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, median, register
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.plots.painters import Figure, Line, lines, panels
from tnrank.runs import Fitting

_EXACT = 1e-10
"""Largest difference of outputs before and after collapsing, relative to the largest output, in double precision."""


@register
@dataclass(frozen=True, kw_only=True)
class Expand(Recipe):
    """Layers expanded into three linear ones for training, which collapse to the compact layer exactly.

    Both networks see the same images in the same order. Whether the expanded one is more accurate is reported with its
    standard error, and nothing is claimed of it: it was not on small sets of images.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        channels: of the convolutions.
        hidden: width of the hidden linear layer.
        expansion: how many times wider the layers between are.
        seeds: of initial weights and minibatches.
        epochs: of training.
        batch: images of a step.
        learning_rate: of Adam.

    Source: Guo, Alvarez & Salzmann 2020, Sec. 3.
    """

    name: ClassVar[str] = "expand"
    title: ClassVar[str] = "layers expanded into three linear ones for training collapse exactly"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"data": "fashion-mnist", "limit": 1500, "channels": (8, 16), "seeds": 10, "epochs": 40},
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    dtype: str = "float64"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 0
    channels: Annotated[tuple[Count, ...], Several(1)] = (4, 8)
    hidden: Count = 16
    expansion: Count = 4
    seeds: Seeds = 5
    epochs: Count = 20
    batch: Count = 50
    learning_rate: Positive = 1e-3

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        x, y = gray_images(self.data, "train", self.data_dir, self.limit)
        x_test, y_test = gray_images(self.data, "test", self.data_dir)
        data = {"images": x, "labels": y, "test_images": x_test, "test_labels": y_test}
        sizes = {"channels": self.channels, "hidden": self.hidden, "learning_rate": self.learning_rate}
        options = {"batch": self.batch, "dtype": self.dtype}
        make = partial(get_backend(self.backend).trainer, "expanded_cnn", **data, **sizes, **options)
        per_epoch = -(-len(y) // self.batch)
        runs: list[dict[str, Any]] = []
        for kind, expansion in (("compact", 0), ("expanded", self.expansion)):
            for number in range(self.seeds):
                trainer = make(expansion=expansion, seed=1000 * self.seed + number)
                fitted = yield Fitting(f"{kind}-{number}", trainer, self.epochs * per_epoch, every=per_epoch)
                runs.append({"kind": kind, "seed": number, **fitted.history})
        return _outcome(self, runs)


def _outcome(recipe: Expand, runs: Sequence[Mapping[str, Any]]) -> Outcome:
    rows, summary = [], {}
    for kind in ("compact", "expanded"):
        last = {name: _last(runs, kind, name) for name in ("train_accuracy", "test_accuracy", "parameters")}
        test = last["test_accuracy"]
        error = float(test.std(ddof=1) / np.sqrt(len(test))) if len(test) > 1 else float("nan")
        summary[kind] = {name: values.tolist() for name, values in last.items()}
        rows.append(
            {
                "network": kind,
                "parameters in training": f"{int(last['parameters'][0]):,}",
                "train accuracy": f"{last['train_accuracy'].mean():.3f}",
                "test accuracy": f"{test.mean():.3f} ± {error:.3f}",
            }
        )
    gain = _last(runs, "expanded", "test_accuracy") - _last(runs, "compact", "test_accuracy")
    count = f"{recipe.seeds} seeds" if recipe.seeds > 1 else "one seed"
    note = f"Mean and standard error over {count}. Expanded minus compact, seed by seed: {gain.mean():+.3f} on average."
    table = Table.of("Accuracy", rows, note)
    return Outcome({**summary, "gain": gain.tolist()}, [table], _claims(recipe, runs), partial(_figure, recipe, runs))


def _last(runs: Sequence[Mapping[str, Any]], kind: str, name: str) -> HostArray:
    return np.array([float(run[name][-1]) for run in runs if run["kind"] == kind])


def _claims(recipe: Expand, runs: Sequence[Mapping[str, Any]]) -> list[Check]:
    expanded = [run for run in runs if run["kind"] == "expanded"]
    errors = max(float(np.max(run["collapse_error"])) for run in expanded)
    exact = _EXACT if recipe.dtype == "float64" else 1e-4
    compact = _last(runs, "compact", "parameters")[0]
    collapsed = _last(runs, "expanded", "collapsed_parameters")[0]
    claim = f"collapsed networks compute what the expanded ones do, to {exact:g} of the largest output, at every epoch"
    return [
        Check(claim, f"{errors:.1e}", errors <= exact),
        Check("they have the parameters of the compact one", f"{collapsed:,.0f}", bool(collapsed == compact)),
    ]


def _figure(recipe: Expand, runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracies against epochs, on training and on test images."""
    figure, axes = panels(1, 2, width=4.5)
    for k, split in enumerate(("train", "test")):
        drawn = []
        for number, kind in enumerate(("compact", "expanded")):
            curves = np.array([run[f"{split}_accuracy"] for run in runs if run["kind"] == kind])
            epochs = np.arange(curves.shape[1])
            band = (curves.min(axis=0), curves.max(axis=0))
            middle = median(runs, f"{split}_accuracy", kind=kind)
            drawn.append(Line(epochs, middle, f"{kind}, median and range", number, band=band))
        heading = "Training images" if split == "train" else "Test images"
        lines(axes[0, k], drawn, heading, "epochs", "accuracy", where="lower right" if k == 0 else None)
        axes[0, k].set_ylim(0, 1.02)
    return figure
