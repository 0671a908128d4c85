"""Convolutions whose weight is a factorization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.nn import functional

from tnrank.layers import WeightFormat, dense_from, patch_moments, stages_of, weight_format
from tnrank_torch.nn._layer import FactorizedLayer, batch, fit_layer


class _FactorizedConv(FactorizedLayer):
    dims: ClassVar[int]
    dense_class: ClassVar[Any]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
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
        # PyTorch's own layer reads and checks its arguments; on the meta device it costs nothing.
        frame = self.dense_class(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device="meta"
        )
        weight = weight_format(
            "conv",
            tuple(frame.weight.shape),
            structure,
            rank=rank,
            parameters=parameters,
            modes=modes,
            depth=depth,
            groups=groups,
        )
        super().__init__(weight, torch.zeros(out_channels) if bias else None, recompute)
        self._take_options(frame)
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
        inputs: torch.Tensor | None = None,
        recompute: bool = False,
    ) -> Self:
        """The factorized convolution nearest to a trained one; its ``error`` says how near.

        Args:
            layer: of the class that this one stands for.
            structure: see :meth:`FactorizedLinear.from_layer`, as for the others.
            rank: as there.
            rtol: as there.
            parameters: as there.
            modes: as there.
            depth: as there.
            inputs: images ``(M, channels, *sides)`` that the layer sees: the error of its outputs for them is made
                small, in place of that of its weight.
            recompute: as there.

        Raises:
            TypeError: for another layer, or a quantized weight.
            ValueError: as for new layers.
        """
        if not isinstance(layer, cls.dense_class):
            raise TypeError(f"got a {type(layer).__name__}, needed a torch.nn.{cls.dense_class.__name__}")
        frame: Any = layer
        settings = {"structure": structure, "rank": rank, "rtol": rtol, "parameters": parameters, "modes": modes}
        moments = None if inputs is None else cls._moments(frame, batch(inputs))
        fit = fit_layer(frame.weight, "conv", {**settings, "depth": depth, "groups": frame.groups}, moments)
        return cls._of_fit(frame, fit, recompute)

    @classmethod
    def _moments(cls, frame: Any, images: torch.Tensor) -> Any:
        if images.ndim not in (cls.dims + 1, cls.dims + 2) or images.shape[-cls.dims - 1] != frame.in_channels:
            sides = ", ".join(["side"] * cls.dims)
            raise ValueError(f"inputs have shape {tuple(images.shape)}, needed (batch, {frame.in_channels}, {sides})")
        images = images if images.ndim == cls.dims + 2 else images[None]
        options = {"groups": frame.groups, "stride": frame.stride, "dilation": frame.dilation}
        pads = _pads(frame)
        return patch_moments(images, frame.kernel_size, pads=pads, padding_mode=frame.padding_mode, **options)

    @classmethod
    def empty_like(cls, layer: Any, *, bias: bool, recompute: bool = False, **settings: Any) -> Self:
        """A layer of the sizes and the geometry of a dense one, without content."""
        weight = weight_format("conv", tuple(layer.weight.shape), groups=layer.groups, **settings)
        return cls._beside(layer, weight, bias, recompute)

    def _set_format(self, weight: WeightFormat) -> None:
        super()._set_format(weight)
        self._dense_from = dense_from(weight)

    def _take_options(self, frame: Any) -> None:
        self.in_channels, self.out_channels, self.groups = frame.in_channels, frame.out_channels, frame.groups
        self.kernel_size, self.stride, self.dilation = frame.kernel_size, frame.stride, frame.dilation
        self.padding, self.padding_mode = frame.padding, frame.padding_mode
        self._pads = _pads(frame)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs ``(batch, out_channels, *sides)`` of inputs ``(batch, in_channels, *sides)``, or without batch."""
        if input.ndim not in (self.dims + 1, self.dims + 2) or input.shape[-self.dims - 1] != self.in_channels:
            sides = ", ".join(["side"] * self.dims)
            raise ValueError(f"inputs have shape {tuple(input.shape)}, needed (batch, {self.in_channels}, {sides})")
        x, arrays, bias = self._cast(input)
        uneven = any(before != behind for before, behind in self._pads)
        pads = [before for before, _ in self._pads]
        if self.padding_mode != "zeros" or uneven:
            around = [side for pair in reversed(self._pads) for side in pair]
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x, pads = functional.pad(x, around, mode), [0] * self.dims
        run = self._dense if self._places(x) >= self._dense_from else self._chain
        y = self._run(lambda given, inputs: run(given, inputs, pads), x, arrays)
        return y if bias is None else y + bias.reshape(-1, *[1] * self.dims)

    def _places(self, x: torch.Tensor) -> float:
        """Output locations, about; of a symbolic shape, those of the example."""
        count = 1.0
        for place, size in enumerate(x.shape):
            if place != x.ndim - self.dims - 1:
                count *= self._seen(size, place)
        for step in self.stride:
            count /= step
        return count

    def _dense(self, arrays: Mapping[str, torch.Tensor], x: torch.Tensor, pads: Sequence[int]) -> torch.Tensor:
        weight: torch.Tensor = self.format.dense(arrays)
        return self._convolve(x, weight, None, self.stride, tuple(pads), self.dilation, self.groups)

    def _chain(self, arrays: Mapping[str, torch.Tensor], x: torch.Tensor, pads: Sequence[int]) -> torch.Tensor:
        for stage in stages_of(self.format, arrays):

            def along(values: Sequence[int], usual: int, axes: tuple[int, ...] = stage.axes) -> tuple[int, ...]:
                return tuple(values[axis] if axis in axes else usual for axis in range(self.dims))

            stride, dilation = along(self.stride, 1), along(self.dilation, 1)
            x = self._convolve(x, stage.weight, None, stride, along(pads, 0), dilation, stage.groups)
        return x

    @property
    def _convolve(self) -> Callable[..., torch.Tensor]:
        return functional.conv1d if self.dims == 1 else functional.conv2d

    def collapse(self) -> nn.Module:
        """The dense convolution that computes the same."""
        weight = self.dense_weight().detach().contiguous()
        made: Any = self.dense_class(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.bias is not None,
            self.padding_mode,
            device="meta",
        )
        made.weight = nn.Parameter(weight)
        made.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        return made  # type: ignore[no-any-return]  # a class of torch.nn


class FactorizedConv1d(_FactorizedConv):
    """A convolution along one axis with a factorized weight, as a chain of small ones or dense, whichever is faster.

    Args:
        in_channels: of the inputs.
        out_channels: of the outputs.
        kernel_size: side of the window.
        stride: step between windows.
        padding: zeros on both sides, ``"same"`` or ``"valid"``.
        dilation: distance of the window's entries.
        groups: of channels; each has a factorization of its own, of the same ranks.
        bias: whether there is one.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        structure: ``"mf"``, ``"cp"``, ``"tucker"`` (whose core keeps the window), ``"tt"`` or ``"htf"``; see
            :class:`FactorizedLinear`, as for the others.
        rank: as there.
        parameters: as there.
        modes: one mode a side here.
        depth: as there.
        std: as there.
        balanced: as there.
        seed: as there.
        recompute: as there.
        device: as there.
        dtype: as there.

    Raises:
        ValueError: for ranks that do not fit; what is possible is named.

    Source: Lebedev et al. 2015 (CP); Kim et al. 2016 (Tucker).

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> layer = nn.FactorizedConv1d(16, 32, 5, padding=2, structure="tt", rank=8)
        >>> layer(torch.ones(2, 16, 40)).shape
        torch.Size([2, 32, 40])
    """

    dims: ClassVar[int] = 1
    dense_class: ClassVar[Any] = nn.Conv1d


class FactorizedConv2d(_FactorizedConv):
    """A convolution on planes with a factorized weight; arguments as of :class:`FactorizedConv1d`, sides as pairs.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> layer = nn.FactorizedConv2d(64, 64, 3, padding=1, structure="cp", parameters=0.1)
        >>> layer(torch.ones(2, 64, 8, 8)).shape
        torch.Size([2, 64, 8, 8])
        >>> print(layer.format)
        cp, rank 27, 3,618 of 36,864 parameters (9.8 %)
    """

    dims: ClassVar[int] = 2
    dense_class: ClassVar[Any] = nn.Conv2d


def _pads(frame: Any) -> list[tuple[int, int]]:
    """What is padded before and behind every axis; unequal for "same" with an even window."""
    sides = list(frame._reversed_padding_repeated_twice)
    return [(sides[2 * k], sides[2 * k + 1]) for k in reversed(range(len(sides) // 2))]
