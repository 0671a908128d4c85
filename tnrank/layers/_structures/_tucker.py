"""Tucker: a core with a factor on every mode of inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

from tnrank._alike import identity
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.factorizations import Tucker as TuckerFactorization
from tnrank.layers._structures._structure import Host, Layout, Part, Structure


class Tucker(Structure):
    """Factors ``out0``, .., ``in0``, .. and a ``core``, which keeps the window of a convolution as it is."""

    name: ClassVar[str] = "tucker"
    title: ClassVar[str] = "Tucker factorization"
    kinds: ClassVar[tuple[str, ...]] = ("linear", "conv")
    factorization: ClassVar[type[Factorization]] = TuckerFactorization

    def parts(self, layout: Layout) -> dict[str, Part]:
        found = {f"out{k}": Part((label, f"a{k}"), (f"a{k}",)) for k, label in enumerate(layout.outs)}
        found |= {f"in{k}": Part((label, f"b{k}"), (label,)) for k, label in enumerate(layout.ins)}
        inputs = (*(f"b{k}" for k in range(len(layout.columns))), *layout.windows)
        return found | {"core": Part((*(f"a{k}" for k in range(len(layout.rows))), *inputs), inputs)}

    def limits(self, layout: Layout) -> dict[Any, int]:
        total = prod(layout.shape)
        sides = [(f"a{k}", d) for k, d in enumerate(layout.rows)] + [(f"b{k}", d) for k, d in enumerate(layout.columns)]
        return {label: min(d, total // d) for label, d in sides}

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        *factors, core = arrays.values()
        return TuckerFactorization(core, [*factors, *(identity(core, d) for d in layout.kernel)])

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        *factors, core = x.arrays.values()
        kept, backend = len(layout.rows) + len(layout.columns), x.backend
        for axis, factor in enumerate(factors[kept:], kept):
            order = [*range(axis), core.ndim - 1, *range(axis, core.ndim - 1)]
            core = backend.permute(backend.xp.tensordot(core, factor, axes=((axis,), (1,))), tuple(order))
        return dict(zip(self.parts(layout), [*factors[:kept], core], strict=True))

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        most = None if ranks is None else (*ranks.values(), *layout.kernel)
        return self.arrays_of(layout, TuckerFactorization.from_dense(tensor, rtol, most))
