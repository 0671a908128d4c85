"""``GroupRMSProp`` of PyTorch takes the steps of the library's own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tnrank

torch = pytest.importorskip("torch")
from tnrank_torch import nn  # noqa: E402  # needs torch


def quadratic(layer: Any, target: Any) -> Any:
    return ((layer.weight - target) ** 2).mean()


def test_its_steps_are_those_of_completion() -> None:
    """Of a deep matrix factorization with all entries observed."""
    x = tnrank.MatrixFactorization.random((4, 5), depth=3, std=0.4, seed=0, backend="torch", dtype="float64")
    target = np.random.default_rng(0).standard_normal((4, 5))
    optimizer = tnrank.GroupRMSProp(3e-2, decay=0.9)
    indices = np.argwhere(np.ones((4, 5)))
    theirs = tnrank.complete(x, indices, target.ravel(), optimizer=optimizer, steps=25).factorization
    layer = nn.FactorizedLinear.from_factorization(x)
    ours = nn.GroupRMSProp(layer.parameters(), lr=3e-2, decay=0.9)
    for _ in range(25):
        ours.zero_grad()
        quadratic(layer, torch.as_tensor(target)).backward()
        ours.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), theirs.to_dense().numpy(), rtol=1e-10)


def test_groups_have_rates_of_their_own_and_a_closure_is_called() -> None:
    x, y, idle = (torch.nn.Parameter(torch.tensor(values)) for values in ([3.0, 4.0], [10.0], [1.0]))
    optimizer = nn.GroupRMSProp([{"params": [x]}, {"params": [y, idle], "lr": 2.0}], lr=0.5)

    def closure() -> Any:
        loss = (x**2).sum() + (y**2).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 125
    # The first step has the length of the rate, whatever the gradient.
    np.testing.assert_allclose(x.detach(), [2.7, 3.6], rtol=1e-5)
    np.testing.assert_allclose(y.detach(), [8.0], rtol=1e-5)
    assert float(idle.detach()) == 1


def test_it_goes_on_from_its_state_and_after_pruning() -> None:
    torch.manual_seed(0)
    layer = nn.FactorizedLinear(6, 5, bias=False, rank=4, dtype=torch.float64)
    with torch.no_grad():
        layer.arrays[next(iter(layer.arrays))][:, 2:] = 0  # so that pruning to 2 changes nothing
    target = torch.ones(5, 6, dtype=torch.float64)

    def advance(layer: Any, optimizer: Any) -> None:
        optimizer.zero_grad()
        quadratic(layer, target).backward()
        optimizer.step()

    optimizer = nn.GroupRMSProp(layer.parameters())
    advance(layer, optimizer)
    twin = copy.deepcopy(layer)
    of_twin = nn.GroupRMSProp(twin.parameters())
    of_twin.load_state_dict(optimizer.state_dict())
    advance(layer, optimizer)
    advance(twin, of_twin)
    assert torch.equal(layer.weight, twin.weight)
    before = float(optimizer.state[next(layer.parameters())]["remaining"])
    layer.prune(keep=2, optimizer=optimizer)
    advance(layer, optimizer)
    assert layer.format.ranks == (2,)
    assert float(optimizer.state[next(layer.parameters())]["remaining"]) > before


@pytest.mark.parametrize(("name", "value"), [("lr", 0), ("lr", -1e-3), ("decay", 1.0), ("eps", -1.0), ("lr", "fast")])
def test_what_is_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="GroupRMSProp"):
        nn.GroupRMSProp([torch.nn.Parameter(torch.ones(2))], **{name: value})
