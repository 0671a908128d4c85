"""The tree-bias recipe's numbers: ranks on and off the tree, errors of every model on every target, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.factorizations import Factorization
from tnrank.linalg import matricize
from tnrank.plots import TreeComparison, tree_bias
from tnrank.ranks import effective_rank
from tnrank.training import CompletionResult

Pair = tuple[int, int]
PAIRS: tuple[Pair, ...] = ((0, 1), (0, 2), (0, 3))
"""The three ways to split four modes into pairs, by the partner of mode 0."""
_LARGE = 0.01
_ON, _OFF = (0, 1), (0, 2)
_BALANCED_SHARE, _LINEAR_SHARE, _LOWERED = 0.2, 0.5, 0.7
HostArray = np.ndarray[Any, Any]


def in_order(pair: Pair) -> tuple[int, ...]:
    """The modes with those of ``pair`` first: axes of the target in the order in which the model has them."""
    return (*pair, *(mode for mode in range(4) if mode not in pair))


def effective_ranks(tensor: HostArray) -> dict[Pair, float]:
    """Those of the matricizations of the three pairs."""
    return {pair: float(effective_rank(matricize(tensor, pair))) for pair in PAIRS}


def _dense(x: Factorization) -> HostArray:
    return np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)


def _in_target_order(x: Factorization, model: Pair) -> HostArray:
    return np.transpose(_dense(x), np.argsort(in_order(model)))


@dataclass(frozen=True)
class Published:
    """The published experiment: traces, and the end beside the target."""

    result: CompletionResult
    error: float
    values: dict[Pair, tuple[HostArray, HostArray]]

    @classmethod
    def of(cls, result: CompletionResult, target: HostArray) -> Published:
        """Measure the end of a run."""
        dense = _dense(result.factorization)
        values = {pair: (_singular_values(dense, pair), _singular_values(target, pair)) for pair in (_ON, _OFF, (0, 3))}
        return cls(result, _error(dense, target), values)

    def large(self, pair: Pair) -> tuple[int, int]:
        """How many singular values are above 1 % of the largest: in the model, in the target."""
        model, target = self.values[pair]
        return _count(model), _count(target)


@dataclass(frozen=True)
class Compared:
    """One model at the end of its run on one target.

    Attributes:
        ranks: pair -> effective ranks (of the model, of the target).
        start: effective rank on the model's own pair before training.
    """

    kind: str
    target: Pair
    model: Pair
    error: float
    steps: int
    loss: float
    ranks: dict[Pair, tuple[float, float]]
    start: float

    @classmethod
    def of(
        cls, kind: str, target: Pair, model: Pair, start: Factorization, result: CompletionResult, given: HostArray
    ) -> Compared:
        """Measure the end of a run; the model's modes are put back into the target's order."""
        dense, before = (_in_target_order(x, model) for x in (result.factorization, start))
        own, wanted = effective_ranks(dense), effective_ranks(given)
        ranks = {pair: (own[pair], wanted[pair]) for pair in PAIRS}
        first = effective_ranks(before)[model]
        return cls(kind, target, model, _error(dense, given), result.steps, result.loss, ranks, first)


def outcome(published: Published, compared: Sequence[Compared], rank: int) -> Outcome:
    """Figure, tables, checks and summary."""
    tables = [_published_table(published, rank), _error_table(compared), _rank_table(compared)]
    checks = [*_published_checks(published, rank), *_comparison_checks(compared)]
    history = published.result.history
    norms, values = history["component_norms"], history["singular_values"]
    tree = published.result.factorization.tree
    comparison = TreeComparison(
        [_name(pair) for pair in PAIRS],
        [f"{kind}\n{_name(pair)}" for kind in ("balanced", "linear") for pair in PAIRS],
        [[_median(compared, kind, of, on) for kind in ("balanced", "linear") for on in PAIRS] for of in PAIRS],
        _points(compared),
    )
    figure = tree_bias(
        norms.steps,
        {"node {0,1}": norms.values[tree.node((0, 1))], "root": norms.values[tree.root]},
        {"on the tree, {0,1}": values.values[_ON], "off the tree, {0,2}": values.values[_OFF]},
        comparison,
    )
    summary = {
        "htf": {
            "status": published.result.status,
            "steps": published.result.steps,
            "loss": published.result.loss,
            "relative_error": published.error,
            "large_singular_values": {pair: published.large(pair)[0] for pair in published.values},
            "large_singular_values_of_the_target": {pair: published.large(pair)[1] for pair in published.values},
        },
        "comparison": [
            {
                "kind": run.kind,
                "target": run.target,
                "model": run.model,
                "relative_error": run.error,
                "steps": run.steps,
                "loss": run.loss,
                "effective_rank_at_the_start": run.start,
                "effective_ranks": {pair: {"model": a, "target": b} for pair, (a, b) in run.ranks.items()},
            }
            for run in compared
        ],
    }
    return Outcome(summary, tables, checks, figure)


def _published_table(p: Published, rank: int) -> Table:
    told = {_ON: f"about {rank}", _OFF: f"up to {rank**2}", (0, 3): ""}
    rows = []
    for pair in p.values:
        model, target = p.large(pair)
        first = "  ".join(f"{value:.3g}" for value in p.values[pair][0][:6])
        where = "on" if pair == _ON else "off"
        rows.append((_name(pair), where, str(model), told[pair], str(target), first))
    note = f"{p.result.steps:,} steps, loss {p.result.loss:.1e}, relative error {p.error:.1e}; large: above 1 %."
    columns = ("matricization", "tree", "large", "published", "target's", "first singular values")
    return Table("Large singular values of the hierarchical factorization", columns, rows, note)


def _error_table(compared: Sequence[Compared]) -> Table:
    rows = [
        (
            _name(of),
            *(
                f"{_median(compared, kind, of, on):.3f}{' *' if of == on else ''}"
                for kind in ("balanced", "linear")
                for on in PAIRS
            ),
        )
        for of in PAIRS
    ]
    columns = ("target's pair", *(f"{kind} {_name(on)}" for kind in ("balanced", "linear") for on in PAIRS))
    note = "*: the model's tree has the pair of modes that the target has low rank on."
    return Table("Relative reconstruction error (median over the seeds)", columns, rows, note)


def _rank_table(compared: Sequence[Compared]) -> Table:
    rows = []
    for of in PAIRS:
        for on in PAIRS:
            runs = _select(compared, "balanced", of, on)
            cells = []
            for pair in PAIRS:
                model, target = (float(np.median([run.ranks[pair][side] for run in runs])) for side in (0, 1))
                cells.append(f"{model:.2f} ({target:.2f}){' *' if pair == on else ''}")
            rows.append((_name(of), _name(on), *cells, f"{np.median([run.start for run in runs]):.2f}"))
    columns = ("target's pair", "model's pair", *(_name(pair) for pair in PAIRS), "* before training")
    note = "Beside the target's in brackets; *: on the model's tree."
    return Table("Effective ranks of the models on balanced trees", columns, rows, note)


def _published_checks(p: Published, rank: int) -> list[Check]:
    on, off = p.large(_ON)[0], p.large(_OFF)[0]
    return [
        Check(
            f"on the tree at most {rank} singular values are above 1 % of the largest, off it at least twice as many",
            f"{on} on, {off} off",
            2 <= on <= rank and off >= 2 * on,
        )
    ]


def _comparison_checks(compared: Sequence[Compared]) -> list[Check]:
    shares = {
        of: _median(compared, "balanced", of, of)
        / min(_median(compared, "balanced", of, on) for on in PAIRS if on != of)
        for of in PAIRS
    }
    linear = [run for run in compared if run.kind == "linear"]
    right = float(np.median([run.error for run in linear if run.model == run.target]))
    wrong = float(np.median([run.error for run in linear if run.model != run.target]))
    balanced = {(of, on): _select(compared, "balanced", of, on) for of in PAIRS for on in PAIRS}
    lowest = [_lowest(runs, on) for (_, on), runs in balanced.items()]
    lowered = max(
        float(np.median([run.ranks[on][0] / run.start for run in runs])) for (_, on), runs in balanced.items()
    )
    foreign = [run for run in compared if run.kind == "balanced" and run.model != run.target]
    own = float(np.median([run.ranks[run.model][0] / run.ranks[run.model][1] for run in foreign]))
    other = float(np.median([run.ranks[run.target][0] / run.ranks[run.target][1] for run in foreign]))
    worst = max(shares, key=lambda of: shares[of])
    return [
        Check(
            "each target is completed by the balanced tree that it has low rank on, with at most a fifth of the error "
            "of the other two",
            f"worst for {_name(worst)}: {shares[worst]:.3f} of the next best error",
            all(share <= _BALANCED_SHARE for share in shares.values()),
        ),
        Check(
            "linear trees with that pair as a node: at most half of the error of those without (medians)",
            f"{right:.3f} against {wrong:.3f}",
            right <= _LINEAR_SHARE * wrong,
        ),
        Check(
            "whatever the target, training lowers the effective rank of every balanced model on its own tree, where it "
            "is the lowest of the three, to at most 0.7 of what it was",
            f"lowest for {sum(lowest)} of {len(lowest)} pairs of target and model; at most {lowered:.2f}",
            all(lowest) and lowered <= _LOWERED,
        ),
        Check(
            "on a wrong tree, the effective rank is below the target's on the model's tree, and above it on the "
            "target's (medians)",
            f"{own:.2f} and {other:.2f} times the target's",
            own < 1 < other,
        ),
    ]


def _lowest(runs: Sequence[Compared], on: Pair) -> bool:
    found = {pair: float(np.median([run.ranks[pair][0] for run in runs])) for pair in PAIRS}
    return all(found[on] < found[pair] for pair in PAIRS if pair != on)


def _points(compared: Sequence[Compared]) -> dict[str, list[tuple[float, float]]]:
    """Where the ranks go -> (target's, model's effective rank), of the models on balanced trees."""
    chosen: dict[str, Callable[[Compared, Pair], bool]] = {
        "right tree, on it": lambda run, pair: run.model == run.target == pair,
        "right tree, off it": lambda run, pair: run.model == run.target != pair,
        "wrong tree, on it": lambda run, pair: run.model != run.target and pair == run.model,
        "wrong tree, off it": lambda run, pair: run.model != run.target and pair != run.model,
    }
    return {
        name: [
            (run.ranks[pair][1], run.ranks[pair][0])
            for run in compared
            if run.kind == "balanced"
            for pair in PAIRS
            if belongs(run, pair)
        ]
        for name, belongs in chosen.items()
    }


def _select(compared: Sequence[Compared], kind: str, of: Pair, on: Pair) -> list[Compared]:
    return [run for run in compared if (run.kind, run.target, run.model) == (kind, of, on)]


def _median(compared: Sequence[Compared], kind: str, of: Pair, on: Pair) -> float:
    return float(np.median([run.error for run in _select(compared, kind, of, on)]))


def _singular_values(tensor: HostArray, pair: Pair) -> HostArray:
    return np.linalg.svd(matricize(tensor, pair), compute_uv=False)


def _count(values: HostArray) -> int:
    return int((values > _LARGE * values.max(initial=0.0)).sum())


def _error(dense: HostArray, target: HostArray) -> float:
    return float(np.linalg.norm(dense - target) / np.linalg.norm(target))


def _name(pair: Pair) -> str:
    return "{" + ",".join(map(str, pair)) + "}"
