"""A suggested tree for a function of multi-indices, from random submatrices of its matricizations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import generator
from tnrank.linalg import default_rtol, eps_of, singular_values
from tnrank.ranks._suggest._clusters import Clusters, Modes
from tnrank.ranks._suggest._jobs import SubsetJob, unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tnrank.dimension_tree import DimensionTree


class SampledJob(SubsetJob):
    """Submatrices of ``samples`` random rows and columns: their ranks are lower bounds, never above ``samples``."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        shape: Sequence[int],
        rtol: float | None,
        criterion: str,
        samples: int,
        seed: int,
    ) -> None:
        super().__init__(rtol, criterion)
        self.function, self.shape = function, tuple(int(size) for size in shape)
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise ValueError(f"a function needs the shape of its tensor, order 2 or more, no empty modes: got {shape}")
        if samples < 2:
            raise ValueError(f"samples is the number of rows and columns, at least 2, got {samples}")
        self.samples, self.seed = samples, seed
        self.given, self.dtype = "a function", "float64"

    def rounding(self, modes: Modes) -> float:
        # Functions lose a few more digits than arrays hold.
        return max(default_rtol((self.samples,), self.dtype), 64 * eps_of(self.dtype))

    def clusters(self) -> Clusters:
        return self

    def single(self, modes: Modes) -> Any:
        return self.spectrum(modes)

    def pair(self, first: Modes, second: Modes) -> Any:
        return self.spectrum(tuple(sorted(first + second)))

    def merge(self, first: Modes, second: Modes) -> None:
        """Every subset can be sampled: there is nothing to keep."""

    def spectra(self, tree: DimensionTree) -> Mapping[Modes, Any]:
        wanted = {node.modes for node in tree.nodes if node != tree.root}
        return {modes: self.spectrum(modes) for modes in sorted(wanted - set(self.known))}

    def spectrum(self, modes: Modes) -> Any:
        """Singular values of a submatrix with the given modes as rows."""
        others = [mode for mode in range(self.order) if mode not in modes]
        rng = generator(self.seed, *modes)
        rows, columns = (self._draw(list(side), rng) for side in (modes, others))
        points = np.empty((len(rows), len(columns), self.order), np.int64)
        points[..., list(modes)] = rows[:, None]
        points[..., others] = columns[None]
        found = np.asarray(self.function(points.reshape(-1, self.order).copy()))
        if found.shape != (len(rows) * len(columns),):
            raise ValueError(f"the function gave shape {found.shape} for {len(rows) * len(columns)} multi-indices")
        if not np.isfinite(found).all():
            raise ValueError("the function gave NaN or infinite values")
        self.dtype = "complex128" if found.dtype.kind == "c" else "float64"
        return singular_values(unit(found).astype(self.dtype).reshape(len(rows), len(columns)))

    def _draw(self, modes: list[int], rng: Any) -> Any:
        """All multi-indices of the given modes, or as many different ones as there are samples."""
        dims = [self.shape[mode] for mode in modes]
        if (count := prod(dims)) <= self.samples:
            return np.stack(np.unravel_index(np.arange(count), dims), axis=1)
        return np.unique(np.stack([rng.integers(0, d, self.samples) for d in dims], axis=1), axis=0)
