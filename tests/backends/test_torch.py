"""What the PyTorch backend writes itself: derivatives of every kind."""

from __future__ import annotations

import pytest

import tnrank

torch = pytest.importorskip("torch")


# torch.func compiles a decomposition with torch.jit.script, which PyTorch itself warns of.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_product_of_halves_has_all_derivatives(dtype):
    product = tnrank.get_backend("torch").pair_product
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, 3, dtype=dtype, generator=generator, requires_grad=True)
    assert torch.equal(product(x), x[:, 0] * x[:, 1])
    assert torch.autograd.gradcheck(product, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(product, x)
    batch = torch.randn(4, 2, 2, 3, dtype=dtype, generator=generator)
    assert torch.equal(torch.func.vmap(product)(batch), batch[:, :, 0] * batch[:, :, 1])
    real = x.detach().real
    gradient = torch.func.vmap(torch.func.grad(lambda a: product(a).square().sum()))(batch.real)
    expected = 2 * batch.real[:, :, 0] * batch.real[:, :, 1] * batch.real[:, :, 1]
    assert torch.allclose(gradient[:, :, 0], expected)
    assert torch.func.hessian(lambda a: product(a).sum())(real).shape == (2, 2, 3, 2, 2, 3)
