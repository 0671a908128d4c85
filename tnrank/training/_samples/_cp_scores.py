"""Scores under a CP factorization: products of hundreds of factors as sums of logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array
from tnrank.training._samples._data import Features, stacked

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CPScores:
    """``s(x) = sum_r w_r prod_n <f(x_n), W_n[:, r]>`` of many samples x at once.

    ``log|prod|`` is a sum over modes, so that one-hot features make it one matrix product, of the features and
    ``log|W|``, and its sign is the parity of negative factors, another one. A factor of exactly 0 counts as one so
    small that the product vanishes in rounding; the derivative by it, the product over it, is then right as well.

    Args:
        shape: ``(d_1, .., d_N)`` of the modes with features.
        rank: R.
        classes: length of a further mode without features, whose entries are the scores; 0 if there is none.
        weighted: whether components have weights.
        coded: whether features are one-hot, given as states.
    """

    shape: tuple[int, ...]
    rank: int
    classes: int
    weighted: bool
    coded: bool
    sample_axis = 0

    @cached_property
    def groups(self) -> list[list[int]]:
        """Modes of one size, each group in one array."""
        return [[n for n, d in enumerate(self.shape) if d == size] for size in sorted(set(self.shape))]

    def pack(self, arrays: Sequence[Array], xp: Any) -> tuple[Array, ...]:
        """Factors of one size as one array ``(modes, d, R)``, then the classes' and the weights."""
        return (*(xp.stack([arrays[n] for n in group]) for group in self.groups), *arrays[len(self.shape) :])

    def unpack(self, values: Sequence[Array]) -> list[Array]:
        """The factorization's arrays in its own order."""
        found: dict[int, Array] = {}
        for group, stack in zip(self.groups, values, strict=False):
            found |= {n: stack[k] for k, n in enumerate(group)}
        return [*(found[n] for n in range(len(self.shape))), *values[len(self.groups) :]]

    def inputs(self, features: Features) -> tuple[Host, ...]:
        """What is kept of each sample, along the first axis of each array."""
        return tuple(stacked(features, group) for group in self.groups)

    def forward(self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array]) -> tuple[Array, Any]:
        """Scores ``(S, B, C)`` of S runs, and what :meth:`backward` needs."""
        xp, log, parity, kept = backend.xp, 0, 0, []
        for k, given in enumerate(inputs):
            one = self._coded(backend, values[k], given) if self.coded else self._felt(backend, values[k], given)
            log, parity = log + one[0], parity + one[1]
            kept.append(one[2:])
        # shape: (B, S, R)
        products = xp.exp(log) * (1 - 2 * (parity - 2 * xp.floor(parity / 2)))
        heads, weights = self._heads(values)
        weighed = products if weights is None else products * weights
        if heads is None:
            scores = xp.sum(weighed, axis=-1)[..., None]
        else:
            scores = xp.matmul(xp.permute_dims(weighed, (1, 0, 2)), xp.permute_dims(heads, (0, 2, 1)))
            return scores, (products, kept)
        return xp.permute_dims(scores, (1, 0, 2)), (products, kept)

    def backward(
        self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array], kept: Any, cotangent: Array
    ) -> tuple[Array, ...]:
        """Gradients of ``sum(cotangent * scores)``; ``cotangent`` has shape ``(S, B, C)``."""
        xp, (products, of_groups) = backend.xp, kept
        heads, weights = self._heads(values)
        turned, last = xp.permute_dims(cotangent, (1, 0, 2)), []
        pulled = turned if heads is None else xp.permute_dims(xp.matmul(cotangent, heads), (1, 0, 2))
        if heads is not None:
            weighed = products if weights is None else products * weights
            last.append(xp.matmul(xp.permute_dims(cotangent, (0, 2, 1)), xp.permute_dims(weighed, (1, 0, 2))))
        if weights is not None:
            last.append(xp.sum(pulled * products, axis=0))
            pulled = pulled * weights
        # The derivative by the logarithm of a product, shape (B, S R).
        flat = backend.reshape(pulled * products, (products.shape[0], -1))
        found = []
        for k, given in enumerate(inputs):
            pull = self._coded_back if self.coded else self._felt_back
            found.append(pull(backend, values[k], given, of_groups[k], flat))
        return (*found, *last)

    def _heads(self, values: Sequence[Array]) -> tuple[Any, Any]:
        rest = list(values[len(self.groups) :])
        heads = rest.pop(0) if self.classes else None
        return heads, rest.pop(0) if self.weighted else None

    def _coded(self, backend: Backend, stack: Array, states: Array) -> tuple[Any, ...]:
        xp = backend.xp
        safe = _without_zeros(xp, stack)
        runs, modes, size, rank = stack.shape
        hot = self._hot(backend, states, size, stack.dtype)
        # shape: (modes, d, S, R); the first state is the base that the others differ from
        log = xp.permute_dims(xp.log(xp.abs(safe)), (1, 2, 0, 3))
        negative = xp.permute_dims(xp.astype(safe < 0, stack.dtype), (1, 2, 0, 3))
        both = xp.concat([log, negative], axis=3)
        base = xp.sum(both[:, 0], axis=0)
        steps = backend.reshape(both[:, 1:] - both[:, :1], (modes * (size - 1), runs * 2 * rank))
        summed = backend.reshape(hot @ steps, (states.shape[0], runs, 2 * rank)) + base
        return summed[..., :rank], xp.round(summed[..., rank:]), hot, safe

    def _coded_back(self, backend: Backend, stack: Array, states: Array, kept: Any, flat: Array) -> Array:
        xp, (hot, safe) = backend.xp, kept
        runs, modes, size, rank = stack.shape
        steps = backend.reshape(xp.permute_dims(hot, (1, 0)) @ flat, (modes, size - 1, runs, rank))
        whole = backend.reshape(xp.sum(flat, axis=0), (1, 1, runs, rank))
        first = whole - xp.sum(steps, axis=1, keepdims=True)
        return xp.permute_dims(xp.concat([first, steps], axis=1), (2, 0, 1, 3)) / safe

    def _hot(self, backend: Backend, states: Array, size: int, dtype: Any) -> Array:
        """One-hot features without the first state, ``(B, modes (d - 1))``."""
        xp = backend.xp
        if size == 2:
            return xp.astype(states, dtype)
        ones = xp.arange(1, size, dtype=states.dtype)
        hot = xp.astype(states[:, :, None] == ones, dtype)
        return backend.reshape(hot, (states.shape[0], -1))

    def _felt(self, backend: Backend, stack: Array, features: Array) -> tuple[Any, ...]:
        xp = backend.xp
        runs, modes, size, rank = stack.shape
        turned = xp.permute_dims(features, (1, 0, 2))
        matrices = backend.reshape(xp.permute_dims(stack, (1, 2, 0, 3)), (modes, size, runs * rank))
        # shape: (modes, B, S R)
        inner = _without_zeros(xp, xp.matmul(turned, matrices))
        shape = (features.shape[0], runs, rank)
        log = backend.reshape(xp.sum(xp.log(xp.abs(inner)), axis=0), shape)
        return log, backend.reshape(xp.sum(xp.astype(inner < 0, stack.dtype), axis=0), shape), turned, inner

    def _felt_back(self, backend: Backend, stack: Array, features: Array, kept: Any, flat: Array) -> Array:
        xp, (turned, inner) = backend.xp, kept
        runs, modes, size, rank = stack.shape
        found = xp.matmul(xp.permute_dims(turned, (0, 2, 1)), flat / inner)
        return xp.permute_dims(backend.reshape(found, (modes, size, runs, rank)), (2, 0, 1, 3))


def _without_zeros(xp: Any, x: Array) -> Array:
    """``x`` with numbers so small that products with them vanish in rounding moved off 0."""
    least = float(xp.finfo(x.dtype).smallest_normal) ** 0.75
    return xp.where(xp.abs(x) < least, xp.where(x < 0, -least, least), x)
