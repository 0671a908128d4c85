"""The entanglement report: whether data are arranged as locally connected networks need them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import generator, instance, real_number, whole_number
from tnrank._explained import explained
from tnrank._memory import check_fits
from tnrank.dimension_tree import DimensionTree
from tnrank.ranks._entanglement import _text
from tnrank.ranks._entanglement._correlation import correlation_tree
from tnrank.ranks._entanglement._input import drawn, read_arrangement, read_samples
from tnrank.ranks._entanglement._judgment import judge
from tnrank.ranks._entanglement._levels import Modes, levels_of
from tnrank.ranks._entanglement._measure import measure_nodes
from tnrank.ranks._entanglement._partition import log_gram, rotations
from tnrank.ranks._entanglement._twins import SHUFFLED, TWINS, twin_of
from tnrank.ranks._entanglement._values import check_range, read_labels, rescaled

if TYPE_CHECKING:
    from tnrank._typing import Array

_MOST_SAMPLES = 500
"""By default: at 64 x 64 features they take half a minute with twins."""


@dataclass(frozen=True)
class Entanglement:
    """Mean over the measured nodes of a level, with the standard error of the mean entropy (NaN for one node)."""

    entropy: float
    error: float
    geometric: float


@dataclass(frozen=True)
class LevelEntanglement:
    """One level of an entanglement report: nodes of about the same number of features against all other features.

    ``measured`` of ``count`` nodes were drawn. ``saturated`` says that the entropy lies within ln 2 of ln M: the
    samples are then nearly orthogonal on both sides, whatever the data.
    """

    level: int
    count: int
    measured: int
    features: tuple[int, int]
    """The fewest and the most features of the measured nodes."""
    mean_features: float
    saturated: bool
    natural: Entanglement
    shuffled: Entanglement | None = None
    independent: Entanglement | None = None
    uniform: Entanglement | None = None


@dataclass(frozen=True)
class EntanglementReport:
    """What :func:`entanglement_report` measured. ``print`` shows a table, :meth:`to_dict` gives data for JSON.

    ``suits`` is ``True`` if the arrangement of the features suits a locally connected network, ``False`` if not and
    ``None`` where that is open; ``judgment`` says why. ``limit`` is ln M, which no entropy exceeds.
    """

    samples: int
    features: int
    arrangement: str
    classes: tuple[int, int] | None
    """How many samples have the label -1 and +1."""
    scale: float
    seed: int
    limit: float
    levels: tuple[LevelEntanglement, ...]
    suits: bool | None
    judgment: str
    tree: DimensionTree = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as numbers, strings, lists and dictionaries, ready for ``json.dumps``."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("levels", "tree")}
        levels = [asdict(level) for level in self.levels]
        for level in levels:
            level["features"] = list(level["features"])
            for name in ("natural", *TWINS):
                if level[name] is not None and math.isnan(level[name]["error"]):
                    level[name]["error"] = None
        classes = None if self.classes is None else list(self.classes)
        return {**content, "classes": classes, "levels": levels, "tree": self.tree.text}

    def __str__(self) -> str:
        return _text.table(self)


@explained
def entanglement_report(
    X: Array,
    y: Array | None = None,
    *,
    grid: tuple[int, ...] | None = None,
    tree: DimensionTree | str | None = None,
    rescale: bool = False,
    scale: float = 0.5,
    twins: bool = True,
    blocks: int = 64,
    seed: int = 0,
    samples: int | None = None,
) -> EntanglementReport:
    """Is my data fit for a convolutional network? Its entanglement at every level of a tree, beside that of twins.

    The data tensor is the sum over the samples of ``y_m outer(f(x_m1), .., f(x_mN))`` with ``f(x) = (cos(pi t x),
    sin(pi t x))``. A locally connected network can fit the data only if groups of neighboring features are weakly
    entangled with the rest: then few channels suffice. The tensor is never formed: a partition costs O(M^2 N + M^3).

    Args:
        X: samples ``(M, N)`` in [0, 1], or gray images ``(M, H, W)``.
        y: labels ``(M,)`` of two classes, numbers, booleans or words, which become -1 and +1 in their order; ``None``
            gives every sample the weight 1.
        grid: ``(H, W)`` if the features of ``(M, N)`` are pixels in row-major order; its tree is
            ``DimensionTree.quad(H, W)``. Without it they stand in a row, ``DimensionTree.balanced(N)``.
        tree: any other tree of the features, or ``"correlation"`` for ``tnrank.correlation_tree(X, grid)``.
        rescale: bring X to [0, 1] first, by the ranges in the drawn samples: each feature of a table by its own (0 if
            it is constant), images and what has a grid by the one of all pixels.
        scale: t, above 0 and up to 0.5, at which the values 0 and 1 become orthogonal as in
            :func:`tnrank.data_tensor`; small scales make all data look alike.
        twins: also measure three data sets made from X: ``shuffled`` (one permutation of the features for all
            samples), ``independent`` (each feature permuted over the samples) and ``uniform`` (noise in [0, 1]).
        blocks: measure at most so many nodes a level, drawn at random.
        seed: of the drawn samples, nodes and twins.
        samples: the most samples that are drawn; ``None`` takes all, or 500 of more.

    Returns:
        An :class:`EntanglementReport`. Its judgment compares the natural with the shuffled entropy at nodes of 4 to 64
        features that are not saturated.

    Raises:
        ValueError: if X has another shape, entries outside [0, 1], NaN or infinite ones, y has another length or other
            than two classes, grid or tree do not fit X, or a number is out of range.
        TypeError: if an argument is of another type.

    Source: Alexander, De La Vega, Razin & Cohen 2023, *What makes data suitable for a locally connected neural
        network?* (canonical partitions, Gram matrices; their t is 0.085).

    Example:
        Features in pairs that agree, and no other dependence.

        >>> import numpy as np, tnrank
        >>> bits = np.random.default_rng(0).integers(0, 2, (200, 8))
        >>> report = tnrank.entanglement_report(np.repeat(bits, 2, axis=1))
        >>> [level.features[0] for level in report.levels], report.suits
        ([8, 4, 2, 1], True)
    """
    by_correlation = isinstance(tree, str) and tree == "correlation"
    if tree is not None and grid is not None and not by_correlation:
        raise ValueError("got a grid and a tree: the tree says how the features are arranged, leave grid out")
    instance(rescale, "rescale", bool, "True or False")
    scale = real_number(scale, "scale", 0.0, 0.5, above=True)
    instance(twins, "twins", bool, "True or False")
    blocks, seed = whole_number(blocks, "blocks", 1), whole_number(seed, "seed")
    host, sides, rows = read_samples(
        X, grid, draw=lambda count: drawn(count, samples, _MOST_SAMPLES, generator(seed, 2))
    )
    pixels, count = len(X.shape) == 3 or grid is not None, len(rows)
    host = rescaled(host, pixels) if rescale else check_range(host, pixels, str(X.dtype))
    labels = read_labels(y, int(X.shape[0]))
    signs = None if labels is None else _both(labels[rows])
    chosen = correlation_tree(X, grid) if by_correlation else tree
    arrangement = read_arrangement(host.shape[1], sides, chosen)
    check_fits(20 * count**2, f"Gram matrices of {count:,} samples", "give samples=500, or as many as fit")

    levels = levels_of(arrangement.tree, blocks, seed)
    wanted = {modes for level in levels for modes in level.chosen}
    # A permutation changes no partition of one feature against all others: what was drawn of them stays the same.
    single = {modes for level in levels if level.single for modes in level.chosen}
    measured: dict[str, dict[Modes, tuple[float, float]]] = {}
    everything = range(host.shape[1])
    for name in ("natural", *(TWINS if twins else ())):
        vectors = rotations(host if name == "natural" else twin_of(host, name, seed), scale)
        if name != SHUFFLED:  # the product over all features does not depend on their order
            log_all = log_gram(vectors, everything)
            _check_norm(log_all, signs)
        kept = {modes: measured["natural"][modes] for modes in single} if name == SHUFFLED else {}
        measured[name] = kept | measure_nodes(arrangement.tree, wanted - set(kept), vectors, log_all, signs)
    limit = math.log(count)
    rows_of_levels = []
    for level in levels:
        means = {name: _mean([found[modes] for modes in level.chosen]) for name, found in measured.items()}
        sizes = [len(modes) for modes in level.chosen]
        rows_of_levels.append(
            LevelEntanglement(
                level.number,
                level.size,
                len(level.chosen),
                (min(sizes), max(sizes)),
                sum(sizes) / len(sizes),
                means["natural"].entropy > limit - math.log(2),
                **means,
            )
        )
    suits, judgment = judge(rows_of_levels, count, tree is not None)
    return EntanglementReport(
        samples=count,
        features=host.shape[1],
        arrangement=arrangement.name,
        classes=None if signs is None else (int((signs < 0).sum()), int((signs > 0).sum())),
        scale=scale,
        seed=seed,
        limit=limit,
        levels=tuple(rows_of_levels),
        suits=suits,
        judgment=judgment,
        tree=arrangement.tree,
    )


def _mean(values: list[tuple[float, float]]) -> Entanglement:
    entropies = np.array([entropy for entropy, _ in values])
    error = float(entropies.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Entanglement(float(entropies.mean()), error, float(np.mean([g for _, g in values])))


def _both(signs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if abs(signs.sum()) == len(signs):
        raise ValueError(f"the {len(signs)} samples that were drawn are of one class: give more by samples=")
    return signs


def _check_norm(log_all: np.ndarray[Any, Any], signs: np.ndarray[Any, Any] | None) -> None:
    if signs is not None and signs @ np.exp(log_all) @ signs <= 1e-12 * len(signs) ** 2:
        raise ValueError("the data tensor is zero: every sample has a copy with the other label")
