"""Weights written as products of more matrices: embeddings of lower effective rank, before training and after."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, Number, Positive, Seeds, Several
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, falls, median, register, told
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.plots.painters import Figure, Line, lines, panels
from tnrank.runs import Fitting

_QUANTITIES = {
    "gram_rank": "embeddings before the ReLU",
    "gram_rank_relu": "embeddings after the ReLU",
    "weight_rank": "weight, multiplied out",
}


@register
@dataclass(frozen=True, kw_only=True)
class RankOfLayers(Recipe):
    """The effective rank of the Gram matrix of embeddings against the number of matrices that each weight is made of.

    A perceptron of two hidden layers keeps its function class while every weight becomes a product of square matrices
    with nothing between them. Embeddings are the outputs of the last hidden layer for test images.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        test_limit: images to measure on, 0 for all.
        width: of the hidden layers.
        depths: numbers of matrices.
        seeds: of initial weights and minibatches; medians are reported.
        epochs: of training.
        batch: images of a step.
        learning_rate: of Adam.

    Source: Huh, Mobahi, Zhang, Cheung, Agrawal & Isola 2021, Sec. 4.
    """

    name: ClassVar[str] = "rank-of-layers"
    title: ClassVar[str] = "the more matrices a weight is made of, the lower the effective rank of the embeddings"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"data": "mnist", "limit": 6000, "test_limit": 2000, "width": 128},
            **{"seeds": 5, "epochs": 30},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 0
    test_limit: Number = 0
    width: Count = 64
    depths: Annotated[tuple[Count, ...], Several(2, "rising")] = (1, 2, 4)
    seeds: Seeds = 3
    epochs: Count = 20
    batch: Count = 50
    learning_rate: Positive = 1e-3

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        x, y = gray_images(self.data, "train", self.data_dir, self.limit)
        x_test, y_test = gray_images(self.data, "test", self.data_dir, self.test_limit)
        data = {"images": x, "labels": y, "test_images": x_test, "test_labels": y_test}
        make = partial(get_backend(self.backend).trainer, "deep_perceptron", **data, dtype=self.dtype)
        per_epoch = -(-len(y) // self.batch)
        runs: list[dict[str, Any]] = []
        for depth in self.depths:
            for number in range(self.seeds):
                options = {"width": self.width, "batch": self.batch, "learning_rate": self.learning_rate}
                trainer = make(depth=depth, seed=1000 * self.seed + number, **options)
                name = f"depth-{depth}-{number}"
                fitted = yield Fitting(name, trainer, self.epochs * per_epoch, every=per_epoch)
                runs.append({"depth": depth, "seed": number, **fitted.history})
        return _outcome(self, runs)


def _outcome(recipe: RankOfLayers, runs: Sequence[Mapping[str, Any]]) -> Outcome:
    curves = {
        quantity: {depth: median(runs, quantity, depth=depth) for depth in recipe.depths}
        for quantity in (*_QUANTITIES, "train_accuracy", "test_accuracy")
    }
    rows = [
        {
            "matrices": depth,
            **{title: told(curves[quantity][depth][[0, -1]], ".1f") for quantity, title in _QUANTITIES.items()},
            "train accuracy": f"{curves['train_accuracy'][depth][-1]:.3f}",
            "test accuracy": f"{curves['test_accuracy'][depth][-1]:.3f}",
        }
        for depth in recipe.depths
    ]
    seeds = "One seed" if recipe.seeds == 1 else f"Medians of {recipe.seeds} seeds"
    note = f"{seeds}. Effective ranks before training and after it; the mean embedding is subtracted."
    table = Table.of("Effective rank", rows, note)
    summary = {
        quantity: {str(depth): [float(curve[0]), float(curve[-1])] for depth, curve in of_depths.items()}
        for quantity, of_depths in curves.items()
    }
    return Outcome(summary, [table], _claims(recipe, curves), partial(_figure, recipe, curves))


def _claims(recipe: RankOfLayers, curves: Mapping[str, Mapping[int, HostArray]]) -> list[Check]:
    before, after = (
        {quantity: [float(curve[place]) for curve in curves[quantity].values()] for quantity in _QUANTITIES}
        for place in (0, -1)
    )
    checks = [
        _falls(before["gram_rank"], "before training, the effective rank of embeddings"),
        _falls(before["weight_rank"], "before training, the effective rank of the weight"),
        _falls(after["weight_rank"], "after training, the effective rank of the weight"),
    ]
    first, *others = after["gram_rank"]
    claim = f"after training, the effective rank of embeddings is largest where weights have depth {recipe.depths[0]}"
    return [*checks, Check(claim, told(after["gram_rank"], ".1f"), max(others) < first)]


def _falls(ranks: Sequence[float], what: str) -> Check:
    return Check(f"{what} falls with the number of matrices", told(ranks, ".1f"), falls(ranks))


def _figure(recipe: RankOfLayers, curves: Mapping[str, Mapping[int, HostArray]]) -> Figure:
    """Effective ranks while training, one panel a quantity, one line a depth."""
    figure, axes = panels(1, len(_QUANTITIES), width=4.0)
    for k, (quantity, title) in enumerate(_QUANTITIES.items()):
        drawn = [
            Line(np.arange(len(curve)), curve, f"{depth} {'matrix' if depth == 1 else 'matrices'}", number)
            for number, (depth, curve) in enumerate(curves[quantity].items())
        ]
        heading = title[0].upper() + title[1:]
        lines(axes[0, k], drawn, heading, "epochs", "effective rank", where="upper right" if k == 0 else None)
        axes[0, k].set_ylim(0, None)
    return figure
