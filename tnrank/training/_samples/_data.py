"""Samples as they are given, checked: features at each mode, and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import plain_array
from tnrank._check import shown
from tnrank.factorizations import Factorization
from tnrank.training._losses import CrossEntropyLoss, Loss

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Features:
    """Features of M samples at N modes.

    Attributes:
        given: states ``(M, N)``, the places of the ones in one-hot features; or N arrays ``(M, d_n)``.
        coded: whether they are states.
    """

    given: Any
    coded: bool

    @property
    def modes(self) -> int:
        """N."""
        return int(self.given.shape[1]) if self.coded else len(self.given)

    def __len__(self) -> int:
        return len(self.given) if self.coded else len(self.given[0])

    def rows(self, start: int, stop: int) -> Features:
        """Some of the samples."""
        chosen = slice(start, stop)
        return Features(self.given[chosen] if self.coded else [a[chosen] for a in self.given], self.coded)

    def several(self, x: Factorization) -> bool:
        """Whether a factorization has a further mode, whose entries are the scores of a sample."""
        return self.modes < x.ndim


def read_features(features: Any) -> Features:
    """Features of samples.

    Raises:
        ValueError: for other shapes, no samples, NaN or infinite numbers.
        TypeError: for something else than numbers.
    """
    needed = "whole numbers (M, N), the states of one-hot features, or vectors (M, N, d), or N arrays (M, d_n)"
    if isinstance(features, (list, tuple)) and features and np.ndim(features[0]) == 2:
        arrays = [_host(one, f"features {mode}") for mode, one in enumerate(features)]
        if any(one.ndim != 2 or len(one) != len(arrays[0]) for one in arrays):
            raise ValueError(f"features have shapes {[one.shape for one in arrays][:4]}: needed one (M, d_n) a mode")
    else:
        array = _host(features, "features")
        if array.ndim and not len(array):
            raise ValueError(f"got no samples (features of shape {array.shape}), needed one or more")
        if array.ndim == 2 and array.dtype.kind in "uib" and array.size:
            return Features(array.astype(np.uint8 if array.min() >= 0 and array.max() < 256 else np.int32), True)
        if array.ndim != 3:
            fix = (
                ". Of a table X np.stack([np.ones_like(X), X], axis=-1) makes vectors (1, x), of gray levels "
                "tnrank.data.states(images) states"
            )
            fix = fix if array.ndim == 2 else ""
            raise ValueError(f"features are {array.dtype} numbers of shape {array.shape}, needed {needed}{fix}")
        arrays = [array[:, mode] for mode in range(array.shape[1])]
    if not arrays or not len(arrays[0]):
        raise ValueError("got no samples, needed one or more")
    for mode, one in enumerate(arrays):
        if not np.isfinite(one).all():
            raise ValueError(
                f"{int((~np.isfinite(one)).sum())} entries of the features of mode {mode} are NaN or infinite"
            )
    return Features(arrays, False)


def check_features(x: Factorization, features: Features) -> None:
    """Refuse features that a factorization has no modes for.

    Raises:
        ValueError: for another number of modes, other dimensions, or states out of range.
    """
    modes, order = features.modes, x.ndim
    if modes not in (order, order - 1):
        raise ValueError(
            f"samples have features at {modes} modes, and the factorization has order {order}: needed {order}, or "
            f"{order - 1} if its last mode has no features and its entries are the scores"
        )
    if not features.coded:
        for mode, one in enumerate(features.given):
            if one.shape[1] != x.shape[mode]:
                raise ValueError(
                    f"features of mode {mode} have {one.shape[1]} entries, and the mode has dimension {x.shape[mode]}"
                )
        return
    sizes = np.asarray(x.shape[:modes])
    low, high = features.given.min(axis=0), features.given.max(axis=0)
    if (wrong := np.flatnonzero((low < 0) | (high >= sizes))).size:
        mode = int(wrong[0])
        raise ValueError(
            f"features of mode {mode} are states {low[mode]} .. {high[mode]}, and it has dimension {sizes[mode]}: "
            f"needed 0 .. {sizes[mode] - 1}; of gray levels: tnrank.data.states(images, levels={sizes[mode]})"
        )


def checked_targets(x: Factorization, features: Features, targets: Any, loss: Loss, runs: int | None) -> Host:
    """Targets ``(1 or S, M)``, of several scores ``(1 or S, M, C)``; of classes whole numbers ``(1 or S, M)``.

    Raises:
        ValueError: for another number of them, NaN, or what the loss does not know.
        TypeError: for something else than numbers.
    """
    found = _read_targets(targets)
    classes = x.shape[-1] if features.several(x) else None
    coded = isinstance(loss, CrossEntropyLoss)
    if coded and classes is None:
        loss.check_targets(found)
    one = (len(features),) if coded or classes is None else (len(features), classes)
    if found.shape == one:
        found = found[None]
    elif found.shape != ((runs or 1), *one):
        several = f", or {(runs, *one)}, one a run" if runs else ""
        fix = "; whole numbers 0 .. C - 1, as classes, go with loss=tnrank.CrossEntropyLoss()" if len(one) > 1 else ""
        raise ValueError(f"targets have shape {found.shape}: needed {one}{several}, one for each of the samples{fix}")
    if not np.isfinite(found).all():
        raise ValueError(f"{int((~np.isfinite(found)).sum())} of {found.size} targets are NaN or infinite")
    loss.check_targets(found, classes)
    return found.astype(np.int32) if coded else floating(x, found)


def _read_targets(targets: Any) -> Host:
    """An array, or one array a run as one."""
    if not isinstance(targets, (list, tuple)) or not targets or not np.ndim(targets[0]):
        return _host(targets, "targets")
    found = [_host(one, f"targets of run {run}") for run, one in enumerate(targets)]
    if any(one.shape != found[0].shape for one in found):
        raise ValueError(f"targets of the runs have shapes {[one.shape for one in found][:4]}: needed equal ones")
    return np.stack(found)


def floating(x: Factorization, array: Host) -> Host:
    """In the precision of a factorization."""
    return np.asarray(array, np.float64 if x.dtype == "float64" else np.float32)


def put(x: Factorization, array: Host) -> Any:
    """On the backend and device of a factorization; whole numbers stay what they are."""
    backend = x.backend
    dtype = x.dtype if array.dtype.kind == "f" else None
    return backend.asarray(np.asarray(array, order="C"), dtype, None if x.device == backend.devices()[0] else x.device)


def _host(given: Any, what: str) -> Host:
    if isinstance(given, (str, bytes)) or given is None:
        raise TypeError(f"{what} are arrays of numbers, got {shown(given)}")
    if isinstance(given, (list, tuple)):
        try:
            found = np.asarray(given)
        except ValueError:
            raise ValueError(f"{what} are arrays of numbers, got a list with entries of different shapes") from None
    else:
        array, backend = plain_array(given)
        found = np.asarray(backend.to_numpy(array))
    if found.dtype.kind not in "uibf":
        fix = "; numpy.unique(labels, return_inverse=True)[1] numbers labels" if found.dtype.kind in "OUST" else ""
        raise TypeError(f"{what} are real numbers, got dtype {found.dtype}{fix}")
    return found


def stacked(features: Features, modes: Sequence[int]) -> Host:
    """Features at some modes of equal dimension: states ``(M, n)``, or vectors ``(M, n, d)``."""
    if features.coded:
        return np.ascontiguousarray(features.given[:, list(modes)])
    return np.stack([features.given[mode] for mode in modes], axis=1)
