"""Deep Tucker and tensor train factorization: what depth on every factor does to the ranks that completion finds."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tnrank._typing import Label
from tnrank.data import observe
from tnrank.experiments.fields import Count, Depth, Every, Part, Positive, Seeds, Several, Steps
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, Training, register
from tnrank.factorizations import NetworkFactorization, TensorTrain, Tucker, deepen
from tnrank.linalg import matricize
from tnrank.network import Network
from tnrank.plots.painters import Line, Logarithmic, color_of, legend, lines, panels
from tnrank.ranks import effective_rank
from tnrank.training import GroupRMSProp, recorders

if TYPE_CHECKING:
    from tnrank.plots.painters import Figure

HostArray = np.ndarray[Any, Any]

# model -> the matricizations whose ranks are its own: multilinear ranks, and those of the train
_PARTITIONS: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {"tucker": ((0,), (1,), (2,)), "tt": ((0,), (0, 1), (0, 1, 2))}
)
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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {"depths": (1, 2, 3, 4), "scales": (1e-3, 1e-2, 1e-1, 0.3), "steps": 10_000, "seeds": 5},
        }
    )

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
                "depths": m.depths,
                "scales": m.scales,
                "effective_ranks": m.ranks,
                "relative_errors": m.errors,
                "losses": m.losses,
                "effective_rank_of_the_target": m.target_rank,
            }
            for m in found
        }
        checks = [check for m in found for check in _checks(m)]
        return Outcome(summary, [_table(m) for m in found], checks, partial(_figure, found))

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

    def _train(self, model: str, depth: int) -> Generator[Training, Any, list[dict[str, Any]]]:
        """All seeds and scales of one depth, in one compiled run; effective ranks are means over the matricizations."""
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
        results = yield Training(
            *(names, starts, indices, values),
            record=record,
            steps=self.steps,
            optimizer=GroupRMSProp(self.learning_rate),
            save=False,
        )
        found = []
        for (scale, target), result in zip(given, results, strict=True):
            x = result.factorization
            dense = np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)
            error = float(np.linalg.norm(dense - target) / np.linalg.norm(target))
            ranks = {"rank": _mean_effective_rank(dense, model), "target_rank": _mean_effective_rank(target, model)}
            measured = {"error": error, "loss": result.loss, **ranks, "spectrum": _mean_spectrum(dense, model)}
            found.append({"model": model, "depth": depth, "scale": scale, **measured})
        return found


def _unit(tensor: Any) -> HostArray:
    found: HostArray = np.asarray(tensor, np.float64)
    unit: HostArray = found / np.sqrt(np.mean(found**2))
    return unit


def _mean_effective_rank(tensor: HostArray, model: str) -> float:
    """The mean of the effective ranks that belong to the model."""
    return float(np.mean([float(effective_rank(matricize(tensor, modes))) for modes in _PARTITIONS[model]]))


def _mean_spectrum(tensor: HostArray, model: str) -> HostArray:
    """The geometric mean of the singular values of the model's matricizations, each relative to the largest."""
    spectra = [np.linalg.svd(matricize(tensor, modes), compute_uv=False) for modes in _PARTITIONS[model]]
    count = min(len(s) for s in spectra)
    shares = [s[:count] / (s[0] or 1.0) for s in spectra]
    found: HostArray = np.exp(np.mean(np.log(np.maximum(shares, 1e-12)), axis=0))
    return found


class _Medians:
    """Medians over the seeds, ``(depths, scales)``, of one model's runs; spectra are those at the largest scale."""

    def __init__(self, model: str, runs: Sequence[Mapping[str, Any]]) -> None:
        own = [run for run in runs if run["model"] == model]
        self.model, self.title = model, _TITLES[model]
        self.depths, self.scales = (sorted({run[of] for run in own}) for of in ("depth", "scale"))

        def median(what: str, depth: int, scale: float) -> Any:
            return np.median([r[what] for r in own if (r["depth"], r["scale"]) == (depth, scale)], axis=0)

        def medians(what: str) -> HostArray:
            return np.asarray([[median(what, depth, scale) for scale in self.scales] for depth in self.depths])

        self.ranks, self.errors, self.losses = medians("rank"), medians("error"), medians("loss")
        self.spectra = medians("spectrum")[:, -1]
        self.target_rank = float(np.median([run["target_rank"] for run in own]))


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
    ranks, errors = m.ranks[:, -_LARGE:], m.errors[:, -_LARGE:]
    smallest = m.ranks[:, 0]
    worst = float(max(abs(smallest / m.target_rank - 1)))
    loss = float(m.losses.max())
    # Products of many small random matrices have low effective rank before they have learned anything.
    fit = loss <= _FIT
    checks = [
        Check(f"{name}: every model fits the observed entries to a loss of {_FIT:g}", f"at most {loss:.1e}", fit),
        Check(
            f"{name}: deeper models end with lower effective ranks than depth {m.depths[0]}, from {large}",
            _told(m, ranks),
            fit and bool((ranks[1:] < ranks[0]).all()),
        ),
        Check(
            f"{name}: deeper models end with lower errors than depth {m.depths[0]}, from {large}",
            _told(m, errors),
            fit and bool((errors[1:] < errors[0]).all()),
        ),
        Check(
            f"{name}: from {m.scales[0]:g}, every depth ends within {100 * _CLOSE:g} % of the target's effective rank, "
            f"and lower than from {m.scales[-1]:g}",
            f"at most {100 * worst:.0f} % off",
            worst <= _CLOSE and bool((smallest < m.ranks[:, -1]).all()),
        ),
    ]
    if m.model == "tucker":
        # With tensor trains, depths 2 and 3 come in either order, by the draw.
        arrived = ranks[1:] <= (1 + _CLOSE) * m.target_rank
        falls = fit and bool(((np.diff(ranks, axis=0) < 0) | arrived).all())
        checks.append(
            Check(
                f"{name}: the effective rank falls with every depth until it is within {100 * _CLOSE:g} % of the "
                f"target's, from {large}",
                _told(m, ranks),
                falls,
            )
        )
    return checks


def _told(m: _Medians, values: HostArray) -> str:
    """One number a depth, for each of the largest scales."""
    rows = zip(m.scales[-_LARGE:], values.T, strict=True)
    return "; ".join(f"{scale:g}: " + ", ".join(f"{value:.3g}" for value in row) for scale, row in rows)


def _figure(found: Sequence[_Medians]) -> Figure:
    """A row a model: effective rank and error against the initial scale, and spectra; one line a depth."""
    figure, axes = panels(len(found), 3, width=3.8, height=3.1)
    for (ranks, errors, spectra), m in zip(axes, found, strict=True):
        initial = "initial norm / target's norm"
        _depths(ranks, m, m.scales, m.ranks, "effective rank", (initial, "effective rank"), "x")
        ranks.axhline(m.target_rank, color=color_of("quiet"), linewidth=1.6, linestyle="--", zorder=1, label="target")
        ranks.set_ylim(bottom=0)
        legend(ranks, "upper left")
        _depths(errors, m, m.scales, m.errors, "reconstruction", (initial, "relative error"), "xy")
        places = np.arange(1, m.spectra.shape[1] + 1)
        title = f"spectrum, from {m.scales[-1]:g}"
        _depths(spectra, m, places, m.spectra, title, ("singular value", "share of the first"), "y")
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


def _depths(
    panel: Any, m: _Medians, x: Any, values: HostArray, title: str, labels: tuple[str, str], log: Logarithmic
) -> None:
    drawn = [Line(x, own, f"depth {depth}", marker="o") for depth, own in zip(m.depths, values, strict=True)]
    lines(panel, drawn, f"{m.title}: {title}", *labels, log, where=None)
