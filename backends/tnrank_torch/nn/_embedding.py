"""Embeddings whose table is a factorization."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Self

import torch
from torch import nn

from tnrank.layers import WeightFormat, plans_of, weight_format
from tnrank_torch.nn._layer import FactorizedLayer, fit_layer


class FactorizedEmbedding(FactorizedLayer):
    """Rows of a factorized table; only what belongs to the rows that are looked up is computed.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: features of a row.
        padding_idx: a row that is 0 and stays so.
        structure: ``"mf"``, ``"cp"``, ``"tt"``, ``"ttm"`` or ``"htf"``; see :class:`FactorizedLinear`.
        rank: as there.
        parameters: as there.
        modes: as there; splits are given as ``((rows), (features))``.
        depth: as there.
        std: as there; by default entries start with variance 1, as those of ``torch.nn.Embedding``.
        balanced: as there.
        seed: as there.
        recompute: as there.
        device: as there.
        dtype: as there.

    Raises:
        ValueError: for ranks or modes that do not fit, or a ``padding_idx`` out of range.

    Source: Hrinchuk et al. 2020 (tensor-train embeddings).

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> layer = nn.FactorizedEmbedding(50_257, 768, structure="ttm", rank=16)
        >>> layer(torch.tensor([[11, 50_256]])).shape
        torch.Size([1, 2, 768])
        >>> print(layer.format)
        ttm, rank 16, 237,568 of 38,597,376 parameters (0.6 %)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        std: float | None = None,
        balanced: bool = False,
        seed: int | None = None,
        recompute: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (num_embeddings, embedding_dim)
        weight = weight_format(
            "embedding", shape, structure, rank=rank, parameters=parameters, modes=modes, depth=depth
        )
        super().__init__(weight, None, recompute)
        self.padding_idx = _row(padding_idx, num_embeddings)
        self.draw(std=std, balanced=balanced, seed=seed, dtype=dtype, device=device)

    @classmethod
    def from_layer(
        cls,
        layer: nn.Module,
        *,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        rtol: float | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        recompute: bool = False,
    ) -> Self:
        """The factorized embedding nearest to a trained one; its ``error`` says how near.

        Args:
            layer: a ``torch.nn.Embedding`` without ``max_norm``, ``scale_grad_by_freq`` and ``sparse``.
            structure: see :meth:`FactorizedLinear.from_layer`, as for the others.
            rank: as there.
            rtol: as there.
            parameters: as there.
            modes: as there.
            depth: as there.
            recompute: as there.

        Raises:
            TypeError: for another layer, or a quantized weight.
            ValueError: for an option that a factorized table does not have.
        """
        trained: Any = layer
        _check_options(trained)
        settings = {"structure": structure, "rank": rank, "rtol": rtol, "parameters": parameters}
        fit = fit_layer(trained.weight, "embedding", {**settings, "modes": modes, "depth": depth}, None)
        return cls._of_fit(trained, fit, recompute)

    @classmethod
    def empty_like(cls, layer: Any, *, bias: bool, recompute: bool = False, **settings: Any) -> Self:
        """A layer of the sizes of a dense one, without content; an embedding has no bias."""
        _check_options(layer)
        weight = weight_format("embedding", tuple(layer.weight.shape), **settings)
        return cls._beside(layer, weight, False, recompute)

    def _take_options(self, layer: Any) -> None:
        self.padding_idx = layer.padding_idx

    def _set_format(self, weight: WeightFormat) -> None:
        super()._set_format(weight)
        self.num_embeddings, self.embedding_dim = weight.shape
        self._plans = plans_of(weight)

    def dense_weight(self) -> torch.Tensor:
        dense = super().dense_weight()
        if self.padding_idx is None:
            return dense
        return dense * _others(torch.arange(self.num_embeddings, device=dense.device), self.padding_idx, dense)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Rows ``(.., embedding_dim)`` at whole numbers ``(..)``.

        Indices are looked at on the CPU only: an accelerator would wait for it, and compiled programs have no values.

        Raises:
            TypeError: if the indices are no whole numbers.
            IndexError: if one is out of range, on the CPU.
        """
        if input.is_floating_point() or input.is_complex() or input.dtype is torch.bool:
            raise TypeError(f"indices are whole numbers, got {input.dtype}")
        # Numbers of one byte do not hold all rows.
        flat = input.reshape(-1) if input.dtype in (torch.int64, torch.int32) else input.reshape(-1).long()
        self._check_range(flat)
        rows = self._seen(flat.shape[0])
        # A dense table is looked up in its own dtype under autocast, too.
        plain = torch.autocast(flat.device.type, enabled=False) if _autocast(flat) else nullcontext()
        with plain:
            y = self._run(lambda given, at: self._plans.apply(given, at, rows), flat, self._tensors())
        if self.padding_idx is not None:
            y = y * _others(flat, self.padding_idx, y)
        return y.reshape(*input.shape, self.embedding_dim)

    def _check_range(self, flat: torch.Tensor) -> None:
        # On an accelerator a look at the indices would wait for it; a compiled program has none to look at.
        if torch.compiler.is_compiling() or flat.device.type != "cpu" or not len(flat):
            return
        least, most = (int(x) for x in torch.aminmax(flat))
        if least < 0 or most >= self.num_embeddings:
            wrong = least if least < 0 else most
            raise IndexError(f"index {wrong} is out of range: the table has rows 0 to {self.num_embeddings - 1}")

    def collapse(self) -> nn.Module:
        """The dense embedding that computes the same."""
        weight = self.dense_weight().detach().contiguous()
        made = nn.Embedding(self.num_embeddings, self.embedding_dim, self.padding_idx, device="meta")
        made.weight = nn.Parameter(weight)
        return made


def _check_options(layer: Any) -> None:
    if not isinstance(layer, nn.Embedding):
        raise TypeError(f"got a {type(layer).__name__}, needed a torch.nn.Embedding")
    for name, usual in (("max_norm", None), ("scale_grad_by_freq", False), ("sparse", False)):
        if getattr(layer, name) != usual:
            raise ValueError(f"the embedding has {name}={getattr(layer, name)}, needed {usual}")


def _autocast(x: torch.Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def _row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if isinstance(padding_idx, bool) or not isinstance(padding_idx, int):
        raise TypeError(f"padding_idx is a row, a whole number, got {padding_idx!r}")
    if not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx is a row, {-rows} to {rows - 1}, got {padding_idx}")
    return padding_idx % rows


def _others(rows: torch.Tensor, padding: int, like: torch.Tensor) -> torch.Tensor:
    """1 for rows other than the one that is padded, as a column."""
    return (rows != padding).to(like.dtype)[:, None]
