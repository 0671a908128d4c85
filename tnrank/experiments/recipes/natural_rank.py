"""Natural data is fitted with low tensor rank and low hierarchical tensor rank; its random twins are not."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from tnrank.data import images, one_versus_all, random_images, random_labels, states
from tnrank.dimension_tree import DimensionTree
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Number, Positive, Range, Seeds, Several
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, SampleTraining, Table, register
from tnrank.factorizations import CPFactorization, HierarchicalFactorization
from tnrank.plots.painters import Figure, Line, legend_below, lines, panels
from tnrank.training import Adam, scores
from tnrank.training.recorders import Loss

KINDS = ("natural", "random image", "random label")
_LOW = {"mnist": (0.4, 0.45), "digits": (0.5, 0.5), "fashion-mnist": (0.5, 0.5)}
"""Data -> what the natural errors of rank 1 are at most, on train and test, as shares of the twins'."""

# data -> kind -> R -> (train, test), read off the published figure: 60,000 images, up to 10,000 epochs
_PUBLISHED: dict[str, dict[str, dict[int, tuple[float, float]]]] = {
    "mnist": {
        "natural": {1: (0.023, 0.024), 2: (0.016, 0.020), 5: (0.008, 0.022), 15: (0.003, 0.029)},
        "random image": {1: (0.088, 0.092), 5: (0.059, 0.132), 10: (0.032, 0.147), 15: (0.015, 0.150)},
        "random label": {1: (0.089, 0.092), 5: (0.074, 0.110), 10: (0.058, 0.131), 15: (0.044, 0.139)},
    },
    "fashion-mnist": {
        "natural": {1: (0.034, 0.037), 5: (0.017, 0.046), 10: (0.010, 0.055), 15: (0.009, 0.057)},
        "random image": {1: (0.089, 0.092), 5: (0.059, 0.133), 10: (0.032, 0.148), 15: (0.015, 0.152)},
        "random label": {1: (0.089, 0.093), 5: (0.069, 0.122), 10: (0.049, 0.140), 15: (0.034, 0.148)},
    },
}


@register
@dataclass(frozen=True, kw_only=True)
class NaturalRank(Recipe):
    """Images as entries of a tensor with one mode a pixel, fitted by CP and hierarchical factorizations of low rank.

    Each class is told from all others: its images have the value 2, others 0, and errors are divided by 4. Beside the
    images stand two twins of as many samples of each class: random images with their labels, and images with permuted
    labels.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        levels: gray levels of a pixel, the dimension of each mode.
        ranks: numbers of components of the CP factorizations.
        widths: of the hierarchical factorizations, on the quad tree of the image.
        classes: how many classes are told from the others by CP factorizations.
        htf_classes: the classes of the hierarchical factorizations.
        seeds: initial weights of each.
        limit: the most images to train on, 0 for all.
        epochs: of the CP factorizations.
        htf_epochs: of the hierarchical ones.
        batch: images of a step.
        learning_rate: of Adam for CP factorizations.
        htf_learning_rate: of Adam for hierarchical ones, relative to the size of each matrix.
        std: standard deviation of the initial weights of CP factorizations around those that give 1 everywhere.
        htf_std: of the hierarchical ones.
        htf_init: their initialization. Width helps from ``"near_identity"`` and does not from ``"mean_one"``.

    Source: Razin, Maman & Cohen 2021, Sec. 6 and App. (CP, MNIST and Fashion-MNIST); hierarchical ones are ours.
    """

    name: ClassVar[str] = "natural-rank"
    title: ClassVar[str] = "images are fitted with low tensor rank and hierarchical tensor rank, their random twins not"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"data": "mnist", "batch": 500, "learning_rate": 5e-4, "htf_learning_rate": 5e-4, "seeds": 3},
            **{"epochs": 40, "htf_epochs": 40, "htf_std": 0.03},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Literal["digits", "mnist", "fashion-mnist"] = "digits"
    data_dir: str | None = None
    levels: Annotated[int, Range(2, 256)] = 2
    ranks: Annotated[tuple[Count, ...], Several(1, "rising")] = (1, 2, 5, 15)
    widths: Annotated[tuple[Count, ...], Several(1, "rising")] = (1, 2, 5, 15)
    classes: Count = 10
    htf_classes: Annotated[tuple[Number, ...], Several(once=True)] = (0, 8)
    seeds: Seeds = 1
    limit: Number = 0
    epochs: Count = 60
    htf_epochs: Count = 40
    batch: Count = 100
    learning_rate: Positive = 5e-3
    htf_learning_rate: Positive = 5e-3
    std: Positive = 1e-3
    htf_std: Positive = 0.3
    htf_init: Literal["near_identity", "mean_one"] = "near_identity"

    def execute(self, journal: Journal) -> Generator[SampleTraining, Any, Outcome]:
        found: list[dict[str, Any]] = []
        for kind, (train, test) in self.twins().items():
            for model, sizes in (("cp", self.ranks), ("htf", self.widths)):
                for size in sizes:
                    asked = self.training(kind, model, size, train)
                    results = yield asked
                    errors = self._errors(kind, model, size, results, train, test)
                    for name, result, one in zip(asked.names, results, errors, strict=True):
                        for quantity in ("train", "test"):
                            journal.record(name, result.steps, f"{quantity}_error", one[quantity])
                    found += errors
        summary = {"errors": found, "variance": _variance(found, "cp")}
        return Outcome(summary, [_table(found, self)], _claims(found, self), partial(_figure, found))

    def twins(self) -> dict[str, tuple[_Split, _Split]]:
        """Kind -> states and labels to train on, and to test on."""
        natural = []
        for split in ("train", "test"):
            pictures, labels = images(self.data, split, self.data_dir)
            few = self.limit if split == "train" and self.limit else len(labels)
            natural.append((pictures[:few], states(pictures[:few], self.levels), labels[:few]))
        (_, a, y), (_, b, z) = natural
        shape = natural[0][0].shape[1:3]
        noise = [random_images(x, self.levels, self.seed) for x in (a, b)]
        return {
            "natural": (_Split(a, y, shape), _Split(b, z, shape)),
            "random image": (_Split(noise[0], y, shape), _Split(noise[1], z, shape)),
            "random label": (
                _Split(a, random_labels(y, self.seed), shape),
                _Split(b, random_labels(z, self.seed + 1), shape),
            ),
        }

    def classes_of(self, model: str) -> Sequence[int]:
        """The classes that are told from all others."""
        return range(self.classes) if model == "cp" else self.htf_classes

    def training(self, kind: str, model: str, size: int, train: _Split) -> SampleTraining:
        """All classes and seeds of one model, together."""
        classes, cp = self.classes_of(model), model == "cp"
        runs = [(c, seed) for c in classes for seed in range(self.seeds)]
        start = {"std": self.std, "init": "mean_one"} if cp else {"std": self.htf_std, "init": self.htf_init}
        options: dict[str, Any] = {"backend": self.backend, "dtype": self.dtype, **start}
        shape, tree = (self.levels,) * prod(train.shape), DimensionTree.quad(*train.shape)
        starts: list[Any] = []
        for number, _ in enumerate(runs):
            seed = 1000 * self.seed + number
            starts.append(
                CPFactorization.random(shape, size, seed=seed, **options)
                if cp
                else HierarchicalFactorization.random(shape, tree, size, seed=seed, **options)
            )
        targets = one_versus_all(train.labels, classes, positive=2.0)
        return SampleTraining(
            [f"{kind.replace(' ', '-')}-{model}{size}-class{c}-{seed}" for c, seed in runs],
            starts,
            train.states,
            np.repeat(targets, self.seeds, axis=0),
            optimizer=Adam(self.learning_rate) if cp else Adam(self.htf_learning_rate, relative=True),
            epochs=self.epochs if cp else self.htf_epochs,
            batch=self.batch,
            seed=self.seed,
            record=[Loss(every=-(-len(train.labels) // self.batch))],
            save=False,
        )

    def _errors(
        self, kind: str, model: str, size: int, results: Sequence[Any], train: _Split, test: _Split
    ) -> list[dict[str, Any]]:
        """Mean squared errors over 4, those of a test image at most 1."""
        found = []
        for number, result in enumerate(results):
            c = self.classes_of(model)[number // self.seeds]
            one: dict[str, Any] = {"kind": kind, "model": model, "size": size, "class": c, "seed": number % self.seeds}
            one["status"] = result.status
            for name, split in (("train", train), ("test", test)):
                found_scores = np.asarray(
                    result.factorization.backend.to_numpy(scores(result.factorization, split.states)), np.float64
                )
                squares = (found_scores - 2.0 * (split.labels == c)) ** 2
                one[name] = float(np.mean(np.minimum(squares, 4.0) if name == "test" else squares) / 4)
                share = float(np.mean(split.labels == c))
                one[f"{name}_variance"] = share * (1 - share)
            found.append(one)
        return found


@dataclass(frozen=True)
class _Split:
    states: HostArray
    labels: HostArray
    shape: tuple[int, int]


def _of(found: Sequence[Mapping[str, Any]], quantity: str, **of: Any) -> HostArray:
    return np.asarray([one[quantity] for one in found if of.items() <= one.items()])


def _variance(found: Sequence[Mapping[str, Any]], model: str) -> dict[str, float]:
    return {
        name: float(_of(found, f"{name}_variance", model=model, kind="natural").mean()) for name in ("train", "test")
    }


def _sizes(found: Sequence[Mapping[str, Any]], model: str) -> list[int]:
    return sorted({one["size"] for one in found if one["model"] == model})


def _table(found: Sequence[Mapping[str, Any]], recipe: NaturalRank) -> Table:
    rows = []
    for model in ("cp", "htf"):
        for size in _sizes(found, model):
            for kind in KINDS:
                told = [_of(found, name, model=model, size=size, kind=kind) for name in ("train", "test")]
                cells = [f"{errors.mean():.4f} ± {errors.std():.4f}" for errors in told]
                known = _PUBLISHED.get(recipe.data, {}).get(kind, {}).get(size) if model == "cp" else None
                rows.append((f"{model} {size}", kind, *cells, kit.told(known or (), ".3f", none="")))
    width = 5 if recipe.data in _PUBLISHED else 4
    seeds = "one seed" if recipe.seeds == 1 else f"{recipe.seeds} seeds"
    note = f"Mean and standard deviation over the classes, {seeds} each; a constant has {_told(found)}."
    if width == 5:
        note += " The published runs saw 60,000 images, up to 10,000 times."
    columns = ("model", "data", "train error", "test error", "published")[:width]
    return Table("Mean squared errors over 4", columns, [row[:width] for row in rows], note)


def _told(found: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(f"{_variance(found, model)['train']:.3f} ({model})" for model in ("cp", "htf"))


def _claims(found: Sequence[Mapping[str, Any]], recipe: NaturalRank) -> list[Check]:
    checks = []
    for model in ("cp", "htf"):
        size = _sizes(found, model)[0]
        means = {
            (kind, name): float(_of(found, name, model=model, size=size, kind=kind).mean())
            for kind in KINDS
            for name in ("train", "test")
        }
        variance = _variance(found, model)
        for name, share in zip(("train", "test"), _LOW[recipe.data], strict=True):
            others = {kind: means[kind, name] for kind in KINDS[1:]} | {"variance": variance[name]}
            claim = (
                f"{model} {size}: the {name} error of natural data is at most {share:g} of both twins' and p (1 - p)"
            )
            measured = f"{means['natural', name]:.4f}; " + ", ".join(f"{k} {v:.4f}" for k, v in others.items())
            checks.append(Check(claim, measured, means["natural", name] <= share * min(others.values())))
        least = min(means[kind, "test"] for kind in KINDS[1:]) / variance["test"]
        claim = f"{model} {size}: the twins are tested no better than a constant, at 0.99 p (1 - p) or more"
        checks.append(Check(claim, f"at {least:.3f} or more", least >= 0.99))
    return checks


def _figure(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Errors against the number of components or the width, one row a model, train and test."""
    figure, axes = panels(2, 2, width=4.8)
    for row, (model, x) in zip(axes, (("cp", "components R"), ("htf", "width")), strict=True):
        sizes = _sizes(found, model)
        for panel, name in zip(row, ("train", "test"), strict=True):
            drawn = []
            for k, kind in enumerate(KINDS):
                errors = [_of(found, name, model=model, size=size, kind=kind) for size in sizes]
                mean, spread = np.array([e.mean() for e in errors]), np.array([e.std() for e in errors])
                drawn.append(Line(sizes, mean, kind, k, marker=True, band=(mean - spread, mean + spread)))
            level = _variance(found, model)[name]
            drawn.append(Line([sizes[0], sizes[-1]], [level, level], "a constant, p (1 - p)", "quiet", "--"))
            title = f"{'CP' if model == 'cp' else 'Hierarchical'} factorization, {name}"
            lines(panel, drawn, title, x, "mean squared error / 4", "x", where=None)
            panel.set_ylim(0, None)
            panel.set_xticks(sizes, [str(size) for size in sizes])
            panel.minorticks_off()
    legend_below(figure, axes[0, 0])
    return figure
