"""A small array library and its tnrank backend, with the required functions alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank import Backend


class Grid:
    """An array that NumPy functions refuse, so that the library cannot lean on NumPy unnoticed."""

    __module__ = "toylib"  # as if installed, whichever way this file is imported
    __hash__ = None

    def __init__(self, data: Any) -> None:
        self.data = np.asarray(data)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a Grid is not a NumPy array: call ToyBackend.to_numpy")

    __array_ufunc__ = None
    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)
    mT = property(lambda self: Grid(self.data.mT))

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __abs__(self) -> Grid:
        return Grid(abs(self.data))

    def __getitem__(self, key: Any) -> Grid:
        return Grid(self.data[key])


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    return value.data if isinstance(value, Grid) else value


def _lifted(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*_plain(args), **{key: _plain(value) for key, value in kwargs.items()})
        return Grid(result) if isinstance(result, (np.ndarray, np.generic)) else result

    return call


for _name in ("matmul", "mul", "rmul", "add", "radd", "sub", "rsub", "truediv", "pow", "lt", "eq"):
    setattr(Grid, f"__{_name}__", _lifted(getattr(np.ndarray, f"__{_name}__")))


class Namespace:
    """The array-API functions, on grids."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return Namespace(found) if name == "linalg" else _lifted(found)


class ToyBackend(Backend):
    name = "toy"
    xp = Namespace(np)
    array_modules = ("toylib",)
    dtypes = ("float32", "float64")
    default_dtype = "float64"

    def version(self) -> str:
        return "1.0"

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def asarray(self, x: Any, dtype: str | None = None, device: Any = None) -> Grid:
        return Grid(np.asarray(_plain(x), dtype=self.check_dtype(dtype)))

    def to_numpy(self, x: Grid) -> np.ndarray[Any, Any]:
        return x.data

    def dtype_of(self, x: Grid) -> str:
        return x.dtype.name

    def device_of(self, x: Grid) -> str:
        return "cpu"

    def einsum(self, equation: str, *operands: Grid) -> Grid:
        return Grid(np.einsum(equation, *_plain(operands)))

    def synchronize(self, x: Any) -> None:
        pass


backend = ToyBackend()
