"""Random networks for Hypothesis, and arrays for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import tnrank

SMALL = st.integers(1, 3)


@st.composite
def networks(draw, sizes=SMALL, most_tensors=5):
    """A network and its sizes: hyperindices, traces, private sums, batch indices, scalars."""
    pool = ["a", "b", "c", ("bond", 0), ("bond", 1), 7][: draw(st.integers(1, 6))]
    count = draw(st.integers(1, most_tensors))
    tensors = {f"T{k}": tuple(draw(st.lists(st.sampled_from(pool), max_size=4))) for k in range(count)}
    used = list(dict.fromkeys(label for labels in tensors.values() for label in labels))
    output = tuple(draw(st.permutations(used))[: draw(st.integers(0, len(used)))])
    return tnrank.Network(tensors, output), {label: draw(sizes) for label in used}


def numpy_arrays(network, sizes, seed=0, dtype="float64"):
    """An array of random numbers for each tensor."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, labels in network.tensors.items():
        values = rng.standard_normal([sizes[x] for x in labels])
        if np.dtype(dtype).kind == "c":
            values = values + 1j * rng.standard_normal(values.shape)
        arrays[name] = np.asarray(values, dtype=dtype)
    return arrays


def on(backend, arrays, dtype=None):
    """The arrays on a backend."""
    return {name: backend.asarray(array, dtype=dtype or str(array.dtype)) for name, array in arrays.items()}


def dense(network, arrays):
    """What NumPy's einsum makes of the network: the oracle."""
    return np.einsum(network.to_einsum(), *(arrays[name] for name in network.tensors))


def hierarchical_tucker(order, dim=8, rank=8, batch=None):
    """A balanced hierarchical Tucker network of tensors by name, applied to vectors if there is a batch."""
    tensors = {f"U{k}": (("i", k), ("r", 0, k)) for k in range(order)}
    below, height = [("r", 0, k) for k in range(order)], 0
    while len(below) > 1:
        height += 1
        above = [("r", height, k) for k in range(len(below) // 2)]
        for k, label in enumerate(above):
            parent = () if len(above) == 1 else (label,)
            tensors[f"B{height}.{k}"] = (below[2 * k], below[2 * k + 1], *parent)
        below = above
    sizes = {x: dim if x[0] == "i" else rank for labels in tensors.values() for x in labels}
    if batch is None:
        return tensors, sizes, tuple(("i", k) for k in range(order))
    tensors |= {f"x{k}": ("batch", ("i", k)) for k in range(order)}
    return tensors, {**sizes, "batch": batch}, ("batch",)
