"""Factorized layers of PyTorch: the dense layer's outputs and gradients, state, compilers, casts."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")
functional = torch.nn.functional
DOUBLE = {"dtype": torch.float64}
LINEAR = ("mf", "cp", "tucker", "tt", "ttm", "htf", "btt")
CONV = ("mf", "cp", "tucker", "tt", "htf")
EMBEDDING = ("mf", "cp", "tt", "ttm", "htf")


def _same(layer, dense, x):
    """Outputs, and gradients of inputs and parameters, against the dense layer of ``layer.weight``."""
    x = x.clone().requires_grad_(x.is_floating_point())
    wanted = [*([x] if x.requires_grad else []), *layer.parameters()]
    y, other = layer(x), dense(x)
    assert (y - other).abs().max() <= 1e-10 * max(1.0, float(other.detach().abs().max()))
    probe = torch.randn_like(y)
    for a, b in zip(
        torch.autograd.grad((y * probe).sum(), wanted), torch.autograd.grad((other * probe).sum(), wanted), strict=True
    ):
        assert (a - b).abs().max() <= 1e-10 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("structure", LINEAR)
@settings(max_examples=25)
@given(
    sizes=st.tuples(st.integers(4, 60), st.integers(4, 60)),
    rank=st.integers(1, 2),
    rows=st.sampled_from([0, 1, 3, 70, 5000]),
    bias=st.booleans(),
)
def test_linear_is_the_dense_layer(structure, sizes, rank, rows, bias):
    limit = nn.FactorizedLinear(*sizes, structure=structure, rank=1).format.limits
    layer = nn.FactorizedLinear(
        *sizes, bias, structure=structure, rank=[min(rank, m) for m in limit.values()], seed=0, **DOUBLE
    )
    x = torch.randn(rows, sizes[0], **DOUBLE)
    if rows:
        _same(layer, lambda x: functional.linear(x, layer.weight, layer.bias), x)
    assert layer(x).shape == (rows, sizes[1])


def test_inputs_of_any_order():
    layer = nn.FactorizedLinear(12, 6, structure="tt", rank=2, **DOUBLE)
    x = torch.randn(2, 3, 4, 12, **DOUBLE)
    assert layer(x).shape == (2, 3, 4, 6)
    assert torch.allclose(layer(x[0, 0, 0]), layer(x)[0, 0, 0], atol=1e-12)
    with pytest.raises(ValueError, match=r"needed \(.., 12\)"):
        layer(torch.ones(3, 11, **DOUBLE))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # of PyTorch's own layer
@pytest.mark.parametrize("structure", CONV)
@settings(max_examples=20)
@given(
    dims=st.integers(1, 2),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.sampled_from([0, 1, 2, "same", "valid"]),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    rank=st.integers(1, 3),
)
def test_convolutions_are_the_dense_layer(structure, dims, kernel, stride, padding, dilation, groups, mode, rank):
    stride = 1 if padding == "same" else stride
    kind = nn.FactorizedConv1d if dims == 1 else nn.FactorizedConv2d
    window = kernel if dims == 1 else (kernel, 3)
    options = (4, 6, window, stride, padding, dilation, groups, True, mode)
    limits = kind(*options, structure=structure, rank=1).format.limits
    ranks = [min(rank, most) for most in limits.values()]
    layer = kind(*options, structure=structure, rank=ranks, seed=0, **DOUBLE)
    dense = layer.collapse()
    x = torch.randn(2, 4, *[11] * dims, **DOUBLE)

    def same(x):
        return torch.func.functional_call(dense, {"weight": layer.weight, "bias": layer.bias}, (x,))

    for order in (0.0, float("inf")):  # the dense weight is built always, or never
        layer._dense_from = order
        _same(layer, same, x)
    assert torch.allclose(layer(x[0]), layer(x)[0], atol=1e-12)
    assert type(dense) is kind.dense_class
    assert (dense(x) - layer(x)).abs().max() < 1e-12


@pytest.mark.parametrize("structure", EMBEDDING)
@pytest.mark.parametrize("padding", [None, 3, -1])
def test_embeddings_are_the_dense_layer(structure, padding):
    layer = nn.FactorizedEmbedding(101, 18, padding, structure=structure, rank=3, **DOUBLE)
    x = torch.randint(101, (4, 5))
    x[0] = 3
    _same(layer, lambda x: functional.embedding(x, layer.weight), x)
    if padding == 3:
        assert not layer(x)[0].any()
    assert (layer.collapse()(x) - layer(x)).abs().max() < 1e-12
    assert layer(torch.tensor(7)).shape == (18,)
    for wrong in (-1, 101):
        with pytest.raises(IndexError, match=f"index {wrong} is out of range: the table has rows 0 to 100"):
            layer(torch.tensor([wrong]))
    with pytest.raises(TypeError, match="whole numbers"):
        layer(torch.ones(3))


def test_the_table_is_never_built():
    layer = nn.FactorizedEmbedding(10**9, 64, structure="ttm", modes=3, rank=4)
    assert layer.format.dense_count == 64 * 10**9
    assert layer(torch.tensor([10**9 - 1, 0])).shape == (2, 64)


@pytest.mark.parametrize("structure", LINEAR)
def test_from_layer_keeps_what_its_rank_allows(structure):
    dense = torch.nn.Linear(16, 12, **DOUBLE)
    rtol = 0.5 if structure in ("cp", "htf") else 1e-6  # whose search for the rank takes long at a small error
    whole = nn.FactorizedLinear.from_layer(dense, structure=structure, rtol=rtol)
    x = torch.randn(5, 16, **DOUBLE)
    assert whole.error <= rtol
    assert (whole(x) - dense(x)).norm() < 2 * rtol * (dense(x) - dense.bias).norm()
    part = nn.FactorizedLinear.from_layer(dense, structure=structure, rank=2)
    true = float(((part.weight - dense.weight).norm() / dense.weight.norm()).detach())
    assert part.error == pytest.approx(true, abs=1e-9)
    assert f"error {part.error:.2g}" in repr(part)
    assert (part.collapse()(x) - part(x)).abs().max() < 1e-12
    assert torch.equal(part.bias, dense.bias)


def test_from_layer_looks_at_inputs():
    torch.manual_seed(0)
    dense = torch.nn.Linear(16, 12, **DOUBLE)
    x = torch.randn(200, 16, **DOUBLE) * 0.6 ** torch.arange(16)
    errors = [
        float((nn.FactorizedLinear.from_layer(dense, rank=4, inputs=seen)(x) - dense(x)).detach().norm())
        for seen in (None, x)
    ]
    assert errors[1] < 0.7 * errors[0]
    conv = torch.nn.Conv2d(8, 6, 3, groups=2, **DOUBLE)
    images = torch.randn(10, 8, 9, 9, **DOUBLE) * 0.3 ** torch.arange(8)[:, None, None]
    errors = [
        float((nn.FactorizedConv2d.from_layer(conv, rank=2, inputs=seen)(images) - conv(images)).detach().norm())
        for seen in (None, images)
    ]
    assert errors[1] < errors[0]


def test_from_layer_and_back_for_all_kinds():
    conv = torch.nn.Conv2d(4, 6, (3, 2), stride=2, padding="valid", dilation=(2, 1), groups=2, padding_mode="zeros")
    for layer, kind in (
        (conv, nn.FactorizedConv2d),
        (torch.nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular"), nn.FactorizedConv1d),
        (torch.nn.Embedding(20, 6, padding_idx=2), nn.FactorizedEmbedding),
    ):
        back = kind.from_layer(layer.double(), structure="mf", rtol=1e-12).collapse()
        assert repr(back) == repr(layer)
        assert (back.weight - layer.weight).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("layer", "kind", "error", "message"),
    [
        (torch.nn.ReLU(), "FactorizedLinear", TypeError, "got a ReLU, needed a torch.nn.Linear"),
        (torch.nn.Conv3d(2, 2, 3), "FactorizedConv2d", TypeError, "got a Conv3d, needed a torch.nn.Conv2d"),
        (torch.nn.Linear(3, 3), "FactorizedEmbedding", TypeError, "got a Linear, needed a torch.nn.Embedding"),
        (torch.nn.Embedding(9, 9, max_norm=1.0), "FactorizedEmbedding", ValueError, "max_norm=1.0, needed None"),
        (torch.nn.Embedding(9, 9, sparse=True), "FactorizedEmbedding", ValueError, "sparse=True, needed False"),
        (torch.nn.Linear(3, 3), "FactorizedLinear", ValueError, "larger than possible: 3 at most"),
    ],
)
def test_layers_that_do_not_fit(layer, kind, error, message):
    with pytest.raises(error, match=message):
        getattr(nn, kind).from_layer(layer, rank=4)


def test_from_factorization_and_back():
    x = tnrank.MatrixFactorization.random((10, 12), depth=3, hidden=(30, 7), seed=0, backend="torch", dtype="float64")
    layer = nn.FactorizedLinear.from_factorization(x, bias=True)
    for own, given_layer in zip(layer.value().layers, x.layers, strict=True):
        assert torch.equal(own, given_layer)
    assert layer.bias.dtype is torch.float64
    inputs = torch.randn(3, 12, **DOUBLE)
    assert (layer(inputs) - inputs @ x.to_dense().T).abs().max() < 1e-12
    y = tnrank.TensorTrainOperator.random((3, 4), (5, 2), 2, seed=0)
    layer = nn.FactorizedLinear.from_factorization(y)
    assert (layer.weight - torch.as_tensor(y.to_matrix())).abs().max() < 1e-12


@pytest.mark.parametrize("structure", LINEAR)
def test_state_dicts_carry_their_ranks(structure):
    torch.manual_seed(0)
    layer = nn.FactorizedLinear(16, 16, structure=structure, rank=4, **DOUBLE)
    x = torch.randn(3, 16, **DOUBLE)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), copy.deepcopy(layer).parameters(), strict=True))
    layer.prune(keep=2)
    other = nn.FactorizedLinear(16, 16, structure=structure, rank=3, **DOUBLE)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert other.format == layer.format
    wrong = nn.FactorizedLinear(16, 12, structure=structure, rank=2, **DOUBLE)
    with pytest.raises(ValueError, match=r"in this layer, got arrays of size|impossible"):
        wrong.load_state_dict(layer.state_dict())
    assert all(torch.isfinite(p).all() for p in wrong.parameters())
    with pytest.raises(RuntimeError, match="Missing key"):
        wrong.load_state_dict({})


def test_seeds_and_scale():
    torch.manual_seed(3)
    first, second = (nn.FactorizedLinear(32, 32, rank=4) for _ in range(2))
    assert not torch.equal(first.weight, second.weight)
    torch.manual_seed(3)
    assert torch.equal(nn.FactorizedLinear(32, 32, rank=4).weight, first.weight)
    small = nn.FactorizedLinear(32, 32, rank=8, std=1e-3, balanced=True)
    assert float(small.weight.detach().norm()) < 1e-3
    dense, conv = torch.nn.Conv2d(16, 32, 3), nn.FactorizedConv2d(16, 32, 3, structure="tt", parameters=0.3)
    assert float(conv.weight.detach().std() / dense.weight.detach().std()) == pytest.approx(1, abs=0.06)
    assert float(conv.bias.detach().abs().max()) <= (16 * 9) ** -0.5


def test_recomputing_gives_the_same_and_keeps_less():
    x = torch.randn(64, 256, requires_grad=True, **DOUBLE)
    kept, found = [], []
    for recompute in (False, True):
        layer = nn.FactorizedLinear(256, 256, structure="cp", rank=64, seed=0, recompute=recompute, **DOUBLE)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            y = layer(x)
        found.append(torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])[:5])
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(*found, strict=True))


def test_autocast_and_half_precision():
    layer = nn.FactorizedLinear(16, 16, structure="cp", rank=4)
    x = torch.randn(3, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype is torch.bfloat16
    y.float().sum().backward()
    assert layer.arrays["in0"].grad.dtype is torch.float32
    assert (y.float() - layer(x)).abs().max() < 0.05
    assert layer.bfloat16()(x.bfloat16()).dtype is torch.bfloat16
    conv = nn.FactorizedConv2d(4, 4, 3, structure="htf", rank=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(torch.randn(1, 4, 5, 5)).dtype is torch.bfloat16


def _small_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        nn.FactorizedConv2d(3, 8, 3, padding=1, structure="tt", rank=4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        nn.FactorizedLinear(8 * 36, 32, structure="tucker", rank=5),
        torch.nn.ReLU(),
        nn.FactorizedLinear(32, 10, structure="ttm", rank=3),
    )


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True])
def test_models_compile_to_one_graph(dynamic):
    model = _small_model()
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (4, 7, 200):
        x = torch.randn(rows, 3, 6, 6)
        assert (compiled(x) - model(x)).abs().max() < 1e-5


def test_a_layer_compiles_to_one_graph():
    table = nn.FactorizedEmbedding(50, 12, structure="tt", rank=2)
    at = torch.randint(50, (6,))
    assert torch.equal(torch.compile(table, fullgraph=True, backend="aot_eager")(at), table(at))


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_exports_with_any_batch(strict):
    model, x = _small_model(), torch.randn(4, 3, 6, 6)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=strict)
    for rows in (4, 300):
        x = torch.randn(rows, 3, 6, 6)
        assert (program.module()(x) - model(x)).abs().max() < 1e-5


def test_trains_in_parallel(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = _small_model()
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        parallel(torch.randn(4, 3, 6, 6)).sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    finally:
        torch.distributed.destroy_process_group()


def test_pruning_cuts_the_optimizer_and_training_goes_on():
    torch.manual_seed(0)
    layer = nn.FactorizedLinear(16, 16, structure="mf", rank=8, **DOUBLE)
    goal = torch.randn(16, 2, **DOUBLE) @ torch.randn(2, 16, **DOUBLE)
    for kind in (torch.optim.Adam, lambda p, lr: torch.optim.SGD(p, lr / 10, momentum=0.9)):
        optimizer = kind(layer.parameters(), 3e-3)
        losses = []
        for step in range(600):
            if step == 300:
                norms, error = layer.prune(rtol=1e-2, optimizer=optimizer)
                assert len(norms["h1"]) >= layer.format.ranks[0]
                assert error <= 1e-2
                for p in layer.arrays.values():
                    state = [v for v in optimizer.state[p].values() if v.ndim]
                    assert all(v.shape == p.shape for v in state)
            optimizer.zero_grad()
            loss = (layer.weight - goal).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[310] < 1.2 * losses[298] + 1e-3
    assert losses[-1] < 2e-3


def test_errors():
    with pytest.raises(ValueError, match="'tucker' is not for weights of kind 'embedding': use mf, cp, tt, ttm, htf"):
        nn.FactorizedEmbedding(9, 9, structure="tucker", rank=1)
    with pytest.raises(ValueError, match="padding_idx is a row"):
        nn.FactorizedEmbedding(9, 9, 9, rank=1)
    with pytest.raises(ValueError, match="needed one of the two"):
        nn.FactorizedLinear(9, 9)
    with pytest.raises(ValueError, match=r"needed \(batch, 4, side\)"):
        nn.FactorizedConv1d(4, 4, 3, rank=1)(torch.ones(2, 3, 9))
