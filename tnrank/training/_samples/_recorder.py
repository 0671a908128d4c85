"""The loss on samples that are not trained on, while training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._check import instance
from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._recorder import Recorder
from tnrank.training._samples._data import check_features, checked_targets, floating, put, read_features
from tnrank.training._samples._objective import SampleObjective, scores_of

_ROWS = 2000
"""Samples whose scores are computed at once."""


class SampleLoss(Recorder):
    """The loss on samples, trained on or not, ``()``; see :func:`tnrank.fit`.

    Args:
        features: see :func:`tnrank.fit`.
        targets: likewise.
        loss: ``SquaredLoss()`` if not given.
        name: its key in ``result.history``.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    takes_end_gradient = False

    @explained
    def __init__(
        self,
        features: Any,
        targets: Any,
        loss: Loss | None = None,
        name: str = "sample_loss",
        every: int = 25,
        at: Sequence[int] | None = None,
    ) -> None:
        super().__init__(every, at)
        self.loss = instance(SquaredLoss() if loss is None else loss, "loss", Loss, "a loss such as SquaredLoss()")
        self.features, self.targets = read_features(features), targets
        self.name = instance(name, "name", str, "a key of result.history")

    @property
    def key(self) -> Any:
        return self.name, self.loss, self.features.modes, self.features.coded, len(self.features)

    def data(self, x: Factorization) -> Any:
        features = self.features
        check_features(x, features)
        targets = checked_targets(x, features, self.targets, self.loss, None)
        found = []
        for start, stop in self._parts():
            rows = features.rows(start, stop)
            weights = np.full(stop - start, self.loss.weight(len(features)))
            found.append(
                {
                    "inputs": tuple(put(x, a) for a in self._objective(x, stop - start).scores.inputs(rows)),
                    "targets": put(x, targets[:, start:stop]),
                    "weights": put(x, floating(x, weights)),
                }
            )
        return tuple(found)

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        total: Any = 0
        for (start, stop), one in zip(self._parts(), data, strict=True):
            objective = self._objective(x, stop - start)
            total = total + objective.value(x.backend, objective.pack(list(x._values), x.backend.xp), one)
        return total

    def _parts(self) -> list[tuple[int, int]]:
        count = len(self.features)
        return [(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]

    def _objective(self, x: Factorization, rows: int) -> SampleObjective:
        scores = scores_of(x, self.features.modes, self.features.coded, rows)
        return SampleObjective(scores, self.loss, False, 1, self.features.several(x))
