"""What the layers of an Equinox module give for a batch: listeners stand in their places while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from tnrank_jax.nn._weights import Path, at


class _Sink:
    """Where listeners put what they hear; compared by identity, as static fields must be hashable."""

    def __init__(self) -> None:
        self.heard: dict[str, list[jax.Array]] = {}


class _Listener(eqx.Module):
    """A layer that also keeps what it gives; everything else is asked of the layer."""

    layer: Any
    name: str = eqx.field(static=True)
    sink: _Sink = eqx.field(static=True)

    def __call__(self, *args: Any, **named: Any) -> Any:
        output = self.layer(*args, **named)
        if isinstance(output, jax.Array) and output.ndim and jnp.issubdtype(output.dtype, jnp.floating):
            self.sink.heard.setdefault(self.name, []).append(_rows(output, self.layer))
        return output

    def __getattr__(self, name: str) -> Any:
        if name in ("layer", "name", "sink"):  # while the listener itself is being made
            raise AttributeError(name)
        return getattr(self.layer, name)


def activations_of(model: Any, weights: Mapping[str, tuple[Path, Any]], inputs: Any) -> dict[str, jax.Array]:
    """``{name of the weight: activations (samples, features)}`` of every layer with one weight that is called.

    Args:
        model: an Equinox module for one sample, which runs under ``jax.vmap`` in inference mode.
        weights: of :func:`tnrank_jax.nn._weights.weights_of`.
        inputs: a batch, or a tuple of batches for several arguments.

    Raises:
        TypeError: if the model is no module that can be called.
    """
    if not (isinstance(model, eqx.Module) and callable(model)):
        raise TypeError(
            f"inputs are for an Equinox module that is called with one sample, got a {type(model).__qualname__}: give "
            "activations to tnrank.radar.layer_ranks instead"
        )
    sink = _Sink()
    layers: dict[Path, list[str]] = {}
    for name, (path, array) in weights.items():
        # Biases of convolutions have three axes, two of size 1.
        if array.ndim >= 2 and not name.endswith("bias") and callable(at(model, path)):
            layers.setdefault(path, []).append(name)
    listening = eqx.nn.inference_mode(model)
    # The inner ones first, so that the paths of outer ones stay what they are.
    for path, names in sorted(layers.items(), key=lambda item: -len(item[0])):
        if len(names) == 1:
            listener = _Listener(at(listening, path), names[0], sink)
            listening = eqx.tree_at(partial(at, path=path), listening, listener) if path else listener

    def run(*sample: Any) -> dict[str, list[jax.Array]]:
        sink.heard = {}
        listening(*sample)
        return sink.heard

    heard = jax.vmap(run)(*(inputs if isinstance(inputs, (tuple, list)) else (inputs,)))
    return {name: jnp.concatenate([_flat(part) for part in parts]) for name, parts in heard.items()}


def _rows(output: jax.Array, layer: Any) -> jax.Array:
    """The output for one sample as a matrix (places, features)."""
    if isinstance(layer, (eqx.nn.Conv, eqx.nn.ConvTranspose)):
        output = jnp.moveaxis(output, 0, -1)
    return output.reshape(-1, output.shape[-1])


def _flat(part: jax.Array) -> jax.Array:
    return part.reshape(-1, part.shape[-1])
