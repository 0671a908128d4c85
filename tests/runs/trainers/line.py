"""A network of one layer in PyTorch, trained on batches drawn from a generator of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


class Line:
    def __init__(self, seed: int, rate: float) -> None:
        generator = np.random.default_rng(seed)
        x = generator.standard_normal((200, 3))
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(x @ [[1.0], [-2.0], [0.5]])
        self.layer = torch.nn.Linear(3, 1, dtype=torch.float64)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=rate, momentum=0.9)
        self.seed, self.done = seed, 0

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            # What a batch is follows from the number of the step, so that the place in the data is one number.
            rows = np.random.default_rng((self.seed, self.done)).integers(0, len(self.x), 20)
            self.optimizer.zero_grad()
            loss = ((self.layer(self.x[rows]) - self.y[rows]) ** 2).mean()
            loss.backward()
            self.optimizer.step()
            self.done += 1

    def measure(self) -> Mapping[str, Any]:
        with torch.no_grad():
            return {"loss": ((self.layer(self.x) - self.y) ** 2).mean().item(), "weight": self.layer.weight[0].numpy()}

    def state(self) -> Mapping[str, np.ndarray]:
        moments = [self.optimizer.state[p].get("momentum_buffer") for p in self.layer.parameters()]
        found = {f"moment {k}": m.numpy().copy() for k, m in enumerate(moments) if m is not None}
        found |= {name: p.numpy().copy() for name, p in self.layer.state_dict().items()}
        return found | {"done": np.asarray(self.done)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.done = int(state["done"])
        for k, (name, p) in enumerate(self.layer.named_parameters()):
            p.data = torch.from_numpy(state[name].copy())
            if f"moment {k}" in state:
                self.optimizer.state[p]["momentum_buffer"] = torch.from_numpy(state[f"moment {k}"].copy())


def make(seed: int, rate: float = 0.02) -> Line:
    return Line(seed, rate)
