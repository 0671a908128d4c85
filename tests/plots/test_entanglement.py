"""The picture of an entanglement report: all lines, all words, nothing cut off."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tests.plots.test_rank_pictures import legible, words
from tnrank import plots

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("twins", [True, False])
@pytest.mark.parametrize("tree", ["quad", "linear", "star"])
def test_lines(tree: str, twins: bool) -> None:
    X = np.random.default_rng(0).random((20, 64))
    chosen = tnrank.DimensionTree.quad(8, 8) if tree == "quad" else getattr(tnrank.DimensionTree, tree)(64)
    report = tnrank.entanglement_report(X, tree=chosen, twins=twins)
    figure = plots.entanglement(report)
    legible(figure)
    said = words(figure)
    assert "ln 20" in said
    assert ("uniform" in said) is twins
    (legend,) = [axes.get_legend() for axes in figure.axes]
    entries = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert "4 to 64 features, the judged range" in entries
    # Entropies close to ln 20 are those of larger nodes, which a star has none of.
    assert ("within ln 2 of ln 20, saturated" in entries) is (tree != "star")
    (axes,) = figure.axes
    first = axes.containers[0].lines[0]
    np.testing.assert_allclose(first.get_ydata(), [level.natural.entropy for level in report.levels])
    np.testing.assert_allclose(first.get_xdata(), [level.mean_features for level in report.levels])


def test_something_else() -> None:
    with pytest.raises(TypeError, match=r"report is an entanglement report, got .*entanglement_report\(X\)"):
        plots.entanglement(np.ones(3))  # type: ignore[arg-type]
