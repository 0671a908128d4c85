"""What all factorized layers share: arrays as leaves, the format beside them, the dense weight, pruning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import reduce
from typing import Any, Self, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import tnrank
from tnrank.layers import Fit, Pruned, WeightFormat, fit_weight, initial, initial_bias, learning_rates, prune_weight

M = TypeVar("M", bound=eqx.Module)

MAPPED = 64
"""Inputs that one input stands for: Equinox's programs map their layers over a batch, which a layer does not see."""


class FactorizedLayer(eqx.Module):
    """A layer whose weight is a network of small tensors.

    Attributes:
        arrays: the tensors by name, leaves.
        bias: a leaf, or ``None``.
        format: structure, modes and ranks of the weight, a :class:`tnrank.layers.WeightFormat`; static.
        error: relative error of the weight that the layer was made from, or ``None``.
        recompute: whether intermediates are computed again in the backward pass, instead of being kept.
    """

    arrays: dict[str, Any]
    bias: Any
    format: WeightFormat = eqx.field(static=True)
    error: float | None = eqx.field(static=True)
    recompute: bool = eqx.field(static=True)

    @property
    def structure(self) -> str:
        """The name of the structure."""
        return self.format.structure

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    @property
    def weight(self) -> jax.Array:
        """The dense weight, built anew at each access; gradients flow through it."""
        return self.dense_weight()

    def dense_weight(self) -> jax.Array:
        """The dense weight, in the shape of the layer that this one stands for."""
        dense: jax.Array = self.format.dense(self.arrays)
        return dense

    def value(self, group: int = 0) -> tnrank.Factorization:
        """The weight of one group as a factorization of the present arrays; gradients flow through it."""
        return self.format.value(self.arrays, group)

    def learning_rates(self, optimizer: str = "adam") -> dict[str, float]:
        """Name of a leaf -> factor on the learning rate of the dense layer.

        Source: Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024, Sec. 4.
        """
        rates = {f"arrays.{name}": rate for name, rate in learning_rates(self.format, optimizer).items()}
        return rates if self.bias is None else {**rates, "bias": 1.0}

    def collapse(self) -> Any:
        """The dense layer that computes the same."""
        raise NotImplementedError

    def prune(
        self, rtol: float | None = None, keep: int | None = None
    ) -> tuple[Self, dict[Any, np.ndarray[Any, Any]], float]:
        """Drop the smallest components of every inner index.

        Args:
            rtol: bounds the relative error of the weight.
            keep: components to keep at each index, at most; one of the two.

        Returns:
            The layer without them; {inner index: norms of its components before, descending, relative to the weight's};
            and the relative error.

        Raises:
            ValueError: if not one of the two is given, or nothing would be left.
            TypeError: inside a compiled function, where arrays have no values yet.

        Source: singular values at an index of two tensors (Oseledets 2011); norms of components at others.
        """
        layer, found = self.cut(rtol, keep, {})
        return layer, found.norms, found.error

    def cut(
        self, rtol: float | None, keep: int | None, moments: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Self, Pruned]:
        """What :meth:`prune` does, with the moments of an optimizer; see :func:`tnrank.layers.prune_weight`."""
        if any(isinstance(array, jax.core.Tracer) for array in self.arrays.values()):
            raise TypeError("ranks are shapes, which a compiled function cannot choose: prune outside of it")
        found = prune_weight(
            self.format, _host(self.arrays), {kind: _host(m) for kind, m in moments.items()}, rtol, keep
        )
        arrays = {name: like(self.arrays[name], array) for name, array in found.arrays.items()}
        return changed(self, arrays=arrays, format=found.weight, error=None), found  # the error was that of the fit

    def _run(self, fn: Callable[[dict[str, Any], Any], jax.Array], x: Any, dtype: Any) -> jax.Array:
        arrays = {name: self.arrays[name].astype(dtype) for name in self.format.parts}
        return jax.checkpoint(fn)(arrays, x) if self.recompute else fn(arrays, x)

    def __repr__(self) -> str:
        if not all(eqx.is_array(array) for array in self.arrays.values()):
            return super().__repr__()  # gradients and shapes in place of arrays
        stated = "" if self.error is None else f", error {self.error:.2g}"
        sizes = " x ".join(map(str, self.format.shape))
        return f"{type(self).__name__}({sizes}, use_bias={self.use_bias}, {self.format}{stated})"


def made(kind: type[M], **values: Any) -> M:
    """A module of these fields, past its constructor, as Equinox itself makes one of its leaves."""
    module = object.__new__(kind)
    for field in fields(kind):
        object.__setattr__(module, field.name, values.pop(field.name))
    assert not values, f"{kind.__name__} has no fields {list(values)}"
    return module


def changed(module: M, **values: Any) -> M:
    """A module with other values of some fields, static ones too."""
    own = {field.name: getattr(module, field.name) for field in fields(module)}
    return made(type(module), **{**own, **values})


def drawn(
    weight: WeightFormat,
    outputs: int | None,
    key: Any,
    seed: int | None,
    dtype: Any,
    device: Any,
    std: float | None,
    balanced: bool,
) -> tuple[dict[str, Any], Any]:
    """Initial arrays, and the bias of a layer with ``outputs``: drawn by NumPy's generator, seeded by the key.

    Raises:
        ValueError: if not one of ``key`` and ``seed`` is given.
    """
    if (key is None) == (seed is None):
        raise ValueError("give one of key=jax.random.key(0), as to layers of Equinox, and seed=0")
    name = dtype_name(dtype)
    wide = name if name == "float64" else "float32"

    def draw(number: int) -> tuple[dict[str, Any], Any]:
        arrays = initial(weight, number, "numpy", wide, None, std, balanced)
        return arrays, None if outputs is None else initial_bias(weight, number, "numpy", wide)

    def on_host(words: Any) -> tuple[dict[str, Any], Any]:
        return draw(reduce(lambda number, word: number << 32 | int(word), np.asarray(words).ravel(), 0))

    if isinstance(key, jax.core.Tracer):
        # Where a model is made inside a compiled function, or only its shapes are asked for.
        of_shape: Any = jax.ShapeDtypeStruct
        arrays = {part: of_shape(shape, wide) for part, shape in weight.shapes.items()}
        bias = None if outputs is None else of_shape((outputs,), wide)
        found = jax.pure_callback(on_host, (arrays, bias), jax.random.key_data(key), vmap_method="sequential")
    else:
        found = draw(seed) if seed is not None else on_host(jax.random.key_data(key))
    backend = tnrank.get_backend("jax")
    found = jax.tree.map(lambda array: backend.asarray(array, name, device), found)
    return {part: found[0][part] for part in weight.parts}, found[1]


def fit_layer(layer: Any, kind: str, settings: Mapping[str, Any], moments: Any) -> Fit:
    """The weight of a trained layer in a format.

    Raises:
        TypeError: if it is no array of floating-point numbers: quantized, or a node of ``eqx.nn.Shared``.
    """
    dense = layer.weight
    if isinstance(dense, jax.core.Tracer):
        raise TypeError("ranks are shapes, which a compiled function cannot choose: replace the layer outside of it")
    if not eqx.is_inexact_array(dense):
        name = dense.dtype if eqx.is_array(dense) else type(dense).__name__
        raise TypeError(
            f"the weight is of {name}, needed an array of floating-point numbers: dequantize the model, and untie "
            "weights of eqx.nn.Shared"
        )
    return fit_weight(dense, kind, moments=moments, **settings)


def dense_layer(kind: Any, *sizes: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    """A layer of Equinox with this weight and bias, without drawing what would be thrown away."""
    shapes = eqx.filter_eval_shape(lambda: kind(*sizes, key=jax.random.key(0), **options))
    found = eqx.tree_at(lambda layer: layer.weight, shapes, weight)
    return found if bias is None else eqx.tree_at(lambda layer: layer.bias, found, bias)


def _host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.asarray(array).astype(np.float64) for name, array in arrays.items()}


def like(old: Any, new: Any) -> jax.Array:
    """An array in the dtype of another one, and on its device if it has one."""
    devices = old.devices()
    return jnp.asarray(new, old.dtype, device=next(iter(devices)) if len(devices) == 1 else None)


def dtype_name(dtype: Any) -> str:
    """``jnp.bfloat16``, ``"bfloat16"`` and the like by name; the default if ``None``."""
    return tnrank.get_backend("jax").default_dtype if dtype is None else jnp.dtype(dtype).name
