"""Scores under any factorization: its network with a vector of features at each mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array
from tnrank.network import ContractionPlan, Network
from tnrank.training._samples._data import Features

Host = np.ndarray[Any, Any]
_RUN, _SAMPLE = ("run",), ("sample",)


@dataclass(frozen=True)
class NetworkScores:
    """Scores by one contraction for all samples, along a plan.

    Args:
        network: of the factorization.
        sizes: label -> size, as pairs.
        runs: S, how many factorizations at once.
        classes: whether the last mode has no features: its entries are the scores.
        coded: whether features are one-hot, given as states.
        batch: B, the number of samples.
    """

    network: Network
    sizes: tuple[tuple[Any, int], ...]
    runs: int
    classes: bool
    coded: bool
    batch: int
    sample_axis = 0

    @cached_property
    def plan(self) -> ContractionPlan:
        """The network with a run's index on all its tensors and a sample's on the features."""
        open_labels = self.network.output[: -1 if self.classes else None]
        tensors = {name: (_RUN, *labels) for name, labels in self.network.tensors.items()}
        features = {f"features {mode}": (_SAMPLE, label) for mode, label in enumerate(open_labels)}
        output = (_RUN, _SAMPLE, *self.network.output[len(open_labels) :])
        return Network({**tensors, **features}, output).plan({**dict(self.sizes), _RUN: self.runs, _SAMPLE: self.batch})

    def pack(self, arrays: Sequence[Array], xp: Any) -> tuple[Array, ...]:
        """As they are."""
        return tuple(arrays)

    def unpack(self, values: Sequence[Array]) -> list[Array]:
        """As they are."""
        return list(values)

    def inputs(self, features: Features) -> tuple[Host, ...]:
        """States ``(M, N)``, or one array ``(M, d_n)`` a mode."""
        return (features.given,) if self.coded else tuple(features.given)

    def forward(self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array]) -> tuple[Array, Any]:
        """Scores ``(S, B, C)`` of S runs, and what :meth:`backward` needs."""
        kept = self.plan._program.run_and_keep(backend, [*values, *self._vectors(backend, values, inputs)])
        scores = kept[-1]
        return (scores if self.classes else scores[..., None]), kept

    def backward(
        self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array], kept: Any, cotangent: Array
    ) -> tuple[Array, ...]:
        """Gradients of ``sum(cotangent * scores)``; ``cotangent`` has shape ``(S, B, C)``."""
        constant = frozenset(range(len(values), len(self.plan.network.tensors)))
        back = cotangent if self.classes else cotangent[..., 0]
        return tuple(self.plan._program.pull_back(backend, kept, back, constant)[: len(values)])

    def _vectors(self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array]) -> list[Array]:
        if not self.coded:
            return list(inputs)
        xp, (states,) = backend.xp, inputs
        sizes = dict(self.sizes)
        labels = self.network.output[: -1 if self.classes else None]
        return [
            xp.astype(states[:, mode, None] == xp.arange(sizes[label], dtype=states.dtype), values[0].dtype)
            for mode, label in enumerate(labels)
        ]
