"""Matrix factorization: a product of matrices, a deep linear network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tnrank._backend import backend_of
from tnrank._typing import Array, Labels
from tnrank.factorizations import Factorization, MatrixFactorization
from tnrank.layers._structures._structure import Host, Layout, Part, Structure


class MF(Structure):
    """``layer0 @ layer1 @ ..``; the last one has the window of a convolution."""

    name: ClassVar[str] = "mf"
    title: ClassVar[str] = "matrix factorization"
    modes: ClassVar[int] = 1
    factorization: ClassVar[type[Factorization]] = MatrixFactorization
    bounded: ClassVar[bool] = False

    def parts(self, layout: Layout) -> dict[str, Part]:
        hidden = [f"h{k}" for k in range(1, layout.depth)]
        found = {"layer0": Part(("o0", hidden[0]), (hidden[0],))}
        for k in range(1, layout.depth - 1):
            found[f"layer{k}"] = Part((hidden[k - 1], hidden[k]), (hidden[k],))
        inputs = ("i0", *layout.windows)
        found[f"layer{layout.depth - 1}"] = Part((hidden[-1], *inputs), inputs)
        return found

    def limits(self, layout: Layout) -> dict[Any, int]:
        return {f"h{k}": min(layout.matrix_shape) for k in range(1, layout.depth)}

    def input_blocks(self, layout: Layout) -> list[Labels]:
        return [(*layout.ins, *layout.windows)]

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        *layers, last = arrays.values()
        return MatrixFactorization([*layers, backend_of(last).reshape(last, (last.shape[0], -1))])

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        *layers, last = x.arrays.values()
        window = backend_of(last).reshape(last, (last.shape[0], *layout.columns, *layout.kernel))
        return {f"layer{k}": array for k, array in enumerate([*layers, window])}

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        rank = None if ranks is None else min(ranks.values())
        x = MatrixFactorization.from_dense(tensor.reshape(layout.matrix_shape), rank, rtol, depth=layout.depth)
        return self.arrays_of(layout, x)

    def check(self, layout: Layout) -> None:
        if len(layout.rows) > 1 or len(layout.columns) > 1:
            raise ValueError(f"structure 'mf' has one mode a side, got {layout.rows} and {layout.columns}")
        if layout.depth < 2:
            raise ValueError(f"depth, the number of factors of 'mf', is at least 2, got {layout.depth}")
