"""The derivative of hierarchical singular values: finite where values are equal or zero and frames lack full rank.

With singular vectors u, v of the matricization X of a node, ds = Re(u^H dX v). X is linear in every array, so u and v
are kept as orthonormal frames and bases that do not vary, and dX goes through products alone: no derivative of a QR
decomposition or an SVD is taken.

Source: Lewis 1995, *The convex analysis of unitarily invariant matrix functions*.
"""

from __future__ import annotations

from collections.abc import Sequence

from tnrank._backend import Backend, backend_of
from tnrank._scale import root
from tnrank._typing import Array
from tnrank.factorizations._hsvd._schedule import Group, Schedule
from tnrank.factorizations._hsvd._sweeps import Sweeps
from tnrank.linalg import eps_of


def derivative(plan: Schedule, with_norm: bool, *arrays: Array) -> tuple[Array, ...]:
    """The values of ``measure`` in a form that can be differentiated, once and with finite results.

    Values that cannot be told from zero have derivative 0.
    """
    backend = backend_of(arrays[0])
    xp, stop = backend.xp, backend.stop_gradient
    fixed = Sweeps(plan, backend, [stop(a) for a in arrays])
    frames = fixed.orthogonalize()
    bases: list[list[Array]] = []
    fixed.factors(list(frames), "qr", bases)

    # C = Q^H U for the frame U and its orthonormal Q; then D with X = U D Y^H, for Q^H X Y = C D.
    moving, scales = _risen(fixed, frames, arrays)
    norm = moving.up[0]
    size, share = _share(norm, backend)
    for g, group in plan.downward:
        stack = moving.load(group)
        scaled = moving.weighted(stack, moving.received(g) / scales[g]) if g else stack / scales[0] / size
        made = []
        for axis, basis in enumerate(bases[g]):
            other = scaled
            for place, runs in enumerate(group.below):
                if place != axis:
                    other = moving.along(other, moving.gather(moving.up, runs), place)
            made.append(moving.rows(other, axis) @ basis)
        moving.send(group, made)

    found = []
    factors = fixed.by_form(fixed.received)
    parts = zip(factors, moving.by_form(moving.up.__getitem__), moving.by_form(moving.received), strict=True)
    # C D is the matricization over the norm as a constant.
    for s, c, d in parts:
        u, values, vh = backend.svd(s)
        moved = _real(xp, xp.sum(xp.conj(u) * (c @ (d @ fixed.adjoint(vh))), axis=-2) / share[:, 0])
        noise = (len(plan.names) + max(s.shape[1:])) * eps_of(fixed.dtype) * values[:, :1]
        measured = xp.where(values > noise, moved, stop(values))
        found.append(measured if fixed.valid is None else measured * fixed.valid)
    if not with_norm:
        return tuple(found)
    return (*found, fixed.log_norm() + xp.log(_real(xp, share))[0, 0, 0])


def norm_derivative(plan: Schedule, log: bool, *arrays: Array) -> tuple[Array]:
    """The values of ``measure_norm`` in a form that can be differentiated any number of times.

    ``||X||^2 = |<F, X>|^2 + ||W||^2`` for the fixed F = X / ||X|| and the part W of X orthogonal to F, which is zero
    and found without a difference of large numbers. The derivative at zero is 0, also that of the logarithm.
    """
    backend = backend_of(arrays[0])
    xp = backend.xp
    fixed = Sweeps(plan, backend, [backend.stop_gradient(a) for a in arrays])
    frames = fixed.orthogonalize()
    moving, scales = _risen(fixed, frames, arrays)
    along_frame = moving.up[0]
    size, share = _share(along_frame, backend)
    squared = _real(xp, xp.conj(share) * share if xp.isdtype(share.dtype, "complex floating") else share * share)
    outside = _real(xp, _outside(fixed, moving, frames, scales)[0] / (size * size))
    relative = root(squared + outside, backend)[0, 0, 0]
    found = fixed.log_norm()
    return (found + xp.log(relative) if log else xp.exp(found) * relative,)


def _risen(fixed: Sweeps, frames: Sequence[Array], arrays: Sequence[Array]) -> tuple[Sweeps, list[Array]]:
    """The arrays in fixed orthonormal frames, leaves to root, and the scale of each group; the root has one number."""
    xp = fixed.xp
    moving = Sweeps(fixed.plan, fixed.backend, arrays)
    moving.units = fixed.units
    # The least scale stands for zeros, whose derivatives would overflow.
    scales = [xp.where(s <= 2 * fixed.least, xp.ones_like(s), s) for s in fixed.scales]
    for g, group in fixed.plan.upward:
        stack = _in_frames_below(moving, group)
        moving.up[g] = fixed.adjoint(fixed.columns(frames[g])) @ moving.columns(stack) / scales[g]
    return moving, scales


def _in_frames_below(moving: Sweeps, group: Group) -> Array:
    stack = moving.load(group)
    for axis, runs in enumerate(group.below):
        stack = moving.along(stack, moving.gather(moving.up, runs), axis)
    return stack


def _outside(fixed: Sweeps, moving: Sweeps, frames: Sequence[Array], scales: Sequence[Array]) -> list[Array]:
    """Gram matrices, leaves to root, of what the columns have outside their fixed frames.

    They are zero, as are their first derivatives; their second derivatives are those that fixed frames do not see.
    """
    inside: list[Array] = [None] * len(fixed.plan.groups)
    outside: list[Array] = [None] * len(fixed.plan.groups)
    for g, group in fixed.plan.upward:
        frame = fixed.columns(frames[g])
        rest = moving.columns(_in_frames_below(moving, group)) / scales[g] - frame @ moving.up[g]
        inside[g] = moving.adjoint(moving.up[g]) @ moving.up[g]
        outside[g] = moving.adjoint(rest) @ rest
        stack = moving.load(group) / fixed.backend.reshape(scales[g], (-1, *([1] * (moving.load(group).ndim - 1))))
        # The frames below move, too: products of all parts less those inside, one child after the other.
        for outer in range(len(group.below)):
            made = stack
            for axis, runs in enumerate(group.below):
                within, beyond = moving.gather(inside, runs), moving.gather(outside, runs)
                matrices = beyond if axis == outer else within + beyond if axis < outer else within
                made = moving.along(made, matrices, axis)
            outside[g] = outside[g] + moving.adjoint(moving.columns(stack)) @ moving.columns(made)
    return outside


def _share(norm: Array, backend: Backend) -> tuple[Array, Array]:
    """The norm as a constant, 1 in place of 0, and the norm over it: 1, with the norm's relative derivative."""
    xp, size = backend.xp, backend.stop_gradient(norm)
    zero = xp.abs(size) == 0
    size = xp.where(zero, xp.ones_like(size), size)
    return size, xp.where(zero, xp.ones_like(norm), norm / size)


def _real(xp: object, x: Array) -> Array:
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x  # type: ignore[attr-defined]
