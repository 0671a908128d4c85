"""The contraction plan: a path with its costs, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import Backend, backend_of, common_backend, plain_array
from tnrank._check import instance, sequence, shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Array, Arrays, Label, Sizes
from tnrank.network._amounts import exact, rounded
from tnrank.network._labels import checked_arrays, checked_network, checked_sizes, listed, pattern
from tnrank.network._path import Problem, plan_path, walk
from tnrank.network._program import Program
from tnrank.network._scalars import is_scalar, scalar_like, with_scalars
from tnrank.network._slicing import SlicedProgram, Slicing

if TYPE_CHECKING:
    from tnrank.network._network import Network


@dataclass(frozen=True)
class Step:
    """One pairwise contraction of a plan.

    ``first`` and ``second`` name what is contracted: a tensor, or ``"#k"`` for the result of step k.
    ``flops`` are scalar multiplications, ``size`` the elements of the result.
    """

    first: str
    second: str
    left: tuple[Label, ...]
    right: tuple[Label, ...]
    output: tuple[Label, ...]
    flops: int
    size: int

    @property
    def pattern(self) -> str:
        """The step's index pattern, such as ``ir,jr->ijr``."""
        return f"{pattern(self.left)},{pattern(self.right)}->{pattern(self.output)}"


class ContractionPlan:
    """The order in which a network is contracted, with its costs; made by :meth:`tnrank.Network.plan`.

    Call it with arrays by tensor name. It is immutable and picklable; :meth:`save` and :meth:`load` keep it
    as JSON.

    Attributes:
        network: what is contracted.
        sizes: index -> size.
        steps: the pairwise contractions in order.
        flops: scalar multiplications in all, the product of all index sizes of each step, batch and slices
            included.
        largest_intermediate: elements of the largest array that a step makes (in one slice, if there are
            slices).
        result_size: elements of the whole result; a memory limit does not count it.
        slices: index -> elements of it that are handled at once.
        method: which finder's path was kept.
        varying: the indices whose size may differ from ``sizes`` when the plan is called.

    A plan made by hand, ``ContractionPlan(network, sizes, path, slices, method, varying)``, has a path in static single
    assignment form: of n tensors, step k makes array n + k, and each array is taken once. A path of opt_einsum's or
    NumPy's counts positions in what is left instead, and goes to ``network.plan(sizes, optimize=path)``. Each of the
    two refuses the other's form.

    Raises:
        TypeError: for arguments of another kind.
        ValueError: if a size is missing or negative, the path does not take every array once, or a slice is of an
            unknown index or outside of 1 .. its size.

    Example:
        >>> import numpy as np, tnrank
        >>> net = tnrank.Network({"A": "ij", "B": "jk", "C": "kl"})
        >>> plan = net.plan({"i": 2, "j": 30, "k": 30, "l": 2})
        >>> [step.pattern for step in plan.steps]
        ['ij,jk->ik', 'kl,ik->il']
        >>> plan({"A": np.ones((2, 30)), "B": np.ones((30, 30)), "C": np.ones((30, 2))})
        array([[900., 900.],
               [900., 900.]])
    """

    @explained
    def __init__(
        self,
        network: Network,
        sizes: Sizes,
        path: Sequence[Sequence[int]],
        slices: Mapping[Label, int] | None = None,
        method: str = "given",
        varying: Sequence[Label] = (),
    ) -> None:
        # A plan may come from a file or be made by hand: nothing in it is believed.
        self.network = network = checked_network(network)
        self.sizes: dict[Label, int] = checked_sizes(network, sizes)
        self.path = plan_path(path, len(network.tensors))
        self.slices: dict[Label, int] = _checked_slices(self.sizes, slices)
        self.method = instance(method, "method", str, "a string, the name of what found the path")
        self.varying = checked_varying(network, varying)
        if self.varying and self.slices:
            raise ValueError("a plan with slices has one size for each index: leave out memory_limit, or varying")
        self._numbers = Numbers(network, self.sizes)
        pairs = walk(self._numbers.problem(()), list(self.path))
        names = list(network.tensors) + [f"#{k + 1}" for k in range(len(pairs))]
        labels = network.indices
        self._slicing = Slicing(
            tuple((self._numbers.number[label], chunk) for label, chunk in self.slices.items()),
            self._numbers.sizes,
        )
        costs = self._slicing.costs(pairs, self._numbers.given)
        self.steps = tuple(
            Step(
                names[p.first],
                names[p.second],
                tuple(labels[x] for x in p.left),
                tuple(labels[x] for x in p.right),
                tuple(labels[x] for x in p.out) if k < len(pairs) - 1 else network.output,
                flops,
                size,
            )
            for k, (p, (flops, size)) in enumerate(zip(pairs, costs, strict=True))
        )
        self.flops = sum(step.flops for step in self.steps)
        self.largest_intermediate = max((step.size for step in self.steps), default=1)
        self.result_size = prod(self.sizes[label] for label in network.output)
        self._pairs = pairs
        self._names = tuple(network.tensors)
        self._shapes = tuple(tuple(self.sizes[x] for x in network.tensors[name]) for name in self._names)
        self._open = [
            [axis for axis, label in enumerate(network.tensors[name]) if label in self.varying] for name in self._names
        ]
        # Sizes that vary are negative in a program.
        sizes = [
            -size if label in self.varying else size for label, size in zip(labels, self._numbers.sizes, strict=True)
        ]
        self._program = Program(self._numbers.given, self._numbers.reduced, pairs, self._numbers.output, sizes)
        self._in_slices = SlicedProgram(self._numbers, pairs, self._slicing) if self.slices else None
        self._compiled: dict[type, Callable[..., Any]] = {}

    @property
    def naive_flops(self) -> int:
        """Scalar multiplications of one einsum over all tensors: all index sizes, times tensors less one."""
        return prod(self.sizes.values()) * max(len(self.network.tensors) - 1, 1)

    def __call__(self, arrays: Arrays) -> Array:
        """Contract ``arrays`` (name -> array of one backend and one dtype).

        Returns:
            The result, axes in the order of ``network.output``.

        Raises:
            ValueError: for missing or extra arrays and for sizes other than the plan's, naming tensor and
                index.
            TypeError: for two backends or two dtypes.
        """
        if self._compiled and type(arrays) is dict and len(arrays) == len(self._names):
            values = [arrays.get(name) for name in self._names]
            compiled = self._compiled.get(type(values[0]))
            if compiled and len({*map(type, values)}) == 1:
                return compiled(values)
        backend, values = self._check(arrays)
        if "jit" in backend.capabilities and values and not self.slices:
            return self._compile(backend, type(values[0]))(values)
        return self._run(backend, values)

    def _compile(self, backend: Backend, kind: type) -> Callable[..., Any]:
        """Shapes and dtypes are checked when a call is traced: a compiled call has been checked before."""

        def run(values: list[Array]) -> Array:
            return self._run(*self._check(dict(zip(self._names, values, strict=True))))

        compiled = backend.jit(run)

        def call(values: list[Array]) -> Array:
            try:
                return compiled(values)
            except (TypeError, ValueError) as error:
                failed = error
            self._check(dict(zip(self._names, values, strict=True)))  # the same words, without the compiler's
            raise failed

        return self._compiled.setdefault(kind, call)

    def _run(self, backend: Backend, values: Sequence[Array]) -> Array:
        if not self._names:
            return backend.asarray(1.0, dtype=backend.default_dtype)
        program = self._in_slices or self._program
        return _array(program.run(backend, values))

    def _check(self, arrays: Arrays) -> tuple[Backend, list[Array]]:
        """The arrays in the plan's order, with their backend; numbers become arrays, and harmless masks go."""
        try:
            values = [arrays[name] for name in self._names]
            if len(values) != len(arrays):
                raise KeyError
            if not values:
                return common_backend(()), values
            first = values[0]
            kind, dtype = type(first), first.dtype
            backend = backend_of(first)
            alike = kind is np.ndarray
            for value, shape, varies in zip(values, self._shapes, self._open, strict=True):
                fits = _fits(value.shape, shape, varies) if varies else value.shape == shape
                if not fits or value.dtype != dtype:
                    raise KeyError
                if type(value) is not kind:
                    alike = False
                    if backend_of(value) is not backend:
                        raise KeyError
                elif kind is not np.ndarray and value is not first:
                    backend.check_array(value)
            return backend, values if alike else [backend.plain(value) for value in values]
        except (KeyError, AttributeError, TypeError, IndexError):
            known = with_scalars(self.network.without_indices, checked_arrays(arrays, self._names))
            if known is not arrays:
                return self._check(known)
            self._explain(arrays)
            plain = {name: plain_array(array)[0] for name, array in arrays.items()}
            if any(plain[name] is not array for name, array in arrays.items()):
                return self._check(plain)  # arrays that differed in their byte order alone
            raise

    def _explain(self, arrays: Arrays) -> None:
        sizes = self.network.sizes(arrays)
        for label, size in sizes.items():
            if size != self.sizes[label] and label not in self.varying:
                holder = self.network.holders(label)[0]
                raise ValueError(
                    f"the plan was made for index {label!r} of size {self.sizes[label]}, got size {size} on "
                    f"tensor {holder!r}: make another with network.plan(network.sizes(arrays))"
                ) from None

    @explained
    def pull_back(self, arrays: Arrays, cotangent: Callable[[Array], Array] | Array) -> tuple[Array, dict[str, Array]]:
        """The result and the vector-Jacobian products with all tensors, by one sweep back over the steps.

        Args:
            arrays: name -> array.
            cotangent: an array of the result's shape, or a function from the result to one.

        Returns:
            The result, and {name: array of the tensor's shape}. Nothing is conjugated.

        Raises:
            ValueError: if the plan is sliced: the sweep needs every intermediate at once.

        Example:
            >>> import numpy as np, tnrank
            >>> net = tnrank.Network({"A": "ij", "B": "jk"})
            >>> a, b = np.ones((2, 3)), np.ones((3, 2))
            >>> _, pulled = net.plan(net.sizes({"A": a, "B": b})).pull_back({"A": a, "B": b}, np.ones((2, 2)))
            >>> pulled["A"].shape
            (2, 3)
        """
        if self.slices:
            raise ValueError("a sliced plan keeps no intermediates for pull_back: plan without memory_limit")
        backend, values = self._check(arrays)
        kept = self._program.run_and_keep(backend, values)
        kept[-1] = _array(kept[-1])
        incoming = cotangent(kept[-1]) if callable(cotangent) else cotangent
        incoming = self._checked_cotangent(backend, incoming, kept[-1])
        pulled = self._program.pull_back(backend, kept, incoming)
        return kept[-1], dict(zip(self._names, map(_array, pulled), strict=True))

    def _checked_cotangent(self, backend: Backend, cotangent: Any, result: Array) -> Array:
        if is_scalar(cotangent) and result.ndim == 0:
            cotangent = scalar_like(cotangent, result)
        if backend_of(cotangent) is not backend or tuple(cotangent.shape) != tuple(result.shape):
            raise ValueError(
                f"the cotangent is {shown(cotangent)}, needed an array of the {backend.name} backend with the shape "
                f"{tuple(result.shape)} of the result"
            )
        return cotangent

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContractionPlan) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> Any:
        names = tuple(self.network.tensors.items())
        return (
            names,
            self.network.output,
            tuple(self.sizes.items()),
            self.path,
            tuple(self.slices.items()),
            self.varying,
        )

    def __reduce__(self) -> Any:
        return ContractionPlan, (self.network, self.sizes, self.path, self.slices, self.method, self.varying)

    @explained
    def save(self, path: Any) -> None:
        """Write the plan as JSON, atomically.

        Raises:
            TypeError: if a label is neither a string, a number nor a tuple of such.
        """
        from tnrank.network._plan_json import save

        save(self, path)

    @classmethod
    @explained
    def load(cls, path: Any) -> ContractionPlan:
        """Read a plan that :meth:`save` wrote.

        Raises:
            ValueError: if the file is not one; the file is named.
            OSError: if it cannot be read.
        """
        from tnrank.network._plan_json import load

        return load(path)

    def __str__(self) -> str:
        from tnrank.network._plan_table import table

        return table(self)

    def __repr__(self) -> str:
        sliced = f", slices={{{', '.join(f'{k!r}: {v}' for k, v in self.slices.items())}}}" if self.slices else ""
        return (
            f"ContractionPlan({len(self.steps)} steps, {rounded(self.flops)} FLOPs, largest intermediate "
            f"{exact(self.largest_intermediate)}{sliced}, {self.method})"
        )


def _checked_slices(sizes: Mapping[Label, int], slices: Any) -> dict[Label, int]:
    if slices is None:
        return {}
    needed = "a mapping from indices to how many of their elements are handled at once, such as {'i': 2}"
    found = {}
    for label, chunk in instance(slices, "slices", Mapping, needed).items():
        if label not in sizes:
            raise ValueError(f"no index {label!r} to slice: the network has {listed(sizes)}")
        name = f"the number of elements of the index {label!r} that are handled at once"
        found[label] = whole_number(chunk, name, 1, max(sizes[label], 1))
    # An index without elements has no slices to add up.
    return {label: chunk for label, chunk in found.items() if sizes[label]}


def checked_varying(network: Network, varying: Any) -> tuple[Label, ...]:
    """The index of the output whose size may vary: a reshape can find out only one, and only that of what is there."""
    labels = tuple(varying) if isinstance(varying, (str, tuple)) else tuple(sequence(varying, "varying", "indices"))
    for label in labels:
        if label not in network.output:
            raise ValueError(f"varying index {label!r} is not in the output: {listed(network.output)}")
    if len(labels) > 1:
        raise ValueError(
            f"got {len(labels)} varying indices {labels}, needed at most one: a reshape finds out only one"
        )
    return labels


def _fits(given: Sequence[int], planned: Sequence[int], varies: Sequence[int]) -> bool:
    """Whether shapes agree but for the axes that vary."""
    return len(given) == len(planned) and all(
        axis in varies or size == expected for axis, (size, expected) in enumerate(zip(given, planned, strict=True))
    )


def _array(result: Array) -> Array:
    """NumPy gives a scalar where the result has no axes."""
    return np.asarray(result) if isinstance(result, np.generic) else result


class Numbers:
    """A network with its labels as numbers."""

    def __init__(self, network: Network, sizes: Mapping[Label, int]) -> None:
        self.number = {label: k for k, label in enumerate(network.indices)}
        self.sizes = tuple(sizes[label] for label in network.indices)
        self.output = tuple(self.number[label] for label in network.output)
        self.given = [tuple(self.number[x] for x in labels) for labels in network.tensors.values()]
        shared = [len(network.holders(label)) > 1 for label in network.indices]
        kept = set(self.output)
        self.reduced = [tuple(x for x in dict.fromkeys(labels) if shared[x] or x in kept) for labels in self.given]

    def problem(self, batch: Sequence[Label]) -> Problem:
        """The path finders' view."""
        return Problem(tuple(self.reduced), self.output, self.sizes, tuple(self.number[x] for x in batch))
