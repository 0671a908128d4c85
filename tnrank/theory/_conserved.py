"""What gradient flow conserves at an index, whatever the loss."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, overload

from tnrank._typing import Array, Arrays, Label
from tnrank.network import Network
from tnrank.theory._components import components_of, inner_indices
from tnrank.theory._source import Source, check_index, read

if TYPE_CHECKING:
    from tnrank.factorizations import Factorization


@overload
def conserved_quantities(x: Factorization, /, index: Label) -> dict[tuple[str, str], Array]: ...
@overload
def conserved_quantities(x: Network, arrays: Arrays, /, index: Label) -> dict[tuple[str, str], Array]: ...
def conserved_quantities(*given: Any, **named: Any) -> dict[tuple[str, str], Array]:
    """What gradient flow leaves alone at an index: ``conserved_quantities(x, index)``.

    Or ``conserved_quantities(network, arrays, index)``. For a hyperindex the differences of the squared slice norms.
    For an ordinary bond, between two tensors and summed, the whole difference of the two Gram matrices of slices;
    its diagonal are these differences. For a matrix factorization that is W_j^T W_j - W_{j+1} W_{j+1}^T.

    Args:
        given: as in :func:`local_components`.
        named: ``index`` (and ``arrays``) by name.

    Returns:
        ``{(first tensor, other): (R,)}``, one entry for each of the K - 1 others, or ``{(tensor, tensor'): (R, R)}`` at
        an ordinary bond. Nothing where one tensor meets the index.

    Raises:
        ValueError: if there is no such index, or one array stands at two tensors.
        TypeError: if the arrays are not real.

    Source: Razin, Maman & Cohen 2021, Lemma 1 (tensors); Arora et al. 2018, Theorem 1 (matrices).

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.theory import conserved_quantities
        >>> x = tnrank.MatrixFactorization([np.eye(2), np.ones((2, 2))])
        >>> conserved_quantities(x, "h1")
        {('W0', 'W1'): array([[-1., -2.],
               [-2., -1.]])}
    """
    source, (index,) = read("conserved_quantities", ("index",), given, named)
    return _conserved(source, index)


def _conserved(source: Source, index: Any) -> dict[tuple[str, str], Array]:
    holders = check_index(source, index)
    if is_bond(source.network, index):
        first, other = holders
        return {(first, other): _gram(source, first, index) - _gram(source, other, index)}
    norms = components_of(source, index).slice_norms
    first = holders[0]
    return {(first, other): norms[first] ** 2 - norms[other] ** 2 for other in holders[1:]}


def is_bond(network: Network, index: Label) -> bool:
    """Whether the index joins two tensors, each once, and is summed: then its basis is free."""
    holders = network.holders(index)
    once = all(network.tensors[name].count(index) == 1 for name in holders)
    return len(holders) == 2 and once and index not in network.output


def _gram(source: Source, name: str, index: Label) -> Array:
    array, place = source.arrays[name], source.network.tensors[name].index(index)
    axes = (place, *(k for k in range(len(array.shape)) if k != place))
    rows = source.backend.reshape(source.backend.permute(array, axes), (array.shape[place], -1))
    return rows @ rows.mT


@overload
def unbalancedness(x: Factorization, /, index: Label = None) -> Array: ...
@overload
def unbalancedness(x: Network, arrays: Arrays, /, index: Label = None) -> Array: ...
def unbalancedness(*given: Any, **named: Any) -> Array:
    """The largest conserved quantity of an index, or of all: ``unbalancedness(x)``, ``unbalancedness(x, index)``.

    Or ``unbalancedness(network, arrays)``. At a hyperindex the largest difference of squared slice norms within a
    component, the papers' unbalancedness magnitude; at a bond the largest entry of the Gram difference. In absolute
    terms, unlike :meth:`tnrank.Factorization.unbalancedness`, which is relative to the largest.

    Args:
        given: as in :func:`local_components`; the index may be left out.
        named: ``index`` (and ``arrays``) by name.

    Returns:
        A scalar array.

    Raises:
        ValueError: if there is no such index, one array stands at two tensors, or no index is met by two tensors.
        TypeError: if the arrays are not real.

    Source: Razin, Maman & Cohen 2021, Def. 1.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.theory import unbalancedness
        >>> float(unbalancedness(tnrank.CPFactorization([np.eye(2), 3 * np.eye(2)])))
        8.0
    """
    least = 2 if given and isinstance(given[0], Network) and "arrays" not in named else 1
    if len(given) <= least and "index" not in named:
        named = {**named, "index": None}
    source, (index,) = read("unbalancedness", ("index",), given, named)
    wanted = inner_indices(source.network) if index is None else (index,)
    if not wanted:
        raise ValueError("no index of the network is met by two tensors: nothing can be unbalanced")
    xp = source.backend.xp
    return reduce(xp.maximum, [_largest(source, label) for label in wanted])


def _largest(source: Source, index: Label) -> Array:
    xp = source.backend.xp
    if is_bond(source.network, index):
        return reduce(xp.maximum, [xp.max(xp.abs(value)) for value in _conserved(source, index).values()])
    squares = [norms**2 for norms in components_of(source, index).slice_norms.values()]
    return xp.max(reduce(xp.maximum, squares) - reduce(xp.minimum, squares))
