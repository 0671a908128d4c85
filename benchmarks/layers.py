"""Factorized layers against dense ones and against tensorly-torch: time and memory of a training step, PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from math import prod
from typing import Any

import tnrank
from benchmarks import _harness

_SMALL = {"mf": 0.2, "btt": 0.4, "tt": 0.5, "tucker": 0.5, "htf": 0.9, "cp": 2.0, "ttm": 2.5}
_LARGE = {"mf": 0.6, "btt": 0.6, "tt": 0.6, "tucker": 0.6, "htf": 0.6, "cp": 0.6, "ttm": None}
_CONV = {"mf": 0.8, "tucker": 0.8, "tt": 0.8, "cp": 0.95, "htf": None}
_PEER = {"cp": 0.8, "ttm": 0.8, "tucker": 0.5}


def run(report: Any) -> None:
    """Forward and backward, float32, one thread."""
    if "torch" not in tnrank.available_backends():
        return
    import torch

    from tnrank_torch import nn

    for size, share, batch, targets in ((1024, 0.05, 64, _SMALL), (4096, 0.01, 256, _LARGE)):
        x = torch.randn(batch, size)
        dense = torch.nn.Linear(size, size)
        for structure, most in targets.items():
            layer = nn.FactorizedLinear(size, size, structure=structure, parameters=share)
            ours, theirs = _times(layer, dense, x, 15 if size == 1024 else 5)
            name = f"{structure}, {size} x {size}, {share:.0%}, batch {batch}"
            report.compare(name, "step, nn.Linear", ours, theirs, at_most=most)
            report.compare(
                name, "bytes of a step, Adam", _memory(layer, x), _memory(dense, x), at_most=1.0, show=_mebibytes
            )
    x = torch.randn(16, 64, 32, 32)
    dense_conv = torch.nn.Conv2d(64, 64, 3, padding=1)
    for structure, most in _CONV.items():
        layer = nn.FactorizedConv2d(64, 64, 3, padding=1, structure=structure, parameters=0.1)
        ours, theirs = _times(layer, dense_conv, x, 9)
        name = f"{structure}, convolution 3 x 3, 64 -> 64, 10 %"
        report.compare(name, "step, nn.Conv2d", ours, theirs, at_most=most)
        report.compare(name, "bytes of a step, Adam", _memory(layer, x), _memory(dense_conv, x), show=_mebibytes)
        layer.recompute = True
        ours, theirs = _times(layer, dense_conv, x, 5)
        report.compare(f"{name}, recomputed", "step, nn.Conv2d", ours, theirs, at_most=most)
        ours, theirs = _memory(layer, x), _memory(dense_conv, x)
        report.compare(f"{name}, recomputed", "bytes of a step, Adam", ours, theirs, at_most=1.0, show=_mebibytes)
    for structure in ("mf", "tt"):
        for share in (0.25, 0.5, 0.9):
            layer = nn.FactorizedConv2d(64, 64, 3, padding=1, structure=structure, parameters=share)
            ours, theirs = _times(layer, dense_conv, x, 5)
            report.compare(f"{structure}, convolution, {share:.0%}", "step, nn.Conv2d", ours, theirs)
    x = torch.randn(256, 1024)
    for recompute in (False, True):
        layer = nn.FactorizedLinear(1024, 1024, structure="cp", parameters=0.05, recompute=recompute)
        name = f"cp, 1024 x 1024, batch 256{', recomputed' if recompute else ''}"
        report.compare(
            name, "bytes of a step, Adam", _memory(layer, x), _memory(torch.nn.Linear(1024, 1024), x), show=_mebibytes
        )
    _peers(report)


def _peers(report: Any) -> None:
    """tensorly-torch, if it is installed: the same structure and parameters."""
    if find_spec("tltorch") is None:
        print("tensorly-torch is not installed: pip install tensorly-torch")
        return
    import tltorch
    import torch

    from tnrank_torch import nn

    kinds = {"cp": "cp", "tucker": "tucker", "ttm": "blocktt"}
    for size, share, batch in ((1024, 0.05, 64), (4096, 0.01, 256)):
        side, x = int(size**0.5), torch.randn(batch, size)
        for structure, most in _PEER.items():
            layer = nn.FactorizedLinear(size, size, structure=structure, parameters=share)
            rank: Any = layer.format.ranks
            rank = rank[0] if structure == "cp" else (1, *rank, 1) if structure == "ttm" else rank
            peer = tltorch.FactorizedLinear((side, side), (side, side), factorization=kinds[structure], rank=rank)
            ours, theirs = _times(layer, peer, x, 9)
            report.compare(f"{structure}, {size} x {size}", "step, tensorly-torch", ours, theirs, at_most=most)


def _times(layer: Any, dense: Any, x: Any, repeat: int) -> tuple[float, float]:
    return _harness.alternate(_step(layer, x), _step(dense, x), repeat)


def _step(layer: Any, x: Any) -> Callable[[], None]:
    import torch

    x = x.clone().requires_grad_()
    cotangent = torch.randn_like(layer(x).detach())

    def step() -> None:
        for parameter in layer.parameters():
            parameter.grad = None
        x.grad = None
        layer(x).backward(cotangent)

    return step


def _memory(layer: Any, x: Any) -> float:
    """Bytes of parameters, gradients, both moments of Adam, and of what is kept for the backward pass."""
    import torch

    owned = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = layer(x.clone().requires_grad_())
    parameters = sum(prod(parameter.shape) * parameter.element_size() for parameter in layer.parameters())
    return float(4 * parameters + sum(kept.values()) + y.numel() * y.element_size())


def _mebibytes(count: float) -> str:
    return f"{count / 2**20:.2f} MiB"
