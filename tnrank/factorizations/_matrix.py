"""Matrix factorization: a deep linear network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import sequence, whole_number
from tnrank._explained import explained
from tnrank._scale import over, peak, times_power, unit_of
from tnrank._typing import Array
from tnrank.factorizations._arrays import kept_dtype, measured, read_arrays
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._draw import MOST_LAYERS, check_dimensions, draw
from tnrank.factorizations._norms import check_finite, end_in_range
from tnrank.factorizations._split import split_evenly, truncated_layers
from tnrank.linalg import scaled_singular_values, singular_values
from tnrank.network import Network


class MatrixFactorization(Factorization):
    """The end matrix ``layers[0] @ layers[1] @ .. @ layers[L-1]`` of depth L.

    Args:
        layers: arrays ``(d_1, h_1), (h_1, h_2), .., (h_{L-1}, d_2)`` of one backend and dtype.

    Raises:
        ValueError: if neighboring layers do not fit; layer and sizes are named.

    Source: Razin & Cohen 2020, Sec. 2 (deep matrix factorization, with the layers in the opposite order).

    Example:
        >>> import tnrank
        >>> tnrank.MatrixFactorization.random((64, 32), depth=3, std=1e-3, seed=0)
        MatrixFactorization of order 2: 64 x 32, 4,096 parameters, float64, numpy
          depth 3: 64 - 32 - 32 - 32
    """

    __slots__ = ()
    kind: ClassVar[str] = "matrix"

    @explained
    def __init__(self, layers: Iterable[Array]) -> None:
        arrays = read_arrays(layers, "layers")
        self._fill(len(arrays), arrays)

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _chain(static)

    @classmethod
    @explained
    def random(
        cls,
        shape: Sequence[int],
        depth: int = 2,
        hidden: int | Sequence[int] | None = None,
        *,
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
            shape: ``(d_1, d_2)`` of the end matrix.
            depth: L, the number of layers.
            hidden: the hidden sizes, one or ``depth - 1``; the smaller side of ``shape`` if not given.
            std: standard deviation of every entry of every layer (``init="identity"``: what stands on the diagonal).
                With ``balanced``, that of the entries of the end matrix (Razin & Cohen 2020, App.).
            mean: added to every entry.
            init: ``"normal"`` or ``"identity"``.
            balanced: draw the end matrix and split it evenly, ``U S^(1/L), S^(1/L), .., S^(1/L) V^T``.
            seed: of NumPy's Generator; the same weights on every backend.
            backend: where the arrays live.
            dtype: the backend's default if ``None``.
            device: likewise.

        Raises:
            ValueError: for a depth below 1 or hidden sizes that do not fit it.
        """
        d = check_dimensions(shape)
        if len(d) != 2:
            raise ValueError(f"a matrix factorization has a shape of two sides, got {d}")
        depth = whole_number(depth, "depth, the number of layers,", 1, MOST_LAYERS)
        sizes: Any = min(d) if hidden is None else hidden
        sizes = [sizes] * (depth - 1) if hasattr(sizes, "__index__") else sequence(sizes, "hidden", "whole numbers")
        if len(sizes) != depth - 1:
            raise ValueError(f"depth {depth} has {depth - 1} hidden sizes, got {len(sizes)}: {sizes}")
        chain = check_dimensions([d[0], *sizes, d[1]])
        shapes = [d] if balanced else list(pairwise(chain))
        layers = draw(shapes, std, mean, init, seed, backend, dtype, device)
        return cls(split_evenly(layers[0], chain)) if balanced else cls(layers)

    @classmethod
    @explained
    def from_dense(cls, matrix: Array, rank: int | None = None, rtol: float | None = None, depth: int = 2) -> Self:
        """The balanced factorization ``U S^(1/L), S^(1/L), .., S^(1/L) V^H`` of a matrix, on its own backend.

        Args:
            matrix: array of shape ``(m, n)``.
            rank: the hidden size r of all layers, whose sizes are m - r - .. - r - n; the product is then the best
                approximation of that rank.
            rtol: in place of ``rank``: the smallest hidden size, from 1 on, with
                ``||matrix - result|| / ||matrix|| <= rtol``. Without either, max(m, n) * eps, or the rounding error of
                half precision.
            depth: L, the number of layers.

        Returns:
            Layers in the dtype of the matrix; integers become the default dtype.

        Raises:
            ValueError: for NaN or infinite entries, an empty side, ``rank`` above min(m, n), ``rank`` together with
                ``rtol``, or ``rtol`` outside [0, 1) or below eps.

        Source: Eckart & Young 1936 (truncation); Razin & Cohen 2020 (balanced layers).

        Example:
            >>> import numpy as np, tnrank
            >>> matrix = np.outer([1.0, 2.0, 3.0], np.ones(4)) + np.eye(3, 4)
            >>> tnrank.MatrixFactorization.from_dense(matrix, rank=1)
            MatrixFactorization of order 2: 3 x 4, 7 parameters, float64, numpy
              depth 2: 3 - 1 - 4
            >>> x = tnrank.MatrixFactorization.from_dense(matrix, rtol=1e-10, depth=3)
            >>> bool(np.allclose(x.to_dense(), matrix))
            True
        """
        depth = whole_number(depth, "depth, the number of layers,", 1, MOST_LAYERS)
        return cls(truncated_layers(matrix, rank, rtol, depth))

    @property
    def layers(self) -> tuple[Array, ...]:
        """The layers in the order of the product."""
        return self._values

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self._values)

    @measured
    def component_norms(self) -> Array:
        """The singular values of the end matrix, shape ``(min(d_1, d_2),)``, descending; zeros have derivative 0."""
        end, exponent, moderate = end_in_range(self)
        found = (scaled_singular_values if moderate else singular_values)(end)
        return found if exponent is None else times_power(found, exponent, self.backend)

    @kept_dtype
    def balance(self) -> Self:
        """The same end matrix with ``W_j^H W_j = W_{j+1} W_{j+1}^H`` for neighboring layers.

        Source: Razin & Cohen 2020 (balanced initialization): U S^(1/L), S^(1/L), .., S^(1/L) V^H.

        Example:
            >>> import tnrank
            >>> x = tnrank.MatrixFactorization.random((4, 5), depth=3, seed=0)
            >>> bool(x.balance().unbalancedness() < 1e-13)
            True
        """
        check_finite(self)
        chain = [self._values[0].shape[0], *(a.shape[1] for a in self._values)]
        return self._make(self._static, split_evenly(self.to_dense(), chain))

    @measured
    def unbalancedness(self) -> float:
        """The largest entry of ``W_j^H W_j - W_{j+1} W_{j+1}^H``, relative to that of either; 0 if all are 0,
        NaN if an entry is NaN or infinite.
        """
        arrays = [np.asarray(self.backend.to_numpy(a)) for a in self._values]
        arrays = [a.astype(np.promote_types(a.dtype, np.float64)) for a in arrays]
        numpy = get_backend("numpy")
        largest = np.max([peak(a, numpy) for a in arrays])
        if not np.isfinite(largest):
            return np.nan
        arrays = [over(a, unit_of(largest, numpy), numpy) for a in arrays]
        pairs = [(a.conj().T @ a, b @ b.conj().T) for a, b in pairwise(arrays)]
        scale = max((float(abs(side).max()) for pair in pairs for side in pair), default=0.0)
        return max(float(abs(left - right).max()) for left, right in pairs) / scale if scale else 0.0

    def _details(self) -> list[str]:
        sizes = [self._values[0].shape[0], *(a.shape[1] for a in self._values)]
        return [f"depth {self.depth}: {' - '.join(map(str, sizes))}"]

    def _static_to_json(self) -> Any:
        return self._static

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return whole_number(content, "its depth", 1)


@lru_cache(maxsize=256)
def _chain(depth: int) -> Network:
    labels = ["i", *(f"h{k}" for k in range(1, depth)), "j"]
    return Network({f"W{k}": (labels[k], labels[k + 1]) for k in range(depth)}, ("i", "j"))
