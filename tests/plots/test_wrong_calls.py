"""Figures refuse wrong panels, lines and numbers in one sentence."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import tnrank
from tnrank import plots
from tnrank.circuits import Circuit
from tnrank.plots.painters import panels
from tnrank.training import recorders

FIGURES = ["image_bytes", "learning_curves"]
GARBAGE = (
    None,
    True,
    5,
    "x",
    b"x",
    [],
    {},
    [None],
    ["a"],
    [[1]],
    {"a": 1},
    object(),
    np.zeros(3),
    np.zeros((2, 2)),
    int,
)


@pytest.mark.parametrize("name", FIGURES)
def test_garbage(name: str) -> None:
    figure = getattr(plots, name)
    needed = [p for p in inspect.signature(figure).parameters.values() if p.default is p.empty]
    for value in GARBAGE:
        with pytest.raises((TypeError, ValueError)) as caught:
            figure(*[value] * len(needed))
        assert str(caught.traceback[-1].statement).lstrip().startswith("raise"), (value, caught.value)


def test_names_of_figures() -> None:
    figure, _ = panels(1, 1)
    with pytest.raises(ValueError, match=r"ends in \.png, \.svg or \.pdf"):
        plots.image_bytes(figure, "x.jpg")
    with pytest.raises(TypeError, match="dpi is a whole number"):
        plots.image_bytes(figure, "x.png", dpi=1.5)  # type: ignore[arg-type]


CUBE = tnrank.CPFactorization.random((2, 3, 2), rank=2, seed=0)
DRAWN: dict[str, Callable[[], Any]] = {
    "circuit": lambda: plots.circuit(Circuit.deep(4, 2, 3)),
    "dimension_tree": lambda: plots.dimension_tree(tnrank.rank_report(CUBE.to_dense())),
    "learning_curves": lambda: plots.learning_curves(
        tnrank.complete(CUBE, np.argwhere(np.ones((2, 3, 2))), np.ones(12), steps=2, record=[recorders.Loss(1)])
    ),
    "network": lambda: plots.network(CUBE),
    "rank_scan": lambda: plots.rank_scan(tnrank.ranks.rank_scan(CUBE.to_dense(), 1)),
    "ranks": lambda: plots.ranks(CUBE.to_dense()),
    "spectra": lambda: plots.spectra(np.eye(2)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_without_matplotlib_they_say_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [one for one in sys.modules if one.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'figures need matplotlib.*pip install "tnrank\[cli\]"'):
        DRAWN[name]()
