"""The best CP fit of a dense tensor: several starts, alternating least squares, then Levenberg-Marquardt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tnrank._backend import host_svd
from tnrank._check import generator
from tnrank.factorizations._cp_fit import _starts
from tnrank.factorizations._cp_fit._als import HostArray, als, balanced, component_norms, relative_error
from tnrank.factorizations._cp_fit._lm import descend, step_cost
from tnrank.factorizations._cp_fit._long_modes import long_modes, with_short, without_short
from tnrank.linalg import eps_of

SOLVED = 1e-12
"""The relative error at which the search ends: rounding."""
PATHS = ((1e-2, 1e-3, 1e-4, 1e-6, 0.0), (1e-4, 1e-6, 0.0), (1e-3, 1e-5, 0.0), (1e-6, 0.0))
"""Weights of the regularization, start by start."""
SIZES = (1.0, 3.0, 1.0, 30.0)
"""Norms of random starts: a path from heavy weights ends at small components, often at cancelling ones, and every
other start is larger and goes without."""

_VARIABLES, _PATH_VARIABLES = 900, 160
_OPERATIONS = 4e9  # of Levenberg-Marquardt in one start
_SWEEPS = 40
_WATCHED, _GROWN, _LARGEST = 3.0, 10.0, 1e4  # largest component norms, relative to the tensor's
_OPPOSED = -0.9
_EPS = eps_of("float64")
_WEIGHTS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
_SAME = 1e-6
_ROUGH = 1e-6  # relative error of the tensor that a search begins on
_REPEATS = 3

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a search may spend."""

    starts: int = 8
    steps: int = 500
    tol: float = 1e-8
    seed: int = 0
    progress: Progress | None = None


@dataclass(frozen=True)
class Fit:
    """Factors ``(d_n, R)``, their relative error, and the largest component norm relative to the tensor's."""

    factors: list[HostArray]
    error: float
    largest: float
    diverging: bool

    @property
    def rank(self) -> int:
        """R."""
        return int(self.factors[0].shape[1])


def lossless(dtype: str) -> float:
    """The relative error of a compression that a tensor of this dtype does not notice."""
    return 32 * eps_of(dtype)


def fit_rank(
    tensor: HostArray, rank: int, options: Options, given: list[HostArray] | None = None, target: float = 0.0
) -> Fit:
    """The best fit with ``rank`` components of a tensor of norm 1.

    Args:
        tensor: ``(d_1, .., d_N)``, compressed.
        rank: R.
        options: see there.
        given: factors of at most R components to begin with.
        target: the error that ends the search.
    """
    modes = long_modes(tensor.shape)
    if len(modes) < tensor.ndim:
        short = tensor.reshape([tensor.shape[mode] for mode in modes])
        inner = None if given is None else without_short(given)
        return _restored(fit_rank(short, rank, options, inner, target), tensor.shape)
    if tensor.ndim == 2:
        return _matrix_fit(tensor, rank)
    rng = generator(options.seed, rank)
    small = prod(min(d, rank) for d in tensor.shape)
    if rank * sum(tensor.shape) <= _PATH_VARIABLES or 4 * small > tensor.size:
        return _watched(tensor, _search(tensor, rank, rng, options, given, target))
    # The search itself goes on in the span of the leading singular vectors, which a good fit is near.
    core, bases, dropped = _starts.compress(tensor, _ROUGH, most=rank)
    inner = None if given is None else [u.conj().T @ f for u, f in zip(bases, given, strict=True)]
    within = float(np.sqrt(max(target**2 - dropped**2, 0.0)))
    found = _search(core, rank, rng, options, inner, within)
    found = _polish(tensor, _starts.expand(bases, found.factors), options)
    if given is not None:  # the span may have left it out
        found = _better(found, _polish(tensor, _starts.extended(rng, tensor, given, rank), options))
    return _watched(tensor, found)


def fit_tolerance(
    tensor: HostArray, rtol: float, max_rank: int, options: Options, given: list[HostArray] | None = None
) -> tuple[Fit, bool]:
    """The first fit within ``rtol``, ranks in turn from the least that can be, and whether there is one.

    Fits whose components grow without end as they come near do not count.
    """
    modes = long_modes(tensor.shape)
    if len(modes) < tensor.ndim:
        short = tensor.reshape([tensor.shape[mode] for mode in modes])
        inner = None if given is None else without_short(given)
        fit, met = fit_tolerance(short, rtol, max_rank, options, inner)
        return _restored(fit, tensor.shape), met
    floors = _starts.error_floors(tensor)
    least = max(1, int(np.argmax(floors <= rtol)))
    best: Fit | None = None
    warm: list[HostArray] | None = None
    for rank in range(min(least, max_rank), max_rank + 1):
        start = given if given is not None and given[0].shape[1] == rank else warm
        found = fit_rank(tensor, rank, options, start, rtol)
        if found.diverging and found.error <= rtol:
            found = _bounded(tensor, found, rtol)
        best = found if best is None or found.error <= best.error else best
        if found.error <= rtol and not found.diverging:
            return found, True
        # Components that cancel are no place to go on from.
        warm = None if found.diverging else found.factors
    assert best is not None
    return best, False


def _restored(fit: Fit, shape: tuple[int, ...]) -> Fit:
    return replace(fit, factors=balanced(with_short(fit.factors, shape)))


def _search(
    tensor: HostArray,
    rank: int,
    rng: np.random.Generator,
    options: Options,
    given: list[HostArray] | None,
    target: float,
) -> Fit:
    best: Fit | None = None
    repeats, target = 0, max(target, SOLVED)
    for number, (name, factors, path) in enumerate(_attempts(tensor, rank, rng, given)):
        if number == options.starts and best is not None:
            break
        found = _run(tensor, factors, path, options)
        if options.progress is not None:
            options.progress(
                f"rank {rank}, start {number + 1} of {options.starts} ({name}): relative error {found.error:.3e}"
            )
        repeats = 1 if best is None or found.error < (1 - _SAME) * best.error else repeats + _same(found, best)
        best = found if best is None else _better(found, best)
        if (best.error <= target and best.largest <= _GROWN) or repeats >= _REPEATS:
            break
    assert best is not None
    if rank * sum(tensor.shape) > _VARIABLES:
        best = _polish(tensor, best.factors, options)
    return best


def _attempts(
    tensor: HostArray, rank: int, rng: np.random.Generator, given: list[HostArray] | None
) -> Iterator[tuple[str, list[HostArray], tuple[float, ...] | None]]:
    """Names, factors, and weights of Levenberg-Marquardt; ``None`` begins with alternating least squares."""
    if given is not None:
        yield "given", _starts.extended(rng, tensor, given, rank), None
    if rank >= prod(tensor.shape) // max(tensor.shape):
        factors = _starts.fibers(tensor)
        missing = rank - factors[0].shape[1]
        yield "fibers", balanced([np.pad(f, ((0, 0), (0, missing))) for f in factors]), None
    common = _starts.eigenvectors(rng, tensor, rank)
    if common is not None:
        yield "eigenvectors", common, None
    yield "singular vectors", _starts.singular_vectors(rng, tensor, rank), None
    number = 0
    while True:
        small = rank * sum(tensor.shape) <= _PATH_VARIABLES
        factors = _starts.random(rng, tensor, rank, SIZES[number % 4] if small else 1.0)
        yield "random", factors, PATHS[number % 4] if small else None
        number += 1


def _run(tensor: HostArray, factors: list[HostArray], path: tuple[float, ...] | None, options: Options) -> Fit:
    large = sum(f.size for f in factors) > _VARIABLES
    if path is None:
        factors, _ = als(tensor, factors, min(options.steps, _SWEEPS), options.tol)
    if not large:
        steps = _steps(tensor, factors)
        for weight in path or (0.0,):
            factors, _ = descend(tensor, factors, None, weight, steps if weight == 0 else 60, 1e-14)
    return _fit(tensor, factors)


def _polish(tensor: HostArray, factors: list[HostArray], options: Options) -> Fit:
    factors, _ = als(tensor, factors, options.steps, options.tol)
    if sum(f.size for f in factors) <= _VARIABLES:
        factors, _ = descend(tensor, factors, None, 0.0, _steps(tensor, factors), 1e-14)
    return _fit(tensor, factors)


def _steps(tensor: HostArray, factors: list[HostArray]) -> int:
    return int(np.clip(_OPERATIONS / step_cost(tensor.shape, factors[0].shape[1]), 10, 300))


def _fit(tensor: HostArray, factors: list[HostArray]) -> Fit:
    factors = balanced(factors)
    largest = float(component_norms(factors).max())
    # Components that cancel leave rounding of their own size, which a lucky sum may hide.
    return Fit(factors, max(relative_error(tensor, factors), _EPS * largest), largest, False)


def _watched(tensor: HostArray, fit: Fit) -> Fit:
    """The same fit with the mark of components that grow without end while they cancel.

    The smaller the weight of the regularization, the larger the components where there is no best fit; they settle
    where there is an ill-conditioned one. Fits too large for that are judged by the angles of their components.

    Source: Krijnen, Dijkstra & Stegeman 2008; Mitchell & Burdick 1994 (the angles).
    """
    if fit.largest <= _WATCHED or fit.error <= SOLVED:
        return fit
    path = _lighter(tensor, fit) if fit.largest <= _LARGEST else []
    if fit.largest > _LARGEST:
        diverging = True
    elif path:
        diverging = path[-1].largest > 2 * path[-3].largest
    else:
        used = component_norms(fit.factors) > 0
        unit = [f[:, used] / np.linalg.norm(f[:, used], axis=0) for f in fit.factors]
        opposed = float(np.min(np.real(prod(f.conj().T @ f for f in unit)))) < _OPPOSED
        diverging = opposed and fit.largest > _GROWN
    return replace(fit, diverging=diverging)


def _lighter(tensor: HostArray, fit: Fit) -> list[Fit]:
    """Regularized fits on the way to a fit, the weight from heavy to light; ``[]`` if they lead elsewhere."""
    if sum(f.size for f in fit.factors) > _VARIABLES:
        return []
    last = _WEIGHTS[-1]
    reached = fit.error**2 + last * sum(float(np.linalg.norm(f)) ** 2 for f in fit.factors)
    steps = min(100, _steps(tensor, fit.factors))
    for first in (0, 2, 4):  # a heavy weight may leave the valley
        factors, found = fit.factors, list[Fit]()
        for weight in _WEIGHTS[first:]:
            factors, _ = descend(tensor, factors, None, weight, steps, 1e-10)
            found.append(_fit(tensor, factors))
        cost = found[-1].error ** 2 + last * sum(float(np.linalg.norm(f)) ** 2 for f in found[-1].factors)
        if cost <= 1.01 * reached:
            return found
    return []


def _bounded(tensor: HostArray, fit: Fit, rtol: float) -> Fit:
    """Of a diverging fit within ``rtol`` the most regularized one that is, if its components stay small."""
    found = next((lighter for lighter in _lighter(tensor, fit) if lighter.error <= rtol), fit)
    return found if found.largest <= _GROWN else fit


def _same(found: Fit, best: Fit) -> bool:
    return found.error <= (1 + _SAME) * best.error


def _better(found: Fit, best: Fit) -> Fit:
    if _same(found, best) and _same(best, found):
        return min(found, best, key=lambda fit: fit.largest)
    return min(found, best, key=lambda fit: fit.error)


def _matrix_fit(matrix: HostArray, rank: int) -> Fit:
    """Eckart and Young: the singular value decomposition is best."""
    u, s, vh = host_svd(matrix)
    count = min(rank, len(s))
    factors = [u[:, :count] * np.sqrt(s[:count]), vh[:count].T * np.sqrt(s[:count])]
    return _fit(matrix, [np.pad(f, ((0, 0), (0, rank - count))) for f in factors])
