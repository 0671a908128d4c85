"""What a training run records, and when.

A recorder has a ``name`` (its key in ``result.history``) and says when it is due: every so many steps, or ``at`` given
ones. ``measure(x, facts, data)`` gives an array or ``{node: array}`` of the factorization ``x``; on JAX it is compiled
into the training loop, so it is written with ``x.backend.xp``. Steps at which nothing is due record and transfer
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._check import instance, sequence, shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.factorizations._entries import EntryPlan
from tnrank.factorizations._observed import checked_entries, checked_numbers
from tnrank.training._rate_recorders import ConservedQuantities, Rates, SingularValueRates, Unbalancedness
from tnrank.training._recorder import Recorder
from tnrank.training._samples._recorder import SampleLoss

__all__ = [
    "ComponentNorms",
    "ConservedQuantities",
    "EffectiveTime",
    "Error",
    "Function",
    "HeldOutError",
    "LearningRate",
    "Loss",
    "Rates",
    "Recorder",
    "SampleLoss",
    "SingularValueRates",
    "SingularValues",
    "Unbalancedness",
]


class Loss(Recorder):
    """The training loss, ``()``; the loop has it at hand, so recording it at every step costs no evaluation."""

    name = "loss"
    takes_end_gradient = False

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        return facts["loss"]


class LearningRate(Recorder):
    """The scalar rate of the update that led to this step, ``()``; NaN for a framework's optimizer."""

    name = "learning_rate"
    takes_end_gradient = False

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        return facts["rate"]


class EffectiveTime(Recorder):
    """The effective time, ``()``: the sum of the rates of all updates so far; of a gradient flow, its time."""

    name = "effective_time"
    takes_end_gradient = False

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        return facts["time"]


class Error(Recorder):
    """The reconstruction error ``||x - target|| / ||target||`` over all entries, observed or not, ``()``.

    Args:
        target: the full tensor.
        relative: whether to divide by the target's norm.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    name = "error"
    takes_end_gradient = False

    @explained
    def __init__(self, target: Any, relative: bool = True, every: int = 25, at: Sequence[int] | None = None) -> None:
        super().__init__(every, at)
        self.target = checked_numbers(target, "entries of the target")
        self.relative = bool(instance(relative, "relative of Error", (bool, np.bool), "True or False"))

    @property
    def key(self) -> Any:
        return self.relative

    def data(self, x: Factorization) -> Any:
        if self.target.shape != x.shape:
            raise ValueError(f"the target of Error has shape {self.target.shape}, the factorization {x.shape}")
        scale = float(np.linalg.norm(self.target)) if self.relative else 1.0
        return _put(x, self.target), _put(x, np.asarray(1.0 / scale if scale else 1.0))

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        target, factor = data
        xp = x.backend.xp
        return xp.sqrt(xp.sum((_end(x, facts) - target) ** 2)) * factor


class HeldOutError(Recorder):
    """The root mean squared error on held-out entries, ``()``.

    Args:
        indices: ``(M, N)``.
        values: ``(M,)``.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    name = "held_out_error"
    takes_end_gradient = False

    @explained
    def __init__(self, indices: Any, values: Any, every: int = 25, at: Sequence[int] | None = None) -> None:
        super().__init__(every, at)
        self.indices, self.values = indices, values
        self._plan: EntryPlan | None = None

    @property
    def key(self) -> Any:
        return id(self)

    def alike(self, other: Recorder) -> bool:
        return isinstance(other, HeldOutError)  # which entries are held out is data

    def data(self, x: Factorization) -> Any:
        indices, values = checked_entries(self.indices, self.values, x.shape)
        self._plan = EntryPlan(x.network, x._sizes, indices)
        return self._plan.positions(x.backend, default_or_named_device(x._values[0])), _put(x, values)

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        positions, values = data
        assert self._plan is not None
        xp = x.backend.xp
        found = self._plan.evaluate(x.backend, x._values, positions)
        return xp.sqrt(xp.mean((found - values) ** 2))


class ComponentNorms(Recorder):
    """The largest component norms, descending: ``(top,)``, or ``{node: (top,)}`` for a hierarchical factorization.

    For a matrix factorization they are the singular values of the end matrix.
    """

    name = "component_norms"
    takes_end_gradient = False

    @explained
    def __init__(self, top: int | None = 10, every: int = 25, at: Sequence[int] | None = None) -> None:
        super().__init__(every, at)
        self.top = _checked_top(top)

    @property
    def key(self) -> Any:
        return self.top

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        xp = x.backend.xp
        norms = x.component_norms()
        if isinstance(norms, dict):
            return {node: -xp.sort(-values)[: self.top] for node, values in norms.items()}
        return -xp.sort(-norms)[: self.top]


class SingularValues(Recorder):
    """The largest singular values of the end matrix, or of the matricization of every tree node.

    Args:
        top: how many; ``None`` for all.
        tree: a DimensionTree; the factorization's own, or the balanced one, if not given.
        modes: matricizations besides the tree's, as tuples of modes (off-tree ones, say).
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    name = "singular_values"
    takes_end_gradient = False

    @explained
    def __init__(
        self,
        top: int | None = 10,
        tree: Any = None,
        modes: Sequence[Sequence[int]] = (),
        every: int = 25,
        at: Sequence[int] | None = None,
    ) -> None:
        super().__init__(every, at)
        self.top = _checked_top(top)
        self.tree = None if tree is None else _tree(tree)
        groups = sequence(modes, "modes of SingularValues", "matricizations, tuples of modes such as (0, 1)")
        self.modes = tuple(
            tuple(whole_number(m, "a mode of SingularValues") for m in sequence(group, "a matricization", "modes"))
            for group in groups
        )

    @property
    def key(self) -> Any:
        return self.top, self.tree, self.modes

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        from tnrank.dimension_tree import DimensionTree
        from tnrank.linalg import matricize

        dense = _end(x, facts)
        if x.ndim == 2:
            return x.backend.svdvals(dense)[: self.top]
        tree = self.tree or getattr(x, "tree", None) or DimensionTree.balanced(x.ndim)
        groups = {node.modes for node in tree.nodes if len(node.modes) < tree.order}
        found: dict[tuple[int, ...], Any] = {}
        for modes in sorted({*groups, *self.modes}):
            # Both sides of a bipartition have the same singular values.
            other = tuple(m for m in range(x.ndim) if m not in modes)
            found[modes] = found[other] if other in found else x.backend.svdvals(matricize(dense, modes))[: self.top]
        return found


class Function(Recorder):
    """Anything: ``fn(x)`` gives an array, or a dictionary of arrays, of the factorization ``x``.

    Runs that train together may have functions of their own, which are measured run by run.

    Args:
        name: its key in the history.
        fn: written with ``x.backend.xp``, so that JAX can compile it. Functions of the same code that enclose equal
            values are one, wherever they were made, and share a compiled program.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    takes_end_gradient = False

    @explained
    def __init__(
        self, name: str, fn: Callable[[Factorization], Any], every: int = 25, at: Sequence[int] | None = None
    ) -> None:
        super().__init__(every, at)
        if not callable(fn):
            raise TypeError(f"fn of Function is a function of a factorization, got {shown(fn)}")
        self.name, self.fn = instance(name, "name of Function", str, "a string, its key in the history"), fn

    @property
    def key(self) -> Any:
        return self.name, _meaning(self.fn)

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        return self.fn(x)


def _meaning(fn: Any) -> Any:
    """What tells functions apart: their code and the values that they enclose, where those can be compared."""
    code, cells = getattr(fn, "__code__", None), getattr(fn, "__closure__", None) or ()
    if code is None or hasattr(fn, "__self__"):
        return fn
    try:
        found = code, fn.__defaults__, tuple((type(c.cell_contents), c.cell_contents) for c in cells), fn.__module__
        hash(found)
    except (TypeError, ValueError):  # arrays have no hash, and what is not assigned yet has no contents
        return fn
    return found


def _checked_top(top: Any) -> int | None:
    return None if top is None else whole_number(top, "top", 1)


def _tree(tree: Any) -> Any:
    from tnrank.dimension_tree import DimensionTree

    return instance(tree, "tree", DimensionTree, "a tree such as tnrank.DimensionTree.balanced(4)")


def _end(x: Factorization, facts: dict[str, Any]) -> Array:
    return facts["end"] if "end" in facts else x.to_dense()


def _put(x: Factorization, array: Any) -> Array:
    device = None if x.device == x.backend.devices()[0] else x.device
    host = np.asarray(array, np.float64 if x.dtype == "float64" else np.float32)
    return x.backend.asarray(host, x.dtype, device)
