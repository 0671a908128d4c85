"""Embeddings whose table is a factorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tnrank.layers import plans_of, weight_format
from tnrank_jax.nn._layer import MAPPED, FactorizedLayer, dense_layer, drawn, fit_layer, made


class FactorizedEmbedding(FactorizedLayer):
    """Rows of a factorized table; only what belongs to the rows that are looked up is computed.

    Args:
        num_embeddings: rows of the table.
        embedding_size: features of a row.
        padding_idx: a row that is 0 and stays so.
        dtype: JAX's default if ``None``.
        key: see :class:`FactorizedLinear`, as for the others.
        seed: as there.
        structure: ``"mf"``, ``"cp"``, ``"tt"``, ``"ttm"`` or ``"htf"``.
        rank: as there.
        parameters: as there.
        modes: as there; splits are given as ``((rows), (features))``.
        depth: as there.
        std: as there; by default entries start with variance 1, as those of ``eqx.nn.Embedding``.
        balanced: as there.
        recompute: as there.
        device: as there.

    Raises:
        ValueError: for ranks or modes that do not fit, or a ``padding_idx`` out of range.

    Source: Hrinchuk et al. 2020 (tensor-train embeddings).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnrank_jax import nn
        >>> layer = nn.FactorizedEmbedding(50_257, 768, structure="ttm", rank=16, key=jax.random.key(0))
        >>> layer(jnp.array([[11, 50_256]])).shape, layer(11).shape
        ((1, 2, 768), (768,))
        >>> print(layer.format)
        ttm, rank 16, 237,568 of 38,597,376 parameters (0.6 %)
    """

    padding_idx: int | None = eqx.field(static=True)

    def __init__(
        self,
        num_embeddings: int,
        embedding_size: int,
        padding_idx: int | None = None,
        dtype: Any = None,
        *,
        key: Any = None,
        seed: int | None = None,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        std: float | None = None,
        balanced: bool = False,
        recompute: bool = False,
        device: Any = None,
    ) -> None:
        size = (num_embeddings, embedding_size)
        weight = weight_format("embedding", size, structure, rank=rank, parameters=parameters, modes=modes, depth=depth)
        self.padding_idx = _row(padding_idx, weight.shape[0])
        self.arrays, self.bias = drawn(weight, None, key, seed, dtype, device, std, balanced)
        self.format, self.error, self.recompute = weight, None, bool(recompute)

    @classmethod
    def from_layer(
        cls,
        layer: Any,
        *,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        rtol: float | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        padding_idx: int | None = None,
        recompute: bool = False,
    ) -> Self:
        """The factorized embedding nearest to a trained one; its ``error`` says how near.

        Args:
            layer: an ``eqx.nn.Embedding``.
            structure: see :meth:`FactorizedLinear.from_layer`, as for the others.
            rank: as there.
            rtol: as there.
            parameters: as there.
            modes: as there.
            depth: as there.
            padding_idx: see above; Equinox's layer has none.
            recompute: as there.

        Raises:
            TypeError: for another layer, or a weight that is no array of floating-point numbers.
            ValueError: as for new layers.
        """
        if not isinstance(layer, eqx.nn.Embedding):
            raise TypeError(f"got a {type(layer).__name__}, needed an eqx.nn.Embedding")
        settings = {"structure": structure, "rank": rank, "rtol": rtol, "parameters": parameters}
        fit = fit_layer(layer, "embedding", {**settings, "modes": modes, "depth": depth}, None)
        return made(
            cls,
            arrays=fit.arrays,
            bias=None,
            format=fit.weight,
            error=fit.error,
            recompute=bool(recompute),
            padding_idx=_row(padding_idx, fit.weight.shape[0]),
        )

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return self.format.shape[0]

    @property
    def embedding_size(self) -> int:
        """Features of a row."""
        return self.format.shape[1]

    def dense_weight(self) -> jax.Array:
        dense = super().dense_weight()
        if self.padding_idx is None:
            return dense
        return jnp.where(jnp.arange(self.num_embeddings)[:, None] == self.padding_idx, 0, dense)

    def __call__(self, x: Any, *, key: Any = None) -> jax.Array:
        """Rows ``(.., embedding_size)`` at whole numbers ``(..)``: one, a batch, or more.

        Args:
            x: concrete indices are checked; traced ones, arguments of a compiled function, cannot be, and give NaN for
                rows out of range.
            key: not used; other Equinox layers take one.

        Raises:
            TypeError: if the indices are no whole numbers.
            IndexError: if one is out of range.
        """
        indices = jnp.asarray(x)
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise TypeError(f"indices are whole numbers, got {indices.dtype}")
        # In a type that holds all rows: bytes of text do not.
        indices, rows = indices.astype(int), self.num_embeddings
        outside = (indices < 0) | (indices >= rows)
        if not isinstance(indices, jax.core.Tracer) and outside.any():
            raise IndexError(f"index {indices[outside][0]} is out of range: the table has rows 0 to {rows - 1}")
        flat = jnp.clip(indices.reshape(-1), 0, rows - 1)
        plans, rows_seen = plans_of(self.format), flat.shape[0] if indices.ndim else MAPPED
        y = self._run(
            lambda arrays, at: plans.apply(arrays, at, rows_seen), flat, jnp.result_type(*self.arrays.values())
        )
        y = y.reshape(*indices.shape, self.embedding_size)
        if self.padding_idx is not None:
            y = jnp.where((indices == self.padding_idx)[..., None], 0, y)
        return jnp.where(outside[..., None], jnp.nan, y) if isinstance(indices, jax.core.Tracer) else y

    def collapse(self) -> eqx.nn.Embedding:
        """The dense embedding that computes the same; it trains its padded row, as Equinox has no such rows."""
        found: eqx.nn.Embedding = dense_layer(
            eqx.nn.Embedding, self.num_embeddings, self.embedding_size, weight=self.weight
        )
        return found


def _row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx is a row, {-rows} to {rows - 1}, got {padding_idx}")
    return padding_idx % rows
