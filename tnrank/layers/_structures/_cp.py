"""CP: a sum of outer products of vectors, one a mode."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

from tnrank._typing import Array
from tnrank.factorizations import CPFactorization, Factorization
from tnrank.layers._structures._cp_fit import fit_components
from tnrank.layers._structures._structure import Host, Layout, Part, Structure


class CP(Structure):
    """One factor ``(d_n, R)`` a mode: ``out0``, .., ``in0``, .., ``kernel0``, .."""

    name: ClassVar[str] = "cp"
    title: ClassVar[str] = "CP factorization"
    factorization: ClassVar[type[Factorization]] = CPFactorization

    def parts(self, layout: Layout) -> dict[str, Part]:
        found = {f"out{k}": Part((label, "r"), ("r",)) for k, label in enumerate(layout.outs)}
        found |= {f"in{k}": Part((label, "r"), (label,)) for k, label in enumerate(layout.ins)}
        return found | {f"kernel{k}": Part((label, "r"), (label,), ("r",)) for k, label in enumerate(layout.windows)}

    def limits(self, layout: Layout) -> dict[Any, int]:
        return {"r": prod(layout.shape) // max(layout.shape)}

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        return CPFactorization(list(arrays.values()))

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        first, *others = x.arrays.values()
        if len(others) == len(layout.shape):
            first = first * others.pop()  # the weights of the components
        return dict(zip(self.parts(layout), [first, *others], strict=True))

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        rank = None if ranks is None else ranks["r"]
        return dict(zip(self.parts(layout), fit_components(tensor, rank, rtol), strict=True))
