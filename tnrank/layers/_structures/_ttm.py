"""Tensor-train matrix: a chain of cores, each with one mode of the outputs and one of the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

from tnrank._typing import Array
from tnrank.factorizations import Factorization, TensorTrainOperator
from tnrank.layers._structures._structure import Host, Layout, Part, Structure


class TTM(Structure):
    """Cores ``core0``, ``core1``, .. of a :class:`tnrank.TensorTrainOperator`."""

    name: ClassVar[str] = "ttm"
    title: ClassVar[str] = "tensor-train matrix"
    kinds: ClassVar[tuple[str, ...]] = ("linear", "embedding")
    factorization: ClassVar[type[Factorization]] = TensorTrainOperator

    def parts(self, layout: Layout) -> dict[str, Part]:
        last, found = len(layout.rows) - 1, {}
        for k, (out, enters) in enumerate(zip(layout.outs, layout.ins, strict=True)):
            left, right = ((f"r{k}",) if k else ()), ((f"r{k + 1}",) if k < last else ())
            found[f"core{k}"] = Part((*left, out, enters, *right), (enters, *right))
        return found

    def limits(self, layout: Layout) -> dict[Any, int]:
        merged = [m * n for m, n in zip(layout.rows, layout.columns, strict=True)]
        return {f"r{k}": min(prod(merged[:k]), prod(merged[k:])) for k in range(1, len(merged))}

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        first, *middle, last = arrays.values()
        return TensorTrainOperator([first[None], *middle, last[..., None]])

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        first, *middle, last = x.arrays.values()
        reshape = x.backend.reshape
        cores = [reshape(first, first.shape[-3:]), *middle, reshape(last, last.shape[:3])]
        return dict(zip(self.parts(layout), cores, strict=True))

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        most = None if ranks is None else tuple(ranks.values())
        matrix = tensor.reshape(layout.matrix_shape)
        x = TensorTrainOperator.from_dense(matrix, layout.rows, layout.columns, rtol, most)
        return self.arrays_of(layout, x)

    def check(self, layout: Layout) -> None:
        if len(layout.rows) != len(layout.columns) or len(layout.rows) < 2:
            raise ValueError(
                f"structure 'ttm' has as many modes of outputs as of inputs, two or more, got {layout.rows} and "
                f"{layout.columns}"
            )
