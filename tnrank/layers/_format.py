"""The format of a layer's weight: which structure, which modes, which ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import instance, shape, shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Array, Shape
from tnrank.factorizations import Factorization
from tnrank.layers._kinds import check_kind, structure_of
from tnrank.layers._structures import Host, Layout, Part, Structure
from tnrank.network import ContractionPlan, Network


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

    @explained
    def __post_init__(self) -> None:
        check_kind(self.kind, self.structure)
        sizes = shape(self.shape, "shape")
        if len(sizes) not in ((3, 4) if self.kind == "conv" else (2,)):
            raise ValueError(f"a weight of kind {self.kind!r} has no shape {sizes}: see weight_format")
        layout = instance(self.layout, "layout", Layout, "a Layout, which weight_format makes")
        groups = whole_number(self.groups, "groups", 1)
        if sizes[0] % groups or (groups > 1 and self.kind != "conv"):
            raise ValueError(f"a weight of kind {self.kind!r} and shape {sizes} has no {groups} groups")
        if self.kind == "conv" and layout.kernel != sizes[2:]:
            raise ValueError(f"the layout has the window {layout.kernel}, needed {sizes[2:]}, that of the shape")
        object.__setattr__(self, "shape", sizes)
        object.__setattr__(self, "ranks", shape(self.ranks, "ranks"))
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
        """The same format with other ranks, in order or by index.

        Raises:
            ValueError: if they are too few, too many or larger than possible.
        """
        if not isinstance(ranks, Mapping):
            return replace(self, ranks=ranks)
        missing = [label for label in self.limits if label not in ranks]
        if missing:
            raise ValueError(f"no rank for the index {missing[0]!r}: got {shown(dict(ranks))}")
        return replace(self, ranks=tuple(ranks[label] for label in self.limits))

    def of_shapes(self, shapes: Mapping[str, Shape]) -> WeightFormat:
        """The same format with the ranks that arrays of these shapes have.

        Raises:
            ValueError: if tensors are missing or extra, or a shape fits no ranks.
        """
        expected = self.parts
        instance(shapes, "shapes", Mapping, "a mapping of shapes by tensor name")
        if set(shapes) != set(expected):
            raise ValueError(f"a weight of structure {self.structure!r} has {list(expected)}, got {list(shapes)}")
        sizes = self.network.sizes_of_shapes(dict(shapes))
        known = {**({"g": self.groups} if self.groups > 1 else {}), **self.layout.sizes}
        for label, size in known.items():
            if sizes[label] != size:
                raise ValueError(f"mode {label!r} has size {size} in this layer, got arrays of size {sizes[label]}")
        return self.with_ranks(sizes)

    def value(self, arrays: Mapping[str, Array], group: int = 0) -> Factorization:
        """The weight of one group as a factorization of the present arrays.

        Raises:
            ValueError: if a tensor is missing, there is no such group, or the arrays make no factorization.
        """
        instance(arrays, "arrays", Mapping, "a mapping of arrays by tensor name")
        whole_number(group, "group", 0, self.groups - 1)
        if not set(self.parts) <= set(arrays):
            raise ValueError(f"a weight of structure {self.structure!r} has {list(self.parts)}, got {list(arrays)}")
        chosen = {name: arrays[name][group] if self.groups > 1 else arrays[name] for name in self.parts}
        return self.rules.value(self.layout, chosen)

    def dense(self, arrays: Mapping[str, Array]) -> Array:
        """The dense weight, of :attr:`shape`."""
        if type(arrays) is not dict:
            arrays = dict(instance(arrays, "arrays", Mapping, "a mapping of arrays by tensor name"))
        return self.from_tensor(self.plan(arrays))

    def from_tensor(self, tensor: Array) -> Array:
        """The dense weight that an end tensor holds: without what fills up its modes.

        Raises:
            ValueError: if it has another shape.
        """
        outputs, inputs = self.sides
        layout, backend = self.layout, backend_of(tensor)
        expected = [(self.groups, *layout.shape), *([layout.shape] if self.groups == 1 else [])]
        if tuple(tensor.shape) not in expected:
            raise ValueError(f"the end tensor has the shape {tuple(tensor.shape)}, needed {expected[-1]}")
        flat = backend.reshape(tensor, (self.groups, prod(layout.rows), prod(layout.columns), *layout.kernel))
        weight = backend.reshape(flat[:, :outputs, :inputs], (self.groups * outputs, inputs, *layout.kernel))
        return backend.permute(weight, (1, 0)) if self.kind == "embedding" else weight

    def to_tensors(self, weight: Host) -> list[Host]:
        """The end tensor of each group of a dense weight on the host, filled up with zeros.

        Raises:
            ValueError: if the weight has another shape.
        """
        if backend_of(weight).name != "numpy" or tuple(weight.shape) != self.shape:
            raise ValueError(f"the weight is {shown(weight)}, needed a NumPy array of shape {self.shape}")
        outputs, inputs = self.sides
        weight = weight.T if self.kind == "embedding" else weight
        layout = self.layout
        whole = np.zeros((self.groups, prod(layout.rows), prod(layout.columns), *layout.kernel))
        whole[:, :outputs, :inputs] = weight.reshape(self.groups, outputs, inputs, *layout.kernel)
        return [np.asarray(one.reshape(layout.shape)) for one in whole]

    @property
    def title(self) -> str:
        """Structure and ranks in words."""
        ranks = self.ranks[:1] if len(set(self.ranks)) == 1 else self.ranks
        return f"{self.structure}, rank {ranks[0]}" if len(ranks) == 1 else f"{self.structure}, ranks {ranks}"

    def __str__(self) -> str:
        share = 100 * self.parameter_count / self.dense_count
        return f"{self.title}, {self.parameter_count:,} of {self.dense_count:,} parameters ({share:.1f} %)"


def checked_format(weight: Any) -> WeightFormat:
    """Refuse what is no format."""
    needed = "a format such as weight_format('linear', (64, 64), 'tt', rank=4)"
    return instance(weight, "weight", WeightFormat, needed)
