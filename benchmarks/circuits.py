"""Circuits: a forward and backward pass against plain PyTorch networks, and JAX against PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from benchmarks._harness import Report, alternate

BATCH, CHANNELS, CLASSES = 256, 64, 10


def plain(circuit: Any, relu: bool) -> Any:
    """The same circuit as one writes it with Conv2d and prod, or a ReLU network with max pooling of its shape."""
    import torch
    from torch import nn
    from torch.nn.functional import max_pool2d, pad

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [circuit.features, *(level.channels for level in circuit.levels)]
            pairs = pairwise(sizes)
            self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in pairs)
            self.dense = nn.Linear(sizes[-1], CLASSES, bias=False)

        def forward(self, x: torch.Tensor) -> Any:
            for convolution in self.convolutions:
                x = convolution(x)
                if relu:
                    x = max_pool2d(x.relu(), 2, ceil_mode=True)
                    continue
                if x.shape[2] % 2:
                    x = pad(x, (0, 1, 0, 1), value=1.0)
                x = x.unflatten(3, (-1, 2)).prod(4).unflatten(2, (-1, 2)).prod(3)
            return self.dense(x[:, :, 0, 0])

    return Network()


def step(module: Any, inputs: Any, log: bool = False) -> Callable[[], Any]:
    """One forward and one backward pass."""

    def run() -> None:
        module.zero_grad()
        out = module(inputs, log=True)[1] if log else module(inputs)
        out.square().mean().backward()

    return run


def run(report: Report) -> None:
    """28 x 28 patches, windows of 2 x 2, 64 channels, shared filters, batches of 256, float32; one core."""
    with one_core():
        measure(report)


def measure(report: Report) -> None:
    """Both numbers of features, every pair."""
    import torch

    from tnrank.circuits import Circuit
    from tnrank_torch import nn

    for features in (2, CHANNELS):
        name = f"28 x 28, {features} features, 64 channels, batch 256"
        circuit = Circuit.deep((28, 28), features, CHANNELS, classes=CLASSES, shared=True, ragged=True)
        module = nn.ConvolutionalArithmeticCircuit(circuit, dtype=torch.float32)
        inputs = torch.rand(BATCH, 784, features, generator=torch.Generator().manual_seed(0))
        inputs = inputs / inputs.sum(-1, keepdim=True)
        plane = inputs.mT.reshape(BATCH, features, 28, 28).contiguous()
        arithmetic = plain(circuit, relu=False)
        with torch.no_grad():
            for own, other in zip(arithmetic.parameters(), module.parameters(), strict=True):
                own.copy_(other)
            assert torch.allclose(arithmetic(plane), module(inputs), rtol=1e-4)
        ours = step(module, inputs)
        report.compare(name, "seconds, Conv2d and prod", *alternate(ours, step(arithmetic, plane), 7), at_most=1)
        rectified = plain(circuit, relu=True)
        report.compare(name, "seconds, ReLU network", *alternate(ours, step(rectified, plane), 7), at_most=1.3)
        last = plane.contiguous(memory_format=torch.channels_last)
        report.compare(
            name, "seconds, ReLU network, channels last", *alternate(ours, step(rectified, last), 7), at_most=1.3
        )
        report.compare(name, "seconds in log-space, plain", *alternate(step(module, inputs, True), ours, 7), at_most=2)
        report.compare(name, "seconds on JAX, torch", *alternate(on_jax(circuit, inputs), ours, 7), at_most=1)


@contextmanager
def one_core() -> Iterator[None]:
    """XLA takes all cores whatever its flags say; threads that it starts in here have one."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def on_jax(circuit: Any, inputs: Any) -> Callable[[], Any]:
    """The same step, jitted."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from tnrank_jax import nn

    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype="float32")
    x = jnp.asarray(inputs.numpy())

    @eqx.filter_jit
    def both(module: Any, x: Any) -> Any:
        return eqx.filter_value_and_grad(lambda m: (m(x) ** 2).mean())(module)

    return lambda: jax.block_until_ready(both(module, x))
