"""A convolutional network on scikit-learn's digits, taken to a tenth of its parameters: factorize, fine-tune, prune."""

from __future__ import annotations

import time

import torch

import tnrank
from tnrank_torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
BATCH, RATE = 60, 1e-3


def load(split):
    pixels, labels = tnrank.data.images("digits", split)
    return torch.as_tensor(pixels, dtype=torch.float32)[:, None], torch.as_tensor(labels)


images, labels = load("train")
test_images, test_labels = load("test")


def train(model, epochs, optimizer):
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(model):
    return float((model(test_images).argmax(1) == test_labels).double().mean())


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 32, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.Conv2d(32, 64, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(1024, 128),
    torch.nn.ReLU(),
    torch.nn.Linear(128, 10),
)
began = time.process_time()
train(model, 20, torch.optim.Adam(model.parameters(), RATE))
dense, before = accuracy(model), size(model)
print(f"dense: {before:,} parameters, {100 * dense:.1f} % of {len(test_labels)} test images\n")

# The first convolution and the last layer are small, and no rule matches them. Given images, the errors of outputs are
# made small in place of those of weights.
rules = {"2": {"structure": "tucker", "parameters": 0.15}, "6": {"structure": "mf", "parameters": 0.08}}
print(nn.factorize(model, rules, inputs=images[:500]))
print(f"accuracy {100 * accuracy(model):.1f} %\n")

optimizer = torch.optim.Adam(nn.parameter_groups(model, RATE / 4))
train(model, 8, optimizer)
print(f"fine-tuned: {100 * accuracy(model):.1f} %\n")

print(nn.prune(model, rtol=0.2, optimizer=optimizer))
print(f"accuracy {100 * accuracy(model):.1f} %\n")
train(model, 4, optimizer)  # the optimizer has gone through the pruning, its moments with it

share = size(model) / before
print(f"{size(model):,} parameters, {100 * share:.1f} % of the whole dense model; {100 * accuracy(model):.1f} %")
print(f"{time.process_time() - began:.0f} s")
assert share <= 0.1  # of the whole model, not of the replaced layers alone
assert accuracy(model) >= dense - 0.02
twin = nn.collapse(model)  # dense layers again, of the same function: for tools that know no others
assert size(twin) == before
