from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from tnrank import Backend

NDArray = np.ndarray[Any, Any]


class NumpyBackend(Backend):
    """NumPy arrays on the host; gradients come from environments."""

    name: ClassVar[str] = "numpy"
    xp: Any = np
    array_modules: tuple[str, ...] = ("numpy",)
    dtypes: tuple[str, ...] = ("float32", "float64", "complex64", "complex128")
    default_dtype: str = "float64"

    def version(self) -> str:
        return np.__version__

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def asarray(self, x: Any, dtype: str | None = None, device: Any = None) -> NDArray:
        if device is not None and not (isinstance(device, str) and device == "cpu"):
            raise ValueError(f"the numpy backend has the device 'cpu' alone, got {device!r}")
        return np.asarray(x, dtype=self.check_dtype(dtype))

    def to_numpy(self, x: Any) -> NDArray:
        return np.asarray(x)

    def dtype_of(self, x: Any) -> str:
        return _name(x.dtype)

    def device_of(self, x: Any) -> str:
        return "cpu"

    def check_array(self, x: Any) -> None:
        if type(x) is not np.ndarray:
            _check_wrapped(x)

    def plain(self, x: Any) -> NDArray:
        data: NDArray = np.ma.getdata(x) if isinstance(x, np.ma.MaskedArray) else x
        return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))

    def einsum(self, equation: str, *operands: Any) -> Any:
        return np.einsum(equation, *operands)

    def synchronize(self, x: Any) -> None:
        pass

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return x.reshape(shape)

    def permute(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.transpose(axes)

    def multiply_sum(self, a: Any, b: Any, axes: tuple[int, ...]) -> Any:
        labels = list(range(a.ndim))
        left = [k for k in labels if a.shape[k] == b.shape[k] or a.shape[k] != 1]
        right = [k for k in labels if a.shape[k] == b.shape[k] or b.shape[k] != 1]
        kept = [k for k in labels if k not in axes]
        a = a.reshape([a.shape[k] for k in left])
        return np.einsum(a, left, b.reshape([b.shape[k] for k in right]), right, kept)

    def scatter_add(self, shape: tuple[int, ...], axis: int, indices: Any, values: Any) -> Any:
        out = np.zeros(shape, values.dtype)
        np.add.at(np.moveaxis(out, axis, 0), indices, np.moveaxis(values, axis, 0))
        return out

    def sum_of_squares(self, arrays: Any) -> Any:
        return sum(np.vdot(a, a).real for a in arrays)

    def svd(self, x: Any) -> Any:
        return _svd(x, vectors=True)

    def svdvals(self, x: Any) -> Any:
        return _svd(x, vectors=False)


@cache
def _name(dtype: Any) -> str:
    # NumPy makes the name anew, which takes longer than adding a few numbers.
    return str(dtype if dtype.isnative else dtype.newbyteorder("="))


def _check_wrapped(x: Any) -> None:
    if isinstance(x, np.matrix):
        raise TypeError("got a numpy.matrix, whose * is a matrix product, needed an array: numpy.asarray(x)")
    if not isinstance(x, np.ma.MaskedArray):
        return
    masked = np.ma.getmaskarray(x)
    if masked.any():
        first = tuple(int(k) for k in np.argwhere(masked)[0])
        raise ValueError(
            f"{int(masked.sum())} of {masked.size} entries of the masked array are masked, the first at index {first}, "
            "and every entry is needed here: fill in the masked ones first, by tnrank.complete with the positions "
            "np.argwhere(~np.ma.getmaskarray(x)) and the values x.compressed(), or give x.data to have the mask ignored"
        )


backend = NumpyBackend()


def _svd(x: NDArray, vectors: bool) -> Any:
    """The decomposition by divide and conquer, or, where that does not converge, by QR iteration, which is slower."""
    try:
        return np.linalg.svd(x, full_matrices=False, compute_uv=vectors)  # type: ignore[call-overload]
    except np.linalg.LinAlgError:
        if not np.isfinite(x).all():
            raise
    from scipy.linalg import svd

    matrices = x.reshape(-1, *x.shape[-2:])
    found = [svd(m, full_matrices=False, compute_uv=vectors, lapack_driver="gesvd") for m in matrices]
    if not vectors:
        return np.reshape(found, (*x.shape[:-2], -1))
    return tuple(np.stack(part).reshape(*x.shape[:-2], *part[0].shape) for part in zip(*found, strict=True))
