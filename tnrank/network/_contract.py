"""Contract a network, whole or with one tensor left out."""

from __future__ import annotations

from typing import Any

from tnrank._explained import explained
from tnrank._typing import Array, Arrays, Label
from tnrank.network._labels import checked_arrays, checked_network
from tnrank.network._network import Network
from tnrank.network._scalars import with_scalars


@explained
def contract(network: Network, arrays: Arrays, optimize: Any = "auto", memory_limit: int | str | None = None) -> Array:
    """Contract ``arrays`` as ``network`` says, with a plan that is made once for the same network and sizes.

    Args:
        network: which tensors share which indices.
        arrays: tensor name -> array, all of one backend and dtype. A tensor without indices may be a Python or NumPy
            scalar: it takes backend and dtype of the arrays, whatever its own dtype is; beside a complex number real
            arrays become complex, beside a fraction integers become floating. Scalars alone give a NumPy array.
        optimize: as in :meth:`tnrank.Network.plan`.
        memory_limit: likewise.

    Returns:
        The result with axes ``network.output``, on the backend, dtype and device of the arrays. Integers wrap around
        where they overflow, as those of the backend do.

    Raises:
        ValueError: for missing or extra arrays and sizes that differ; tensor, index and sizes are named.
        TypeError: for entries that are not arrays, two backends or two dtypes, arguments of another kind.

    Example:
        >>> import numpy as np, tnrank
        >>> net = tnrank.Network({"A": "ir", "B": "jr"}, output="ij")
        >>> tnrank.contract(net, {"A": np.eye(2), "B": np.ones((3, 2))})
        array([[1., 1., 1.],
               [1., 1., 1.]])
        >>> tnrank.contract(tnrank.Network.from_einsum(",i->i"), {"0": 2.0, "1": np.ones(3, "float32")})
        array([2., 2., 2.], dtype=float32)
    """
    if type(network) is not Network:
        checked_network(network)
    arrays = with_scalars(network.without_indices, checked_arrays(arrays, network.tensors))
    sizes = network.sizes(arrays)
    dtype = "float64"
    if isinstance(memory_limit, str) and arrays:
        dtype = network.check_uniform(arrays).dtype_of(next(iter(arrays.values())))
    return network.plan(sizes, optimize, memory_limit, dtype=dtype)(arrays)


@explained
def environment(network: Network, arrays: Arrays, name: str, cotangent: Array | None = None) -> Array:
    """The network with one tensor left out, or the vector-Jacobian product with that tensor.

    Args:
        network: which tensors share which indices.
        arrays: tensor name -> array; the array of ``name`` itself may be given or not.
        name: the tensor to leave out.
        cotangent: an array with the axes ``network.output``; contracted with the environment.

    Returns:
        Without a cotangent, the contraction of the other tensors: axes are the output labels still present,
        then the labels that the removed tensor shares with them. With one, the derivative of ``sum(cotangent
        * result)`` with respect to the tensor, in its own axis order. Nothing is conjugated.

    Raises:
        ValueError: if there is no such tensor, or a size does not fit.

    Example:
        >>> import numpy as np, tnrank
        >>> net = tnrank.Network({"A": "ir", "B": "jr"}, output="ij")
        >>> arrays = {"A": np.eye(2), "B": np.ones((3, 2))}
        >>> tnrank.environment(net, arrays, "A").shape
        (3, 2)
        >>> tnrank.environment(net, arrays, "A", cotangent=np.ones((2, 3)))
        array([[3., 3.],
               [3., 3.]])
    """
    rest = checked_network(network).without(name)
    arrays = checked_arrays(arrays, network.tensors)
    others = {other: array for other, array in arrays.items() if other != name}
    if cotangent is None:
        return contract(rest, others)
    labels = network.tensors[name]
    distinct = tuple(dict.fromkeys(labels))
    cotangent_name = _fresh(network, "cotangent")
    others[cotangent_name] = cotangent
    tensors: dict[str, tuple[Label, ...]] = {**rest.tensors, cotangent_name: network.output}
    present = {label for given in tensors.values() for label in given}
    kept = tuple(label for label in distinct if label in present)
    pulled = contract(Network(tensors, kept), others)
    if kept == labels:
        return pulled
    from tnrank._backend import backend_of
    from tnrank.network._lower import spread

    alone = [label for label in distinct if label not in present]
    if alone and name not in arrays:
        raise ValueError(
            f"the index {alone[0]!r} is on tensor {name!r} alone, so its size is not known: give its array as well"
        )
    sizes = dict(zip(labels, arrays[name].shape, strict=True)) if name in arrays else {}
    sizes.update(zip(kept, pulled.shape, strict=True))
    return spread(backend_of(pulled), labels, kept, pulled, sizes)


def _fresh(network: Network, name: str) -> str:
    while name in network.tensors:
        name += "'"
    return name
