"""A dimension tree chosen from data."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from tnrank._check import real_number
from tnrank._explained import explained
from tnrank.dimension_tree import DimensionTree
from tnrank.linalg import check_rtol
from tnrank.ranks._suggest._jobs import Job, TreeCandidate, job_of
from tnrank.ranks._suggest._sampling import SampledJob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tnrank._by_node import ByNode

MEMORY_LIMIT = 2**20
"""By default; the SVD of a 1024 x 1024 matrix takes a second."""


@dataclass(frozen=True)
class TreeSuggestion:
    """What :func:`suggest_tree` found: ``print`` shows a table; ``tree``, ``ranks`` and ``storage`` are of the best."""

    given: str
    shape: tuple[int, ...]
    dtype: str
    rtol: float | None
    criterion: str
    evaluations: int
    """Groups of modes that were measured."""
    samples: int | None
    """Rows and columns of the submatrices of a function; ``None`` where all entries count."""
    stopped: bool
    """Whether the search ended because its time was up."""
    candidates: tuple[TreeCandidate, ...]

    @property
    def chosen(self) -> TreeCandidate:
        """The candidate of the least storage; of several, the first in the order of ``candidates``."""
        return min(self.candidates, key=_storage)

    @property
    def tree(self) -> DimensionTree:
        """The suggested tree."""
        return self.chosen.tree

    @property
    def ranks(self) -> ByNode[int]:
        """``{node: columns}`` on the suggested tree, the root left out."""
        return self.chosen.ranks

    @property
    def storage(self) -> int | None:
        """The number of parameters on the suggested tree."""
        return self.chosen.storage

    def __getitem__(self, name: str) -> TreeCandidate:
        """The candidate of this name, such as ``"linear"``."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise KeyError(f"no candidate {name!r}; there are {', '.join(c.name for c in self.candidates)}")

    def __str__(self) -> str:
        dense = prod(self.shape)
        shape = " x ".join(map(str, self.shape)) if len(self.shape) <= 12 else f"order {len(self.shape)}"
        tolerance = "rounding" if self.rtol is None else f"rtol {self.rtol:g}"
        if self.samples is not None:
            tolerance += f", from submatrices of {self.samples} rows and columns"
        rows = [("tree", "largest rank", "storage", "of dense")]
        for c in self.candidates:
            name = f"{c.name}{' (chosen)' if c is self.chosen else ''}"
            if c.storage is None:
                rows.append((name, "too large", "", ""))
            else:
                share = f"{c.storage / dense:.2g}" if dense < 1e300 else "-"
                rows.append((name, str(c.largest_rank), str(c.storage), share))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [f"dimension trees for {self.given}, {shape}, {self.dtype}, truncated to {tolerance}"]
        lines += ["the time was up before the search was done: seconds= gives it more"] if self.stopped else []
        lines.append("")
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        lines.append("")
        if len(self.tree.nodes) > 40:
            return "\n".join([*lines, repr(self.tree)])
        drawn = self.tree.draw(lambda node: self.ranks.get(node, ""))
        return "\n".join([*lines, *(line.rstrip() for line in drawn.splitlines())])


def _storage(candidate: TreeCandidate) -> float:
    return inf if candidate.storage is None else candidate.storage


@explained
def suggest_tree(
    x: Any,
    rtol: float | None = None,
    *,
    max_children: int = 2,
    criterion: Literal["rank", "effective_rank"] = "rank",
    memory_limit: int | None = None,
    shape: Sequence[int] | None = None,
    samples: int = 32,
    seed: int = 0,
    seconds: float = 60.0,
) -> TreeSuggestion:
    """A dimension tree of small ranks, by greedy agglomeration of modes, compared with the usual trees.

    The two groups of modes whose union has the smallest rank become one, until three are left; once by the rank, once
    by its ratio to the product of the two groups' ranks. Of a dense tensor the better of both is improved by exchanges
    of two subtrees across an edge, as long as storage falls. The best of these, of the balanced and the linear tree,
    and of a factorization's own is chosen, so that the suggestion never needs more storage than any of them.

    Args:
        x: array of order N >= 2, or a factorization. Those of the tree formats, CP and hierarchical ones are measured
            in the format where that is smaller than the dense tensor. Or a function of multi-indices ``(M, N)`` that
            gives ``(M,)`` values, with the shape of the tensor.
        rtol: the tolerance of a truncation, ``||x - y|| / ||x||``, shared in squares among the 2N - 3 nodes; ``None``
            drops what rounding cannot tell from zero.
        max_children: nodes are contracted into their parents, up to this number of children, where that saves storage.
        criterion: what groups are compared by: the columns that a truncation keeps, or the effective rank, which also
            sees differences in spectra without small values.
        memory_limit: the most elements of a local tensor when a format is regrouped; ``None`` is 2^20.
        shape: of the tensor, for a function.
        samples: random rows and columns at which a function is evaluated for each group of modes; ranks are then lower
            bounds, and never above this number.
        seed: of the rows and columns.
        seconds: when the search ends: what is not agglomerated by then is split evenly, and exchanges stop. Only the
            measurement that is under way is finished.

    Returns:
        A :class:`TreeSuggestion`.

    Raises:
        ValueError: if ``x`` has order 0 or 1, an empty mode or an entry that is not finite, ``rtol`` is outside [0, 1)
            or below eps, an option is unknown, or a function comes without a shape.

    Cost: O(N^2) spectra of unions of two groups, of the 2^N that there are; a dense one costs an LQ decomposition of
    the matricization, one in the format O(k^6) a bond between the two groups.

    Source: after Ballani & Grasedyck 2014, *Tree adaptive approximation in the hierarchical tensor format*.

    Example:
        >>> import numpy as np, tnrank
        >>> pairs = np.einsum("ad,be,cf->abcdef", *np.random.default_rng(0).standard_normal((3, 4, 4)))
        >>> print(tnrank.ranks.suggest_tree(pairs))
        dimension trees for a tensor, 4 x 4 x 4 x 4 x 4 x 4, float64, truncated to rounding
        <BLANKLINE>
        tree              largest rank  storage  of dense
        balanced                    64    12896       3.1
        linear                      64     8816       2.2
        by rank (chosen)             4      146     0.036
        by affinity                  4      146     0.036
        by exchanges                4      146     0.036
        <BLANKLINE>
        {0,1,2,3,4,5}
        ├── {0,3}  1
        │   ├── {0}  4
        │   └── {3}  4
        └── {1,2,4,5}  1
            ├── {1,4}  1
            │   ├── {1}  4
            │   └── {4}  4
            └── {2,5}  1
                ├── {2}  4
                └── {5}  4
    """
    if max_children < 2:
        raise ValueError(f"max_children is at least 2, got {max_children}")
    if criterion not in ("rank", "effective_rank"):
        raise ValueError(f"criterion is 'rank' or 'effective_rank', got {criterion!r}")
    rtol = check_rtol(rtol)
    job: Job
    if callable(x) and not hasattr(x, "shape"):
        if shape is None:
            raise ValueError("a function needs the shape of its tensor: suggest_tree(f, shape=(..))")
        job = SampledJob(x, shape, rtol, criterion, samples, seed)
    else:
        job = job_of(x, rtol, criterion, MEMORY_LIMIT if memory_limit is None else memory_limit)
    job.until = monotonic() + real_number(seconds, "seconds", 0)
    found = [job.agglomerated(by) for by in ("rank", "affinity")]
    found += job.improved(min(found, key=_storage))
    trees = {"balanced": DimensionTree.balanced(job.order), "linear": DimensionTree.linear(job.order)}
    own = getattr(x, "tree", None)
    if isinstance(own, DimensionTree) and own.order == job.order and own not in trees.values():
        trees["own"] = own
    candidates = [
        *(job.candidate(name, tree) for name, tree in trees.items()),
        *(job.widened(c, max_children) for c in found),
    ]
    rows = samples if isinstance(job, SampledJob) else None
    return TreeSuggestion(
        job.given, job.shape, job.dtype, rtol, criterion, len(job.known), rows, job.over(), tuple(candidates)
    )
