"""The loss of a factorization on batches of samples, with its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tnrank._backend import Backend
from tnrank._typing import Array
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization
from tnrank.training._losses import Loss
from tnrank.training._samples._cp_scores import CPScores
from tnrank.training._samples._network_scores import NetworkScores
from tnrank.training._samples._tree_scores import TreeScores


def scores_of(x: Factorization, modes: int, coded: bool, batch: int, runs: int = 1) -> Any:
    """How the scores of samples with features at the first ``modes`` modes are computed, ``batch`` at a time."""
    classes = x.shape[-1] if modes < x.ndim else 0
    if isinstance(x, CPFactorization):
        return CPScores(tuple(x.shape[:modes]), x.rank, classes, x.weights is not None, coded)
    if isinstance(x, HierarchicalFactorization):
        shapes = tuple((int(a.shape[0]), int(a.shape[1])) for a in x._values)
        return TreeScores(x.tree, shapes, coded, batch)
    return NetworkScores(x.network, tuple(x._sizes.items()), runs, bool(classes), coded, batch)


@dataclass(frozen=True)
class SampleObjective:
    """The loss on the batch of a step; hashable, so that equal problems share one compiled program.

    Its data are ``inputs`` and ``targets`` ``(1 or S, M, ..)`` of all samples, ``order`` ``(epochs, steps, B)``, which
    samples each step of some epochs sees, ``first``, the first of these epochs, and ``weights`` ``(steps, B)``.
    """

    scores: Any
    loss: Loss
    batched: bool
    steps: int
    several: bool
    """Whether a sample has several scores."""
    own = False
    way = "samples"

    def pack(self, arrays: Sequence[Array], xp: Any) -> tuple[Array, ...]:
        """The arrays that are trained, of a factorization's."""
        found: tuple[Array, ...] = self.scores.pack(arrays, xp)
        return found

    def unpack(self, values: Sequence[Array]) -> list[Array]:
        """The factorization's arrays, of those that are trained."""
        found: list[Array] = self.scores.unpack(values)
        return found

    def at(self, backend: Backend, data: Any, count: Any) -> Any:
        """The batch of the step after ``count`` others."""
        step = count % self.steps
        places = data["order"][count // self.steps - data["first"], step]
        inputs = [backend.take(array, places, self.scores.sample_axis) for array in data["inputs"]]
        targets = backend.take(data["targets"], places, 1)
        return {"inputs": inputs, "targets": targets, "weights": data["weights"][step]}

    def value_and_gradient(
        self, backend: Backend, values: Sequence[Array], data: Any
    ) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
        """The loss of a batch, and its gradient with respect to every array."""
        values = values if self.batched else [value[None] for value in values]
        scores, kept = self.scores.forward(backend, values, data["inputs"])
        loss, slope = self._loss(backend, scores, data)
        slope = slope if self.several else slope[..., None]
        found = self.scores.backward(backend, values, data["inputs"], kept, slope)
        if self.batched:
            return loss, found, ()
        return loss[0], tuple(gradient[0] for gradient in found), ()

    def value(self, backend: Backend, values: Sequence[Array], data: Any) -> Array:
        """The loss of one run, without its gradient."""
        scores, _ = self.scores.forward(backend, [value[None] for value in values], data["inputs"])
        return self._loss(backend, scores, data)[0][0]

    @property
    def of_one(self) -> SampleObjective:
        """The objective of one run; see there for batches."""
        return self

    def end_gradient(self, backend: Backend, values: Sequence[Array], end: Array | None, data: Any) -> Any:
        """Refused: there is no end tensor of that order.

        Raises:
            ValueError: always.
        """
        raise ValueError("the gradient of the end tensor is there for observed entries, not for samples")

    def _loss(self, backend: Backend, scores: Array, data: Any) -> tuple[Array, Array]:
        outputs, targets, weights = scores, data["targets"], data["weights"]
        if not self.several:
            return self.loss.of(outputs[..., 0], targets, weights, backend.xp, (1,))
        if targets.ndim == outputs.ndim:
            return self.loss.of(outputs, targets, weights[:, None] / outputs.shape[-1], backend.xp, (1, 2))
        return self.loss.of(outputs, targets, weights, backend.xp, (1,))
