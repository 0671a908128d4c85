"""What a structure says about a weight: its tensors, how large its inner indices may be, how it is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from tnrank._typing import Array, Labels, Shape
from tnrank.factorizations import Factorization

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layout:
    """The modes of a weight: its end tensor has the shape ``(*rows, *columns, *kernel)``.

    Attributes:
        rows: modes of the outputs, labels ``"o0"``, ``"o1"``, ..
        columns: modes of the inputs, labels ``"i0"``, ``"i1"``, ..
        kernel: sides of a convolution's window, labels ``"k0"``, ``"k1"``; empty for a matrix.
        depth: number of factors of a matrix factorization.
    """

    rows: Shape
    columns: Shape
    kernel: Shape = ()
    depth: int = 2

    @property
    def outs(self) -> Labels:
        """Labels of the outputs."""
        return tuple(f"o{k}" for k in range(len(self.rows)))

    @property
    def ins(self) -> Labels:
        """Labels of the inputs."""
        return tuple(f"i{k}" for k in range(len(self.columns)))

    @property
    def windows(self) -> Labels:
        """Labels of the window."""
        return tuple(f"k{k}" for k in range(len(self.kernel)))

    @property
    def labels(self) -> Labels:
        """Labels of the end tensor."""
        return (*self.outs, *self.ins, *self.windows)

    @property
    def shape(self) -> Shape:
        """Shape of the end tensor."""
        return (*self.rows, *self.columns, *self.kernel)

    @property
    def sizes(self) -> dict[Any, int]:
        """Label of the end tensor -> size."""
        return dict(zip(self.labels, self.shape, strict=True))

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Outputs, and inputs times the window."""
        return prod(self.rows), prod(self.columns) * prod(self.kernel)


@dataclass(frozen=True)
class Part:
    """One tensor of a weight, seen while inputs become outputs.

    Attributes:
        labels: its indices.
        summed: those that end in it, so that their sizes are its fan-in.
        shared: those that enter it and leave it, so that it is applied once for each of their values.
    """

    labels: Labels
    summed: Labels
    shared: Labels = ()


class Structure:
    """One way to write a weight as a network of small tensors; without state."""

    name: ClassVar[str]
    title: ClassVar[str]
    modes: ClassVar[int] = 2
    """Modes into which inputs and outputs are split, unless a user says otherwise."""
    kinds: ClassVar[tuple[str, ...]] = ("linear", "conv", "embedding")

    bounded: ClassVar[bool] = True
    """Whether sizes of inner indices beyond the limits are refused."""
    factorization: ClassVar[type[Factorization]]
    """The class of :meth:`value`."""

    def parts(self, layout: Layout) -> dict[str, Part]:
        """Tensor name -> its indices."""
        raise NotImplementedError

    def limits(self, layout: Layout) -> dict[Any, int]:
        """Inner index -> the size from which on it can represent everything."""
        raise NotImplementedError

    def input_blocks(self, layout: Layout) -> list[Labels]:
        """Modes of the inputs that stand in one tensor and can be mixed with each other there."""
        return [(label,) for label in (*layout.ins, *layout.windows)]

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        """The weight as a factorization; its modes are those of the layout, unless the structure says otherwise."""
        raise NotImplementedError

    def arrays_of(self, layout: Layout, x: Factorization) -> dict[str, Array]:
        """The arrays whose :meth:`value` is ``x``."""
        raise NotImplementedError

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        """Arrays by name whose end tensor is near ``tensor``: of the given ranks, or within ``rtol``."""
        raise NotImplementedError

    def check(self, layout: Layout) -> None:
        """Refuse modes that the structure cannot have."""
