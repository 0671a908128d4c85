"""What the laws are asked about: a network, its arrays and one index of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array, Arrays, Label
from tnrank.network import Network

_REAL = ("float16", "bfloat16", "float32", "float64")
_MOST_LISTED = 12


@dataclass(frozen=True)
class Source:
    """A network with its arrays, all of one backend and a real dtype."""

    network: Network
    arrays: Arrays
    sizes: dict[Label, int]
    backend: Backend

    def slices(self, name: str, index: Label) -> tuple[Array, tuple[Label, ...]]:
        """The tensor with ``index`` once among its labels: what lies off the diagonal is in no slice."""
        labels, array = self.network.tensors[name], self.arrays[name]
        if labels.count(index) == 1:
            return array, labels
        place = labels.index(index)
        letters = "".join(chr(97 + (place if x == index else k)) for k, x in enumerate(labels))
        kept = [k for k, x in enumerate(labels) if x != index or k == place]
        taken = self.backend.einsum(f"{letters}->{''.join(letters[k] for k in kept)}", array)
        return taken, tuple(labels[k] for k in kept)


def read(call: str, wanted: tuple[str, ...], given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Source, list[Any]]:
    """The source, and the arguments ``wanted``, of a call with a factorization or with a network and arrays.

    Raises:
        TypeError: if an argument is missing, unknown or given twice; both forms of the call are shown.
        ValueError: if the arrays do not fit the network.
    """
    forms = f"{call}(x, {', '.join(wanted)}) or {call}(network, arrays, {', '.join(wanted)})"
    if not given:
        raise TypeError(f"got nothing to look at, needed {forms}")
    x, rest = given[0], given[1:]
    names = ("arrays", *wanted) if isinstance(x, Network) else wanted
    found = dict(zip(names, rest, strict=False))
    wrong = [name for name in named if name not in names or name in found]
    if len(rest) > len(names) or wrong:
        what = f"the argument {wrong[0]!r}, unknown or twice" if wrong else f"{len(given)} arguments"
        raise TypeError(f"got {what}, needed {forms}")
    found |= named
    missing = [name for name in names if name not in found]
    if missing:
        raise TypeError(f"no {missing[0]!r} given, needed {forms}")
    if isinstance(x, Network):
        network, arrays = x, found["arrays"]
        if not hasattr(arrays, "values"):
            raise TypeError(f"arrays are a mapping, tensor name -> array, got {type(arrays).__name__}: {forms}")
    elif isinstance(getattr(x, "network", None), Network):
        network, arrays = x.network, x.arrays
    else:
        raise TypeError(f"got a {type(x).__name__}, needed a factorization or a Network: {forms}")
    sizes = network.sizes(arrays)
    backend = network.check_uniform(arrays)
    arrays = {name: backend.plain(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if backend.dtype_of(array) not in _REAL:
            raise TypeError(
                f"tensor {name!r} has dtype {backend.dtype_of(array)}: gradient flow is for real floating dtypes, "
                "for example x.to(dtype='float64')"
            )
    return Source(network, arrays, sizes, backend), [found[name] for name in wanted]


def check_index(source: Source, index: Any) -> tuple[str, ...]:
    """The tensors that meet ``index``, none of them tied to another.

    Raises:
        ValueError: if no tensor has this index, or the same array stands at two places.
    """
    network = source.network
    try:
        known = index in network.indices
    except (TypeError, ValueError):  # arrays are compared entry by entry
        known = False
    if not known:
        inner = [label for label in network.indices if label not in network.output] or list(network.indices)
        shown = ", ".join(map(repr, inner[:_MOST_LISTED])) + (", .." if len(inner) > _MOST_LISTED else "")
        raise ValueError(f"the network has no index {index!r}: needed one of {shown}")
    holders = network.holders(index)
    for name in holders:
        for other, array in source.arrays.items():
            if other != name and _same(source.arrays[name], array):
                raise ValueError(
                    f"the tensors {name!r} and {other!r} are the same array, so the index {index!r} is tied: the laws "
                    "hold for tensors that move independently; give each tensor an array of its own (a copy)"
                )
    return holders


def _same(a: Array, b: Array) -> bool:
    if a is b:
        return True
    # Overlapping bounds are rare, and only then is the exact test run.
    numpy = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return numpy and np.may_share_memory(a, b) and np.shares_memory(a, b)
