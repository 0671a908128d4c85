"""A network of one's own: write it, plan it, run it, and slice it to a memory limit.

The network is a hidden Markov model of eight time steps, summed over all hidden paths. Each hidden state is
an index that up to three tensors share, and all scored sequences share one batch index.
"""

from __future__ import annotations

import itertools

import numpy as np

import tnrank

HIDDEN, STATES, SEQUENCES = "abcdefgh", 5, 200

# Tensor name -> labels. "n" is the sequence: on eight tensors and in the output, so it is a batch index.
tensors = {"start": "a"}
tensors |= {f"emit {x}": "n" + x for x in HIDDEN}
tensors |= {f"step {x}": x + y for x, y in itertools.pairwise(HIDDEN)}
network = tnrank.Network(tensors, output="n")
print(f"{len(network)} tensors, batch indices {network.batch_indices}, hyperindices {network.hyperindices}")

rng = np.random.default_rng(0)
transition = rng.dirichlet(np.ones(STATES), size=STATES)
likelihood = {x: rng.random((SEQUENCES, STATES)) for x in HIDDEN}
arrays = {"start": np.full(STATES, 1 / STATES)}
arrays |= {f"emit {x}": likelihood[x] for x in HIDDEN}
arrays |= {f"step {x}": transition for x in HIDDEN[:-1]}

plan = network.plan(network.sizes(arrays))
print(plan)
scores = plan(arrays)

# The definition: a sum over all 5^8 hidden paths, here for the first sequence.
direct = 0.0
for path in itertools.product(range(STATES), repeat=len(HIDDEN)):
    weight = 1 / STATES
    for x, state in zip(HIDDEN, path, strict=True):
        weight *= likelihood[x][0, state]
    for state, after in itertools.pairwise(path):
        weight *= transition[state, after]
    direct += weight
print(f"\nfirst score {scores[0]:.6e}, by the sum over all paths {direct:.6e}")
assert np.isclose(scores[0], direct, rtol=1e-10)

# No array of more than 300 elements: the batch index is sliced, and the result stays the same.
small = network.plan(network.sizes(arrays), memory_limit=300)
print(f"memory_limit=300: slices {small.slices}, largest intermediate {small.largest_intermediate}")
assert small.largest_intermediate <= 300
assert np.allclose(small(arrays), scores)
