"""Autoencoders of images with linear layers between encoder and latent codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tnrank_torch.trainers._minibatches import Host, MinibatchTrainer, as_images, drawn, outputs


class AutoencoderTrainer(MinibatchTrainer):
    """An autoencoder with ``depth`` bias-free linear layers after its encoder; Adam, mean squared error.

    Args:
        images: ``(M, H, W)`` in [0, 1] to train on.
        test_images: ``(T, H, W)``, whose codes and errors are measured.
        network: ``"mlp"``, one hidden layer in encoder and decoder, or ``"convolutional"``, for 32 x 32 pixels.
        hidden: width of the hidden layers of the multilayer perceptron.
        latent: length of the codes.
        depth: number of linear layers, each ``latent`` x ``latent``.
        gain: their initial entries have the standard deviation gain / sqrt(latent).
        batch: images of a step.
        learning_rate: of Adam.
        seed: of the initial weights and the orders.
        dtype: of the weights.

    Source: Jing, Zbontar & LeCun 2020, Sec. 3 and App. A.
    """

    def __init__(
        self,
        images: Host,
        test_images: Host,
        network: Literal["mlp", "convolutional"],
        hidden: int,
        latent: int,
        depth: int,
        gain: float,
        batch: int,
        learning_rate: float,
        seed: int,
        dtype: str,
    ) -> None:
        sides = np.shape(images)[1:]

        def build() -> nn.Module:
            encoder, decoder = perceptron(sides, hidden, latent) if network == "mlp" else convolutional(sides, latent)
            layers = [nn.Linear(latent, latent, bias=False) for _ in range(depth)]
            for layer in layers:
                nn.init.normal_(layer.weight, std=gain / latent**0.5)
            return nn.ModuleDict({"encoder": nn.Sequential(encoder, *layers), "decoder": decoder})

        self.test = as_images(test_images, dtype)
        model = drawn(build, seed, dtype)
        self.encoder, self.decoder = model["encoder"], model["decoder"]  # type: ignore[index]  # it is a ModuleDict
        optimizer = torch.optim.Adam(model.parameters(), learning_rate)
        super().__init__(model, optimizer, [as_images(images, dtype)], batch, seed)

    def loss(self, *rows: torch.Tensor) -> torch.Tensor:
        """Mean squared error over pixels."""
        (images,) = rows
        return nn.functional.mse_loss(self.decoder(self.encoder(images)), images)

    def measure(self) -> Mapping[str, Any]:
        """``test_error``, and the singular values of the covariance of test codes as ``spectrum``, descending."""
        codes = outputs(self.encoder, self.test)
        return {"test_error": self._error(self.decoder, codes), "spectrum": self._directions(codes)[0].numpy()}

    def error_of_leading(self, count: int) -> float:
        """Mean squared error of test images whose codes are projected to the leading directions around their mean."""
        codes = outputs(self.encoder, self.test)
        mean, kept = codes.mean(dim=0), self._directions(codes)[1][:, :count].to(codes.dtype)
        return self._error(lambda rows: self.decoder((rows - mean) @ kept @ kept.T + mean), codes)

    def _directions(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centered = (codes - codes.mean(dim=0)).double()
        values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
        return values.flip(0).clamp(min=0), vectors.flip(1)

    def _error(self, decode: Callable[[torch.Tensor], torch.Tensor], codes: torch.Tensor) -> float:
        return float(((outputs(decode, codes) - self.test) ** 2).double().mean())


def perceptron(sides: tuple[int, ...], hidden: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder with one hidden layer of ReLU each."""
    pixels = int(np.prod(sides))
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, latent))
    decoder = [nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Unflatten(1, (1, *sides))]
    return encoder, nn.Sequential(*decoder)


def convolutional(sides: tuple[int, ...], latent: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of the published size, for images of 32 x 32."""
    if sides != (32, 32):
        raise ValueError(f"the convolutional autoencoder is for images of 32 x 32, got {sides[0]} x {sides[1]}")
    encoder: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 128), (128, 256)):
        encoder += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    decoder: list[nn.Module] = [nn.Linear(latent, 128 * 8 * 8), nn.ReLU(), nn.Unflatten(1, (128, 8, 8))]
    for before, after in ((128, 64), (64, 32)):
        decoder += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    encoder += [nn.Flatten(), nn.Linear(1024, latent)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Conv2d(32, 1, 1), nn.Tanh())


def make(**settings: Any) -> AutoencoderTrainer:
    """An autoencoder with its data; see :class:`AutoencoderTrainer`."""
    return AutoencoderTrainer(**settings)
