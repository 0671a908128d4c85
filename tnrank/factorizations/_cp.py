"""CP factorization: a sum of outer products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, Self

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._check import whole_number
from tnrank._explained import explained
from tnrank._scale import norm_products
from tnrank._typing import Array
from tnrank.factorizations._arrays import checked_arrays, kept_dtype, measured, read_arrays
from tnrank.factorizations._balance import largest_difference, norms_along
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp_fit import _dense
from tnrank.factorizations._draw import check_dimensions, draw
from tnrank.factorizations._norms import check_finite
from tnrank.network import Network


class CPFactorization(Factorization):
    """The tensor ``sum_r weights[r] * outer(factors[0][:, r], .., factors[N-1][:, r])``.

    Args:
        factors: N arrays ``(d_n, R)`` of one backend and dtype.
        weights: ``(R,)``, or ``None`` for a plain sum.

    Raises:
        ValueError: if the numbers of components differ; factor and sizes are named.

    Source: Razin, Maman & Cohen 2021, Sec. 3 (tensor factorization).

    Example:
        >>> import tnrank
        >>> tnrank.CPFactorization.random((16, 16, 16), rank=256, std=1e-3, seed=0)
        CPFactorization of order 3: 16 x 16 x 16, 12,288 parameters, float64, numpy
          256 components
    """

    __slots__ = ()
    kind: ClassVar[str] = "cp"

    @explained
    def __init__(self, factors: Iterable[Array], weights: Array | None = None) -> None:
        arrays = read_arrays(factors, "factors")
        for mode, factor in enumerate(arrays):
            if len(factor.shape) != 2:
                raise ValueError(f"factor {mode} has shape {tuple(factor.shape)}: needed (d_{mode + 1}, R)")
            if factor.shape[1] != arrays[0].shape[1]:
                raise ValueError(
                    f"factor {mode} has {factor.shape[1]} components (columns) and factor 0 has "
                    f"{arrays[0].shape[1]}: needed the same number"
                )
        static = (len(arrays), weights is not None)
        if weights is not None:
            arrays = checked_arrays(
                [*arrays, weights], lambda: [*(f"factors[{k}]" for k in range(static[0])), "weights"]
            )
        self._fill(static, arrays)

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _star(*static)

    @classmethod
    @explained
    def random(
        cls,
        shape: Sequence[int],
        rank: int | None = None,
        *,
        weighted: bool = False,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        balanced: bool = False,
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random weights.

        Args:
            shape: ``(d_1, .., d_N)``.
            rank: R, the number of components; ``prod(d) / max(d)`` if not given, enough for any tensor.
            weighted: whether there is a weight per component, drawn like the rest.
            std: standard deviation of every entry (``init="identity"``: what stands on the diagonal).
            mean: added to every entry; 1 with a small ``std`` keeps products of many factors near 1.
            init: ``"normal"``, ``"identity"``, or ``"mean_one"``: entries of mean 1, the first factor's divided by R,
                so that entries of the end tensor are near 1 at any order and rank.
            balanced: scale the vectors of each component to equal norms.
            seed: of NumPy's Generator; the same weights on every backend.
            backend: where the arrays live.
            dtype: the backend's default if ``None``.
            device: likewise.

        Raises:
            ValueError: for a rank below 1 or a shape without modes.
        """
        d = check_dimensions(shape)
        if not d:
            raise ValueError("a CP factorization has at least one mode, got the shape ()")
        rank = prod(d) // max(d) if rank is None else rank
        rank = whole_number(rank, "rank, the number of components,", 1)
        shapes: list[tuple[int, ...]] = [(n, rank) for n in d]
        shapes = [*shapes, (rank,)] if weighted else shapes
        mean_one = [(1 / rank, 1 / rank), *[(1.0, 1.0)] * (len(shapes) - 1)]
        arrays = draw(shapes, std, mean, init, seed, backend, dtype, device, {"mean_one": mean_one})
        made = cls._make((len(d), weighted), arrays)
        return made.balance() if balanced else made

    @classmethod
    @explained
    def from_dense(
        cls,
        tensor: Array,
        rank: int | None = None,
        rtol: float | None = None,
        *,
        max_rank: int | None = None,
        init: CPFactorization | None = None,
        starts: int = 8,
        steps: int = 500,
        tol: float = 1e-8,
        seed: int = 0,
        progress: bool | Callable[[str], None] = False,
    ) -> Self:
        """The best fit found with ``rank`` components, or the fewest found within a relative error of ``rtol``.

        The tensor is compressed by its multilinear SVD, and fitted by alternating least squares and
        Levenberg-Marquardt from several starts, on the host in double precision. No such search is certain to find
        the best fit; :func:`tnrank.tensor_rank` bounds the rank of a tensor by theorems. With ``rtol`` the rank grows
        from the least that the matricizations allow. A matrix is decomposed by its SVD.

        Args:
            tensor: ``(d_1, .., d_N)``, N >= 2, real or complex, of any backend.
            rank: R, the number of components.
            rtol: bounds ``||tensor - result|| / ||tensor||``; at least 32 eps of the dtype.
            max_rank: with ``rtol``, the most components to try; ``prod(d) / max(d)``, enough for any tensor, if not
                given.
            init: where a first start begins; with fewer components than ``rank`` it is extended.
            starts: the most starts (given factors, eigenvectors of slices, singular vectors, random ones); the search
                ends at rounding, within ``rtol``, and when three starts have found the same best error.
            steps: the most sweeps of alternating least squares from one start.
            tol: ends a start when a sweep lowers the error by less than this share of it.
            seed: of the random starts.
            progress: show a line a start, or call a function with it.

        Returns:
            Factors on the tensor's backend in its dtype, the largest component first, its vectors of equal norms. The
            zero tensor gives zeros, one component if ``rank`` is not given.

        Raises:
            ValueError: if ``rank`` and ``rtol`` are both given or both missing, for a rank below 1, ``rtol`` outside
                [0, 1) or below 32 eps, order 0 or 1, an empty mode, entries that are not finite, or an ``init`` that
                does not fit; and if no fit within ``rtol`` was found up to ``max_rank``.

        Warns:
            RuntimeWarning: if components grow and cancel (border-rank behavior): there may be no best fit.

        Source: Kolda & Bader 2009, Sec. 3.4; Tomasi & Bro 2006; Bro & Andersson 1998 (the compression).

        Example:
            >>> import tnrank
            >>> tensor = tnrank.CPFactorization.random((6, 7, 8), rank=3, seed=0).to_dense()
            >>> x = tnrank.CPFactorization.from_dense(tensor, rtol=1e-8)
            >>> x.rank, bool(abs(x.to_dense() - tensor).max() < 1e-10)
            (3, True)
        """
        options = _dense.read_options(starts, steps, tol, seed, progress)
        first = None
        if init is not None:
            first = list(init.factors) if init.weights is None else [init.factors[0] * init.weights, *init.factors[1:]]
        arrays = _dense.from_dense(tensor, rank, rtol, max_rank, first, options)
        return cls._make((len(arrays), False), arrays)

    @property
    def factors(self) -> tuple[Array, ...]:
        """The factors ``(d_n, R)``."""
        return self._values[: self._static[0]]

    @property
    def weights(self) -> Array | None:
        """The weights ``(R,)``, or ``None``."""
        return self._values[-1] if self._static[1] else None

    @property
    def rank(self) -> int:
        """R, the number of components: an upper bound of the tensor rank."""
        return int(self._values[0].shape[1])

    @measured
    def component_norms(self) -> Array:
        """The norm of every component, ``|weight_r| prod_n ||w_r^n||``, shape ``(R,)``, in the order of components."""
        # Norms factor by factor: the product of their squares would underflow in single precision.
        return norm_products([[(factor, 0) for factor in self.factors]], self.weights, self.backend)[0]

    @kept_dtype
    def balance(self) -> Self:
        """The same tensor with the vectors of each component scaled to equal norms (and the weight's absolute value).

        Source: Razin, Maman & Cohen 2021, Sec. 3 (unbalancedness).

        Example:
            >>> import tnrank
            >>> x = tnrank.CPFactorization.random((4, 5, 6), rank=3, seed=0)
            >>> bool(x.balance().unbalancedness() < 1e-13)
            True
        """
        check_finite(self)
        lengths = self._lengths()
        with np.errstate(divide="ignore", invalid="ignore"):
            common = np.exp(np.mean(np.log(lengths), axis=0))
            scales = np.where(lengths > 0, common / lengths, 0.0)
        # A component with a zero vector adds nothing to the tensor, and is balanced only as zero throughout.
        backend, where = self.backend, default_or_named_device(self._values[0])
        scaled = [a * backend.asarray(s, _real(self.dtype), where) for a, s in zip(self._values, scales, strict=True)]
        return self._make(self._static, scaled)

    @measured
    def unbalancedness(self) -> float:
        """The largest difference of squared norms within a component, relative to the largest; 0 if all are 0, NaN if
        an entry is NaN or infinite.
        """
        return largest_difference([self._lengths()])

    def _lengths(self) -> np.ndarray[Any, Any]:
        """Norms of the vectors, shape (N or N + 1, R), on the host in double precision."""
        arrays = [np.asarray(self.backend.to_numpy(array)) for array in self._values]
        arrays = [host.astype(np.promote_types(host.dtype, np.float64), copy=False) for host in arrays]
        # A weight is the norm of a vector of length 1.
        return norms_along([(host if host.ndim == 2 else host[None], 0) for host in arrays])

    def _details(self) -> list[str]:
        return [f"{self.rank} components{' with weights' if self._static[1] else ''}"]

    def _static_to_json(self) -> Any:
        return list(self._static)

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return whole_number(content[0], "its order", 1), bool(content[1])


def _real(dtype: str) -> str:
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


@lru_cache(maxsize=256)
def _star(order: int, weighted: bool) -> Network:
    modes = [f"i{n}" for n in range(order)]
    tensors: dict[str, tuple[str, ...]] = {f"A{n}": (mode, "r") for n, mode in enumerate(modes)}
    if weighted:
        tensors["weights"] = ("r",)
    return Network(tensors, modes)
