"""Tensor train: a chain over the modes of outputs, window and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np

from tnrank._typing import Array
from tnrank.factorizations import Factorization, TensorTrain
from tnrank.layers._structures._structure import Host, Layout, Part, Structure


class TT(Structure):
    """Cores ``core0``, ``core1``, ..; the inputs enter at the end, and the rank in the middle is the matrix rank.

    The modes of its factorization are ordered as outputs, window, inputs.
    """

    name: ClassVar[str] = "tt"
    title: ClassVar[str] = "tensor train"
    factorization: ClassVar[type[Factorization]] = TensorTrain

    def parts(self, layout: Layout) -> dict[str, Part]:
        order = _order(layout)
        last, found = len(order) - 1, {}
        for k, label in enumerate(order):
            left, right = ((f"r{k}",) if k else ()), ((f"r{k + 1}",) if k < last else ())
            entering = () if label in layout.outs else (label,)
            found[f"core{k}"] = Part((*left, label, *right), (*entering, *right))
        return found

    def limits(self, layout: Layout) -> dict[Any, int]:
        sizes = [layout.sizes[label] for label in _order(layout)]
        return {f"r{k}": min(prod(sizes[:k]), prod(sizes[k:])) for k in range(1, len(sizes))}

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        return TensorTrain(arrays.values())

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        return dict(zip(self.parts(layout), x.arrays.values(), strict=True))

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        turned = np.transpose(tensor, [layout.labels.index(label) for label in _order(layout)])
        x = TensorTrain.from_dense(turned, rtol, None if ranks is None else tuple(ranks.values()))
        return self.arrays_of(layout, x)


def _order(layout: Layout) -> tuple[Any, ...]:
    return (*layout.outs, *layout.windows, *layout.ins)
