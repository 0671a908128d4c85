"""Factorizations as circuits, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.circuits import _layout
from tnrank.circuits._forward import check_weights
from tnrank.circuits._layout import Level
from tnrank.circuits._windows import windows_of_tree
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization

if TYPE_CHECKING:
    from tnrank.circuits._circuit import Circuit
    from tnrank.circuits._representation import Representation


def circuit_of(
    cls: Any,
    x: Factorization,
    grid: Sequence[int] | None,
    shared: bool | None,
    classes: bool,
    representation: Representation | None,
) -> Any:
    """See :meth:`tnrank.circuits.Circuit.from_factorization`."""
    if not isinstance(x, (MatrixFactorization, CPFactorization, HierarchicalFactorization)):
        raise TypeError(
            f"got {type(x).__name__}, a circuit computes a MatrixFactorization, CPFactorization or "
            f"HierarchicalFactorization{_way_out(x)}"
        )
    if classes and not isinstance(x, CPFactorization):
        raise ValueError(
            f"got classes={classes!r} and a {type(x).__name__}: it is for CP factorizations, whose last mode may be "
            "the classes; a hierarchical one has a column of its root for each. Leave it out"
        )
    found = (
        _of_matrices(cls, x)
        if isinstance(x, MatrixFactorization)
        else _of_cp(cls, x, grid, shared, classes)
        if isinstance(x, CPFactorization)
        else _of_hierarchy(cls, x, grid, shared)
    )
    return found if representation is None else replace(found, representation=representation)


def _way_out(x: Any) -> str:
    if isinstance(x, Factorization):
        return "; tnrank.circuits.evaluate(x, features) contracts any factorization with vectors"
    if isinstance(x, (str, PathLike)):
        return ": tnrank.load(path) reads one"
    return ": a Circuit goes into the layer itself" if type(x).__name__ == "Circuit" else ""


def _of_hierarchy(cls: Any, x: HierarchicalFactorization, grid: Sequence[int] | None, shared: bool | None) -> Any:
    grid, windows = windows_of_tree(x.tree, None if grid is None else _layout.sides_of(grid))
    matrices, tree = x.matrices, x.tree
    plain = cls(grid, 1, tuple(Level(1, w) for w in windows), ragged=True)
    levels = []
    for k, (nodes, window) in enumerate(zip(plain.nodes, windows, strict=False)):
        found = [matrices[node] for node in nodes]
        out = tuple(int(m.shape[1]) for m in found)
        levels.append(Level(out[0] if len(set(out)) == 1 else out, window, _is_shared(found, shared, f"level {k}")))
    features = tuple(int(matrices[leaf].shape[0]) for leaf in plain.nodes[0])
    ragged = any(s % w for g, v in zip(plain.grids, windows, strict=False) for s, w in zip(g, v, strict=True))
    return cls(grid, features, tuple(levels), int(matrices[tree.root].shape[1]), ragged=ragged)


def _of_matrices(cls: Any, x: MatrixFactorization) -> Any:
    sizes = [int(layer.shape[0]) for layer in x.layers] + [int(x.layers[-1].shape[1])]
    features = (sizes[0], sizes[-1])
    if len(x.layers) == 1:
        levels = [Level(sizes[-1], (2,), locations=(0,))]
    else:
        levels = [Level((sizes[1], sizes[-2]), (1,))]
        levels += [Level((sizes[j], sizes[-2]), (1,), locations=(0,)) for j in range(2, len(x.layers))]
        last = levels.pop()
        levels.append(Level(last.channels, (2,), locations=last.locations))
    return cls((2,), features, tuple(levels), dense=False, kind="matrix")


def _of_cp(cls: Any, x: CPFactorization, grid: Sequence[int] | None, shared: bool | None, classes: bool) -> Any:
    factors = x.factors[:-1] if classes else x.factors
    if classes and x.weights is not None:
        raise ValueError(
            "a CP factorization with weights has no place for them beside a class mode: "
            "CPFactorization([*x.factors[:-1], x.factors[-1] * x.weights])"
        )
    sides = (len(factors),) if grid is None else _layout.sides_of(grid)
    if prod(sides) != len(factors):
        raise ValueError(f"got the grid {_layout.crossed(sides)} for {len(factors)} modes")
    level = Level(x.rank, sides, _is_shared(factors, shared, "the factors"))
    features = tuple(int(f.shape[0]) for f in factors)
    count = int(x.factors[-1].shape[0]) if classes else 1
    if classes and count == 1:
        raise ValueError("got classes=True and a last mode of dimension 1: needed two classes or more")
    return cls(sides, features, (level,), count, dense=classes or x.weights is not None, kind="cp")


def _is_shared(arrays: Sequence[Array], shared: bool | None, what: str) -> bool:
    one = all(a is arrays[0] for a in arrays)
    if shared and not one:
        host = [backend_of(a).to_numpy(a) for a in arrays]
        for n, a in enumerate(host):
            if not np.array_equal(a, host[0]):
                raise ValueError(f"shared=True, but {what} at location {n} is another array than at location 0")
    return one if shared is None else shared


def weights_of(circuit: Circuit, x: Factorization) -> tuple[Array, ...]:
    """See :meth:`tnrank.circuits.Circuit.weights_of`."""
    if x.kind != circuit.kind:
        raise ValueError(
            f"got a {type(x).__name__}, the circuit is of kind {circuit.kind!r}: Circuit.from_factorization(x) fits"
        )
    if isinstance(x, CPFactorization):
        many = circuit.classes > 1
        factors = x.factors[:-1] if many else x.factors
        rows = [list(factors)]
        dense = x.factors[-1].T if many else None if x.weights is None else x.weights[:, None]
        if (dense is not None) != circuit.dense:
            wanted = "weights" if circuit.dense else "no weights"
            raise ValueError(f"the circuit belongs to a CP factorization with {wanted}")
    elif isinstance(x, HierarchicalFactorization):
        if x.tree != circuit.tree:
            raise ValueError(f"the factorization has {x.tree!r}, the circuit {circuit.tree!r}")
        rows = [[x.matrices[node] for node in row] for row in circuit.nodes[:-1]]
        dense = x.matrices[x.tree.root]
    else:
        assert isinstance(x, MatrixFactorization)
        layers = list(x.layers)
        last = [] if len(layers) == 1 else [layers.pop().T]
        rows = [[layers[0], *last], *([layer] for layer in layers[1:])]
        dense = None
    if len(rows) != len(circuit.levels):
        raise ValueError(
            f"the factorization has {len(rows)} levels, the circuit {len(circuit.levels)}: "
            "Circuit.from_factorization(x) fits"
        )
    found = [_packed(circuit, k, row) for k, row in enumerate(rows)]
    found += [] if dense is None else [dense]
    check_weights(circuit, found)
    return tuple(found)


def _packed(circuit: Circuit, k: int, matrices: Sequence[Array]) -> Array:
    shape, level, before = circuit.shapes[k], circuit.levels[k], circuit.widths[k]
    where = level.locations if level.locations is not None else range(len(before))
    if len(where) != len(matrices):
        raise ValueError(f"the factorization has {len(matrices)} matrices on level {k}, the circuit {len(where)}")
    for n, matrix in zip(where, matrices, strict=True):
        needed = (before[n], _layout.channels_at(level, n))
        if tuple(matrix.shape) != needed:
            raise ValueError(
                f"the factorization has a matrix of shape {tuple(matrix.shape)} on level {k} at location {n}, the "
                f"circuit {needed}: Circuit.from_factorization(x) fits"
            )
    if len(shape) == 2:
        _is_shared(matrices, True, f"the matrix of level {k}")
        return matrices[0]
    xp = backend_of(matrices[0]).xp
    return xp.stack([_padded(matrix, shape[1:]) for matrix in matrices])


def _padded(matrix: Array, shape: Sequence[int]) -> Array:
    xp = backend_of(matrix).xp
    for axis in (0, 1):
        missing = shape[axis] - matrix.shape[axis]
        if missing > 0:
            border = list(matrix.shape)
            border[axis] = missing
            matrix = xp.concat([matrix, 0 * xp.broadcast_to(matrix[:1, :1], tuple(border))], axis=axis)
    return matrix


def factorization_of(circuit: Circuit, weights: Sequence[Array]) -> Any:
    """See :meth:`tnrank.circuits.Circuit.to_factorization`."""
    check_weights(circuit, weights)
    if circuit.pooling != "product" or circuit.activation != "identity":
        raise ValueError(
            f"got {circuit.pooling} pooling and the activation {circuit.activation!r}: a factorization has product "
            "pooling and none; the tensor of any circuit: tnrank.circuits.grid_tensor"
        )
    rows = [_unpacked(circuit, k, weights[k]) for k in range(len(circuit.levels))]
    if circuit.kind == "cp":
        if circuit.classes > 1:
            return CPFactorization([*rows[0], weights[-1].T])
        return CPFactorization(rows[0], weights[-1][:, 0] if circuit.dense else None)
    if circuit.kind == "matrix":
        layers = [rows[0][0], *(row[0] for row in rows[1:])]
        return MatrixFactorization(layers + [a.T for a in rows[0][1:]])
    matrices = {
        node: a for row, arrays in zip(circuit.nodes, rows, strict=False) for node, a in zip(row, arrays, strict=True)
    }
    matrices[circuit.nodes[-1][0]] = weights[-1]
    return HierarchicalFactorization(circuit.tree, matrices)


def _unpacked(circuit: Circuit, k: int, packed: Array) -> list[Array]:
    level, before = circuit.levels[k], circuit.widths[k]
    if level.shared:
        return [packed] * len(before)
    where = level.locations if level.locations is not None else range(len(before))
    found = []
    for j, n in enumerate(where):
        rows, columns = before[n], _layout.channels_at(level, n)
        whole = (rows, columns) == tuple(packed.shape[1:])
        found.append(packed[j] if whole else packed[j, :rows, :columns])
    return found
