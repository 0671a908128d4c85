"""The factorizations whose rates the recipe dynamics-law measures, their targets, and where they start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from tnrank.data import low_rank_matrix, low_rank_tensor
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.theory import inner_indices, local_components

Host = np.ndarray[Any, Any]
FAMILIES = {"mf": "matrix factorization", "cp": "CP factorization", "htf": "hierarchical factorization"}
_MATRIX, _RANK = 10, 3
# Dimension of the modes by their number: tensors of 200 to 730 entries.
_DIMENSIONS = {2: 10, 3: 6, 4: 4, 5: 3, 6: 3}
_COMPONENTS, _WIDTH, _TARGET_WIDTH = 10, 8, 2


@dataclass(frozen=True)
class Case:
    """One kind of factorization.

    Attributes:
        family: ``"mf"``, ``"cp"`` or ``"htf"``.
        name: of its runs.
        title: for tables.
        orders: index -> K; for a matrix factorization ``None``, the singular values, -> its depth.
        draw: seed -> a factorization with Gaussian entries, in double precision on the host.
        target: seed -> the tensor to complete, of mean square 1.
    """

    family: str
    name: str
    title: str
    orders: Mapping[Any, int]
    draw: Callable[[int], Factorization]
    target: Callable[[int], Host]

    def start(self, seed: int, size: float, balanced: bool = True, lopsided: float = 1.0) -> Factorization:
        """Initial weights whose largest component norm, or singular value, is ``size`` or, at other indices, more.

        With ``lopsided`` one of the tensors that meet the first index is scaled by it, the others back, so that the
        end tensor stays as it is.
        """
        x = self.draw(seed)
        x = x.balance() if balanced else x
        norms = x.component_norms()
        if isinstance(norms, dict):
            x = x.map(lambda a: a * _common_factor(norms, self.orders.values(), size))
        else:
            factor = (size / float(np.max(norms))) ** (1 / next(iter(self.orders.values())))
            x = x.map(lambda a: a * factor)
        return x if lopsided == 1.0 else self._lopsided(x, lopsided)

    def _lopsided(self, x: Factorization, factor: float) -> Factorization:
        index = next(iter(self.orders))
        names = list(x.arrays) if index is None else list(local_components(x, index).slice_norms)
        # Leaves first: of a hierarchical factorization the scaled matrix then belongs to one family alone.
        names.sort(key=lambda name: not name.startswith("leaf"))
        scales = {name: factor if name == names[0] else factor ** (-1 / (len(names) - 1)) for name in names}
        return x.replace({name: a * scales.get(name, 1.0) for name, a in x.arrays.items()})


def matrix_case(depth: int) -> Case:
    """A square matrix of given depth."""
    shape = (_MATRIX, _MATRIX)
    return Case(
        "mf",
        f"mf-depth{depth}",
        f"matrix, depth {depth}",
        {None: depth},
        lambda seed: MatrixFactorization.random(shape, depth=depth, seed=seed),
        lambda seed: low_rank_matrix(shape, _RANK, seed=seed),
    )


def cp_case(order: int, weighted: bool) -> Case:
    """A CP factorization, with or without a weight a component."""
    shape = (_DIMENSIONS[order],) * order
    return Case(
        "cp",
        f"cp-order{order}{'-weighted' if weighted else ''}",
        f"CP, order {order}{', weighted' if weighted else ''}",
        {"r": order + weighted},
        lambda seed: CPFactorization.random(shape, rank=_COMPONENTS, weighted=weighted, seed=seed),
        lambda seed: low_rank_tensor(shape, _RANK, seed=seed),
    )


def hierarchical_case(arity: int) -> Case:
    """A root with two children, each with ``arity`` leaves."""
    tree = DimensionTree((tuple(range(arity)), tuple(range(arity, 2 * arity))))
    shape = ({2: 4, 3: 3}.get(arity, 2),) * tree.order

    def draw(seed: int, width: int = _WIDTH) -> HierarchicalFactorization:
        return HierarchicalFactorization.random(shape, tree=tree, width=width, seed=seed)

    def target(seed: int) -> Host:
        drawn = np.asarray(draw(seed, _TARGET_WIDTH).to_dense())
        return np.asarray(drawn * (sqrt(drawn.size) / float(np.linalg.norm(drawn))))

    x = draw(0)
    orders = {index: local_components(x, index).order for index in inner_indices(x)}
    return Case("htf", f"htf-arity{arity}", f"hierarchical, {arity} leaves a node", orders, draw, target)


def _common_factor(norms: Any, orders: Any, size: float) -> float:
    """What all matrices are multiplied by: norms of an index of K go with its K-th power."""
    largest = [float(np.max(values)) for values in norms.values()]
    return float(max((size / found) ** (1 / K) for found, K in zip(largest, orders, strict=True)))
