"""CP components that a trained convolutional network needs, with the labels of the images and with random ones."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, prod, sqrt
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._backend import get_backend
from tnrank.data import random_labels
from tnrank.experiments.fields import Count, Number, Part, Positive, Seeds, Several, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, register, relative_error, told
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.factorizations import CPFactorization
from tnrank.plots.painters import Figure, Line, lines, panels
from tnrank.runs import Fitting

KINDS = ("real", "random")
_FITTED = 0.95
"""Train accuracy from which on labels count as fitted."""
_KEPT = 0.1
"""The most test accuracy that a network with real labels loses by the compression its training images allow."""


@register
@dataclass(frozen=True, kw_only=True)
class CompressionBound(Recipe):
    """Convolutions cut to few CP components after training: how few keep the accuracy on the training images.

    A small convolutional network is trained on images with their labels, and with random ones of the same counts. Each
    kernel, a tensor (channels out, channels in, 3, 3), is fitted by CP factorizations of rising numbers of components,
    the same for all layers; a layer that has no more than that by its shape is left alone.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        channels: of the convolutions.
        components: numbers of CP components of a convolution.
        loss: of train accuracy that counts as none.
        seeds: of random labels, initial weights and minibatches.
        steps: of training.
        batch: images of a step.
        learning_rate: of Adam.

    Source: Li, Sun, Su, Suzuki & Huang 2020, Sec. 3 to 5; the bound is that of Arora, Ge, Neyshabur & Zhang 2018,
    Thm. 2.1, without its constant and logarithms.
    """

    name: ClassVar[str] = "compression-bound"
    title: ClassVar[str] = "networks that fit real labels need fewer CP components than those that fit random ones"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"data": "mnist", "limit": 2000, "channels": (32, 32, 32), "steps": 8000, "learning_rate": 3e-3},
            "seeds": 3,
            **{"components": (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192)},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 200
    channels: Annotated[tuple[Count, ...], Several(2)] = (16, 16)
    components: Annotated[tuple[Count, ...], Several(2, "rising")] = (1, 2, 4, 8, 16, 24, 32, 48, 64)
    loss: Part = 0.01
    seeds: Seeds = 2
    steps: Steps = 1500
    batch: Count = 100
    learning_rate: Positive = 5e-3

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        x, labels = gray_images(self.data, "train", self.data_dir, self.limit)
        test, test_labels = gray_images(self.data, "test", self.data_dir)
        make = partial(
            get_backend(self.backend).trainer,
            "compressible_cnn",
            **{"images": x, "test_images": test, "channels": self.channels, "batch": self.batch, "dtype": self.dtype},
            learning_rate=self.learning_rate,
        )
        runs: list[dict[str, Any]] = []
        for number in range(self.seeds):
            for kind in KINDS:
                seed = 1000 * self.seed + number
                real = kind == "real"
                classes = labels if real else random_labels(labels, seed)
                held = test_labels if real else random_labels(test_labels, seed + 1)
                trainer = make(labels=classes, test_labels=held, seed=seed)
                fitted = yield Fitting(f"{kind}-{number}", trainer, self.steps, every=max(1, self.steps // 10))
                journal.say(f"{kind} labels, seed {number}: fitting CP factorizations")
                runs.append({"kind": kind, "seed": number, **self._compressed(fitted.trainer, len(labels))})
        return _outcome(self, runs)

    def _compressed(self, trainer: Any, samples: int) -> dict[str, Any]:
        """Accuracies, parameters and the bound for each number of components, and the spectrum of each kernel."""
        kernels, full = trainer.kernels(), trainer.measure()
        fits = {name: _fits(kernel, self.components, self.seed) for name, kernel in kernels.items()}
        rows = []
        for place, count in enumerate(self.components):
            kept = {name: fits[name][place] for name in kernels}
            dense = {n: kernels[n] if x is None else _dense(x, kernels[n].shape) for n, x in kept.items()}
            size = sum(kernels[n].size if x is None else count * sum(x.shape) for n, x in kept.items())
            rows.append({"components": count, "parameters": size, **trainer.measure_with(dense)})
            rows[-1]["bound"] = sqrt(size / samples)
        reached = [row["train_accuracy"] >= full["train_accuracy"] - self.loss for row in rows]
        needed = next((row for k, row in enumerate(rows) if all(reached[k:])), None)
        widest = {name: next((x for x in reversed(one) if x is not None), None) for name, one in fits.items()}
        spectra = {n: np.asarray(x.component_norms()).tolist() for n, x in widest.items() if x is not None}
        errors = {n: [_error(x, kernels[n]) for x in one] for n, one in fits.items()}
        return {"full": dict(full), "rows": rows, "needed": needed, "spectra": spectra, "errors": errors}


def _fits(kernel: HostArray, components: Sequence[int], seed: int) -> list[CPFactorization | None]:
    """CP factorizations of a kernel, ``None`` where its shape allows no more components than are asked for."""
    tensor = np.asarray(kernel, np.float64).squeeze()
    found: list[CPFactorization | None] = []
    last = None
    for count in components:
        if count >= prod(tensor.shape) // max(tensor.shape):
            found.append(None)
            continue
        with warnings.catch_warnings():
            # The best fit need not exist where components cancel; what counts here is the accuracy with a good one.
            warnings.filterwarnings("ignore", "border-rank behavior", RuntimeWarning)
            # Each fit goes on from the one before, so that a larger one is no worse.
            last = CPFactorization.from_dense(tensor, rank=count, init=last, starts=1, steps=50, tol=1e-3, seed=seed)
        found.append(last)
    return found


def _dense(x: CPFactorization, shape: tuple[int, ...]) -> HostArray:
    return np.asarray(x.to_dense()).reshape(shape)


def _error(x: CPFactorization | None, kernel: HostArray) -> float:
    return 0.0 if x is None else relative_error(_dense(x, kernel.shape), kernel)


def _outcome(recipe: CompressionBound, runs: Sequence[dict[str, Any]]) -> Outcome:
    rows = []
    for place, count in enumerate(recipe.components):
        row: dict[str, Any] = {"components": count, "parameters": runs[0]["rows"][place]["parameters"]}
        for kind in KINDS:
            row[f"{kind}, train"] = f"{_mean(runs, kind, 'train_accuracy')[place]:.3f}"
        row["real, test"] = f"{_mean(runs, 'real', 'test_accuracy')[place]:.3f}"
        row["sqrt(q / m)"] = runs[0]["rows"][place]["bound"]
        rows.append(row)
    full = {kind: [run["full"] for run in runs if run["kind"] == kind] for kind in KINDS}
    told_full = ", ".join(
        f"{name} {np.mean([one[f'{name.split()[1]}_accuracy'] for one in full[name.split()[0]]]):.3f}"
        for name in ("real train", "random train", "real test")
    )
    note = (
        f"Mean accuracies of {recipe.seeds} seeds; uncompressed: {told_full}. q counts the parameters of the "
        f"convolutions, m = {recipe.limit or 'all'} the training images."
    )
    needed = [{"seed": run["seed"], "labels": run["kind"], "components": _needed(run), **_at(run)} for run in runs]
    tables = [
        Table.of("Accuracies against CP components of a convolution", rows, note),
        Table.of(f"Fewest components that keep the train accuracy to {recipe.loss:g}", needed),
    ]
    return Outcome({"runs": runs}, tables, _claims(recipe, runs), partial(_figure, recipe, runs))


def _mean(runs: Sequence[Mapping[str, Any]], kind: str, quantity: str) -> HostArray:
    found = [[row[quantity] for row in run["rows"]] for run in runs if run["kind"] == kind]
    return np.asarray(np.mean(found, axis=0))


def _needed(run: Mapping[str, Any]) -> float:
    return inf if run["needed"] is None else run["needed"]["components"]


def _at(run: Mapping[str, Any]) -> dict[str, Any]:
    row = run["needed"]
    if row is None:
        return {"q": "more than tried", "sqrt(q / m)": "", "test": ""}
    return {"q": row["parameters"], "sqrt(q / m)": row["bound"], "test": f"{row['test_accuracy']:.3f}"}


def _claims(recipe: CompressionBound, runs: Sequence[Mapping[str, Any]]) -> list[Check]:
    of = {kind: [run for run in runs if run["kind"] == kind] for kind in KINDS}
    fitted = [run["full"]["train_accuracy"] for run in runs]
    needed = {kind: [_needed(run) for run in of[kind]] for kind in KINDS}
    claim = "each seed: real labels need fewer components to keep the train accuracy than random ones"
    fewer = all(a < b for a, b in zip(needed["real"], needed["random"], strict=True))
    measured = f"{told(needed['real'], 'g')} against {told(needed['random'], 'g')}"
    checks = [
        Check(
            f"both kinds of labels are fitted, to {_FITTED:.0%} or more", told(fitted, ".3f"), min(fitted) >= _FITTED
        ),
        Check(claim, measured, fewer),
    ]
    lost = [
        run["full"]["test_accuracy"] - run["needed"]["test_accuracy"] if run["needed"] is not None else inf
        for run in of["real"]
    ]
    claim = f"real labels: with as few components the test accuracy falls by at most {100 * _KEPT:g} points"
    return [*checks, Check(claim, f"by {told(lost, '.3f')}", max(lost) <= _KEPT)]


def _figure(recipe: CompressionBound, runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracies against components; errors of the fits and the CP spectrum of the last convolution."""
    figure, axes = panels(1, 3, width=4.3)
    chosen = (("real", "train"), ("random", "train"), ("real", "test"))
    drawn = []
    for k, (kind, split) in enumerate(chosen):
        found = np.asarray([[row[f"{split}_accuracy"] for row in run["rows"]] for run in runs if run["kind"] == kind])
        band = (found.min(axis=0), found.max(axis=0))
        drawn.append(Line(recipe.components, found.mean(axis=0), f"{kind} labels, {split}", k, marker=True, band=band))
    title, x = "Convolutions cut to few components", "CP components of a convolution"
    lines(axes[0, 0], drawn, title, x, "accuracy", "x", where="upper left")
    axes[0, 0].set_ylim(0, 1.03)
    axes[0, 0].set_xticks(recipe.components, [str(count) for count in recipe.components])
    axes[0, 0].minorticks_off()
    errors, spectra = [], []
    for k, kind in enumerate(KINDS):
        for number, run in enumerate(run for run in runs if run["kind"] == kind):
            name, error = list(run["errors"].items())[-1]
            label = f"{kind} labels" * (number == 0)
            errors.append(Line(recipe.components, error, label, k, marker="o", width=1.2))
            norms = np.asarray(run["spectra"].get(name, [1.0]))
            spectra.append(Line(np.arange(1, len(norms) + 1), norms / norms[0], label, k, width=1.2))
    lines(axes[0, 1], errors, "Fits of the last convolution", x, "relative error")
    axes[0, 1].set_ylim(0, None)
    lines(axes[0, 2], spectra, "CP spectrum of the largest fit", "component", "norm over the largest", "y")
    return figure
