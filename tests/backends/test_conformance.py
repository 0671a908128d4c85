"""The conformance suite, on the three backends and on a toy fourth one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank import _backend
from tnrank.testing import backend_checks, check_backend


@pytest.fixture
def toy(monkeypatch):
    """The toy backend, known to tnrank during one test."""
    monkeypatch.setattr(_backend, "_LOADED", dict(_backend._LOADED))
    monkeypatch.setattr(_backend, "_BY_TYPE", dict(_backend._BY_TYPE))
    spec = importlib.util.spec_from_file_location("toylib", Path(__file__).with_name("toylib.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tnrank.register_backend(module.backend)


@pytest.mark.parametrize("check", backend_checks)
def test_backend_conforms(backend_name, check):
    check(tnrank.get_backend(backend_name))


@pytest.mark.parametrize("check", backend_checks)
def test_toy_backend_conforms(toy, check):
    check(toy)


def test_all_checks_at_once(toy):
    check_backend(toy)


def test_failures_are_named(toy, monkeypatch):
    monkeypatch.setattr(type(toy), "svdvals", lambda self, x: self.xp.linalg.svdvals(x) + 1)
    monkeypatch.setattr(type(toy), "capabilities", frozenset({"jit", "teleport"}))
    monkeypatch.setattr(type(toy), "jit", lambda self, fn: lambda *args: fn(*args))
    with pytest.raises(AssertionError) as caught:
        check_backend(toy)
    lines = str(caught.value).split("\n")
    assert lines[0] == "the backend 'toy' fails 3 checks:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "describes_itself",
        "does_linear_algebra",
        "compiles",
    ]
    assert "teleport" in lines[1]


def test_toy_backend_in_use(toy):
    network = tnrank.Network({"A": "ir", "B": "jr", "C": "kr"}, "ijk")
    arrays = {name: toy.asarray(np.ones((2, 3))) for name in network.tensors}
    result = tnrank.contract(network, arrays)
    assert tnrank.backend_of(result) is toy
    assert tnrank.get_backend("toy") is toy
    assert "toy" in tnrank.available_backends()
    np.testing.assert_array_equal(toy.to_numpy(result), np.full((2, 2, 2), 3.0))
    with pytest.raises(NotImplementedError, match="toy backend has no value_and_grad"):
        toy.value_and_grad(lambda x: x)
    with pytest.raises(TypeError, match="two backends in one call: 'A' is toy, 'C' is numpy"):
        tnrank.contract(network, {**arrays, "C": np.ones((2, 3))})
