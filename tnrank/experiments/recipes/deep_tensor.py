"""Deep Tucker and tensor train factorization: what depth on every factor does to the ranks that completion finds."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._typing import Label
from tnrank.data import observe
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Depth, Every, Part, Positive, Seeds, Several, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, Training, register
from tnrank.factorizations import NetworkFactorization, TensorTrain, Tucker, deepen
from tnrank.linalg import matricize
from tnrank.network import Network
from tnrank.plots.painters import Figure, Line, color_of, legend, lines, panels
from tnrank.ranks import effective_rank
from tnrank.training import GroupRMSProp, recorders

# model -> the matricizations whose ranks are its own: multilinear ranks, and those of the train
_PARTITIONS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "tucker": ((0,), (1,), (2,)),
    "tt": ((0,), (0, 1), (0, 1, 2)),
}
_TITLES = {"tucker": "Tucker", "tt": "Tensor train"}
_CLOSE = 0.15
_FIT = 1e-2  # of a mean square of 1
_LARGE = 2  # how many of the largest initial scales are to show what depth does


@register
@dataclass(frozen=True, kw_only=True)
class DeepTensor(Recipe):
    """Completion with Tucker and tensor train models whose factors are products of ``depth`` matrices each.

    No size bounds a rank: every model can be any tensor. All depths start from end tensors of the same norm.

    Attributes:
        depths: matrices in the place of each factor or core.
        scales: norms of the initial end tensors, as shares of the target's.
        tucker_size: dimension of the three modes of the Tucker models.
        tucker_rank: multilinear rank of the targets of Tucker tensors.
        tt_size: dimension of the four modes of the tensor trains.
        tt_rank: rank between all cores of the targets of tensor trains.
        observed_share: of the entries.
        steps: of every model.
        seeds: runs of every model, with other targets, observed entries and initial weights.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps.

    Source: Milanesi, Kadri, Ayache & Artieres 2021 (the models); sizes and scales are those of this library.
    """

    name: ClassVar[str] = "deep-tensor"
    title: ClassVar[str] = "deeper Tucker and tensor train factorizations find lower ranks"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"depths": (1, 2, 3, 4), "scales": (1e-3, 1e-2, 1e-1, 0.3), "steps": 10_000, "seeds": 5},
    }
    draws: ClassVar[bool] = True

    depths: Annotated[tuple[Depth, ...], Several(2, "rising")] = (1, 2, 3)
    scales: Annotated[tuple[Positive, ...], Several(2, "rising")] = (1e-3, 3e-2, 0.3)
    tucker_size: Count = 10
    tucker_rank: Count = 3
    tt_size: Count = 6
    tt_rank: Count = 3
    observed_share: Part = 0.5
    steps: Steps = 4_000
    seeds: Seeds = 3
    learning_rate: Positive = 5e-3
    record_every: Every = 100

    def check(self) -> None:
        for rank, size in (("tucker_rank", "tucker_size"), ("tt_rank", "tt_size")):
            if getattr(self, rank) > getattr(self, size):
                raise ValueError(f"{rank} lies in 1 .. {size} = {getattr(self, size)}, got {getattr(self, rank)}")

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        runs = []
        for model in _PARTITIONS:
            for depth in self.depths:
                runs += yield from self._train(model, depth)
        found = [_Medians(model, runs) for model in _PARTITIONS]
        summary = {
            m.model: {
                **{"depths": m.depths, "scales": m.scales, "effective_ranks": m.ranks, "relative_errors": m.errors},
                **{"losses": m.losses, "effective_rank_of_the_target": m.target_rank},
            }
            for m in found
        }
        checks = [check for m in found for check in _checks(m)]
        return Outcome(summary, [_table(m) for m in found], checks, partial(_figure, found))

    def target(self, model: str, seed: int) -> HostArray:
        """A tensor of mean square 1 that has low rank in the format of the model."""
        if model == "tt":
            return kit.unit(TensorTrain.random(self._shape(model), rank=self.tt_rank, seed=seed).to_dense())
        x = Tucker.random(self._shape(model), rank=self.tucker_rank, seed=seed)
        # Orthonormal factors leave the ranks to the core.
        return kit.unit(x.replace({f"factor {k}": np.linalg.qr(a)[0] for k, a in enumerate(x.factors)}).to_dense())

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

    def _train(self, model: str, depth: int) -> Generator[Training, Any, list[dict[str, Any]]]:
        """All seeds and scales of one depth, in one compiled run; effective ranks are means over the matricizations."""
        network, sizes = self.network(model, depth)
        targets = [self.target(model, 1000 * self.seed + k) for k in range(self.seeds)]
        count = max(1, int(self.observed_share * targets[0].size))
        seen = [observe(target, count, seed=1000 * self.seed + k) for k, target in enumerate(targets)]
        grid, every, starts = list(product(range(self.seeds), self.scales)), self.record_every, []
        for k, scale in grid:
            norm = scale * float(np.linalg.norm(targets[k]))
            options: dict[str, Any] = {"seed": 1000 * self.seed + k, "backend": self.backend, "dtype": self.dtype}
            starts.append(NetworkFactorization.random(network, sizes, norm=norm, **options))
        results = yield Training(
            [f"{model}-depth-{depth}-scale-{scale:g}-{k}" for k, scale in grid],
            starts,
            [seen[k][0] for k, _ in grid],
            [seen[k][1] for k, _ in grid],
            record=[[recorders.Loss(every), recorders.Error(targets[k], every=every)] for k, _ in grid],
            steps=self.steps,
            optimizer=GroupRMSProp(self.learning_rate),
            save=False,
        )
        found = []
        for (k, scale), result in zip(grid, results, strict=True):
            end, target = kit.end_tensor(result.factorization), targets[k]
            measured = {"rank": _mean_effective_rank(end, model), "spectrum": _mean_spectrum(end, model)}
            measured |= {"target_rank": _mean_effective_rank(target, model), "error": kit.relative_error(end, target)}
            found.append({"model": model, "depth": depth, "scale": scale, "loss": result.loss, **measured})
        return found


def _mean_effective_rank(tensor: HostArray, model: str) -> float:
    return float(np.mean([float(effective_rank(matricize(tensor, modes))) for modes in _PARTITIONS[model]]))


def _mean_spectrum(tensor: HostArray, model: str) -> HostArray:
    """The geometric mean of the singular values of the model's matricizations, each relative to the largest."""
    spectra = [np.linalg.svd(matricize(tensor, modes), compute_uv=False) for modes in _PARTITIONS[model]]
    count = min(map(len, spectra))
    shares = [s[:count] / (s[0] or 1.0) for s in spectra]
    return np.asarray(np.exp(np.mean(np.log(np.maximum(shares, 1e-12)), axis=0)))


class _Medians:
    """Medians over the seeds, ``(depths, scales)``, of one model's runs; spectra are those at the largest scale."""

    def __init__(self, model: str, runs: Sequence[Mapping[str, Any]]) -> None:
        own = [run for run in runs if run["model"] == model]
        self.model, self.title = model, _TITLES[model]
        self.depths, self.scales = (sorted({run[of] for run in own}) for of in ("depth", "scale"))

        def medians(what: str) -> HostArray:
            return np.asarray([[kit.median(own, what, depth=n, scale=s) for s in self.scales] for n in self.depths])

        self.ranks, self.errors, self.losses = medians("rank"), medians("error"), medians("loss")
        self.spectra = medians("spectrum")[:, -1]
        self.target_rank = float(kit.median(own, "target_rank"))


def _table(m: _Medians) -> Table:
    rows = [
        (f"{depth}", f"{scale:g}", f"{m.ranks[k, j]:.2f}", f"{m.errors[k, j]:.3f}", f"{m.losses[k, j]:.0e}")
        for k, depth in enumerate(m.depths)
        for j, scale in enumerate(m.scales)
    ]
    note = "Medians over the seeds; scales are norms of the initial end tensor as shares of the target's, which has "
    note += f"effective rank {m.target_rank:.2f}."
    columns = ("depth", "scale", "effective rank", "relative error", "loss")
    return Table(f"{m.title}: ranks and errors", columns, rows, note)


def _checks(m: _Medians) -> list[Check]:
    name, large = m.title, " and ".join(f"{scale:g}" for scale in m.scales[-_LARGE:])
    ranks, errors, smallest = m.ranks[:, -_LARGE:], m.errors[:, -_LARGE:], m.ranks[:, 0]
    worst, loss = float(max(abs(smallest / m.target_rank - 1))), float(m.losses.max())
    # Products of many small random matrices have low effective rank before they have learned anything.
    fit = loss <= _FIT
    claim = f"{name}: every model fits the observed entries to a loss of {_FIT:g}"
    checks = [Check(claim, f"at most {loss:.1e}", fit)]
    for what, values in (("effective ranks", ranks), ("errors", errors)):
        claim = f"{name}: deeper models end with lower {what} than depth {m.depths[0]}, from {large}"
        checks.append(Check(claim, _told(m, values), fit and bool((values[1:] < values[0]).all())))
    claim = (
        f"{name}: from {m.scales[0]:g}, every depth ends within {100 * _CLOSE:g} % of the target's effective rank, "
        f"and lower than from {m.scales[-1]:g}"
    )
    near = worst <= _CLOSE and bool((smallest < m.ranks[:, -1]).all())
    checks.append(Check(claim, f"at most {100 * worst:.0f} % off", near))
    if m.model == "tucker":
        # With tensor trains, depths 2 and 3 come in either order, by the draw.
        falls = (np.diff(ranks, axis=0) < 0) | (ranks[1:] <= (1 + _CLOSE) * m.target_rank)
        claim = (
            f"{name}: the effective rank falls with every depth until it is within {100 * _CLOSE:g} % of the "
            f"target's, from {large}"
        )
        checks.append(Check(claim, _told(m, ranks), fit and bool(falls.all())))
    return checks


def _told(m: _Medians, values: HostArray) -> str:
    """One number a depth, for each of the largest scales."""
    rows = zip(m.scales[-_LARGE:], values.T, strict=True)
    return "; ".join(f"{scale:g}: " + ", ".join(f"{value:.3g}" for value in row) for scale, row in rows)


def _figure(found: Sequence[_Medians]) -> Figure:
    """A row a model: effective rank and error against the initial scale, and spectra; one line a depth."""
    figure, axes = panels(len(found), 3, width=3.8, height=3.1)
    for (ranks, errors, spectra), m in zip(axes, found, strict=True):
        places, initial = np.arange(1, m.spectra.shape[1] + 1), "initial norm / target's norm"
        drawn = _by_depth(m, m.scales, m.ranks)
        lines(ranks, drawn, f"{m.title}: effective rank", initial, "effective rank", "x", None)
        drawn = _by_depth(m, m.scales, m.errors)
        lines(errors, drawn, f"{m.title}: reconstruction", initial, "relative error", "xy", None)
        title, drawn = f"{m.title}: spectrum, from {m.scales[-1]:g}", _by_depth(m, places, m.spectra)
        lines(spectra, drawn, title, "singular value", "share of the first", "y", None)
        ranks.axhline(m.target_rank, color=color_of("quiet"), linewidth=1.6, linestyle="--", zorder=1, label="target")
        ranks.set_ylim(bottom=0)
        legend(ranks, "upper left")
        spectra.set_xlim(0.5, len(places) + 0.5)
        for panel, values in ((errors, m.errors), (spectra, m.spectra)):
            # Whole decades, so that ticks are powers of ten.
            exponents = np.log10(values[values > 0]) if (values > 0).any() else np.zeros(1)
            low, high = np.floor(exponents.min()), np.ceil(exponents.max())
            panel.set_ylim(10.0**low, 1.25 * 10.0 ** max(high, low + 1))
        for panel in (ranks, errors, spectra):
            # Hundreds of small ticks take longer to lay out than all else.
            panel.minorticks_off()
    return figure


def _by_depth(m: _Medians, x: Any, values: HostArray) -> list[Line]:
    return [Line(x, own, f"depth {depth}", marker="o") for depth, own in zip(m.depths, values, strict=True)]
