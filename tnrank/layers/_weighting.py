"""How much the inputs see of a weight: norms by their second moments, and the square roots that weigh a fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from tnrank._typing import Array, Labels
from tnrank.layers._format import WeightFormat
from tnrank.layers._host import host_array
from tnrank.layers._structures import Host

_FLOOR = 1e-6
"""Directions in which inputs vary less than by this share of the largest variance count as this share of it."""


class Weighting:
    """The second moments of a layer's inputs, of each group, and their roots by blocks of modes of the inputs.

    A structure with one block takes them as they are, one with several as if they were a Kronecker product.
    """

    def __init__(self, frame: WeightFormat, moments: Array) -> None:
        if frame.kind == "embedding":
            raise ValueError("an embedding has no inputs that are summed: leave out their statistics")
        host = host_array(moments, "moments, the second moments of the inputs,")
        size = frame.sides[1] * prod(frame.layout.kernel)
        if host.shape not in ((size, size), (frame.groups, size, size)):
            raise ValueError(f"second moments of shape {host.shape}: needed ({size}, {size}), of the inputs")
        if not np.any(host):
            raise ValueError("second moments of the inputs are not all 0: run the model on other inputs")
        self._frame = frame
        self._moments = list(host) if host.ndim == 3 else [host] * frame.groups
        self._roots = [_roots(frame, one) for one in self._moments]

    def norm(self, weights: Host) -> float:
        """Of dense weights ``(outputs, *)`` the root mean square of the outputs, all groups together."""
        by_group = weights.reshape(self._frame.groups, -1, self._moments[0].shape[0])
        parts = [np.sum((one @ moments) * one) for one, moments in zip(by_group, self._moments, strict=True)]
        return sqrt(max(float(sum(parts)), 0.0))

    def seen(self, tensors: Sequence[Host]) -> list[Host]:
        """The end tensor of each group as its inputs see it."""
        found = []
        for tensor, roots in zip(tensors, self._roots, strict=True):
            for labels, (root, _) in roots.items():
                first = self._frame.layout.labels.index(labels[0])
                tensor = _applied(tensor, root, first, len(labels))
            found.append(tensor)
        return found

    def undone(self, weight: WeightFormat, arrays: dict[str, Host]) -> dict[str, Host]:
        """Arrays of what the inputs see as arrays of the weight."""
        found = dict(arrays)
        for labels in self._roots[0]:
            name = next(name for name in reversed(list(weight.parts)) if labels[0] in weight.parts[name].labels)
            first = list(weight.parts[name].labels).index(labels[0])
            inverses = [roots[labels][1] for roots in self._roots]
            if weight.groups == 1:
                found[name] = _applied(found[name], inverses[0], first, len(labels))
            else:
                parts = zip(found[name], inverses, strict=True)
                found[name] = np.stack([_applied(one, inverse, first - 1, len(labels)) for one, inverse in parts])
        return found


def _roots(frame: WeightFormat, moments: Host) -> dict[Labels, tuple[Host, Host]]:
    """Block of modes -> the square root of the second moments of these modes, and its inverse."""
    layout = frame.layout
    modes = (*layout.ins, *layout.windows)
    sizes = [layout.sizes[label] for label in modes]
    inputs, window = frame.sides[1], prod(layout.kernel)
    used = moments if np.any(moments) else np.eye(len(moments))  # no inputs of a group see anything
    filled = np.zeros((prod(layout.columns), window) * 2)
    filled[:inputs, :, :inputs] = used.reshape(inputs, window, inputs, window)
    whole = filled.reshape(*sizes, *sizes)
    found = {}
    for block in frame.rules.input_blocks(layout):
        inside = [modes.index(label) for label in block]
        size = prod(sizes[k] for k in inside)
        order = [*inside, *(k for k in range(len(modes)) if k not in inside)]
        by_block = np.transpose(whole, [*order, *(len(modes) + k for k in order)]).reshape(
            size, -1, size, prod(sizes) // size
        )
        marginal = np.trace(by_block, axis1=1, axis2=3)
        if frame.structure == "btt" and block == layout.ins[:1]:
            marginal = np.diag(np.diag(marginal))  # an index of both tensors can be scaled, not mixed
        found[block] = _root(marginal / np.trace(marginal) * size)
    return found


def _root(moments: Host) -> tuple[Host, Host]:
    values, vectors = np.linalg.eigh((moments + moments.T) / 2)
    values = np.sqrt(np.maximum(values, _FLOOR * values.max()))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


def _applied(array: Host, matrix: Host, first: int, count: int) -> Host:
    """A symmetric matrix applied to ``count`` axes in a row, taken as one."""
    shape = array.shape
    before, after = prod(shape[:first]), prod(shape[first + count :])
    return np.asarray(matrix @ array.reshape(before, -1, after)).reshape(shape)
