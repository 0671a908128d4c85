"""The projection of the gradient on all components of an index, in one contraction."""

from __future__ import annotations

from math import prod
from typing import Any

from tnrank._alike import default_or_named_device
from tnrank._typing import Array, Label
from tnrank.factorizations._entries import EntryPlan
from tnrank.network import Network, contract
from tnrank.theory._components import LocalComponents, along
from tnrank.theory._source import Source


def projection(source: Source, components: LocalComponents, gradient: Any) -> Array:
    """``<-gradient, C_r>`` for every r, ``(R,)``: the network with unit slices, the gradient as one more tensor.

    C_r is the network with only slice r of the index kept, its slices normalized; 0 where the component is.
    """
    index, tensors, arrays = components.index, dict(source.network.tensors), dict(source.arrays)
    xp, reshape = source.backend.xp, source.backend.reshape
    for name, norms in components.slice_norms.items():
        array, labels = source.slices(name, index)
        scale = xp.where(norms > 0, norms, xp.ones_like(norms))
        tensors[name] = labels
        arrays[name] = array / reshape(scale, along(labels.index(index), len(labels)))
    unit = Source(Network(tensors, source.network.output), arrays, source.sizes, source.backend)
    if isinstance(gradient, (tuple, list)):
        return -_sparse(unit, index, *_pair(gradient))
    return -_dense(unit, index, gradient)


def _pair(gradient: Any) -> tuple[Any, Any]:
    if len(gradient) != 2:
        raise ValueError(
            f"a sparse gradient is a pair (indices of shape (M, N), values of shape (M,)), got {len(gradient)} items"
        )
    return gradient[0], gradient[1]


def _dense(unit: Source, index: Label, gradient: Array) -> Array:
    network = unit.network
    name = fresh(network)
    shape = tuple(unit.sizes[label] for label in network.output)
    if not hasattr(gradient, "shape") or tuple(gradient.shape) != shape:
        got = f"shape {tuple(gradient.shape)}" if hasattr(gradient, "shape") else f"a {type(gradient).__name__}"
        raise ValueError(f"the gradient has the shape {shape} of the end tensor, or is (indices, values); got {got}")
    gradient = unit.backend.asarray(gradient) if not shape else gradient  # NumPy's scalars are not arrays
    whole = Network({**network.tensors, name: network.output}, (index,))
    return contract(whole, {**unit.arrays, name: gradient})


def _sparse(unit: Source, index: Label, indices: Any, values: Array) -> Array:
    network, backend = unit.network, unit.backend
    plan = EntryPlan.of(network, unit.sizes, indices)
    count = len(plan.indices)
    if not hasattr(values, "shape") or tuple(values.shape) != (count,):
        raise ValueError(
            f"a sparse gradient has one value an entry, shape ({count},), got {getattr(values, 'shape', values)!r}"
        )
    given = [unit.arrays[name] for name in network.tensors]
    device = default_or_named_device(given[0])
    if plan.dense:
        entries = backend.asarray(plan.linear, device=device)
        flat = backend.scatter_add((prod(plan.shape),), 0, entries, values)
        return _dense(unit, index, backend.reshape(flat, plan.shape))
    if index in network.output:
        found = plan.evaluate(backend, given, plan.positions(backend, device)) * values
        at = backend.asarray(plan.indices[:, network.output.index(index)], device=device)
        return backend.scatter_add((unit.sizes[index],), 0, at, found)
    name = fresh(network)
    rows = Network({**plan.row_network.tensors, name: plan.row_network.output}, (index,))
    return contract(rows, {**plan.gather(backend, given, plan.positions(backend, device)), name: values})


def fresh(network: Network) -> str:
    """A name for the gradient that no tensor has."""
    name = "gradient"
    while name in network.tensors:
        name += "'"
    return name
