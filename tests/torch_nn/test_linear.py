"""Deep linear networks and matrix factorizations are one thing."""

from __future__ import annotations

import pytest

import tnrank

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_same_matrix_both_ways(depth):
    x = tnrank.MatrixFactorization.random((5, 3), depth=depth, hidden=4, seed=0, backend="torch", dtype="float64")
    module = nn.DeepLinear.from_factorization(x)
    assert [type(layer) for layer in module] == [torch.nn.Linear] * depth
    inputs = torch.randn(7, 5, dtype=torch.float64)
    assert (module(inputs) - inputs @ x.to_dense()).abs().max() < 1e-13
    for own, given in zip(module.value().layers, x.layers, strict=True):
        assert torch.equal(own, given)
    module(inputs).square().sum().backward()
    leaves = x.map(lambda a: a.clone().requires_grad_())
    (inputs @ leaves.to_dense()).square().sum().backward()
    for layer, leaf in zip(module, leaves.layers, strict=True):
        assert (layer.weight.grad.mT - leaf.grad).abs().max() <= 1e-10 * leaf.grad.abs().max()


def test_outputs_are_as_large_as_inputs():
    module = nn.DeepLinear((256,) * 9, dtype=torch.float64)
    inputs = torch.randn(64, 256, dtype=torch.float64)
    assert 0.5 < float(module(inputs).detach().square().mean()) < 2
    assert not nn.DeepLinear((4, 4), std=0)(torch.ones(1, 4)).any()


def test_errors():
    with pytest.raises(ValueError, match="at least two"):
        nn.DeepLinear((3,))
    with pytest.raises(TypeError, match="needed a MatrixFactorization"):
        nn.DeepLinear.from_factorization(tnrank.CPFactorization.random((2, 2), rank=1))
