"""Spectra, dimension trees and networks: what they show, and that no words overlap or are cut off."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization, DimensionTree, HierarchicalFactorization, HierarchicalTucker, Network, TensorTrain
from tnrank.plots import dimension_tree, image_bytes, network, ranks, spectra

pytest.importorskip("matplotlib")


def dense() -> np.ndarray:
    x = np.asarray(HierarchicalTucker.random((4,) * 4, rank=2, seed=0).to_dense())
    return x / np.linalg.norm(x) + 1e-3 * np.random.default_rng(0).standard_normal(x.shape)


def words(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def legible(figure: Any) -> None:
    """Every word lies within the figure, and no two on one another."""
    figure.draw_without_rendering()
    inside, boxes = figure.bbox.padded(1), []
    for axes in figure.axes:
        found = [*axes.texts, axes.title, axes._left_title]
        found += [] if axes.get_legend() is None else axes.get_legend().get_texts()
        found += [axes.xaxis.label, axes.yaxis.label] if axes.axison else []
        boxes += [(text.get_text(), text.get_window_extent()) for text in found if text.get_text().strip()]
    for text, box in boxes:
        assert inside.containsx(box.x0), f"{text!r} is cut off"
        assert inside.containsx(box.x1), f"{text!r} is cut off"
        assert inside.containsy(box.y0), f"{text!r} is cut off"
        assert inside.containsy(box.y1), f"{text!r} is cut off"
    for (text, box), (other, at) in combinations(boxes, 2):
        assert not box.padded(-0.5).overlaps(at.padded(-0.5)), f"{text!r} and {other!r} overlap"


GRID = Network(
    {
        f"{r}{c}": [
            *([f"h{r}{c}"] if c else []),
            *([f"h{r}{c + 1}"] if c < 3 else []),
            *([f"v{r}{c}"] if r else []),
            *([f"v{r + 1}{c}"] if r < 2 else []),
            f"i{r}{c}",
        ]
        for r in range(3)
        for c in range(4)
    }
)
PICTURES: dict[str, Callable[[], Any]] = {
    "spectra, dense": lambda: spectra(dense(), rtol=1e-1),
    "spectra, order 64": lambda: spectra(HierarchicalTucker.random((3,) * 64, rank=4, seed=0, std=0.4)),
    "tree, dense": lambda: dimension_tree(dense()),
    "tree, order 64": lambda: dimension_tree(HierarchicalTucker.random((3,) * 64, rank=12, seed=0, std=0.3)),
    "tree, order 300": lambda: dimension_tree(HierarchicalTucker.random((3,) * 300, rank=3, seed=0, std=0.4)),
    "tree, linear 64": lambda: dimension_tree(TensorTrain.random((3,) * 64, rank=12, seed=0, std=0.3)),
    "tree, linear 200": lambda: dimension_tree(TensorTrain.random((3,) * 200, rank=2, seed=0, std=0.5)),
    "tree, linear 8": lambda: dimension_tree(TensorTrain.random((4,) * 8, rank=3, seed=0)),
    "tree, star": lambda: dimension_tree(CPFactorization.random((3,) * 9, rank=2, seed=0), tree=DimensionTree.star(9)),
    "tree, windows": lambda: dimension_tree(np.ones((2,) * 5), tree=DimensionTree.windows(5)),
    "tree, bare": lambda: dimension_tree(DimensionTree.quad(8, 8)),
    "both": lambda: ranks(dense(), rtol=1e-1),
    "both, order 64": lambda: ranks(HierarchicalTucker.random((3,) * 64, rank=4, seed=0, std=0.4)),
    "network, CP": lambda: network(CPFactorization.random((8, 7, 6, 5, 4), rank=10, seed=0)),
    "network, weighted CP": lambda: network(WEIGHTED),
    "network, HTF": lambda: network(HierarchicalFactorization.random((2,) * 16, width=5, seed=0)),
    "network, TT": lambda: network(TensorTrain.random((4,) * 8, rank=3, seed=0)),
    "network, HT": lambda: network(HierarchicalTucker.random((4,) * 8, rank=3, seed=0)),
    "network, HT of order 64": lambda: network(HierarchicalTucker.random((4,) * 64, rank=3, seed=0)),
    "network, Tucker": lambda: network(tnrank.Tucker.random((40, 50, 60, 70), rank=3, seed=0)),
    "network, matrix": lambda: network(tnrank.MatrixFactorization.random((64, 32), depth=3, seed=0)),
    "network, grid": lambda: network(GRID),
    "network, ring": lambda: network(Network({"A": "iab", "B": "jbc", "C": "kca"}, output="ijk")),
    "network, two parts": lambda: network(Network({"A": "ij", "B": "jk", "C": "lm"})),
}
WEIGHTED = CPFactorization([np.ones((3, 2)), np.ones((4, 2)), np.ones((5, 2))], weights=np.ones(2))


LARGE = ("spectra, order 64", "tree, order 64", "tree, order 300", "tree, linear 200", "both, order 64")
"""Pictures that take seconds each."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in PICTURES]
)
def test_words_are_legible(name: str) -> None:
    figure = PICTURES[name]()
    legible(figure)
    width, height = figure.get_size_inches()
    assert max(width, height) < 26


def test_ranks_and_entropies_on_every_edge() -> None:
    x = HierarchicalTucker.random((3,) * 6, rank=2, seed=0)
    report = tnrank.rank_report(x)
    found = words(dimension_tree(x))
    for entry in report.nodes:
        p = np.array(entry.singular_values) ** 2
        p = p[p > 0] / p.sum()
        assert rf"$\mathbf{{{entry.rank}}}$  {-(p * np.log(p)).sum():.2f}" in found
    assert all(f"{{{mode}}}" in found for mode in range(6))
    assert words(dimension_tree(report)) == found


def test_wide_edges_have_large_ranks() -> None:
    rng = np.random.default_rng(0)
    x = np.einsum("ab,cd->abcd", *rng.standard_normal((2, 8, 8)))  # {0,1} has rank 1, {0} has rank 8
    (axes,) = dimension_tree(x).axes
    widths = sorted(patch.get_linewidth() for patch in axes.patches)
    assert widths[:2] == [0.7, 0.7]
    assert np.allclose(widths[2:], 4.0)


def test_subtrees_of_large_trees_are_one_leaf() -> None:
    figure = dimension_tree(DimensionTree.balanced(1000))
    (axes,) = figure.axes
    found = words(figure)
    assert sum("modes" in text for text in found) - 1 <= 64
    assert any("of the 1,000 modes are drawn as one leaf" in text for text in found)
    assert sum(line.get_marker() == "o" for line in axes.lines) <= 127
    found = words(dimension_tree(DimensionTree.linear(100)))
    assert any("a subtree of up to 37 of the 100 modes is drawn" in text for text in found)
    assert "{63..99}  37 modes" in found


def test_spectra_of_everything() -> None:
    x = HierarchicalTucker.random((3,) * 4, rank=2, seed=0)
    labels = [
        [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        for figure in (
            spectra(x),
            spectra(tnrank.rank_report(x)),
            spectra(np.asarray(x.to_dense())),
            spectra(x, tree=DimensionTree.linear(4)),
        )
    ]
    assert labels[0] == labels[1] == labels[2]
    assert any("{2,3}" in text and "rank 2" in text for text in labels[3])
    (axes,) = spectra({"left": [1.0, 1e-3, 1e-9], "right": np.array([2.0])}, rtol=1e-2).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["left  rank 1", "right  rank 1"]
    (axes,) = spectra(x.singular_values()).axes
    assert "{0}  rank 2" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_many_spectra_are_gray() -> None:
    (axes,) = spectra(HierarchicalTucker.random((3,) * 16, rank=2, seed=0, std=0.6)).axes
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(texts) == 17
    assert texts[-1] == "13 others, rank up to 2"  # 30 nodes below the root, and two of them are one


def test_networks_show_sizes_names_and_hyperindices() -> None:
    found = words(network(CPFactorization.random((8, 7, 6), rank=10, seed=0)))
    assert {"10", "8", "7", "6", "A0", "A1", "A2"} <= set(found)
    assert found.count("10") == 1  # one hyperindex, three lines
    net = Network({"A": "ijk", "B": "jkl", "C": "lb", "D": "ib"}, output="b")
    assert set("ijklb") | set("ABCD") <= set(words(network(net)))
    assert {"2", "3"} <= set(words(network(net, sizes={"i": 2, "j": 3})))
    assert set("ABs") <= set(words(network(Network({"A": "is", "B": "ij"}, output="j"))))


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="got list, needed a Network or a factorization"):
        network([1])
    report = tnrank.rank_report(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="its own tree and rtol"):
        spectra(report, rtol=0.1)
    with pytest.raises(ValueError, match="at least one node"):
        spectra({})
    with pytest.raises(ValueError, match=r"left has values of shape \(0,\)"):
        spectra({"left": []})


@pytest.mark.parametrize("shape", [(1, 1), pytest.param((1, 2, 1), marks=pytest.mark.slow)])
def test_tiny_tensors(shape: tuple[int, ...]) -> None:
    image_bytes(ranks(np.ones(shape)), "both.png", dpi=50)


def test_zero_tensors_and_tiny_networks() -> None:
    image_bytes(ranks(np.zeros((2, 3, 2))), "both.png", dpi=50)
    image_bytes(network(Network({"A": ""})), "scalar.png", dpi=50)
    image_bytes(network(Network({"A": "i"})), "vector.png", dpi=50)


def test_resolution() -> None:
    figure = network(GRID)
    small, large = (len(image_bytes(figure, "grid.png", dpi=dpi)) for dpi in (50, 100))
    assert small < large


@settings(max_examples=10)
@given(st.data())
def test_every_network_has_a_layout(data: st.DataObject) -> None:
    """Every tensor is one disc, and no two lie on one another."""
    labels = "abcdefgh"
    sizes = data.draw(st.lists(st.sets(st.sampled_from(labels), max_size=4), min_size=1, max_size=7))
    net = Network({f"T{k}": sorted(found) for k, found in enumerate(sizes)})
    (axes,) = network(net).axes
    large = [line for line in axes.lines if line.get_markersize() == 19]
    points = np.array([[line.get_xdata()[0], line.get_ydata()[0]] for line in large])
    assert len(points) == len(net.tensors)
    assert np.isfinite(points).all()
    if len(points) > 1:
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(len(points))
        assert apart.min() > 0.4


def test_the_tolerance_is_drawn_within_two_decades_of_the_values() -> None:
    def seen(figure: Any) -> tuple[list[float], str, tuple[float, float]]:
        (axes,) = figure.axes
        dotted = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        return dotted, axes.get_legend().get_title().get_text(), axes.get_ylim()

    full = np.random.default_rng(0).standard_normal((6, 5, 4))
    report = tnrank.rank_report(full)
    least = min(min(node.singular_values) / node.singular_values[0] for node in report.nodes)
    dotted, caption, (bottom, top) = seen(spectra(full))
    assert dotted == []
    assert caption == f"tolerance {max(node.rtol for node in report.nodes):.2g}: below the values shown"
    assert least / 2 < bottom < least
    assert 1 < top < 2
    for rtol, drawn in ((least / 99, True), (least / 101, False), (1.1 * least, True)):
        dotted, caption, (bottom, _) = seen(spectra(full, rtol=rtol))
        assert dotted == ([rtol] if drawn else [])
        assert ("dotted" in caption) == drawn
        lowest = min(least, rtol) if drawn else least
        assert lowest / 3 < bottom < lowest
    dotted, _, (bottom, _) = seen(spectra(np.ones((2, 3, 4))))
    assert len(dotted) <= 1
    assert bottom > 0
    assert seen(spectra(np.zeros((2, 3, 4))))[:2] == ([], "all values are zero")
    legible(ranks(full))
