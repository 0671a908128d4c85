"""Entanglement of images, of the same images with shuffled pixels, rearranged again, and of noise."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log, prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from tnrank._backend import get_backend
from tnrank.circuits import CosSin
from tnrank.data import check_labeled, gray, images, pixel_permutation
from tnrank.dimension_tree import DimensionTree
from tnrank.experiments.fields import Count, Number, Positive, Several
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, SampleTraining, Table, register
from tnrank.factorizations import HierarchicalFactorization
from tnrank.plots.painters import Figure, Line, legend_below, lines, panels
from tnrank.ranks import correlation_tree, entanglement_report, rearrange
from tnrank.runs import Fitting
from tnrank.training import Adam, CrossEntropyLoss, scores
from tnrank.training.recorders import Loss

KINDS = ("natural", "shuffled", "rearranged", "random")
_RAISED, _RECOVERED = 1.3, 0.35
_BETTER: dict[str, tuple[str, ...]] = {"mnist": ("network",), "cifar10": ("network",)}
"""Data -> models that classified the images better than shuffled ones for each of three seeds."""


@register
@dataclass(frozen=True, kw_only=True)
class DataEntanglement(Recipe):
    """How strongly blocks of pixels are entangled with the rest, and how well locally connected models do.

    Shuffled images have one permutation of their pixels, the same for all; rearranged ones are the shuffled ones with
    correlated pixels moved together again; random ones have uniform pixels. A small convolutional network and a circuit
    (a hierarchical factorization on the quad tree of the image) are trained on each.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        samples: images whose entanglement is measured.
        blocks: the most blocks of a level that are measured.
        scale: of the features (cos, sin) of pi times scale times a pixel.
        correlated: images whose correlations rearrange the pixels, 0 for all.
        limit: images to train on, 0 for all.
        channels: of the convolutional network.
        steps: updates of the convolutional network.
        learning_rate: of Adam, for the network.
        width: of the circuit.
        epochs: of the circuit.
        circuit_rate: of Adam for the circuit, relative to its weights.
        circuit_std: standard deviation of its initial weights around those that give 1 everywhere.
        batch: images of a step.

    Source: Alexander, De La Vega, Razin & Cohen 2023, Sec. 4 and 5.
    """

    name: ClassVar[str] = "data-entanglement"
    title: ClassVar[str] = "shuffling the pixels of images raises their entanglement, rearranging them lowers it again"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"data": "mnist", "samples": 60, "limit": 6000, "channels": (16, 32, 32), "steps": 1500},
            **{"epochs": 20, "circuit_rate": 1e-3, "circuit_std": 0.1},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Literal["digits", "mnist", "fashion-mnist", "cifar10"] = "digits"
    data_dir: str | None = None
    samples: Count = 100
    blocks: Count = 64
    scale: Positive = 0.5
    correlated: Number = 0
    limit: Number = 0
    channels: Annotated[tuple[Count, ...], Several(1)] = (16, 32)
    steps: Count = 800
    learning_rate: Positive = 3e-3
    width: Count = 20
    epochs: Count = 30
    circuit_rate: Positive = 1e-2
    circuit_std: Positive = 0.3
    batch: Count = 100

    def execute(self, journal: Journal) -> Generator[SampleTraining | Fitting, Any, Outcome]:
        (x, y), (x_test, y_test) = (self._images(split) for split in ("train", "test"))
        arranged, reports = self._arranged(x, x_test), {}
        accuracy: dict[str, dict[str, float]] = {}
        for kind, (train, test) in arranged.items():
            rows = np.random.default_rng(self.seed).permutation(len(train))[: self.samples]
            reports[kind] = entanglement_report(
                train[rows], scale=self.scale, twins=False, blocks=self.blocks, seed=self.seed
            )
            few = self.limit or len(y)
            fitted = yield Fitting(
                f"cnn-{kind}", self._network(train[:few], y[:few], test, y_test), self.steps, every=self.steps
            )
            circuit = yield self._circuit(kind, train[:few], y[:few])
            accuracy[kind] = {
                "network": float(fitted.history["test_accuracy"][-1]),
                "circuit": _accuracy(circuit.factorization, test, y_test),
            }
        return _outcome(self, reports, accuracy)

    def _images(self, split: Literal["train", "test"]) -> tuple[HostArray, HostArray]:
        pictures, labels = images(self.data, split, self.data_dir)
        check_labeled(pictures, labels)
        return gray(pictures), labels

    def _arranged(self, x: HostArray, test: HostArray) -> dict[str, tuple[HostArray, HostArray]]:
        """Kind -> images to train on, and to test on, ``(M, H, W)`` in [0, 1]."""
        order = pixel_permutation(prod(x.shape[1:]), self.seed)

        def shuffled(pictures: HostArray) -> HostArray:
            return np.asarray(pictures.reshape(len(pictures), -1)[:, order].reshape(pictures.shape))

        known = shuffled(x[: self.correlated or len(x)])
        tree = correlation_tree(known)
        noise = [np.random.default_rng([self.seed, k]).random(a.shape) for k, a in enumerate((x, test))]
        return {
            "natural": (x, test),
            "shuffled": (shuffled(x), shuffled(test)),
            "rearranged": (np.asarray(rearrange(shuffled(x), tree)), np.asarray(rearrange(shuffled(test), tree))),
            "random": (noise[0], noise[1]),
        }

    def _network(self, x: HostArray, y: HostArray, test: HostArray, y_test: HostArray) -> Any:
        data = {"images": x, "labels": y, "test_images": test, "test_labels": y_test}
        options = {"batch": self.batch, "learning_rate": self.learning_rate, "seed": self.seed, "dtype": self.dtype}
        return get_backend(self.backend).trainer("cnn", channels=self.channels, **data, **options)

    def _circuit(self, kind: str, x: HostArray, y: HostArray) -> SampleTraining:
        tree, classes = DimensionTree.quad(*x.shape[1:]), int(y.max()) + 1
        options: dict[str, Any] = {"backend": self.backend, "dtype": self.dtype, "seed": self.seed}
        start = HierarchicalFactorization.random(
            (2,) * tree.order, tree, self.width, classes=classes, init="near_identity", std=self.circuit_std, **options
        )
        return SampleTraining(
            f"circuit-{kind}",
            start,
            _features(x),
            y,
            loss=CrossEntropyLoss(),
            optimizer=Adam(self.circuit_rate, relative=True),
            epochs=self.epochs,
            batch=self.batch,
            seed=self.seed,
            record=[Loss(every=-(-len(y) // self.batch))],
            save=False,
        )


def _features(x: HostArray) -> HostArray:
    """``(M, N, 2)`` of images in [0, 1], of sum 1, so that weights near 1 keep products near 1."""
    found = np.asarray(CosSin()({}, x.reshape(len(x), -1, 1)))
    return np.asarray(found / found.sum(axis=-1, keepdims=True))


def _accuracy(x: Any, test: HostArray, labels: HostArray) -> float:
    found = np.asarray(x.backend.to_numpy(scores(x, _features(test))))
    return float((found.argmax(axis=1) == labels).mean())


def _entropy(report: Any, features: float) -> float:
    """Mean entropy at the level whose nodes have about so many features, ``NaN`` if there is none."""
    level = min(report.levels, key=lambda one: abs(log(one.mean_features / features)))
    return float(level.natural.entropy) if abs(log(level.mean_features / features)) < log(1.6) else float("nan")


def _outcome(recipe: DataEntanglement, reports: dict[str, Any], accuracy: dict[str, dict[str, float]]) -> Outcome:
    rows = []
    for level in range(len(reports["natural"].levels)):
        of_kinds = [reports[kind].levels[level] for kind in KINDS]
        cells = [f"{one.natural.entropy:.2f} ± {one.natural.error:.2f}" for one in of_kinds]
        rows.append((f"{of_kinds[0].mean_features:g}", f"{of_kinds[0].measured} of {of_kinds[0].count}", *cells))
    limit = reports["natural"].limit
    count = recipe.samples
    note = (
        f"Mean and standard error over the nodes; {count} images have at most ln {count} = {limit:.2f}. Where not all "
        "nodes are measured, the same places are, which hold other pixels in each column."
    )
    tables = [
        Table("Entanglement entropy", ("pixels", "nodes", *KINDS), rows, note),
        Table(
            "Test accuracy",
            ("model", *KINDS),
            [(model, *(f"{accuracy[kind][model]:.3f}" for kind in KINDS)) for model in ("network", "circuit")],
        ),
    ]
    summary = {"accuracy": accuracy, "entropy": {kind: report.to_dict()["levels"] for kind, report in reports.items()}}
    return Outcome(summary, tables, _claims(recipe, reports, accuracy), partial(_figure, reports, accuracy))


def _claims(recipe: DataEntanglement, reports: dict[str, Any], accuracy: dict[str, dict[str, float]]) -> list[Check]:
    at = {kind: _entropy(report, 16) for kind, report in reports.items()}
    claim = "nodes of 16 pixels: images are less entangled than noise"
    checks = [Check(claim, f"{at['natural']:.2f} against {at['random']:.2f}", at["natural"] < at["random"])]
    for model in _BETTER.get(recipe.data, ()):
        ours, theirs = (accuracy[kind][model] for kind in ("natural", "shuffled"))
        claim = f"the {model} classifies images better than shuffled ones"
        checks.append(Check(claim, f"{ours:.3f} against {theirs:.3f}", ours > theirs))
    if recipe.data == "digits":
        return checks
    claim = f"nodes of 16 pixels: shuffling raises the entropy to {_RAISED:g} times or more"
    ratio = at["shuffled"] / at["natural"]
    checks.append(Check(claim, f"{at['natural']:.2f} to {at['shuffled']:.2f}, {ratio:.2f} times", ratio >= _RAISED))
    if recipe.data == "mnist":
        won = (at["shuffled"] - at["rearranged"]) / (at["shuffled"] - at["natural"])
        claim = f"nodes of 16 pixels: rearranging wins {_RECOVERED:.0%} of that back, or more"
        checks.append(Check(claim, f"{won:.0%}, to {at['rearranged']:.2f}", won >= _RECOVERED))
    return checks


def _figure(reports: dict[str, Any], accuracy: dict[str, dict[str, float]]) -> Figure:
    """Entropy against the size of the nodes; accuracy of both models for each arrangement."""
    figure, axes = panels(1, 2, width=5.0)
    drawn = []
    for k, (kind, report) in enumerate(reports.items()):
        sizes = [level.mean_features for level in report.levels]
        mean = np.array([level.natural.entropy for level in report.levels])
        error = np.nan_to_num([level.natural.error for level in report.levels])
        drawn.append(Line(sizes, mean, kind, k, marker=True, band=(mean - error, mean + error)))
    limit = reports["natural"].limit
    drawn.append(Line([1, max(sizes)], [limit, limit], "ln of the number of images", "quiet", "--"))
    lines(axes[0, 0], drawn, "Entanglement with the rest", "pixels of a node", "entropy, nats", "x", where=None)
    axes[0, 0].set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes[0, 0].minorticks_off()
    places = np.arange(len(KINDS))
    models = [
        Line(places + 0.1 * k - 0.05, [accuracy[kind][model] for kind in KINDS], name, k, "", True)
        for k, (model, name) in enumerate((("network", "convolutional network"), ("circuit", "circuit")))
    ]
    lines(axes[0, 1], models, "Test accuracy", "arrangement of pixels", "accuracy", where="lower left")
    axes[0, 1].set_xticks(places, KINDS)
    axes[0, 1].set_ylim(0, 1.03)
    legend_below(figure, axes[0, 0], columns=5)
    return figure
