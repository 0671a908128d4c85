"""Steps of ``fit`` on images of 784 binary pixels, against layers and against code written for that one case."""

from __future__ import annotations

import time
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import tnrank
from benchmarks import _harness
from tnrank import DimensionTree, experiments
from tnrank.training import Adam

_ORDER, _BATCH, _STEPS, _ROUNDS = 784, 500, 30, 5
_OVER_LAYER, _OVER_HAND = 1 / 20, 1.5
_IMAGES, _EPOCHS, _CLASSES, _MOST_SECONDS = 12_000, 40, 10, 30.0
_QUICK_SECONDS = 60.0


def run(report: Any) -> None:
    """One model, float32, torch, one thread; times of a step with Adam."""
    if "torch" not in tnrank.available_backends():
        return
    import torch

    from tnrank_torch import nn

    report.limit("rank-1 CP, three data sets", "10 classes, CPU time", _whole_runs(), _MOST_SECONDS)
    began = time.process_time()
    with TemporaryDirectory() as folder:
        experiments.run(experiments.make_recipe("natural-rank", backend="torch"), folder, figure=False)
    report.limit("natural-rank, quick", "CPU time", time.process_time() - began, _QUICK_SECONDS)
    states = np.random.default_rng(0).integers(0, 2, (_BATCH, _ORDER)).astype(np.uint8)
    targets = np.random.default_rng(1).random(_BATCH).astype(np.float32)
    places = torch.as_tensor(states.astype(np.int64))
    for width in (1, 5, 15):
        cp = tnrank.CPFactorization.random((2,) * _ORDER, width, init="mean_one", std=1e-3, backend="torch")
        layer = nn.Factorization(cp)
        optimizer = torch.optim.Adam(layer.parameters(), 5e-4)

        def of_layer(layer: Any = layer, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            ((layer.value().entries(places) - torch.as_tensor(targets)) ** 2).mean().backward()
            optimizer.step()

        ours, theirs = _times(cp, states, targets), _harness.seconds_of(of_layer, 3)
        what = f"R = {width}, nn.Factorization"
        report.compare("step of a CP factorization", what, ours, theirs, at_most=_OVER_LAYER)
        tree = DimensionTree.quad(28, 28)
        htf = tnrank.HierarchicalFactorization.random(
            (2,) * _ORDER, tree, width, init="mean_one", std=1e-3, backend="torch"
        )
        by_hand = QuadTree(width)
        code = by_hand.codes(places)
        optimizer = torch.optim.Adam(by_hand.weights, 5e-4)

        def of_hand(by_hand: Any = by_hand, optimizer: Any = optimizer, code: Any = code) -> None:
            optimizer.zero_grad()
            ((by_hand(code) - torch.as_tensor(targets)) ** 2).mean().backward()
            optimizer.step()

        ours, theirs = _times(htf, states, targets), _harness.seconds_of(of_hand, 9)
        what = f"width {width}, tables by hand"
        report.compare("step of a hierarchical factorization", what, ours, theirs, at_most=_OVER_HAND)


def _whole_runs() -> float:
    """Processor time of ten classes at once on 12,000 images of 784 binary pixels, three times, as for the images of
    MNIST and both twins; what the pixels are does not matter to it."""
    states = np.random.default_rng(0).integers(0, 2, (_IMAGES, _ORDER)).astype(np.uint8)
    labels = np.arange(_IMAGES) % _CLASSES
    targets = 2.0 * (labels == np.arange(_CLASSES)[:, None])
    starts = [
        tnrank.CPFactorization.random((2,) * _ORDER, 1, init="mean_one", std=1e-3, seed=k, backend="torch")
        for k in range(_CLASSES)
    ]
    began = time.process_time()
    for _ in range(3):
        tnrank.fit(starts, states, targets, optimizer=Adam(5e-4), epochs=_EPOCHS, batch=_BATCH)
    return time.process_time() - began


def _times(x: Any, states: Any, targets: Any) -> float:
    """The median of a step, from runs that differ in their number of steps."""

    def seconds(steps: int) -> float:
        return _harness.seconds_of(
            lambda: tnrank.fit(x, states, targets, optimizer=Adam(5e-4), epochs=steps, batch=_BATCH), _ROUNDS
        )

    return (seconds(_STEPS + 5) - seconds(5)) / _STEPS


class QuadTree:
    """A quad tree over 28 x 28 pixels by hand: 16 patterns a window of 2 x 2, then products of 2 x 2 neighbors."""

    def __init__(self, width: int) -> None:
        import torch

        sides, self.width = [14, 7, 4, 2, 1], width
        shapes = [(14 * 14, 4, 2, width)]
        shapes += [(s * s, width, width if s > 1 else 1) for s in sides]
        self.weights = [(torch.ones(s) / s[-2] + 1e-3 * torch.randn(s)).requires_grad_() for s in shapes]
        self.sides = sides

    def codes(self, states: Any) -> Any:
        """Patterns of the windows, ``(196, B)``."""
        import torch

        windows = states.reshape(-1, 14, 2, 14, 2).permute(1, 3, 0, 2, 4).reshape(196, -1, 4)
        return (windows * torch.tensor([8, 4, 2, 1])).sum(-1) + 16 * torch.arange(196)[:, None]

    def __call__(self, code: Any) -> Any:
        import torch

        leaves, *inner = self.weights
        table = torch.einsum("gaw,gbw,gcw,gdw->gabcdw", *leaves.unbind(1)).reshape(196, 16, self.width)
        x = (table @ inner[0]).reshape(196 * 16, -1)[code]
        side = 14
        for weight, after in zip(inner[1:], self.sides[1:], strict=True):
            grid = x.reshape(side, side, *x.shape[1:])
            if side % 2 and after * 2 > side:
                grid = torch.cat([grid, torch.ones_like(grid[:1])], 0)
                grid = torch.cat([grid, torch.ones_like(grid[:, :1])], 1)
            grid = grid.reshape(after, 2, after, 2, *grid.shape[2:])
            x = (grid[:, 0, :, 0] * grid[:, 0, :, 1] * grid[:, 1, :, 0] * grid[:, 1, :, 1]).flatten(0, 1) @ weight
            side = after
        return x[0, :, 0]
