"""The largest stable step of gradient descent: two over the largest curvature of the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.training._arguments import check_start
from tnrank.training._loop import Problem, Stop, runner
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._objective import objective_of
from tnrank.training._observations import Observations, RankOneMeasurements, checked_observations
from tnrank.training._optimizers import GradientDescent

_TOLERANCE = 1e-3
"""Relative error of the largest curvature."""


@explained
def stability_limit(x: Factorization, indices: Any, values: Any, loss: Loss | None = None) -> float:
    """The learning rate at which gradient descent becomes unstable at ``x``: 2 over the largest Hessian eigenvalue.

    The Hessian is that of the loss in all arrays of ``x``; Lanczos iterations see it through differences of gradients.
    On the way to a solution the limit falls as the end tensor grows: take it where the run shall arrive.

    Args:
        x: a factorization of a real floating dtype; the limit is computed in float64.
        indices: as for :func:`tnrank.complete`.
        values: ``(M,)`` observed values.
        loss: ``SquaredLoss()`` if not given.

    Returns:
        The limit, infinite where no direction is curved upwards.

    Raises:
        ValueError: as for :func:`tnrank.complete`.
        TypeError: for something that is no factorization of real numbers, or no loss.

    Source: the classical step limit of a quadratic; Razin & Cohen 2020 for 2 x 2 completion, where it is
    W11^(2/L - 2) times 2.

    Example:
        >>> import numpy as np, tnrank
        >>> x = tnrank.MatrixFactorization([np.zeros((1, 2))])
        >>> half = tnrank.SquaredLoss(reduction="half_sum")
        >>> print(f"{tnrank.training.stability_limit(x, [[0, 0], [0, 1]], [3.0, 4.0], half):.3f}")
        2.000
    """
    loss = SquaredLoss() if loss is None else loss
    check_start(x, loss, "stability_limit")
    x, observations = _observed_part(_in_double(x), checked_observations(x, indices, values)[0])
    objective, data = objective_of(x, [observations], loss)
    problem = Problem(x.backend.name, type(x), x._static, objective, GradientDescent(), Stop(), (), False)
    start = runner(problem).start
    device = None if x.device == x.backend.devices()[0] else x.device

    def gradient(arrays: Sequence[Any]) -> Sequence[Any]:
        given = tuple(x.backend.asarray(a, x.dtype, device) for a in arrays)
        return [x.backend.to_numpy(g) for g in start(given, data)["gradient"]]

    top = largest_curvature(gradient, [np.asarray(x.backend.to_numpy(v)) for v in x._values])
    return 2.0 / top if top > 0 else float("inf")


def _in_double(x: Factorization) -> Factorization:
    """``x`` in float64, in which differences of gradients keep the curvature of products of many numbers."""
    if x.dtype == "float64":
        return x
    try:
        return x.to(dtype="float64")
    except ValueError:  # JAX without x64
        return x.to("numpy", dtype="float64")


def _observed_part(x: Factorization, observations: Observations) -> tuple[Factorization, Observations]:
    """The slices of ``x`` with an observation, and the same observations of them: the others have no curvature."""
    indices, numbers = observations
    if isinstance(indices, RankOneMeasurements):
        return x, observations
    kept, renumbered = {}, np.empty_like(indices)
    for mode, label in enumerate(x.network.output):
        slices, renumbered[:, mode] = np.unique(indices[:, mode], return_inverse=True)
        if len(slices) < x.shape[mode]:
            kept[label] = x.backend.asarray(slices, device=default_or_named_device(x._values[0]))
    if not kept:
        return x, observations
    arrays = []
    for labels, array in zip(x.network.tensors.values(), x._values, strict=True):
        for axis, label in enumerate(labels):
            array = x.backend.take(array, kept[label], axis) if label in kept else array
        arrays.append(array)
    return x._make(x._static, arrays, validate=False), (renumbered, numbers)


def unstable(optimizer: Any, run: int, x: Factorization, indices: Any, values: Any, loss: Loss) -> str:
    """What to add to the message of a run that diverged: its learning rate beside the limit at its start ``x``."""
    if not isinstance(optimizer, GradientDescent):
        return "; try a smaller learning rate"
    rates = np.atleast_1d(optimizer.learning_rate)
    rate = float(rates[run % len(rates)])
    # Momentum damps the oscillation that a single step would start.
    limit = (1 + optimizer.momentum) * stability_limit(x, indices, values, loss)
    if not rate > limit:
        return (
            f"; the learning rate is {rate:g}; the stability limit was {limit:.3g} at the start and falls as weights "
            "grow: try a smaller one"
        )
    return f"; the learning rate is {rate:g}, past the stability limit, which was {limit:.3g} at the start"


def largest_curvature(
    gradient: Callable[[Sequence[Any]], Sequence[Any]], arrays: Sequence[np.ndarray[Any, Any]]
) -> float:
    """The largest eigenvalue of the Hessian whose gradient is given, at ``arrays``."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    sizes = np.cumsum([a.size for a in arrays])
    point = np.concatenate([np.ravel(a) for a in arrays]).astype(np.float64)
    exact = np.finfo(arrays[0].dtype).eps
    # The step of a central difference: the error of rounding and that of the third derivative are alike.
    width = float(exact) ** (1 / 3) * max(float(np.abs(point).max(initial=0.0)), 1e-3)

    def at(flat: Any) -> Any:
        parts = np.split(flat, sizes[:-1])
        found = gradient([p.reshape(a.shape) for p, a in zip(parts, arrays, strict=True)])
        return np.concatenate([np.ravel(g) for g in found]).astype(np.float64)

    def product(direction: Any) -> Any:
        direction = np.ravel(direction)
        length = float(np.linalg.norm(direction)) or 1.0
        # A width of the largest weight in every direction, however many weights share it.
        step = width * np.sqrt(len(point)) / length
        return (at(point + step * direction) - at(point - step * direction)) / (2 * step)

    count = len(point)
    if count < 3:
        matrix = np.stack([product(row) for row in np.eye(count)])
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
    operator = LinearOperator((count, count), matvec=product, dtype=np.float64)
    first = np.random.default_rng(0).standard_normal(count)
    if not np.abs(product(first)).max(initial=0.0):
        return 0.0
    try:
        return float(eigsh(operator, 1, which="LA", tol=_TOLERANCE, v0=first, return_eigenvectors=False)[0])
    except ArpackNoConvergence as error:
        return float(max(error.eigenvalues, default=np.nan))
