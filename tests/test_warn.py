"""Warnings name the line that called into the library, however deep they arise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank


def row_of_one_column(folder: Path) -> Any:
    (folder / "x.csv").write_text(",a,b\n1,2,3\n2,4,5\n")
    return tnrank.data.read_array(folder / "x.csv")


def one_entry_of_a_matrix(folder: Path) -> Any:
    x = tnrank.MatrixFactorization.random((3, 3), depth=2, std=0.5)
    return tnrank.complete(x, [[0, 0]], [1.0], steps=1)


def a_row_without_entries(folder: Path) -> Any:
    holed = np.arange(12.0).reshape(4, 3)
    holed[0] = np.nan
    return tnrank.fill_missing(holed, steps=3, hold_out=0, backend="numpy")


def scores_of_zero(folder: Path) -> Any:
    x = tnrank.CPFactorization.random((2,) * 80, 1, std=1e-2)
    return tnrank.fit(x, np.zeros((4, 80), int), np.ones(4), epochs=1)


@pytest.mark.parametrize("call", [row_of_one_column, one_entry_of_a_matrix, a_row_without_entries, scores_of_zero])
def test_the_line_of_the_caller(call: Callable[[Path], Any], tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(tmp_path)
    first = call.__code__.co_firstlineno
    assert caught
    for one in caught:
        assert one.filename == __file__
        assert first < one.lineno < first + 7
