"""tnrank_torch.nn.Factorization in other people's training loops."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest

import tnrank
from tests.factorizations.test_values import assert_same, kinds

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")
_safe_names = pytest.importorskip("tnrank_torch.nn._factorization")._safe_names


@kinds
def test_holds_and_gives_back(make):
    x = make(backend="torch", dtype="float64")
    module = nn.Factorization(x)
    assert_same(module.value(), x)
    assert module.value().network is x.network
    parameters = list(module.parameters())
    assert len(parameters) == len(x.arrays)
    assert all(isinstance(p, torch.nn.Parameter) for p in parameters)
    assert sum(p.numel() for p in parameters) == x.parameter_count
    torch.testing.assert_close(module(), x.to_dense())
    index = [[0] * x.ndim, [d - 1 for d in x.shape]]
    torch.testing.assert_close(module(index), x.entries(index))
    with torch.no_grad():
        for p in parameters:
            p.zero_()
    assert x.norm() > 0  # the arrays were copied
    assert module.value().norm() == 0


def test_names_are_safe():
    x = tnrank.HierarchicalFactorization.random((2, 3), tree=((0,), 1), width=2, backend="torch")
    names = [name for name, _ in nn.Factorization(x).named_parameters()]
    assert sorted(names) == [f"arrays.{n}" for n in ("leaf_0", "leaf_1", "node_0_1", "node_0_prime")]
    assert list(_safe_names(["a b", "a.b", "keys", "", "1"])) == [
        "a_b",
        "a_b_",
        "keys_",
        "tensor",
        "node_1",
    ]


@kinds
def test_gradients(make):
    x = make(backend="torch", dtype="float64")
    module = nn.Factorization(x)
    module.value().norm().backward()
    wanted = torch.func.grad(lambda y: y.norm())(x)
    for p, g in zip(module.value().arrays.values(), wanted.arrays.values(), strict=True):
        torch.testing.assert_close(p.grad, g)


@pytest.mark.parametrize("whole", [False, True])
def test_training_is_complete(whole):
    x = tnrank.CPFactorization.random((3, 4, 2), rank=3, std=0.5, backend="torch", dtype="float64")
    target = torch.as_tensor(np.random.default_rng(0).standard_normal(x.shape))
    indices = torch.argwhere(torch.ones(x.shape))
    module = nn.Factorization(x)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        got, wanted = (module(), target) if whole else (module(indices), target.reshape(-1))
        torch.nn.functional.mse_loss(got, wanted).backward()
        optimizer.step()
    result = tnrank.complete(x, indices, target.reshape(-1), optimizer=tnrank.GradientDescent(0.05), steps=20)
    for a, b in zip(module.value().arrays.values(), result.factorization.arrays.values(), strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=1e-11, atol=1e-13)


@kinds
def test_state_dict(make):
    one, two = (nn.Factorization(make(seed=k, backend="torch")) for k in (0, 1))
    stream = io.BytesIO()
    torch.save(one.state_dict(), stream)
    stream.seek(0)
    two.load_state_dict(torch.load(stream, weights_only=True))
    assert_same(one.value(), two.value())
    other = nn.Factorization(tnrank.CPFactorization.random((7, 7), rank=2, backend="torch"))
    with pytest.raises(RuntimeError, match=r"Missing key|Unexpected key|size mismatch"):
        other.load_state_dict(one.state_dict())


@kinds
def test_dtypes_and_copies(make):
    module = nn.Factorization(make(backend="torch", dtype="float32"))
    assert module.double().value().dtype == "float64"
    assert module().dtype == torch.float64
    assert module.to(torch.bfloat16).value().dtype == "bfloat16"
    assert_same(copy.deepcopy(module).value(), module.value())
    assert module.to("meta").value().device == "meta"


def test_another_backend_is_converted(backend_name):
    x = tnrank.CPFactorization.random((3, 4), rank=2, dtype="float64", backend=backend_name)
    assert_same(nn.Factorization(x).value(), x.to("torch"))
    with pytest.raises(TypeError, match=r"got ndarray, needed a factorization such as tnrank\.CP"):
        nn.Factorization(np.eye(3))


# raised by torch's compiler itself when it goes on after a part that it leaves to Python
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@kinds
def test_inside_other_modules_and_compiled(make):
    torch._dynamo.reset()
    x = make(backend="torch", dtype="float64")
    inner = nn.Factorization(x)

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner
            self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self):
            return self.scale * self.inner()

    module = Scaled()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(), x.to_dense())
    compiled().sum().backward()
    got = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module().sum().backward()
    for a, p in zip(got, module.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    index = [[0] * x.ndim]
    torch.testing.assert_close(torch.compile(inner, backend="eager")(index), x.entries(index))
    assert repr(x).splitlines()[0] in repr(inner)
