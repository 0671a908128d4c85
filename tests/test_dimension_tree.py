from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnrank import DimensionTree, Node


@st.composite
def nested_trees(draw, most=9):
    """Any rooted tree over 0 .. N-1: k-ary, ragged, modes in any order, unary nodes."""
    level = list(draw(st.permutations(range(draw(st.integers(1, most))))))
    for _ in range(draw(st.integers(0, 12))):
        size = draw(st.integers(1, len(level)))
        start = draw(st.integers(0, len(level) - size))
        level[start : start + size] = [tuple(level[start : start + size])]
    return tuple(level)


def modes_below(entry):
    return [entry] if isinstance(entry, int) else [m for child in entry for m in modes_below(child)]


def height(entry):
    return 0 if isinstance(entry, int) else 1 + max(height(child) for child in entry)


def everything_in(entry):
    yield entry
    if not isinstance(entry, int):
        for child in entry:
            yield from everything_in(child)


@given(nested_trees())
def test_nodes_are_those_of_the_nested_form(nested):
    tree = DimensionTree(nested)
    entries = list(everything_in(nested))
    expected = {Node(tuple(sorted(modes_below(entry))), height(entry)) for entry in entries}
    assert set(tree.nodes) == expected
    assert len(tree.nodes) == len(entries)
    assert list(tree) == list(tree.nodes)
    assert tree.order == len(modes_below(nested))
    assert tree.root == tree.nodes[-1] == tree.interior[-1]
    assert tree.leaves == tuple(Node((m,), 0) for m in range(tree.order))
    assert tree.leaves + tree.interior == tree.nodes
    assert tree.is_binary == all(isinstance(e, int) or len(e) == 2 for e in entries)


@given(nested_trees())
def test_parents_and_children_agree(nested):
    tree = DimensionTree(nested)
    position = {node: k for k, node in enumerate(tree.nodes)}
    assert tree.parent(tree.root) is None
    for node in tree.nodes:
        children = tree.children(node)
        assert bool(children) == (node.height > 0)
        for child in children:
            assert tree.parent(child) == node
            assert position[child] < position[node]
        if children:
            assert sorted(m for c in children for m in c.modes) == list(node.modes)
            assert node.height == 1 + max(c.height for c in children)
    for entry in everything_in(nested):
        if not isinstance(entry, int):
            node = Node(tuple(sorted(modes_below(entry))), height(entry))
            assert [c.modes for c in tree.children(node)] == [tuple(sorted(modes_below(e))) for e in entry]


@given(nested_trees())
def test_value_semantics(nested):
    tree = DimensionTree(nested)
    assert tree.nested == nested
    for same in (
        DimensionTree(tree),
        DimensionTree(nested),
        pickle.loads(pickle.dumps(tree)),
        copy.deepcopy(tree),
    ):
        assert same == tree
        assert hash(same) == hash(tree)
        assert same.nodes == tree.nodes
    assert eval(repr(tree), {"DimensionTree": DimensionTree}) == tree
    assert tree.text == repr(nested)
    assert DimensionTree.from_text(tree.text) == tree
    assert tree != nested
    assert tree != DimensionTree((nested,))


def splits(tree):
    """The bipartitions of the modes that the edges make."""
    everything = frozenset(range(tree.order))
    return {
        frozenset({modes, everything - modes}) for node in tree.nodes if (modes := frozenset(node.modes)) != everything
    }


@given(nested_trees(), st.data())
def test_another_root_keeps_the_bipartitions(nested, data):
    tree = DimensionTree(nested)
    at = data.draw(st.sampled_from(tree.nodes))
    on_edge = at.height == 0 or data.draw(st.booleans())
    moved = tree.with_root(at, on_edge)
    everything = set(range(tree.order))
    assert moved.order == tree.order
    assert splits(moved) == splits(tree)
    if at == tree.root:
        assert moved == tree
    elif len(at.modes) == tree.order:
        # below a unary root: that root goes, and with it the edge
        assert moved.root == (at if at.height else Node(at.modes, 1))
    elif on_edge:
        assert [set(child.modes) for child in moved.children(moved.root)] == [
            set(at.modes),
            everything - set(at.modes),
        ]
        assert moved.children(moved.root)[0] == at
    else:
        assert moved.children(moved.root)[:-1] == tree.children(at)
        assert set(moved.children(moved.root)[-1].modes) == everything - set(at.modes)
    assert moved.with_root(moved.root) == moved


@pytest.mark.parametrize(
    ("nested", "at", "on_edge", "expected"),
    [
        # the old binary root vanishes, one of three children stays a node
        (((0, 1), (2, 3)), (2, 3), True, ((2, 3), (0, 1))),
        (((0, 1), (2, 3)), (2, 3), False, (2, 3, (0, 1))),
        (((0, 1), (2, 3)), 1, True, (1, (0, (2, 3)))),
        ((0, 1, (2, 3)), (2, 3), True, ((2, 3), (0, 1))),
        ((0, 1, (2, 3)), 0, True, (0, (1, (2, 3)))),
        # unary nodes stay, unary roots do not
        ((((0, 1),), 2), 0, True, (0, (1, (2,)))),
        ((((0, 1), 2),), (0, 1), True, ((0, 1), 2)),
        ((((0, 1), 2),), (0, 1), False, (0, 1, 2)),
        (((0,),), Node((0,), 0), True, (0,)),
        (((0,),), Node((0,), 1), False, (0,)),
    ],
)
def test_roots_elsewhere(nested, at, on_edge, expected):
    assert DimensionTree(nested).with_root(at, on_edge).nested == expected


def test_roots_that_cannot_be():
    tree = DimensionTree.balanced(4)
    with pytest.raises(ValueError, match=r"\{2\} is a leaf"):
        tree.with_root(2, on_edge=False)
    with pytest.raises(KeyError, match=r"no node of the modes \(0, 2\)"):
        tree.with_root((0, 2))


def test_another_root_at_order_1000():
    tree = DimensionTree.linear(1000)
    moved = tree.with_root((998, 999))
    assert moved.nested[0] == (998, 999)
    assert splits(moved) == splits(tree)
    assert moved.root.height == 998


@given(nested_trees(), st.data())
def test_permuted_modes(nested, data):
    tree = DimensionTree(nested)
    order = data.draw(st.permutations(range(tree.order)))
    moved = tree.permute(order)
    assert [[order[m] for m in modes_below(entry)] for entry in everything_in(moved.nested)] == [
        modes_below(entry) for entry in everything_in(nested)
    ]
    assert moved.permute([order.index(m) for m in range(tree.order)]) == tree


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (1, 2, 3), (0, 1, 2, 3)])
def test_orders_that_are_no_permutations(order):
    with pytest.raises(ValueError, match=r"permutation of the modes 0 \.\. 2"):
        DimensionTree.star(3).permute(order)


def test_lists_and_integers_of_numpy_are_fine():
    import numpy as np

    assert DimensionTree([[np.int64(0), 1], [2, 3]]) == DimensionTree.balanced(4)


@pytest.mark.parametrize(
    ("tree", "nested"),
    [
        (DimensionTree.balanced(1), (0,)),
        (DimensionTree.balanced(2), (0, 1)),
        (DimensionTree.balanced(5), (((0, 1), 2), (3, 4))),
        (DimensionTree.balanced(8), (((0, 1), (2, 3)), ((4, 5), (6, 7)))),
        (DimensionTree.balanced(7, arity=3), ((0, 1, 2), (3, 4), (5, 6))),
        (DimensionTree.windows(1), (0,)),
        (DimensionTree.windows(4), ((0, 1), (2, 3))),
        # the published ceil grouping: the left-over mode 4 climbs through unary nodes
        (DimensionTree.windows(5, 2), (((0, 1), (2, 3)), ((4,),))),
        (DimensionTree.windows(9, 3), ((0, 1, 2), (3, 4, 5), (6, 7, 8))),
        (DimensionTree.windows(5, 4), ((0, 1, 2, 3), (4,))),
        (DimensionTree.linear(1), (0,)),
        (DimensionTree.linear(4), (0, (1, (2, 3)))),
        (DimensionTree.star(1), (0,)),
        (DimensionTree.star(4), (0, 1, 2, 3)),
        (DimensionTree.quad(1, 1), (0,)),
        (DimensionTree.quad(2, 2), (0, 1, 2, 3)),
        (DimensionTree.quad(2, 4), ((0, 1, 4, 5), (2, 3, 6, 7))),
        (DimensionTree.quad(3, 3), ((0, 1, 3, 4), (2, 5), (6, 7), (8,))),
    ],
)
def test_constructors(tree, nested):
    assert tree.nested == nested


@given(st.integers(1, 40), st.integers(2, 5))
def test_balanced_has_no_unary_nodes_and_least_height(order, arity):
    tree = DimensionTree.balanced(order, arity)
    assert tree.order == order
    if order > 1:
        assert all(2 <= len(tree.children(node)) <= arity for node in tree.interior)
    least = 1
    while arity**least < order:
        least += 1
    assert tree.root.height == least


@given(st.integers(2, 40), st.integers(2, 5))
def test_windows_have_equal_depth(order, window):
    """Every leaf is as far from the root, and level l has ceil(order / window^l) nodes."""
    tree = DimensionTree.windows(order, window)
    for leaf in tree.leaves:
        depth, node = 0, leaf
        while (above := tree.parent(node)) is not None:
            depth, node = depth + 1, above
        assert depth == tree.root.height
    for level in range(1, tree.root.height + 1):
        assert sum(n.height == level for n in tree.nodes) == -(-order // window**level)


def test_order_1000():
    tree = DimensionTree.linear(1000)
    assert tree.root.height == 999
    assert len(tree.nodes) == 1999
    assert tree == DimensionTree.linear(1000)
    assert tree != DimensionTree(tree.nested[::-1])
    assert tree.draw().count("\n") == 1998
    assert repr(tree) == "DimensionTree.linear(1000)"
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert copy.deepcopy(tree) == tree
    assert DimensionTree.from_text(tree.text) == tree
    assert hash(tree) == hash(DimensionTree.linear(1000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((0, 1)", "unbalanced"),
        ("0, 1", "unbalanced"),
        ("((0, x))", "unexpected 'x'"),
        ("(0))", r"unexpected '\)'"),
    ],
)
def test_malformed_texts(text, message):
    with pytest.raises(ValueError, match=message):
        DimensionTree.from_text(text)


def test_look_up():
    tree = DimensionTree(((0, (1,)), (2, 3)))
    assert tree.node((3, 2)) == Node((2, 3), 1)
    assert tree.node(0) == Node((0,), 0)
    assert tree.node(Node((1,), 1)).height == 1
    assert tree.parent(Node((1,), 0)) == Node((1,), 1)
    assert tree.children((0, 1)) == (Node((0,), 0), Node((1,), 1))
    assert [str(n) for n in tree.children(tree.root)] == ["{0,1}", "{2,3}"]
    with pytest.raises(KeyError, match=r"modes \(1,\) name 2 nodes .*height=0.*height=1"):
        tree.node(1)
    with pytest.raises(KeyError, match=r"no node of the modes \(0, 2\).*\{2,3\}"):
        tree.node((0, 2))
    with pytest.raises(KeyError, match="no node Node"):
        tree.node(Node((2, 3), 2))


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        (((0, 1), (1, 2)), "mode 1 appears 2 times"),
        (((0, 1), (3,)), "mode 2 is missing"),
        ((0, -1), "got -1"),
        ((0, ()), "empty"),
        ((), "empty"),
        (0, r"write \(0,\)"),
        ((0, 1.5), "got 1.5"),
        ((0, "a"), "got 'a'"),
        ((0, True), "got True"),
        (None, "got None"),
    ],
)
def test_malformed_trees(nested, message):
    with pytest.raises(ValueError, match=message):
        DimensionTree(nested)


@pytest.mark.parametrize("build", ["balanced", "windows", "linear", "star"])
def test_orders_below_one(build):
    with pytest.raises(ValueError, match=r"order, the number of modes, is a whole number from 1 to .*, got 0"):
        getattr(DimensionTree, build)(0)


def test_arity_below_two():
    with pytest.raises(ValueError, match="a whole number from 2 on, got 1"):
        DimensionTree.balanced(4, arity=1)
    with pytest.raises(ValueError, match="a whole number from 2 on, got 1"):
        DimensionTree.windows(4, window=1)


def test_immutable():
    tree = DimensionTree.balanced(4)
    with pytest.raises(AttributeError, match="immutable"):
        tree._nested = (0, 1)


def test_drawing():
    assert DimensionTree(((0, 1), (2,))).draw(lambda node: node.height).splitlines() == [
        "{0,1,2}  2",
        "├── {0,1}  1",
        "│   ├── {0}  0",
        "│   └── {1}  0",
        "└── {2}  1",
        "    └── {2}  0",
    ]
    assert repr(DimensionTree.star(3)) == "DimensionTree.star(3)"
