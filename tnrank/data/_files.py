"""Arrays from files: NumPy's formats, delimited text, images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import instance
from tnrank._check import shape as checked_shape
from tnrank._explained import explained
from tnrank._reading import check_size, regular_file
from tnrank.data._csv import CsvFormat, read_csv, split_labels
from tnrank.data._images import IMAGE_SUFFIXES, read_image
from tnrank.data._npy import read_npy, read_npz

NDArray = np.ndarray[Any, Any]

_SUFFIXES = (".npy", ".npz", ".csv", *IMAGE_SUFFIXES)


@explained
def read_array(
    path: str | os.PathLike[str], key: str | None = None, native: bool = True, *, csv: CsvFormat | None = None
) -> NDArray:
    """The array in a file.

    Args:
        path: ``.npy`` (memory-mapped, read-only), ``.npz``, ``.csv`` (a matrix; delimiter comma, semicolon
            or tab; a header row is left out; empty fields are NaN), or an image (``.png .jpg .jpeg .bmp .gif
            .tif .tiff``).
        key: name of the array in an ``.npz`` file; ``None`` where it holds only one.
        native: bring numbers of the other byte order into that of this machine, which reads a mapped file into
            memory.
        csv: how numbers are written in a ``.csv`` file; found where it is not given.

    Returns:
        Array as stored; float64 from text; images as float64 in [0, 1], ``(height, width)`` or ``(height,
        width, 3)``.

    Raises:
        FileNotFoundError: if there is no such file; similar names are given.
        ValueError: if the suffix is unknown, the file is damaged, is no file on disk (a folder, a pipe), holds more
            than half of the available memory, no numbers or a pickled object array, a text row has another length
            (the line is named), or ``key`` is missing, unknown or out of place.
        TypeError: if an argument is of another type.
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
    array = read_rounded(path, key, csv)[0]
    if array.dtype.isnative or not native:
        return array
    check_size(Path(path), array.nbytes, "an array of the other byte order")
    return array.astype(array.dtype.newbyteorder("="))


def read_rounded(
    path: str | os.PathLike[str], key: str | None = None, csv: CsvFormat | None = None
) -> tuple[NDArray, float | None]:
    """The array in a file as stored, and the step that its entries are rounded to if they are pixels."""
    file = regular_file(path)
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"{file} has the unknown suffix {suffix!r}; known: {' '.join(_SUFFIXES)}")
    instance(key, "key", (str, type(None)), "the name of an array in an .npz file, or None")
    if key is not None and suffix != ".npz":
        raise ValueError(f"{file} holds one array, got key={key!r}: a key names an array of an .npz file")
    instance(csv, "csv", (CsvFormat, type(None)), "a format such as CsvFormat(decimal=','), or None")
    if csv is not None and csv != CsvFormat() and suffix != ".csv":
        raise ValueError(f"{file} is no .csv file, got csv={csv}: a format says how text is read")
    if suffix == ".csv":
        return read_csv(file, csv), None
    if suffix in IMAGE_SUFFIXES:
        return read_image(file)
    return (read_npy(file) if suffix == ".npy" else read_npz(file, key)), None


@explained
def read_labeled_csv(
    path: str | os.PathLike[str], column: str, *, csv: CsvFormat | None = None
) -> tuple[NDArray, NDArray]:
    """The numbers of a table ``(M, N)`` without one of its columns, and that column, the labels ``(M,)``.

    Args:
        path: a ``.csv`` file with a header row; delimiter comma, semicolon or tab.
        column: the name of the labels in the header; they may be words.
        csv: how numbers are written; found where it is not given.

    Raises:
        FileNotFoundError: if there is no such file; similar names are given.
        ValueError: if there is no header, not one column of that name, a label is missing, or as :func:`read_array`.
        TypeError: if an argument is of another type.

    Source: none; a convention of this library.

    Example:
        >>> import pathlib, tempfile
        >>> from tnrank.data import read_labeled_csv
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("width,height,kind\\n1,2,rose\\n3,4,lily\\n")
        >>> read_labeled_csv(path, "kind")
        (array([[1., 2.],
               [3., 4.]]), array(['rose', 'lily'], dtype='<U4'))
    """
    file = regular_file(path)
    if file.suffix.lower() != ".csv":
        raise ValueError(f"{file} is no .csv file: columns have names in those only, tnrank.data.read_array reads it")
    instance(column, "column", str, "the name of a column in the header")
    instance(csv, "csv", (CsvFormat, type(None)), "a format such as CsvFormat(decimal=','), or None")
    return split_labels(file, column, csv)


@explained
def read_mask(
    path: str | os.PathLike[str], shape: tuple[int, ...], key: str | None = None, *, csv: CsvFormat | None = None
) -> NDArray:
    """A mask from a file that :func:`read_array` can read: boolean, true where the file has 1.

    Args:
        path: the file; its entries are booleans, or the numbers 0 and 1.
        shape: shape that the mask must have.
        key: name of the array in an ``.npz`` file.
        csv: how numbers are written in a ``.csv`` file.

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
    needed = checked_shape(shape, least=0)
    array = read_array(path, key, csv=csv)
    if array.shape != needed:
        raise ValueError(f"the mask {path} has shape {array.shape}, needed {needed}, that of the tensor")
    if array.dtype.kind != "b":
        wrong = (array != 0) & (array != 1)
        if wrong.any():
            first = tuple(int(k[0]) for k in wrong.nonzero())
            raise ValueError(
                f"a mask has entries 0 and 1; {int(wrong.sum())} of {array.size} in {path} differ, the "
                f"first is {array[first]} at index {first}"
            )
    return np.array(array, dtype=bool)
