"""Circuits as PyTorch modules: the same function as the factorization, real layers, ordinary use."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest

import tnrank
from tnrank import DimensionTree
from tnrank.circuits import Affine, Circuit, CosSin, Embedding, Gaussian, OneHot

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")

FLOAT = {"backend": "torch", "dtype": "float64"}


def hierarchical(tree, classes=1, width=3):
    shape = tuple(2 + n % 2 if tree.order < 16 else 2 for n in range(tree.order))  # the oracle is dense
    widths = {node: width + node.modes[0] % 2 for node in tree.interior}
    return tnrank.HierarchicalFactorization.random(shape, tree, widths, classes=classes, seed=1, **FLOAT)


CASES = {
    "mf 1": lambda: (tnrank.MatrixFactorization.random((3, 4), depth=1, seed=1, **FLOAT), {}),
    "mf 2": lambda: (tnrank.MatrixFactorization.random((3, 4), depth=2, hidden=5, seed=1, **FLOAT), {}),
    "mf 4": lambda: (tnrank.MatrixFactorization.random((4, 3), depth=4, hidden=(5, 2, 3), seed=1, **FLOAT), {}),
    "cp": lambda: (tnrank.CPFactorization.random((2, 3, 4, 2, 2), rank=4, seed=1, **FLOAT), {}),
    "cp classes": lambda: (tnrank.CPFactorization.random((2,) * 6 + (3,), rank=4, seed=1, **FLOAT), {"classes": True}),
    "cp plane": lambda: (tnrank.CPFactorization.random((2,) * 6, rank=4, seed=1, **FLOAT), {"grid": (2, 3)}),
    "binary": lambda: (hierarchical(DimensionTree.balanced(8)), {}),
    "4-ary": lambda: (hierarchical(DimensionTree.windows(16, 4), classes=3, width=2), {}),
    "ragged": lambda: (hierarchical(DimensionTree.windows(7, 3), classes=2), {}),
    "plane": lambda: (hierarchical(DimensionTree.quad(4, 4), width=2), {}),
    "ragged plane": lambda: (hierarchical(DimensionTree.quad(3, 5), classes=2, width=2), {}),
}
cases = pytest.mark.parametrize("case", CASES)


def vectors(x, circuit):
    generator = torch.Generator().manual_seed(0)
    shape = x.shape[: circuit.order]
    features = torch.randn(6, circuit.order, max(shape), generator=generator, dtype=torch.float64)
    for n, d in enumerate(shape):
        features[:, n, d:] = 0
    return features


def contracted(x, features):
    """The multilinear function of the dense tensor, one mode after the other."""
    dense = x.to_dense()
    dense = dense.expand(len(features), *dense.shape)
    for n in range(features.shape[1]):
        vector = features[:, n, : dense.shape[1]]
        dense = torch.einsum("bd...,bd->b...", dense, vector)
    return dense


@cases
def test_same_function_as_the_factorization(case):
    x, options = CASES[case]()
    module = nn.ConvolutionalArithmeticCircuit.from_factorization(x, **options)
    features = vectors(x, module.circuit)
    expected = contracted(x, features)
    scale = expected.abs().max()
    assert (module(features) - expected).abs().max() <= 1e-12 * scale
    sign, size = module(features, log=True)
    assert (sign * size.exp() - expected).abs().max() <= 1e-12 * scale
    shape = x.shape[: module.circuit.order]
    generator = np.random.default_rng(2)
    indices = torch.as_tensor(np.stack([generator.integers(0, d, 9) for d in shape], axis=1))
    expected = x.to_dense()[tuple(indices.T)]
    assert (module(indices) - expected).abs().max() <= 1e-12 * expected.abs().max()


@cases
def test_parameters_come_back_bit_for_bit(case):
    x, options = CASES[case]()
    module = nn.ConvolutionalArithmeticCircuit.from_factorization(x, **options)
    back = module.value()
    assert type(back) is type(x)
    assert list(back.arrays) == list(x.arrays)
    for name, array in x.arrays.items():
        assert torch.equal(back.arrays[name], array)
    again = nn.ConvolutionalArithmeticCircuit.from_factorization(back, **options)
    assert again.circuit == module.circuit
    for name, parameter in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], parameter)


@cases
def test_gradients_are_those_of_the_factorization(case):
    x, options = CASES[case]()
    module = nn.ConvolutionalArithmeticCircuit.from_factorization(x, **options)
    features = vectors(x, module.circuit)
    weight = torch.randn(module(features).shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    leaves = x.map(lambda a: a.clone().requires_grad_())
    (contracted(leaves, features) * weight).sum().backward()
    for log in (False, True):
        module.zero_grad()
        if log:
            sign, size = module(features, log=True)
            out = sign * size.exp()
        else:
            out = module(features)
        (out * weight).sum().backward()
        gradients = [w for w in module.weights()]
        found = torch.autograd.grad((module(features) * weight).sum(), list(module.parameters()))
        # The gradient has the structure of the parameters: read it by the same mapping.
        twin = copy.deepcopy(module)
        with torch.no_grad():
            for own, gradient in zip(twin.parameters(), [p.grad for p in module.parameters()], strict=True):
                own.copy_(gradient)
        read = twin.value()
        assert len(gradients) == len(found)
        for name, leaf in leaves.arrays.items():
            assert (read.arrays[name] - leaf.grad).abs().max() <= 1e-10 * leaf.grad.abs().max()


@pytest.mark.parametrize("grid", [(8,), (4, 4)])
def test_shared_weights_are_one_array_and_a_1x1_convolution(grid):
    circuit = Circuit.deep(grid, features=2, channels=4, shared=True)
    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype=torch.float64)
    x = module.value()
    for node in circuit.nodes[0]:
        assert x.matrices[node] is x.matrices[circuit.nodes[0][0]]
    assert sum(p.numel() for p in module.parameters()) == circuit.parameter_count
    kind = torch.nn.Conv1d if len(grid) == 1 else torch.nn.Conv2d
    assert all(type(level) is kind for level in module.levels)
    features = torch.rand(3, circuit.order, 2, dtype=torch.float64)
    out = features.mT.reshape(3, 2, *grid)
    for level in module.levels:
        out = level(out)
        for axis in range(2, out.ndim):
            out = out.unflatten(axis, (-1, 2)).prod(axis + 1)
    assert (module(features) - module.dense(out.flatten(1))[:, 0]).abs().max() < 1e-13
    assert (module(features) - contracted(x, features)).abs().max() < 1e-13
    again = nn.ConvolutionalArithmeticCircuit.from_factorization(x, grid=grid)
    assert again.circuit == circuit


def test_a_filter_bank_a_location_is_a_grouped_convolution():
    module = nn.ConvolutionalArithmeticCircuit.from_sizes(4, features=3, channels=5, dtype=torch.float64)
    features = torch.rand(2, 4, 3, dtype=torch.float64)
    out = module.levels[0](features.reshape(2, 12, 1)).reshape(2, 4, 5)
    expected = torch.einsum("bnd,ndr->bnr", features, module.weights()[0])
    assert (out - expected).abs().max() < 1e-14


@pytest.mark.parametrize("pooling", ["max", "average", "sum"])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_other_poolings_are_those_of_pytorch(pooling, activation):
    circuit = Circuit.deep((5, 6), 3, 4, shared=True, ragged=True, pooling=pooling, activation=activation, classes=2)
    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype=torch.float64, std=1.0)
    features = torch.randn(3, 30, 3, dtype=torch.float64)
    out = features.mT.reshape(3, 3, 5, 6)
    for level, pools in zip(module.levels, circuit.levels, strict=True):
        out = level(out)
        out = out.relu() if activation == "relu" else out
        if pooling == "max":
            out = torch.nn.functional.max_pool2d(out, pools.window, ceil_mode=True)
        else:
            mean = torch.nn.functional.avg_pool2d(out, pools.window, ceil_mode=True, count_include_pad=False)
            ones = torch.ones_like(out[:, :1])
            count = torch.nn.functional.avg_pool2d(ones, pools.window, ceil_mode=True, divisor_override=1)
            out = mean * count if pooling == "sum" else mean
    assert (module(features) - module.dense(out.flatten(1))).abs().max() < 1e-12
    with pytest.raises(ValueError, match=f"got {pooling} pooling"):
        module.value()


@pytest.mark.parametrize(
    "representation", [None, OneHot(3), Embedding(3, values=4), CosSin(), Affine(4, patch=2), Gaussian(3, patch=2)]
)
def test_lives_inside_ordinary_models(representation):
    torch.manual_seed(0)
    features = 3 if representation is None else None
    circuit = Circuit.deep((4, 4), features, 4, classes=5, representation=representation)
    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype=torch.float64)
    model = torch.nn.Sequential(module, torch.nn.Tanh(), torch.nn.Linear(5, 2, dtype=torch.float64))
    whole = isinstance(representation, (OneHot, Embedding))
    patch = features or getattr(representation, "patch", 1)
    inputs = torch.randint(3, (6, 16)) if whole else torch.rand(6, 16, patch, dtype=torch.float64)
    if not whole:
        plane = inputs.mT.reshape(6, patch, 4, 4)
        assert torch.equal(module(plane), module(inputs))
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_state_dict_copies_and_dtypes():
    module = nn.ConvolutionalArithmeticCircuit.from_sizes((4, 4), channels=3, classes=2, representation=Affine(3))
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)
    other = nn.ConvolutionalArithmeticCircuit(module.circuit, seed=5)
    inputs = torch.rand(2, 16, 1)
    assert not torch.equal(other(inputs), module(inputs))
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(other(inputs), module(inputs))
    assert torch.equal(copy.deepcopy(module)(inputs), module(inputs))
    single = module(inputs)
    assert (copy.deepcopy(module).double()(inputs.double()) - single).abs().max() < 1e-5
    half = copy.deepcopy(module).bfloat16()
    out = half(inputs.bfloat16())
    assert out.dtype is torch.bfloat16
    assert (out - single).abs().max() < 0.05 * single.abs().max()
    assert half.value().dtype == "bfloat16"
    assert nn.ConvolutionalArithmeticCircuit(module.circuit, dtype="float64")(inputs.double()).dtype is torch.float64


def test_ranks_are_read_while_it_trains():
    module = nn.ConvolutionalArithmeticCircuit.from_sizes((4, 4), features=2, channels=3)
    x = module.value()
    assert x.matrices[x.tree.root].requires_grad
    # Warnings are errors here: torch warns when a number is taken from a tensor with a gradient.
    report = tnrank.rank_report(x)
    assert report.hierarchical_rank == tnrank.hierarchical_rank(x.to("numpy"))
    assert tnrank.hierarchical_rank(x) == report.hierarchical_rank


def test_compiles_to_one_graph():
    module = nn.ConvolutionalArithmeticCircuit.from_sizes((4, 4), channels=3, classes=2, representation=CosSin())
    inputs = torch.rand(2, 16, 1)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(inputs), module(inputs))
    assert torch.allclose(compiled(inputs, log=True)[1], module(inputs, log=True)[1])


def test_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    module = nn.ConvolutionalArithmeticCircuit.from_sizes((8, 8), channels=8, classes=3, representation=CosSin())
    inputs = torch.rand(4, 64, 1)
    moved = copy.deepcopy(module).cuda()
    assert (moved(inputs.cuda()).cpu() - module(inputs)).abs().max() < 1e-5


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("representation", [OneHot(2), CosSin(), Affine(8), Gaussian(4)])
def test_order_784_trains_in_single_precision(representation, shared):
    generator = torch.Generator().manual_seed(0)
    # Images as handwriting has them: most pixels are 0, some are 1, few in between.
    images = (torch.rand(32, 784, generator=generator) * 3 - 1.8).clamp(0, 1)
    inputs = images.round().long() if isinstance(representation, OneHot) else images[..., None]
    labels = torch.randint(10, (32,), generator=generator)
    circuit = Circuit.deep((28, 28), None, 8, classes=10, shared=shared, ragged=True, representation=representation)
    # Sums of cosines and sines, or of templates, differ from pixel to pixel: their scale is fitted to a sample.
    sample = inputs if isinstance(representation, (CosSin, Gaussian)) else None
    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype=torch.float32, sample=sample)
    assert bool((module(inputs, log=True)[1].median(dim=1).values.abs() < 7).all())
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_errors_say_what_to_do():
    with pytest.raises(TypeError, match="from_factorization"):
        nn.ConvolutionalArithmeticCircuit(tnrank.CPFactorization.random((2, 2), rank=1))
    with pytest.raises(TypeError, match="got TensorTrain"):
        nn.ConvolutionalArithmeticCircuit.from_factorization(tnrank.TensorTrain.random((2, 2, 2), rank=2))
    module = nn.ConvolutionalArithmeticCircuit.from_sizes((4, 4), channels=3, representation=CosSin())
    with pytest.raises(ValueError, match=r"needed \(batch, 16, \.\.\)"):
        module(torch.rand(2, 15, 1))
    with pytest.raises(ValueError, match=r"needed real numbers of shape \(batch, N, 1\)"):
        module(torch.rand(2, 16, 3))
    x = tnrank.HierarchicalFactorization.random((2,) * 5, DimensionTree.balanced(5), width=2, backend="torch")
    with pytest.raises(ValueError, match="windows"):
        nn.ConvolutionalArithmeticCircuit.from_factorization(x)
