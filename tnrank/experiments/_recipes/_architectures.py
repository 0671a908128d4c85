"""Small networks on a grid of templates, as pure functions of weights and features: one file for all backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import Backend, backend_of
from tnrank._check import generator
from tnrank.circuits import Circuit

if TYPE_CHECKING:
    from tnrank._typing import Array

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Architecture:
    """A function of ``(batch, N, M)`` features, one number an input: ``forward``, and the weights it takes.

    Attributes:
        name: in metrics and tables.
        title: above its panel.
        order: locations N of the input.
        size: templates M of a location; a feature is 1 at the template that is there.
        width: channels, or hidden units.
    """

    name: str
    title: str
    order: int
    size: int
    width: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the weights; a vector is a bias and starts at 0."""
        raise NotImplementedError

    def forward(self, weights: Sequence[Array], features: Array) -> Array:
        """The outputs ``(batch,)``."""
        raise NotImplementedError

    def draw(self, generator: np.random.Generator) -> list[Host]:
        """Random weights of ordinary size: standard deviation ``fan_in ** -0.5``, biases 0."""
        drawn = [generator.standard_normal(shape) for shape in self.shapes]
        return [w / sqrt(w.shape[-2]) if w.ndim > 1 else 0 * w for w in drawn]

    @property
    def parameter_count(self) -> int:
        """Numbers to train."""
        return sum(prod(shape) for shape in self.shapes)


@dataclass(frozen=True)
class Convolutional(Architecture):
    """A circuit: 1x1 convolutions, activation, pooling of pairs, a dense layer."""

    circuit: Circuit

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.circuit.shapes

    def forward(self, weights: Sequence[Array], features: Array) -> Array:
        found: Array = self.circuit.forward(weights, features)
        return found


@dataclass(frozen=True)
class Perceptron(Architecture):
    """Two hidden layers of ReLUs on the features of all locations."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        inputs, width = self.order * self.size, self.width
        return ((inputs, width), (width,), (width, width), (width,), (width, 1))

    def forward(self, weights: Sequence[Array], features: Array) -> Array:
        backend = backend_of(weights[0])
        first, bias, second, bias2, last = weights
        x = backend.reshape(features, (features.shape[0], self.order * self.size))
        x = _relu(x @ first + bias, backend)
        x = _relu(x @ second + bias2, backend)
        return (x @ last)[:, 0]


@dataclass(frozen=True)
class Attention(Architecture):
    """One attention block on learned embeddings, a vector for each template at each location; means are read out.

    ``x + attention(x)``, then ``x + relu(x A + b) B``, then the mean over locations and a dense layer.
    """

    heads: int = 2

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        width = self.width
        square = (width, width)
        embedding = (self.order, self.size, width)
        return (
            embedding,
            square,
            square,
            square,
            square,
            (width, 2 * width),
            (2 * width,),
            (2 * width, width),
            (width, 1),
        )

    def forward(self, weights: Sequence[Array], features: Array) -> Array:
        backend = backend_of(weights[0])
        xp = backend.xp
        embedding, query, key, value, out, up, bias, down, last = weights
        # Inputs are the last axis, so that the sums over channels and locations run along whole vectors.
        x = backend.permute(embedding, (0, 2, 1)) @ backend.permute(features, (1, 2, 0))
        x = backend.reshape(backend.permute(x, (1, 0, 2)), (self.width, -1))
        parts = (self.heads, self.width // self.heads, self.order, -1)
        q, k, v = (backend.reshape(_on_rows(w, x, backend), parts) for w in (query, key, value))
        scores = xp.sum(q[:, :, :, None] * k[:, :, None], axis=1) / sqrt(self.width // self.heads)
        mixed = xp.sum(softmax(scores, axis=2)[:, None] * v[:, :, None], axis=3)
        x = x + _on_rows(out, backend.reshape(mixed, tuple(x.shape)), backend)
        x = x + _on_rows(down, _relu(_on_rows(up, x, backend) + bias[:, None], backend), backend)
        x = xp.sum(backend.reshape(x, (self.width, self.order, -1)), axis=1) / self.order
        return _on_rows(last, x, backend)[0]


def _on_rows(matrix: Array, x: Array, backend: Backend) -> Array:
    """Channels, the rows of ``x``, times a matrix ``(in, out)``."""
    found: Array = backend.permute(matrix, (1, 0)) @ x
    return found


def softmax(x: Array, axis: int) -> Array:
    """``exp(x)`` over its sum along an axis."""
    backend = backend_of(x)
    # The shift cancels, so that it has no derivative.
    powers = backend.xp.exp(x - backend.stop_gradient(backend.xp.max(x, axis=axis, keepdims=True)))
    return powers / backend.xp.sum(powers, axis=axis, keepdims=True)


def _relu(x: Array, backend: Backend) -> Array:
    return backend.xp.where(x > 0, x, 0 * x)


def architectures(order: int, size: int, width: int, hidden: int) -> tuple[Architecture, ...]:
    """The circuit, its two ReLU twins, a perceptron and an attention model.

    Args:
        order: locations, a power of two.
        size: templates of a location.
        width: channels of the three convolutional models, and of the attention model.
        hidden: units of a layer of the perceptron.
    """

    def convolutional(name: str, title: str, **options: Any) -> Convolutional:
        return Convolutional(name, title, order, size, width, Circuit.deep(order, size, width, **options))

    return (
        convolutional("circuit", "arithmetic circuit"),
        convolutional("relu-max", "ReLU, max pooling", pooling="max", activation="relu"),
        convolutional("relu-average", "ReLU, average pooling", pooling="average", activation="relu"),
        Perceptron("mlp", "MLP", order, size, hidden),
        Attention("attention", "attention", order, size, width),
    )


def features(indices: Any, size: int) -> Host:
    """One-hot features ``(batch, N, M)`` of whole numbers ``(batch, N)``."""
    return np.asarray(np.asarray(indices)[..., None] == np.arange(size), np.float64)


def grid(order: int, size: int) -> Host:
    """All combinations of templates ``(M ** N, N)``, in C order."""
    return np.stack(np.unravel_index(np.arange(size**order), (size,) * order), axis=1)


def small_weights(model: Architecture, seed: int, level: float) -> tuple[list[Host], list[Host]]:
    """Weights of ordinary size, and the same ones shrunk until the outputs have a root mean square of ``level``.

    One factor shrinks all of them.

    Raises:
        ValueError: if no factor gives such outputs.
    """
    drawn = model.draw(generator(seed))
    inputs = features(grid(model.order, model.size), model.size)

    def size(factor: float) -> float:
        return float(np.sqrt(np.mean(model.forward([factor * w for w in drawn], inputs) ** 2)))

    # Outputs are about a power of the factor, exactly for a homogeneous model: secants of the logarithms are short.
    factor, found = 1.0, size(1.0)
    degree = 2.0
    for _ in range(50):
        if not 0 < found < float("inf"):
            break
        if abs(found / level - 1) < 1e-6:
            return drawn, [factor * w for w in drawn]
        step = (level / found) ** (1 / degree)
        before, found, factor = found, size(factor * step), factor * step
        if found > 0 and found != before:
            degree = max(float(np.log(found / before) / np.log(step)), 1.0)
    raise ValueError(f"{model.name}: no factor of its weights makes outputs of size {level:g}, try another seed")
