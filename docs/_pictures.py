"""Draws the pictures of the docs: ``python docs/_pictures.py`` writes docs/images/*.png.

With names of recipes it draws the figures of their quick presets instead, or of another one: ``NAME:PRESET``. Figures
of downloaded images need TNRANK_DATA.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

import tnrank
from tnrank import plots
from tnrank.circuits import Circuit
from tnrank.experiments import make_recipe, run

IMAGES = Path(__file__).parent / "images"


def save(name: str, figure: Any, dpi: int = 120, light: bool = False) -> None:
    """A png of few colors, which is a small one; ``light`` keeps light tints apart, at three times the size."""
    picture = Image.open(io.BytesIO(plots.image_bytes(figure, "figure.png", dpi=dpi))).convert("RGB")
    # Without the coverage of all colors by the first median cut, thin colored lines turn gray.
    if not light:
        picture = picture.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(IMAGES / name, optimize=True)
    print(f"{name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB, {picture.width} x {picture.height}")


def noisy() -> np.ndarray[Any, Any]:
    """Hierarchical rank 2 and noise."""
    x = np.asarray(tnrank.HierarchicalTucker.random((4,) * 4, rank=2, seed=0).to_dense())
    noise = np.random.default_rng(0).standard_normal(x.shape)
    return x / np.linalg.norm(x) + 1e-3 * noise


def digits(count: int = 24) -> tnrank.CPFactorization:
    """The sum of the rank-one tensors of the first images: a pixel x is (cos(pi x / 2), sin(pi x / 2))."""
    images, _ = tnrank.data.digits()
    angles = images[:count].reshape(count, 64) * np.pi / 2
    return tnrank.CPFactorization([np.stack([np.cos(a), np.sin(a)]) for a in angles.T])


def of_recipe(chosen: str) -> None:
    """The figure of a preset, the quick one if none is named."""
    name, _, preset = chosen.partition(":")
    with TemporaryDirectory() as folder:
        save(f"{name}.png", run(make_recipe(name, preset or "quick"), folder).outcome.figure, dpi=150)


def of_layers() -> None:
    """The two figures of the page on the rank radar."""
    import torch

    from tnrank_torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = tnrank.data.digits()
    inputs, classes = torch.tensor(images, dtype=torch.float32)[:, None], torch.tensor(labels)
    convolutions = torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3), torch.nn.Flatten()
    model = torch.nn.Sequential(*convolutions, torch.nn.Linear(512, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(100):
        batch = torch.randint(len(inputs), (64,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[batch]), classes[batch]).backward()
        optimizer.step()
    save("layer-ranks.png", plots.layer_ranks(nn.layer_ranks(model, rtol=0.3)), dpi=100)

    torch.manual_seed(0)
    data = torch.randn(400, 60)
    target = torch.linalg.qr(torch.randn(40, 4))[0] * torch.tensor([8.0, 4.0, 2.0, 1.0])
    target = target @ torch.linalg.qr(torch.randn(60, 4))[0].T
    model = torch.nn.Sequential(torch.nn.Linear(60, 80, bias=False), torch.nn.Linear(80, 40, bias=False))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=1e-3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    radar = nn.RankRadar(model, every=10, leading=8)
    for _ in range(1500):
        optimizer.zero_grad()
        (model(data) - data @ target.T).square().mean().backward()
        optimizer.step()
        radar.step()
    save("rank-radar.png", radar.plot(), dpi=100)


def main() -> None:
    of_layers()
    save("ranks.png", plots.ranks(noisy(), rtol=5e-2))
    of_digits = tnrank.rank_report(digits(), tree=tnrank.DimensionTree.balanced(64), rtol=1e-2)
    save("tree-digits.png", plots.dimension_tree(of_digits), dpi=100)
    save("spectra-digits.png", plots.spectra(of_digits))
    save("network-cp.png", plots.network(tnrank.CPFactorization.random((8, 7, 6, 5, 4), rank=10, seed=0)))
    save("network-tt.png", plots.network(tnrank.TensorTrain.random((4,) * 8, rank=3, seed=0)))
    save("network-htf.png", plots.network(tnrank.HierarchicalFactorization.random((2,) * 16, width=5, seed=0)), dpi=90)
    of_grid = Circuit.deep((4, 4), features=2, channels=16, classes=10)
    save("circuit.png", plots.circuit(of_grid), dpi=100, light=True)
    grid = tnrank.Network(
        {
            f"{r}{c}": [
                *([f"h{r}{c}"] if c else []),
                *([f"h{r}{c + 1}"] if c < 3 else []),
                *([f"v{r}{c}"] if r else []),
                *([f"v{r + 1}{c}"] if r < 2 else []),
                f"i{r}{c}",
            ]
            for r in range(3)
            for c in range(4)
        }
    )
    save("network-grid.png", plots.network(grid), dpi=90)
    if "TNRANK_DATA" in os.environ:
        images, _ = tnrank.data.cifar10()
        save(
            "entanglement.png",
            plots.entanglement(tnrank.entanglement_report(images[:60].mean(axis=-1) / 255)),
            light=True,
        )


if __name__ == "__main__":
    for chosen in sys.argv[1:]:
        of_recipe(chosen)
    if not sys.argv[1:]:
        main()
