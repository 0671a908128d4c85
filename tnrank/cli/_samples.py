"""Samples and labels of ``tnrank entanglement`` from arrays, tables and folders of images."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from tnrank._check import shown
from tnrank.cli import _console

_ARRAYS = (".npy", ".npz", ".csv")


def read_samples(
    file: Path, labels: str | None, key: str | None, csv: dict[str, Any] | None, gray: bool, rescale: bool
) -> tuple[Any, Any]:
    """The samples, and the labels ``(M,)`` or ``None``; what is stored as bytes is divided by 255.

    ``labels`` is a column of the same ``.csv`` file or an array of the same ``.npz`` file unless it has the suffix of a
    file.
    """
    from tnrank.data import IMAGE_SUFFIXES, CsvFormat, read_array, read_labeled_csv

    suffix = file.suffix.lower()
    inside = labels is not None and Path(labels).suffix.lower() not in _ARRAYS
    y: Any = None
    if file.is_dir():
        if key is not None or csv is not None:
            raise ValueError(f"{file} is a folder of images: --key and the options of .csv files have no meaning there")
        X = _images(file, gray)
    elif suffix in IMAGE_SUFFIXES:
        raise ValueError(f"{file} is one image, needed samples: give the folder that the images are in")
    elif labels is not None and inside and suffix == ".csv" and file.is_file() and key is None:
        X, y = read_labeled_csv(file, labels, csv=None if csv is None else CsvFormat(**csv))
    else:
        X = _scaled(file, read_array(file, key, csv=None if csv is None else CsvFormat(**csv)), gray, rescale)
    if labels is not None and y is None:
        y = _column(read_array(file, labels) if inside and suffix == ".npz" else read_array(labels), labels)
    return X, y


def is_positive(y: Any, positive: str, labels: str) -> Any:
    """Which labels are those of one class, a number or a word."""
    wanted: Any = positive
    if y.dtype.kind not in "US":
        try:
            wanted = float(positive)
        except ValueError:
            raise ValueError(
                f"got --positive {shown(positive)}, needed a number as the labels in {labels} are"
            ) from None
    if (isinstance(wanted, float) and not isfinite(wanted)) or not (y == wanted).any():
        raise ValueError(f"no label in {labels} is {positive}, needed the label of a class: it has {_some(y)}")
    return y == wanted


def _some(y: Any) -> str:
    import numpy as np

    classes = np.unique(y)
    listed = ", ".join(str(label) if y.dtype.kind in "US" else f"{float(label):g}" for label in classes[:10])
    return listed + (", .." if len(classes) > 10 else "")


def _column(y: Any, labels: str) -> Any:
    if y.ndim == 2 and 1 in y.shape:
        y = y.reshape(-1)
    if y.ndim != 1:
        raise ValueError(f"the labels in {labels} have shape {y.shape}, needed one label a sample, in a row or column")
    return y


def _scaled(file: Path, X: Any, gray: bool, rescale: bool) -> Any:
    """An array as read, in gray if that was asked for, and bytes divided by 255 unless they are scaled later."""
    import numpy as np

    from tnrank.data import gray as to_gray

    if gray and X.ndim == 4:
        return to_gray(X)
    if X.dtype == np.uint8 and X.ndim in (2, 3) and not rescale:
        _console.say(f"{file} has bytes: they are divided by 255", console=_console.errors())
        return X / 255
    return X


def _images(folder: Path, gray: bool) -> Any:
    """All images of a folder in the order of their names, ``(M, H, W)``."""
    import numpy as np

    from tnrank._memory import check_fits
    from tnrank.data import IMAGE_SUFFIXES, read_array
    from tnrank.data import gray as to_gray

    inside = sorted(folder.iterdir())
    files = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()]
    if len(files) < 2:
        subfolders = any(path.is_dir() for path in inside)
        fix = (
            "; its subfolders are not read: move all images into one folder, and give the class of each, in the order "
            "of their names, as --labels FILE"
        )
        told = f"{folder} holds {len(files)} images ({' '.join(IMAGE_SUFFIXES)}), needed 2 or more"
        raise ValueError(told + (fix if subfolders else ""))
    images: list[Any] = []
    for path in files:
        image = read_array(path)
        if image.ndim == 3 and gray:
            image = to_gray(image[None])[0]
        if image.ndim != 2:
            raise ValueError(f"{path} is in color, needed gray images: give --gray, which makes all of them gray")
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{path} has {image.shape[0]} x {image.shape[1]} pixels, {files[0].name} has "
                f"{images[0].shape[0]} x {images[0].shape[1]}: needed images of one size"
            )
        if not images:
            check_fits(2 * len(files) * image.size, f"{len(files):,} images in {folder}", "move some elsewhere")
        images.append(image)
    return np.stack(images)
