"""Sweeps over a dimension tree, stack by stack: orthonormal frames, factors of Gramians, hierarchical singular values.

Leaves to root and back. Triangular factors (``"qr"``) keep eps of the largest value, Gramians (``"gram"``) sqrt(eps).

Source: Grasedyck 2010, *Hierarchical singular value decomposition of tensors*, Sec. 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._backend import Backend, backend_of
from tnrank._scale import divided, on_host, peak, quiet, root, unit_of
from tnrank._typing import Array
from tnrank.factorizations._hsvd._schedule import Group, Run, Schedule
from tnrank.linalg import eps_of

Stacks = list[Any]
"""One array ``(nodes, ..)`` a group."""
_LEAST_SCALE = {"float32": 2.0**-120, "complex64": 2.0**-120}
"""Added to a scale before it divides, so that zeros stay zeros; 2^-1000 in double precision."""
_LEAST_SQUARE = {"float32": 2.0**-90, "complex64": 2.0**-90}
"""Gramians below have lost digits to the end of the range; 2^-900 in double precision."""
_CANCELLED = 100.0
"""How far Gramians on both sides of a node may exceed the squared norm before their rounding errors show."""

_FEW_CHILDREN = 4
"""Children of a node up to which Gramians cost less than QR decompositions."""


def triangle(xp: Any, matrices: Array) -> Array:
    """The triangular factor of a QR decomposition."""
    # mode "r" is in every framework but not in the standard; it returns R, or (empty, R) in torch.
    try:
        found: Any = xp.linalg.qr(matrices, mode="r")
    except (TypeError, NotImplementedError):
        found = xp.linalg.qr(matrices)
    return found[1] if isinstance(found, tuple) else found


class Sweeps:
    """The arrays of one tensor, and results of the groups of its nodes so far."""

    def __init__(self, plan: Schedule, backend: Backend, values: Sequence[Array]) -> None:
        self.plan, self.backend, self.values = plan, backend, values
        self.xp = backend.xp
        self.dtype = backend.dtype_of(values[0])
        self.least = _LEAST_SCALE.get(self.dtype, 2.0**-1000)
        self.up: Stacks = [None] * len(plan.groups)
        self.down: dict[int, Array] = {}
        self.scales: Stacks = [None] * len(plan.groups)
        self.size: Any = None
        self.sizes: Any = None
        self.units: dict[int, Array] | None = None
        """Powers of two by which stacks are divided, where entries are near the ends of the range of numbers."""
        self.valid: Any = None
        """1, or NaN if an entry is not finite; ``None`` is 1."""
        self._pools: dict[int, Array] = {}

    # stacks

    def adjoint(self, x: Array) -> Array:
        """Every matrix of a stack turned and conjugated."""
        return self.xp.conj(x.mT) if self.dtype.startswith("complex") else x.mT

    def along(self, stack: Array, matrices: Array, axis: int) -> Array:
        """``matrices (g, m, k)`` onto one axis, of size k, of each of the g arrays."""
        shape = tuple(stack.shape)
        count, size = shape[0], shape[axis + 1]
        before, after = prod(shape[1 : axis + 1]), prod(shape[axis + 2 :])
        if after == 1:
            made = self.backend.reshape(stack, (count, before, size)) @ matrices.mT
        elif before == 1:
            made = matrices @ self.backend.reshape(stack, (count, size, after))
        else:
            made = matrices[:, None] @ self.backend.reshape(stack, (count, before, size, after))
        return self.backend.reshape(made, (*shape[: axis + 1], matrices.shape[1], *shape[axis + 2 :]))

    def rows(self, stack: Array, axis: int) -> Array:
        """Matricizations with one axis as rows."""
        if axis:
            rest = [k for k in range(1, len(stack.shape)) if k != axis + 1]
            stack = self.backend.permute(stack, (0, axis + 1, *rest))
        shape = tuple(stack.shape)
        return self.backend.reshape(stack, (*shape[:2], prod(shape[2:])))

    def columns(self, stack: Array) -> Array:
        """Matricizations with the last axis as columns."""
        shape = tuple(stack.shape)
        return stack if len(shape) == 3 else self.backend.reshape(stack, (shape[0], prod(shape[1:-1]), shape[-1]))

    def weighted(self, stack: Array, matrices: Array) -> Array:
        """``matrices (g, k, m)`` onto the last axis, from its right."""
        made = self.columns(stack) @ matrices
        return self.backend.reshape(made, (*stack.shape[:-1], made.shape[2]))

    def cross(self, a: Array, b: Array, axis: int) -> Array:
        """``A B^H`` of the matricizations with one axis as rows."""
        shape = tuple(a.shape)
        before, after = prod(shape[1 : axis + 1]), prod(shape[axis + 2 :])
        if before == 1 or after < shape[axis + 1]:
            return self.rows(a, axis) @ self.adjoint(self.rows(b, axis))
        # Products of the slices, summed: nothing has to be transposed.
        a = self.backend.reshape(a, (shape[0], before, shape[axis + 1], after))
        b = self.backend.reshape(b, (shape[0], before, b.shape[axis + 1], after))
        return self.xp.sum(a @ self.adjoint(b), axis=1)

    def peak(self, stack: Array) -> Array:
        """The largest absolute value of every array of a stack, shape ``(g, 1, ..)``, a constant of differentiation."""
        found = self.xp.max(self.xp.abs(stack), axis=tuple(range(1, stack.ndim)), keepdims=True)
        return self.backend.stop_gradient(found) + self.least

    # what goes from group to group

    def load(self, group: Group) -> Array:
        """The stack of a group's arrays."""
        pool = self.plan.pools[group.pool]
        found = self._pools.get(group.pool)
        if found is None:
            arrays = [self.values[k] for k in pool.places]
            found = arrays[0] if len(arrays) == 1 else self.xp.concat(arrays)
            found = self.backend.reshape(found, (len(arrays), *pool.shape))
            found = found if self.units is None else self._moderate(group.pool, found)
            if self.plan.kept:
                self._pools[group.pool] = found
        count = len(group.places)
        return found if len(pool.places) == count else found[group.offset : group.offset + count]

    def _moderate(self, number: int, stack: Array) -> Array:
        assert self.units is not None
        if number not in self.units:
            axes = tuple(range(1, stack.ndim))
            self.units[number] = unit_of(peak(stack, self.backend, axes, keepdims=True), self.backend)
        made, valid = divided(stack, self.units[number], self.backend)
        valid = self.xp.prod(valid)
        self.valid = valid if self.valid is None else self.valid * valid
        return made

    def gather(self, results: Any, runs: tuple[Run, ...]) -> Array:
        """Rows of earlier results as one stack."""
        parts = [results[r.source] if r.whole else results[r.source][r.start : r.stop] for r in runs]
        return parts[0] if len(parts) == 1 else self.xp.concat(parts)

    def send(self, group: Group, made: list[Array]) -> None:
        """Results for the children, axis by axis; ``made`` may already be one stack for all axes."""
        if len(group.sends) == 1:
            self.down[group.sends[0]] = made[0] if len(made) == 1 else self.xp.concat(made)
        else:
            self.down.update(zip(group.sends, made, strict=True))

    def by_form(self, results: Callable[[int], Array]) -> list[Array]:
        """One stack for all groups whose arrays have the same sizes."""
        found = [[results(g) for g in members] for _, members in self.plan.forms]
        return [stacks[0] if len(stacks) == 1 else self.xp.concat(stacks) for stacks in found]

    def received(self, g: int) -> Array:
        """What the parents of a group's nodes have sent."""
        return self.gather(self.down, self.plan.groups[g].above)

    # orthonormal frames

    def orthogonalize(self) -> Stacks:
        """Orthonormal frames, leaves to root; the root has norm 1, or 0 for the zero tensor.

        Entries near the ends of the range are scaled, in a second run where values show that it is needed, and at once
        while a framework traces the call.
        """
        smallest = min(self.values[0], self.values[-1], key=lambda a: prod(a.shape))
        with quiet(self.backend):
            frames = None if on_host(smallest, self.backend) is None else self._orthogonalized()
        if frames is None or not self._in_range():
            self.units, self._pools = {}, {}
            frames = self._orthogonalized()
        return frames

    def _in_range(self) -> bool:
        sizes, size = on_host(self.sizes, self.backend), on_host(self.size, self.backend)
        if sizes is None or size is None:
            return False
        least = _LEAST_SQUARE.get(self.dtype, 2.0**-900)
        return bool(sizes.min() > least and sizes.max() < 1 / least and np.isfinite(size))

    def _orthogonalized(self) -> Stacks:
        frames: Stacks = [None] * len(self.plan.groups)
        for g, group in self.plan.upward:
            stack = self.load(group)
            for axis, runs in enumerate(group.below):
                stack = self.along(stack, self.gather(self.up, runs), axis)
            if g:
                q, r = self.xp.linalg.qr(self.columns(stack))
                self.scales[g] = self.peak(r)
                self.up[g] = r / self.scales[g]
                frames[g] = self.backend.reshape(q, (*stack.shape[:-1], q.shape[2]))
        self.scales[0] = self.peak(self.columns(stack))
        stack = stack / self.scales[0]
        self.size = self.xp.linalg.vector_norm(stack)
        frames[0] = stack / (self.size + self.least)
        self.size = self.size if self.valid is None else self.size * self.valid
        self.sizes = self._flat(self.scales)
        return frames

    def _flat(self, stacks: Sequence[Array]) -> Array:
        return self.xp.concat([self.backend.reshape(s, (-1,)) for s in stacks])

    def log_norm(self) -> Array:
        """The logarithm of the norm, after :meth:`orthogonalize`; -inf for the zero tensor."""
        return self._log_norm(self.sizes, self.size)

    def _log_norm(self, sizes: Array, size: Array) -> Array:
        xp, none = self.xp, size == 0
        logs = xp.sum(xp.log(sizes))
        if self.units:
            logs = logs + xp.sum(xp.log(self._flat(list(self.units.values()))))
        return xp.where(none, -xp.inf, logs + xp.log(xp.where(none, xp.ones_like(size), size)))

    def factors(self, frames: Stacks, method: str, bases: list[list[Array]] | None = None) -> None:
        """Send down, for orthonormal frames, S with S S^H = A A^H for the matricization A in a frame, or S S^H.

        A = S Y^H with orthonormal columns in Y; ``bases`` is given what makes Y, a stack a group and axis. The list
        ``frames`` is emptied on the way, for the memory.
        """
        for g, group in self.plan.downward:
            stack, frames[g] = frames[g], None
            weighted = self.weighted(stack, self.received(g)) if g else stack
            axes = range(len(group.below))
            if method == "gram":
                self.send(group, [self.cross(weighted, stack, axis) for axis in axes])
                continue
            turned = [self.adjoint(self.rows(weighted, axis)) for axis in axes]
            if bases is not None:
                split = [self.xp.linalg.qr(matrices) for matrices in turned]
                bases.append([q for q, _ in split])
                self.send(group, [self.adjoint(r) for _, r in split])
                continue
            if len(group.sends) == 1 and len(turned) > 1:
                turned = [self.xp.concat(turned)]
            self.send(group, [self.adjoint(triangle(self.xp, matrices)) for matrices in turned])

    def spectra(self, frames: Stacks, method: str) -> list[Array]:
        """Singular values over the norm, for orthonormal frames."""
        self.factors(frames, method)
        stacks = self.by_form(self.received)
        found = [self.values_of(s, w, method) for s, (w, _) in zip(stacks, self.plan.forms, strict=True)]
        return found if self.valid is None else [s * self.valid for s in found]

    def values_of(self, factors: Array, count: int, method: str) -> Array:
        """Singular values, descending, from factors or Gramians."""
        if method != "gram":
            return self.backend.svdvals(factors)
        squares = self.xp.flip(self.xp.linalg.eigvalsh(factors), axis=-1)[..., :count]
        return root(squares, self.backend)

    # Gramians without orthonormal frames

    def gramian_spectra(self, with_norm: bool, fallback: Callable[..., Any]) -> list[Array]:
        """Singular values over the norm from Gramians M of the frames and G of the rest: M = L L^H, eig(L^H G L).

        Where terms cancel, M and G are large and the tensor is not: there, and for zero tensors, the results are
        those of ``fallback(*arrays)``. The last one is the logarithm of the norm, if it is wanted.
        """
        xp, backend = self.xp, self.backend
        self._rest_gramians(self._frame_gramians())
        inner, outer = self.by_form(self.up.__getitem__), self.by_form(self.received)
        # All M have trace 1, and so has M G. Squares may also leave the range of numbers.
        largest = [xp.max(xp.abs(g)) for g in outer]
        sizes = self._flat(self.scales)
        cancelled = ~((largest[0] if len(largest) == 1 else xp.max(xp.stack(largest))) <= _CANCELLED)
        least = _LEAST_SQUARE.get(self.dtype, 2.0**-900)
        cancelled = cancelled | (xp.min(sizes) < least) | ~(xp.max(sizes) < 1 / least)
        other = backend.cond(cancelled, fallback, *self.values)
        made = []
        for (count, _), m, g in zip(self.plan.forms, inner, outer, strict=True):
            size = m.shape[-1]
            eye = backend.asarray(np.eye(size), self.dtype, default_or_named_device(self.values[0]))
            if other is not None:
                m, g = xp.where(cancelled, eye, m), xp.where(cancelled, eye, g)
            # The shift is below the rounding errors of M, and makes a factor of any M.
            lower = xp.linalg.cholesky(m + 4 * size * eps_of(self.dtype) * eye)
            made.append(self.values_of(self.adjoint(lower) @ (g @ lower), count, "gram"))
        if with_norm:
            made.append(self._log_norm(xp.sqrt(self._flat(self.scales[1:])), root(self.size, backend)))
        return made if other is None else [xp.where(cancelled, a, b) for a, b in zip(other, made, strict=True)]

    def _frame_gramians(self) -> list[list[Any]]:
        """M, leaves to root; and for every axis the arrays with the children's M on all other axes."""
        others: list[list[Any]] = [[]] * len(self.plan.groups)
        for g, group in self.plan.upward:
            stack = self.load(group)
            below = [self.gather(self.up, runs) for runs in group.below]
            found = others[g] = [self._with_others(stack, below, axis) for axis in range(len(below))]
            if len(below) == 2:
                made = self.adjoint(self.columns(found[1])) @ self.columns(found[0])
            else:
                full = self.along(found[0], below[0], 0) if below else stack
                made = self.adjoint(self.columns(stack)) @ self.columns(full)
            traces = self.backend.einsum("gii->g", made)
            traces = (self.xp.real(traces) if self.dtype.startswith("complex") else traces) + self.least
            self.scales[g] = traces[:, None, None]
            self.up[g] = made / self.scales[g]
            if not self.plan.kept:
                others[g] = found[:1]
        self.size = self.xp.max(self.xp.abs(made))
        return others

    def _with_others(self, stack: Array, below: list[Array], axis: int) -> Array:
        for place, gramians in enumerate(below):
            if place != axis:
                stack = self.along(stack, gramians, place)
        return stack

    def _rest_gramians(self, others: list[list[Any]]) -> None:
        """Send down G, the Gramian of what a frame is multiplied by."""
        for g, group in self.plan.downward:
            stack = self.load(group)
            scaled = self.weighted(stack, self.received(g) / self.scales[g]) if g else stack / self.scales[0]
            found, others[g] = others[g], []
            made = []
            for axis in range(len(group.below)):
                if axis >= len(found):  # made anew rather than kept, where memory counts
                    found.append(self._with_others(stack, [self.gather(self.up, rows) for rows in group.below], axis))
                made.append(self.cross(scaled, found[axis], axis))
            self.send(group, made)


def measure(plan: Schedule, method: str, with_norm: bool, *arrays: Array) -> tuple[Array, ...]:
    """Singular values over the norm, a stack a form of ``plan``; then the logarithm of the norm, if it is wanted."""
    if method == "gram" and plan.arity <= _FEW_CHILDREN:
        sweeps = Sweeps(plan, backend_of(arrays[0]), arrays)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows goes to the fallback
            return tuple(sweeps.gramian_spectra(with_norm, partial(_by_frames, plan, method, with_norm)))
    return _by_frames(plan, method, with_norm, *arrays)


def measure_norm(plan: Schedule, log: bool, *arrays: Array) -> tuple[Array]:
    """The norm, or its logarithm."""
    sweeps = Sweeps(plan, backend_of(arrays[0]), arrays)
    sweeps.orthogonalize()
    found = sweeps.log_norm()
    return (found if log else sweeps.xp.exp(found),)


def _by_frames(plan: Schedule, method: str, with_norm: bool, *arrays: Array) -> tuple[Array, ...]:
    sweeps = Sweeps(plan, backend_of(arrays[0]), arrays)
    found = sweeps.spectra(sweeps.orthogonalize(), method)
    return (*found, sweeps.log_norm()) if with_norm else tuple(found)
