"""Pictures of what a training recorded."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.plots import learning_curves
from tnrank.training import recorders

pytest.importorskip("matplotlib")
EVERYWHERE = np.argwhere(np.ones((3, 3, 3)))


def trained(
    std: float, several: int = 1, record: list[recorders.Recorder] | None = None
) -> list[tnrank.CompletionResult]:
    record = [recorders.Loss(5), recorders.ComponentNorms(every=5)] if record is None else record
    xs = [tnrank.HierarchicalFactorization.random((3, 3, 3), width=3, std=std, seed=k) for k in range(several)]
    return [tnrank.complete(x, EVERYWHERE, np.ones(27), steps=20, record=record) for x in xs]


def test_numbers_share_a_panel_and_spectra_have_their_own() -> None:
    results = trained(0.3, several=2)
    figure = learning_curves(results, ["one", "two"])
    nodes = len(results[0].history["component_norms"].values)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "loss"
    assert titles[1:] == [
        f"component norms {node}, {label}"
        for label, result in zip(("one", "two"), results, strict=True)
        for node in result.history["component_norms"].values
    ]
    assert len(titles) == 1 + 2 * nodes
    for line, result in zip(figure.axes[0].get_lines(), results, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), result.history["loss"].steps)
        np.testing.assert_array_equal(line.get_ydata(), result.history["loss"].values)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["one", "two"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"iterations"}
    assert figure.axes[1].get_ylabel() == "component norms"


def test_arrays_that_are_no_spectra() -> None:
    signed = recorders.Function("own", lambda x: x.backend.xp.stack([-x.norm(), x.norm()]), every=5)
    (axes,) = learning_curves(trained(0.3, record=[signed])[0]).axes
    assert [line.get_ydata()[0] < 0 for line in axes.get_lines()] == [True, False]


def test_what_cannot_be_drawn() -> None:
    (result,) = trained(0.3)
    with pytest.raises(ValueError, match=r"nothing was recorded: train with record="):
        learning_curves(trained(0.3, record=[])[0])
    with pytest.raises(ValueError, match="got 2 labels for 1 results"):
        learning_curves(result, ["a", "b"])
    with pytest.raises(TypeError, match="each of the results"):
        learning_curves([result, 3])  # type: ignore[list-item]
