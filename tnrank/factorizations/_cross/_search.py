"""Errors at held-out points, and the search for a point where an approximation is worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank.factorizations._cross._evaluations import Evaluations
from tnrank.factorizations._cross._tree import NumberedTree

Host = np.ndarray[Any, Any]
_FIBER = 8  # entries of a fiber that a search looks at
_PASSES = 3
_WORST = 8


def relative_errors(found: Host, values: Host, largest: float) -> tuple[float, float]:
    """Root mean square and maximum of the error, relative to those of the values; to ``largest`` if all are zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.nan_to_num(abs(found - values), nan=np.inf)
    sizes = abs(values)
    if not sizes.max(initial=0.0):
        sizes = np.full_like(sizes, largest)
    top = sizes.max(initial=0.0)
    if not top:
        return (0.0, 0.0) if not errors.any() else (np.inf, np.inf)
    with np.errstate(over="ignore"):
        shares = errors / top
        rms = np.sqrt((shares**2).mean()) / np.sqrt(((sizes / top) ** 2).mean())
    return float(rms), float(shares.max())


def worst_points(
    evaluations: Evaluations,
    numbered: NumberedTree,
    arrays: Sequence[Host],
    points: Host,
    starts: Host,
    scale: float,
    threshold: float,
    rng: np.random.Generator,
) -> tuple[Host, float]:
    """Points ``(M, N)`` where the error is over ``threshold``, and the largest error found.

    They are the worst of ``points``, and where fibers lead from the first of these and from ``starts``. The error
    is relative to the larger of ``scale`` and the value. It is bounded, so that the search does not run away to the
    largest entries of a tensor, which may be out of the range of floating-point numbers.
    """

    def score(points: Host) -> Host:
        return _score(numbered.entries(arrays, points), evaluations.values(points), scale)

    scores = score(points)
    worst = np.argsort(-scores, kind="stable")[:_WORST]
    worst = worst[scores[worst] > threshold]
    found, reached = list(points[worst]), float(scores.max())
    for first in [*found[:1], *starts]:
        best, error = first, float(score(first[None])[0])
        for _ in range(_PASSES):
            line, modes, near = _fibers(numbered, arrays, best, rng)
            errors = _score(near, evaluations.values(line), scale)
            # The worst entry of every fiber, and these changes made together for the 1, 2, 4, .. worst modes.
            order = np.lexsort((-errors, modes))
            tops = order[np.unique(modes[order], return_index=True)[1]]
            tops = tops[np.argsort(-errors[tops], kind="stable")]
            trials = np.repeat(best[None], len(tops).bit_length() + 1, axis=0)
            for trial, count in zip(trials, [*(2**k for k in range(len(tops).bit_length())), len(tops)], strict=True):
                trial[modes[tops[:count]]] = line[tops[:count], modes[tops[:count]]]
            errors = score(trials)
            place = int(np.argmax(errors))
            if errors[place] <= max(1.1 * error, threshold):
                break
            best, error = trials[place], float(errors[place])
        if error > threshold:
            found, reached = [best, *found], max(error, reached)
    return (np.stack(found) if found else points[:0]), reached


def _fibers(
    numbered: NumberedTree, arrays: Sequence[Host], point: Host, rng: np.random.Generator
) -> tuple[Host, Host, Host]:
    """Points on the fibers through one, the modes in which they differ from it, and the approximation there."""
    picked = [rng.permutation(d)[:_FIBER] for d in numbered.shape]
    modes = np.repeat(np.arange(len(picked)), [len(p) for p in picked])
    line = np.repeat(point[None], len(modes), axis=0)
    line[np.arange(len(line)), modes] = np.concatenate(picked)
    fibers = numbered.fibers(arrays, point)
    return line, modes, np.concatenate([f[p] for f, p in zip(fibers, picked, strict=True)])


def _score(found: Host, values: Host, scale: float) -> Host:
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.nan_to_num(abs(found - values), nan=np.inf)
    sizes = np.maximum(np.maximum(abs(values), scale), np.finfo(np.float64).tiny)
    made: Host = np.minimum(errors / sizes, 1.0)
    return made
