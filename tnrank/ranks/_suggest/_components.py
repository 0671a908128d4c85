"""A suggested tree for a CP factorization of few components: every subset of modes is measured by Gram matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.linalg import choose_method, eps_of
from tnrank.ranks._suggest._clusters import Clusters, Modes
from tnrank.ranks._suggest._jobs import SubsetJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tnrank.dimension_tree import DimensionTree
    from tnrank.factorizations import CPFactorization


class ComponentJob(SubsetJob):
    """R x R Gram matrices of the factors: their entrywise products belong to groups of modes.

    The spectrum of a group costs O(R^3 + N R^2) at any dimensions; squares limit it to the root of eps.
    """

    def __init__(self, x: CPFactorization, rtol: float | None, criterion: str) -> None:
        super().__init__(rtol, criterion)
        backend = x.backend
        self.given, self.shape, self.dtype = "a CPFactorization", x.shape, x.dtype
        if rtol is not None:
            choose_method("gram", rtol, self.dtype)
        wide = np.complex128 if self.dtype.startswith("complex") else np.float64
        factors = [np.asarray(backend.to_numpy(f), wide) for f in x.factors]
        grams, logs = [], np.zeros(x.rank)
        alive = np.ones(x.rank, bool)
        for factor in factors:
            largest = np.abs(factor).max(initial=0.0) or 1.0
            norms = np.linalg.norm(factor / largest, axis=0)
            alive &= norms > 0
            safe = np.where(norms > 0, norms, 1.0)
            unit = factor / largest / safe
            grams.append(unit.conj().T @ unit)
            logs += np.log(safe) + np.log(largest)
        weights = np.ones(x.rank) if x.weights is None else np.asarray(backend.to_numpy(x.weights), wide)
        alive &= np.abs(weights) > 0
        top = logs[alive].max(initial=-np.inf)
        self.weights = np.where(alive, weights * np.exp(np.where(alive, logs - top, 0.0)), 0.0)
        self.grams = np.stack(grams)

    def rounding(self, modes: Modes) -> float:
        return float(max(64 * self.weights.size, 1024) ** 0.5 * eps_of("float64") ** 0.5)

    def clusters(self) -> Clusters:
        return self

    def single(self, modes: Modes) -> Any:
        return self.spectrum(modes)

    def pair(self, first: Modes, second: Modes) -> Any:
        return self.spectrum(first + second)

    def merge(self, first: Modes, second: Modes) -> None:
        """Every subset can be measured: there is nothing to keep."""

    def spectra(self, tree: DimensionTree) -> Mapping[Modes, Any]:
        wanted = {node.modes for node in tree.nodes if node != tree.root}
        return {modes: self.spectrum(modes) for modes in sorted(wanted - set(self.known))}

    def spectrum(self, modes: Modes) -> Any:
        """Singular values of the matricization with the given modes as rows, up to a scale."""
        inside = np.zeros(self.order, bool)
        inside[list(modes)] = True
        rows, columns = self.grams[inside].prod(axis=0), self.grams[~inside].prod(axis=0)
        values, vectors = np.linalg.eigh(rows)
        factor = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.conj().T * self.weights
        squares = np.linalg.eigvalsh(factor @ columns.T @ factor.conj().T)
        return np.sqrt(np.clip(squares[::-1], 0, None))
