"""What all factorized layers share: arrays as parameters, the dense weight, pruning, state dicts of any rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import tnrank
from tnrank.layers import Fit, Pruned, WeightFormat, fit_weight, initial, initial_bias, learning_rates, prune_weight
from tnrank_torch.nn._optimizer_state import check_optimizer, moments_of, on_host, refill, set_moments

_EXAMPLE = 64
"""Rows to plan for where no example has been seen."""


class FactorizedLayer(nn.Module):
    """A layer whose weight is a network of small tensors.

    Attributes:
        format: structure, modes and ranks of the weight, a :class:`tnrank.layers.WeightFormat`.
        arrays: the tensors by name, parameters.
        bias: a parameter, or ``None``.
        error: relative error of the weight that the layer was made from, or ``None``.
        recompute: whether intermediates are computed again in the backward pass, instead of being kept.
    """

    bias: nn.Parameter | None

    def __init__(self, weight: WeightFormat, bias: torch.Tensor | None, recompute: bool) -> None:
        super().__init__()
        self.error: float | None = None
        self._examples: dict[int, int] = {}
        self.recompute = bool(recompute)
        self.arrays = nn.ParameterDict()
        self.bias = None if bias is None else nn.Parameter(bias)
        self._set_format(weight)

    @classmethod
    def _beside(cls, layer: Any, weight: WeightFormat, bias: bool, recompute: bool) -> Self:
        """A layer in the place of a dense one, with its options and without content."""
        made = cls.__new__(cls)
        FactorizedLayer.__init__(made, weight, torch.zeros(weight.shape[0]) if bias else None, recompute)
        made._take_options(layer)
        return made

    @classmethod
    def _of_fit(cls, layer: Any, fit: Fit, recompute: bool) -> Self:
        """A layer in the place of a dense one, with the weight that was fitted to its weight, and its bias."""
        made = cls._beside(layer, fit.weight, False, recompute)
        made._fill(fit.arrays)
        bias = getattr(layer, "bias", None)
        if bias is not None:
            made.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
        made.error = fit.error
        return made

    def _fill(self, arrays: Mapping[str, torch.Tensor]) -> None:
        for name, array in arrays.items():
            self.arrays[name] = nn.Parameter(array)

    def draw(
        self,
        *,
        std: float | None = None,
        balanced: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        """New random weights; see :class:`FactorizedLinear`."""
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))  # so that torch.manual_seed makes a run repeatable
        self._fill(initial(self.format, seed, "torch", _dtype_name(dtype), device, std, balanced))
        if self.bias is not None:
            self.bias = nn.Parameter(initial_bias(self.format, seed, "torch", _dtype_name(dtype), device))

    def draw_with_norm(self, norm: float, dtype: Any, device: Any, balanced: bool, seed: int | None = None) -> None:
        """New random weights of which the dense one has this norm, balanced where the structure has such weights."""
        self.draw(seed=seed, dtype=torch.float64, balanced=balanced and self.structure in ("mf", "cp", "htf"))
        factor = (norm / float(self.dense_weight().detach().norm())) ** (1 / len(self.arrays))
        self._fill({name: (factor * array.detach()).to(dtype).to(device) for name, array in self.arrays.items()})

    def _set_format(self, weight: WeightFormat) -> None:
        _ = weight.plan  # made here, so that a compiler meets nothing but the contractions
        self.format = weight

    def _take_options(self, layer: Any) -> None:
        """The options of a dense layer that are none of its weight."""

    @property
    def structure(self) -> str:
        """The name of the structure."""
        return self.format.structure

    @property
    def weight(self) -> torch.Tensor:
        """The dense weight, built anew at each access; gradients flow through it."""
        return self.dense_weight()

    def dense_weight(self) -> torch.Tensor:
        """The dense weight, in the shape of the layer that this one stands for."""
        dense: torch.Tensor = self.format.dense(self._tensors())
        return dense

    def value(self, group: int = 0) -> tnrank.Factorization:
        """The weight of one group as a factorization of the present parameters; gradients flow through it."""
        return self.format.value(self._tensors(), group)

    def learning_rates(self, optimizer: str = "adam") -> dict[str, float]:
        """Parameter name -> factor on the learning rate of the dense layer.

        Source: Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024, Sec. 4.
        """
        rates = {f"arrays.{name}": rate for name, rate in learning_rates(self.format, optimizer).items()}
        return rates if self.bias is None else {**rates, "bias": 1.0}

    def collapse(self) -> nn.Module:
        """The dense layer that computes the same."""
        raise NotImplementedError

    def _seen(self, size: Any, place: int = 0) -> int:
        """A size to plan for: of a symbolic one that nothing may depend on, as in an export, that of the example."""
        if isinstance(size, torch.SymInt):
            hint = getattr(size.node, "hint", None)
            return self._examples.get(place, _EXAMPLE) if hint is None else int(hint)
        if torch.compiler.is_compiling():
            exporting = getattr(torch.compiler, "is_exporting", lambda: False)()
            return self._examples.get(place, _EXAMPLE) if exporting else size
        self._examples[place] = int(size)
        return int(size)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """The parameters by name: what ``dict(self.arrays)`` is, in a third of the time."""
        held = self.arrays
        return {name: getattr(held, name) for name in self.format.parts}

    def _cast(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor | None]:
        """Input, arrays and bias, in the dtype of a surrounding autocast as dense layers have them.

        Raises:
            TypeError: if the inputs have another dtype than the layer.
        """
        arrays, bias, kind = self._tensors(), self.bias, x.device.type
        own = next(iter(arrays.values())).dtype
        if torch.is_autocast_enabled(kind) and _casts(x.dtype) and _casts(own):
            dtype = torch.get_autocast_dtype(kind)
            cast = {name: array.to(dtype) for name, array in arrays.items()}
            return x.to(dtype), cast, None if bias is None else bias.to(dtype)
        if x.dtype is not own:
            raise TypeError(f"inputs are of {x.dtype}, and the layer is of {own}: layer(x.to({own}))")
        return x, arrays, bias

    def _run(
        self, fn: Callable[..., torch.Tensor], x: torch.Tensor, arrays: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return fn(arrays, x)
        names = list(arrays)

        def again(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
            return fn(dict(zip(names, values, strict=True)), x)

        kept: torch.Tensor = checkpoint(again, x, *arrays.values(), use_reentrant=False)
        return kept

    @torch.no_grad()
    def prune(
        self, rtol: float | None = None, keep: int | None = None, optimizer: torch.optim.Optimizer | None = None
    ) -> tuple[dict[Any, np.ndarray[Any, Any]], float]:
        """Drop the smallest components of every inner index, in place; the parameters take other shapes.

        Args:
            rtol: bounds the relative error of the weight.
            keep: components to keep at each index, at most; one of the two.
            optimizer: its moments lose the same components; one that keeps moments and is not given has those of
                other shapes, with which its next step fails.

        Returns:
            {inner index: norms of its components before, descending, relative to the weight's}, and the relative error.

        Raises:
            ValueError: if not one of the two is given, nothing would be left, or the weight has entries that are not
                finite.

        Source: singular values at an index of two tensors (Oseledets 2011); norms of components at others.
        """
        found = self._pruned(rtol, keep, optimizer)
        self._take(found, optimizer)
        return found.norms, found.error

    def _pruned(self, rtol: float | None, keep: int | None, optimizer: torch.optim.Optimizer | None) -> Pruned:
        check_optimizer(optimizer)
        held = {name: self.arrays[name] for name in self.format.parts}
        host = {name: on_host(array) for name, array in held.items()}
        return prune_weight(self.format, host, moments_of(held, optimizer), rtol, keep)

    def _take(self, found: Pruned, optimizer: torch.optim.Optimizer | None) -> None:
        for name in self.format.parts:
            refill(self.arrays[name], found.arrays[name])
            if optimizer is not None:
                set_moments(optimizer, self.arrays[name], {kind: one[name] for kind, one in found.moments.items()})
        self._set_format(found.weight)
        self.error = None  # it was that of the fit, before

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **options: Any) -> None:
        # The shapes of a state dict say its ranks: parameters take them before they are filled.
        given = {name: state_dict.get(f"{prefix}arrays.{name}") for name in self.format.parts}
        if all(value is not None for value in given.values()):
            shapes = {name: tuple(value.shape) for name, value in given.items()}
            if shapes != self.format.shapes:
                self._set_format(self.format.of_shapes(shapes))
            for name, shape in shapes.items():
                if tuple(self.arrays[name].shape) != shape:  # another layer may have shared and changed them
                    refill(self.arrays[name], np.zeros(shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def extra_repr(self) -> str:
        stated = "" if self.error is None else f", error {self.error:.2g}"
        return f"{self._sizes()}, bias={self.bias is not None}, {self.format}{stated}"

    def _sizes(self) -> str:
        return " x ".join(map(str, self.format.shape))


def fit_layer(dense: torch.Tensor, kind: str, settings: Mapping[str, Any], moments: np.ndarray[Any, Any] | None) -> Fit:
    """The weight of a trained layer in a format.

    Raises:
        TypeError: if it is quantized, or no floating-point tensor.
    """
    if not isinstance(dense, torch.Tensor) or dense.is_quantized or not dense.is_floating_point():
        name = dense.dtype if isinstance(dense, torch.Tensor) else type(dense).__name__
        raise TypeError(f"the weight is of {name}, needed floating-point numbers: dequantize the model first")
    if dense.is_meta:
        raise TypeError("the weight is on the meta device and has no values: load a state dict first")
    return fit_weight(dense.detach(), kind, moments=moments, **settings)


def batch(inputs: Any) -> torch.Tensor:
    """Inputs of a layer, without their graph.

    Raises:
        TypeError: if they are no tensor.
    """
    if not isinstance(inputs, torch.Tensor):
        raise TypeError(f"inputs is a tensor of what the layer is given, got {type(inputs).__name__}")
    return inputs.detach()


def _casts(dtype: torch.dtype) -> bool:
    """Whether autocast changes arrays of a dtype: not those of double precision, as for dense layers."""
    return dtype.is_floating_point and dtype is not torch.float64


def _dtype_name(dtype: Any) -> str:
    return str(dtype or torch.get_default_dtype()).removeprefix("torch.")
