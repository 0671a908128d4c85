"""A module that holds the arrays of a factorization."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import tnrank


class Factorization(eqx.Module):
    """A factorization whose arrays are leaves of an Equinox module, for one's own training loop.

    ``arrays`` has them by name. :meth:`value` is the factorization of them, differentiable, and calling the module
    gives entries or the whole end tensor. ``filter_jit``, ``filter_grad``, ``tree_at``, ``tree_serialise_leaves`` and
    the like work as on every module.

    Args:
        x: any factorization; one of another backend is converted to JAX first.

    Raises:
        TypeError: if ``x`` is not a factorization.

    Example:
        >>> import equinox as eqx, jax.numpy as jnp, optax, tnrank
        >>> from tnrank_jax import nn
        >>> x = tnrank.CPFactorization.random((4, 4, 4), rank=3, seed=0, backend="jax", dtype="float32")
        >>> module = nn.Factorization(x)
        >>> list(module.arrays)
        ['A0', 'A1', 'A2']
        >>> indices, values = jnp.array([[0, 1, 2], [3, 3, 3]]), jnp.array([1.0, -1.0])
        >>> optimizer = optax.adam(1e-2)
        >>> state = optimizer.init(module)
        >>> @eqx.filter_jit
        ... def step(module, state):
        ...     loss, grads = eqx.filter_value_and_grad(lambda m: ((m(indices) - values) ** 2).mean())(module)
        ...     updates, state = optimizer.update(grads, state)
        ...     return eqx.apply_updates(module, updates), state, loss
        >>> for _ in range(300):
        ...     module, state, loss = step(module, state)
        >>> bool(loss < 1e-6)
        True
        >>> module.value().component_norms().shape
        (3,)
    """

    arrays: dict[str, Any]
    _kind: type[tnrank.Factorization] = eqx.field(static=True)
    _structure: Any = eqx.field(static=True)
    _names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, x: tnrank.Factorization) -> None:
        if not isinstance(x, tnrank.Factorization):
            raise TypeError(
                f"got {type(x).__name__}, needed a factorization such as tnrank.CPFactorization.random((8, 8, 8))"
            )
        x = x if x.backend.name == "jax" else x.to("jax")
        values, self._structure = x._flatten()
        self._kind = type(x)
        self._names = tuple(str(name) for name in x.network.tensors)
        self.arrays = dict(zip(self._names, values, strict=True))

    def value(self) -> Any:
        """The factorization of the present arrays; gradients flow through it."""
        # A dict that went through a transformation has its keys in sorted order.
        return self._kind._unflatten(self._structure, [self.arrays[name] for name in self._names])

    def __call__(self, indices: Any = None, *, key: Any = None) -> jax.Array:
        """Entries at ``indices`` of shape ``(M, N)``, or the end tensor without them.

        Args:
            indices: concrete ones are checked; traced ones, arguments of a compiled function, cannot be, and give NaN
                for entries out of range.
            key: not used; other Equinox layers take one.

        Raises:
            ValueError: see :meth:`tnrank.Factorization.entries`.
        """
        x = self.value()
        if indices is None:
            found: jax.Array = x.to_dense()
        elif isinstance(indices, jax.core.Tracer):
            found = _entries_of_traced(x, indices)
        else:
            found = x.entries(indices)
        return found

    def __repr__(self) -> str:
        if all(eqx.is_array(a) for a in self.arrays.values()):
            return f"{type(self).__name__}(\n{indent(repr(self.value()), '  ')}\n)"
        return super().__repr__()  # gradients and shapes in place of arrays


def _entries_of_traced(x: tnrank.Factorization, indices: jax.Array) -> jax.Array:
    if indices.ndim != 2 or indices.shape[1] != x.ndim:
        raise ValueError(f"indices have shape (M, {x.ndim}), one column a mode, got {indices.shape}")
    entry, place = ("entry",), {label: k for k, label in enumerate(x.network.output)}
    labels, rows = {}, {}
    for (name, old), array in zip(x.network.tensors.items(), x.arrays.values(), strict=True):
        opened = [k for k, label in enumerate(old) if label in place]
        first = jnp.moveaxis(array, opened, range(len(opened)))
        at = tuple(indices[:, place[old[k]]] for k in opened)
        rows[name] = first.at[at].get(mode="fill", fill_value=jnp.nan) if at else array
        labels[name] = (*([entry] if at else []), *(label for label in old if label not in place))
    found: jax.Array = tnrank.contract(tnrank.Network(labels, (entry,)), rows)
    return found
