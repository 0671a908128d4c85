"""CP factorizations of dense tensors against TensorLy's alternating least squares, to the same error."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report

SIDE, RANK = 60, 10


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    """Ten components exactly, in noise, and nearly collinear ones in noise."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((SIDE,) * 3)

    def with_noise(factors: list[np.ndarray[Any, Any]], share: float) -> np.ndarray[Any, Any]:
        clean = tnrank.CPFactorization(factors).to_dense()
        return np.asarray(clean + share * np.linalg.norm(clean) / np.linalg.norm(noise) * noise)

    apart = [rng.standard_normal((SIDE, RANK)) for _ in range(3)]
    # Every two columns have a cosine of 0.9: alternating least squares moves slowly there.
    mixing = np.linalg.cholesky(0.9 + 0.1 * np.eye(RANK)).T
    close = [np.linalg.qr(rng.standard_normal((SIDE, RANK)))[0] @ mixing for _ in range(3)]
    return {"exact": with_noise(apart, 0.0), "1 % noise": with_noise(apart, 0.01), "collinear": with_noise(close, 0.01)}


def timed(fit: Callable[[], np.ndarray[Any, Any]], tensor: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Median seconds of three fits, and the relative error."""
    seconds, found = list[float](), tensor
    for _ in range(3):
        began = time.perf_counter()
        found = fit()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[1], float(np.linalg.norm(found - tensor) / np.linalg.norm(tensor))


def known() -> dict[str, tuple[np.ndarray[Any, Any], int]]:
    """Tensors with known ranks over the reals."""
    product, ghz, w = np.zeros((4, 4, 4), int), np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int)
    for i, j, k in itertools.product(range(2), repeat=3):
        product[2 * i + j, 2 * j + k, 2 * k + i] = 1
    ghz[0, 0, 0] = ghz[1, 1, 1] = w[1, 0, 0] = w[0, 1, 0] = w[0, 0, 1] = 1
    det, perm = np.zeros((3, 3, 3), int), np.zeros((3, 3, 3), int)
    for p in itertools.permutations(range(3)):
        det[p], perm[p] = round(np.linalg.det(np.eye(3)[list(p)])), 1
    numbers = np.array([[[1, 0], [0, 1]], [[0, 1], [-1, 0]]])
    return {
        "<2,2,2>": (product, 7),
        "det_3": (det, 5),
        "perm_3": (perm, 4),
        "GHZ_3": (ghz, 2),
        "W_3": (w, 3),
        "complex product": (numbers, 3),
    }


def run(report: Report) -> None:
    """Known ranks settled; rank 10 on 60^3, both from one start, ours also from several, which is its default."""
    began = time.perf_counter()
    for name, (tensor, rank) in known().items():
        found = tnrank.tensor_rank(tensor)
        if not (found.exact and found.lower == found.upper == rank):
            raise AssertionError(f"{name} is not settled at {rank}: {found}")
    report.limit("six tensors of known rank", "all settled by proof", time.perf_counter() - began, 60.0)

    from tensorly import cp_to_tensor
    from tensorly.decomposition import parafac

    for name, tensor in tensors().items():
        options = {"n_iter_max": 2000, "tol": 1e-8, "init": "svd", "random_state": 0}
        peer, theirs = timed(lambda t=tensor, o=options: cp_to_tensor(parafac(t, RANK, **o)), tensor)
        for starts in (1, 8):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seconds, error = timed(
                    lambda t=tensor, n=starts: tnrank.CPFactorization.from_dense(t, RANK, starts=n).to_dense(), tensor
                )
            case = f"{SIDE}^3 to rank {RANK}, {name}"
            what = "one start" if starts == 1 else f"up to {starts} starts"
            report.compare(case, f"time, {what}", seconds, peer, at_most=starts)
            report.limit(case, f"error, {what}", error, 1.0001 * theirs, show=lambda value: f"{value:.5e}")
