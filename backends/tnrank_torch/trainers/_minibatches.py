"""What trainers share: a module and its optimizer, stepped on minibatches, saved and restored bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

Host = np.ndarray[Any, Any]
_ROWS = 1000


class MinibatchTrainer(ABC):
    """A model with its training data and optimizer; a subclass says what the loss is and what is measured.

    Each epoch visits the samples in another order, which depends on the seed and the number of the epoch alone. So the
    state is the weights, the optimizer's moments and the number of steps. The optimizer's settings are those that it
    was made with, and the model must not draw random numbers while it is trained.

    Args:
        model: in training mode; weights and buffers are saved by their names.
        optimizer: of the model's parameters, any of ``torch.optim`` whose state is made of tensors.
        data: arrays with one row per sample; :meth:`loss` gets the same rows of each.
        batch: rows of a step; the last step of an epoch takes what is left.
        seed: of the orders.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, data: Sequence[torch.Tensor], batch: int, seed: int
    ) -> None:
        self.model, self.optimizer, self.data = model, optimizer, tuple(data)
        self.batch, self.seed, self.done = batch, seed, 0
        self._order: tuple[tuple[int, int], torch.Tensor] | None = None

    @abstractmethod
    def loss(self, *rows: torch.Tensor) -> torch.Tensor:
        """The loss of one minibatch, a scalar; ``rows`` are the same rows of each array of ``data``."""

    @abstractmethod
    def measure(self) -> Mapping[str, Any]:
        """Quantity -> number or array, of the model as it is."""

    def advance(self, steps: int) -> None:
        """Do so many updates."""
        for _ in range(steps):
            rows = self._rows()
            self.optimizer.zero_grad()
            loss = self.loss(*(array[rows] for array in self.data))
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            self.optimizer.step()
            self.done += 1

    def state(self) -> Mapping[str, Host]:
        """Weights, buffers, the optimizer's moments and the number of steps, copied to the host."""
        arrays = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            # Stochastic gradient descent without momentum stores None.
            kept = {name: value for name, value in moments.items() if value is not None}
            arrays |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
        for name, value in arrays.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"the state of {type(self.optimizer).__name__} holds {name}, which is no tensor")
        on_host = {name: value.detach().cpu().numpy().copy() for name, value in arrays.items()}
        return on_host | {"done": np.asarray(self.done)}

    def restore(self, state: Mapping[str, Host]) -> None:
        """Be what ``state`` was taken of."""
        self.done = int(state["done"])
        names = self.model.state_dict()
        self.model.load_state_dict({name: torch.as_tensor(np.array(state[f"model.{name}"])) for name in names})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, number, name = key.split(".")
                moments.setdefault(int(number), {})[name] = torch.as_tensor(np.array(value))
        settings = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**settings, "state": moments})

    def _rows(self) -> torch.Tensor:
        count = len(self.data[0])
        epoch, step = divmod(self.done, -(-count // self.batch))
        if self._order is None or self._order[0] != (self.seed, epoch):
            order = np.random.default_rng([self.seed, epoch]).permutation(count)
            self._order = (self.seed, epoch), torch.as_tensor(order)
        return self._order[1][step * self.batch : (step + 1) * self.batch]


def drawn(build: Callable[[], nn.Module], seed: int, dtype: str) -> nn.Module:
    """The module that ``build`` makes, its initial weights drawn by ``seed``; torch's own generator stays as it was.

    Args:
        build: makes the module.
        seed: of the initial weights.
        dtype: to which they are converted after they were drawn in float32.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(getattr(torch, dtype))


def as_images(pictures: Host, dtype: str) -> torch.Tensor:
    """``(M, H, W)``, which get one channel, or ``(M, H, W, C)`` as ``(M, C, H, W)``."""
    array = np.asarray(pictures)
    array = array[:, None] if array.ndim == 3 else np.moveaxis(array, -1, 1)
    return torch.as_tensor(np.array(array, order="C")).to(getattr(torch, dtype))


def as_labels(classes: Host) -> torch.Tensor:
    """``(M,)`` whole numbers as torch wants them for cross-entropy."""
    return torch.as_tensor(np.array(classes, np.int64))


def outputs(model: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """What a model gives for many inputs, a thousand at a time and without gradients; its mode is not changed."""
    with torch.no_grad():
        return torch.cat([model(inputs[start : start + _ROWS]) for start in range(0, len(inputs), _ROWS)])
