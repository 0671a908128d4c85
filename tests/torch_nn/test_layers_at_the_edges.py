"""Factorized layers of PyTorch where it is easy to go wrong: odd sizes, dtypes, copies, hooks, ties, optimizers."""

from __future__ import annotations

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")
random_unstructured = pytest.importorskip("torch.nn.utils.prune").random_unstructured
nn = pytest.importorskip("tnrank_torch.nn")
DOUBLE = {"dtype": torch.float64}
LINEAR = ("mf", "cp", "tucker", "tt", "ttm", "htf", "btt")
CONV = ("mf", "cp", "tucker", "tt", "htf")
EMBEDDING = ("mf", "cp", "tt", "ttm", "htf")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),  # of torch's own functions
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]


def _near(a, b, atol=1e-12):
    assert a.shape == b.shape
    assert not a.numel() or (a - b).abs().max() <= atol


@pytest.mark.parametrize("structure", LINEAR)
@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (2, 1), (2, 7), (3, 3)])
def test_tiny_sides(structure, sizes):
    dense = torch.nn.Linear(*sizes, **DOUBLE)
    layer = nn.FactorizedLinear.from_layer(dense, structure=structure, rtol=0.1)
    assert layer.error <= 0.1
    x = torch.randn(3, sizes[0], **DOUBLE)
    _near(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert layer(x[:0]).shape == (0, sizes[1])
    layer.prune(rtol=0.5)
    _near(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("structure", CONV)
@pytest.mark.parametrize(
    ("channels", "kernel", "groups"), [((1, 1), 1, 1), ((4, 4), 3, 4), ((4, 8), 3, 4), ((2, 6), 1, 2), ((5, 1), 3, 1)]
)
def test_tiny_windows_and_one_channel_a_group(structure, channels, kernel, groups):
    dense = torch.nn.Conv2d(*channels, kernel, padding=kernel // 2, groups=groups, **DOUBLE)
    layer = nn.FactorizedConv2d.from_layer(dense, structure=structure, rtol=0.5)
    assert layer.error <= 0.5
    x = torch.randn(2, channels[0], 5, 5, **DOUBLE)
    expected = layer.collapse()(x)
    for order in (0.0, float("inf")):  # the dense weight is built always, or never
        layer._dense_from = order
        _near(layer(x), expected)


@pytest.mark.parametrize("structure", EMBEDDING)
def test_tiny_tables_and_indices_of_one_byte(structure):
    for rows, features in ((1, 1), (2, 1), (1, 3)):
        table = nn.FactorizedEmbedding(rows, features, structure=structure, rank=1, **DOUBLE)
        _near(table(torch.arange(rows)), table.weight)
    table = nn.FactorizedEmbedding(300, 4, structure=structure, rank=2, **DOUBLE)
    at = torch.tensor([0, 100, 127])
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        _near(table(at.to(dtype)), table(at), 0.0)
    with pytest.raises(TypeError, match=r"padding_idx is a row, a whole number, got 1\.5"):
        nn.FactorizedEmbedding(300, 4, 1.5, structure=structure, rank=2)
    assert table(torch.zeros(0, 2, dtype=torch.int64)).shape == (0, 2, 4)


@pytest.mark.parametrize("structure", LINEAR)
def test_copies_files_and_functional_calls(structure):
    layer = nn.FactorizedLinear(12, 10, structure=structure, rank=2, seed=0, **DOUBLE)
    x = torch.randn(3, 12, **DOUBLE)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)):
        assert other.format == layer.format
        _near(other(x), layer(x), 0.0)
    layers = [nn.FactorizedLinear(12, 10, structure=structure, rank=2, seed=k, **DOUBLE) for k in range(3)]
    stacked = torch.func.stack_module_state(layers)
    call = torch.vmap(lambda p, b, x: torch.func.functional_call(layer, (p, b), (x,)), in_dims=(0, 0, None))
    _near(call(*stacked, x), torch.stack([one(x) for one in layers]))
    _near(torch.func.jacfwd(layer)(x[0]), layer.weight)
    _near(torch.func.jacrev(layer)(x[0]), layer.weight)
    named = {name: p.detach() for name, p in layer.named_parameters()}

    def call_with(x, *values):
        return torch.func.functional_call(layer, dict(zip(named, values, strict=True)), (x,))

    inputs = [x.clone().requires_grad_(), *(value.clone().requires_grad_() for value in named.values())]
    assert torch.autograd.gradgradcheck(call_with, inputs)


@pytest.mark.parametrize("structure", LINEAR)
def test_state_dicts_in_every_way(structure):
    source = nn.FactorizedLinear(12, 10, structure=structure, rank=2, seed=0, **DOUBLE)
    x = torch.randn(3, 12, **DOUBLE)
    state = source.state_dict()
    other = nn.FactorizedLinear(12, 10, structure=structure, rank=1, **DOUBLE)
    other.load_state_dict({**state, "more": torch.ones(1)}, strict=False)
    _near(other(x), source(x), 0.0)
    with torch.device("meta"):
        other = nn.FactorizedLinear(12, 10, structure=structure, rank=1, **DOUBLE)
    assert all(p.is_meta for p in other.parameters())
    other.load_state_dict(state, assign=True)
    assert other.format == source.format
    _near(other(x), source(x), 0.0)


def test_weights_without_values():
    with pytest.raises(TypeError, match="on the meta device and has no values"):
        nn.FactorizedLinear.from_layer(torch.nn.Linear(8, 8, device="meta"), rank=2)


def test_dtypes_of_inputs():
    layer, conv = nn.FactorizedLinear(8, 8, rank=2), nn.FactorizedConv1d(8, 8, 3, rank=2)
    for dtype in (torch.float64, torch.int64, torch.complex64):
        for one, x in ((layer, torch.ones(2, 8, dtype=dtype)), (conv, torch.ones(2, 8, 5, dtype=dtype))):
            with pytest.raises(TypeError, match=rf"inputs are of {dtype}, and the layer is of torch.float32"):
                one(x)
    assert layer(input=torch.ones(2, 8)).shape == (2, 8)  # by name, as dense layers
    assert layer.to(torch.complex64)(torch.ones(2, 8, dtype=torch.complex64)).dtype is torch.complex64


def test_autocast_casts_what_it_casts_in_dense_layers():
    table, dense = nn.FactorizedEmbedding(30, 8, structure="tt", rank=2), torch.nn.Embedding(30, 8)
    double = nn.FactorizedLinear(8, 8, rank=2, **DOUBLE)
    half = nn.FactorizedLinear(8, 8, rank=2).half()
    at, x = torch.arange(30), torch.ones(2, 8, **DOUBLE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert table(at).dtype is dense(at).dtype is torch.float32
        assert double(x).dtype is torch.nn.Linear(8, 8, **DOUBLE)(x).dtype is torch.float64
        assert half(x.half()).dtype is torch.bfloat16


def test_weights_that_are_zero_or_no_numbers():
    for structure in LINEAR:
        dense = torch.nn.Linear(12, 10, **DOUBLE)
        torch.nn.init.zeros_(dense.weight)
        layer = nn.FactorizedLinear.from_layer(dense, structure=structure, rank=2)
        assert layer.error == 0
        assert not layer.weight.any()
        layer.prune(rtol=0.1)
        assert max(layer.format.ranks) == 1
        layer = nn.FactorizedLinear(12, 10, structure=structure, rank=2, **DOUBLE)
        with torch.no_grad():
            next(iter(layer.arrays.values()))[0] = float("nan")
        before = layer.format
        with pytest.raises(ValueError, match="not finite"):
            layer.prune(rtol=0.1)
        assert layer.format == before


def test_hooks_move_with_the_place_of_a_layer():
    model, calls = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()), []
    model[0].register_full_backward_hook(lambda *_: calls.append("backward"))
    handle = model[0].register_forward_hook(lambda *_: calls.append("forward"), with_kwargs=True)

    def run():
        calls.clear()
        model(torch.ones(2, 8, requires_grad=True)).sum().backward()
        return list(calls)

    for change in (
        lambda: nn.factorize(model, {"0": {"rank": 2}}),
        lambda: nn.collapse(model),
        lambda: nn.adapt(model, "0", rank=2),
        lambda: nn.merge(model),
    ):
        change()
        assert run() == ["forward", "backward"]
    handle.remove()
    assert run() == ["backward"]


def test_tied_layers_stay_one():
    def twins(second=None):
        model = torch.nn.Sequential(torch.nn.Linear(8, 8, **DOUBLE), second or torch.nn.Linear(8, 8, **DOUBLE))
        model[1].weight = model[0].weight
        return model

    model = twins()
    report = nn.factorize(model, {"*": {"rank": 6}})
    assert (report.before, report.after) == (64 + 16, 96 + 16)
    before = model[0].weight.detach().clone()
    assert nn.prune(model, rtol=0.4).layers[1].error <= 0.4
    assert (model[1].weight - before).norm() <= 0.4 * before.norm()  # pruned once, not once a layer
    assert model[0].format == model[1].format
    other = twins()
    nn.factorize(other, {"*": {"rank": 6}})
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 8, **DOUBLE)
    _near(other(x), model(x), 0.0)


def test_tied_layers_keep_their_options():
    model = torch.nn.ModuleDict({"a": torch.nn.Conv1d(4, 4, 3), "b": torch.nn.Conv1d(4, 4, 3, padding=2, dilation=2)})
    model["b"].weight = model["a"].weight
    x = torch.randn(1, 4, 9)
    expected = {name: layer(x) for name, layer in model.items()}
    nn.factorize(model, {"*": {"rtol": 1e-6}})
    for name, layer in model.items():
        _near(layer(x), expected[name], 1e-5)
    model = torch.nn.ModuleDict({"a": torch.nn.Conv1d(2, 4, 3), "b": torch.nn.Conv1d(4, 4, 3, groups=2)})
    model["b"].weight = model["a"].weight
    with pytest.raises(ValueError, match=r"is tied to 'b.weight', which has other groups"):
        nn.factorize(model, {"*": {"rank": 2}})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Adam", {"amsgrad": True}),
        ("RMSprop", {"momentum": 0.5, "centered": True}),
        ("Adadelta", {}),
        ("Adagrad", {}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("Rprop", {}),
        ("ASGD", {}),
        ("Adafactor", {}),
    ],
)
def test_every_optimizer_goes_on(kind, options):
    torch.manual_seed(0)
    layer, x = nn.FactorizedLinear(8, 8, structure="tt", rank=4), torch.randn(20, 8)
    optimizer = getattr(torch.optim, kind)(layer.parameters(), 1e-2, **options)
    goal, losses = x @ torch.randn(8, 8), []
    for step in range(60):
        if step == 30:
            layer.prune(keep=3, optimizer=optimizer)
        optimizer.zero_grad()
        loss = (layer(x) - goal).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[31]


def test_optimizers_of_some_tensors_and_of_none():
    layer = nn.FactorizedLinear(8, 8, rank=6)
    layer.arrays["layer0"].requires_grad_(False)
    optimizer = torch.optim.Adam(layer.parameters())
    for step in range(4):
        if step == 2:
            layer.prune(keep=3, optimizer=optimizer)
        optimizer.zero_grad()
        layer(torch.ones(2, 8)).sum().backward()
        optimizer.step()
    assert not layer.arrays["layer0"].requires_grad
    with pytest.raises(ValueError, match="L-BFGS keeps one vector"):
        layer.prune(keep=2, optimizer=torch.optim.LBFGS(layer.parameters()))
    with pytest.raises(TypeError, match=r"optimizer is one of torch.optim, got a float"):
        layer.prune(keep=2, optimizer=0.1)
    assert layer.format.ranks == (3,)


def test_models_that_are_not_changed_in_place():
    linear = torch.nn.Linear(8, 8)
    for call in (lambda: nn.factorize(linear, {"*": {"rank": 2}}), lambda: nn.adapt(linear, "*")):
        with pytest.raises(ValueError, match="the model is one layer"):
            call()
    assert linear.weight.requires_grad
    for call in (nn.factorize, nn.adapt, nn.prune, nn.parameter_groups):
        with pytest.raises(TypeError, match=r"model is a torch.nn.Module, got str"):
            call("model", 0.1)
    with pytest.raises(ValueError, match="there are no rules"):
        nn.factorize(torch.nn.Sequential(linear), {})
    weight_norm = torch.nn.utils.parametrizations.weight_norm
    pruned = torch.nn.Sequential(torch.nn.Linear(8, 8))
    random_unstructured(pruned[0], "weight", 0.5)
    with pytest.raises(ValueError, match="computed by a hook"):
        nn.factorize(pruned, {"0": {"rank": 2}})
    with pytest.raises(ValueError, match="is parametrized"):
        nn.factorize(torch.nn.Sequential(weight_norm(torch.nn.Linear(8, 8))), {"0": {"rank": 2}})
    adapted = torch.nn.Sequential(torch.nn.Linear(8, 8))
    nn.adapt(adapted, "0", rank=2)
    with pytest.raises(ValueError, match="has adapters already: merge"):
        nn.factorize(adapted, {"*": {"rank": 2}})


def test_wrappers():
    plain = torch.nn.Sequential(torch.nn.Linear(8, 8))
    nn.factorize(torch.nn.DataParallel(plain), {"module.0": {"rank": 4}})
    x = torch.randn(3, 8)
    compiled = torch.compile(plain, backend="aot_eager")
    compiled(x)
    nn.prune(plain, keep=2)
    _near(compiled(x), plain(x), 1e-6)

    class DistributedDataParallel(torch.nn.Module):  # the class of torch needs a process group
        def __init__(self, module):
            super().__init__()
            self.module = module

    with pytest.raises(ValueError, match="DistributedDataParallel keeps the parameters that it was made with"):
        nn.prune(DistributedDataParallel(plain), keep=1)


def test_layers_called_by_name_are_seen_by_statistics():
    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(input=x)

    model = Named()
    nn.factorize(model, {"layer": {"rank": 4}}, inputs=torch.randn(20, 8))
    nn.collapse(model)
    nn.factorize(model, {"layer": {"rank": 4}}, inputs={"x": torch.randn(20, 8)})
    assert model(torch.ones(1, 8)).shape == (1, 8)


def test_encoders_of_transformers_in_their_fast_path():
    block = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, **DOUBLE)
    model = torch.nn.TransformerEncoder(block, 2).eval()
    x = torch.randn(2, 5, 16, **DOUBLE)
    with torch.no_grad():
        expected = model(x)
        nn.factorize(model, {"*": {"rtol": 1e-13}})
        _near(model(x), expected, 1e-11)


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, 0.1), lambda p: torch.optim.Adam(p, 0.01)])
def test_optimizers_go_on_after_pruned_state_dicts(make):
    def trained(keep):
        model = torch.nn.Sequential(nn.FactorizedLinear(16, 16, rank=8, seed=0, **DOUBLE))
        optimizer = make(model.parameters())
        step(model, optimizer)
        if keep:
            nn.prune(model, keep=keep, optimizer=optimizer)
        return model, optimizer

    def step(model, optimizer):
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        return loss  # kept, as in a loop: its graph knows the old shapes

    x = torch.randn(64, 16, **DOUBLE)
    model, optimizer = trained(keep=2)
    other, resumed = trained(keep=None)
    loss = step(other, resumed)
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as from a file: PyTorch shares the moments
    for _ in range(3):
        step(model, optimizer)
        loss = step(other, resumed)
    assert loss.item() < 2
    assert other[0].format.ranks == (2,)
    assert torch.equal(other[0].weight, model[0].weight)


def test_optimizers_that_prune_is_not_told_of():
    for optimizer, fails in ((torch.optim.SGD, False), (torch.optim.Adam, True)):
        layer = nn.FactorizedLinear(8, 8, rank=4, **DOUBLE)
        trains = optimizer(layer.parameters(), 0.1)
        for keep in (4, 2):
            layer.prune(keep=keep)
            before = layer.weight.detach()
            layer(torch.randn(5, 8, **DOUBLE)).square().mean().backward()
            if fails and keep == 2:
                with pytest.raises(RuntimeError, match="must match"):
                    trains.step()
            else:
                trains.step()
                assert (layer.weight - before).abs().max() > 1e-4  # nothing stalls in silence
