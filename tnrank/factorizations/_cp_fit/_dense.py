"""CP factorizations of dense tensors: what is accepted, and the way from the backend to the host and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import backend_of, get_backend
from tnrank._memory import check_fits
from tnrank._scale import is_safe, not_finite, over, peak, unit_of
from tnrank._typing import Array
from tnrank._warn import warn
from tnrank.factorizations._arrays import measurable, rounding_of
from tnrank.factorizations._cp_fit._als import HostArray, component_norms
from tnrank.factorizations._cp_fit._fit import Fit, Options, Progress, fit_rank, fit_tolerance, lossless
from tnrank.factorizations._cp_fit._starts import compress, error_floors, expand
from tnrank.linalg import check_rtol, eps_of

_SHARE = 0.1  # of the tolerance, for the compression
_CAST = 4


def from_dense(
    tensor: Array,
    rank: int | None,
    rtol: float | None,
    max_rank: int | None,
    init: Sequence[Array] | None,
    options: Options,
) -> list[Array]:
    """See :meth:`tnrank.CPFactorization.from_dense`."""
    _check_choice(rank, rtol, max_rank)
    host, dtype = read(tensor)
    shape = host.shape
    check_fits((rank or 1) * sum(shape), f"factors of {rank} components", "fewer components")
    floor = lossless(dtype)
    if rtol is not None and rtol < floor:
        raise ValueError(
            f"rtol={rtol:g} is below the floor of {dtype}, 32 eps = {floor:.1e}: pass that or more, or a tensor of a "
            "wider dtype"
        )
    given = None if init is None else _read_init(init, shape, rank)
    host, size, exponent = _moderate(host)
    if size == 0:
        return _back(tensor, dtype, [np.zeros((d, rank or 1), host.dtype) for d in shape])
    if rtol is None:
        core, bases, _ = compress(host / size, _unnoticed(dtype))
        best = fit_rank(core, rank or 1, options, _project(bases, given, size, exponent))
    else:
        goal = rtol - _CAST * eps_of(dtype)  # the factors are rounded on the way back
        core, bases, dropped = compress(host / size, max(_SHARE * goal, 0.5 * floor))
        allowed = np.sqrt(max(goal**2 - dropped**2, 0.0))
        most = prod(shape) // max(shape) if max_rank is None else max_rank
        best, met = fit_tolerance(core, float(allowed), most, options, _project(bases, given, size, exponent))
        if not met:
            raise ValueError(_missed(best, rtol, most))
    if best.diverging:
        warn(_diverging(best), RuntimeWarning)
    return _back(tensor, dtype, _sorted(expand(bases, best.factors), size, exponent))


def scan_dense(tensor: Array, max_rank: int, options: Options) -> Iterator[tuple[Fit, float, list[Array]]]:
    """For 1 to ``max_rank`` components the best fit found, the error that none gets below, and its factors."""
    host, dtype = read(tensor)
    host, size, exponent = _moderate(host)
    if size == 0:
        for rank in range(1, max_rank + 1):
            zeros = [np.zeros((d, rank), host.dtype) for d in host.shape]
            yield Fit(zeros, 0.0, 0.0, False), 0.0, _back(tensor, dtype, zeros)
        return
    core, bases, _ = compress(host / size, _unnoticed(dtype))
    floors, best = error_floors(core), list[Fit]()
    for rank in range(1, max_rank + 1):
        best.append(fit_rank(core, rank, options, best[-1].factors if best else None))
        floor = float(floors[rank]) if rank < len(floors) else 0.0
        yield best[-1], floor, _back(tensor, dtype, _sorted(expand(bases, best[-1].factors), size, exponent))


def _unnoticed(dtype: str) -> float:
    """What the compression may drop: 32 roundings of half precision would be a quarter of the tensor."""
    return rounding_of(dtype) or lossless(dtype)


def read(tensor: Array) -> tuple[HostArray, str]:
    """A dense tensor on the host in double precision, and its dtype; integers count as the default float.

    Raises:
        ValueError: if it has order 0 or 1, an empty mode, or an entry that is not finite.
    """
    backend = backend_of(tensor)
    shape, dtype = tuple(int(d) for d in tensor.shape), backend.dtype_of(tensor)
    if len(shape) < 2:
        raise ValueError(f"got an array of shape {shape}, needed a tensor of order 2 or more")
    if 0 in shape:
        raise ValueError(f"mode {shape.index(0)} of the tensor {shape} is empty")
    if dtype not in backend.dtypes:  # NumPy has half precision, and nothing that computes in it
        dtype = measurable(dtype, backend)
    raw = np.asarray(backend.to_numpy(tensor))
    host = raw.astype(np.complex128 if raw.dtype.kind == "c" else np.float64)
    if not np.all(np.isfinite(host)):
        numpy = get_backend("numpy")
        raise not_finite(raw, numpy, "of the tensor ", "fill them in first, for example with tnrank.complete")
    return host, dtype


def read_options(starts: int, steps: int, tol: float, seed: int, progress: bool | Callable[[str], None]) -> Options:
    """Checked options of a search."""
    for name, value in (("starts", starts), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} is {value}: needed at least 1")
    if not 0 <= tol < 1:
        raise ValueError(f"tol is the relative decrease of the error at which a start ends, in [0, 1), got {tol}")
    shown: Progress | None = _to_stderr if progress is True else progress or None
    return Options(int(starts), int(steps), float(tol), int(seed), shown)


def _moderate(host: HostArray) -> tuple[HostArray, float, int]:
    """The tensor over a power of two, since squares of its entries may be out of range; its norm, and the exponent."""
    numpy = get_backend("numpy")
    largest = peak(host, numpy)
    if is_safe(largest, numpy):
        return host, float(np.linalg.norm(host)), 0
    unit = unit_of(largest, numpy)
    host = over(host, unit, numpy)
    return host, float(np.linalg.norm(host)), round(float(np.log2(unit)))


def _check_choice(rank: int | None, rtol: float | None, max_rank: int | None) -> None:
    if (rank is None) == (rtol is None):
        what = "neither rank nor rtol" if rank is None else f"rank={rank} and rtol={rtol}"
        raise ValueError(f"got {what}: pass rank=R for the best R components, or rtol= for the fewest within it")
    for name, value in (("rank", rank), ("max_rank", max_rank)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is a number of components, at least 1, got {value}")
    if rank is not None and max_rank is not None:
        raise ValueError(f"max_rank={max_rank} goes with rtol, got rank={rank}")
    check_rtol(rtol)


def _read_init(init: Sequence[Array], shape: tuple[int, ...], rank: int | None) -> list[HostArray]:
    factors = [np.asarray(backend_of(f).to_numpy(f)) for f in init]
    factors = [f.astype(np.complex128 if f.dtype.kind == "c" else np.float64) for f in factors]
    found = tuple(len(f) for f in factors)
    if found != shape:
        raise ValueError(f"init has shape {found} and the tensor {shape}: needed the same")
    components = factors[0].shape[1]
    if rank is not None and components > rank:
        raise ValueError(
            f"init has {components} components, needed at most rank={rank}: pass rank={components} or more"
        )
    return factors


def _project(
    bases: Sequence[HostArray], given: list[HostArray] | None, size: float, exponent: int
) -> list[HostArray] | None:
    if given is None:
        return None
    scale = size ** (-1 / len(given)) * 2.0 ** (-exponent / len(given))
    real = not any(np.iscomplexobj(u) for u in bases)
    return [u.conj().T @ ((f.real if real else f) * scale) for u, f in zip(bases, given, strict=True)]


def _sorted(factors: list[HostArray], size: float, exponent: int) -> list[HostArray]:
    """The largest component first, the norm of the tensor shared out."""
    order = np.argsort(-component_norms(factors), kind="stable")
    share = size ** (1 / len(factors)) * 2.0 ** (exponent / len(factors))
    return [f[:, order] * share for f in factors]


def _back(tensor: Array, dtype: str, factors: list[HostArray]) -> list[Any]:
    backend = backend_of(tensor)
    return [backend.asarray(f, dtype=dtype, device=backend.device_of(tensor)) for f in factors]


def _missed(best: Fit, rtol: float, most: int) -> str:
    ending = ", by components that grow and cancel (border-rank behavior)" if best.diverging else ""
    return (
        f"no CP factorization within rtol={rtol:g} was found up to rank {most}: the best has relative error "
        f"{best.error:.3g} with {best.rank} components{ending}; pass a larger max_rank, a larger rtol or more starts"
    )


def _diverging(best: Fit) -> str:
    return (
        f"border-rank behavior: the {best.rank} components grow to {best.largest:.0e} times the tensor's norm and "
        f"cancel, at relative error {best.error:.1e}; there may be no best fit of this rank: pass another rank, or "
        "see tnrank.ranks.rank_scan"
    )


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
