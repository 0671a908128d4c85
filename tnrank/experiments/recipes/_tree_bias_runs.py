"""Runs of models on several trees beside targets of low rank on several trees, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from tnrank.experiments.kit import Check, Table, braces
from tnrank.linalg import matricize
from tnrank.ranks import effective_rank

Pair = tuple[int, int]
PAIRS: tuple[Pair, ...] = ((0, 1), (0, 2), (0, 3))
"""The three ways to split four modes into pairs, by the partner of mode 0."""
TREES = {"balanced": ((0, 1), (2, 3)), "linear": (((0, 1), 2), 3)}
"""Trees with the node {0,1}; the others follow by exchanging modes."""
SAME = np.eye(len(PAIRS), dtype=bool)
_BALANCED_SHARE, _LINEAR_SHARE, _LOWERED = 0.2, 0.5, 0.7


def in_order(pair: Pair) -> tuple[int, ...]:
    """The modes with those of ``pair`` first: axes of the target in the order in which the model has them."""
    return (*pair, *(mode for mode in range(4) if mode not in pair))


def effective_ranks(tensor: np.ndarray[Any, Any]) -> dict[Pair, float]:
    """Those of the matricizations of the three pairs."""
    return {pair: float(effective_rank(matricize(tensor, pair))) for pair in PAIRS}


class Comparison:
    """Models at the end of their runs on targets.

    Args:
        runs: as in ``summary.json``, by kinds of trees, then seeds, then pairs of the target, then pairs of the model.

    Attributes:
        columns: kinds of trees and pairs of the models.
        errors: ``(kinds, seeds, targets, models)`` relative errors of reconstruction.
        model: ``(seeds, targets, models, pairs)`` effective ranks of the models on balanced trees.
        target: ``(seeds, targets, models, pairs)`` those of their targets.
        start: ``(seeds, targets, models)`` effective ranks on a balanced model's own pair before training.
        table: ``(targets, columns)`` errors, medians over the seeds.
    """

    columns = tuple(product(TREES, PAIRS))

    def __init__(self, runs: Sequence[Mapping[str, Any]]) -> None:
        shape = (len(TREES), -1, len(PAIRS), len(PAIRS))
        ranks = [[(r["model"], r["target"]) for r in run["effective_ranks"].values()] for run in runs]
        self.runs = runs
        self.errors = np.asarray([run["relative_error"] for run in runs]).reshape(shape)
        self.start = np.asarray([run["effective_rank_at_the_start"] for run in runs]).reshape(shape)[0]
        self.model, self.target = np.moveaxis(np.asarray(ranks).reshape(*shape, len(PAIRS), 2)[0], -1, 0)

        self.table = np.concatenate(list(np.median(self.errors, axis=1)), axis=1)

    def tables(self) -> list[Table]:
        """Errors of all models, and effective ranks of those on balanced trees."""
        errors = [
            (braces(of), *(f"{x:.3f}{' *' * (of == on)}" for x, (_, on) in zip(row, self.columns, strict=True)))
            for of, row in zip(PAIRS, self.table, strict=True)
        ]
        ranks = []
        model, target, start = (np.median(x, axis=0) for x in (self.model, self.target, self.start))
        for i, j in np.ndindex(*SAME.shape):
            cells = [f"{model[i, j, k]:.2f} ({target[i, j, k]:.2f}){' *' * (j == k)}" for k in range(len(PAIRS))]
            ranks.append((braces(PAIRS[i]), braces(PAIRS[j]), *cells, f"{start[i, j]:.2f}"))
        return [
            Table(
                "Relative reconstruction error (median over the seeds)",
                ("target's pair", *(f"{kind} {braces(on)}" for kind, on in self.columns)),
                errors,
                "*: the model's tree has the pair of modes that the target has low rank on.",
            ),
            Table(
                "Effective ranks of the models on balanced trees",
                ("target's pair", "model's pair", *map(braces, PAIRS), "* before training"),
                ranks,
                "Beside the target's in brackets; *: on the model's tree.",
            ),
        ]

    def checks(self) -> list[Check]:
        """The claims about trees."""
        balanced = np.median(self.errors[0], axis=0)
        shares = np.diag(balanced) / np.where(SAME, np.inf, balanced).min(axis=1)
        right, wrong = (float(np.median(self.errors[1][:, which])) for which in (SAME, ~SAME))
        # Ranks of models on their own pair, (seeds, targets, models), and on that of the target.
        own, ratio = np.diagonal(self.model, axis1=2, axis2=3), self.model / self.target
        ranks = np.median(self.model, axis=0)
        lowest = ((ranks > np.median(own, axis=0)[:, :, None]) | SAME).all(axis=2)
        lowered = np.median(own / self.start, axis=0).max()
        on_model = float(np.median(np.diagonal(ratio, axis1=2, axis2=3)[:, ~SAME]))
        on_target = float(np.median(np.diagonal(ratio, axis1=1, axis2=3)[:, ~SAME]))
        return [
            Check(
                "each target is completed by the balanced tree that it has low rank on, with at most a fifth of the "
                "error of the other two",
                f"worst for {braces(PAIRS[shares.argmax()])}: {shares.max():.3f} of the next best error",
                bool((shares <= _BALANCED_SHARE).all()),
            ),
            Check(
                "linear trees with that pair as a node: at most half of the error of those without (medians)",
                f"{right:.3f} against {wrong:.3f}",
                right <= _LINEAR_SHARE * wrong,
            ),
            Check(
                "whatever the target, training lowers the effective rank of every balanced model on its own tree, "
                "where it is the lowest of the three, to at most 0.7 of what it was",
                f"lowest for {lowest.sum()} of {lowest.size} pairs of target and model; at most {lowered:.2f}",
                bool(lowest.all() and lowered <= _LOWERED),
            ),
            Check(
                "on a wrong tree, the effective rank is below the target's on the model's tree, and above it on the "
                "target's (medians)",
                f"{on_model:.2f} and {on_target:.2f} times the target's",
                on_model < 1 < on_target,
            ),
        ]
