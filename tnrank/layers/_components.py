"""The components of an inner index: brought to singular vectors, their inner products, some of them left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tnrank.layers._format import WeightFormat
from tnrank.layers._structures import Host
from tnrank.network import Network

_ROUNDING = 1e-14
"""Singular values below this share of the largest one are zero."""


class Components:
    """The arrays of a weight, and an optimizer's moments of them, that lose components together."""

    def __init__(
        self, weight: WeightFormat, arrays: Mapping[str, Host], moments: Mapping[str, Mapping[str, Host]]
    ) -> None:
        self.weight = weight
        self.parts = weight.parts
        self.arrays = dict(arrays)
        self.moments = {kind: dict(one) for kind, one in moments.items()}

    def dense(self) -> Host:
        # Without what fills up the modes, which nobody sees: errors are relative to the weight.
        network = self.weight.network
        return np.asarray(self.weight.from_tensor(network.plan(network.sizes(self.arrays))(self.arrays)))

    def holders(self, label: Any) -> list[str]:
        return [name for name, part in self.parts.items() if label in part.labels]

    def gram(self, label: Any) -> Host:
        """Inner products ``(R, R)`` of the parts of the weight that belong to each value of ``label``."""
        return self._gram(label, ())

    def _gram(self, label: Any, kept: tuple[Any, ...]) -> Host:
        tensors: dict[str, Any] = {}
        arrays = {}
        outer = set(self.weight.network.output)
        for side in ("x", "y"):
            for name, part in self.parts.items():
                tensors[f"{side}.{name}"] = tuple(x if x in outer else (x, side) for x in part.labels)
                arrays[f"{side}.{name}"] = self.arrays[name]
        network = Network(tensors, (*kept, (label, "x"), (label, "y")))
        return np.asarray(network.plan(network.sizes(arrays))(arrays))

    def rotate(self, label: Any) -> None:
        """Bring an index of two tensors to the basis of its singular vectors, largest first.

        Where both have an index of the weight, groups or blocks, each of its values has a basis of its own.
        """
        holders = self.holders(label)
        sides = [self._side(name, label) for name in holders]
        if len(holders) != 2 or set(sides[0]) & set(sides[1]):
            self._sort_groups(label)
            return
        labels = [{x for name in names for x in self.parts[name].labels} for names in sides]
        batch = tuple(x for x in self.weight.network.output if x in labels[0] and x in labels[1])
        left, right = (self._triangle(names, label, batch) for names in sides)
        u, s, vh = np.linalg.svd(left @ right.swapaxes(-1, -2), full_matrices=False)
        kept = s > s.max() * _ROUNDING
        scale = kept / np.sqrt(np.where(kept, s, 1.0))
        # The first tensor times ``into``, the second times ``out``: their product over the index stays what it was.
        into = right.swapaxes(-1, -2) @ vh.swapaxes(-1, -2) * scale[..., None, :]
        out = left.swapaxes(-1, -2) @ u * scale[..., None, :]
        self._change(holders[0], label, batch, into, out)
        self._change(holders[1], label, batch, out, into)

    def _sort_groups(self, label: Any) -> None:
        """Bring the components of every group to the order of their norms: those at one place are dropped together."""
        if self.weight.groups == 1:
            return
        norms = self._gram(label, ("g",)).diagonal(axis1=1, axis2=2)
        order = np.argsort(-norms, axis=1)
        for name in self.holders(label):
            axis = self.parts[name].labels.index(label)
            shape = [1] * self.arrays[name].ndim
            shape[0], shape[axis] = order.shape
            at = order.reshape(shape)
            self.arrays[name] = np.take_along_axis(self.arrays[name], at, axis)
            for one in self.moments.values():
                one[name] = np.take_along_axis(one[name], at, axis)

    def select(self, label: Any, chosen: Sequence[int]) -> None:
        for name in self.holders(label):
            axis = self.parts[name].labels.index(label)
            self.arrays[name] = np.take(self.arrays[name], chosen, axis)
            for one in self.moments.values():
                one[name] = np.take(one[name], chosen, axis)

    def _side(self, name: str, label: Any) -> list[str]:
        """Tensors that are reached from ``name`` without crossing ``label``."""
        outer = set(self.weight.network.output)
        reached, waiting = [name], [name]
        while waiting:
            here = set(self.parts[waiting.pop()].labels) - outer - {label}
            for other, part in self.parts.items():
                if other not in reached and here & set(part.labels):
                    reached.append(other)
                    waiting.append(other)
        return reached

    def _triangle(self, names: Sequence[str], label: Any, batch: tuple[Any, ...]) -> Host:
        """R of the QR decomposition of what stands on one side of ``label``, ``(*batch, .., R)``."""
        present = {x for name in names for x in self.parts[name].labels}
        outer = [x for x in self.weight.network.output if x in present and x not in batch]
        network = Network({name: self.parts[name].labels for name in names}, (*batch, *outer, label))
        arrays = {name: self.arrays[name] for name in names}
        side = np.asarray(network.plan(network.sizes(arrays))(arrays))
        return np.asarray(np.linalg.qr(side.reshape(*side.shape[: len(batch)], -1, side.shape[-1]), mode="r"))

    def _change(self, name: str, label: Any, batch: tuple[Any, ...], basis: Host, dual: Host) -> None:
        """Multiply a tensor by ``basis`` along ``label``; gradients change by the dual basis."""
        labels = self.parts[name].labels
        network = Network(
            {"array": labels, "basis": (*batch, label, "new")}, ["new" if x == label else x for x in labels]
        )

        def along(array: Host, matrix: Host) -> Host:
            arrays = {"array": array, "basis": matrix}
            return np.asarray(network.plan(network.sizes(arrays))(arrays))

        self.arrays[name] = along(self.arrays[name], basis)
        for kind, one in self.moments.items():
            one[name] = along(one[name], dual**2 if kind.endswith("sq") else dual)
