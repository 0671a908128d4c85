"""The rank report: every notion of rank of one tensor, as a value and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tnrank.linalg import check_rtol, matricization_sides
from tnrank.ranks import _table
from tnrank.ranks._by_node import ByNode
from tnrank.ranks._input import read_tensor, read_tree
from tnrank.ranks._norms import distance_to_rank_of, nuclear_norm_of
from tnrank.ranks._numbers import effective_rank_of, stable_rank_of
from tnrank.ranks._tensor import Spectra, measured_nodes

if TYPE_CHECKING:
    from tnrank.dimension_tree import DimensionTree, Node


@dataclass(frozen=True)
class NodeRanks:
    """Ranks of the matricization at one node of a dimension tree: its modes are the rows."""

    node: Node
    sides: tuple[int, int]
    rtol: float
    rank: int
    effective_rank: float
    stable_rank: float
    singular_values: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class MatrixRanks:
    """Ranks and norms of a matrix."""

    rank: int
    effective_rank: float
    stable_rank: float
    nuclear_norm: float
    spectral_norm: float


@dataclass(frozen=True)
class RankReport:
    """What :func:`rank_report` measured. ``print`` shows a table, :meth:`to_dict` gives data for JSON."""

    given: str
    shape: tuple[int, ...]
    dtype: str
    norm: float
    rtol: float | None
    multilinear_rank: tuple[int, ...]
    matrix: MatrixRanks | None
    tree: DimensionTree
    nodes: tuple[NodeRanks, ...] = field(repr=False)

    @property
    def hierarchical_rank(self) -> ByNode[int]:
        """``{node: rank}`` as :func:`tnrank.ranks.hierarchical_rank` gives it."""
        return ByNode({entry.node: entry.rank for entry in self.nodes})

    def to_dict(self) -> dict[str, Any]:
        """The report as numbers, strings, lists and dictionaries, ready for ``json.dumps``."""
        return {
            "given": self.given,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "frobenius_norm": self.norm,
            "rtol": self.rtol,
            "multilinear_rank": list(self.multilinear_rank),
            "matrix": None if self.matrix is None else asdict(self.matrix),
            "tree": self.tree.nested,
            "nodes": [
                {
                    "modes": list(entry.node.modes),
                    "height": entry.node.height,
                    "rows": entry.sides[0],
                    "columns": entry.sides[1],
                    "rtol": entry.rtol,
                    "rank": entry.rank,
                    "effective_rank": entry.effective_rank,
                    "stable_rank": entry.stable_rank,
                    "singular_values": list(entry.singular_values),
                }
                for entry in self.nodes
            ],
        }

    def __str__(self) -> str:
        return _table.text(self)

    def _repr_html_(self) -> str:
        return _table.html(self)


def rank_report(x: Any, tree: DimensionTree | None = None, rtol: float | None = None) -> RankReport:
    """Measure the matrix, multilinear and hierarchical ranks of a tensor.

    Args:
        x: array of order N >= 2, or a factorization.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        rtol: relative to the largest singular value at each node; ``None`` is max(sides) * eps.

    Returns:
        A :class:`RankReport`: at each node the rank, the effective and stable rank and the singular values;
        for a matrix also its norms.

    Raises:
        ValueError: if the tree has other modes than ``x``, ``rtol`` is outside [0, 1) or below eps, or ``x``
            has order 0 or 1, an empty mode or an entry that is not finite.

    Source: Roy & Vetterli 2007 (effective rank); Razin, Maman & Cohen 2022, Sec. 4 (hierarchical tensor
        rank).

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import rank_report
        >>> print(rank_report(np.ones((2, 2, 2))))
        ranks of a tensor, shape 2 x 2 x 2, float64
        Frobenius norm     2.82843
        tolerance          8.9e-16 of the largest value (larger side * eps)
        multilinear rank   (1, 1, 1)
        hierarchical rank  1 (largest over the nodes)
        <BLANKLINE>
        node         rows x columns  rank  effective  stable  singular values
        {0,1,2}
        ├── {0,1}    4 x 2              1       1.00    1.00  2.83  ...
        │   ├── {0}  2 x 4              1       1.00    1.00  2.83  ...
        │   └── {1}  2 x 4              1       1.00    1.00  2.83  ...
        └── {2}      2 x 4              1       1.00    1.00  2.83  ...
    """
    found = read_tensor(x)
    tree = read_tree(tree, found)
    spectra = Spectra(found, rtol=check_rtol(rtol))
    nodes = []
    for node in measured_nodes(tree):
        s = found.backend.to_numpy(spectra.of(node.modes))
        nodes.append(
            NodeRanks(
                node=node,
                sides=matricization_sides(spectra.shape, node.modes),
                rtol=spectra.tolerance(node.modes),
                rank=spectra.rank(node.modes),
                effective_rank=float(effective_rank_of(s)),
                stable_rank=float(stable_rank_of(s)),
                singular_values=tuple(map(float, s)),
            )
        )
    first = found.backend.to_numpy(spectra.of((0,)))
    matrix = None
    if len(spectra.shape) == 2:
        matrix = MatrixRanks(
            rank=spectra.rank((0,)),
            effective_rank=float(effective_rank_of(first)),
            stable_rank=float(stable_rank_of(first)),
            nuclear_norm=float(nuclear_norm_of(first)),
            spectral_norm=float(first[0]),
        )
    return RankReport(
        given=found.given,
        shape=spectra.shape,
        dtype=found.dtype,
        norm=float(distance_to_rank_of(first, 0)),
        rtol=spectra.rtol,
        multilinear_rank=tuple(spectra.rank((mode,)) for mode in range(len(spectra.shape))),
        matrix=matrix,
        tree=tree,
        nodes=tuple(nodes),
    )
