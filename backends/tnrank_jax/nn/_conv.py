"""Convolutions whose weight is a factorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tnrank.layers import dense_from, patch_moments, stages_of, weight_format
from tnrank_jax.nn._layer import MAPPED, FactorizedLayer, dense_layer, drawn, fit_layer, made

Sides = int | Sequence[int]
Pads = Sequence[tuple[int, int]]
"""Before and behind every axis."""

_PADS = {"REFLECT": "reflect", "REPLICATE": "edge", "CIRCULAR": "wrap"}


class _FactorizedConv(FactorizedLayer):
    stride: tuple[int, ...] = eqx.field(static=True)
    padding: str | tuple[tuple[int, int], ...] = eqx.field(static=True)
    dilation: tuple[int, ...] = eqx.field(static=True)
    padding_mode: str = eqx.field(static=True)

    dims: ClassVar[int]
    dense_class: ClassVar[Any]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sides,
        stride: Sides = 1,
        padding: str | int | Sequence[int] | Sequence[tuple[int, int]] = 0,
        dilation: Sides = 1,
        groups: int = 1,
        use_bias: bool = True,
        padding_mode: str = "ZEROS",
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
        # Equinox's own layer reads and checks its arguments; asked for its shapes it draws nothing.
        frame = eqx.filter_eval_shape(
            lambda: self.dense_class(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups, use_bias, padding_mode,
                key=jax.random.key(0),
            )
        )  # fmt: skip
        weight = weight_format(
            "conv", frame.weight.shape, structure, rank=rank, parameters=parameters, modes=modes, depth=depth,
            groups=groups,
        )  # fmt: skip
        outputs = out_channels if use_bias else None
        self.arrays, bias = drawn(weight, outputs, key, seed, dtype, device, std, balanced)
        self.bias = None if bias is None else bias.reshape(-1, *[1] * self.dims)
        self.format, self.error, self.recompute = weight, None, bool(recompute)
        self.stride, self.dilation = _plain(frame.stride), _plain(frame.dilation)
        self.padding, self.padding_mode = _plain(frame.padding), frame.padding_mode

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
        inputs: Any = None,
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
            TypeError: for another layer, or a weight that is no array of floating-point numbers.
            ValueError: as for new layers.
        """
        if not isinstance(layer, eqx.nn.Conv) or layer.num_spatial_dims != cls.dims:
            raise TypeError(f"got a {type(layer).__name__}, needed an eqx.nn.{cls.dense_class.__name__}")
        if inputs is not None and jnp.ndim(inputs) != cls.dims + 2:
            raise ValueError(f"inputs have shape {jnp.shape(inputs)}, needed images (M, {layer.in_channels}, *sides)")
        moments = None
        if inputs is not None:
            moments = patch_moments(
                inputs,
                layer.kernel_size,
                groups=layer.groups,
                stride=layer.stride,
                dilation=layer.dilation,
                pads=_pads(layer, jnp.shape(inputs)[2:]),
                padding_mode=layer.padding_mode.lower(),
            )
        settings = {"structure": structure, "rank": rank, "rtol": rtol, "parameters": parameters, "modes": modes}
        fit = fit_layer(layer, "conv", {**settings, "depth": depth, "groups": layer.groups}, moments)
        return made(
            cls,
            arrays=fit.arrays,
            bias=layer.bias,
            format=fit.weight,
            error=fit.error,
            recompute=bool(recompute),
            stride=_plain(layer.stride),
            padding=_plain(layer.padding),
            dilation=_plain(layer.dilation),
            padding_mode=layer.padding_mode,
        )

    @property
    def in_channels(self) -> int:
        """Channels of the inputs."""
        return self.format.shape[1] * self.format.groups

    @property
    def out_channels(self) -> int:
        """Channels of the outputs."""
        return self.format.shape[0]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Sides of the window."""
        return self.format.layout.kernel

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return self.format.groups

    def __call__(self, x: Any, *, key: Any = None) -> jax.Array:
        """Outputs ``(out_channels, *sides)`` of inputs ``(in_channels, *sides)``; or both with a batch in front.

        Args:
            x: the inputs.
            key: not used; other Equinox layers take one.

        Raises:
            ValueError: for inputs of another shape.
        """
        x = jnp.asarray(x)
        if x.ndim not in (self.dims + 1, self.dims + 2) or x.shape[-self.dims - 1] != self.in_channels:
            sides = ", ".join(["side"] * self.dims)
            raise ValueError(f"inputs have shape {x.shape}, needed ({self.in_channels}, {sides}), or a batch of them")
        single = x.ndim == self.dims + 1
        dtype = jnp.result_type(x, *self.arrays.values())
        images = (x[None] if single else x).astype(dtype)
        pads = _pads(self, images.shape[2:])
        if self.padding_mode != "ZEROS":
            images = jnp.pad(images, [(0, 0), (0, 0), *pads], _PADS[self.padding_mode])
            pads = [(0, 0)] * self.dims
        places = (MAPPED if single else len(x)) * prod(x.shape[-self.dims :]) / prod(self.stride)
        run = self._dense if places >= dense_from(self.format) else self._chain
        y = self._run(lambda arrays, inputs: run(arrays, inputs, pads), images, dtype)
        y = y[0] if single else y
        return y if self.bias is None else y + self.bias

    def _dense(self, arrays: Mapping[str, Any], x: jax.Array, pads: Pads) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, self.format.dense(arrays), self.stride, pads, rhs_dilation=self.dilation, feature_group_count=self.groups
        )

    def _chain(self, arrays: Mapping[str, Any], x: jax.Array, pads: Pads) -> jax.Array:
        for stage in stages_of(self.format, arrays):
            inside = [axis in stage.axes for axis in range(self.dims)]
            stride = [step if here else 1 for step, here in zip(self.stride, inside, strict=True)]
            dilation = [step if here else 1 for step, here in zip(self.dilation, inside, strict=True)]
            around = [pad if here else (0, 0) for pad, here in zip(pads, inside, strict=True)]
            x = jax.lax.conv_general_dilated(
                x, stage.weight, stride, around, rhs_dilation=dilation, feature_group_count=stage.groups
            )
        return x

    def collapse(self) -> Any:
        """The dense convolution that computes the same."""
        return dense_layer(
            self.dense_class,
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.use_bias,
            self.padding_mode,
            weight=self.weight,
            bias=self.bias,
        )


class FactorizedConv1d(_FactorizedConv):
    """A convolution along one axis with a factorized weight, as a chain of small ones or dense, whichever is faster.

    Args:
        in_channels: of the inputs.
        out_channels: of the outputs.
        kernel_size: side of the window.
        stride: step between windows.
        padding: on both sides, a pair for each axis, ``"SAME"``, ``"SAME_LOWER"`` or ``"VALID"``.
        dilation: distance of the window's entries.
        groups: of channels; each has a factorization of its own, of the same ranks.
        use_bias: whether there is one.
        padding_mode: ``"ZEROS"``, ``"REFLECT"``, ``"REPLICATE"`` or ``"CIRCULAR"``.
        dtype: JAX's default if ``None``.
        key: see :class:`FactorizedLinear`, as for the others.
        seed: as there.
        structure: ``"mf"``, ``"cp"``, ``"tucker"`` (whose core keeps the window), ``"tt"`` or ``"htf"``.
        rank: as there.
        parameters: as there.
        modes: one mode a side here.
        depth: as there.
        std: as there.
        balanced: as there.
        recompute: as there.
        device: as there.

    Raises:
        ValueError: for ranks that do not fit; what is possible is named.

    Source: Lebedev et al. 2015 (CP); Kim et al. 2016 (Tucker).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnrank_jax import nn
        >>> layer = nn.FactorizedConv1d(16, 32, 5, padding="SAME", structure="tt", rank=8, key=jax.random.key(0))
        >>> jax.vmap(layer)(jnp.ones((2, 16, 40))).shape
        (2, 32, 40)
    """

    dims: ClassVar[int] = 1
    dense_class: ClassVar[Any] = eqx.nn.Conv1d


class FactorizedConv2d(_FactorizedConv):
    """A convolution on planes with a factorized weight; arguments as of :class:`FactorizedConv1d`, sides as pairs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnrank_jax import nn
        >>> layer = nn.FactorizedConv2d(64, 64, 3, padding=1, structure="cp", parameters=0.1, key=jax.random.key(0))
        >>> layer(jnp.ones((64, 8, 8))).shape
        (64, 8, 8)
        >>> print(layer.format)
        cp, rank 27, 3,618 of 36,864 parameters (9.8 %)
    """

    dims: ClassVar[int] = 2
    dense_class: ClassVar[Any] = eqx.nn.Conv2d


def _pads(frame: Any, sides: tuple[int, ...]) -> Pads:
    """What a convolution pads before and behind every axis of images."""
    if not isinstance(frame.padding, str):
        return tuple(frame.padding)
    window = [step * (side - 1) + 1 for side, step in zip(frame.kernel_size, frame.dilation, strict=True)]
    return jax.lax.padtype_to_pads(sides, window, frame.stride, frame.padding)


def _plain(value: Any) -> Any:
    """Tuples in place of other sequences, so that it can be hashed."""
    return value if isinstance(value, (str, int)) else tuple(_plain(item) for item in value)
