"""A google/TensorNetwork graph with a copy node, contracted without ever building the copy tensor.

A CP decomposition of order 4 and rank 1000 as a graph: four factor nodes meet in one copy node. That node
stands for a diagonal tensor of 1000^4 elements, 8 TB in float64. Read by tnrank it is one hyperindex.
"""

from __future__ import annotations

import numpy as np
import tensornetwork as tn

import tnrank

DIM, RANK = 10, 1000
rng = np.random.default_rng(0)
factors = [rng.standard_normal((DIM, RANK)) for _ in range(4)]

nodes = [
    tn.Node(factor, name=name, axis_names=[mode, "r"])
    for factor, name, mode in zip(factors, "ABCD", "ijkl", strict=True)
]
copy = tn.CopyNode(rank=4, dimension=RANK, name="sum over r")
for k, node in enumerate(nodes):
    tn.connect(node["r"], copy[k], name="r")

network, arrays = tnrank.Network.from_nodes([*nodes, copy], output=["i", "j", "k", "l"])
print(network)
print(f"hyperindices: {network.hyperindices}")
assert len(network.hyperindices) == 1

plan = network.plan(network.sizes(arrays))
print(plan)

tensor = plan(arrays)
expected = np.einsum("ir,jr,kr,lr->ijkl", *factors, optimize=True)
print(f"largest difference from numpy.einsum: {abs(tensor - expected).max():.1e}")
assert np.allclose(tensor, expected)
# 10^4 entries in the result, two Khatri-Rao products of 10^5 on the way: nothing near 1000^4.
assert plan.largest_intermediate <= DIM**2 * RANK

# And back, for a program that goes on with tensornetwork: the hyperindex is a copy node again.
again = network.to_nodes(arrays)
print(f"back as nodes: {', '.join(f'{type(node).__name__} {node.name}' for node in again)}")
assert isinstance(again[-1], tn.CopyNode)

# The nodes that were given are untouched.
assert nodes[0]["r"].get_nodes() == [nodes[0], copy]
