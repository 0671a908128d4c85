"""Hierarchical ranks of a tensor with 1024 modes, read off the format: it has 6^1024 entries and is never formed."""

from __future__ import annotations

import time

import numpy as np

import tnrank

x = tnrank.HierarchicalTucker.random((6,) * 1024, rank=4, std=0.4, seed=0)
print(
    f"{x.parameter_count:,} numbers stand for 6^1024 entries; log10 of the norm: {float(x.log_norm()) / np.log(10):.1f}"
)

began = time.perf_counter()
ranks = tnrank.hierarchical_rank(x)
print(f"ranks of {len(ranks)} matricizations in {time.perf_counter() - began:.2f} s: {sorted(set(ranks.values()))}")
assert set(ranks.values()) == {4}

# The sum of a tensor with itself has twice the ranks on paper, and the same ones in fact.
double = x + x
print(f"x + x is stored with ranks up to {max(double.ranks.values())}")
cut = double.truncate()
print(
    f"truncated to {max(cut.tensor.ranks.values())}; what was dropped is rounding: {cut.relative_error_bound < 1e-13}"
)
assert max(cut.tensor.ranks.values()) == 4
assert cut.relative_error_bound < 1e-13
assert np.isclose(float(cut.tensor.log_norm()), float(x.log_norm()) + np.log(2))

# Another bipartition of the same modes needs another tree: on the linear one a CP tensor keeps its rank everywhere.
rng = np.random.default_rng(0)
cp = tnrank.CPFactorization([rng.standard_normal((6, 3)) for _ in range(256)])
linear = tnrank.hierarchical_rank(cp, tree=tnrank.DimensionTree.linear(256))
print(f"a CP tensor of order 256 with 3 components, on the tensor train's tree: {sorted(set(linear.values()))}")
