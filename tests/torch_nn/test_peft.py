"""LoRA checkpoints in PEFT itself; `.ci/run` installs it and runs this file."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft", reason="PEFT is not installed; .ci/run installs it for this file")
nn = pytest.importorskip("tnrank_torch.nn")


class Model(torch.nn.Module):
    """An embedding, linear layers and convolutions of one and two axes, as PEFT adapts them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(30, 16)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(2))
        self.conv = torch.nn.Conv2d(1, 4, (3, 2), padding=1)
        self.head = torch.nn.Linear(4 * 7 * 17, 5)

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.head(torch.relu(self.conv(x[:, None])).flatten(1))


RULES = {
    "table": {"structure": "mf", "rank": 3},
    "blocks.0": {"structure": "mf", "rank": 4},
    "blocks.1": {"structure": "tt", "rank": 2},
    "conv": {"structure": "cp", "rank": 3},
    "head": {"structure": "htf", "rank": 4},
}


@pytest.mark.filterwarnings("ignore")  # of PEFT and of what it imports
@pytest.mark.parametrize("depth", [2, 3])
def test_peft_loads_it_and_computes_the_same(tmp_path, depth):
    torch.manual_seed(0)
    model = Model().eval()
    original = copy.deepcopy(model)
    nn.adapt(model, RULES, depth=depth, start=0.5)
    tokens = torch.randint(30, (8, 7))
    report = nn.save_lora(model, tmp_path, rtol=1e-7)
    assert len(set(report.ranks.values())) > 1
    with torch.no_grad():
        expected = model(tokens)
        assert (expected - original(tokens)).abs().max() > 0.05
        loaded = peft.PeftModel.from_pretrained(original, str(tmp_path)).eval()
        assert (loaded(tokens) - expected).abs().max() < 1e-5
        merged = loaded.merge_and_unload()
        assert (merged(tokens) - expected).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_transposed_layers_of_language_models(tmp_path):
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    torch.manual_seed(0)
    model = torch.nn.Sequential(pytorch_utils.Conv1D(12, 8), torch.nn.Tanh(), pytorch_utils.Conv1D(3, 12)).eval()
    original = copy.deepcopy(model)
    nn.adapt(model, "*", rank=2, start=0.5)
    nn.save_lora(model, tmp_path)
    x = torch.randn(4, 8)
    with torch.no_grad():
        loaded = peft.PeftModel.from_pretrained(original, str(tmp_path)).eval()
        assert (loaded(x) - model(x)).abs().max() < 1e-5
    nn.factorize(original := copy.deepcopy(nn.merge(model)), {"*": {"structure": "mf", "rtol": 1e-6}})
    assert (original(x) - model(x)).abs().max() < 1e-4
    assert type(nn.collapse(original)[0]) is pytorch_utils.Conv1D
