"""What the rank radar costs while a model of ten million parameters trains, and how accurate its records are."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np

import tnrank

_OVERHEAD = 0.03
_DEVIATION = 1e-3
_STEPS = 1000
_EVERY = 50
_CHECKED = (2, 3, 4, 6, 10, 20)
"""Records that are compared with full decompositions, from the third on."""


def run(report: Any) -> None:
    if "torch" not in tnrank.available_backends():
        return
    for optimizer, batch in (("SGD", 64), ("Adam", 128)):
        overhead, deviation, effective = measure(optimizer, batch)
        what = f"{optimizer}, batch {batch}, every {_EVERY}"
        report.limit("radar: share of training time", what, overhead, _OVERHEAD, show=_percent)
        report.limit("radar: error of 32 leading values", what, deviation, _DEVIATION, show="{:.2g}".format)
        report.limit("radar: error of effective ranks", what, effective, 0.1, show=_percent)


def measure(optimizer: str, batch: int, steps: int = _STEPS) -> tuple[float, float, float]:
    """The share of CPU time spent in the radar, and the largest errors of singular values and of effective ranks."""
    import torch

    from tnrank_torch import nn

    torch.manual_seed(0)
    images, labels = tnrank.data.digits()
    inputs = torch.tensor(np.kron(images, np.ones((4, 4))).reshape(len(images), 1024), dtype=torch.float32)
    classes = torch.tensor(labels)
    sides = (1024, 2000, 2000, 2000, 10)
    layers: list[Any] = []
    for k, (a, b) in enumerate(pairwise(sides)):
        layers += [*([torch.nn.ReLU()] if k else []), torch.nn.Linear(a, b)]
    model = torch.nn.Sequential(*layers)
    rates = {"SGD": 0.1, "Adam": 1e-3}
    trained = getattr(torch.optim, optimizer)(model.parameters(), lr=rates[optimizer])
    spent = whole = 0.0
    deviations, effective = [0.0], [0.0]
    radar = nn.RankRadar(model, every=_EVERY)
    for step in range(1, steps + 1):
        began = time.process_time()
        chosen = torch.randint(len(inputs), (batch,))
        trained.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[chosen]), classes[chosen]).backward()
        trained.step()
        stepped = time.process_time()
        radar.step()
        ended = time.process_time()
        spent, whole = spent + ended - stepped, whole + ended - began
        if step % _EVERY == 0 and step // _EVERY in _CHECKED:
            for name, weight in model.named_parameters():
                if weight.ndim == 2:
                    exact = torch.linalg.svdvals(weight.detach()).double().numpy()
                    last = radar.history[name]
                    found = last.singular_values[-1]
                    deviations.append(float(np.abs(found - exact[: len(found)]).max() / exact[0]))
                    true = float(tnrank.ranks.effective_rank_of(exact))
                    effective.append(abs(float(last.effective_rank[-1]) / true - 1))
    return spent / whole, max(deviations), max(effective)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
