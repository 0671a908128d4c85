"""One factorization on every installed backend: one seed gives the same weights and the same training run."""

from __future__ import annotations

import time

import numpy as np

import tnrank
from tnrank.data import low_rank_tensor, observe

target = low_rank_tensor((8, 8, 8), rank=2, seed=1)
indices, values = observe(target, count=256, seed=0)

weights, ends = {}, {}
for name in tnrank.available_backends():
    began = time.perf_counter()
    x = tnrank.CPFactorization.random((8, 8, 8), rank=16, std=1e-2, seed=0, backend=name, dtype="float32")
    weights[name] = x.backend.to_numpy(x.arrays["A0"])
    result = tnrank.complete(x, indices, values, steps=1000)
    trained = result.factorization
    ends[name] = trained.to("numpy", dtype="float64")
    seconds = time.perf_counter() - began
    kind = type(trained.to_dense())
    print(f"{name:6} loss {result.loss:.3e}, {seconds:4.1f} s in all, a {kind.__module__}.{kind.__name__}")

# Weights are drawn by NumPy on the host, so a seed means the same everywhere.
assert all(np.array_equal(weights["numpy"], w) for w in weights.values())
# Each backend rounds in its own order, so trajectories in single precision agree to a few digits.
for name, x in ends.items():
    apart = float(abs(x.to_dense() - ends["numpy"].to_dense()).max() / abs(target).max())
    print(f"{name:6} end tensor differs from numpy's by {apart:.1e} of the largest entry")
    assert apart < 1e-2

# A factorization moves between backends; what is computed from it does not change.
x = ends["numpy"]
for name in tnrank.available_backends():
    y = x.to(name, dtype="float32")
    print(f"{name:6} multilinear rank at rtol 1e-2: {tnrank.multilinear_rank(y, rtol=1e-2)}")
    assert tnrank.multilinear_rank(y, rtol=1e-2) == (2, 2, 2)
