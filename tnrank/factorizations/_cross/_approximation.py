"""Hierarchical Tucker cross approximation: a tensor from values of a black-box function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._by_node import ByNode
from tnrank._check import whole_number
from tnrank._explained import explained
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations._cross._loop import Status, cross_to_nodes
from tnrank.factorizations._cross._search import relative_errors
from tnrank.factorizations._cross._tree import NumberedTree
from tnrank.factorizations._draw import check_dimensions

if TYPE_CHECKING:
    from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

Host = np.ndarray[Any, Any]


@dataclass(frozen=True, repr=False)
class CrossApproximation:
    """A tensor found from values of a function, and how well it agrees with others of them.

    Attributes:
        tensor: the HierarchicalTucker.
        error: root mean square of the error at held-out points over that of the values.
        max_error: the largest error at held-out points over the largest value.
        evaluations: points at which the function was evaluated, held-out ones included.
        status: ``"converged"`` if the error is within the tolerance and the ranks have settled; else what ended the
            search: ``"budget"``, ``"max_rank"`` or ``"sweeps"``.
        history: the evaluations and the error after each sweep from the leaves to the root.
    """

    tensor: HierarchicalTucker
    error: float
    max_error: float
    evaluations: int
    status: Status
    history: tuple[tuple[int, float], ...]

    @property
    def converged(self) -> bool:
        """Whether the error is within the tolerance and the ranks have settled."""
        return self.status == "converged"

    @property
    def ranks(self) -> ByNode[int]:
        """Node -> rank, the root left out."""
        return self.tensor.ranks

    def __repr__(self) -> str:
        return (
            f"CrossApproximation: {self.status}, error {self.error:.1e} (largest {self.max_error:.1e}) at held-out "
            f"points, {self.evaluations:,} evaluations in {len(self.history)} sweeps, ranks up to "
            f"{max(self.ranks.values())}, order {self.tensor.tree.order}"
        )


@explained
def cross_approximation(
    function: Callable[[Host], Any],
    shape: Sequence[int],
    tree: DimensionTree | Sequence[Any] | None = None,
    rtol: float = 1e-8,
    max_rank: int | None = None,
    budget: int = 1_000_000,
    seed: int = 0,
    *,
    start: Any = None,
    test_points: int = 500,
    sweeps: int = 30,
    batch_size: int | None = None,
    atol: float = 0.0,
) -> CrossApproximation:
    """A hierarchical Tucker tensor from values of a function on multi-indices, the dense tensor never formed.

    Pivot rows, nested along the tree, are chosen from the values at products of the children's pivots and at sampled
    columns. It is exact, up to rounding, once the columns of every node span those of its matricization. The cost is
    about ``k + 4`` columns at each node: ``N n (k + 4) + N k^2 (k + 4)`` evaluations for a binary tree.

    Args:
        function: takes an integer array ``(M, N)`` of multi-indices and returns the ``(M,)`` values, real or complex.
        shape: ``(d_1, .., d_N)``.
        tree: a DimensionTree or nested tuples; the balanced one if not given.
        rtol: the error at held-out points that is aimed at, root mean square over root mean square.
        max_rank: the most columns of any frame; ``None`` sets no bound.
        budget: the most evaluations, which is never exceeded.
        seed: of the sampled points.
        start: multi-indices ``(M, N)`` where the function matters, for functions that vanish at random points.
        test_points: held-out points; all entries, if the tensor has no more.
        sweeps: the most passes from the leaves to the root.
        batch_size: the most points in one call of the function; by default index arrays have up to 4 million entries.
        atol: differences of this size mean nothing: they are no rank, and an error at held-out points of this size,
            root mean square, is small enough. By default every value is taken to be accurate relative to itself, as a
            product of many factors is; give a few times the noise of functions that have one.

    Raises:
        TypeError: if the function does not return one number a point.
        ValueError: if a value is NaN or infinite, the index is named; if the tree has another order than the shape,
            a mode is empty, or ``rtol`` is below 64 eps of the values.

    Source: Ballani, Grasedyck & Kluge 2013; Oseledets & Tyrtyshnikov 2010 (nested pivots of the tensor train).

    Example:
        >>> import numpy as np
        >>> from tnrank.factorizations import cross_approximation
        >>> found = cross_approximation(lambda index: np.sin(index.sum(axis=1)), (10,) * 50)
        >>> found.status, set(found.ranks.values()), found.error < 1e-10
        ('converged', {2}, True)
    """
    from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

    dimensions = check_dimensions(shape)
    tree = DimensionTree.balanced(len(dimensions)) if tree is None else tree
    tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
    seed = whole_number(seed, "seed")
    nodes, info = cross_to_nodes(
        function,
        dimensions,
        tree,
        rtol=rtol,
        max_rank=max_rank,
        budget=budget,
        seed=seed,
        start=start,
        test_points=test_points,
        sweeps=sweeps,
        batch_size=batch_size,
        atol=atol,
    )
    tensor = HierarchicalTucker._of_nodes(tree, nodes)
    error, max_error = info.error, info.max_error
    if info.largest:
        # Pivots are quasi-optimal, and noise can look like a pivot: the hierarchical SVD removes what is superfluous.
        cut = tensor.truncate(rtol=info.tolerance / 2).tensor
        arrays = [cut.nodes[node] for node in tree.nodes]
        found = NumberedTree(tree, dimensions).entries(arrays, info.test_points)
        errors = relative_errors(found, info.test_values, info.largest)
        if errors[0] <= max(info.tolerance, error):
            tensor, (error, max_error) = cut, errors
    return CrossApproximation(tensor, error, max_error, info.evaluations, info.status, info.history)
