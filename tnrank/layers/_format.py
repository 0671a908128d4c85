"""The format of a layer's weight: which structure, which modes, which ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import one_of, shown, whole_number
from tnrank._typing import Array, Shape
from tnrank.factorizations import Factorization
from tnrank.layers._structures import STRUCTURES, Host, Layout, Part, Structure
from tnrank.network import ContractionPlan, Network

KINDS = ("linear", "conv", "embedding")


@dataclass(frozen=True)
class WeightFormat:
    """How the weight of a layer is written as a network of small tensors; :func:`weight_format` makes one.

    Attributes:
        structure: ``"mf"``, ``"cp"``, ``"tucker"``, ``"tt"``, ``"ttm"``, ``"htf"`` or ``"btt"``.
        kind: ``"linear"``, ``"conv"`` or ``"embedding"``.
        shape: shape of the dense weight: (outputs, inputs), (outputs, inputs / groups, \\*window), or (rows, features).
        layout: the modes of one group; the inputs of an embedding are its rows.
        ranks: sizes of the inner indices, in the order of :attr:`inner`.
        groups: of a convolution; every group has a weight of the same format.

    Example:
        >>> from tnrank.layers import weight_format
        >>> print(weight_format("linear", (1024, 1024), "tt", parameters=0.05))
        tt, rank 28, 51,968 of 1,048,576 parameters (5.0 %)
    """

    structure: str
    kind: str
    shape: Shape
    layout: Layout
    ranks: Shape
    groups: int = 1

    def __post_init__(self) -> None:
        check_kind(self.kind, self.structure)
        rules = self.rules
        rules.check(self.layout)
        if self.kind == "conv" and len(self.layout.rows) * len(self.layout.columns) != 1:
            raise ValueError(f"a convolution has one mode a side, got {self.layout.rows} and {self.layout.columns}")
        outputs, inputs = self.sides
        for what, size, modes in (("outputs", outputs, self.layout.rows), ("inputs", inputs, self.layout.columns)):
            if prod(modes) < size:
                raise ValueError(f"the modes {modes} hold {prod(modes)} {what}, needed {size} or more")
        limits = self.limits
        if len(self.ranks) != len(limits):
            names = ", ".join(map(str, limits))
            raise ValueError(f"got ranks {self.ranks}, needed {len(limits)}, of the indices {names}, or one number")
        for (label, most), rank in zip(limits.items(), self.ranks, strict=True):
            if rank < 1 or (rules.bounded and rank > most):
                raise ValueError(
                    f"rank {rank} of index {label!r} is impossible: 1 to {most} for the modes {self.layout.rows} x "
                    f"{self.layout.columns}{' x window ' + str(self.layout.kernel) if self.layout.kernel else ''}"
                )

    @property
    def sides(self) -> tuple[int, int]:
        """Outputs and inputs of one group."""
        if self.kind == "embedding":
            return self.shape[1], self.shape[0]
        return self.shape[0] // self.groups, self.shape[1]

    @property
    def rules(self) -> Structure:
        """What the structure says about all weights of it."""
        return structure_of(self.structure)

    # Kept on the instance, where compilers that trace Python find them.
    @cached_property
    def parts(self) -> dict[str, Part]:
        """Tensor name -> its indices; convolutions with groups have the index ``"g"`` in front of all of them."""
        parts = self.rules.parts(self.layout)
        if self.groups == 1:
            return parts
        return {name: Part(("g", *part.labels), part.summed, ("g", *part.shared)) for name, part in parts.items()}

    @property
    def limits(self) -> dict[Any, int]:
        """Inner index -> the largest rank that is of use."""
        return self.rules.limits(self.layout)

    @property
    def inner(self) -> dict[Any, int]:
        """Inner index -> rank."""
        return dict(zip(self.limits, self.ranks, strict=True))

    @property
    def sizes(self) -> dict[Any, int]:
        """Index -> size, all of them."""
        group = {"g": self.groups} if self.groups > 1 else {}
        return {**group, **self.layout.sizes, **self.inner}

    @cached_property
    def network(self) -> Network:
        """The network of the weight; its output are the modes of the layout, after the group."""
        group = ("g",) if self.groups > 1 else ()
        return Network({name: part.labels for name, part in self.parts.items()}, (*group, *self.layout.labels))

    @cached_property
    def plan(self) -> ContractionPlan:
        """The order in which the dense weight is built."""
        return self.network.plan(self.sizes)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Tensor name -> shape."""
        sizes = self.sizes
        return {name: tuple(sizes[label] for label in part.labels) for name, part in self.parts.items()}

    @property
    def parameter_count(self) -> int:
        """Numbers in all tensors."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def dense_count(self) -> int:
        """Numbers in the dense weight."""
        return prod(self.shape)

    @property
    def fan_in(self) -> int:
        """Numbers that one output of the dense layer is a sum of."""
        return 1 if self.kind == "embedding" else prod(self.shape[1:])

    def with_ranks(self, ranks: Mapping[Any, int] | Shape) -> WeightFormat:
        """The same format with other ranks."""
        sizes = tuple(ranks[label] for label in self.limits) if isinstance(ranks, Mapping) else tuple(ranks)
        return replace(self, ranks=sizes)

    def of_shapes(self, shapes: Mapping[str, Shape]) -> WeightFormat:
        """The same format with the ranks that arrays of these shapes have.

        Raises:
            ValueError: if tensors are missing or extra, or a shape fits no ranks.
        """
        expected = self.parts
        if set(shapes) != set(expected):
            raise ValueError(f"a weight of structure {self.structure!r} has {list(expected)}, got {list(shapes)}")
        sizes = self.network.sizes_of_shapes(dict(shapes))
        known = {**({"g": self.groups} if self.groups > 1 else {}), **self.layout.sizes}
        for label, size in known.items():
            if sizes[label] != size:
                raise ValueError(f"mode {label!r} has size {size} in this layer, got arrays of size {sizes[label]}")
        return self.with_ranks(sizes)

    def value(self, arrays: Mapping[str, Array], group: int = 0) -> Factorization:
        """The weight of one group as a factorization of the present arrays."""
        chosen = {name: arrays[name][group] if self.groups > 1 else arrays[name] for name in self.parts}
        return self.rules.value(self.layout, chosen)

    def dense(self, arrays: Mapping[str, Array]) -> Array:
        """The dense weight, of :attr:`shape`."""
        return self.from_tensor(self.plan(dict(arrays)))

    def from_tensor(self, tensor: Array) -> Array:
        """The dense weight that an end tensor holds: without what fills up its modes."""
        outputs, inputs = self.sides
        layout, backend = self.layout, backend_of(tensor)
        flat = backend.reshape(tensor, (self.groups, prod(layout.rows), prod(layout.columns), *layout.kernel))
        weight = backend.reshape(flat[:, :outputs, :inputs], (self.groups * outputs, inputs, *layout.kernel))
        return backend.permute(weight, (1, 0)) if self.kind == "embedding" else weight

    def to_tensors(self, weight: Host) -> list[Host]:
        """The end tensor of each group of a dense weight on the host, filled up with zeros."""
        outputs, inputs = self.sides
        weight = weight.T if self.kind == "embedding" else weight
        layout = self.layout
        whole = np.zeros((self.groups, prod(layout.rows), prod(layout.columns), *layout.kernel))
        whole[:, :outputs, :inputs] = weight.reshape(self.groups, outputs, inputs, *layout.kernel)
        return [np.asarray(one.reshape(layout.shape)) for one in whole]

    @classmethod
    def of_factorization(cls, x: Factorization, outputs: int | None = None) -> tuple[WeightFormat, dict[str, Array]]:
        """The format of a linear layer whose weight is a factorization, and its arrays.

        Args:
            x: modes of the outputs, then those of the inputs.
            outputs: how many modes are outputs; half of them by default.

        Raises:
            TypeError: for a class that is none of the structures'.
            ValueError: if its modes or its tree do not fit.
        """
        name = next((name for name, rules in STRUCTURES.items() if type(x) is rules.factorization), None)
        if name is None or name == "btt":
            usable = ", ".join(rules.factorization.__name__ for key, rules in STRUCTURES.items() if key != "btt")
            raise TypeError(f"got {shown(x)}, needed a factorization of one of the classes {usable}")
        count = x.ndim // 2 if outputs is None else whole_number(outputs, "outputs, the number of their modes,", 1)
        if not 1 <= count < x.ndim:
            raise ValueError(f"got a factorization of order {x.ndim}, needed modes of outputs and of inputs")
        rows, columns = x.shape[:count], x.shape[count:]
        depth = len(x.arrays) if name == "mf" else 2
        rules, layout = STRUCTURES[name], Layout(rows, columns, (), max(depth, 2))
        rules.check(layout)
        if depth == 1:
            raise ValueError("a matrix factorization of one layer is a dense weight: needed depth 2 or more")
        arrays = rules.arrays_of(layout, x)
        first = cls(name, "linear", layout.matrix_shape, layout, (1,) * len(rules.limits(layout)))
        return first.of_shapes({key: tuple(array.shape) for key, array in arrays.items()}), arrays

    @property
    def title(self) -> str:
        """Structure and ranks in words."""
        ranks = self.ranks[:1] if len(set(self.ranks)) == 1 else self.ranks
        return f"{self.structure}, rank {ranks[0]}" if len(ranks) == 1 else f"{self.structure}, ranks {ranks}"

    def __str__(self) -> str:
        share = 100 * self.parameter_count / self.dense_count
        return f"{self.title}, {self.parameter_count:,} of {self.dense_count:,} parameters ({share:.1f} %)"


def check_kind(kind: Any, structure: Any) -> None:
    """Refuse a structure that weights of a kind cannot have; those that they can are listed."""
    one_of(kind, "kind", KINDS)
    if kind not in structure_of(structure).kinds:
        usable = ", ".join(name for name, rules in STRUCTURES.items() if kind in rules.kinds)
        raise ValueError(f"structure {structure!r} is not for weights of kind {kind!r}: use {usable}")


def structure_of(name: Any) -> Structure:
    """The structure of a name.

    Raises:
        ValueError: for another name; all are listed.
    """
    if not isinstance(name, str) or name not in STRUCTURES:
        raise ValueError(f"structure is one of {', '.join(map(repr, STRUCTURES))}, got {shown(name)}")
    return STRUCTURES[name]
