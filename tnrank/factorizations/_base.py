"""What all factorizations share: a network, its arrays, and what follows from the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, ClassVar, Self

from tnrank._alike import default_or_named_device
from tnrank._backend import Backend, Structure, backend_of, get_backend
from tnrank._check import instance, sequence, shown
from tnrank._explained import explained
from tnrank._typing import Array, Shape
from tnrank.factorizations._arrays import checked_arrays, converted, measurable, measured
from tnrank.factorizations._entries import EntryPlan
from tnrank.factorizations._norms import norm_in_range
from tnrank.factorizations._whole import exactly
from tnrank.network import Network, contract


class Factorization(Structure):
    """A network plus its arrays: immutable, a pytree on every backend that has them.

    A subclass sets ``kind`` and writes ``_network_of(static)`` and ``component_norms``; ``static`` is whatever besides
    the arrays makes it what it is, and hashable.
    """

    __slots__ = ("_network", "_static", "_values")
    kind: ClassVar[str] = ""
    _values: tuple[Array, ...]
    _static: Any
    _network: Network

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        raise NotImplementedError

    @classmethod
    def _make(cls, static: Any, values: Iterable[Array], validate: bool = True) -> Self:
        new = object.__new__(cls)
        new._fill(static, values, validate)
        return new

    def _fill(
        self, static: Any, values: Iterable[Array], validate: bool = True, network: Network | None = None
    ) -> None:
        object.__setattr__(self, "_static", static)
        object.__setattr__(self, "_values", tuple(values))
        # Kept, because torch.compile reads attributes and does not see through a cached function.
        object.__setattr__(self, "_network", network or self._network_of(static))
        if validate:
            self.network.sizes(self.arrays)

    def _flatten(self) -> tuple[tuple[Array, ...], Any]:
        return self._values, self._static

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Array]) -> Self:
        return cls._make(static, arrays, validate=False)

    @property
    def network(self) -> Network:
        """The tensor network of this factorization; its output is one index a mode."""
        return self._network

    @property
    def arrays(self) -> dict[str, Array]:
        """Tensor name -> array, in the order of the network."""
        return dict(zip(self.network.tensors, self._values, strict=True))

    @property
    def shape(self) -> Shape:
        """(d_1, .., d_N), the shape of the end tensor."""
        sizes = self._sizes
        return tuple(sizes[label] for label in self.network.output)

    @property
    def _sizes(self) -> dict[Any, int]:
        try:
            return self.network.sizes_of_shapes({name: a.shape for name, a in self.arrays.items()})
        except AttributeError:
            raise self._not_arrays("shape") from None

    @property
    def ndim(self) -> int:
        """N, the order of the end tensor."""
        return len(self.network.output)

    @property
    def backend(self) -> Backend:
        """The backend of the arrays."""
        return backend_of(self._values[0])

    @property
    def dtype(self) -> str:
        """The name of the arrays' dtype."""
        return self.backend.dtype_of(self._values[0])

    @property
    def device(self) -> str:
        """The device that the arrays live on."""
        return self.backend.device_of(self._values[0])

    @property
    def parameter_count(self) -> int:
        """Numbers stored in all arrays; one array at several tensors counts once."""
        return sum(prod(a.shape) for a in {id(a): a for a in self._values}.values() if hasattr(a, "shape"))

    @explained
    def to_dense(self, memory_limit: int | str | None = None) -> Array:
        """The end tensor, shape ``(d_1, .., d_N)``.

        Raises:
            OverflowError: if integer arrays give entries beyond the range of their dtype.
            TypeError: if the arrays are boolean.

        Example:
            >>> import tnrank
            >>> tnrank.CPFactorization.random((2, 3, 4), rank=5, seed=0).to_dense().shape
            (2, 3, 4)
        """
        return exactly(self, lambda x: contract(x.network, x.arrays, memory_limit=memory_limit))

    @explained
    def entries(self, indices: Any) -> Array:
        """Entries of the end tensor at ``indices`` of shape ``(M, N)``; gives shape ``(M,)``.

        By cost, either the whole tensor is contracted once and gathered from, or one row a mode and entry is.

        Raises:
            ValueError: if indices do not have one column a mode, or are out of range (entry and mode are named).

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.CPFactorization([np.eye(2), np.eye(2), np.eye(2)])
            >>> x.entries([[0, 0, 0], [0, 1, 0]])
            array([1., 0.])
        """
        plan = EntryPlan.of(self.network, self._sizes, indices)
        positions = plan.positions(self.backend, default_or_named_device(self._values[0]))
        return exactly(self, lambda x: plan.evaluate(x.backend, x._values, positions))

    @measured
    @explained
    def inner(self, other: Any) -> Array:
        """The inner product ``sum(conj(self) * other)``, a scalar array; the end tensors are not formed.

        Integers count as numbers of the default dtype, half precision as single precision.

        Raises:
            ValueError: if the shapes differ.
            TypeError: if ``other`` is no factorization.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.CPFactorization([np.eye(2), np.eye(2)])
            >>> float(x.inner(x))
            2.0
        """
        if not isinstance(other, Factorization) and hasattr(other, "terms"):
            return type(other)((self,), (1,)).inner(other)
        instance(other, "other", Factorization, "a factorization: numpy.vdot(x.to_dense(), array) takes arrays")
        if self.shape != other.shape:
            raise ValueError(f"inner product of shapes {self.shape} and {other.shape}: needed equal shapes")
        xp = self.backend.xp
        mine, theirs = self._with_dtype_of(other._measurable())
        tensors: dict[str, tuple[Any, ...]] = {}
        arrays: dict[str, Array] = {}
        for side, x in (("x", mine), ("y", theirs)):
            place = {label: k for k, label in enumerate(x.network.output)}
            for name, labels in x.network.tensors.items():
                tensors[f"{side}.{name}"] = tuple(("mode", place[a]) if a in place else (side, a) for a in labels)
            for name, array in x.arrays.items():
                turned = side == "x" and x.dtype.startswith("complex")
                # NumPy makes a scalar of an array without axes.
                arrays[f"{side}.{name}"] = x.backend.asarray(xp.conj(array)) if turned else array
        return contract(Network(tensors, ()), arrays)

    @measured
    def norm(self) -> Array:
        """The Frobenius norm of the end tensor, a scalar array.

        Formed from the dense tensor where that is cheap; else from inner products, whose relative error is
        ``sqrt(eps)`` of the largest component when components cancel. It is infinite, or 0, only where the norm itself
        leaves the range of floating-point numbers; NaN if an entry of an array is NaN or infinite. Its derivative at
        the zero tensor is 0.

        Example:
            >>> import numpy as np, tnrank
            >>> float(tnrank.CPFactorization([np.ones((2, 1)), np.ones((2, 1))]).norm())
            2.0
        """
        return norm_in_range(self)

    def component_norms(self) -> Any:
        """Norms of the components; what they are depends on the factorization."""
        raise NotImplementedError

    def balance(self) -> Self:
        """The same end tensor with balanced weights.

        Raises:
            NotImplementedError: if the format has no components that could be balanced.
        """
        raise self._without("balance")

    def unbalancedness(self) -> float:
        """The largest difference of squared norms within a component, relative to the largest; 0 if all are 0."""
        raise self._without("unbalancedness")

    def _without(self, what: str) -> NotImplementedError:
        fix = "x.orthogonalize() fixes" if hasattr(self, "orthogonalize") else "x.replace(arrays) changes"
        return NotImplementedError(
            f"a {type(self).__name__} has no {what}(), which is of vectors that an index shares (matrix, CP and "
            f"hierarchical factorizations have it): {fix} the basis at each edge"
        )

    @explained
    def to(self, backend: str | Backend | None = None, dtype: str | None = None, device: Any = None) -> Self:
        """The same factorization on another backend, dtype or device; ``None`` keeps what it is.

        Raises:
            ValueError: for a dtype or device that the backend lacks.

        Example:
            >>> import tnrank
            >>> tnrank.CPFactorization.random((2, 2), rank=1, seed=0).to(dtype="float32").dtype
            'float32'
        """
        target = self.backend if backend is None else get_backend(backend)
        kept = self.dtype if dtype is None and target is not self.backend else target.check_dtype(dtype)
        # One array at several tensors stays one.
        moved: dict[int, Array] = {}
        for a in self._values:
            if id(a) not in moved:
                moved[id(a)] = target.asarray(a if target is self.backend else self.backend.to_numpy(a), kept, device)
        return self._make(self._static, [moved[id(a)] for a in self._values], validate=False)

    @explained
    def replace(self, arrays: Mapping[str, Array] | Sequence[Array]) -> Self:
        """The same structure with other arrays: all of them in order, or some by name.

        Raises:
            ValueError: for unknown names, missing arrays or shapes that do not fit together.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.MatrixFactorization([np.eye(2), np.eye(2)])
            >>> x.replace({"W0": 3 * np.eye(2)}).to_dense()
            array([[3., 0.],
                   [0., 3.]])
        """
        if isinstance(arrays, Mapping):
            unknown = [name for name in arrays if name not in self.network.tensors]
            if unknown:
                raise ValueError(f"no array {unknown[0]!r}: it has {', '.join(self.network.tensors)}")
            arrays = list({**self.arrays, **arrays}.values())
        arrays = sequence(arrays, "arrays", "arrays, or a mapping of some by name")
        if len(arrays) != len(self._values):
            raise ValueError(f"got {len(arrays)} arrays, needed {len(self._values)}: {', '.join(self.network.tensors)}")
        return self._make(self._static, checked_arrays(arrays, lambda: list(self.network.tensors)))

    @explained
    def map(self, fn: Callable[[Array], Array]) -> Self:
        """``fn`` applied to every array.

        Example:
            >>> import numpy as np, tnrank
            >>> tnrank.MatrixFactorization([np.eye(2)]).map(lambda a: 2 * a).to_dense()
            array([[2., 0.],
                   [0., 2.]])
        """
        return self._with([fn(a) for a in self._values])

    def _with(self, values: Iterable[Array]) -> Self:
        """The same structure with other arrays of the same shapes."""
        new = object.__new__(type(self))
        new._fill(self._static, values, False, self._network)
        return new

    @explained
    def save(self, path: Any) -> None:
        """Write to a safetensors file with the structure in its header, atomically; read by :func:`tnrank.load`.

        Example:
            >>> import os, tempfile, tnrank
            >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
            >>> tnrank.CPFactorization.random((2, 3), rank=1, seed=0).save(path)
            >>> tnrank.load(path).shape
            (2, 3)
        """
        from tnrank.factorizations._io import save

        save(self, path)

    def _static_to_json(self) -> Any:
        return None

    def _check_structure(self) -> None:
        """Refuse arrays that fit the network and yet not the class: what a damaged file may hold."""

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return None

    # NumPy's operators leave the word to ours, and its functions do not make a tensor dense behind one's back.
    __array_ufunc__ = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(f"a {type(self).__name__} is not made dense by itself: use x.to_dense()")

    def __iter__(self) -> Iterator[Array]:
        raise TypeError(f"a {type(self).__name__} is not a sequence: use .arrays or .to_dense()")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable: use .replace(arrays)")

    def __reduce__(self) -> Any:
        return _restore, (type(self), self._static, self._values)

    def _measurable(self) -> Self:
        """The same factorization in a dtype that has norms and decompositions."""
        wide = measurable(self.dtype, self.backend)
        return self if wide == self.dtype else self._converted(getattr(self.backend.xp, wide))

    def _converted(self, dtype: Any) -> Self:
        return self._make(self._static, converted(self.backend, self._values, dtype), validate=False)

    def _with_dtype_of(self, other: Any) -> tuple[Any, Any]:
        """Both factorizations in their common dtype."""
        first, second = self._values[0], other._values[0]
        if first.dtype == second.dtype or self.backend is not other.backend:
            return self, other
        dtype = self.backend.xp.result_type(first, second)
        return self._converted(dtype), other._converted(dtype)

    def _not_arrays(self, what: str) -> TypeError:
        leaves = ", ".join(f"{name!r} is {shown(a)}" for name, a in list(self.arrays.items())[:4])
        return TypeError(f"a {type(self).__name__} has a {what} when all its leaves are arrays: {leaves}")

    def _title(self) -> str:
        shape = " x ".join(map(str, self.shape[:8])) + (" x .." if self.ndim > 8 else "")
        try:
            where = f"{self.dtype}, {self.backend.name}"
        except TypeError:
            where = "traced"
        return f"{type(self).__name__} of order {self.ndim}: {shape}, {self.parameter_count:,} parameters, {where}"

    def _details(self) -> list[str]:
        """Lines that a printed factorization has under its title."""
        return []

    def __repr__(self) -> str:
        try:
            return "\n".join([self._title(), *(f"  {line}" for line in self._details())])
        except Exception:  # leaves may be anything: None, booleans, gradients, what a framework puts in their place
            kinds = Counter(type(a).__name__ for a in self._values)
            leaves = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            return f"{type(self).__name__} of order {self.ndim} whose leaves are no arrays of one shape: {leaves}"


def _restore(cls: type[Factorization], static: Any, values: tuple[Array, ...]) -> Factorization:
    return cls._make(static, values, validate=False)
