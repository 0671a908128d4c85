"""Handwritten digits by a deep convolutional arithmetic circuit, on PyTorch and on JAX, read as one tensor."""

from __future__ import annotations

import numpy as np
import torch

import tnrank
from tnrank.circuits import Circuit, Gaussian

EPOCHS, BATCH, RATE = 60, 64, 3e-3

images, labels = tnrank.data.digits()
order = np.random.default_rng(0).permutation(len(images))
patches = images[order].reshape(-1, 64, 1).astype(np.float32)
labels = labels[order]
train, test = slice(0, 1437), slice(1437, None)

# 8 x 8 patches of one pixel, four Gaussian templates a pixel, three levels of 2 x 2 windows, ten classes.
circuit = Circuit.deep((8, 8), channels=32, classes=10, representation=Gaussian(4))
print(circuit)


def batches():
    """The same batches for both frameworks."""
    generator = np.random.default_rng(1)
    for _ in range(EPOCHS):
        shuffled = generator.permutation(train.stop)
        for start in range(0, train.stop, BATCH):
            yield shuffled[start : start + BATCH]


def on_torch():
    from tnrank_torch import nn

    module = nn.ConvolutionalArithmeticCircuit(circuit, seed=0, dtype="float32")
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    inputs, targets = torch.as_tensor(patches), torch.as_tensor(labels)
    for chosen in batches():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        return module(inputs[test]).argmax(1).numpy(), module.value()


def on_jax():
    import equinox as eqx
    import jax.numpy as jnp
    import optax

    from tnrank_jax import nn

    module = nn.ConvolutionalArithmeticCircuit(circuit, seed=0, dtype="float32")
    optimizer = optax.adam(RATE)
    state = optimizer.init(eqx.filter(module, eqx.is_array))

    @eqx.filter_jit
    def step(module, state, inputs, targets):
        def loss(module):
            return optax.softmax_cross_entropy_with_integer_labels(module(inputs), targets).mean()

        updates, state = optimizer.update(eqx.filter_grad(loss)(module), state)
        return eqx.apply_updates(module, updates), state

    for chosen in batches():
        module, state = step(module, state, jnp.asarray(patches[chosen]), jnp.asarray(labels[chosen]))
    return np.asarray(module(jnp.asarray(patches[test])).argmax(1)), module.value()


for framework, train_it in (("torch", on_torch), ("jax", on_jax)):
    found, x = train_it()
    accuracy = float((found == labels[test]).mean())
    print(f"\n{framework}: {100 * accuracy:.1f} % of {len(found)} test images")
    # The network is one tensor with 4^64 x 10 entries; the ranks of its matricizations need none of them.
    print("effective rank (rank at rtol 1e-2, of 32) of the tensor between a window of the image and all the rest:")
    values = tnrank.hierarchical_singular_values(x.to("numpy"))
    for level, (rows, _) in list(zip(circuit.nodes, circuit.grids, strict=True))[1:-1]:
        for start in range(0, len(level), rows):
            cells = [values[node] for node in level[start : start + rows]]
            ranks = [(tnrank.ranks.effective_rank_of(s), tnrank.ranks.numerical_rank_of(s, rtol=1e-2)) for s in cells]
            print("  " + "".join(f"{float(effective):7.1f} ({int(rank):2})" for effective, rank in ranks))
        print()
    assert accuracy > 0.95
