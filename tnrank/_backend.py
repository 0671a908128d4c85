"""How the library finds the array framework of an array, and what a framework must know of its values."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from tnrank._backend_base import CAPABILITIES as CAPABILITIES
from tnrank._backend_base import Backend as Backend
from tnrank._check import instance, sequence, shown

if TYPE_CHECKING:
    import numpy as np

    from tnrank._typing import Array, Function

# name -> (module of the backend, root modules of its array types, package to install, what pip needs)
_BUILT_IN = {
    "numpy": ("tnrank_numpy", ("numpy",), "numpy", "numpy"),
    "jax": ("tnrank_jax", ("jax", "jaxlib"), "jax", '"tnrank[jax]"'),
    "torch": ("tnrank_torch", ("torch",), "torch", '"tnrank[torch]"'),
}
_ENTRY_POINTS = "tnrank.backends"


class Structure:
    """Base of values that are arrays plus a hashable structure: every backend registers them as pytrees."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        _STRUCTURES.append(cls)
        for backend in _LOADED.values():
            backend.register_structure(cls)

    def _flatten(self) -> tuple[tuple[Array, ...], Any]:
        raise NotImplementedError

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Array]) -> Any:
        raise NotImplementedError


_STRUCTURES: list[type[Structure]] = []
_LOADED: dict[str, Backend] = {}
_BY_TYPE: dict[type, Backend] = {}


@cache
def _third_party() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=_ENTRY_POINTS) if point.name not in _BUILT_IN}


def known_backends() -> tuple[str, ...]:
    """Names of all backends, installed or not: the built-in table, then entry points."""
    return (
        *_BUILT_IN,
        *_third_party(),
        *(n for n in _LOADED if n not in _BUILT_IN and n not in _third_party()),
    )


def available_backends() -> tuple[str, ...]:
    """Names of the backends whose framework is installed.

    Example:
        >>> import tnrank
        >>> "numpy" in tnrank.available_backends()
        True
    """
    return tuple(n for n in known_backends() if n not in _BUILT_IN or _installed(n))


def _installed(name: str) -> bool:
    return importlib.util.find_spec(_BUILT_IN[name][2]) is not None


def get_backend(name: str | Backend) -> Backend:
    """The backend called ``name``; its framework is imported on first use.

    Raises:
        ValueError: if no backend has this name; the known names are listed.
        ImportError: if its framework is not installed; the pip command is given.

    Example:
        >>> import tnrank
        >>> tnrank.get_backend("numpy").name
        'numpy'
    """
    if isinstance(name, Backend):
        return name
    instance(name, "backend", str, "a name such as 'numpy', 'jax' or 'torch'")
    if name in _LOADED:
        return _LOADED[name]
    if name in _BUILT_IN:
        module, _, package, requirement = _BUILT_IN[name]
        if not _installed(name):
            raise ImportError(f"backend {name!r} needs {package}, which is not installed: pip install {requirement}")
        return register_backend(importlib.import_module(module).backend)
    if name in _third_party():
        return register_backend(_third_party()[name].load())
    hints = ", ".join(f"{n!r} (pip install {_BUILT_IN[n][3]})" for n in _BUILT_IN)
    others = [n for n in known_backends() if n not in _BUILT_IN]
    raise ValueError(
        f"unknown backend {name!r}; known: {hints}{''.join(f', {n!r}' for n in others)}. "
        f"A package adds its own under the entry-point group {_ENTRY_POINTS!r}."
    )


def register_backend(backend: Backend) -> Backend:
    """Add a backend without an entry point (tests, notebooks), and register all structures with it."""
    if backend.name not in _LOADED:
        _LOADED[backend.name] = backend
        for cls in _STRUCTURES:
            backend.register_structure(cls)
    return _LOADED[backend.name]


def backend_of(array: Array) -> Backend:
    """The backend that ``array`` belongs to.

    Raises:
        TypeError: if it is not an array of any known backend, or not stored densely.
        ValueError: if entries are masked.

    Example:
        >>> import numpy, tnrank
        >>> tnrank.backend_of(numpy.ones(3)).name
        'numpy'
    """
    kind = type(array)
    found = _BY_TYPE.get(kind)
    if found is None:
        found = _BY_TYPE[kind] = _LOADED[_load_backend(kind)]
    found.check_array(array)
    return found


def plain_array(array: Array) -> tuple[Array, Backend]:
    """``array`` without a wrapper that changes arithmetic (a mask that hides nothing), and its backend.

    Raises:
        TypeError: as :func:`backend_of`.
        ValueError: likewise.
    """
    backend = backend_of(array)
    return backend.plain(array), backend


def host_svd(matrix: np.ndarray[Any, Any]) -> Any:
    """``U``, singular values and ``V^H`` of matrices on the host, ``full_matrices=False``."""
    return get_backend("numpy").svd(matrix)


def host_svdvals(matrix: np.ndarray[Any, Any]) -> Any:
    """Singular values of matrices on the host, descending."""
    return get_backend("numpy").svdvals(matrix)


def host_array(given: Any, name: str) -> np.ndarray[Any, Any]:
    """An array of any backend, or nested sequences of numbers, as a NumPy array.

    Raises:
        TypeError: if it is neither, or an array that is not dense.
        ValueError: if entries are masked, or sequences have unequal lengths.
    """
    import numpy as np

    if hasattr(given, "shape") and not isinstance(given, np.generic):
        array, backend = plain_array(given)
        return np.asarray(backend.to_numpy(array))
    if given is None or isinstance(given, (str, bytes, dict, set, frozenset)):
        raise TypeError(f"{name} are an array or a sequence of numbers, got {shown(given)}")
    if isinstance(given, (list, tuple)):
        # NumPy reads masked arrays in a list past their masks.
        given = [plain_array(row)[0] if isinstance(row, np.ma.MaskedArray) else row for row in given]
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = str(error).partition(". ")[0]
        raise ValueError(
            f"{name} are an array or a sequence of numbers, and this {type(given).__name__} makes no array: {reason}"
        ) from None


def traced_as_constant(fn: Function) -> Function:
    """Have compilers that trace Python call ``fn`` and keep its result, rather than trace it.

    This is what ``torch.compiler.assume_constant_result`` does, without an import of torch.
    """
    fn._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return fn


@traced_as_constant
def _load_backend(kind: type) -> str:
    roots = [cls.__module__.partition(".")[0] for cls in kind.__mro__]
    # NumPy scalars have a dtype and a shape, and yet are not arrays.
    if not any(cls.__name__ == "generic" for cls in kind.__mro__):
        for backend in _LOADED.values():
            if any(root in backend.array_modules for root in roots):
                return backend.name
        for name, (_, modules, _, _) in _BUILT_IN.items():
            if any(root in modules for root in roots):
                return get_backend(name).name
        for name in _third_party():
            backend = get_backend(name)
            if any(root in backend.array_modules for root in roots):
                return name
    if issubclass(kind, Structure) and hasattr(kind, "to_dense"):
        raise TypeError(f"got a {kind.__qualname__}, needed an array: use x.to_dense(), or from_factorization(x) here")
    fix = "convert it, for example with numpy.asarray(x) or tnrank.get_backend('torch').asarray(x)"
    if issubclass(kind, (str, os.PathLike)):
        fix = "read it first, tnrank.data.read_array(path)"
    elif hasattr(kind, "toarray") or hasattr(kind, "todense"):
        fix = "a sparse array is made dense by x.toarray() or x.todense()"
    raise TypeError(
        f"got {kind.__module__}.{kind.__qualname__}, needed an array of a backend "
        f"({', '.join(available_backends())}): {fix}"
    )


def common_backend(arrays: Iterable[Array], names: Callable[[], Iterable[str]] | None = None) -> Backend:
    """The one backend of all arrays.

    Raises:
        TypeError: if they belong to two backends; the first array of each is named.
    """
    given = sequence(arrays, "arrays", "arrays")
    if not given:
        return get_backend("numpy")
    first = backend_of(given[0])
    for array in given:
        if backend_of(array) is not first:
            break
    else:
        return first
    found: dict[str, int] = {}
    for position, array in enumerate(given):
        found.setdefault(backend_of(array).name, position)
    titles = list(names()) if names else [str(p) for p in range(len(given))]
    listed = ", ".join(f"{titles[position]!r} is {name}" for name, position in found.items())
    raise TypeError(f"arrays of two backends in one call: {listed}; convert one side, for example x.to('torch')")
