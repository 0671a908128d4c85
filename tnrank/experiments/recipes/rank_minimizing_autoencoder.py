"""Linear layers behind the encoder of an autoencoder: gradient descent makes its latent codes low-dimensional."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, Number, Positive, Range, Seeds, Several
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, falls, median, register, told
from tnrank.experiments.recipes._image_sets import Name, gray_images, redrawn
from tnrank.plots.painters import Figure, Line, lines, panels
from tnrank.ranks import effective_rank_of
from tnrank.runs import Fitting

_RANK = {2: 0.8, 4: 0.7}
"""Linear layers -> what the effective rank is at most, as a share of that without them."""
_ERROR = {2: 1.2, 4: 1.35}
"""Linear layers -> what the reconstruction error is at most, as a share of that without them, at initial gain 1."""
_CUT = 0.9
"""What the error of codes cut to their leading directions is at most with most layers, as a share of that with none."""
_COPIES, _SIDE = 3, 28


@register
@dataclass(frozen=True, kw_only=True)
class RankMinimizingAutoencoder(Recipe):
    """The effective rank of latent codes against the number of linear layers between the encoder and the codes.

    The layers are square and have no bias, so they could be multiplied into one: they add no expressive power. Digits
    are redrawn three times each at 28 x 28 pixels, rotated, sheared, scaled and moved: 64 pixels alone are not much
    more than the codes hold.

    Attributes:
        data: the images; all but the digits come from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        test_limit: images to measure on, 0 for all.
        network: a multilayer perceptron, or the published convolutional network on images padded to 32 x 32.
        hidden: width of the hidden layers of the multilayer perceptron.
        latent: length of the codes.
        depths: numbers of linear layers.
        gain: initial entries of a linear layer have the standard deviation gain / sqrt(latent); PyTorch's default start
            has 0.577.
        kept: directions that codes are cut to.
        seeds: of initial weights and minibatches; medians are reported.
        epochs: of training.
        batch: images of a step.
        learning_rate: of Adam.

    Source: Jing, Zbontar & LeCun 2020, Sec. 3 and 4.
    """

    name: ClassVar[str] = "rank-minimizing-autoencoder"
    title: ClassVar[str] = "linear layers behind an encoder lower the effective rank of its codes"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "mnist": {"data": "mnist"},
        "paper": {
            **{"data": "mnist", "limit": 0, "test_limit": 0, "network": "convolutional", "latent": 128},
            **{"depths": (0, 8), "gain": 0.577, "seeds": 1, "epochs": 100, "batch": 32, "learning_rate": 1e-4},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 3600
    test_limit: Number = 2000
    network: Literal["mlp", "convolutional"] = "mlp"
    hidden: Count = 256
    latent: Annotated[int, Range(2, 10_000)] = 32
    depths: Annotated[tuple[Annotated[int, Range(0, 100)], ...], Several(2, "rising")] = (0, 2, 4)
    gain: Positive = 1.0
    kept: Count = 12
    seeds: Seeds = 3
    epochs: Count = 20
    batch: Count = 80
    learning_rate: Positive = 1e-3

    def check(self) -> None:
        if self.kept >= self.latent:
            raise ValueError(
                f"kept is below latent, the length of the codes, got {self.kept} of {self.latent}: "
                f"kept={self.latent // 2 or 1} cuts them in half"
            )

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        train, test = self.pictures("train"), self.pictures("test")
        per_epoch = -(-len(train) // self.batch)
        runs: list[dict[str, Any]] = []
        for depth in self.depths:
            for number in range(self.seeds):
                trainer = self._trainer(train, test, depth, 1000 * self.seed + number)
                fitted = yield Fitting(f"depth-{depth}-{number}", trainer, self.epochs * per_epoch, every=per_epoch)
                spectra, counts = fitted.history["spectrum"], self._counts()
                runs.append(
                    {
                        **{"depth": depth, "seed": number, "spectrum": spectra[-1]},
                        "effective_rank": [float(effective_rank_of(spectrum)) for spectrum in spectra],
                        "error": float(fitted.history["test_error"][-1]),
                        "cut_errors": {count: fitted.trainer.error_of_leading(count) for count in counts},
                    }
                )
        return _outcome(self, runs)

    def pictures(self, split: Literal["train", "test"]) -> HostArray:
        """Images ``(M, H, W)`` to train on, or to measure on."""
        limit = self.limit if split == "train" else self.test_limit
        if self.data == "digits":
            pictures, _ = gray_images("digits", split)
            count, seed = (
                (_COPIES * len(pictures), 2 * self.seed) if split == "train" else (len(pictures), 2 * self.seed + 1)
            )
            pictures = redrawn(pictures, min(limit or count, count), _SIDE, seed)
        else:
            pictures, _ = gray_images(self.data, split, self.data_dir, limit)
        return pictures if self.network == "mlp" else np.pad(pictures, ((0, 0), (2, 2), (2, 2)))

    def _trainer(self, train: HostArray, test: HostArray, depth: int, seed: int) -> Any:
        sizes = {"network": self.network, "hidden": self.hidden, "latent": self.latent, "gain": self.gain}
        options = {"batch": self.batch, "learning_rate": self.learning_rate, "seed": seed, "dtype": self.dtype}
        make = partial(get_backend(self.backend).trainer, "autoencoder", images=train, test_images=test)
        return make(depth=depth, **sizes, **options)

    def _counts(self) -> list[int]:
        """Numbers of directions to which codes are cut."""
        powers = {2**k for k in range(1, 14) if 2**k < self.latent}
        return sorted({*powers, self.kept, self.latent})


def _outcome(recipe: RankMinimizingAutoencoder, runs: Sequence[Mapping[str, Any]]) -> Outcome:
    told_runs = [
        {**run, "effective_rank": run["effective_rank"][-1], "cut": run["cut_errors"][recipe.kept]} for run in runs
    ]
    medians = {
        depth: {name: float(median(told_runs, name, depth=depth)) for name in ("effective_rank", "error", "cut")}
        for depth in recipe.depths
    }
    first = medians[recipe.depths[0]]
    rows = [
        {
            "linear layers": depth,
            "effective rank": one["effective_rank"],
            "test error": one["error"],
            f"cut to {recipe.kept}": one["cut"],
            f"over {recipe.depths[0]} layers": told((one[name] / first[name] for name in one), ".2f"),
        }
        for depth, one in medians.items()
    ]
    seeds = "one seed" if recipe.seeds == 1 else f"Medians of {recipe.seeds} seeds"
    note = f"{seeds}; mean squared errors of pixels; the last column is rank, error and cut error over the first row's."
    table = Table.of("Latent codes of test images", rows, note)
    summary: dict[str, Any] = {"medians": {str(depth): one for depth, one in medians.items()}}
    summary["runs"] = [{**run, "spectrum": run["spectrum"].tolist()} for run in runs]
    return Outcome(summary, [table], _claims(recipe, medians), partial(_figure, recipe, runs))


def _claims(recipe: RankMinimizingAutoencoder, medians: Mapping[int, Mapping[str, float]]) -> list[Check]:
    least, most = recipe.depths[0], recipe.depths[-1]
    first, last = medians[least], medians[most]
    ranks = [one["effective_rank"] for one in medians.values()]
    checks = [
        Check("the effective rank of the codes falls with the number of layers", told(ranks, ".1f"), falls(ranks))
    ]
    for depth in recipe.depths if least == 0 else ():
        if depth in _RANK:
            claim = f"{depth} layers: the effective rank is at most {_RANK[depth]:g} times that of none"
            ratio = medians[depth]["effective_rank"] / first["effective_rank"]
            checks.append(Check(claim, f"{ratio:.2f} times", ratio <= _RANK[depth]))
        if depth in _ERROR and recipe.gain == 1:
            claim = f"{depth} layers: the reconstruction error rises by at most {_ERROR[depth] - 1:.0%}"
            ratio = medians[depth]["error"] / first["error"]
            checks.append(Check(claim, f"by {ratio - 1:.0%}", ratio <= _ERROR[depth]))
    claim = f"cut to {recipe.kept} directions, {most} layers reconstruct at least {1 - _CUT:.0%} better than {least}"
    checks.append(Check(claim, f"{first['cut']:.4f} to {last['cut']:.4f}", last["cut"] <= _CUT * first["cut"]))
    return checks


def _figure(recipe: RankMinimizingAutoencoder, runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Spectra of the codes, their effective rank while training, and errors of cut codes."""
    figure, axes = panels(1, 3, width=4.0)
    drawn: list[list[Line]] = [[], [], []]
    for k, depth in enumerate(recipe.depths):
        label = f"{depth} linear layers"
        spectrum = median(
            ({**run, "share": run["spectrum"] / run["spectrum"][0]} for run in runs), "share", depth=depth
        )
        drawn[0].append(Line(np.arange(1, recipe.latent + 1), np.maximum(spectrum, 1e-8), label, k))
        ranks = median(runs, "effective_rank", depth=depth)
        drawn[1].append(Line(np.arange(len(ranks)), ranks, label, k))
        told_cuts = [{"depth": run["depth"], "errors": list(run["cut_errors"].values())} for run in runs]
        counts = list(runs[0]["cut_errors"])
        drawn[2].append(Line(counts, median(told_cuts, "errors", depth=depth), label, k, marker=True))
    lines(axes[0, 0], drawn[0], "Covariance of test codes", "direction", "singular value over the first", "y")
    lines(axes[0, 1], drawn[1], "While training", "epochs", "effective rank", where=None)
    axes[0, 1].set_ylim(0, None)
    lines(axes[0, 2], drawn[2], "Codes cut to leading directions", "directions kept", "test error", "x", where=None)
    axes[0, 2].set_ylim(0, None)
    axes[0, 2].set_xticks(counts, [str(count) for count in counts])
    axes[0, 2].minorticks_off()
    return figure
