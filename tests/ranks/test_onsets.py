"""Onset detection."""

from __future__ import annotations

import numpy as np
import pytest

from tnrank.ranks import onsets, separated


def staircase() -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(0, 1000, 10)
    rises = [(100, 8.0), (400, 4.0), (700, 1.0), (900, 0.2)]
    return steps, np.stack([height * (steps >= step) for step, height in rises], axis=1)


def test_each_value_sets_in_where_it_rises() -> None:
    steps, values = staircase()
    assert onsets(steps, values) == [100, 400, 700]


def test_the_share_decides_what_counts() -> None:
    steps, values = staircase()
    assert onsets(steps, values, share=0.02) == [100, 400, 700, 900]
    assert onsets(steps, values, share=0.4) == [100, 400]


def test_nothing_sets_in_at_the_origin() -> None:
    assert onsets([0, 1], np.zeros((2, 3))) == []


def test_a_value_that_falls_back_has_no_onset() -> None:
    assert onsets([0, 1, 2], [[0, 0], [5, 5], [5, 0.1]]) == [1]


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2))])
def test_other_shapes_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needed"):
        onsets([0, 1, 2], values)


def test_the_share_is_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        onsets([0], [[1.0]], share=1.5)


def test_onsets_close_together_count_once() -> None:
    assert separated([300, 11000, 11500, 17000]) == [300, 11000, 17000]
    assert separated([]) == []
