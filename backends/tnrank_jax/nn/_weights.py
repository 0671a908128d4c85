"""The arrays of an Equinox module, or of any pytree, by name."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Path = tuple[Any, ...]


def weights_of(model: Any) -> dict[str, tuple[Path, Any]]:
    """``{name: (path to the layer, array)}`` of the floating-point arrays of a pytree.

    A node with a method ``dense_weight`` is one weight, ``NAME.weight``, and arrays inside it are not listed. An array
    that stands at two places is listed once.

    Raises:
        ValueError: if a weight is quantized; it is named.
    """
    found: dict[str, tuple[Path, Any]] = {}
    seen: set[int] = set()
    for path, leaf in jax.tree_util.tree_flatten_with_path(model, is_leaf=_is_factorized)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if _is_factorized(leaf):
            found[f"{name}.weight" if name else "weight"] = path, leaf.dense_weight()
        elif isinstance(leaf, (jax.Array, np.ndarray)) and id(leaf) not in seen:
            seen.add(id(leaf))
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                found[name] = path[:-1], leaf
            elif leaf.ndim >= 2 and "weight" in name.rpartition(".")[2]:
                raise ValueError(
                    f"the weight {name!r} holds {leaf.dtype} and is quantized, and ranks are those of floating-point "
                    "weights: measure the model before it is quantized"
                )
    return found


def at(model: Any, path: Path) -> Any:
    """The node of a pytree at a path."""
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            model = getattr(model, key.name)
        elif isinstance(key, jax.tree_util.SequenceKey):
            model = model[key.idx]
        else:
            model = model[key.key]
    return model


def _is_factorized(node: Any) -> bool:
    return not isinstance(node, type) and callable(getattr(node, "dense_weight", None))
