"""The rank report: every notion of rank of one tensor, as a value and as a table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import get_backend
from tnrank._by_node import ByNode
from tnrank._explained import explained
from tnrank._scale import norm
from tnrank.linalg import check_rtol, matricization_sides
from tnrank.ranks import _table
from tnrank.ranks._entropy import capped, renyi_entropy_of
from tnrank.ranks._norms import nuclear_norm_of
from tnrank.ranks._numbers import effective_rank_of, stable_rank_of
from tnrank.ranks._routes._measure import Measurement, measure, measured_nodes

if TYPE_CHECKING:
    from tnrank.dimension_tree import DimensionTree, Node

_LARGEST_INTEGER = 2**63 - 1
"""What every reader of JSON takes for an integer; sides beyond are null and have their logarithms."""
_RANGE = 690.0
"""Norms whose natural logarithm is farther from 0 than this are given as logarithms, in single precision too."""


@dataclass(frozen=True)
class NodeRanks:
    """Ranks of the matricization at one node of a dimension tree: its modes are the rows.

    ``entropy`` is von Neumann's, in nats. ``components``, of a hierarchical factorization, is the number of local
    components of norm above ``rtol`` of the largest there, at the node or at its parent, whichever is smaller. No rank
    exceeds the number of nonzero ones (Razin, Maman & Cohen 2022, Sec. 4).
    """

    node: Node
    sides: tuple[int, int]
    rtol: float
    rank: int
    effective_rank: float
    stable_rank: float
    singular_values: tuple[float, ...] = field(repr=False)
    entropy: float = 0.0
    components: int | None = None


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
    """What :func:`rank_report` measured. ``print`` shows a table, :meth:`to_dict` gives data for JSON.

    ``norm`` may be infinite, or 0 for a tensor that is not: ``log_norm`` is its natural logarithm. Where it is so,
    ``relative`` holds, and all singular values are divided by the norm. ``method`` is ``"qr"`` or ``"gram"``.
    """

    given: str
    shape: tuple[int, ...]
    dtype: str
    norm: float
    rtol: float | None
    multilinear_rank: tuple[int, ...]
    matrix: MatrixRanks | None
    tree: DimensionTree
    nodes: tuple[NodeRanks, ...] = field(repr=False)
    log_norm: float = -math.inf
    relative: bool = False
    method: str = "qr"

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
            "frobenius_norm": self.norm if math.isfinite(self.norm) and not self.relative else None,
            "log_norm": self.log_norm if math.isfinite(self.log_norm) else None,
            "relative": self.relative,
            "rtol": self.rtol,
            "method": self.method,
            "multilinear_rank": list(self.multilinear_rank),
            "matrix": None if self.matrix is None else asdict(self.matrix),
            "tree": self.tree.nested if max(node.height for node in self.tree.nodes) < 200 else self.tree.text,
            "nodes": [
                {
                    "modes": list(entry.node.modes),
                    "height": entry.node.height,
                    "rows": _integer(entry.sides[0]),
                    "columns": _integer(entry.sides[1]),
                    "log10_sides": [math.log10(side) for side in entry.sides],
                    "rtol": entry.rtol,
                    "rank": entry.rank,
                    "effective_rank": entry.effective_rank,
                    "stable_rank": entry.stable_rank,
                    "entropy": entry.entropy,
                    "components": entry.components,
                    "singular_values": list(entry.singular_values),
                }
                for entry in self.nodes
            ],
        }

    def __str__(self) -> str:
        return _table.layout(self).text()

    def _repr_html_(self) -> str:
        return _table.layout(self).html()

    def __rich__(self) -> Any:
        return _table.layout(self).rich()


@explained
def rank_report(
    x: Any, tree: DimensionTree | None = None, rtol: float | None = None, method: str = "auto"
) -> RankReport:
    """Measure the matrix, multilinear and hierarchical ranks of a tensor.

    Args:
        x: array of order N >= 2, a factorization or a sum of factorizations, of any order: formats are measured as
            they are.
        tree: dimension tree of order N; ``None`` is the factorization's own, or the balanced one.
        rtol: relative to the largest singular value at each node; ``None`` as for :func:`hierarchical_rank`.
        method: as for :func:`hierarchical_singular_values`.

    Returns:
        A :class:`RankReport`: at each node the rank, the effective and stable rank, the entanglement entropy and the
        singular values; for a matrix also its norms, for a hierarchical factorization its local components.

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
        node         rows x columns  rank  effective  stable  entropy  singular values
        {0,1,2}
        ├── {0,1}    4 x 2              1       1.00    1.00    0.000  2.83  ...
        │   ├── {0}  2 x 4              1       1.00    1.00    0.000  2.83  ...
        │   └── {1}  2 x 4              1       1.00    1.00    0.000  2.83  ...
        └── {2}      2 x 4              1       1.00    1.00    0.000  2.83  ...
    """
    rtol = check_rtol(rtol)

    def groups(shape: tuple[int, ...], tree: DimensionTree) -> list[tuple[int, ...]]:
        return list(
            dict.fromkeys([*(node.modes for node in measured_nodes(tree)), *((mode,) for mode in range(len(shape)))])
        )

    found = measure(x, tree, method, rtol, groups)
    log_norm = found.log_norm
    relative = math.isfinite(log_norm) and abs(log_norm) > _RANGE
    bounds = _components(x, found)
    nodes = []
    for node in measured_nodes(found.tree):
        s = _host(found, node.modes, relative)
        tolerance = found.tolerance(node.modes)
        nodes.append(
            NodeRanks(
                node=node,
                sides=matricization_sides(found.shape, node.modes),
                rtol=tolerance,
                rank=found.rank(node.modes),
                effective_rank=float(effective_rank_of(s)),
                stable_rank=float(stable_rank_of(s)),
                singular_values=tuple(map(float, s)),
                entropy=float(renyi_entropy_of(s, 1.0, capped(tolerance))),
                components=bounds.get(node),
            )
        )
    matrix = None
    if len(found.shape) == 2:
        first = _host(found, (0,), relative)
        matrix = MatrixRanks(
            rank=found.rank((0,)),
            effective_rank=float(effective_rank_of(first)),
            stable_rank=float(stable_rank_of(first)),
            nuclear_norm=float(nuclear_norm_of(first)),
            spectral_norm=float(first[0]),
        )
    return RankReport(
        given=found.given,
        shape=found.shape,
        dtype=found.dtype,
        norm=found.norm,
        rtol=rtol,
        multilinear_rank=tuple(found.rank((mode,)) for mode in range(len(found.shape))),
        matrix=matrix,
        tree=found.tree,
        nodes=tuple(nodes),
        log_norm=log_norm,
        relative=relative,
        method=found.method,
    )


def _host(found: Measurement, modes: tuple[int, ...], relative: bool) -> np.ndarray[Any, Any]:
    if found.log_unit is None:
        if relative:
            return np.asarray(found.backend.to_numpy(found.relative(modes)))
        s = np.asarray(found.backend.to_numpy(found.values(modes)))
        unit = found.found.unit
        # Values beyond single precision are not beyond double.
        return s if unit is None else s.astype(np.float64) * float(found.backend.to_numpy(unit))
    s = np.asarray(found.backend.to_numpy(found.values(modes))).astype(np.float64)
    return s if relative or not math.isfinite(found.log_norm) else s * math.exp(found.log_norm)


def _components(x: Any, found: Measurement) -> dict[Node, int]:
    """How many local components of a hierarchical factorization bound the rank at each node of its own tree."""
    from tnrank.factorizations import HierarchicalFactorization

    if not isinstance(x, HierarchicalFactorization) or found.tree != x.tree:
        return {}
    tree = x.tree
    logs = _log_component_norms(x)
    bounds = {}
    for node in measured_nodes(tree):
        tolerance = found.tolerance(node.modes)
        parent = tree.parent(node)
        around = [n for n in (node, parent) if n is not None and n.height]
        bounds[node] = min(_above(logs[n], tolerance) for n in around)
    return bounds


def _log_component_norms(x: Any) -> dict[Node, np.ndarray[Any, Any]]:
    """Logarithms of the norms of the local components: products of many norms leave the range."""
    host = get_backend("numpy")
    hosts = {node: np.asarray(x.backend.to_numpy(a)) for node, a in x.matrices.items()}
    wide = {node: a.astype(np.promote_types(a.dtype, np.float64)) for node, a in hosts.items()}
    found = {}
    for node in x.tree.interior:
        norms = [norm(wide[node], host, 1), *(norm(wide[c], host, 0) for c in x.tree.children(node))]
        with np.errstate(divide="ignore"):
            found[node] = np.log(norms).sum(axis=0)
    return found


def _above(logs: np.ndarray[Any, Any], rtol: float) -> int:
    top = logs.max()
    return 0 if top == -np.inf else int((logs > top + (math.log(rtol) if rtol > 0 else -np.inf)).sum())


def _integer(side: int) -> int | None:
    return side if side <= _LARGEST_INTEGER else None
