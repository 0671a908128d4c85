"""The rank of embeddings when each layer of a network is expanded into a chain of linear layers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, Depth, Number, Positive, Seeds, Several, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, falls, register, told
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.plots.painters import Figure, Line, lines, panels
from tnrank.ranks import effective_rank_of
from tnrank.runs import Fitting

_QUANTITIES = {"gram": "Gram matrix of embeddings", "weight": "last hidden layer"}
_FITTED = 0.98
"""Train accuracy from which on networks count as fitted alike."""


@register
@dataclass(frozen=True, kw_only=True)
class RankOfLayers(Recipe):
    """Effective ranks at initialization and after training, against the number of linear layers in place of one.

    The network is a multilayer perceptron with ReLU. Chains of linear layers express no more than one layer: for the
    measurements each is multiplied into one. Images have the mean training image taken off and a mean square of 1.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        test_limit: images whose embeddings are measured, 0 for all.
        widths: of the hidden layers; the last ones are the embeddings.
        chains: numbers of linear layers in place of one.
        seeds: of initial weights and minibatches.
        steps: of training.
        batch: images of a step.
        learning_rate: of stochastic gradient descent with momentum 0.9.

    Source: Huh, Mobahi, Zhang, Cheung, Agrawal & Isola 2021, Sec. 3 to 5.
    """

    name: ClassVar[str] = "rank-of-layers"
    title: ClassVar[str] = "the more linear layers stand in place of one, the lower the rank of embeddings"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"data": "mnist", "limit": 12_000, "widths": (256, 256), "chains": (1, 2, 4, 8), "seeds": 5},
            **{"steps": 6000},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 0
    test_limit: Number = 1000
    widths: Annotated[tuple[Count, ...], Several(1)] = (128, 128)
    chains: Annotated[tuple[Depth, ...], Several(2, "rising")] = (1, 2, 4)
    seeds: Seeds = 4
    steps: Steps = 800
    batch: Count = 100
    learning_rate: Positive = 5e-3

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        runs: list[dict[str, Any]] = []
        make = partial(get_backend(self.backend).trainer, "linear_chain_mlp", **self._data())
        for chain in self.chains:
            for number in range(self.seeds):
                options = {"seed": 1000 * self.seed + number, "learning_rate": self.learning_rate}
                fitted = yield Fitting(
                    f"chain-{chain}-{number}", make(chain=chain, **options), self.steps, every=max(1, self.steps // 20)
                )
                history = fitted.history
                ranks = {name: [float(effective_rank_of(s)) for s in history[name]] for name in _QUANTITIES}
                accuracy = {f"{split}_accuracy": float(history[f"{split}_accuracy"][-1]) for split in ("train", "test")}
                runs.append({"chain": chain, "seed": number, "steps": fitted.steps, **ranks, **accuracy})
        return _outcome(self, runs)

    def _data(self) -> dict[str, Any]:
        train, labels = gray_images(self.data, "train", self.data_dir, self.limit)
        test, test_labels = gray_images(self.data, "test", self.data_dir, self.test_limit)
        mean = train.mean(axis=0)
        scale = np.sqrt(((train - mean) ** 2).mean())
        found: dict[str, Any] = {"images": (train - mean) / scale, "labels": labels}
        found |= {"test_images": (test - mean) / scale, "test_labels": test_labels}
        widths = (mean.size, *self.widths, int(labels.max()) + 1)
        return {**found, "widths": widths, "batch": self.batch, "dtype": self.dtype}


def _of(runs: Sequence[Mapping[str, Any]], chain: int, quantity: str) -> HostArray:
    """Values of all seeds, one row a seed."""
    return np.asarray([run[quantity] for run in runs if run["chain"] == chain])


def _told(values: HostArray) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{values.mean():.1f} ± {error:.1f}"


def _outcome(recipe: RankOfLayers, runs: Sequence[Mapping[str, Any]]) -> Outcome:
    rows = []
    for chain in recipe.chains:
        row: dict[str, Any] = {"linear layers": chain}
        for name, short in (("gram", "embeddings"), ("weight", "layer")):
            ranks = _of(runs, chain, name)
            row |= {f"{short}, start": _told(ranks[:, 0]), f"{short}, trained": _told(ranks[:, -1])}
        row |= {split: f"{_of(runs, chain, f'{split}_accuracy').mean():.3f}" for split in ("train", "test")}
        rows.append(row)
    note = (
        f"Means and standard errors of {recipe.seeds} seeds; effective ranks of the network with one layer in place of "
        "each chain: of the Gram matrix of embeddings of test images, and of the last hidden layer; accuracies "
        "after training."
    )
    summary = {"runs": [{**run, "steps": run["steps"].tolist()} for run in runs]}
    return Outcome(summary, [Table.of("Effective ranks", rows, note)], _claims(recipe, runs), partial(_figure, runs))


def _claims(recipe: RankOfLayers, runs: Sequence[Mapping[str, Any]]) -> list[Check]:
    fitted = [float(_of(runs, chain, "train_accuracy").mean()) for chain in recipe.chains]
    checks = [Check(f"all networks are fitted, to {_FITTED:.0%} or more", told(fitted, ".3f"), min(fitted) >= _FITTED)]
    for name, words in _QUANTITIES.items():
        for place, when in ((0, "at initialization"), (-1, "after training")):
            means = [float(_of(runs, chain, name)[:, place].mean()) for chain in recipe.chains]
            claim = f"{words}: the effective rank falls with the number of linear layers {when}"
            checks.append(Check(claim, told(means, ".1f"), falls(means)))
    return checks


def _figure(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Effective ranks against the length of the chains, and of embeddings while training."""
    figure, axes = panels(1, 3, width=4.0)
    chains = sorted({run["chain"] for run in runs})
    for panel, (name, words) in zip(axes[0], _QUANTITIES.items(), strict=False):
        drawn = []
        for k, (place, when) in enumerate(((0, "at initialization"), (-1, "after training"))):
            ranks = np.stack([_of(runs, chain, name)[:, place] for chain in chains])
            mean, spread = ranks.mean(axis=1), ranks.std(axis=1)
            drawn.append(Line(chains, mean, when, k, marker=True, band=(mean - spread, mean + spread)))
        lines(panel, drawn, words[0].upper() + words[1:], "linear layers in place of one", "effective rank", "x")
        panel.set_ylim(0, None)
        panel.set_xticks(chains, [str(chain) for chain in chains])
        panel.minorticks_off()
    drawn = []
    for k, chain in enumerate(chains):
        ranks, steps = _of(runs, chain, "gram"), _of(runs, chain, "steps")[0]
        label = f"{chain} linear layer{'s' if chain > 1 else ''}"
        drawn.append(Line(steps, ranks.mean(axis=0), label, k + 2))
    lines(axes[0, 2], drawn, "Embeddings while training", "steps", "effective rank")
    axes[0, 2].set_ylim(0, None)
    return figure
