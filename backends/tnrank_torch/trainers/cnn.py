"""A small convolutional network on images of one channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

Host = np.ndarray[Any, Any]
_ROWS = 1000


class CNN:
    """Convolutions of 3 x 3 with stride 2 and ReLU, the mean over locations, a linear layer; Adam, cross-entropy.

    Args:
        images: ``(M, H, W)`` to train on.
        labels: ``(M,)``, 0 .. C - 1.
        test_images: ``(T, H, W)``.
        test_labels: ``(T,)``.
        channels: of the convolutions.
        batch: images of a step; each epoch in another order.
        learning_rate: of Adam.
        seed: of the initial weights and the orders.
        dtype: of the weights.
    """

    def __init__(
        self,
        images: Host,
        labels: Host,
        test_images: Host,
        test_labels: Host,
        channels: Sequence[int],
        batch: int,
        learning_rate: float,
        seed: int,
        dtype: str,
    ) -> None:
        kind = getattr(torch, dtype)

        def put(pictures: Host, classes: Host) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.as_tensor(np.array(pictures))[:, None].to(kind), torch.as_tensor(np.array(classes, np.int64))

        self.train, self.test = put(images, labels), put(test_images, test_labels)
        self.batch, self.seed, self.done = batch, seed, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after in zip((1, *channels), channels, strict=False):
                layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], int(labels.max()) + 1)]
            self.model = nn.Sequential(*layers).to(kind)
        self.optimizer = torch.optim.Adam(self.model.parameters(), learning_rate)

    def advance(self, steps: int) -> None:
        images, labels = self.train
        for _ in range(steps):
            per_epoch = -(-len(labels) // self.batch)
            epoch, step = divmod(self.done, per_epoch)
            order = np.random.default_rng([self.seed, epoch]).permutation(len(labels))
            rows = torch.as_tensor(order[step * self.batch : (step + 1) * self.batch])
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(images[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            self.optimizer.step()
            self.done += 1

    def measure(self) -> Mapping[str, Any]:
        found = {}
        for name, (images, labels) in (("train", self.train), ("test", self.test)):
            right = 0
            with torch.no_grad():
                for start in range(0, len(labels), _ROWS):
                    rows = slice(start, start + _ROWS)
                    right += int((self.model(images[rows]).argmax(dim=1) == labels[rows]).sum())
            found[f"{name}_accuracy"] = right / len(labels)
        return found

    def state(self) -> Mapping[str, Host]:
        found = {f"model.{name}": value.numpy() for name, value in self.model.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{name}": value.numpy() for name, value in moments.items()}
        return {name: value.copy() for name, value in found.items()} | {"done": np.asarray(self.done)}

    def restore(self, state: Mapping[str, Host]) -> None:
        self.done = int(state["done"])
        names = self.model.state_dict()
        self.model.load_state_dict({name: torch.as_tensor(np.array(state[f"model.{name}"])) for name in names})
        kept: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, number, name = key.split(".")
                kept.setdefault(int(number), {})[name] = torch.as_tensor(np.array(value))
        content = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**content, "state": kept})


def make(**settings: Any) -> CNN:
    """A network with its data; see :class:`CNN`."""
    return CNN(**settings)
