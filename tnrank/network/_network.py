"""The network: which tensors share which indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any

from tnrank._backend import Backend, Structure, backend_of, common_backend
from tnrank._check import instance, sequence, shown
from tnrank._explained import explained
from tnrank._typing import Array, Arrays, Label, Labels, Sizes
from tnrank.network._labels import as_labels, checked_arrays, listed, pattern
from tnrank.network._scalars import with_scalars

if TYPE_CHECKING:
    from tnrank.network._plan import ContractionPlan


class Network(Structure):
    """An immutable hypergraph of named tensors over labeled indices.

    Args:
        tensors: name -> labels of its axes. A string is one label per letter; any hashable labels as a tuple.
            A label on three or more tensors is a hyperindex; twice on one tensor, a diagonal (a trace if it
            is summed).
        output: labels of the result's axes; ``None`` takes the labels that occur once, in order of
            appearance.

    Two networks are equal, and hash alike, if they have the same tensors and output, in whatever order the
    tensors were given. All labels that are not in ``output`` are summed over.

    Raises:
        ValueError: if an output label repeats or is on no tensor, or a label string is not made of letters.
        TypeError: if a label is not hashable or a name is not a string.

    Example:
        >>> from tnrank import Network
        >>> cp = Network({"A": "ir", "B": "jr", "C": "kr"}, output="ijk")
        >>> cp.hyperindices
        ('r',)
        >>> cp == Network({"C": "kr", "A": "ir", "B": "jr"}, output="ijk")
        True
    """

    __slots__ = ("__dict__",)
    tensors: Mapping[str, tuple[Label, ...]]
    output: tuple[Label, ...]
    without_indices: tuple[str, ...]

    @explained
    def __init__(self, tensors: Mapping[str, Labels], output: Labels | None = None) -> None:
        found: dict[str, tuple[Label, ...]] = {}
        needed = "a mapping from names to labels, such as {'A': 'ir', 'B': 'jr'}"
        for name, labels in instance(tensors, "tensors", Mapping, needed).items():
            if not isinstance(name, str):
                raise TypeError(f"a tensor's name is a string, got {shown(name)}")
            found[name] = as_labels(labels, f"tensor {name!r}")
        counts: dict[Label, int] = {}
        for labels in found.values():
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
        if output is None:
            out = tuple(label for label, count in counts.items() if count == 1)
        else:
            out = as_labels(output, "the output")
            for label in out:
                if label not in counts:
                    raise ValueError(
                        f"the output has the index {label!r}, which no tensor has; indices: {listed(counts)}"
                    )
            if len(set(out)) != len(out):
                twice = next(label for label in out if out.count(label) > 1)
                raise ValueError(f"the output {pattern(out)} has the index {twice!r} twice; each index once")
        self.__dict__["tensors"] = _ReadOnly(found)
        self.__dict__["output"] = out
        # Made here: every contraction asks for it, and torch's compiler cannot trace a cached property.
        self.__dict__["without_indices"] = tuple(name for name, labels in found.items() if not labels)

    @classmethod
    @explained
    def from_einsum(cls, equation: str, names: Sequence[str] | None = None) -> Network:
        """The network of an einsum equation, with tensors called ``"0"``, ``"1"``, .. unless ``names`` are
        given.

        Raises:
            ValueError: if the equation has an ellipsis, or the names do not fit.

        Example:
            >>> import tnrank
            >>> tnrank.Network.from_einsum("ir,jr,kr->ijk").tensors["2"]
            ('k', 'r')
        """
        from tnrank.network._einsum import from_einsum

        return from_einsum(equation, names)

    def to_einsum(self) -> str:
        """The einsum equation of this network, tensors in their order; other labels are renamed to letters.

        Example:
            >>> import tnrank
            >>> tnrank.Network({"A": ("left", "bond"), "B": ("bond", "right")}).to_einsum()
            'ab,bc->ac'
        """
        from tnrank.network._einsum import to_einsum

        return to_einsum(self)

    @classmethod
    @explained
    def from_nodes(cls, nodes: Iterable[Any], output: Sequence[Any] | None = None) -> tuple[Network, dict[str, Array]]:
        """The network and the arrays of google/TensorNetwork nodes; copy nodes become hyperindices.

        Copy tensors are never built. Names (made unique), dtypes and backends are kept, and the nodes are
        left untouched. Labels are the names of the edges where these are unique, else ``"node.axis"``. A
        group of copy nodes with several dangling edges gets an identity matrix for each but the first, one
        that touches no tensor a vector of ones.

        Args:
            nodes: the nodes of the graph.
            output: all dangling edges, or their names, in the order of the result's axes; ``None`` takes them
                in the order of the nodes.

        Raises:
            ValueError: if an edge leads to a node that was not given, a node is disabled, or
                ``output`` does not name each dangling edge once.
            TypeError: if an entry is not a node.

        Example:
            >>> import numpy as np, tensornetwork as tn, tnrank
            >>> a, b = tn.Node(np.ones((2, 3)), name="a"), tn.Node(np.ones((3, 2)), name="b")
            >>> edge = a[1] ^ b[0]
            >>> network, arrays = tnrank.Network.from_nodes([a, b])
            >>> tnrank.contract(network, arrays)
            array([[3., 3.],
                   [3., 3.]])
        """
        from tnrank.network._interop import from_nodes

        return from_nodes(cls, nodes, output)

    @explained
    def to_nodes(self, arrays: Arrays) -> list[Any]:
        """google/TensorNetwork nodes of this network, hyperindices as copy nodes (last in the list).

        Edges and copy nodes are named by their labels, so ``Network.from_nodes(nodes,
        output=network.output)`` gives back a network with labels that are strings. A copy node also stands
        for a shared index of the output and for an index that one tensor sums alone.

        Raises:
            ValueError: if arrays are missing or do not fit, or tensornetwork does not know their backend.

        Example:
            >>> import numpy as np, tnrank
            >>> network = tnrank.Network({"A": "ij", "B": "jk"})
            >>> [node.name for node in network.to_nodes({"A": np.ones((2, 3)), "B": np.ones((3, 2))})]
            ['A', 'B']
        """
        from tnrank.network._interop import to_nodes

        return to_nodes(self, arrays)

    @cached_property
    def indices(self) -> tuple[Label, ...]:
        """All labels, in order of appearance."""
        return tuple(self._holders)

    @cached_property
    def _holders(self) -> dict[Label, tuple[str, ...]]:
        found: dict[Label, list[str]] = {}
        for name, labels in self.tensors.items():
            for label in dict.fromkeys(labels):
                found.setdefault(label, []).append(name)
        return {label: tuple(names) for label, names in found.items()}

    @explained
    def holders(self, label: Label) -> tuple[str, ...]:
        """The names of the tensors that carry ``label``."""
        if label not in self._holders:
            raise ValueError(f"no index {label!r} in the network: it has {listed(self.indices)}")
        return self._holders[label]

    @cached_property
    def hyperindices(self) -> tuple[Label, ...]:
        """Labels on three or more tensors."""
        return tuple(label for label, names in self._holders.items() if len(names) > 2)

    @cached_property
    def batch_indices(self) -> tuple[Label, ...]:
        """Output labels that two or more tensors carry."""
        return tuple(label for label in self.output if len(self._holders[label]) > 1)

    @explained
    def sizes(self, arrays: Arrays) -> dict[Label, int]:
        """The size of every index, read off ``arrays``; checks them against this network.

        Raises:
            ValueError: if arrays are missing or extra, have a wrong number of axes, or sizes that differ.
            TypeError: if an entry is not an array, or backends or dtypes are mixed.
        """
        shapes = {}
        arrays = with_scalars(self.without_indices, checked_arrays(arrays, self.tensors))
        for name in self.tensors:
            if name not in arrays:
                raise ValueError(
                    f"no array for the tensor {name!r}: got {listed(arrays) or 'none'}, needed {listed(self.tensors)}"
                )
            backend_of(arrays[name])
            shapes[name] = tuple(arrays[name].shape)
        extra = [name for name in arrays if name not in self.tensors]
        if extra:
            raise ValueError(f"the array {extra[0]!r} belongs to no tensor: the network has {listed(self.tensors)}")
        self._uniform(arrays)
        return self.sizes_of_shapes(shapes)

    @explained
    def check_uniform(self, arrays: Arrays) -> Backend:
        """The one backend of ``arrays``; raises TypeError for two backends or two dtypes."""
        return self._uniform(with_scalars(self.without_indices, checked_arrays(arrays, self.tensors)))

    def _uniform(self, arrays: Arrays) -> Backend:
        backend = common_backend(arrays.values(), lambda: arrays)
        first: tuple[str, Any] | None = None
        for name, array in arrays.items():
            if first is None:
                first = name, array.dtype
            elif array.dtype != first[1]:
                raise TypeError(
                    f"two dtypes in one call: tensor {first[0]!r} is {first[1]} and {name!r} is "
                    f"{array.dtype}; convert one, for example with array.astype or x.to(backend, dtype=..)"
                )
        return backend

    @explained
    def sizes_of_shapes(self, shapes: Mapping[str, Sequence[int]]) -> dict[Label, int]:
        """The size of every index from the tensors' shapes.

        Raises:
            ValueError: naming tensor, index and sizes where a shape does not fit.
        """
        sizes: dict[Label, int] = {}
        first: dict[Label, str] = {}
        for name, labels in self.tensors.items():
            if name not in shapes:
                raise ValueError(f"no shape for the tensor {name!r}: got {listed(shapes) or 'none'}")
            shape = shapes[name]
            if len(shape) != len(labels):
                raise ValueError(
                    f"tensor {name!r} has {len(labels)} indices {pattern(labels)}, got an array with "
                    f"{len(shape)} axes of shape {tuple(shape)}"
                )
            for label, size in zip(labels, shape, strict=True):
                known = sizes.setdefault(label, index(size))
                if known != size:
                    hint = " (sizes are never broadcast)" if 1 in (known, size) else ""
                    raise ValueError(
                        f"index {label!r} has size {known} on tensor {first[label]!r} and size {size} on "
                        f"tensor {name!r}{hint}"
                    )
                first.setdefault(label, name)
        return sizes

    @explained
    def plan(
        self,
        sizes: Sizes,
        optimize: Any = "auto",
        memory_limit: int | str | None = None,
        batch: Sequence[Label] = (),
        dtype: str = "float64",
        varying: Sequence[Label] = (),
    ) -> ContractionPlan:
        """A contraction path with its costs, made once and run many times; equal calls return the cached
        plan.

        Args:
            sizes: index -> size.
            optimize: ``"auto"`` considers the tree-aware order, opt_einsum's finders searched without the
                batch indices, and cotengra's greedy finder where it is installed; ``"auto-hq"`` adds slower
                searches and dynamic programming. Also one of ``"tree"``, ``"greedy"``, ``"optimal"`` (all orders
                of at most 12 tensors), ``"dp"`` (the best without outer products), ``"random-greedy"``,
                ``"cotengra"``; an explicit path in opt_einsum's or NumPy's form, as they return it; a cotengra
                ``ContractionTree``; or a path finder of opt_einsum's or cotengra's, or a function like them. The
                slices of a tree or finder are used. Each named search ends after two to three seconds of one
                core, ``"auto-hq"`` after about ten; ``"optimal"`` and ``"dp"`` raise where that is not enough. A
                finder that is given runs as long as it likes.
            memory_limit: the most elements (an int) or bytes (a string such as ``"64 MiB"``, of ``dtype``) of any
                array that a step makes; indices are sliced to honor it, batch indices first. The arrays that are
                given and the whole result, ``plan.result_size`` elements, exist whatever the order, and are not
                counted; with slices, the result is put together from pieces within the limit.
            batch: indices to treat as batch indices besides the output labels that two or more tensors carry.
            dtype: what ``memory_limit`` in bytes refers to.
            varying: an index whose size may differ from call to call, such as that of a batch; the order is chosen for
                the size given.

        Raises:
            ValueError: if a size is missing or negative, a name, path or tree does not fit, a search is given up, or
                no slicing honors ``memory_limit``; the minimum is named.
            TypeError: for arguments of another kind.

        Example:
            >>> import tnrank
            >>> net = tnrank.Network({"A": "ir", "B": "jr", "C": "kr"}, output="ijk")
            >>> plan = net.plan({"i": 10, "j": 10, "k": 10, "r": 300})
            >>> plan.flops, plan.largest_intermediate
            (330000, 30000)
        """
        from tnrank.network._choose import keep_plan

        wanted = tuple(batch) if isinstance(batch, (str, tuple)) else tuple(sequence(batch, "batch", "indices"))
        name = keep_plan(self, sizes, optimize, memory_limit, wanted, dtype, varying)
        plan: ContractionPlan = getattr(self, name)
        return plan

    @explained
    def without(self, name: str) -> Network:
        """The network with one tensor left out; its output: see :func:`tnrank.environment`."""
        if instance(name, "name", str, "the name of a tensor") not in self.tensors:
            raise ValueError(f"no tensor {name!r} in the network: it has {listed(self.tensors)}")
        rest = {other: labels for other, labels in self.tensors.items() if other != name}
        present = {label for labels in rest.values() for label in labels}
        kept = [label for label in self.output if label in present]
        kept += [x for x in dict.fromkeys(self.tensors[name]) if x in present and x not in kept]
        return Network(rest, kept)

    def _flatten(self) -> tuple[tuple[Array, ...], Any]:
        return (), self

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Array]) -> Any:
        return static

    @cached_property
    def _key(self) -> tuple[frozenset[tuple[str, tuple[Label, ...]]], tuple[Label, ...]]:
        return frozenset(self.tensors.items()), self.output

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Network) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __len__(self) -> int:
        return len(self.tensors)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a Network is immutable: build another one")

    def __reduce__(self) -> Any:
        return Network, (dict(self.tensors), self.output)

    def __repr__(self) -> str:
        names = list(self.tensors)
        shown = ", ".join(f"{name!r}: {pattern(self.tensors[name])}" for name in names[:8])
        more = f", .. {len(names)} tensors" if len(names) > 8 else ""
        return f"Network({{{shown}{more}}} -> {pattern(self.output)})"


class _ReadOnly(dict[str, Any]):
    """A dict that cannot be changed, so that a network's hash stays true."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a Network is immutable: build another one from dict(network.tensors)")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> Any:
        return dict, (dict(self),)
