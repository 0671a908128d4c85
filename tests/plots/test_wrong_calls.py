"""Figures refuse wrong panels, lines and numbers in one sentence."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tnrank import plots
from tnrank.plots.painters import panels

FIGURES = [
    *("architectures", "deep_tensor", "depth_efficiency"),
    *("greedy_paths", "image_bytes", "linear_regression", "local_components", "matrix_completion", "norms_to_infinity"),
    *("rank_one", "recovery", "tree_bias"),
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


def test_names_of_figures() -> None:
    figure, _ = panels(1, 1)
    with pytest.raises(ValueError, match=r"ends in \.png, \.svg or \.pdf"):
        plots.image_bytes(figure, "x.jpg")
    with pytest.raises(TypeError, match="dpi is a whole number"):
        plots.image_bytes(figure, "x.png", dpi=1.5)  # type: ignore[arg-type]
