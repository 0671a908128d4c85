"""What all trainers of the PyTorch backend share: orders of minibatches, state, restoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pytest

import tnrank

torch = pytest.importorskip("torch")
from tnrank_torch.trainers._minibatches import MinibatchTrainer, as_images, drawn, outputs  # noqa: E402  # needs torch


class Line(MinibatchTrainer):
    """Least squares with a batch normalization, whose buffers are part of the state; it keeps the rows it saw."""

    def __init__(self, optimizer: Callable[[Any], Any], batch: int = 7, seed: int = 0) -> None:
        generator = np.random.default_rng(0)
        x, y = (torch.as_tensor(generator.standard_normal(shape)) for shape in ((20, 3), (20, 1)))
        model = drawn(lambda: torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.BatchNorm1d(1)), seed, "float64")
        self.seen: list[list[int]] = []
        super().__init__(model, optimizer(model.parameters()), (x, y, torch.arange(20)), batch, seed)

    def loss(self, *rows: Any) -> Any:
        x, y, numbers = rows
        self.seen.append(numbers.tolist())
        return ((self.model(x) - y) ** 2).mean()

    def measure(self) -> Mapping[str, Any]:
        return {}


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, 1e-2),
    "amsgrad": lambda p: torch.optim.AdamW(p, 1e-2, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, 1e-2),
    "momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.5, centered=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("at", [0, 1, 4])
def test_it_goes_on_bit_for_bit(name: str, at: int) -> None:
    whole, first, second = (Line(OPTIMIZERS[name], seed=0) for _ in range(3))
    whole.advance(9)
    first.advance(at)
    state = first.state()
    first.advance(2)  # the state is a copy
    second.advance(3)  # what is restored replaces all that was there
    second.restore(state)
    second.advance(9 - at)
    ours, theirs = second.state(), whole.state()
    assert set(ours) == set(theirs)
    assert {"model.1.running_mean", "done"} < set(ours)
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)
        assert ours[key].dtype == value.dtype


def test_an_epoch_visits_each_sample_once_in_an_order_of_its_own() -> None:
    trainer, other = Line(OPTIMIZERS["sgd"]), Line(OPTIMIZERS["sgd"], seed=1)
    trainer.advance(6)
    other.advance(3)
    assert [len(rows) for rows in trainer.seen] == [7, 7, 6] * 2
    first, second = (list(chain(*trainer.seen[start : start + 3])) for start in (0, 3))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert list(chain(*other.seen)) != first


def test_state_that_is_no_tensor_is_refused() -> None:
    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch overloads it
            super().step(closure)
            for group in self.param_groups:
                for weight in group["params"]:
                    self.state[weight]["count"] = 1

    trainer = Line(lambda p: Counting(p, 1e-2))
    trainer.advance(1)
    with pytest.raises(TypeError, match=r"Counting holds optimizer\.0\.count"):
        trainer.state()


def test_private_modules_are_no_trainers() -> None:
    with pytest.raises(ValueError, match=r"no trainer '_minibatches'; it has .*cnn") as raised:
        tnrank.get_backend("torch").trainer("_minibatches")
    assert "_classifier" not in str(raised.value)


def test_images_and_outputs() -> None:
    pictures = np.random.default_rng(0).random((5, 2, 3, 4))
    assert np.array_equal(as_images(pictures, "float64").numpy(), pictures.transpose(0, 3, 1, 2))
    assert as_images(pictures[..., 0], "float32").shape == (5, 1, 2, 3)
    many = torch.arange(2500.0)[:, None]
    assert torch.equal(outputs(lambda x: 2 * x, many), 2 * many)
