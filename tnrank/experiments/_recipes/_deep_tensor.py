"""Deep Tucker and tensor train factorization: what depth on every factor does to the ranks that completion finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank._typing import Label
from tnrank.data import observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _deep_tensor_report as report
from tnrank.factorizations import NetworkFactorization, TensorTrain, Tucker, deepen
from tnrank.network import Network
from tnrank.training import GroupRMSProp, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

HostArray = np.ndarray[Any, Any]


@register
@dataclass(frozen=True, kw_only=True)
class DeepTensor(Recipe):
    """Completion with Tucker and tensor train models whose factors are products of ``depth`` matrices each.

    No size bounds a rank: every model can be any tensor. All depths start from end tensors of the same norm.

    Attributes:
        depths: matrices in the place of each factor or core.
        scales: norms of the initial end tensors, as shares of the target's.
        tucker_size: dimension of the three modes of the Tucker models.
        tucker_rank: multilinear rank of their targets.
        tt_size: dimension of the four modes of the tensor trains.
        tt_rank: rank of their targets between all cores.
        observed_share: of the entries.
        steps: of every model.
        seeds: runs of every model, with other targets, observed entries and initial weights.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps.

    Source: Milanesi, Kadri, Ayache & Artieres 2021 (the models); sizes and scales are those of this library.
    """

    name: ClassVar[str] = "deep-tensor"
    title: ClassVar[str] = "deeper Tucker and tensor train factorizations find lower ranks"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {"depths": (1, 2, 3, 4), "scales": (1e-3, 1e-2, 1e-1, 0.3), "steps": 10_000, "seeds": 5},
        }
    )

    depths: tuple[int, ...] = (1, 2, 3)
    scales: tuple[float, ...] = (1e-3, 3e-2, 0.3)
    tucker_size: int = 10
    tucker_rank: int = 3
    tt_size: int = 6
    tt_rank: int = 3
    observed_share: float = 0.5
    steps: int = 4_000
    seeds: int = 3
    learning_rate: float = 5e-3
    record_every: int = 100

    @explained
    def __post_init__(self) -> None:
        if len(self.depths) < 2 or list(self.depths) != sorted({*self.depths}) or self.depths[0] < 1:
            raise ValueError(f"depths are two or more ascending whole numbers from 1 on, got {self.depths}")
        if len(self.scales) < 2 or list(self.scales) != sorted({*self.scales}) or not self.scales[0] > 0:
            raise ValueError(f"scales are two or more ascending positive numbers, got {self.scales}")
        for rank, size in (("tucker_rank", "tucker_size"), ("tt_rank", "tt_size")):
            if not 1 <= getattr(self, rank) <= getattr(self, size):
                raise ValueError(f"{rank} lies in 1 .. {size} = {getattr(self, size)}, got {getattr(self, rank)}")
        if not 0 < self.observed_share < 1:
            raise ValueError(f"observed_share lies between 0 and 1, got {self.observed_share}")
        for field in ("steps", "seeds", "record_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is at least 1, got {getattr(self, field)}")

    def execute(self, journal: Journal) -> Outcome:
        found = [
            run for model in report.PARTITIONS for depth in self.depths for run in self._train(journal, model, depth)
        ]
        return report.outcome(found)

    def target(self, model: str, seed: int) -> HostArray:
        """A tensor of mean square 1 that has low rank in the format of the model."""
        if model == "tt":
            drawn = TensorTrain.random(self._shape(model), rank=self.tt_rank, seed=seed).to_dense()
            return _unit(drawn)
        x = Tucker.random(self._shape(model), rank=self.tucker_rank, seed=seed)
        # Orthonormal factors leave the ranks to the core.
        factors = {f"factor {k}": np.linalg.qr(factor)[0] for k, factor in enumerate(x.factors)}
        return _unit(x.replace(factors).to_dense())

    def network(self, model: str, depth: int) -> tuple[Network, dict[Label, int]]:
        """The network of a model and the sizes of its indices."""
        shape = self._shape(model)
        if model == "tucker":
            full: Tucker | TensorTrain = Tucker.random(shape, rank=shape)
            along = {f"factor {k}": f"r{k}" for k in range(len(shape))}
        else:
            ranks = [min(prod(shape[:k]), prod(shape[k:])) for k in range(1, len(shape))]
            full = TensorTrain.random(shape, rank=ranks)
            # The matrices of a core follow it on the train; the last core has but its mode there.
            along = {f"core {k}": f"r{k + 1}" for k in range(len(shape) - 1)}
            along[f"core {len(shape) - 1}"] = f"i{len(shape) - 1}"
        return deepen(full.network, full.network.sizes(full.arrays), along, depth)

    def _shape(self, model: str) -> tuple[int, ...]:
        return (self.tucker_size,) * 3 if model == "tucker" else (self.tt_size,) * 4

    def _train(self, journal: Journal, model: str, depth: int) -> list[report.Trained]:
        """All seeds and scales of one depth: one compiled run."""
        network, sizes = self.network(model, depth)
        names, starts, indices, values, record, given = [], [], [], [], [], []
        for k in range(self.seeds):
            seed = 1000 * self.seed + k
            target = self.target(model, seed)
            norm = float(np.linalg.norm(target))
            seen, numbers = observe(target, max(1, int(self.observed_share * target.size)), seed=seed)
            for scale in self.scales:
                options: dict[str, Any] = {"seed": seed, "backend": self.backend, "dtype": self.dtype}
                names.append(f"{model}-depth-{depth}-scale-{scale:g}-{k}")
                starts.append(NetworkFactorization.random(network, sizes, norm=scale * norm, **options))
                indices.append(seen)
                values.append(numbers)
                record.append([recorders.Loss(self.record_every), recorders.Error(target, every=self.record_every)])
                given.append((scale, target))
        results = journal.train(
            names,
            starts,
            indices,
            values,
            record=record,
            steps=self.steps,
            optimizer=GroupRMSProp(self.learning_rate),
            save=False,
        )
        return [
            report.Trained.of(model, depth, scale, result, target)
            for (scale, target), result in zip(given, results, strict=True)
        ]


def _unit(tensor: Any) -> HostArray:
    found: HostArray = np.asarray(tensor, np.float64)
    unit: HostArray = found / np.sqrt(np.mean(found**2))
    return unit
