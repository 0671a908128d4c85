"""The analogy page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import Run, make_recipe, run
from tnrank.experiments.recipes.analogy import _growing


class _Page(HTMLParser):
    """Rows, images and open tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.images, self.open = 0, [], list[str]()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.rows += tag == "tr"
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def short(tmp_path: Path, steps: int, figure: bool) -> Run:
    recipe = make_recipe("analogy", backend="numpy", matrix_size=6, tensor_size=4, tree_size=3, width=4)
    done = run(recipe.limited(steps), out=tmp_path, figure=figure)
    claims = [check for check in done.outcome.checks if "exponent" in check.claim]
    assert len(claims) == 3
    for check in claims:
        assert not check.holds
        assert check.measured.endswith("(points: 0): give more steps")
    return done


@pytest.mark.slow
def test_a_run_in_which_nothing_grows_renders_the_page_and_says_so(tmp_path: Path) -> None:
    done = short(tmp_path, 20, figure=True)
    assert not done.outcome.holds
    page = _Page()
    page.feed((done.folder / "analogy.html").read_text("utf-8").partition("\n")[2])
    assert not page.open
    assert page.rows == 4
    assert len(page.images) == 6
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in page.images)
    text = " ".join(page.text)
    for word in ("singular values", "component norms", "matrix rank", "tensor rank", "hierarchical tensor rank"):
        assert word in text
    assert "no exponent" in text
    assert "10 or more" not in text
    assert (done.folder / "figure.png").stat().st_size > 1_000


def test_components_beyond_the_recorded_ones_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tnrank.experiments.recipes.analogy.image_bytes", lambda *_, **__: b"")
    done = short(tmp_path, 1, figure=False)
    assert "10 or more of 40 components" in (done.folder / "analogy.html").read_text("utf-8")


def test_without_matplotlib_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tnrank.experiments.recipes.analogy.find_spec", lambda name: None)
    assert not short(tmp_path, 1, figure=False).outcome.files


def test_what_grows_is_on_its_way_up_once() -> None:
    norms = np.array([[0.0, 0.5], [0.05, 1.0], [0.5, 0.8], [1.0, 0.2], [0.5, 0.1]])
    expected = np.array([[False, True], [True, False], [True, False], [False, False], [False, False]])
    np.testing.assert_array_equal(_growing(norms), expected)


def test_a_rank_above_a_size_raises() -> None:
    with pytest.raises(ValueError, match="rank lies between 1 and tree_size=5, got 7"):
        make_recipe("analogy", rank=7)


@pytest.mark.slow
def test_the_quick_preset_finds_the_analogy(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("analogy", backend="jax"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    summary = json.loads((done.folder / "summary.json").read_text())
    for model in ("mf", "cp", "htf"):
        assert summary[model]["exponent"] == pytest.approx(4 / 3, abs=0.01)
    # The ranks of the saved factorizations, by NumPy's SVD.
    for model, expected in (("mf", 3), ("cp", 3)):
        dense = tnrank.load(done.folder / f"{model}.safetensors").to_dense()
        s = np.linalg.svd(np.asarray(dense).reshape(dense.shape[0], -1), compute_uv=False)
        assert int((s > 0.01 * s[0]).sum()) == expected
