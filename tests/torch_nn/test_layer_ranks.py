"""The rank report of modules, and the radar beside optimizers."""

from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import pytest

import tnrank

torch = pytest.importorskip("torch")
nn = pytest.importorskip("tnrank_torch.nn")
tn = torch.nn


class Factorized(tn.Module):
    """As a factorized layer: two thin parameters, and the dense weight that they make."""

    def __init__(self, rank=2):
        super().__init__()
        self.left = tn.Parameter(torch.randn(12, rank))
        self.inner = tn.Linear(10, rank, bias=False)
        self.bias = tn.Parameter(torch.zeros(12))

    def dense_weight(self):
        return self.left @ self.inner.weight

    def forward(self, x):
        return x @ self.dense_weight().mT + self.bias


def convolutional():
    return tn.Sequential(
        tn.Conv2d(1, 6, 3), tn.BatchNorm2d(6), tn.ReLU(), tn.Flatten(), tn.Linear(216, 10), Factorized_head()
    )


def Factorized_head():
    return tn.Sequential(tn.Dropout(0.5), tn.Linear(10, 4))


def test_every_weight_by_name():
    model = tn.ModuleDict(
        {
            "embed": tn.Embedding(20, 8),
            "rnn": tn.LSTM(8, 5),
            "attention": tn.MultiheadAttention(8, 2),
            "conv": tn.Conv1d(4, 6, 3, groups=2),
            "norm": tn.LayerNorm(8),
            "out": Factorized(),
        }
    )
    report = nn.layer_ranks(model)
    expected = [name for name, p in model.named_parameters() if p.ndim >= 2 and not name.startswith("out.")]
    assert [row.name for row in report] == [*expected, "out.weight"]
    for row in report.rows[:-1]:
        weight = model.get_parameter(row.name).detach()
        assert row.shape == tuple(weight.shape)
        exact = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)
        assert row.matrix.singular_values == pytest.approx(exact, abs=1e-5)
    assert report["conv.weight"].sides == (6, 6)
    assert report["out.weight"].shape == (12, 10)
    assert report["out.weight"].matrix.rank == 2
    assert "norm.weight" in report.left_out
    assert "out.bias" in report.left_out


def test_changes():
    model = convolutional()
    before, state = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model[4].weight += torch.outer(torch.ones(10), torch.ones(216))
    for initial in (before, state):
        report = nn.layer_ranks(model, initial)
        assert [row.change.rank for row in report] == [0, 1, 0]
    with pytest.raises(ValueError, match=r"initial has no weight '4.weight'"):
        nn.layer_ranks(model, {"0.weight": state["0.weight"]})


def test_activations_leave_no_trace():
    model = convolutional()
    model.train()
    model[5].eval()
    images = torch.randn(50, 1, 8, 8)
    modes = [module.training for module in model.modules()]
    running = model[1].running_mean.clone()
    report = nn.layer_ranks(model, inputs=images)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(model[1].running_mean, running)
    assert [row.activations_width for row in report] == [6, 10, 4]
    model.eval()
    with torch.no_grad():
        outputs = model[:5](images)
        s = np.linalg.svd(outputs.numpy(), compute_uv=False)
        of_conv = model[0](images).movedim(1, -1).reshape(-1, 6)
        t = np.linalg.svd(of_conv.numpy(), compute_uv=False)
    assert report["4.weight"].activations_effective_rank == pytest.approx(entropy_rank(s), rel=1e-4)
    assert report["0.weight"].activations_effective_rank == pytest.approx(entropy_rank(t), rel=1e-4)


def entropy_rank(s):
    p = s / s.sum()
    return np.exp(-(p * np.log(p)).sum())


def test_hooks_go_even_if_the_model_fails():
    model = convolutional()
    with pytest.raises(RuntimeError):
        nn.layer_ranks(model, inputs=torch.randn(2, 3, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


def test_other_kinds_of_inputs():
    class Two(tn.Module):
        def __init__(self):
            super().__init__()
            self.layer = tn.Linear(5, 3)

        def forward(self, a, b):
            return self.layer(a) + self.layer(b)

    a, b = torch.randn(2, 40, 5)
    model = Two()
    expected = nn.layer_ranks(model, inputs=(a, b))["layer.weight"].activations_effective_rank
    both = np.linalg.svd(model.layer(torch.cat([a, b])).detach().numpy(), compute_uv=False)
    assert expected == pytest.approx(entropy_rank(both), rel=1e-4)
    assert nn.layer_ranks(model, inputs={"a": a, "b": b})["layer.weight"].activations_effective_rank == expected


def test_tied_wrapped_and_parametrized_weights():
    model = tn.Sequential(tn.Embedding(9, 6), tn.Linear(6, 9, bias=False))
    model[1].weight = model[0].weight
    assert [row.name for row in nn.layer_ranks(model)] == ["0.weight"]
    compiled = torch.compile(tn.Sequential(tn.Linear(3, 3)))
    assert [row.name for row in nn.layer_ranks(compiled)] == ["0.weight"]
    low = torch.outer(torch.ones(4), torch.ones(6))
    layer = tn.utils.parametrizations.weight_norm(tn.Linear(6, 4))
    with torch.no_grad():
        layer.weight = low
    report = nn.layer_ranks(tn.Sequential(layer))
    assert [row.name for row in report] == ["0.weight"]
    assert report["0.weight"].matrix.rank == 1


def quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own quantization
        return torch.ao.quantization.quantize_dynamic(tn.Sequential(tn.Linear(8, 8)), {tn.Linear})


def whole_numbers():
    model = tn.Sequential(tn.Linear(8, 8))
    model[0].weight = tn.Parameter(torch.ones(8, 8, dtype=torch.int8), requires_grad=False)
    return model


BAD = {
    "no module": (lambda: tn.Linear(2, 2).state_dict(), TypeError, "tnrank.radar.layer_ranks"),
    "no weights": (lambda: tn.LayerNorm(4), ValueError, "this LayerNorm has none"),
    "quantized": (quantized, ValueError, r"the layer '0' \(Linear\) is quantized"),
    "whole numbers": (whole_numbers, ValueError, r"the layer '0' \(Linear\) is quantized"),
    "lazy": (lambda: tn.Sequential(tn.LazyLinear(3)), ValueError, "'0.weight' has no values yet"),
    "meta": (lambda: tn.Sequential(tn.Linear(3, 3, device="meta")), ValueError, "'0.weight' is on the meta device"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("call", [nn.layer_ranks, nn.RankRadar])
def test_bad_models(case, call):
    make, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        call(make())


def trained(model, radar, steps=30, attach=False, seed=0):
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    if attach:
        radar.attach(optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 10)).square().mean().backward()
        optimizer.step()
        if not attach:
            radar.step()


def small():
    torch.manual_seed(1)
    return tn.Sequential(tn.Linear(10, 10), tn.Tanh(), Factorized())


@pytest.mark.parametrize("attach", [False, True])
def test_records_while_training(attach):
    model = small()
    start = model[0].weight.detach().clone()
    with nn.RankRadar(model, every=10, leading=3, changes=True) as radar:
        trained(model, radar, 25, attach)
    found = radar.history["0.weight"]
    assert found.steps.tolist() == [0, 10, 20, 25]
    for weight, row in ((start, 0), (model[0].weight.detach(), -1)):
        assert found.singular_values[row] == pytest.approx(torch.linalg.svdvals(weight)[:3].numpy(), rel=1e-4)
    change = float((model[0].weight.detach() - start).norm())
    assert radar.changes["0.weight"].norm[-1] == pytest.approx(change, rel=1e-4)
    assert set(radar.history) == {"0.weight", "2.weight"}
    assert radar.history["2.weight"].singular_values[-1, 2] < 1e-5
    assert all(p.requires_grad for p in model.parameters())
    steps = len(found)
    trained(model, nn.RankRadar(model), 3)
    assert len(radar.history["0.weight"]) == steps  # detached


def test_an_error_in_training_detaches_and_records_nothing():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    radar = nn.RankRadar(model, every=10)

    def fail():
        with radar.attach(optimizer):
            for _ in range(3):
                optimizer.step()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert radar.last_step == 0
    optimizer.step()
    assert radar._count == 3


def test_resumed_goes_on_recording():
    whole_model, model = small(), small()
    whole = nn.RankRadar(whole_model, every=10, changes=True)
    trained(whole_model, whole, 15)
    trained(whole_model, whole, 25, seed=1)
    first = nn.RankRadar(model, every=10, changes=True)
    trained(model, first, 15)
    stream = io.BytesIO()
    torch.save({"radar": first.state_dict(), "model": model.state_dict()}, stream)
    stream.seek(0)
    state = torch.load(stream, weights_only=True)
    resumed_model = small()
    resumed_model.load_state_dict(state["model"])
    resumed = nn.RankRadar(resumed_model, every=10, changes=True)
    resumed.load_state_dict(state["radar"])
    trained(resumed_model, resumed, 25, seed=1)
    for kind in ("history", "changes"):
        for name, one in getattr(whole, kind).items():
            other = getattr(resumed, kind)[name]
            assert other.steps.tolist() == one.steps.tolist() == [0, 10, 20, 30, 40]
            np.testing.assert_array_equal(other.singular_values, one.singular_values)


def test_half_precision():
    model = tn.Linear(200, 150).bfloat16()
    radar = nn.RankRadar(model, every=1, leading=4)
    radar.step()
    exact = torch.linalg.svdvals(model.weight.detach().float())[:4]
    assert radar.history["weight"].singular_values[-1] == pytest.approx(exact.numpy(), rel=5e-3)


def test_bad_calls():
    model = small()
    with pytest.raises(ValueError, match="every is the number of steps"):
        nn.RankRadar(model, every=0)
    radar = nn.RankRadar(model)
    with pytest.raises(TypeError, match=r"optimizer is one of torch\.optim, got a Adam"):
        radar.attach(tnrank.Adam(1e-3))
    with pytest.raises(ValueError, match="with an entry 'count'"):
        radar.load_state_dict({})
