"""The hierarchical ranks of a circuit with 8^64 entries, from a few thousand of its values."""

from __future__ import annotations

import numpy as np

import tnrank
from tnrank.factorizations import cross_approximation

# A circuit of width 4 over an 8 x 8 grid of patches, eight templates each. All that is used of it is its output.
circuit = tnrank.HierarchicalFactorization.random((8,) * 64, width=4, std=0.5, seed=0)
found = cross_approximation(circuit.entries, circuit.shape)
print(found)
ranks = tnrank.hierarchical_rank(found.tensor)
print(f"ranks of {len(ranks)} matricizations: {sorted(set(ranks.values()))}; entries of the tensor: 8^64")
assert dict(ranks) == dict(tnrank.hierarchical_rank(circuit))
assert found.error < 1e-10

# A smooth function has no exact rank: the tolerance decides, and each digit costs a little.
print("1 / (1 + i_1 + .. + i_12), 10 values of each index")
for rtol in (1e-2, 1e-4, 1e-6):
    smooth = cross_approximation(lambda index: 1 / (1 + index.sum(axis=1)), (10,) * 12, rtol=rtol)
    print(f"  rtol {rtol:.0e}: {smooth}")
    assert smooth.error <= rtol

# The budget is kept; what came out until then is returned, with its error.
short = cross_approximation(lambda index: np.exp(-0.1 * index.sum(axis=1) ** 0.5), (10,) * 12, rtol=1e-12, budget=4000)
print(f"budget of 4,000: {short}")
assert short.evaluations <= 4000
assert short.status == "budget"
