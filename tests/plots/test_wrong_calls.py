"""Figures refuse wrong panels, lines and numbers in one sentence."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tnrank import plots

FIGURES = [
    *("analogy", "analogy_page", "architectures", "deep_tensor", "depth_efficiency", "dynamics", "dynamics_law"),
    *("image_bytes", "linear_regression", "local_components", "matrix_completion"),
    *("recovery", "tensor_dynamics", "tree_bias"),
]
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


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        (plots.Panel("one", [0, 1], [[0.0], ["x"]]), "values of the Panel is an array of real numbers"),
        (plots.Panel("one", [0, 1], [[0.0], [1.0, 2.0]]), "has rows of different lengths"),
        (plots.Panel(5, [0, 1], [[0.0], [1.0]]), "title of the Panel is text, got 5"),
        (plots.Panel("one", [0, 1], [[0.0], [1j]]), "real numbers"),
        (plots.Panel("one", [0, 1], [[0.0], [1.0]], onsets=[0.5]), "each of onsets of the Panel is a whole number"),
    ],
)
def test_attributes_of_panels(panel: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        plots.dynamics([panel])


def test_names_of_figures() -> None:
    figure = plots.dynamics([plots.Panel("one", [0, 1], [[0.0], [1.0]])])
    with pytest.raises(ValueError, match=r"ends in \.png, \.svg or \.pdf"):
        plots.image_bytes(figure, "x.jpg")
    with pytest.raises(TypeError, match="dpi is a whole number"):
        plots.image_bytes(figure, "x.png", dpi=1.5)  # type: ignore[arg-type]
