"""What the library asks of an array framework: the class that a backend fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from tnrank._typing import Array, Function, Shape

CAPABILITIES = (
    "value_and_grad",
    "jit",
    "vmap",
    "scan",
    "stop_gradient",
    "odeint",
    "wrap_optimizer",
    "register_structure",
)
"""What a backend may offer beyond the required functions; it lists its own in ``capabilities``."""


class Backend:
    """An array-API namespace plus the few functions that it does not have.

    A subclass sets ``name``, ``xp``, ``dtypes`` and ``default_dtype``, and writes the eight functions that raise
    here. Everything else has a default, written with those eight and ``xp``; a framework overrides what it does
    better. A subclass that overrides an optional function names it in ``capabilities``.

    Example:
        >>> import tnrank
        >>> backend = tnrank.get_backend("numpy")
        >>> backend.to_numpy(backend.asarray([1.0, 2.0], dtype="float32"))
        array([1., 2.], dtype=float32)
    """

    name: ClassVar[str]
    xp: Any
    dtypes: tuple[str, ...]
    default_dtype: str
    array_modules: tuple[str, ...]
    """Root modules of the array types that belong to this backend, such as ``("jax", "jaxlib")``."""
    capabilities: ClassVar[frozenset[str]] = frozenset()

    # required

    def version(self) -> str:
        """The framework's version."""
        raise NotImplementedError

    def devices(self) -> tuple[str, ...]:
        """Names of the devices that arrays can live on, the default one first."""
        raise NotImplementedError

    def asarray(self, x: Any, dtype: str | None = None, device: Any = None) -> Array:
        """``x`` as an array of this backend; ``None`` keeps the dtype of an array and is the default else."""
        raise NotImplementedError

    def to_numpy(self, x: Array) -> np.ndarray[Any, Any]:
        """``x`` on the host, detached from any gradient."""
        raise NotImplementedError

    def dtype_of(self, x: Array) -> str:
        """The dtype's name, such as ``"float64"``."""
        raise NotImplementedError

    def device_of(self, x: Array) -> str:
        """The device's name, such as ``"cpu"`` or ``"cuda:0"``."""
        raise NotImplementedError

    def einsum(self, equation: str, *operands: Array) -> Array:
        """Einstein summation of one or two operands."""
        raise NotImplementedError

    def synchronize(self, x: Any) -> None:
        """Wait until the arrays in ``x`` have been computed."""
        raise NotImplementedError

    # arrays with a default

    def check_array(self, x: Any) -> None:
        """Refuse an array that is not one number at each position: masked, sparse, quantized.

        :func:`tnrank.backend_of` calls it for every array, so that no function reads through a mask.

        Raises:
            ValueError: if entries are masked.
            TypeError: if it is stored in another way than densely.
        """

    def plain(self, x: Array) -> Array:
        """``x`` without what changes arithmetic: a mask that hides nothing, a byte order of another machine."""
        return x

    # arithmetic with a default

    def reshape(self, x: Array, shape: Shape) -> Array:
        """``x`` with another shape and the same elements in C order."""
        return self.xp.reshape(x, shape)

    def permute(self, x: Array, axes: tuple[int, ...]) -> Array:
        """``x`` with its axes permuted."""
        return self.xp.permute_dims(x, axes)

    def matmul(self, a: Array, b: Array, turned: bool) -> Array:
        """``a @ b``; ``turned`` says that ``a`` is a permuted view."""
        return a @ b

    def multiply_sum(self, a: Array, b: Array, axes: tuple[int, ...]) -> Array:
        """``(a * b).sum(axes)`` with broadcasting."""
        return self.xp.sum(a * b, axis=axes)

    def pair_product(self, x: Array) -> Array:
        """``x[:, 0] * x[:, 1]`` for ``x`` of shape ``(m, 2, n)``."""
        return x[:, 0] * x[:, 1]

    def take(self, x: Array, indices: Array, axis: int) -> Array:
        """Slices of ``x`` at ``indices`` along ``axis``."""
        return self.xp.take(x, indices, axis=axis)

    def scatter_add(self, shape: Shape, axis: int, indices: Array, values: Array) -> Array:
        """Zeros of ``shape`` with ``values`` added at ``indices`` along ``axis``: the adjoint of :meth:`take`."""
        # The array API has no scatter; this default only spares a new backend the work. The built-in ones override it.
        one_hot = self.xp.astype(indices[None, :] == self.xp.arange(shape[axis])[:, None], values.dtype)
        moved = self.xp.tensordot(one_hot, values, axes=([1], [axis]))
        return self.xp.moveaxis(moved, 0, axis)

    def sum_of_squares(self, arrays: Sequence[Array]) -> Array:
        """The sum of the squared absolute values of all elements of all arrays."""
        return sum(self.xp.sum(abs(a) ** 2) for a in arrays)

    def power_of_two(self, x: Array) -> Array:
        """A power of two between ``x / 4`` and ``x``, by which division is exact; NaN where ``x`` is not finite.

        ``x`` is positive. A framework without ``frexp`` may give any number of the size of ``x``.
        """
        finite, frexp = self.xp.isfinite(x), getattr(self.xp, "frexp", None)
        x = self.xp.where(finite, x, self.xp.ones_like(x))
        return self.xp.where(finite, x / (2 * frexp(x)[0]) if frexp else x, self.xp.nan)

    def descend(self, arrays: Sequence[Array], rate: Any, directions: Sequence[Array]) -> tuple[Array, ...]:
        """``array - rate * direction`` for each pair; ``rate`` is a number or a scalar array."""
        return tuple(a - rate * d for a, d in zip(arrays, directions, strict=True))

    def svd(self, x: Array) -> tuple[Array, Array, Array]:
        """``U (.., m, k)``, singular values ``(.., k)``, descending, and ``V^H (.., k, n)``, where k is min(m, n)."""
        u, s, vh = self.xp.linalg.svd(x, full_matrices=False)
        return u, s, vh

    def svdvals(self, x: Array) -> Array:
        """Singular values, shape ``(.., min(m, n))``, descending."""
        return self.xp.linalg.svdvals(x)

    def spectrum(self, values: Function, x: Array, rtol: float) -> Array:
        """``values(x)``, the singular values of ``x``, with the derivative of a spectral function.

        A framework that differentiates takes ``U diag(g) V^H`` for the cotangent ``g``, with 0 in place of ``g`` at
        values up to ``rtol`` times the largest; it never differentiates ``values`` itself. Here: no derivative rule.
        """
        return values(x)

    def differentiate_as(self, fn: Function, smooth: Function, arrays: Sequence[Array]) -> Any:
        """``fn(*arrays)``, a tuple of arrays, with the derivative of ``smooth(*arrays)``, which has the same values.

        A framework that differentiates never differentiates ``fn`` itself. Here: no derivative rule.
        """
        return fn(*arrays)

    # transformations with a default

    def value_and_grad(self, fn: Function) -> Function:
        """``fn(arrays, *rest) -> scalar`` to a function that gives the scalar and a tuple of gradients."""
        raise unsupported(self, "value_and_grad")

    def jit(self, fn: Function) -> Function:
        """A compiled ``fn``; without a compiler, ``fn`` itself."""
        return fn

    def vmap(self, fn: Function) -> Function:
        """``fn`` over a leading axis of all its arguments and results (tuples of arrays)."""
        raise unsupported(self, "vmap")

    def while_loop(self, condition: Function, body: Function, state: Any) -> Any:
        """``body`` applied to ``state`` as long as ``condition`` holds."""
        while condition(state):
            state = body(state)
        return state

    def compiled_loop(self, condition: Function, body: Function) -> Any:
        """A :meth:`while_loop`, called as ``loop(state, *given)``, that takes time to compile; ``None`` for none.

        ``condition`` and ``body`` take ``(state, *given)``; ``loop.pays(state)`` says whether steps are tiny.
        """
        return None

    def scan(self, fn: Function, state: Any, xs: Sequence[Any]) -> tuple[Any, list[Any]]:
        """``state, y = fn(state, x)`` for each row ``x`` of ``xs``; the last state and the rows ``y``."""
        ys = []
        for x in xs:
            state, y = fn(state, x)
            ys.append(y)
        return state, ys

    def cond(self, predicate: Any, fn: Function, *operands: Any) -> Any:
        """``fn(*operands)`` where ``predicate`` holds; else something of the same form (here ``None``)."""
        return fn(*operands) if predicate else None

    def odeint(
        self, fn: Function, state: Any, times: Any, data: Any, rtol: float, atol: float, max_steps: int
    ) -> tuple[list[Any], int, str]:
        """``state``, a tuple of arrays, along ``d state / dt = fn(state, data)`` from time 0 to each of ``times``.

        ``times`` increase from 0 on. The steps adapt: the error of each is below ``atol + rtol |state|``. Gives the
        states at the times that were reached, the number of steps, and why the others were not (else nothing).
        """
        raise unsupported(self, "odeint")

    def stop_gradient(self, x: Array) -> Array:
        """``x`` as a constant of differentiation."""
        return x

    def wrap_optimizer(self, optimizer: Any) -> Any:
        """The framework's own optimizer as an object with ``init`` and ``update``; ``None`` if it is not one."""
        return None

    def register_structure(self, cls: type[Any]) -> None:
        """Make ``cls`` a pytree of this framework."""

    def trainer(self, name: str, **settings: Any) -> Any:
        """A model of this framework with its data and optimizer, for :class:`tnrank.experiments.Fitting`.

        It is made by ``make(**settings)`` of the module ``trainers.NAME`` beside the backend: code that needs a
        framework stands there, and recipes name it.

        Raises:
            ValueError: for an unknown name; the known ones are listed.
        """
        room = f"{type(self).__module__.rpartition('.')[0]}.trainers"
        modules = iter_modules(import_module(room).__path__) if find_spec(room) else ()
        known = [one.name for one in modules if not one.name.startswith("_")]
        if name not in known:
            raise ValueError(f"the {self.name} backend has no trainer {name!r}; it has {', '.join(known) or 'none'}")
        return import_module(f"{room}.{name}").make(**settings)

    def read_weights(self, path: str, key: str | None = None) -> Mapping[str, Array]:
        """``{name: array}`` of a file in the framework's own format; code in such a file is never run.

        ``key`` names the part that holds the weights where a file has several.

        Raises:
            ValueError: if there are no weights in it; the sentence starts with ``path``.
        """
        raise NotImplementedError(f"the {self.name} backend has no format of its own for weights, needed for {path}")

    def check_dtype(self, dtype: str | None) -> str | None:
        """``dtype`` if this backend has it.

        Raises:
            ValueError: if it does not; the known ones are listed.
        """
        if dtype is None or dtype in self.dtypes:
            return dtype
        raise ValueError(f"the {self.name} backend has no dtype {dtype!r}; it has {', '.join(self.dtypes)}")

    def enable_dtype(self, dtype: str | None) -> None:
        """Allow ``dtype`` where the framework keeps it behind a flag of its own; only the command calls this."""

    def dtype_enabled(self, dtype: str | None) -> AbstractContextManager[None]:
        """A block in which ``dtype`` is allowed; the framework's flag is as before after it."""
        return nullcontext()

    def __repr__(self) -> str:
        return f"<tnrank backend {self.name!r}, version {self.version()}>"


def unsupported(backend: Backend, capability: str) -> NotImplementedError:
    """The error of a backend that lacks ``capability``."""
    return NotImplementedError(
        f"the {backend.name} backend has no {capability}; it offers "
        f"{', '.join(sorted(backend.capabilities)) or 'no transformations'}. "
        "Convert first: x.to('jax') or x.to('torch')."
    )
