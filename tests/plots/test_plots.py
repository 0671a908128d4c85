"""Figures: what they show, and that matplotlib's global state is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.plots import image_bytes, spectra
from tnrank.plots.painters import _apart, color_of, panels, staircase

pytest.importorskip("matplotlib")


def drawn(values: Any = None) -> Any:
    """A figure of one panel with two components that rise and one that does not."""
    steps = np.arange(0, 100, 10)
    rising = np.stack([5.0 * (steps > 10), 3.0 * (steps > 50), 0.001 * (steps > 0)], axis=1)
    figure, axes = panels(1, 1)
    staircase(axes[0, 0], steps, rising if values is None else values, "one", "norm", (20, 60))
    return figure


def test_a_panel_has_title_and_labels() -> None:
    (axes,) = drawn().axes
    assert axes.get_title(loc="left") == "one"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iterations", "norm")


def test_what_rose_is_numbered_and_what_did_not_is_gray() -> None:
    (axes,) = drawn().axes
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert color_of("quiet") in [line.get_color() for line in axes.lines]


def test_numbers_do_not_overlap() -> None:
    places = _apart([10.0, 9.9, 5.0, 0.1, 0.0, 0.0], 1.0)
    assert (-np.diff(places) > 1 - 1e-9).all()
    assert min(places) >= 0
    assert abs(places[0] - 10.45) < 1e-9
    assert places[2] == 5.0


def test_a_model_at_the_origin_can_be_drawn() -> None:
    drawn(np.zeros((10, 3)))


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 3))])
def test_other_shapes_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the panel 'one' has 10 steps"):
        drawn(values)


def test_a_node_and_its_complement_are_one_line() -> None:
    report = tnrank.rank_report(np.random.default_rng(0).standard_normal((3, 4, 2, 2)))
    figure = spectra(report)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 5
    assert sum("{0,1} | {2,3}" in label for label in labels) == 1


def test_spectra_of_a_matrix_and_of_zero() -> None:
    spectra(tnrank.rank_report(np.eye(3)))
    image_bytes(spectra(tnrank.rank_report(np.zeros((2, 3, 2)))), "zero.png")


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_formats(suffix: str, start: bytes) -> None:
    assert image_bytes(drawn(), f"figure.{suffix}").startswith(start)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        image_bytes(drawn(), Path("figure.txt"))


def test_importing_is_cheap_and_pyplot_is_never_loaded() -> None:
    code = (
        "import sys, tnrank.plots as plots; assert 'matplotlib' not in sys.modules; "
        "from tnrank.plots.painters import panels, staircase; "
        "staircase(panels(1, 1)[1][0, 0], [0, 1], [[0.0], [1.0]], 'a', 'b'); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
