"""The rank radar of a module: ``radar.step()`` beside ``optimizer.step()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn

from tnrank import radar
from tnrank_torch.nn._weights import check_module, weights_before, weights_of


class RankRadar(radar.RankRadar):
    """Record leading singular values, effective and stable ranks of a module's weights while it trains.

    Call :meth:`step` after each step of the optimizer, or let :meth:`attach` do so. Every ``every`` steps the weights
    are measured by a few products with thin matrices, starting from the singular vectors of the record before: about
    2 % of the time of training at batches of 64 to 128. The module is recorded once when the radar is made, too, as
    step 0. As a context manager the radar records the last step on leaving, and detaches itself.

    Args:
        model: the module. Parameters with two axes or more are recorded by name, factorized layers (with a method
            ``dense_weight()``) by their rebuilt weight.
        every: steps between records.
        leading: how many singular values of each weight.
        changes: record ``W - W0`` as well, which costs as much again and a copy of the weights.
        initial: the module or its state dict to take ``W0`` from, if it is not the present one.
        accuracy: estimated error of the singular values, as a share of the largest, at which a record is done.
        log_to: something with ``add_scalar(name, value, step)`` (TensorBoard's ``SummaryWriter``) or
            ``log(values, step=step)`` (a run of Weights & Biases, Trackio), which is told the ranks of every record.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the module has no weights, a layer is quantized, or a number is out of range.

    Source: as :class:`tnrank.radar.RankRadar`.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> radar = nn.RankRadar(model, every=10, leading=5)
        >>> for _ in range(30):
        ...     loss = model(torch.randn(16, 20)).square().mean()
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     radar.step()
        >>> radar.history["0.weight"].steps.tolist()
        [0, 10, 20, 30]
    """

    def __init__(
        self,
        model: nn.Module,
        every: int = 50,
        leading: int = 32,
        *,
        changes: bool = False,
        initial: nn.Module | Mapping[str, Any] | None = None,
        accuracy: float = 1e-3,
        log_to: Any = None,
    ) -> None:
        super().__init__(leading, changes=changes, initial=weights_before(initial), accuracy=accuracy, log_to=log_to)
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every is the number of steps between records, a whole number from 1 on, got {every!r}")
        self.every = every
        self._model = check_module(model)
        self._count = 0
        self._handles: list[Any] = []
        self.record_now()

    def step(self) -> None:
        """Count a step of the optimizer, and record if one is due."""
        self._count += 1
        if self._count % self.every == 0:
            self.record_now()

    def record_now(self) -> None:
        """Record the present weights, whether that is due or not; nothing if they were recorded after this step."""
        if self._count > self.last_step:
            self.record(self._count, weights_of(self._model))

    def attach(self, optimizer: torch.optim.Optimizer) -> Self:
        """Have every step of the optimizer count, without a call of :meth:`step`.

        Args:
            optimizer: of PyTorch; one radar can be attached to one optimizer at a time.

        Raises:
            TypeError: if it is none.
        """
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer is one of torch.optim, got a {type(optimizer).__qualname__}: call radar.step()")
        self.detach()
        self._handles = [optimizer.register_step_post_hook(lambda *_: self.step())]
        return self

    def detach(self) -> None:
        """Undo :meth:`attach`."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def state_dict(self) -> dict[str, Any]:
        """Everything as one flat dictionary of tensors, which ``torch.load(.., weights_only=True)`` reads."""
        state = {key: torch.from_numpy(value) for key, value in super().state_dict().items()}
        return state | {"count": torch.tensor(self._count)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; what was recorded so far is replaced.

        Args:
            state: the dictionary.

        Raises:
            ValueError: if it is another dictionary, of another number of singular values, or of another model.
        """
        if not isinstance(state, Mapping) or "count" not in state:
            raise ValueError("state is what radar.state_dict() gave, with an entry 'count'")
        count = int(state["count"])
        super().load_state_dict({key: value for key, value in state.items() if key != "count"})
        self._count = count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.detach()
        if kind is None:
            self.record_now()
