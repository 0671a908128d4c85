"""Arrays from files: NumPy's formats, delimited text, images."""

from __future__ import annotations

import difflib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tnrank.data._csv import read_csv
from tnrank.data._images import SUFFIXES as _IMAGES
from tnrank.data._images import read_image

NDArray = np.ndarray[Any, Any]

_SUFFIXES = (".npy", ".npz", ".csv", *_IMAGES)


def read_array(path: str | Path, key: str | None = None, native: bool = True) -> NDArray:
    """The array in a file.

    Args:
        path: ``.npy`` (memory-mapped, read-only), ``.npz``, ``.csv`` (a matrix; delimiter comma, semicolon
            or tab; a header row is left out; empty fields are NaN), or an image (``.png .jpg .jpeg .bmp .gif
            .tif .tiff``).
        key: name of the array in an ``.npz`` file; ``None`` where it holds only one.
        native: bring numbers of the other byte order into that of this machine, which reads a mapped file into
            memory.

    Returns:
        Array as stored; float64 from text; images as float64 in [0, 1], ``(height, width)`` or ``(height,
        width, 3)``.

    Raises:
        FileNotFoundError: if there is no such file; similar names are given.
        ValueError: if the suffix is unknown, the file is damaged, holds no numbers or a pickled object
            array, a text row has another length (the line is named), or ``key`` is missing, unknown or out
            of place.
        ImportError: if it is an image and pillow is not installed.

    Source: numpy.lib.format for ``.npy`` and ``.npz``.

    Example:
        >>> import pathlib, tempfile
        >>> from tnrank.data import read_array
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "ratings.csv"
        >>> _ = path.write_text("film_a,film_b\\n1,2\\n,4\\n")
        >>> read_array(path)
        array([[ 1.,  2.],
               [nan,  4.]])
    """
    path = Path(path)
    suffix = path.suffix.lower()
    _check_path(path, suffix)
    if key is not None and suffix != ".npz":
        raise ValueError(f"{path} holds one array, got key={key!r}: a key names an array of an .npz file")
    if suffix == ".csv":
        return read_csv(path)
    if suffix in _IMAGES:
        return read_image(path)
    array = _read_npy(path) if suffix == ".npy" else _read_npz(path, key)
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"{path} holds entries of dtype {array.dtype}, needed numbers: save array.astype('float64') instead"
        )
    return array if array.dtype.isnative or not native else array.astype(array.dtype.newbyteorder("="))


def read_mask(path: str | Path, shape: tuple[int, ...], key: str | None = None) -> NDArray:
    """A mask from a file that :func:`read_array` can read: boolean, true where the file has 1.

    Args:
        path: the file; its entries are booleans, or the numbers 0 and 1.
        shape: shape that the mask must have.
        key: name of the array in an ``.npz`` file.

    Raises:
        ValueError: if the shape differs or an entry is neither 0 nor 1, or as :func:`read_array`.

    Source: none; a convention of this library.

    Example:
        >>> import numpy as np, pathlib, tempfile
        >>> from tnrank.data import read_mask
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "mask.npy"
        >>> np.save(path, np.eye(2))
        >>> read_mask(path, (2, 2))
        array([[ True, False],
               [False,  True]])
    """
    array = read_array(path, key)
    if array.shape != tuple(shape):
        raise ValueError(f"the mask {path} has shape {array.shape}, needed {tuple(shape)}, that of the tensor")
    if array.dtype.kind != "b":
        wrong = (array != 0) & (array != 1)
        if wrong.any():
            first = tuple(int(k[0]) for k in wrong.nonzero())
            raise ValueError(
                f"a mask has entries 0 and 1; {int(wrong.sum())} of {array.size} in {path} differ, the "
                f"first is {array[first]} at index {first}"
            )
    return np.array(array, dtype=bool)


def _check_path(path: Path, suffix: str) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, needed a file")
    if not path.exists():
        try:
            names = [p.name for p in path.parent.iterdir()]
        except OSError:
            raise FileNotFoundError(f"no file {path}: there is no folder {path.parent}") from None
        similar = difflib.get_close_matches(path.name, names, n=3)
        hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
        raise FileNotFoundError(f"no file {path}{hint}")
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path} has the unknown suffix {suffix!r}; known: {' '.join(_SUFFIXES)}")


def _read_npy(path: Path) -> NDArray:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(
                f"{path} is no .npy file (its first bytes are others): write it by numpy.save(path, array)"
            )
    try:
        array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    return array


def _read_npz(path: Path, key: str | None) -> NDArray:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .npz file (not a zip archive): write it by numpy.savez(path, name=array)")
    try:
        with np.load(path, allow_pickle=False) as found:
            names = found.files
            if key is None and len(names) != 1:
                listed = f"the arrays {', '.join(names)}: name one by key=" if names else "no array"
                raise KeyError(f"{path} holds {listed}")
            if key is not None and key not in names:
                raise KeyError(f"{path} has no array {key!r}; it holds {', '.join(names) or 'none'}")
            array: NDArray = found[key or names[0]]
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return array


def _unreadable(path: Path, error: Exception) -> ValueError:
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        return ValueError(
            f"{path} holds pickled Python objects, which could run code and are not read: save numbers "
            "instead, numpy.save(path, numpy.asarray(rows, dtype='float64')) with rows of equal length"
        )
    return ValueError(f"{path} cannot be read, it may be cut short or damaged: {error}")
