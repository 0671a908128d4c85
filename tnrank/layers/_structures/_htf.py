"""Hierarchical factorization: outputs and inputs are each a node whose children are their modes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from tnrank._typing import Array, Labels
from tnrank.factorizations import Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.layers._structures._cp_fit import fit_components
from tnrank.layers._structures._structure import Host, Layout, Part, Structure


class HTF(Structure):
    """A matrix a node: leaves ``out0``, .., ``in0``, .., ``kernel0``, .., nodes ``out`` and ``in``, and the ``root``.

    The window of a convolution is one child of the inputs, and its second side a child of the outputs, so that it
    becomes a chain of convolutions along one axis each. A side of one mode is a leaf under the root.
    """

    name: ClassVar[str] = "htf"
    title: ClassVar[str] = "hierarchical factorization"
    factorization: ClassVar[type[Factorization]] = HierarchicalFactorization

    def parts(self, layout: Layout) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for side, inner, labels in self._sides(layout):
            above = inner if len(labels) > 1 else "r"
            for label in labels:
                entering = () if label in layout.outs else (label,)
                sums = (*entering, above) if side == "out" else entering
                shared = (above,) if side == "in" and label in layout.windows else ()
                found[_name(label)] = Part((label, above), sums, shared)
        for side, inner, labels in self._sides(layout):
            if len(labels) > 1:
                found[side] = Part((inner, "r"), ("r",) if side == "out" else (inner,))
        return found | {"root": Part(("r",), (), ("r",))}

    def limits(self, layout: Layout) -> dict[Any, int]:
        sizes = layout.sizes
        sides = self._sides(layout)
        full = min(prod(sizes[x] for x in labels) for _, _, labels in sides)
        inner = {name: prod(sizes[x] for x in labels) for _, name, labels in sides if len(labels) > 1}
        return {**inner, "r": full}

    def value(self, layout: Layout, arrays: Mapping[str, Array]) -> Factorization:
        nodes = self._nodes(layout)
        matrices = {modes: arrays[name] for name, modes in nodes.items() if name != "root"}
        sides = [nodes[side] if side in nodes else nodes[f"{side}0"][0] for side in ("out", "in")]
        return HierarchicalFactorization(tuple(sides), {**matrices, nodes["root"]: arrays["root"][:, None]})

    def arrays_of(self, layout: Layout, x: Any) -> dict[str, Array]:
        by_modes = {node.modes: matrix for node, matrix in x.matrices.items()}
        nodes = self._nodes(layout)
        if set(by_modes) != set(nodes.values()):
            raise ValueError(
                f"the tree of the factorization has the nodes {sorted(by_modes)}, needed {sorted(nodes.values())}"
            )
        found = {name: by_modes[modes] for name, modes in nodes.items()}
        return {**found, "root": found["root"][:, 0]}

    def _nodes(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Tensor name -> the modes of its node."""
        place = {label: k for k, label in enumerate(layout.labels)}
        leaves = {_name(label): (k,) for label, k in place.items()}
        sides = {
            side: tuple(sorted(place[label] for label in labels))
            for side, _, labels in self._sides(layout)
            if len(labels) > 1
        }
        return {name: {**leaves, **sides, "root": tuple(place.values())}[name] for name in self.parts(layout)}

    def fit(self, layout: Layout, tensor: Host, ranks: Mapping[Any, int] | None, rtol: float | None) -> dict[str, Host]:
        sides = self._sides(layout)
        axes = [[layout.labels.index(label) for label in labels] for _, _, labels in sides]
        matrix = np.transpose(tensor, [*axes[0], *axes[1]]).reshape(prod(tensor.shape[k] for k in axes[0]), -1)
        # The errors of the root and of both nodes add up in squares.
        share = None if rtol is None else rtol / sqrt(3)
        split = MatrixFactorization.from_dense(matrix, None if ranks is None else ranks["r"], share)
        found: dict[str, Host] = {}
        for (side, inner, labels), along, frames in zip(sides, axes, (split.layers[0], split.layers[1].T), strict=True):
            if len(labels) == 1:
                found[_name(labels[0])] = np.asarray(frames)
                continue
            whole = np.asarray(frames).reshape(*(tensor.shape[k] for k in along), -1)
            *leaves, last = fit_components(whole, None if ranks is None else ranks[inner], share)
            found |= {_name(label): leaf for label, leaf in zip(labels, leaves, strict=True)}
            found[side] = last.T
        found["root"] = np.ones(split.layers[0].shape[1])
        return {name: found[name] for name in self.parts(layout)}

    def _sides(self, layout: Layout) -> list[tuple[str, str, Labels]]:
        """Side, its inner index, and the labels of its leaves."""
        return [("out", "p", (*layout.outs, *layout.windows[1:])), ("in", "q", (*layout.ins, *layout.windows[:1]))]


def _name(label: Any) -> str:
    kind = {"o": "out", "i": "in", "k": "kernel"}[label[0]]
    return f"{kind}{label[1:]}"
