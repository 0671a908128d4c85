"""Whole models: rules, tied weights, hooks, pruning with the optimizer, adapters and LoRA checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")
DOUBLE = {"dtype": torch.float64}


class Conv1D(torch.nn.Module):
    """The transposed linear layer of language-model libraries: weight (inputs, outputs)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = torch.nn.Parameter(torch.randn(nx, nf, **DOUBLE) / nx**0.5)
        self.bias = torch.nn.Parameter(torch.randn(nf, **DOUBLE))

    def forward(self, x):
        return x @ self.weight + self.bias


class Model(torch.nn.Module):
    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(30, 16, **DOUBLE)
        self.blocks = torch.nn.ModuleList(
            torch.nn.ModuleDict({"mix": Conv1D(16, 16), "up": torch.nn.Linear(16, 32, **DOUBLE)}) for _ in range(2)
        )
        self.norm = torch.nn.LayerNorm(32, **DOUBLE)
        self.conv = torch.nn.Conv1d(32, 16, 3, padding=1, **DOUBLE)
        self.head = torch.nn.Linear(16, 30, bias=False, **DOUBLE)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x):
        y = self.table(x)
        for block in self.blocks:
            z = torch.nn.functional.gelu(block["up"](block["mix"](y)))
            y = y + self.conv(self.norm(z).mT).mT
        return self.head(y)


TOKENS = torch.randint(30, (3, 7), generator=torch.Generator().manual_seed(0))
EVERY = {"*": {"structure": "mf", "rtol": 1e-12}}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model()


def test_every_layer_at_full_rank_and_back(model):
    before, names = model(TOKENS), dict(model.named_modules())
    dense = {name: type(m) for name, m in names.items()}
    report = nn.factorize(model, EVERY)
    assert len(report.layers) == 7
    assert (model(TOKENS) - before).abs().max() < 1e-9
    assert isinstance(model.blocks[0]["mix"], nn.FactorizedLinear)
    assert model.blocks[0]["mix"].weight.shape == (16, 16)
    after = model(TOKENS)
    assert nn.collapse(model) is model
    assert (model(TOKENS) - after).abs().max() < 1e-12
    assert {name: type(m) for name, m in model.named_modules()} == dense
    with pytest.raises(ValueError, match="no factorized layers"):
        nn.collapse(model)


def test_the_first_rule_that_matches_wins(model):
    report = nn.factorize(
        model,
        {
            "blocks.0.*": None,
            "blocks.*.up": {"structure": "btt", "rank": 2},
            torch.nn.Conv1d: {"structure": "cp", "rank": 4},
            "*": {"structure": "mf", "rank": 3},
        },
    )
    kinds = {change.name: change.format for change in report.layers}
    assert kinds == {
        "table": "mf, rank 3",
        "blocks.1.mix": "mf, rank 3",
        "blocks.1.up": "btt, rank 2",
        "conv": "cp, rank 4",
        "head": "mf, rank 3",
    }
    assert type(model.blocks[0]["up"]) is torch.nn.Linear
    text = str(report)
    assert "whole model:" in text
    assert f"{sum(p.numel() for p in model.parameters()):,}" in text
    row = next(change for change in report.layers if change.name == "conv")
    assert (row.before, row.after) == (32 * 16 * 3, 4 * (32 + 16 + 3))
    assert (row.flops_before, row.flops_after) == (32 * 16 * 3, 4 * (32 + 3 + 16))


def test_modes_hooks_dtypes_and_frozen_weights_are_kept(model):
    calls = []
    model.conv.register_forward_hook(lambda *_: calls.append("conv"))
    model.head.eval()
    model.head.weight.requires_grad_(False)
    nn.factorize(model, {"conv": {"structure": "tt", "rank": 2}, "head": {"structure": "mf", "rank": 2}})
    model(TOKENS)
    assert calls == ["conv", "conv"]
    assert not model.head.training
    assert model.conv.training
    assert not any(p.requires_grad for p in model.head.parameters())
    assert all(p.dtype is torch.float64 for p in model.parameters())
    nn.collapse(model)
    model(TOKENS)
    assert len(calls) == 4


def test_inputs_weight_the_errors(model):
    outputs = model(TOKENS).detach()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    errors = []
    for inputs in (None, TOKENS):
        fresh = Model()
        fresh.load_state_dict(state)
        nn.factorize(fresh, {"blocks.*.up": {"structure": "mf", "rank": 6}}, inputs=inputs)
        assert fresh.training
        errors.append(float((fresh(TOKENS) - outputs).detach().norm()))
    assert errors[1] < errors[0]


def test_new_weights(model):
    before = model.blocks[0]["up"].weight.detach().std()
    report = nn.factorize(model, {"blocks.*.up": {"structure": "tt", "rank": 4}}, fresh=True)
    assert {change.error for change in report.layers} == {None}
    assert model.blocks[0]["up"].weight.detach().std() / before == pytest.approx(1, abs=0.15)
    with pytest.raises(ValueError, match="no error to bound by rtol"):
        nn.factorize(model, {"head": {"rtol": 0.1}}, fresh=True)


def test_shared_modules_are_swapped_at_every_place():
    layer = torch.nn.Linear(8, 8, **DOUBLE)
    model = torch.nn.Sequential(layer, torch.nn.ReLU(), layer)
    nn.factorize(model, {"0": {"structure": "mf", "rank": 2}})
    assert model[0] is model[2]
    nn.collapse(model)
    assert model[0] is model[2]


def test_tied_weights_are_swapped_together_or_refused():
    tied = Model(tied=True)
    with pytest.raises(ValueError, match=r"the weight of 'table' is tied to 'head.weight', which is not replaced"):
        nn.factorize(tied, {"table": {"structure": "mf", "rank": 2}})
    assert type(tied.table) is torch.nn.Embedding
    twins = torch.nn.Sequential(torch.nn.Linear(8, 8, **DOUBLE), torch.nn.Linear(8, 8, **DOUBLE))
    twins[1].weight = twins[0].weight
    nn.factorize(twins, {"*": {"structure": "tt", "rank": 2}})
    assert twins[0].arrays["core0"] is twins[1].arrays["core0"]
    assert not torch.equal(twins[0].bias, twins[1].bias)
    nn.prune(twins, keep=1)
    assert twins[0].arrays["core0"] is twins[1].arrays["core0"]
    assert twins[0].format.ranks == twins[1].format.ranks == (1, 1, 1)
    twins(torch.ones(1, 8, **DOUBLE)).sum().backward()


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"hed": {"rank": 2}}, ValueError, "'hed' matches no layer: the nearest are 'head'"),
        ({"norm": {"rank": 2}}, ValueError, "'norm', of type LayerNorm, which cannot be replaced: Linear, Conv1d,"),
        (
            {torch.nn.Conv2d: {"rank": 2}},
            ValueError,
            "no layer that can be replaced has the type Conv2d: .* can be, and the model has Conv1D, Conv1d, Embedding",
        ),
        ({"head": {"ranks": 2}}, ValueError, "no setting 'ranks': structure, rank, rtol, parameters"),
        ({"head": 3}, TypeError, "has settings such as"),
        ({3: {}}, TypeError, "a name pattern or a type"),
        ("head", TypeError, "rules is a mapping such as"),
        (
            {"head": {"rank": 99}},
            ValueError,
            "layer 'head': rank 99 of structure 'mf' is larger than possible: 16 at most",
        ),
        ({"conv": {"structure": "btt", "rank": 1}}, ValueError, "layer 'conv': structure 'btt' is not for weights of"),
    ],
)
def test_bad_rules_leave_the_model_as_it_was(model, rules, error, message):
    rules = rules if isinstance(rules, str) else {"blocks.*.up": {"structure": "mf", "rank": 2}, **rules}
    before = {name: type(m) for name, m in model.named_modules()}
    with pytest.raises(error, match=message):
        nn.factorize(model, rules)
    assert {name: type(m) for name, m in model.named_modules()} == before


def test_what_is_factorized_already_is_collapsed_first(model):
    nn.factorize(model, {"head": {"rank": 2}})
    with pytest.raises(ValueError, match=r"'head', which is factorized already: collapse\(model\) makes it dense"):
        nn.factorize(model, {"head": {"rank": 1}})
    with pytest.raises(ValueError, match="'head', which is factorized already"):
        nn.adapt(model, ["head"])


def test_adapters_of_tied_weights_are_refused():
    for rules in (["0"], ["1"], ["*"]):
        model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        model[1].weight = model[0].weight
        with pytest.raises(ValueError, match="is tied to"):
            nn.adapt(model, rules, rank=4)
        assert type(model[0]) is type(model[1]) is torch.nn.Linear
        assert model[0].weight.requires_grad


def test_an_error_while_pruning_leaves_all_layers_and_the_optimizer_as_they_were():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    nn.factorize(model, {"*": {"rank": 4}})
    optimizer = torch.optim.Adam(model.parameters())
    before = list(model.parameters())
    with torch.no_grad():
        model[1].arrays["layer0"].fill_(float("nan"))
    with pytest.raises(ValueError, match=r"layer '1': .* not finite"):
        nn.prune(model, keep=2, optimizer=optimizer)
    assert model[0].format.ranks == model[1].format.ranks == (4,)
    for held in (list(model.parameters()), optimizer.param_groups[0]["params"]):
        assert all(new is old for new, old in zip(held, before, strict=True))


def test_pruning_refuses_the_optimizer_of_another_model_and_forgets_the_error_of_the_fit():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    stale = torch.optim.Adam(model.parameters())
    nn.factorize(model, {"*": {"rank": 4}})
    with pytest.raises(ValueError, match="holds no parameters of the factorized layers"):
        nn.prune(model, keep=2, optimizer=stale)
    assert model[0].error > 0
    nn.prune(model, keep=2)
    assert model[0].error is None
    assert "error" not in repr(model[0])


def test_tied_layers_collapse_to_one_weight():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    model[1].weight = model[0].weight
    nn.factorize(model, {"*": {"rank": 4}})
    expected = model(torch.ones(1, 8))
    nn.collapse(model)
    assert model[0].weight is model[1].weight
    assert model[0].bias is not model[1].bias
    assert torch.allclose(model(torch.ones(1, 8)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        (None, TypeError, "rules is a name pattern, a type, a list of them"),
        ({"0": 8}, TypeError, "the rule for '0' has settings such as"),
        ({"0": "mf"}, TypeError, "the rule for '0' has settings such as"),
        ({"0": {"ranks": 2}}, ValueError, "has no setting 'ranks'"),
    ],
)
def test_rules_of_adapters_that_are_none(rules, error, message):
    with pytest.raises(error, match=message):
        nn.adapt(torch.nn.Sequential(torch.nn.Linear(8, 8)), rules)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_adapters_of_weights_that_are_not_finite_are_refused(value):
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    with torch.no_grad():
        model[0].weight[2, 3] = value
    with pytest.raises(ValueError, match="layer '0': its weight has entries that are not finite"):
        nn.adapt(model, ["0"], rank=2)
    assert model[0].weight.requires_grad


def test_adapters_are_merged_before_a_model_is_collapsed():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    nn.adapt(model, ["0"], rank=4)
    with pytest.raises(ValueError, match=r"merge\(model\) first"):
        nn.collapse(model)
    assert nn.merge(model)[0].weight.shape == (8, 8)


@pytest.mark.filterwarnings("ignore:.*quantiz.*")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_that_are_no_numbers_are_refused():
    layer = torch.nn.Linear(8, 8)
    parametrized = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(8, 8)))
    with pytest.raises(ValueError, match="is parametrized: remove_parametrizations"):
        nn.factorize(parametrized, {"0": {"rank": 2}})
    with pytest.raises(ValueError, match="no size yet"):
        nn.factorize(torch.nn.Sequential(torch.nn.LazyLinear(8)), {"0": {"rank": 2}})
    layer.weight = torch.nn.Parameter(torch.ones(8, 8, dtype=torch.int8), requires_grad=False)
    with pytest.raises(TypeError, match="is quantized"):
        nn.factorize(torch.nn.Sequential(layer), {"0": {"rank": 2}})
    with pytest.raises(ValueError, match="the model is one layer"):
        nn.factorize(torch.nn.Linear(8, 8), {"*": {"rank": 2}})


def test_pruning_a_model_with_its_optimizer(model):
    nn.factorize(model, {"blocks.*.up": {"structure": "mf", "rank": 12}, "conv": {"structure": "tt", "rank": 6}})
    optimizer = torch.optim.Adam(nn.parameter_groups(model, 1e-3))
    targets = torch.randint(30, (3, 7))

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(TOKENS).flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss

    kept = [step() for _ in range(30)]
    report = nn.prune(model, keep=4, optimizer=optimizer)
    assert {change.format for change in report.layers} == {"mf, rank 4", "tt, ranks (4, 3, 4)"} or all(
        max(map(int, "".join(c if c.isdigit() else " " for c in change.format).split())) <= 4
        for change in report.layers
    )
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters()}
    assert all(change.error is not None and 0 < change.error < 1 for change in report.layers)
    for _ in range(30):
        kept.append(step())
    assert kept[-1] < kept[0]
    other = Model()
    nn.factorize(other, {"blocks.*.up": {"structure": "mf", "rank": 12}, "conv": {"structure": "tt", "rank": 6}})
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(TOKENS), model(TOKENS))
    for bad in ({}, {"keep": 0}, {"rtol": 1.0}, {"rtol": 0.1, "keep": 2}):
        with pytest.raises(ValueError, match=r"needed one|from 1|leave nothing"):
            nn.prune(model, **bad)


def test_learning_rates_go_into_groups(model):
    nn.factorize(model, {"blocks.0.up": {"structure": "mf", "rank": 4}})
    groups = nn.parameter_groups(model, 1e-2, weight_decay=0.1)
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    layer = model.blocks[0]["up"]
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert rate[id(layer.arrays["layer0"])] == pytest.approx(1e-2 * 16 / 4 / 2)
    assert rate[id(layer.arrays["layer1"])] == pytest.approx(1e-2 / 2)
    assert rate[id(layer.bias)] == rate[id(model.head.weight)] == 1e-2
    assert all(g["weight_decay"] == 0.1 for g in groups)


# adapters


@pytest.mark.parametrize("structure", ["mf", "cp", "tt", "htf"])
def test_adapters_start_small_train_alone_and_merge(model, structure):
    before = model(TOKENS).detach()
    report = nn.adapt(model, ["blocks.*", "table", "conv"], structure, rank=3, seed=0)
    assert len(report.layers) == 6
    start = model(TOKENS).detach()
    assert 0 < (start - before).norm() < 1e-2 * before.norm()
    for layer in model.modules():
        if isinstance(layer, nn.AdaptedLayer):
            ratio = layer.change.weight.detach().norm() / layer.base.weight.norm()
            assert float(ratio) == pytest.approx(1e-4, rel=1e-6)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all(".change." in name for name in trained)
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        model(TOKENS).square().mean().backward()
        optimizer.step()
    for name, value in frozen.items():
        assert torch.equal(dict(model.named_parameters())[name], value)
    assert len(nn.prune(model, rtol=0.3, optimizer=optimizer).layers) == 6
    after = model(TOKENS).detach()
    assert (after - before).norm() > 0.05 * before.norm()
    nn.merge(model)
    assert (model(TOKENS) - after).abs().max() < 1e-10 * after.abs().max()
    assert not any(isinstance(m, nn.AdaptedLayer) for m in model.modules())
    with pytest.raises(ValueError, match="no adapters"):
        nn.merge(model)


def test_the_rank_of_adapters_is_an_offer():
    layers = torch.nn.Linear(20, 30), torch.nn.Linear(30, 4), torch.nn.Linear(4, 50)
    model = torch.nn.Sequential(*layers)
    nn.adapt(model, {"0": {}, "1": {"depth": 3}, "2": {"structure": "tt"}}, rank=64)
    assert [module.change.format.ranks for module in model] == [(20,), (4, 4), model[2].change.format.ranks]
    assert model[2].change.format.ranks == tuple(model[2].change.format.limits.values())


def test_balanced_starts_of_adapters(model):
    nn.adapt(model, "head", rank=5, depth=3)
    a, b, c = model.head.change.arrays.values()
    assert torch.allclose(a.T @ a, b @ b.T, atol=1e-12)
    assert torch.allclose(b.T @ b, c @ c.T, atol=1e-12)
    with pytest.raises(ValueError, match="has adapters already"):
        nn.adapt(model, "conv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hed",), "nearest are 'head'"),
        (({"head": {"rtol": 1}},), "no setting 'rtol'"),
        (("head", "qr"), "structure is one of"),
        (({"head": {"start": 0}},), "start is the relative norm"),
    ],
)
def test_errors_of_adapters(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.adapt(model, *arguments)
    assert all(p.requires_grad for p in model.parameters())


def test_lora_checkpoints_hold_the_change(model, tmp_path):
    from safetensors.numpy import load_file

    with torch.no_grad():
        nn.adapt(
            model,
            {
                "blocks.0.up": {"rank": 4},
                "head": {"structure": "tt", "rank": 2},
                "conv": {"rank": 3},
                "table": {"rank": 2},
            },
            start=0.5,
        )
    report = nn.save_lora(model, tmp_path / "adapter", rtol=1e-9, base="some/model")
    assert report.ranks == {"table": 2, "blocks.0.up": 4, "conv": 3, "head": 2}
    assert max(report.residuals.values()) < 1e-9
    assert "blocks.0.up  rank    4" in str(report)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 4)
    assert config["rank_pattern"] == config["alpha_pattern"] == {"table": 2, "conv": 3, "head": 2}
    assert config["target_modules"] == ["table", "blocks.0.up", "conv", "head"]
    held = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for name in ("blocks.0.up", "head"):
        a, b = (held[f"base_model.model.{name}.lora_{k}.weight"] for k in "AB")
        change = model.get_submodule(name).change.weight.detach().numpy()
        np.testing.assert_allclose(b @ a, change, atol=1e-6)
    a, b = (held[f"base_model.model.conv.lora_{k}.weight"] for k in "AB")
    np.testing.assert_allclose(np.einsum("orx,rik->oik", b, a), model.conv.change.weight.detach().numpy(), atol=1e-6)
    a, b = (held[f"base_model.model.table.lora_embedding_{k}"] for k in "AB")
    np.testing.assert_allclose((b @ a).T, model.table.change.weight.detach().numpy(), atol=1e-6)


def test_lora_checkpoints_that_cannot_be(model, tmp_path):
    with pytest.raises(ValueError, match="no adapters"):
        nn.save_lora(model, tmp_path)
    nn.adapt(model, {"blocks.0.*": {}}, rank=2)
    with pytest.raises(ValueError, match="save them apart"):
        nn.save_lora(model, tmp_path)
    grouped = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=2))
    nn.adapt(grouped, "0", rank=2)
    with pytest.raises(ValueError, match="2 groups, which LoRA has no form for"):
        nn.save_lora(grouped, tmp_path)
