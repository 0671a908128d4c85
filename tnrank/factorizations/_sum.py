"""Sums of factorizations that are never formed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tnrank._backend import Backend, Structure, common_backend
from tnrank._check import instance, sequence, shown
from tnrank._explained import explained
from tnrank._typing import Array, Shape
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations._arrays import is_number, is_zero
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._norms import norm_in_range


class FactorizationSum(Structure):
    """The tensor ``sum_i weights[i] * terms[i]``, immutable; made by :func:`sum_of`.

    Spectra, ranks and reports are measured from the terms: the sum is not formed.
    """

    __slots__ = ("_terms", "_weights")
    _terms: tuple[Factorization, ...]
    _weights: tuple[complex, ...]

    @explained
    def __init__(self, terms: Iterable[Factorization], weights: Sequence[complex]) -> None:
        checked = sequence(terms, "terms", "factorizations")
        for place, term in enumerate(checked):
            instance(term, f"term {place}", Factorization, "a factorization; sum_of takes sums, too")
        self._fill(checked, [_number(w) for w in sequence(weights, "weights", "numbers")])
        if not checked or len(self._weights) != len(checked):
            raise ValueError(f"got {len(self._weights)} weights for {len(checked)} terms, needed one term or more")

    def _fill(self, terms: Iterable[Any], weights: Iterable[complex]) -> None:
        object.__setattr__(self, "_terms", tuple(terms))
        object.__setattr__(self, "_weights", tuple(weights))

    def _flatten(self) -> tuple[tuple[Any, ...], Any]:
        return self._terms, self._weights

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Any]) -> FactorizationSum:
        new = object.__new__(cls)
        new._fill(arrays, static)
        return new

    @property
    def terms(self) -> tuple[Factorization, ...]:
        """The factorizations."""
        return self._terms

    @property
    def weights(self) -> tuple[complex, ...]:
        """One number a term."""
        return self._weights

    @property
    def shape(self) -> Shape:
        """(d_1, .., d_N)."""
        return self._terms[0].shape

    @property
    def ndim(self) -> int:
        """N, the order."""
        return self._terms[0].ndim

    @property
    def backend(self) -> Backend:
        """The backend of all terms."""
        return self._terms[0].backend

    @property
    def dtype(self) -> str:
        """The name of the arrays' dtype."""
        return self._terms[0].dtype

    @property
    def tree(self) -> DimensionTree | None:
        """The dimension tree of the first term that has one."""
        found = (getattr(term, "tree", None) for term in self._terms)
        return next((tree for tree in found if isinstance(tree, DimensionTree)), None)

    @property
    def parameter_count(self) -> int:
        """Numbers stored in all terms."""
        return sum(term.parameter_count for term in self._terms)

    def _total(self, parts: Iterable[Array]) -> Array:
        return sum(part if w == 1 else w * part for w, part in zip(self._weights, parts, strict=True))

    def to_dense(self, memory_limit: int | str | None = None) -> Array:
        """The end tensor, shape ``(d_1, .., d_N)``."""
        return self._total(term.to_dense(memory_limit) for term in self._terms)

    def entries(self, indices: Any) -> Array:
        """Entries at ``indices`` of shape ``(M, N)``; gives shape ``(M,)``."""
        return self._total(term.entries(indices) for term in self._terms)

    def inner(self, other: Factorization | FactorizationSum) -> Array:
        """The inner product ``sum(conj(self) * other)``, a scalar array."""
        if not isinstance(other, FactorizationSum):
            instance(other, "other", Factorization, "a factorization: numpy.vdot(x.to_dense(), array) takes arrays")
        others = other if isinstance(other, FactorizationSum) else FactorizationSum((other,), (1,))
        return sum(
            complex(w).conjugate() * v * x.inner(y) if isinstance(w, complex) else w * v * x.inner(y)
            for w, x in zip(self._weights, self._terms, strict=True)
            for v, y in zip(others._weights, others._terms, strict=True)
        )

    def norm(self) -> Array:
        """The Frobenius norm, a scalar array; from inner products (see :meth:`Factorization.norm`) if it is large."""
        return norm_in_range(self)

    def to(
        self, backend: str | Backend | None = None, dtype: str | None = None, device: Any = None
    ) -> FactorizationSum:
        """The same sum on another backend, dtype or device."""
        return FactorizationSum((term.to(backend, dtype, device) for term in self._terms), self._weights)

    # NumPy's operators leave the word to ours.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, (Factorization, FactorizationSum)):
            return NotImplemented
        return sum_of([self, other])

    def __radd__(self, other: Any) -> Any:
        return sum_of([other, self]) if isinstance(other, Factorization) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        if not isinstance(other, (Factorization, FactorizationSum)):
            return NotImplemented
        return sum_of([self, other], [1, -1])

    def __mul__(self, factor: Any) -> FactorizationSum:
        number = _number(factor)
        dtype = (self._terms[0]._values[0] * factor).dtype
        return FactorizationSum((x._converted(dtype) for x in self._terms), tuple(number * w for w in self._weights))

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> FactorizationSum:
        if is_zero(number):
            raise ZeroDivisionError("a FactorizationSum over 0 has no finite entries: needed another number")
        quotient: FactorizationSum = self * (1 / _number(number))
        return quotient

    def __neg__(self) -> FactorizationSum:
        return self * -1

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a FactorizationSum is immutable: make another one by sum_of")

    def __reduce__(self) -> Any:
        return FactorizationSum, (self._terms, self._weights)

    def __repr__(self) -> str:
        lines = [f"  {w:+g} {str(term).splitlines()[0]}" for w, term in zip(self._weights, self._terms, strict=True)]
        return "\n".join([f"FactorizationSum of {len(self._terms)} terms", *lines])


@explained
def sum_of(terms: Sequence[Any], weights: Sequence[complex] | None = None) -> Any:
    """The tensor ``sum_i weights[i] * terms[i]`` of factorizations of any formats, not formed.

    Args:
        terms: factorizations of one shape and backend, or sums of them. Their dtypes are promoted as those of arrays
            are; integers and half precision count as floating-point numbers.
        weights: one number a term; all 1 if ``None``.

    Returns:
        A ``CPFactorization`` if all terms are such (their components side by side), else a ``FactorizationSum``.

    Raises:
        ValueError: if there are no terms, or shapes or the numbers of weights and terms differ.
        TypeError: if a term is no factorization, or backends differ.

    Example:
        >>> import tnrank
        >>> x = tnrank.CPFactorization.random((3, 3, 3), rank=2, seed=0)
        >>> y = tnrank.HierarchicalTucker.random((3, 3, 3), rank=2, seed=1)
        >>> tnrank.factorizations.sum_of([x, y], [1, -2])
        FactorizationSum of 2 terms
          +1 CPFactorization of order 3: 3 x 3 x 3, 18 parameters, float64, numpy
          -2 HierarchicalTucker of order 3: 3 x 3 x 3, 30 parameters, float64, numpy
    """
    given = sequence(terms, "terms", "factorizations")
    if not given:
        raise ValueError("got no terms, needed at least one factorization")
    factors: list[Any] = [1] * len(given) if weights is None else sequence(weights, "weights", "numbers")
    if len(factors) != len(given):
        raise ValueError(f"got {len(factors)} weights for {len(given)} terms, needed one a term")
    flat: list[tuple[Any, Factorization]] = []
    for place, (factor, term) in enumerate(zip(factors, given, strict=True)):
        _number(factor)
        if isinstance(term, FactorizationSum):
            flat += [(factor * w, t) for w, t in zip(term.weights, term.terms, strict=True)]
        else:
            needed = "a factorization: HierarchicalTucker.from_dense(array), for example, makes one of an array"
            flat.append((factor, instance(term, f"term {place}", Factorization, needed)))
    first = flat[0][1]
    for place, (_, term) in enumerate(flat):
        if term.shape != first.shape:
            raise ValueError(f"term {place} has shape {term.shape} and term 0 has {first.shape}: needed equal shapes")
    common_backend([term._values[0] for _, term in flat])
    numbers, wide = [_number(w) for w, _ in flat], [term._measurable() for _, term in flat]
    # A weight counts as a number of its kind, real or complex, and of its precision if it has one.
    xp = first.backend.xp
    dtype = xp.result_type(*((x._values[0][..., :1] * w) for x, (w, _) in zip(wide, flat, strict=True)))
    same = [x if x._values[0].dtype == dtype else x._converted(dtype) for x in wide]
    if all(type(term) is CPFactorization for term in same):
        return _side_by_side([(w, x) for w, x in zip(numbers, same, strict=True) if isinstance(x, CPFactorization)])
    return FactorizationSum(same, numbers)


def _side_by_side(terms: Sequence[tuple[complex, CPFactorization]]) -> CPFactorization:
    first = terms[0][1]
    xp = first.backend.xp
    factors = [xp.concat(parts, axis=1) for parts in zip(*(term.factors for _, term in terms), strict=True)]
    if all(w == 1 and term.weights is None for w, term in terms):
        return CPFactorization(factors)
    given = [w * (xp.ones_like(term.factors[0][0, :]) if term.weights is None else term.weights) for w, term in terms]
    return CPFactorization(factors, xp.concat(given))


def _number(given: Any) -> Any:
    """A weight as a number of Python, which leaves the dtype of arrays as it is."""
    if not is_number(given):
        raise TypeError(f"a weight is a number, got {shown(given)}")
    return given.item() if hasattr(given, "item") else given
