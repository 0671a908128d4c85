"""Pictures of the ranks of layers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tnrank.plots import image_bytes, layer_ranks
from tnrank.radar import RankRadar
from tnrank.radar import layer_ranks as ranks_of


def test_spectra_and_bars_of_a_report() -> None:
    rng = np.random.default_rng(0)
    report = ranks_of(
        {f"layer{k}.weight": rng.standard_normal((12, 8 + k)) for k in range(10)} | {"one": np.ones((1, 5))}
    )
    left, right = layer_ranks(report).axes
    lines = [line for line in left.lines if len(line.get_xdata())]
    assert len(lines) == 11
    s = np.array(report.rows[0].matrix.singular_values)
    assert lines[0].get_ydata() == pytest.approx(s / s[0])
    assert [text.get_text() for text in left.get_legend().get_texts()][-1] == "3 others"
    assert len(right.patches) == 3 * 11
    assert max(bar.get_width() for bar in right.patches) <= 1
    assert image_bytes(layer_ranks(report), "x.png")


def test_what_a_radar_recorded() -> None:
    radar = RankRadar(leading=4)
    for step in range(0, 60, 10):
        grown = np.diag([5.0, 3.0 * (step >= 20), 2.0 * (step >= 40), 0.0])
        radar.record(step, {"a.weight": grown, "b.weight": np.eye(4, 3)})
    figure = radar.plot()
    effective, first, second = figure.axes
    assert [line.get_label() for line in effective.lines] == ["a.weight", "b.weight"]
    marks = [line.get_xdata()[0] for line in first.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert marks == [0, 20, 40]
    assert not [line for line in second.lines if line.get_marker() == "^" and len(line.get_xdata())]
    many = RankRadar()
    many.record(0, {f"w{k}": np.eye(2) for k in range(20)})
    assert "the first 11 of 20 weights" in many.plot().get_suptitle()


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        layer_ranks(RankRadar())
    with pytest.raises(TypeError, match=r"needed the report of tnrank\.radar\.layer_ranks"):
        layer_ranks(np.ones((2, 2)))
