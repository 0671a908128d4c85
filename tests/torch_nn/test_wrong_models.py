"""Models and calls that change nothing: what is said of them, and what ``torch.compile`` wraps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")
radar = pytest.importorskip("tnrank.radar")
RULE = {"structure": "mf", "rank": 4}


def _two(features=8):
    first, second = torch.nn.Linear(features, features), torch.nn.Linear(features, features)
    return torch.nn.Sequential(first, torch.nn.ReLU(), second)


def _changed(model, call):
    before = {name: type(module) for name, module in model.named_modules()}
    trained = [parameter.requires_grad for parameter in model.parameters()]
    try:
        call(model)
    finally:
        same = before == {name: type(module) for name, module in model.named_modules()}
        assert same
        assert trained == [parameter.requires_grad for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ("abc", TypeError, "inputs is a batch: a tensor, a tuple of the model's arguments or a mapping .* got a str"),
        (torch.zeros(0, 8), ValueError, r"layer '0': inputs have shape \(0, 8\) and hold nothing"),
    ],
)
def test_inputs_that_are_no_batch(inputs, error, message):
    with pytest.raises(error, match=message):
        _changed(_two(), lambda model: nn.factorize(model, {"*": RULE}, inputs=inputs))
    with pytest.raises(error, match=r"inputs is a batch|give a batch of some samples"):
        nn.layer_ranks(_two(), inputs=inputs)


def test_models_whose_layers_have_several_weights_have_no_activations():
    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = torch.nn.LSTM(4, 4)

        def forward(self, x):
            return self.cell(x)[0]

    report = nn.layer_ranks(Last(), inputs=torch.randn(5, 2, 4))
    assert [row.activations_effective_rank for row in report] == [None, None]


@pytest.mark.parametrize(
    ("model", "rules", "message"),
    [
        (torch.nn.Sequential(torch.nn.LSTM(4, 4)), {torch.nn.LSTM: RULE}, "has the type LSTM: .* the model has none"),
        (torch.nn.Sequential(torch.nn.LSTM(4, 4)), {"*": RULE}, "matches '0', of type LSTM, which cannot be replaced"),
        (torch.nn.Sequential(torch.nn.ReLU()), {"a*": RULE}, "can be replaced, and the model has none of them"),
        (_two(), {"*": None}, "the rules leave every layer alone"),
        (_two(), {"*": None, "0": RULE}, "the first rule that matches a layer is the one for it"),
        (
            _two(),
            {"0": {"structure": "tt", "rank": 2, "depth": 3}},
            "layer '0': depth is the number of factors of 'mf'",
        ),
        (_two(), {"0": {"structure": "tt", "rank": 2, "modes": (2, 4)}}, "modes is a number, or splits of both sides"),
        (_two(), {"0": {"rtol": 0}}, "layer '0': rtol is a finite number above 0"),
        (_two(), {"0": {"rtol": 1}}, "layer '0': rtol=1 would leave nothing of the weight"),
    ],
)
def test_what_is_said_of_rules(model, rules, message):
    with pytest.raises(ValueError, match=message):
        _changed(model, lambda model: nn.factorize(model, rules))


@pytest.mark.parametrize("rank", [2.5, "4"])
def test_ranks_of_other_types(rank):
    with pytest.raises(TypeError, match=r"layer '0': rank is a whole number, or one for each inner index"):
        _changed(_two(), lambda model: nn.factorize(model, {"0": {"rank": rank}}))


def test_adapters_of_nothing():
    with pytest.raises(ValueError, match="the rules leave every layer alone"):
        _changed(_two(), lambda model: nn.adapt(model, {"*": None}))
    with pytest.raises(ValueError, match="layer '0': depth is the number of factors of 'mf'"):
        _changed(_two(), lambda model: nn.adapt(model, "0", structure="tt", rank=2, depth=3))
    model = _two()
    nn.adapt(model, {"0": {"structure": "tt"}, "2": {}}, rank=2, depth=3)  # the depth is that of the other layer
    assert model[2].change.format.layout.depth == 3


def test_tied_layers_of_two_types_are_named():
    model = torch.nn.ModuleDict({"table": torch.nn.Embedding(8, 4), "head": torch.nn.Linear(4, 8)})
    model["head"].weight = model["table"].weight
    with pytest.raises(ValueError, match=r"tied to 'head.weight', which is that of Linear, not Embedding"):
        _changed(model, lambda model: nn.factorize(model, {"*": RULE}))


def test_layers_that_share_tensors_are_one_weight():
    model = _two()
    model[2].weight = model[0].weight
    nn.factorize(model, {"*": RULE})
    assert [row.name for row in nn.layer_ranks(model)] == ["0.weight"]
    assert list(nn.RankRadar(model).history) == ["0.weight"]


def _compiled_whole():
    return torch.compile(_two(), backend="eager")


def _compiled_inside():
    model = _two()
    model[0] = torch.compile(model[0], backend="eager")
    return model


@pytest.mark.parametrize("make", [_compiled_whole, _compiled_inside])
def test_compiled_models_have_the_names_of_plain_ones(make, tmp_path):
    x = torch.randn(3, 8)
    model = make()
    before = model(x)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    assert any("_orig_mod" in name for name in start)
    report = nn.factorize(model, {"0": {"rank": 8}})
    assert [change.name for change in report.layers] == ["0"]
    torch.testing.assert_close(model(x), before, atol=1e-5, rtol=0)
    assert [row.name for row in nn.layer_ranks(model, start)] == ["0.weight", "2.weight"]
    assert nn.layer_ranks(model, start)["0.weight"].change.norm < 1e-5
    assert list(nn.RankRadar(model, changes=True, initial=start).history) == ["0.weight", "2.weight"]
    assert [change.name for change in nn.prune(model, keep=8).layers] == ["0"]
    nn.collapse(model)
    torch.testing.assert_close(model(x), before, atol=1e-5, rtol=0)
    nn.adapt(model, "0", rank=2)
    assert list(nn.save_lora(model, tmp_path).ranks) == ["0"]
    nn.merge(model)
    torch.testing.assert_close(model(x), before, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="the model is one layer"):
        nn.factorize(torch.compile(torch.nn.Linear(4, 4)), {"*": RULE})


def test_files_of_compiled_and_tied_models(tmp_path):
    from safetensors.torch import save_file

    compiled = _compiled_whole()
    torch.save(compiled.state_dict(), tmp_path / "compiled.pt")
    save_file(compiled.state_dict(), tmp_path / "compiled.safetensors")
    for suffix in ("pt", "safetensors"):
        held = radar.read_weights(tmp_path / f"compiled.{suffix}")
        assert sorted(held) == ["0.bias", "0.weight", "2.bias", "2.weight"]
        np.testing.assert_array_equal(np.asarray(held["0.weight"]), compiled._orig_mod[0].weight.detach().numpy())
    tied = _two()
    tied[2].weight = tied[0].weight
    torch.save(tied.state_dict(), tmp_path / "tied.pt")
    assert list(radar.read_weights(tmp_path / "tied.pt")) == ["0.weight", "0.bias", "2.bias"]


def test_files_of_factorized_models_say_that_rows_are_factors(tmp_path):
    model = _two()
    assert "factors" not in str(radar.layer_ranks(model.state_dict()))
    nn.factorize(model, {"0": {"structure": "tt", "rank": 2}})
    assert "rows are tensors of factorized layers, such as 0.arrays.core0" in str(radar.layer_ranks(model.state_dict()))
    assert "factors" not in str(nn.layer_ranks(model))
    adapted = _two()
    nn.adapt(adapted, "0", rank=2)
    assert "tensors of adapters, such as 0.change.arrays" in str(radar.layer_ranks(adapted.state_dict()))


def test_radars_of_another_model_are_refused():
    state = nn.RankRadar(torch.nn.Linear(3, 3)).state_dict()
    radar = nn.RankRadar(_two())
    with pytest.raises(
        ValueError, match=r"of another model: it has the weight 'weight' of shape \(3, 3\), this radar none"
    ):
        radar.load_state_dict(state)
    with pytest.raises(ValueError, match=r"'0.weight' of shape \(9, 9\), this radar shape \(8, 8\)"):
        radar.load_state_dict(nn.RankRadar(_two(9)).state_dict())
    radar.step()
    assert list(radar.history) == ["0.weight", "2.weight"]


def test_radars_show_no_digits_of_rounding():
    model = _two(32)
    nn.factorize(model, {"*": {"rank": 2}})
    radar = nn.RankRadar(model)
    row = next(line for line in str(radar.report()).splitlines() if line.startswith("0.weight"))
    values = row.split("...")[0].split()[-2:]
    assert all(float(value) > 0.1 for value in values)
    assert "e-" not in row
