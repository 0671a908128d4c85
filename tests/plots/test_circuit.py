"""Circuits beside their tensor networks and trees: what is drawn, in which color, and that it can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization, DimensionTree, HierarchicalFactorization, MatrixFactorization, TensorTrain
from tnrank.circuits import Circuit
from tnrank.plots import circuit, image_bytes

pytest.importorskip("matplotlib")

PICTURES: dict[str, Callable[[], Any]] = {
    "deep, order 8": lambda: Circuit.deep(8, 2, 4),
    "order 2, one channel": lambda: Circuit.deep(2, 1, 1),
    "4 x 4, ten classes": lambda: Circuit.deep((4, 4), 2, 16, classes=10),
    "8 x 8, shared": lambda: Circuit.deep((8, 8), 2, [16, 32, 64], classes=10, shared=True),
    "5 x 5, ragged": lambda: Circuit.deep((5, 5), 2, 3, ragged=True),
    "28 x 28, ragged": lambda: Circuit.deep((28, 28), 2, 64, classes=10, shared=True, ragged=True),
    "order 1000, 100 classes": lambda: Circuit.deep(1000, 2, 16, classes=100, ragged=True),
    "14 levels": lambda: Circuit.deep(2**14, 2, 16),
    "CP, order 8": lambda: CPFactorization.random((3,) * 8, rank=5, seed=0),
    "CP, order 64": lambda: Circuit.shallow((8, 8), 2, 32, classes=10),
    "MF, depth 3": lambda: MatrixFactorization.random((6, 5), depth=3, seed=0),
    "MF, depth 30": lambda: MatrixFactorization.random((6, 5), depth=30, seed=0),
    "max and ReLU": lambda: Circuit.deep((8, 8), 4, 16, classes=10, pooling="max", activation="relu"),
}


def words(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def marks(axes: Any, what: str) -> list[Any]:
    """``node``: discs of weights or nodes; ``index``: dots where three or more lines meet."""
    return [line for line in axes.lines if line.get_gid() == what]


def colors(axes: Any) -> Counter[tuple[float, str]]:
    """How many discs there are of each height and color."""
    return Counter((round(float(line.get_ydata()[0]), 6), line.get_color()) for line in marks(axes, "node"))


LARGE = ("8 x 8, shared", "28 x 28, ragged", "order 1000, 100 classes", "14 levels", "MF, depth 30")
"""Pictures that take seconds each."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in PICTURES],
)
def test_words_are_legible(name: str) -> None:
    figure = circuit(PICTURES[name]())
    assert len(figure.axes) == 3
    figure.draw_without_rendering()
    inside, boxes = figure.bbox.padded(1), []
    for axes in figure.axes:
        found = [*axes.texts, axes._left_title]
        boxes += [(text.get_text(), text.get_window_extent()) for text in found if text.get_text().strip()]
    for text, box in boxes:
        assert all(inside.containsx(x) for x in (box.x0, box.x1)), f"{text!r} is cut off"
        assert all(inside.containsy(y) for y in (box.y0, box.y1)), f"{text!r} is cut off"
    for (text, box), (other, at) in combinations(boxes, 2):
        assert not box.padded(-0.5).overlaps(at.padded(-0.5)), f"{text!r} and {other!r} overlap"
    # Words stand left of what is drawn.
    for axes in figure.axes[1:]:
        discs = [line.get_window_extent() for line in marks(axes, "node")]
        for text in axes.texts:
            assert not any(box.overlaps(text.get_window_extent().padded(-1)) for box in discs), text.get_text()
    width, height = figure.get_size_inches()
    assert width < 17
    assert height < 12


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from([(2,), (5,), (9,), (16,), (2, 3), (4, 4), (1, 6)]),
    st.integers(2, 4),
    st.integers(1, 3),
    st.booleans(),
)
def test_small_circuits_are_drawn_in_full(grid: tuple[int, ...], window: int, classes: int, shared: bool) -> None:
    """A disc a matrix, a dot a hyperindex, a node a node: the numbers of the factorization itself."""
    drawn = Circuit.deep(grid, 2, 3, window, classes=classes, shared=shared, ragged=True)
    slabs, network, tree = circuit(drawn).axes
    x = drawn.to_factorization(drawn.initial_weights(seed=0))
    assert len(marks(network, "node")) == len(x.network.tensors)
    assert len(marks(tree, "node")) == len(drawn.tree.nodes)
    ends = [len(x.network.holders(label)) + (label in x.network.output) for label in x.network.indices]
    dots = len(marks(network, "index"))
    assert dots == sum(count > 2 for count in ends)
    assert colors(network) == colors(tree)
    assert len({height for height, _ in colors(tree)}) == drawn.tree.root.height + 1
    assert not any("in part" in axes.get_title(loc="left") for axes in (network, tree))
    assert {str(n) for n in range(drawn.order)} <= set(words(tree))
    # A top a location, a front a column, a side a row.
    found = [len(faces.get_paths()) for faces in slabs.collections if faces.get_gid() == "convolution"]
    assert found == [prod(g) + g[-1] + (g[0] if len(g) == 2 else 1) for g in drawn.grids[:-1]]


def test_one_color_a_level() -> None:
    from tnrank.plots import style as _style

    slabs, network, tree = circuit(Circuit.deep((4, 4), 2, 16, classes=10)).axes
    assert [color for _, color in sorted(colors(tree))] == list(_style.COLORS[:3])
    assert sorted(colors(tree).values()) == [1, 4, 16]
    outputs = [line for line in slabs.lines if line.get_marker() == "o"]
    assert {line.get_color() for line in outputs} == {_style.COLORS[2]}
    assert len(outputs) == 10
    assert slabs.get_ylim() == network.get_ylim() == tree.get_ylim()


def test_words_of_a_circuit() -> None:
    slabs, network, tree = (
        words(axes) for axes in circuit(Circuit.deep((8, 8), 2, [16, 32, 64], classes=10, shared=True)).axes
    )
    for text in ("8 $\\times$ 8 patches", "2 → 16 channels, shared", "16 → 32 channels, shared", "dense, 64 → 10"):
        assert text in slabs
    assert slabs.count("product pooling") == 3
    for text in ("one matrix, 64 times", "2 $\\times$ 16", "4 hyperindices", "64 open indices", "64 $\\times$ 10"):
        assert text in network
    for text in ("64 leaves", "16 nodes", "4 nodes", "root", "64 modes"):
        assert text in tree


def test_what_is_left_out_is_said() -> None:
    figure = circuit(Circuit.deep((28, 28), 2, 64, classes=10, ragged=True))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[1:] == ["Tensor network: hierarchical factorization, in part", "Dimension tree, in part"]
    network, tree = figure.axes[1:]
    # At each of four heights the first of four nodes is followed down.
    assert len(marks(tree, "node")) == len(marks(network, "node")) == 1 + 5 * 4
    assert words(network).count("..") == words(tree).count("..") == 4 * 3
    assert "784 matrices" in words(network)
    shallow = circuit(Circuit.shallow((8, 8), 2, 32)).axes
    assert words(shallow[1]).count("..") == 1
    assert len(marks(shallow[1], "node")) == 8 + 2 + 1
    deep = circuit(PICTURES["14 levels"]()).axes
    assert all(".. 4 more levels" in words(axes) for axes in deep)


def test_kinds_of_factorizations() -> None:
    matrix = circuit(MatrixFactorization.random((6, 5), depth=3, seed=0)).axes
    assert [axes.get_title(loc="left") for axes in matrix] == [
        "Linear network",
        "Tensor network: matrix factorization",
        "Dimension tree",
    ]
    assert len(marks(matrix[1], "node")) == 3
    assert not marks(matrix[1], "index")
    assert "5 → 5 channels at 0" in words(matrix[0])
    plain = circuit(CPFactorization.random((3,) * 4, rank=5, seed=0)).axes[1]
    weighted = CPFactorization([np.ones((3, 2))] * 3, weights=np.ones(2))
    assert (len(marks(plain, "node")), len(marks(plain, "index"))) == (4, 1)
    assert len(marks(circuit(weighted).axes[1], "node")) == 4
    of_classes = circuit(CPFactorization.random((3, 3, 3, 7), rank=5, seed=0), classes=True).axes
    assert "7 classes" in words(of_classes[0])
    assert "one matrix" in words(of_classes[1])
    quad = HierarchicalFactorization.random((2,) * 16, DimensionTree.quad(4, 4), width=3, seed=0)
    assert "4 $\\times$ 4 patches" in words(circuit(quad).axes[0])
    assert "3 $\\times$ 2 patches" in words(circuit(CPFactorization.random((2,) * 6, 2, seed=0), grid=(3, 2)).axes[0])


@pytest.mark.parametrize(
    ("pooling", "activation", "why"),
    [("max", "relu", "max pooling and ReLU"), ("product", "relu", "ReLU"), ("average", "identity", "average pooling")],
)
def test_other_poolings_have_no_network(pooling: Any, activation: Any, why: str) -> None:
    slabs, network, tree = circuit(Circuit.deep(8, 2, 4, pooling=pooling, activation=activation)).axes
    assert network.get_title(loc="left") == "No tensor network"
    assert any(text.startswith(f"{why}: the\n") for text in words(network))
    assert not marks(network, "node")
    assert len(marks(tree, "node")) == 15
    assert f"{pooling} pooling" in words(slabs)
    assert ("1x1 convolution, ReLU" in words(slabs)) == (activation == "relu")


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match=r"got list, needed a Circuit or a factorization: tnrank\.circuits\.Circuit"):
        circuit([1])
    with pytest.raises(TypeError, match="got TensorTrain"):
        circuit(TensorTrain.random((2,) * 4, rank=2, seed=0))
    with pytest.raises(ValueError, match="a Circuit has its own grid and classes"):
        circuit(Circuit.deep(4, 2), grid=(2, 2))
    with pytest.raises(ValueError, match="is not a pooling window"):
        circuit(HierarchicalFactorization.random((2,) * 4, DimensionTree.linear(4), width=2, seed=0))


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_saving_warns_of_nothing(suffix: str, recwarn: pytest.WarningsRecorder) -> None:
    assert image_bytes(tnrank.plots.circuit(Circuit.deep(4, 2)), f"x.{suffix}", dpi=50)
    assert not recwarn.list
