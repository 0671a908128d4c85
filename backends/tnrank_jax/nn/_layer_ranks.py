"""The rank report of an Equinox module or a pytree of weights."""

from __future__ import annotations

from typing import Any

from tnrank.radar import LayerRanks
from tnrank.radar import layer_ranks as ranks_of_weights
from tnrank_jax.nn._activations import activations_of
from tnrank_jax.nn._weights import weights_of


def layer_ranks(
    model: Any, initial: Any = None, inputs: Any = None, rtol: float = 0.1, *, progress: Any = None
) -> LayerRanks:
    """Measure the ranks of every weight of an Equinox module, or of any pytree of arrays.

    Floating-point arrays with two axes or more are measured by their names in the tree, such as ``layers.0.weight``. A
    layer with a method ``dense_weight()``, as factorized ones have, is one row, and the arrays inside it are none.

    Args:
        model: a module, or a pytree of arrays such as Flax's parameters.
        initial: the same before training; the changes ``W - W0`` are measured as well.
        inputs: a batch, or a tuple of batches for several arguments: an Equinox module runs on it under ``jax.vmap``,
            in inference mode, and the effective rank of what each layer gives is measured as well. Layers that are
            called inside ``jax.lax.scan`` or an inner ``jax.jit`` cannot be listened to.
        rtol: in (0, 1); ranks are given at which compressed weights have this relative error.
        progress: called with words and the share that is done.

    Returns:
        A :class:`tnrank.radar.LayerRanks`.

    Raises:
        TypeError: if ``inputs`` are given for something else than a module.
        ValueError: if there are no weights, one is quantized, or as :func:`tnrank.radar.layer_ranks`.

    Source: as :func:`tnrank.radar.layer_ranks`.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnrank_jax import nn
        >>> model = eqx.nn.MLP(8, 3, width_size=16, depth=1, key=jax.random.key(0))
        >>> report = nn.layer_ranks(model, inputs=jax.random.normal(jax.random.key(1), (20, 8)))
        >>> [(row.name, row.matrix.rank, row.activations_width) for row in report]
        [('layers.0.weight', 8, 16), ('layers.1.weight', 3, 3)]
    """
    weights = weights_of(model)
    before = None if initial is None else {name: array for name, (_, array) in weights_of(initial).items()}
    outputs = None if inputs is None else activations_of(model, weights, inputs)
    arrays = {name: array for name, (_, array) in weights.items()}
    return ranks_of_weights(arrays, before, outputs, rtol, progress=progress)
