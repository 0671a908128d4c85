"""Groups of modes that grow together, with the spectra of their matricizations: dense, or in the format."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

from tnrank.dimension_tree import DimensionTree, Node
from tnrank.linalg import eps_of, matricize, singular_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tnrank._typing import Array

Modes = tuple[int, ...]
_NOISE = 32
"""Rounding noise of a basis change, in units of eps."""


class Clusters(Protocol):
    """What the agglomeration asks of a tensor; spectra are relative to its norm, on the host."""

    def single(self, modes: Modes) -> Any:
        """Singular values with one of the present groups as rows."""

    def pair(self, first: Modes, second: Modes) -> Any:
        """Singular values with the union of two groups as rows; ``None`` if that takes too much memory."""

    def merge(self, first: Modes, second: Modes) -> None:
        """Make two groups one.

        Raises:
            TooLarge: if that takes too much memory.
        """


class DenseClusters:
    """A NumPy array with one axis a group, in a basis of the range of its matricization."""

    def __init__(self, array: Array, dtype: str, method: str) -> None:
        import numpy as np

        norm = float(np.linalg.norm(array))
        self.core = array / norm if norm else array
        self.groups: list[Modes] = [(mode,) for mode in range(array.ndim)]
        self.dtype, self.method = dtype, method
        for axis in range(array.ndim):
            self._compress(axis)

    def copy(self) -> DenseClusters:
        """The same groups, to be merged in another order."""
        return copy(self)

    def _compress(self, axis: int) -> None:
        from tnrank._backend import backend_of
        from tnrank.factorizations import _hsvd

        backend, matrix = backend_of(self.core), matricize(self.core, (axis,))
        u, s = _hsvd.dominant(backend, matrix, "qr")
        count = _hsvd.kept_count(s, _NOISE * eps_of(self.dtype) * float((s**2).sum()) ** 0.5, None)
        if count < matrix.shape[0]:
            self.core = _hsvd.along(backend.xp, self.core, u[:, :count].conj().T, axis)

    def single(self, modes: Modes) -> Any:
        return singular_values(matricize(self.core, (self.groups.index(modes),)), self.method)

    def pair(self, first: Modes, second: Modes) -> Any:
        axes = sorted(self.groups.index(modes) for modes in (first, second))
        return singular_values(matricize(self.core, tuple(axes)), self.method)

    def merge(self, first: Modes, second: Modes) -> None:
        import numpy as np

        a, b = (self.groups.index(modes) for modes in (first, second))
        moved = np.moveaxis(self.core, (a, b), (0, 1))
        self.core = moved.reshape(-1, *moved.shape[2:])
        rest = [group for group in self.groups if group not in (first, second)]
        self.groups = [tuple(sorted(first + second)), *rest]
        self._compress(0)


class FormatClusters:
    """The hierarchical Tucker format, regrouped as the groups grow; nothing is made dense."""

    def __init__(self, tree: DimensionTree, nodes: Mapping[Node, Array], memory_limit: int) -> None:
        from tnrank.factorizations import _hsvd
        from tnrank.factorizations._nodes._web import Web

        frames, _ = _hsvd.orthogonalize(tree, nodes)
        self.web = Web(tree, frames, 0.0, memory_limit)
        self.web.truncate(0.0)
        self.bonds: dict[Modes, int] = {(mode,): self.web.leaf_bond(mode) for mode in range(tree.order)}

    def single(self, modes: Modes) -> Any:
        return self.web.spectrum(self.bonds[modes])

    def pair(self, first: Modes, second: Modes) -> Any:
        return self.web.pair_spectrum(self.bonds[first], self.bonds[second])

    def merge(self, first: Modes, second: Modes) -> None:
        found = self.web.gather(self.bonds[first], self.bonds[second], 0.0)
        del self.bonds[first], self.bonds[second]
        self.bonds[tuple(sorted(first + second))] = found
