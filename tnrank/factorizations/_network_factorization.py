"""Any network with arrays of one's own: anything that is a network can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod, sqrt
from typing import Any, ClassVar, Self

from tnrank._backend import backend_of, get_backend
from tnrank._check import sequence, whole_number
from tnrank._explained import explained
from tnrank._scale import norm_products
from tnrank._typing import Array, Label, Labels, Sizes
from tnrank.factorizations._arrays import checked_arrays, measured
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._draw import MOST_LAYERS, check_dimensions, draw
from tnrank.network import Network, contract


class NetworkFactorization(Factorization):
    """Any :class:`tnrank.Network` with its arrays.

    What is trained, saved and measured without a class of its own: deep Tucker and tensor train models, loops,
    lattices.

    Args:
        network: its output are the modes.
        arrays: tensor name -> array, or the arrays in the order of ``network.tensors``.

    Raises:
        ValueError: if arrays are missing or extra, or shapes do not fit; tensor, index and sizes are named.
        TypeError: if ``network`` is none.

    Example:
        >>> import tnrank
        >>> from tnrank.factorizations import NetworkFactorization
        >>> ring = tnrank.Network({"A": "aib", "B": "bjc", "C": "cka"}, output="ijk")
        >>> NetworkFactorization.random(ring, {"i": 4, "j": 4, "k": 4, "a": 2, "b": 2, "c": 2}, std=0.1, seed=0)
        NetworkFactorization of order 3: 4 x 4 x 4, 48 parameters, float64, numpy
          A (aib) 2 x 4 x 2
          B (bjc) 2 x 4 x 2
          C (cka) 2 x 4 x 2
    """

    __slots__ = ()
    kind: ClassVar[str] = "network"

    @explained
    def __init__(self, network: Network, arrays: Mapping[str, Array] | Sequence[Array]) -> None:
        static = _static_of(network)
        given = arrays if isinstance(arrays, Mapping) else _named(network, arrays)
        values = dict(zip(given, checked_arrays(list(given.values()), lambda: list(given)), strict=True))
        network.sizes(values)
        self._fill(static, [values[name] for name in network.tensors], validate=False)

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _network(static)

    @classmethod
    @explained
    def random(
        cls,
        network: Network,
        sizes: Sizes,
        *,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        norm: float | None = None,
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random weights.

        Args:
            network: see above.
            sizes: index -> size.
            std: standard deviation of every entry (``init="identity"``: what stands on the diagonal of matrices).
            mean: added to every entry.
            init: ``"normal"`` or ``"identity"``.
            norm: if given, the Frobenius norm of the end tensor, in place of ``std``: all arrays are drawn with
                equal norms (in expectation) and then multiplied by one number. So networks of different
                depths start from the same scale.
            seed: of NumPy's Generator; the same weights on every backend.
            backend: where the arrays live.
            dtype: the backend's default if ``None``.
            device: likewise.

        Raises:
            ValueError: if a size is missing or not a whole number from 1 on, or ``norm`` is not positive.

        Example:
            >>> import tnrank
            >>> from tnrank.factorizations import NetworkFactorization
            >>> net = tnrank.Network({"A": "ir", "B": "rj"})
            >>> x = NetworkFactorization.random(net, {"i": 3, "j": 4, "r": 2}, norm=0.5, seed=0)
            >>> round(float(x.norm()), 12)
            0.5
        """
        static = _static_of(network)
        missing = [label for label in network.indices if label not in sizes]
        if missing:
            raise ValueError(f"no size for the index {missing[0]!r}: needed {', '.join(map(str, network.indices))}")
        shapes = [check_dimensions([sizes[label] for label in labels]) for labels in network.tensors.values()]
        if norm is None:
            return cls._make(static, draw(shapes, std, mean, init, seed, backend, dtype, device))
        if not norm > 0:
            raise ValueError(f"norm is that of the end tensor and positive, got {norm}")
        # Scaled on the host in float64, so that a seed means the same on every backend.
        wide = "complex128" if (dtype or "").startswith("complex") else "float64"
        made = cls._make(static, draw(shapes, 1.0, mean, init, seed, "numpy", wide, None))
        made = cls._make(static, [a / sqrt(prod(a.shape)) for a in made._values])
        found = float(made.norm())
        if not found > 0:
            raise ValueError(
                "the drawn end tensor is zero and has no multiple of another norm: give std in place of norm"
            )
        factor = (norm / found) ** (1 / len(shapes))
        return made.map(lambda a: factor * a).to(backend, dtype or get_backend(backend).default_dtype, device)

    @measured
    def component_norms(self) -> dict[Label, Array]:
        """For every inner index, {index: ``(R,)``}: the products of the norms of the slices at each of its values.

        An index between two tensors only has these norms in the basis that the arrays happen to be in.

        Source: Razin, Maman & Cohen 2022, Def. 3, for any network.
        """
        backend = self.backend
        found: dict[Label, list[tuple[Array, int]]] = {}
        for name, labels in self.network.tensors.items():
            for label in dict.fromkeys(labels):
                if label not in self.network.output and len(self.network.holders(label)) > 1:
                    slices = _slices(name, self.arrays[name], labels, label)
                    found.setdefault(label, []).append((backend.reshape(slices, (slices.shape[0], -1)), 1))
        return dict(zip(found, norm_products(list(found.values()), None, backend), strict=True))

    def _details(self) -> list[str]:
        from tnrank.network._labels import pattern

        rows = [
            f"{name} ({pattern(labels)}) {' x '.join(map(str, array.shape))}"
            for (name, labels), array in zip(self.network.tensors.items(), self._values, strict=True)
        ]
        return rows[:12] + ([f".. {len(rows)} tensors"] if len(rows) > 12 else [])

    def _static_to_json(self) -> Any:
        tensors, output = self._static
        return [[[name, [_plain(label) for label in labels]] for name, labels in tensors], [*map(_plain, output)]]

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        tensors, output = content
        return (
            tuple((str(name), tuple(_label(one) for one in labels)) for name, labels in tensors),
            tuple(_label(one) for one in output),
        )


@explained
def deepen(network: Network, sizes: Sizes, along: Mapping[str, Label], depth: int) -> tuple[Network, dict[Label, int]]:
    """A network with a product of ``depth`` arrays in place of each of some tensors.

    The tensor keeps its name; ``depth - 1`` square matrices follow it on one of its indices. No rank is lost: the
    sizes of the new indices are that of the old one.

    Args:
        network: any.
        sizes: index -> size.
        along: tensor name -> the index of it on which the matrices go.
        depth: arrays in place of each, from 1 on.

    Returns:
        The network and the sizes of its indices.

    Raises:
        ValueError: for a depth below 1, an unknown tensor or an index that it does not have once.

    Source: Milanesi, Kadri, Ayache & Artieres 2021 (deep Tucker and tensor train factorization).

    Example:
        >>> import tnrank
        >>> from tnrank.factorizations import deepen
        >>> x = tnrank.Tucker.random((5, 5), rank=4, seed=0)
        >>> deepen(x.network, {"i0": 5, "i1": 5, "r0": 4, "r1": 4}, {"factor 0": "r0"}, depth=3)[0].to_einsum()
        'ab,bc,cd,ef,df->ae'
    """
    depth = whole_number(depth, "depth, the number of arrays in place of a tensor,", 1, MOST_LAYERS)
    missing = [label for label in network.indices if label not in sizes]
    if missing:
        raise ValueError(f"sizes has no index {missing[0]!r}: needed one size for each of {network.indices}")
    for name, label in along.items():
        if name not in network.tensors:
            raise ValueError(f"no tensor {name!r} in the network: it has {', '.join(network.tensors)}")
        if network.tensors[name].count(label) != 1:
            raise ValueError(f"the tensor {name!r} needs the index {label!r} once: it has {network.tensors[name]}")
    tensors: dict[str, Labels] = {}
    found = {label: int(sizes[label]) for label in network.indices}
    for name, labels in network.tensors.items():
        if name not in along or depth == 1:
            tensors[name] = labels
            continue
        label = along[name]
        chain: list[Label] = [*(f"{name}, {label}, {k}" for k in range(1, depth)), label]
        tensors[name] = tuple(chain[0] if one == label else one for one in labels)
        for k in range(1, depth):
            tensors[f"{name}, {k}"] = (chain[k - 1], chain[k])
            found[chain[k - 1]] = found[label]
    return Network(tensors, network.output), found


def _named(network: Network, arrays: Sequence[Array]) -> dict[str, Array]:
    arrays = sequence(arrays, "arrays", "arrays, or a mapping {name: array}")
    if len(arrays) != len(network.tensors):
        raise ValueError(f"got {len(arrays)} arrays, needed {len(network.tensors)}: {', '.join(network.tensors)}")
    return dict(zip(network.tensors, arrays, strict=True))


def _slices(name: str, array: Array, labels: tuple[Label, ...], label: Label) -> Array:
    """The array with the axis of ``label`` first; of an index that it has twice, the diagonal."""
    if labels.count(label) > 1:
        axes = tuple(label if one == label else (name, k) for k, one in enumerate(labels))
        return contract(Network({name: axes}, tuple(dict.fromkeys([label, *axes]))), {name: array})
    place = labels.index(label)
    return backend_of(array).permute(array, (place, *(k for k in range(len(labels)) if k != place)))


def _static_of(network: Any) -> Any:
    """Tensors in their order, which the equality of networks leaves out: the arrays follow it."""
    if not isinstance(network, Network):
        raise TypeError(f"got a {type(network).__name__}, needed a Network such as Network({{'A': 'ir', 'B': 'rj'}})")
    if not network.tensors:
        raise ValueError("the network has no tensors, needed at least one")
    return tuple(network.tensors.items()), network.output


@lru_cache(maxsize=256)
def _network(static: Any) -> Network:
    return Network(dict(static[0]), static[1])


def _plain(label: Any) -> Any:
    """A label as JSON; tuples become lists and come back as tuples."""
    if isinstance(label, tuple):
        return [_plain(part) for part in label]
    if isinstance(label, (str, int)) and not isinstance(label, bool):
        return label
    raise ValueError(f"the label {label!r} cannot be written to a file: needed text, whole numbers or tuples of them")


def _label(content: Any) -> Label:
    return tuple(_label(part) for part in content) if isinstance(content, list) else content
