"""Renyi and von Neumann entropies of spectra and of tensors."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, get_backend
from tnrank.ranks import (
    entanglement_entropy,
    participation_ratio_of,
    renyi_entropy_of,
    stable_rank_of,
)

ORDERS = (0, 0.3, 0.999999, 1, 1.000001, 2, 5, math.inf)
spectra = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6).map(lambda s: np.array(sorted(s, reverse=True)))


def definition(s: np.ndarray[Any, Any], order: float) -> float:
    p = s[s > 0] ** 2 / (s**2).sum()
    if order == 1:
        return float(-(p * np.log(p)).sum())
    if order == math.inf:
        return float(-np.log(p.max()))
    return float(np.log((p**order).sum()) / (1 - order))


@given(spectra, st.sampled_from([0.3, 1, 2, 5, math.inf]))
def test_is_its_definition(s: np.ndarray[Any, Any], order: float) -> None:
    assert float(renyi_entropy_of(s, order)) == pytest.approx(definition(s, order), abs=1e-12)


@given(spectra, st.floats(1e-6, 1e6))
def test_laws(s: np.ndarray[Any, Any], scale: float) -> None:
    found = [float(renyi_entropy_of(s, order)) for order in ORDERS]
    assert all(a >= b - 1e-12 for a, b in pairwise(found))  # falling in the order
    assert found[0] == pytest.approx(math.log(len(s)))
    assert found[-1] >= 0
    assert float(renyi_entropy_of(s * scale, 2)) == pytest.approx(found[5], abs=1e-12)
    assert math.exp(found[5]) == pytest.approx(float(participation_ratio_of(s)))
    assert math.exp(found[-1]) == pytest.approx(float(stable_rank_of(s)))
    # Near order 1 it is von Neumann's up to the distance: the difference of 1 and a sum near 1 loses nothing.
    assert found[2] == pytest.approx(found[3], abs=1e-4)
    assert abs(found[2] - found[4]) <= 1e-4


def test_near_order_one_nothing_is_lost() -> None:
    s = np.array([0.9, 0.4, 0.1])
    p = s**2 / (s**2).sum()
    mean = (p * np.log(p)).sum()
    slope = (p * np.log(p) ** 2).sum() - mean**2  # dS/da at 1 is minus half the variance of ln p
    for step in (1e-8, 1e-12):
        assert float(renyi_entropy_of(s, 1 + step)) == pytest.approx(float(-mean - step * slope / 2), abs=1e-15)


@pytest.mark.parametrize("order", ORDERS)
def test_zero_and_pure_spectra_and_batches(order: float, backend_name: str) -> None:
    backend = get_backend(backend_name)
    s = backend.asarray([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype="float64")
    found = backend.to_numpy(renyi_entropy_of(s, order))
    np.testing.assert_allclose(found, [0, 0, math.log(3)], atol=1e-15)
    assert not np.signbit(found).any()


def test_values_below_the_tolerance_are_none() -> None:
    s = np.array([1.0, 1e-17])
    assert float(renyi_entropy_of(s, 0)) == 0
    assert float(renyi_entropy_of(s, 0.05)) == 0
    assert float(renyi_entropy_of(s, 0, rtol=0.0)) == pytest.approx(math.log(2))
    assert float(renyi_entropy_of(np.array([1.0, 1e-3]), 0, rtol=1e-2)) == 0


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, math.inf])
def test_gradients_are_finite(order: float) -> None:
    torch = pytest.importorskip("torch")
    s = torch.tensor([2.0, 2.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    renyi_entropy_of(s, order).backward()
    assert torch.isfinite(s.grad).all()
    assert s.grad[-1] == 0
    # Its norm does not matter: the gradient is orthogonal to the spectrum.
    assert abs(float(s.grad @ s.detach())) < 1e-12


def test_of_states() -> None:
    bell = np.einsum("ac,bd->abcd", np.eye(2), np.eye(2)) / 2
    found = entanglement_entropy(bell)
    assert float(found[0, 1]) == pytest.approx(2 * math.log(2))
    assert float(found[0]) == pytest.approx(math.log(2))
    paired = entanglement_entropy(bell, DimensionTree(((0, 2), (1, 3))))
    assert float(paired[0, 2]) == pytest.approx(0, abs=1e-15)
    w = tnrank.CPFactorization([np.stack([1 - np.eye(8)[n], np.eye(8)[n]]) for n in range(8)])
    for node, entropy in entanglement_entropy(w).items():
        p = len(node.modes) / 8
        assert float(entropy) == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p), abs=1e-12)
    assert {round(float(e), 10) for e in entanglement_entropy(w, order=0).values()} == {round(math.log(2), 10)}


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (-0.1, ValueError, "order is a number from 0 on"),
        (math.nan, ValueError, "order is a number from 0 on"),
        ("one", TypeError, "order is a number from 0 on"),
        (True, TypeError, "order is a number from 0 on"),
    ],
)
def test_bad_orders(order: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        renyi_entropy_of(np.ones(2), order)
    with pytest.raises(error, match=message):
        entanglement_entropy(np.ones((2, 2)), order=order)


def test_bad_spectra() -> None:
    with pytest.raises(ValueError, match="descending"):
        renyi_entropy_of(np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="finite and not negative"):
        renyi_entropy_of(np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
        renyi_entropy_of(np.ones(2), 2, rtol=1.0)
