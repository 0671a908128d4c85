"""Random circuits, and what they compute, written down independently with NumPy."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import dense, matrix_factorizations
from tnrank.circuits import Circuit, Level

few = st.integers(1, 3)


@st.composite
def windows(draw: Any, grid: tuple[int, ...], ragged: bool) -> list[tuple[int, ...]]:
    """Windows of every level, until one location is left; not all of them divide the grid if ``ragged``."""
    found = []
    while max(grid) > 1:
        fits = [[w for w in range(1, side + 1) if ragged or side % w == 0] for side in grid]
        window = tuple(draw(st.sampled_from(sides)) for sides in fits)
        if max(window) == 1 and len(found) > 1:
            window = grid
        found.append(window)
        grid = tuple(ceil(side / w) for side, w in zip(grid, window, strict=True))
    return found or [(1,) * len(grid)]


@st.composite
def deep_circuits(draw: Any, most: int = 8, **options: Any) -> Circuit:
    """Circuits of kind "hierarchical" on lines and planes, with channels that differ from window to window."""
    grid = draw(
        st.one_of(
            st.tuples(st.integers(1, most)),
            st.tuples(st.integers(1, 3), st.integers(1, most // 3)),
            st.sampled_from([(4,), (8,), (2, 2), (2, 4), (4, 2)]),
        )
    )
    sides = draw(windows(grid, draw(st.booleans())))
    levels, now = [], grid
    for window in sides:
        after = tuple(ceil(side / w) for side, w in zip(now, window, strict=True))
        shared = draw(st.booleans())
        channels: Any = draw(few)
        if not shared and draw(st.booleans()):
            block = np.asarray(draw(st.lists(few, min_size=int(np.prod(after)), max_size=int(np.prod(after)))))
            block = block.reshape(after)
            for axis, (side, w) in enumerate(zip(now, window, strict=True)):
                block = np.take(block, np.arange(side) // w, axis=axis)
            channels = tuple(block.ravel().tolist())
        levels.append((channels, window, shared))
        now = after
    features: Any = draw(few)
    if not levels[0][2] and draw(st.booleans()):
        count = int(np.prod(grid))
        features = tuple(draw(st.lists(few, min_size=count, max_size=count)))
    # A shared level needs equal numbers of channels at all locations of its input.
    for k in range(1, len(levels)):
        if levels[k][2] and not isinstance(levels[k - 1][0], int):
            levels[k] = (levels[k][0], levels[k][1], False)
    return Circuit(grid, features, tuple(Level(*level) for level in levels), draw(few), ragged=True, **options)


@st.composite
def shallow_circuits(draw: Any, most: int = 6, **options: Any) -> Circuit:
    grid = draw(st.one_of(st.tuples(st.integers(1, most)), st.tuples(st.integers(1, 2), st.integers(1, most // 2))))
    count = int(np.prod(grid))
    shared = draw(st.booleans())
    features = draw(few) if shared or draw(st.booleans()) else draw(st.lists(few, min_size=count, max_size=count))
    classes = draw(few)
    plain = classes == 1 and draw(st.booleans())
    return Circuit.shallow(
        grid, features, draw(st.integers(1, 4)), classes=classes, shared=shared, dense=not plain, **options
    )


@st.composite
def matrix_circuits(draw: Any) -> Circuit:
    return Circuit.from_factorization(draw(matrix_factorizations()))


def circuits(**options: Any) -> st.SearchStrategy[Circuit]:
    """Circuits of all kinds; ``options`` such as ``pooling`` for those that are no linear networks."""
    kinds = [deep_circuits(**options), shallow_circuits(**options)]
    return st.one_of(kinds if options else [*kinds, matrix_circuits()])


@st.composite
def weights_for(draw: Any, circuit: Circuit) -> tuple[np.ndarray[Any, Any], ...]:
    """Gaussian weights, zero where they are padding."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = circuit.initial_weights(std=0.5)
    return tuple(np.where(w == 0, 0, generator.standard_normal(w.shape)) for w in present)


def vectors(circuit: Circuit, features: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """One array ``(batch, d_n)`` a mode: features as numbers, whole numbers as unit vectors."""
    sizes = circuit.widths[0]
    if features.ndim == 2:
        return [np.eye(size)[features[:, n]] for n, size in enumerate(sizes)]
    return [features[:, n, :size] for n, size in enumerate(sizes)]


def contracted(tensor: np.ndarray[Any, Any], modes: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The tensor contracted with one vector a mode, for every row of the batch; classes remain."""
    rows = []
    for b in range(len(modes[0])):
        rest = tensor
        for mode in modes:
            rest = np.tensordot(mode[b], rest, axes=([0], [0]))
        rows.append(rest)
    return np.asarray(rows)


def output(circuit: Circuit, weights: Any, features: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """What the circuit computes, through the dense tensor; and the same of absolute values, the size of its terms."""
    x = circuit.to_factorization([np.asarray(w) for w in weights])
    modes = vectors(circuit, features)
    return contracted(dense(x), modes), contracted(dense(x.map(abs)), [abs(m) for m in modes])


@st.composite
def features_for(draw: Any, circuit: Circuit, zeros: bool = True, batch: int | None = None) -> np.ndarray[Any, Any]:
    """Whole numbers, one-hot vectors, or numbers of both signs, some of them exact zeros."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch = draw(st.integers(1, 4)) if batch is None else batch
    sizes, most = circuit.widths[0], max(circuit.widths[0])
    kind = draw(st.sampled_from(["indices", "one-hot", "numbers", "zeros"]))
    if kind in ("indices", "one-hot"):
        found = np.stack([generator.integers(0, size, batch) for size in sizes], axis=1)
        return found if kind == "indices" else np.eye(most)[found]
    found = generator.standard_normal((batch, circuit.order, most))
    return np.where(generator.random(found.shape) < 0.2, 0.0, found) if zeros and kind == "zeros" else found


@st.composite
def numbers(draw: Any, circuit: Circuit, batch: int = 2) -> np.ndarray[Any, Any]:
    """Gaussian features."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return generator.standard_normal((batch, circuit.order, max(circuit.widths[0])))


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))
