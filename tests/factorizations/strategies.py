"""Random factorizations, and what they mean, written down independently with NumPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

import tnrank

REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
EPS = {"bfloat16": 2**-7, "float32": 2**-22, "float64": 2**-51, "complex64": 2**-22, "complex128": 2**-51}


def numbers(draw, shape, dtype="float64"):
    """A Gaussian array: Hypothesis draws the seed."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = generator.standard_normal(shape)
    if dtype in COMPLEX:
        values = values + 1j * generator.standard_normal(shape)
    return values.astype(dtype)


sizes = st.integers(1, 4)


@st.composite
def matrix_factorizations(draw, dtype="float64", shape=None):
    ends = shape or (draw(sizes), draw(sizes))
    hidden = draw(st.lists(sizes, max_size=3))
    chain = [ends[0], *hidden, ends[1]]
    return tnrank.MatrixFactorization([numbers(draw, pair, dtype) for pair in pairwise(chain)])


@st.composite
def cp_factorizations(draw, dtype="float64", shape=None):
    shape = shape or draw(st.lists(sizes, min_size=1, max_size=5))
    rank = draw(st.integers(1, 6))
    weights = numbers(draw, (rank,), dtype) if draw(st.booleans()) else None
    return tnrank.CPFactorization([numbers(draw, (d, rank), dtype) for d in shape], weights)


@st.composite
def nested_trees(draw, order):
    """Any rooted tree over 0 .. order-1: k-ary, ragged, modes in any order, unary nodes."""
    level = list(draw(st.permutations(range(order))))
    for _ in range(draw(st.integers(0, 6))):
        size = draw(st.integers(1, len(level)))
        start = draw(st.integers(0, len(level) - size))
        level[start : start + size] = [tuple(level[start : start + size])]
    return tuple(level)


@st.composite
def hierarchical_factorizations(draw, dtype="float64", shape=None, classes=True):
    shape = tuple(shape or draw(st.lists(sizes, min_size=1, max_size=6)))
    tree = tnrank.DimensionTree(draw(nested_trees(len(shape))))
    width = {node: draw(sizes) for node in tree.interior}
    last = draw(st.integers(1, 3)) if classes else 1
    matrices = {}
    for node in tree.nodes:
        parent = tree.parent(node)
        rows = width[node] if node.height else shape[node.modes[0]]
        matrices[node] = numbers(draw, (rows, last if parent is None else width[parent]), dtype)
    return tnrank.HierarchicalFactorization(tree, matrices)


def factorizations(dtype="float64", shape=None):
    kinds = [
        cp_factorizations(dtype, shape),
        hierarchical_factorizations(dtype, shape, classes=shape is None),
    ]
    if shape is None or len(shape) == 2:
        kinds.append(matrix_factorizations(dtype, shape))
    return st.one_of(kinds)


def dense(x):
    """The end tensor by definition, of a factorization with NumPy arrays."""
    if isinstance(x, tnrank.MatrixFactorization):
        product = np.eye(x.layers[0].shape[0])
        for layer in x.layers:
            product = product @ layer
        return product
    if isinstance(x, tnrank.CPFactorization):
        total = 0
        for r in range(x.rank):
            outer = np.ones(()) if x.weights is None else x.weights[r]
            for factor in x.factors:
                outer = np.multiply.outer(outer, factor[:, r])
            total = total + outer
        return total
    return dense_hierarchy(x.tree, x.matrices)


def dense_hierarchy(tree, matrices):
    """Razin et al. 2022, Sec. 4: T(v, r) from the leaves up, pi_v sorting the modes of each node."""

    def tensors(node):
        """[T(v, r) for r], each with its modes ascending."""
        matrix = matrices[node]
        if not tree.children(node):
            return [matrix[:, r] for r in range(matrix.shape[1])]
        below = [tensors(child) for child in tree.children(node)]
        order = np.argsort([mode for child in tree.children(node) for mode in child.modes])
        components = []
        for k in range(matrix.shape[0]):
            outer = np.ones(())
            for child in below:
                outer = np.multiply.outer(outer, child[k])
            components.append(np.transpose(outer, order))
        return [sum(matrix[k, r] * components[k] for k in range(matrix.shape[0])) for r in range(matrix.shape[1])]

    found = tensors(tree.root)
    return found[0] if len(found) == 1 else np.stack(found, axis=-1)


def magnitude(x):
    """The end tensor of the absolute values: what rounding errors of the end tensor are relative to."""
    return dense(x.map(abs))


def assert_close(got, wanted, size, dtype="float64", slack=64):
    """Equal up to rounding: ``slack`` units in the last place of ``size``, the sum of the absolute terms."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    error, allowed = abs(got - wanted), slack * EPS[dtype] * np.asarray(size)
    assert (error <= allowed).all(), f"off by {error.max():.2e}, allowed {np.max(allowed):.2e}"


@st.composite
def operators(draw, dtype="float64", rows=None, columns=None):
    """A tensor train operator of one to four cores."""
    count = len(rows or columns or draw(st.lists(st.none(), min_size=1, max_size=4)))
    of_modes = st.lists(st.integers(1, 3), min_size=count, max_size=count)
    rows, columns = rows or draw(of_modes), columns or draw(of_modes)
    ranks = [1, *draw(st.lists(st.integers(1, 3), min_size=count - 1, max_size=count - 1)), 1]
    shapes = zip(ranks, rows, columns, ranks[1:], strict=False)
    return tnrank.TensorTrainOperator([numbers(draw, shape, dtype) for shape in shapes])


def matrix_of(x):
    """The matrix of an operator, core by core from its first, with NumPy."""
    made = np.ones((1, 1, 1))
    for core in x.cores:
        made = np.einsum("MNr,rmns->MmNns", made, np.asarray(core))
        made = made.reshape(made.shape[0] * made.shape[1], -1, made.shape[-1])
    return made[..., 0]
