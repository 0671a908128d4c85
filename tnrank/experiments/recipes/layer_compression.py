"""A layer of a network as a factorization: what training leaves of it, and what that costs in accuracy."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, NonNegative, Number, Positive, Range, Share, Steps
from tnrank.experiments.kit import HostArray, Journal, Outcome, Recipe, register
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.experiments.recipes._layer_compression_claims import claims, figure, table
from tnrank.runs import Fitting


@dataclass(frozen=True)
class _Model:
    """One of the models that are compared: the settings of its first layer, and how it is trained."""

    title: str
    layer: Mapping[str, Any] | None
    optimizer: Mapping[str, Any]
    steps: int
    penalty: float = 0.0
    narrow: bool = False


@register
@dataclass(frozen=True, kw_only=True)
class LayerCompression(Recipe):
    """A perceptron of one hidden layer whose first weight is dense, or a factorization, trained and then pruned.

    From small weights, gradient descent grows few components of a matrix factorization, and :func:`prune` drops the
    others. CP and hierarchical factorizations are trained from weights of the dense layer's scale; CP also from small
    balanced ones, and both with a penalty on the squares of their factors, which is another method.

    Attributes:
        data: the images; Fashion-MNIST comes from ``data_dir`` or the environment variable ``TNRANK_DATA``.
        data_dir: the folder with the files.
        limit: images to train on, 0 for all.
        hidden: number of hidden units.
        narrow: hidden units of a dense model of few parameters.
        rank: components that the matrix factorizations offer.
        direct_rank: of the one that is trained at a low rank.
        cp_rank: components of the CP factorizations.
        htf_width: width of the hierarchical ones.
        std: standard deviation of the small weights at depth 2.
        deep_std: at depth 3.
        cp_std: of the small balanced start of CP.
        adam_rate: learning rate of Adam.
        factor_rate: of Adam for CP and hierarchical factorizations.
        penalty_rate: of Adam where there is a penalty.
        sgd_rate: of gradient descent for matrix factorizations.
        cp_rate: of gradient descent for CP.
        momentum: of gradient descent.
        penalty: half of it times the sum of the squared factors is added to the loss where a penalty is said.
        steps: updates by Adam.
        long_steps: by gradient descent, and with a penalty.
        batch: images of a step.
        tolerance: components are kept whose norm is above this share of the largest one.

    Source: Arora, Cohen, Hu & Luo 2019 (depth and small weights); the comparison is ours.
    """

    name: ClassVar[str] = "layer-compression"
    title: ClassVar[str] = "trained from small weights, a factorized layer needs few of its components"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "fashion-mnist": {
            **{"data": "fashion-mnist", "limit": 3600, "rank": 128, "direct_rank": 8, "cp_rank": 128, "htf_width": 64},
            **{"deep_std": 1e-2, "cp_std": 0.09, "cp_rate": 0.03, "factor_rate": 1e-3},
            **{"steps": 1080, "long_steps": 2880},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    data: Name = "digits"
    data_dir: str | None = None
    limit: Number = 0
    hidden: Count = 256
    narrow: Count = 10
    rank: Count = 64
    direct_rank: Count = 4
    cp_rank: Count = 23
    htf_width: Count = 16
    std: Positive = 1e-3
    deep_std: Positive = 2e-2
    cp_std: Positive = 0.15
    adam_rate: Positive = 1e-3
    factor_rate: Positive = 3e-3
    penalty_rate: Positive = 3e-3
    sgd_rate: Positive = 2e-2
    cp_rate: Positive = 0.05
    momentum: Annotated[float, Range(0, below=1)] = 0.9
    penalty: NonNegative = 3e-3
    steps: Steps = 480
    long_steps: Steps = 1200
    batch: Count = 100
    tolerance: Share = 1e-2

    def models(self) -> dict[str, _Model]:
        """Name -> what is trained."""
        adam = {"name": "adam", "learning_rate": self.adam_rate}
        sgd = {"name": "sgd", "learning_rate": self.sgd_rate, "momentum": self.momentum}
        of_factors = {"name": "adam", "learning_rate": self.factor_rate}
        held = {"name": "adam", "learning_rate": self.penalty_rate}
        small = {"structure": "mf", "rank": self.rank, "std": self.std}
        cp, htf = {"structure": "cp", "rank": self.cp_rank}, {"structure": "htf", "rank": self.htf_width}
        short, long = self.steps, self.long_steps
        return {
            "dense": _Model("dense", None, adam, short),
            "narrow": _Model(f"dense, {self.narrow} hidden units", None, adam, short, narrow=True),
            "mf-direct": _Model(
                f"MF of rank {self.direct_rank}", {"structure": "mf", "rank": self.direct_rank}, adam, short
            ),
            "mf-depth2-sgd": _Model("MF, depth 2, small weights, SGD", small, sgd, long),
            "mf-depth3-sgd": _Model(
                "MF, depth 3, small weights, SGD", {**small, "depth": 3, "std": self.deep_std}, sgd, long
            ),
            "mf-depth2-adam": _Model("MF, depth 2, small weights, Adam", small, adam, short),
            "cp": _Model("CP, Adam", cp, of_factors, short),
            "cp-small": _Model(
                "CP, small balanced weights, SGD",
                {**cp, "std": self.cp_std, "balanced": True},
                {**sgd, "learning_rate": self.cp_rate},
                long,
            ),
            "cp-penalty": _Model("CP, penalty, Adam", cp, held, long, self.penalty),
            "htf": _Model("HTF, Adam", htf, of_factors, short),
            "htf-penalty": _Model("HTF, penalty, Adam", htf, held, long, self.penalty),
        }

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        (x, y), (test, y_test) = self.images("train"), self.images("test")
        data = {"images": x, "labels": y, "test_images": test, "test_labels": y_test}
        options = {"batch": self.batch, "seed": self.seed, "dtype": self.dtype}
        found = {}
        for name, model in self.models().items():
            trainer = get_backend(self.backend).trainer(
                "compressed_perceptron",
                hidden=self.narrow if model.narrow else self.hidden,
                layer=model.layer,
                optimizer=model.optimizer,
                penalty=model.penalty,
                **data,
                **options,
            )
            fitted = yield Fitting(name, trainer, model.steps, every=max(1, model.steps // 10))
            found[name] = fitted.trainer.pruned(self.tolerance)
        titles = {name: model.title for name, model in self.models().items()}
        summary = {name: {key: value for key, value in one.items() if key != "norms"} for name, one in found.items()}
        checks = claims(self, found)
        return Outcome(summary, [table(titles, found)], checks, partial(figure, titles, found, self.tolerance))

    def images(self, split: Literal["train", "test"]) -> tuple[HostArray, HostArray]:
        """Images and labels to train on, as many as ``limit`` says, or all to test on."""
        return gray_images(self.data, split, self.data_dir, self.limit if split == "train" else 0)
