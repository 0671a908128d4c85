"""Block tensor train: two block-diagonal matrices with a permutation between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tnrank._typing import Array
from tnrank.factorizations import Factorization, NetworkFactorization
from tnrank.layers._structures._structure import Host, Layout, Part, Structure
from tnrank.network import Network

_NETWORK = Network({"left": ("o1", "i0", "s", "o0"), "right": ("i0", "i1", "o1", "s")}, ("o0", "o1", "i0", "i1"))


class BTT(Structure):
    """``W[(o0, o1), (i0, i1)] = sum_s left[o1, i0, s, o0] right[i0, i1, o1, s]``: two batched products.

    Each block (o1, i0) of the weight is a matrix of rank s.

    Source: Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024; Dao et al. 2022 (Monarch matrices, s = 1).
    """

    name: ClassVar[str] = "btt"
    title: ClassVar[str] = "block tensor train"
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    factorization: ClassVar[type[Factorization]] = NetworkFactorization

    def parts(self, layout: Layout) -> dict[str, Part]:
        return {
            "left": Part(_NETWORK.tensors["left"], ("i0", "s"), ("o1",)),
            "right": Part(_NETWORK.tensors["right"], ("i1",), ("i0",)),
        }

    def limits(self, layout: Layout) -> dict[Any, int]:
        return {"s": min(layout.rows[0], layout.columns[1])}

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        return NetworkFactorization(_NETWORK, arrays)

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        return x.arrays

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        blocks = np.transpose(tensor, (1, 2, 0, 3))  # shape: (o1, i0, o0, i1)
        u, s, vh = np.linalg.svd(blocks, full_matrices=False)
        rank = _within(s, rtol or 0.0) if ranks is None else ranks["s"]
        root = np.sqrt(s[..., :rank])
        left = (u[..., :rank] * root[..., None, :]).swapaxes(2, 3)
        return {"left": left, "right": np.transpose(root[..., None] * vh[..., :rank, :], (1, 3, 0, 2))}

    def check(self, layout: Layout) -> None:
        if len(layout.rows) != 2 or len(layout.columns) != 2:
            raise ValueError(f"structure 'btt' has two modes a side, got {layout.rows} and {layout.columns}")


def _within(spectra: Host, rtol: float) -> int:
    """The rank at which what all blocks lose is at most ``rtol`` of the whole."""
    energy = (spectra**2).sum(axis=(0, 1))
    lost = np.append(np.cumsum(energy[::-1])[::-1], 0.0)
    return max(1, int(np.argmax(lost <= rtol**2 * energy.sum())))
