"""The components of an index: one a value of it, made of the slices of the tensors that meet it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Any, overload

from tnrank._backend import Backend
from tnrank._typing import Array, Arrays, Label
from tnrank.network import Network
from tnrank.theory._source import Source, check_index, read

if TYPE_CHECKING:
    from tnrank.factorizations import Factorization


@dataclass(frozen=True)
class LocalComponents:
    """Norms of the components of one index.

    Attributes:
        index: the index.
        norms: ``(R,)``, the product of the slice norms.
        slice_norms: tensor -> ``(R,)``, the Frobenius norms of its slices.
        order: K, the number of tensors that meet the index.
    """

    index: Label
    norms: Array
    slice_norms: dict[str, Array]
    order: int


@overload
def local_components(x: Factorization, /, index: Label) -> LocalComponents: ...
@overload
def local_components(x: Network, arrays: Arrays, /, index: Label) -> LocalComponents: ...
def local_components(*given: Any, **named: Any) -> LocalComponents:
    """The component norms of an index: ``local_components(x, index)`` or ``local_components(network, arrays, index)``.

    Component r of an index met by K tensors consists of the K slices at ``index = r``; its norm is the product of
    their Frobenius norms. The index ``"r"`` of a CP factorization gives the component norms; that of an interior node
    of a hierarchical factorization, its local components with K = children + 1; a bond has K = 2.

    Args:
        given: a factorization, or a network and its arrays by name; then a label of the network. An open index counts
            too: its slices are those of the end tensor.
        named: ``index`` (and ``arrays``) by name.

    Returns:
        Norms of shape ``(R,)``, R the size of the index.

    Raises:
        ValueError: if there is no such index, or one array stands at two tensors.
        TypeError: if the arrays are not real.

    Source: Razin, Maman & Cohen 2021, Sec. 3 (components); 2022, Def. 3 (local components).

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.theory import local_components
        >>> found = local_components(tnrank.CPFactorization([np.full((4, 2), 0.5), np.eye(2), np.eye(2)]), "r")
        >>> found.order, found.norms
        (3, array([1., 1.]))
    """
    source, (index,) = read("local_components", ("index",), given, named)
    return components_of(source, index)


def components_of(source: Source, index: Any) -> LocalComponents:
    """See :func:`local_components`."""
    holders = check_index(source, index)
    norms = {name: slice_norms(source.backend, *source.slices(name, index), index) for name in holders}
    return LocalComponents(index, reduce(mul, norms.values()), norms, len(holders))


def slice_norms(backend: Backend, array: Array, labels: tuple[Label, ...], index: Label) -> Array:
    """The Frobenius norms of the slices at each value of ``index``, ``(R,)``; squares of tiny numbers do not vanish."""
    place, xp = labels.index(index), backend.xp
    axes = tuple(k for k in range(len(labels)) if k != place)
    if not axes:
        return xp.abs(array)
    if 0 in array.shape:
        return xp.sum(array, axis=axes)
    largest = xp.max(xp.abs(array), axis=axes)
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    scaled = array / backend.reshape(scale, along(place, len(labels)))
    return scale * xp.sqrt(xp.sum(scaled * scaled, axis=axes))


def along(place: int, ndim: int) -> tuple[int, ...]:
    """The shape that lets an array ``(R,)`` broadcast along one axis."""
    return tuple(-1 if k == place else 1 for k in range(ndim))


@overload
def inner_indices(x: Factorization, /) -> tuple[Label, ...]: ...
@overload
def inner_indices(x: Network, /) -> tuple[Label, ...]: ...
def inner_indices(x: Any, /) -> tuple[Label, ...]:
    """The indices that carry components: summed over, and met by two tensors or more.

    Args:
        x: a factorization or a network.

    Raises:
        TypeError: if it is neither.

    Example:
        >>> import tnrank
        >>> from tnrank.theory import inner_indices
        >>> inner_indices(tnrank.HierarchicalFactorization.random((2, 2, 2, 2), width=3))
        ('r{0,1}', 'r{2,3}', 'r{0,1,2,3}')
    """
    network = x if isinstance(x, Network) else getattr(x, "network", None)
    if not isinstance(network, Network):
        raise TypeError(f"got a {type(x).__name__}, needed a factorization or a Network")
    opened = set(network.output)
    return tuple(label for label in network.indices if label not in opened and len(network.holders(label)) > 1)
