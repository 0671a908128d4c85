"""Small networks on a grid of templates, as pure functions of weights and features, and how they train on it.

They are written once for all backends that differentiate functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._backend import Backend, backend_of
from tnrank._check import generator
from tnrank.circuits import Circuit
from tnrank.experiments.kit import HostArray
from tnrank.linalg import matricize
from tnrank.ranks import effective_rank
from tnrank.training._optimizers import Context, Optimizer, batched_update

if TYPE_CHECKING:
    from tnrank._typing import Array

Modes = tuple[int, ...]
Moment = tuple[int, HostArray, HostArray, dict[Modes, HostArray]]
"""A step, and of all runs ``(runs,)``: losses, relative errors on unobserved entries, effective ranks by partition."""


@dataclass(frozen=True)
class Architecture:
    """A function of ``(batch, N, M)`` features, one number an input.

    Attributes:
        name: in metrics and tables.
        title: above its panel.
        order: locations N of the input.
        size: templates M of a location; a feature is 1 at the template that is there.
        shapes: of the weights; a vector is a bias and starts at 0.
        forward: weights and features to the outputs ``(batch,)``.
        circuit: that this is, of convolutional models.
    """

    name: str
    title: str
    order: int
    size: int
    shapes: tuple[tuple[int, ...], ...]
    forward: Callable[[Sequence[Array], Array], Array]
    circuit: Circuit | None = None

    @property
    def parameter_count(self) -> int:
        """Numbers to train."""
        return sum(map(prod, self.shapes))


def architectures(order: int, size: int, width: int, hidden: int) -> tuple[Architecture, ...]:
    """The circuit, its two ReLU twins, a perceptron with ``hidden`` units a layer, and an attention model."""

    def convolutional(name: str, title: str, **options: Any) -> Architecture:
        circuit = Circuit.deep(order, size, width, **options)
        return Architecture(name, title, order, size, circuit.shapes, circuit.forward, circuit)

    return (
        convolutional("circuit", "arithmetic circuit"),
        convolutional("relu-max", "ReLU, max pooling", pooling="max", activation="relu"),
        convolutional("relu-average", "ReLU, average pooling", pooling="average", activation="relu"),
        _perceptron(order, size, hidden),
        _attention(order, size, width),
    )


def _perceptron(order: int, size: int, width: int) -> Architecture:
    """Two hidden layers of ReLUs on the features of all locations."""

    def forward(weights: Sequence[Array], features: Array) -> Array:
        backend = backend_of(weights[0])
        first, bias, second, bias2, last = weights
        x = backend.reshape(features, (features.shape[0], order * size))
        x = _relu(_relu(x @ first + bias, backend) @ second + bias2, backend)
        return (x @ last)[:, 0]

    shapes = ((order * size, width), (width,), (width, width), (width,), (width, 1))
    return Architecture("mlp", "MLP", order, size, shapes, forward)


def _attention(order: int, size: int, width: int, heads: int = 2) -> Architecture:
    """One attention block on learned embeddings, a vector for each template at each location; means are read out.

    ``x + attention(x)``, then ``x + relu(x A + b) B``, then the mean over locations and a dense layer.
    """

    def forward(weights: Sequence[Array], features: Array) -> Array:
        backend = backend_of(weights[0])
        xp = backend.xp
        embedding, query, key, value, out, up, bias, down, last = weights
        # Inputs are the last axis, so that the sums over channels and locations run along whole vectors.
        x = backend.permute(embedding, (0, 2, 1)) @ backend.permute(features, (1, 2, 0))
        x = backend.reshape(backend.permute(x, (1, 0, 2)), (width, -1))
        parts = (heads, width // heads, order, -1)
        q, k, v = (backend.reshape(_on_rows(w, x, backend), parts) for w in (query, key, value))
        scores = xp.sum(q[:, :, :, None] * k[:, :, None], axis=1) / sqrt(width // heads)
        # The shift by the largest cancels in the softmax, so that it has no derivative.
        powers = xp.exp(scores - backend.stop_gradient(xp.max(scores, axis=2, keepdims=True)))
        shares = powers / xp.sum(powers, axis=2, keepdims=True)
        mixed = xp.sum(shares[:, None] * v[:, :, None], axis=3)
        x = x + _on_rows(out, backend.reshape(mixed, tuple(x.shape)), backend)
        x = x + _on_rows(down, _relu(_on_rows(up, x, backend) + bias[:, None], backend), backend)
        x = xp.sum(backend.reshape(x, (width, order, -1)), axis=1) / order
        return _on_rows(last, x, backend)[0]

    layers = ((width, width),) * 4 + ((width, 2 * width), (2 * width,), (2 * width, width), (width, 1))
    return Architecture("attention", "attention", order, size, ((order, size, width), *layers), forward)


def _on_rows(matrix: Array, x: Array, backend: Backend) -> Array:
    """Channels, the rows of ``x``, times a matrix ``(in, out)``."""
    return backend.permute(matrix, (1, 0)) @ x


def _relu(x: Array, backend: Backend) -> Array:
    return backend.xp.where(x > 0, x, 0 * x)


def grid_features(order: int, size: int) -> HostArray:
    """One-hot features ``(M ** N, N, M)`` of all combinations of templates, in C order."""
    grid = np.stack(np.unravel_index(np.arange(size**order), (size,) * order), axis=1)
    return np.asarray(grid[..., None] == np.arange(size), np.float64)


def small_weights(model: Architecture, seed: int, level: float) -> tuple[list[HostArray], list[HostArray]]:
    """Weights of ordinary size, and the same ones shrunk until the outputs have a root mean square of ``level``.

    Ordinary is a standard deviation of ``fan_in ** -0.5``, and biases of 0. One factor shrinks all weights.

    Raises:
        ValueError: if no factor gives such outputs.
    """
    rng, inputs = generator(seed), grid_features(model.order, model.size)
    normal = [rng.standard_normal(shape) for shape in model.shapes]
    drawn = [w / sqrt(w.shape[-2]) if w.ndim > 1 else 0 * w for w in normal]

    def size(factor: float) -> float:
        return float(np.sqrt(np.mean(model.forward([factor * w for w in drawn], inputs) ** 2)))

    # Outputs are about a power of the factor, exactly for a homogeneous model: secants of the logarithms are short.
    factor, found, degree = 1.0, size(1.0), 2.0
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


class Problem(NamedTuple):
    """A target ``(M, .., M)`` of mean square 1, and the positions of its observed entries in the flat target."""

    target: HostArray
    observed: HostArray

    def unobserved_error(self, tensor: HostArray) -> float:
        """The error on the other entries, relative to the target there."""
        rest = np.ones(self.target.size, bool)
        rest[self.observed] = False
        wanted = self.target.ravel()[rest]
        return float(np.linalg.norm(tensor.ravel()[rest] - wanted) / np.linalg.norm(wanted))


class Trainer:
    """Runs of one architecture that differ in problem and initial weights, in one batch.

    ``forward`` and the optimizer's update are those of one run; the backend's ``vmap`` makes them those of all, and
    its ``jit`` a loop of updates one program.
    """

    def __init__(
        self,
        model: Architecture,
        problems: Sequence[Problem],
        weights: Sequence[Sequence[HostArray]],
        optimizer: Optimizer,
        backend: Backend,
        dtype: str,
    ) -> None:
        self.model, self.problems, self.backend, self.runs = model, problems, backend, len(problems)
        inputs, context = grid_features(model.order, model.size), Context(backend, lambda x: x)

        def on_device(*runs: HostArray) -> Any:
            return backend.asarray(np.stack(runs).astype(dtype), dtype)

        self.grid = on_device(*inputs)
        seen = on_device(*(inputs[p.observed] for p in problems))
        self.data = seen, on_device(*(p.target.ravel()[p.observed] for p in problems))
        self.weights = tuple(on_device(*arrays) for arrays in zip(*weights, strict=True))
        """Arrays with a leading axis of runs."""
        self._inner = backend.vmap(lambda given: optimizer.init(given, context))(self.weights)
        update = batched_update(optimizer, context)
        # Runs share nothing, so that the gradient of the sum of their losses is that of each.
        gradient = backend.value_and_grad(lambda given, *data: backend.xp.sum(self._losses(given, *data)))

        def advance(state: Any, count: Any, data: Any) -> Any:
            def one(carried: Any) -> Any:
                (given, inner), left = carried
                _, slopes = gradient(given, *data)
                return update(slopes, inner, given), left - 1

            return backend.while_loop(lambda carried: carried[1] > 0, one, (state, count))[0]

        self._advance = backend.jit(advance)
        self._losses_of = backend.jit(self._losses)
        self._tensors_of = backend.jit(lambda given, grid: self._each(lambda w: model.forward(w, grid), given))

    def _each(self, fn: Callable[..., Any], *batched: Any) -> Any:
        if "jit" in self.backend.capabilities:
            return self.backend.vmap(fn)(*batched)

        # Without a compiler a batch saves little, and not every operation of a framework has a batched form.
        def row(argument: Any, run: int) -> Any:
            return tuple(part[run] for part in argument) if isinstance(argument, tuple) else argument[run]

        return self.backend.xp.stack([fn(*(row(one, run) for one in batched)) for run in range(self.runs)])

    def _losses(self, weights: Any, inputs: Any, targets: Any) -> Any:
        xp = self.backend.xp
        return self._each(lambda w, x, y: xp.mean((self.model.forward(w, x) - y) ** 2), weights, inputs, targets)

    def advance(self, steps: int) -> None:
        """Update all runs ``steps`` times."""
        if steps:
            state = (self.weights, self._inner)
            self.weights, self._inner = self._advance(state, self.backend.xp.asarray(steps), self.data)

    @property
    def losses(self) -> HostArray:
        """``(runs,)`` mean squared errors on the observed entries."""
        return np.asarray(self.backend.to_numpy(self._losses_of(self.weights, *self.data)), np.float64)

    @property
    def tensors(self) -> HostArray:
        """``(runs, M, .., M)`` grid tensors."""
        flat = np.asarray(self.backend.to_numpy(self._tensors_of(self.weights, self.grid)), np.float64)
        return flat.reshape(self.runs, *(self.model.size,) * self.model.order)


def effective_ranks(tensors: HostArray, modes: Modes) -> HostArray:
    """``(runs,)`` effective ranks of one matricization of ``(runs, M, .., M)``."""
    return np.asarray(effective_rank(np.stack([matricize(t, modes) for t in tensors])), np.float64)


def record(trainer: Trainer, partitions: Sequence[Modes], steps: int, every: int) -> Iterator[Moment]:
    """Train, and measure every ``every`` steps.

    Raises:
        ValueError: if a loss is not finite.
    """
    for before, mark in pairwise((0, *sorted({*range(0, steps, every), steps}))):
        trainer.advance(mark - before)
        losses, tensors = trainer.losses, trainer.tensors
        if not np.isfinite(losses).all():
            told = f"{trainer.model.name}: the loss is not finite after step {mark:,}"
            raise ValueError(f"{told}: use a lower learning rate (--set learning_rate=..)")
        errors = np.asarray([p.unobserved_error(t) for p, t in zip(trainer.problems, tensors, strict=True)])
        yield mark, losses, errors, {modes: effective_ranks(tensors, modes) for modes in partitions}
