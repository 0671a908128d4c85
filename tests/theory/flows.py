"""Gradient flow by automatic differentiation, and networks to try it on."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

import tnrank

TREES = {
    "binary 4": ((0, 1), (2, 3)),
    "ragged 5": (((0, 1), 2), (3, (4,))),
    "ternary 9": ((0, 1, 2), (3, 4, 5), (6, 7, 8)),
    "unary chain 2": ((((0,),),), 1),
    "quaternary 5": ((0, 1, 2, 3), 4),
    "mixed order of modes 6": (((2, 0), (5,)), (1, 4, 3)),
    "binary 8": (((0, 1), (2, 3)), ((4, 5), (6, 7))),
}


def hierarchy(tree, dim=2, width=3, seed=0, classes=1):
    tree = tnrank.DimensionTree(tree)
    return tnrank.HierarchicalFactorization.random(
        (dim,) * tree.order, tree=tree, width=width, seed=seed, classes=classes
    )


def factorizations():
    found = {
        f"cp {n}": tnrank.CPFactorization.random((2 if n > 5 else 3,) * n, rank=4, seed=n) for n in (2, 3, 4, 6, 7, 9)
    }
    found |= {
        "weighted cp": tnrank.CPFactorization.random((3, 2, 4), rank=5, weighted=True, seed=1),
        "matrix": tnrank.MatrixFactorization.random((4, 3), depth=4, seed=2),
        "tucker": tnrank.Tucker.from_dense(np.random.default_rng(3).standard_normal((3, 4, 2)), max_rank=2),
        "tt": tnrank.TensorTrain.from_dense(np.random.default_rng(4).standard_normal((3, 2, 4, 2)), max_rank=2),
        "operator": tnrank.TensorTrainOperator.random((3, 2), (2, 4), rank=2, seed=6),
        "ht": tnrank.HierarchicalTucker.from_dense(np.random.default_rng(5).standard_normal((3, 2, 2, 3)), max_rank=2),
        "classes": hierarchy(TREES["binary 4"], classes=3),
    }
    return found | {name: hierarchy(tree) for name, tree in TREES.items()}


@st.composite
def networks_with_index(draw):
    """A random network with bonds, hyperindices and open indices, its arrays, and one of its indices."""
    pool = "abcdef"[: draw(st.integers(2, 6))]
    tensors = {}
    for k in range(draw(st.integers(2, 5))):
        tensors[f"T{k}"] = tuple(draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4, unique=True)))
    used = sorted({x for labels in tensors.values() for x in labels})
    index = draw(st.sampled_from(used))
    output = [x for x in used if x != index and draw(st.booleans())]
    sizes = {x: draw(st.integers(1, 3)) for x in used}
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = {name: generator.standard_normal([sizes[x] for x in labels]) for name, labels in tensors.items()}
    return tnrank.Network(tensors, output), arrays, index


def balance(network, arrays, index):
    """The same with slices of equal norms at ``index``."""
    holders = network.holders(index)
    norms = {name: norms_of(network, {name: torch.tensor(arrays[name])}, name, index).numpy() for name in holders}
    mean = np.prod(list(norms.values()), axis=0) ** (1 / len(holders))
    found = dict(arrays)
    for name in holders:
        labels = network.tensors[name]
        shape = [-1 if x == index else 1 for x in labels]
        found[name] = arrays[name] * (mean / norms[name]).reshape(shape)
    return found


def norms_of(network, arrays, name, index):
    rows = torch.movedim(arrays[name], network.tensors[name].index(index), 0)
    return torch.sqrt((rows.reshape(rows.shape[0], -1) ** 2).sum(1))


def component_norms(network, arrays, index):
    found = 1.0
    for name in network.holders(index):
        found = found * norms_of(network, arrays, name, index)
    return found


class Flow:
    """Gradient flow of half the squared distance to a random target, or of minus that, at one point."""

    def __init__(self, network, arrays, seed=0, sign=1):
        self.network = network
        self.arrays = {name: torch.tensor(np.array(a), dtype=torch.float64) for name, a in arrays.items()}
        names = list(self.arrays)
        target = torch.tensor(np.random.default_rng(seed).standard_normal(tuple(self.end(self.arrays).shape)))

        def loss(*values):
            return 0.5 * sign * ((self.end(dict(zip(names, values, strict=True))) - target) ** 2).sum()

        self.gradient = np.asarray(sign * (self.end(self.arrays) - target).numpy())
        moves = torch.func.grad(loss, argnums=tuple(range(len(names))))(*self.arrays.values())
        self.velocity = {name: -g for name, g in zip(names, moves, strict=True)}

    def end(self, arrays):
        return torch.einsum(self.network.to_einsum(), *[arrays[name] for name in self.network.tensors])

    def derivative(self, fn):
        """d/dt of ``fn(arrays)`` along the flow."""
        value = fn(self.arrays)
        jacobian = torch.func.jacrev(fn)(self.arrays)
        rate = torch.zeros_like(value)
        for name, velocity in self.velocity.items():
            rate = rate + torch.tensordot(jacobian[name], velocity, dims=velocity.ndim)
        return value.numpy(), rate.numpy()


def close(got, wanted, relative):
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    scale = max(abs(wanted).max(initial=0), 1e-30)
    assert abs(got - wanted).max(initial=0) <= relative * scale, (got, wanted)
