"""The split of what is observed, and the step that is kept."""

from __future__ import annotations

import numpy as np

from tnrank.completion._best_step import BestStep
from tnrank.completion._split import split_observed


def test_the_split_is_a_partition() -> None:
    missing = np.zeros((5, 6), bool)
    missing[2, :3] = True
    split = split_observed(np.arange(30.0).reshape(5, 6), missing, 0.2, seed=0)
    together = np.concatenate([split.train, split.validation, split.test])
    assert len(split.validation) == 2
    assert len(split.test) == 3
    assert sorted(map(tuple, together)) == sorted(map(tuple, np.argwhere(~missing)))


def test_the_best_step_depends_on_recorded_steps_alone() -> None:
    best = BestStep(budget=100)
    curve = [(0, 5.0), (10, 3.0), (20, 4.0), (30, 4.0), (40, 1.0)]
    for step, value in curve:
        best.on_record("validation_error", step, value, 0)
    # At step 30 the error had not improved for more than 10 steps: what came later does not count.
    assert best.judge() == (10, 30)
