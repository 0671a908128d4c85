"""A dimension tree from correlations: features that vary together meet low in the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import instance
from tnrank._explained import explained
from tnrank._memory import check_fits
from tnrank._nested import renamed
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.ranks._entanglement._bisection import bisect
from tnrank.ranks._entanglement._input import read_arrangement, read_samples

if TYPE_CHECKING:
    from tnrank._typing import Array

NDArray = np.ndarray[Any, Any]


@explained
def correlation_tree(X: Array, grid: tuple[int, ...] | None = None) -> DimensionTree:
    """The dimension tree that keeps correlated features together: a rearrangement that lowers entanglement.

    The complete graph of the features, weighted by their absolute Pearson correlations, is cut in two, again and again,
    into parts of the sizes that the canonical tree has: by its Fiedler vector, and by exchanges that lighten the cut.

    Args:
        X: samples ``(M, N)``, or gray images ``(M, H, W)``; more samples give better correlations. The scale of a
            feature does not matter. Features that are constant have the correlation 0 and come last.
        grid: ``(H, W)`` for a tree of the shape of ``DimensionTree.quad(H, W)``, with four parts a node; images have
            their own. Without it the tree has the shape of ``DimensionTree.balanced(N)``, with two.

    Returns:
        A DimensionTree whose modes are the features of X: ``entanglement_report(X, tree=tree)`` measures it, and
        :func:`tnrank.ranks.rearrange` moves the features of X so that its nodes become neighbors.

    Raises:
        ValueError: if X has another shape, fewer than two samples, NaN or infinite entries, or the grid does not fit.
        TypeError: if an argument is of another type.

    Source: Alexander, De La Vega, Razin & Cohen 2023, Sec. 5 (rearrangement by balanced minimum cuts of the graph of
        correlations); Fiedler 1973, *Algebraic connectivity of graphs*; Kernighan & Lin 1970 (exchanges).

    Example:
        >>> import numpy as np, tnrank
        >>> a, b = np.random.default_rng(0).random((2, 100))
        >>> tnrank.correlation_tree(np.stack([a, b, 1 - a, b**2], axis=1)).nested
        ((0, 2), (1, 3))
    """
    samples, sides, _ = read_samples(X, grid)
    template = read_arrangement(samples.shape[1], sides, None).tree
    check_fits(4 * samples.shape[1] ** 2, f"correlations of {samples.shape[1]:,} features", "give fewer features")
    weights, varying = _correlations(samples)
    constant = np.flatnonzero(~varying)
    names: dict[int, int] = {}
    waiting: list[tuple[Node, NDArray, NDArray]] = [(template.root, np.flatnonzero(varying), constant)]
    while waiting:
        node, moving, still = waiting.pop()
        if not node.height:
            names[node.modes[0]] = int([*moving, *still][0])
            continue
        children = template.children(node)
        parts = _split(weights, moving, still, [len(child.modes) for child in children])
        waiting.extend((child, *part) for child, part in zip(children, parts, strict=True))
    return DimensionTree(renamed(template.nested, names))


def _correlations(samples: NDArray) -> tuple[NDArray, NDArray]:
    """Absolute correlations of the features, 0 on the diagonal, and which features vary."""
    centered = samples - samples.mean(axis=0)
    # A constant that is no binary fraction has a mean that differs from it by rounding.
    spread = np.abs(centered).max(axis=0)
    varying = spread > 1e-12 * np.maximum(np.abs(samples).max(axis=0), np.finfo(np.float64).tiny)
    centered /= np.where(varying, spread, 1.0)
    centered *= np.where(varying, 1 / np.sqrt(np.maximum((centered**2).sum(axis=0), 1e-300)), 0.0)
    weights = np.abs(centered.T @ centered)
    np.fill_diagonal(weights, 0.0)
    return weights, varying


def _split(weights: NDArray, moving: NDArray, still: NDArray, sizes: list[int]) -> list[tuple[NDArray, NDArray]]:
    """Features in parts of the given sizes, each ``(varying, constant)``, by cuts in halves of the list of parts."""
    if len(sizes) == 1:
        return [(moving, still)]
    half = (len(sizes) + 1) // 2
    first = sum(sizes[:half])
    if len(moving) <= first:
        kept = first - len(moving)
        left, right = (moving, still[:kept]), (moving[:0], still[kept:])
    else:
        one, other = bisect(weights[np.ix_(moving, moving)], first)
        left, right = (moving[one], still[:0]), (moving[other], still)
    return [*_split(weights, *left, sizes[:half]), *_split(weights, *right, sizes[half:])]


@explained
def rearrange(X: Array, tree: DimensionTree, grid: tuple[int, ...] | None = None) -> Array:
    """The features of X moved so that those of every node of a tree are neighbors.

    Args:
        X: samples ``(M, N)``, or gray images ``(M, H, W)``, of any backend.
        tree: of the N features, in row-major order.
        grid: ``(H, W)`` to put them on a grid, in the order in which ``DimensionTree.quad(H, W)`` visits its pixels;
            images have their own. Without it they stand in a row.

    Returns:
        An array of the shape of X with its columns in the depth-first order of the leaves of ``tree``. The report of it
        is that of X on ``tree``, if the tree is from :func:`tnrank.correlation_tree` with the same grid.

    Raises:
        ValueError: if X, the tree and the grid do not fit together.
        TypeError: if an argument is of another type.

    Example:
        >>> import numpy as np, tnrank
        >>> X = np.array([[0, 10, 1, 11], [2, 12, 3, 13]])
        >>> tnrank.ranks.rearrange(X, tnrank.DimensionTree(((0, 2), (1, 3))))
        array([[ 0,  1, 10, 11],
               [ 2,  3, 12, 13]])
    """
    instance(tree, "tree", DimensionTree, "a DimensionTree such as correlation_tree(X)")
    backend = backend_of(X)
    samples, sides, _ = read_samples(X, grid, least=1)
    target = read_arrangement(samples.shape[1], sides, None).tree
    given = read_arrangement(samples.shape[1], None, tree).tree
    places = np.empty(samples.shape[1], np.int64)
    places[list(target.leaf_order)] = given.leaf_order
    flat = backend.reshape(X, (len(samples), -1))
    index = backend.xp.asarray(places, device=X.device)
    return backend.reshape(backend.take(flat, index, axis=1), tuple(X.shape))
