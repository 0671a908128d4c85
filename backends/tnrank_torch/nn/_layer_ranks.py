"""The rank report of a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from tnrank.radar import LayerRanks
from tnrank.radar import layer_ranks as ranks_of_weights
from tnrank_torch.nn._activations import activations_of
from tnrank_torch.nn._weights import check_module, weights_before, weights_of


def layer_ranks(
    model: nn.Module,
    initial: nn.Module | Mapping[str, Any] | None = None,
    inputs: Any = None,
    rtol: float = 0.1,
    *,
    progress: Any = None,
) -> LayerRanks:
    """Measure the ranks of every weight of a module: of linear layers, convolutions, embeddings, and any other.

    Parameters with two axes or more are measured by name. A layer with a method ``dense_weight()``, as factorized ones
    have, is one row, and the parameters inside it are none. Nothing of the model changes.

    Args:
        model: the module; wrappers of ``torch.compile`` and parallel training are looked through.
        initial: the module or its state dict before training (``copy.deepcopy(model)``); the changes ``W - W0`` are
            measured as well.
        inputs: a batch to run the model on, as a tensor, a tuple of positional arguments or a mapping of named ones.
            The effective rank of what each layer gives, a matrix (samples, features), is measured as well; the model is
            in evaluation mode for that.
        rtol: in (0, 1); ranks are given at which compressed weights have this relative error.
        progress: called with words and the share that is done.

    Returns:
        A :class:`tnrank.radar.LayerRanks`.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if it has no weights, a layer is quantized or not initialized, or as
            :func:`tnrank.radar.layer_ranks`.

    Source: as :func:`tnrank.radar.layer_ranks`.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        >>> report = nn.layer_ranks(model, inputs=torch.randn(100, 64))
        >>> [(row.name, row.matrix.rank, row.activations_width) for row in report]
        [('0.weight', 32, 32), ('2.weight', 10, 10)]
    """
    plain = check_module(model)
    weights = weights_of(plain, vectors=True)
    outputs = None if inputs is None else activations_of(plain, inputs)
    return ranks_of_weights(weights, weights_before(initial), outputs, rtol, progress=progress)
