"""What ``optimize=`` may be: a name, a path, a contraction tree or a path finder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tnrank._backend import host_array
from tnrank._check import sequence, shown
from tnrank._typing import Label
from tnrank.network._path import Problem, explicit_path

if TYPE_CHECKING:
    from tnrank.network._network import Network

NAMED = ("auto", "auto-hq", "tree", "greedy", "optimal", "dp", "random-greedy", "cotengra")
_HEAD = "einsum_path"  # NumPy's mark of a path


@dataclass(frozen=True)
class Order:
    """A path in static single assignment form, and of which sliced indices how many elements are handled at once."""

    method: str
    path: tuple[tuple[int, int], ...]
    slices: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class GivenOrder:
    """An order that the caller gave."""

    order: Order


class Finder:
    """A path finder that the caller gave; the same object is the same finder, hashable or not."""

    def __init__(self, function: Any) -> None:
        self.function = function
        inner = getattr(function, "_suboptimizer_kwargs", None) or getattr(function, "kwargs", None)
        options = inner if isinstance(inner, Mapping) else vars(function) if hasattr(function, "__dict__") else {}
        self.slices = any(options.get(name) not in (None, "auto") for name in ("slicing_opts", "slicing_reconf_opts"))
        """Whether it slices: then it must see the batch indices, which count in the sizes that it keeps to."""

    def search(self, problem: Problem) -> Order:
        """Run it.

        Raises:
            TypeError: if it cannot be called with inputs, output and sizes, or gives no path.
            ValueError: if its path does not contract the network.
        """
        count = len(problem.inputs)
        if hasattr(self.function, "search"):  # cotengra's: its trees know which indices are sliced
            inputs, output, sizes = problem.ordered(self.slices)
            found = self.function.search(inputs, output, sizes)
            if _is_tree(found) and tuple(map(tuple, found.inputs)) != inputs:
                raise ValueError(
                    f"the path finder {shown(self.function)} gave the tree of another network, which it has kept: "
                    "make a new one for each network"
                )
        else:
            found = self.call(*problem.seen(self.slices))
        try:
            if _is_tree(found):
                return _tree_order(found, "given finder", count, {k: k for k in range(len(problem.sizes))})
            return Order("given finder", tuple(explicit_path(_path_of(found), count)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"the path finder {shown(self.function)} gave no path: {error}") from None

    def call(self, inputs: Any, output: Any, sizes: Any) -> Any:
        """Call it as opt_einsum does, or without the memory limit, which not all finders take."""
        return self.function(*self.arguments(inputs, output, sizes))

    def arguments(self, inputs: Any, output: Any, sizes: Any) -> tuple[Any, ...]:
        """What it can be called with.

        Raises:
            TypeError: if it takes neither three nor four arguments.
        """
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError):  # written in another language
            return inputs, output, sizes
        for arguments in ((inputs, output, sizes), (inputs, output, sizes, None)):
            try:
                signature.bind(*arguments)
            except TypeError:
                continue
            return arguments
        raise TypeError(
            f"the path finder {shown(self.function)} takes {signature}, needed one that is called as "
            "finder(inputs, output, sizes, memory_limit=None), as opt_einsum's are"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Finder) and other.function is self.function

    def __hash__(self) -> int:
        return hash((Finder, id(self.function)))


def read(optimize: Any, network: Network) -> str | Finder | GivenOrder:
    """``optimize`` in a form that can be compared and hashed.

    Raises:
        TypeError: if it is of another kind; what may be given is listed.
        ValueError: if the name is unknown, or a path or tree does not fit the network.
    """
    if isinstance(optimize, str):
        if optimize not in NAMED:
            raise ValueError(
                f"unknown optimize={shown(optimize)}: one of {', '.join(NAMED)}, a path, a contraction tree or a "
                "path finder"
            )
        return str(optimize)
    if isinstance(optimize, type):
        raise TypeError(f"optimize is {shown(optimize)}, needed a path finder made from it: {optimize.__qualname__}()")
    count = len(network.tensors)
    if _is_tree(optimize):
        return GivenOrder(_tree_order(optimize, "given tree", count, _labels_of_tree(optimize, network)))
    path = _path_of(optimize)
    if path is optimize and callable(optimize):
        finder = Finder(optimize)
        if not hasattr(optimize, "search"):
            finder.arguments((), (), {})
        return finder
    if isinstance(path, (bytes, Mapping)) or not hasattr(path, "__iter__"):
        raise TypeError(
            f"optimize is one of {', '.join(map(repr, NAMED))}, a path such as [(0, 1), (0, 1)], a contraction tree or "
            f"a path finder, got {shown(optimize)}: leave it out for 'auto'"
        )
    return GivenOrder(Order("given path", tuple(explicit_path(path, count))))


def _path_of(given: Any) -> Any:
    """The path in what NumPy and opt_einsum return; else ``given`` as it is."""
    if hasattr(given, "contraction_list") and hasattr(given, "path"):  # opt_einsum's PathInfo
        return given.path
    if hasattr(given, "dtype"):
        given = host_array(given, "a path")
    if hasattr(given, "tolist") and hasattr(given, "ndim") and given.ndim == 2:
        return given.tolist()
    if not isinstance(given, (list, tuple)) or not given:
        return given
    # The functions contract_path and einsum_path return a pair: the path, and an account of it.
    if len(given) == 2 and not isinstance(given[0], str) and (isinstance(given[1], str) or _is_info(given[1])):
        given = given[0]
    if isinstance(given, (list, tuple)) and given and isinstance(given[0], str) and given[0] == _HEAD:
        given = given[1:]
    return given


def _is_info(value: Any) -> bool:
    return hasattr(value, "contraction_list")


def _is_tree(value: Any) -> bool:
    """Whether it is a contraction tree of cotengra."""
    return not isinstance(value, type) and hasattr(value, "get_ssa_path") and hasattr(value, "sliced_inds")


def _tree_order(tree: Any, method: str, count: int, labels: Mapping[Any, int]) -> Order:
    if count != tree.N:
        raise ValueError(f"the contraction tree is of {tree.N} tensors, and the network has {count}")
    if count > 1 and not tree.is_complete():
        raise ValueError("the contraction tree is not complete: call its autocomplete() first")
    slices = []
    for label, info in tree.sliced_inds.items():
        if info.project is not None:
            raise ValueError(
                f"the contraction tree keeps only element {info.project} of the index {label!r}: select it from the "
                "arrays, and give a tree of the smaller network"
            )
        slices.append((labels[label], 1))
    return Order(method, tuple(explicit_path(tree.get_path(), count)), tuple(slices))


def _labels_of_tree(tree: Any, network: Network) -> dict[Label, int]:
    """Index of ``tree`` -> number of the index of ``network``, axis by axis."""
    number = {label: k for k, label in enumerate(network.indices)}
    found: dict[Label, int] = {}
    same = len(tree.inputs) == len(network.tensors)
    for theirs, (name, ours) in zip(tree.inputs, network.tensors.items(), strict=False):
        _compare(sequence(theirs if not isinstance(theirs, str) else tuple(theirs), "a tensor", "indices"), ours, name)
        for label, own in zip(theirs, ours, strict=True):
            same = same and found.setdefault(label, number[own]) == number[own]
    if not same or len(set(found.values())) != len(found):
        raise ValueError(
            "the contraction tree is of another network: needed the same tensors, in the same order, with the same "
            f"indices, got {len(tree.inputs)} tensors that share other indices"
        )
    return found


def _compare(theirs: Sequence[Any], ours: Sequence[Any], name: str) -> None:
    if len(theirs) != len(ours):
        raise ValueError(
            f"the contraction tree is of another network: tensor {name!r} has {len(ours)} indices, in the tree "
            f"{len(theirs)}"
        )
