"""Labels as the targets of models, and images with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tnrank._check import real_number
from tnrank._explained import explained
from tnrank.data._arrays import NDArray, image_array, label_array

if TYPE_CHECKING:
    from tnrank._typing import Array

_LISTED = 10
"""Classes that an error lists."""


@explained
def one_versus_all(
    labels: Array | Sequence[int], classes: Array | Sequence[int] | None = None, positive: float = 1.0
) -> NDArray:
    """One row of targets a class: ``positive`` for the samples of the class, 0 for all others.

    Args:
        labels: ``(M,)`` whole numbers.
        classes: the classes in the order of the rows; ``None`` takes all that occur, sorted. Give the classes of the
            training set for a test set in which one may be absent.
        positive: target of a sample of the class; the paper's is 2.

    Returns:
        float64 array ``(classes, M)``.

    Raises:
        ValueError: if there is one class only, a class of ``classes`` has no sample or stands there twice, or
            ``positive`` is not positive.
        TypeError: if an argument is of another type.

    Source: Razin, Maman & Cohen 2021, App. (one-versus-all labels 0 and 2).

    Example:
        >>> from tnrank.data import one_versus_all
        >>> one_versus_all([3, 5, 3, 8], classes=[8, 3], positive=2.0)
        array([[0., 0., 0., 2.],
               [2., 0., 2., 0.]])
    """
    checked = label_array(labels)
    value = real_number(positive, "positive", 0, above=True)
    present = several_classes(checked)
    rows = present if classes is None else label_array(classes, "classes")
    if len(np.unique(rows)) < len(rows):
        raise ValueError(f"classes has a class twice: {_listed(rows)}")
    absent = np.setdiff1d(rows, present)
    if len(absent):
        raise ValueError(f"no sample has the class {_listed(absent)}, the labels are {_listed(present)}")
    found: NDArray = np.where(checked == rows[:, None], value, 0.0)
    return found


@explained
def check_labeled(images: Array, labels: Array | Sequence[int]) -> tuple[NDArray, NDArray]:
    """Images and labels that belong together: as many of one as of the other, nothing missing, two classes or more.

    Args:
        images: ``(M, H, W)``, ``(M, H, W, channels)`` or ``(M, N)``.
        labels: ``(M,)`` whole numbers.

    Returns:
        The images as a NumPy array, and the labels as int64.

    Raises:
        ValueError: if the numbers differ, images have NaN, infinite or masked entries, or there is one class only.
        TypeError: if an argument is of another type.

    Example:
        >>> import numpy as np
        >>> from tnrank.data import check_labeled
        >>> images, labels = check_labeled(np.zeros((3, 2, 2)), [0, 1, 1])
        >>> check_labeled(images, labels[:2])
        Traceback (most recent call last):
        ValueError: 3 images and 2 labels...
    """
    pixels, classes = image_array(images), label_array(labels)
    if len(pixels) != len(classes):
        fewer = min(len(pixels), len(classes))
        raise ValueError(
            f"{len(pixels)} images and {len(classes)} labels: one label belongs to each image; if the first ones do, "
            f"pass images[:{fewer}] and labels[:{fewer}]"
        )
    several_classes(classes)
    return pixels, classes


def several_classes(labels: NDArray) -> NDArray:
    """The sorted classes of checked labels.

    Raises:
        ValueError: if there is one only.
    """
    present: NDArray = np.unique(labels)
    if len(present) < 2:
        raise ValueError(
            f"labels have one class only, {present[0]}, in {len(labels)} samples: needed two classes or more; "
            "files are often sorted by class, then numpy.random.default_rng(0).permutation(M) draws samples of all"
        )
    return present


def _listed(classes: NDArray) -> str:
    text = ", ".join(str(c) for c in classes[:_LISTED].tolist())
    return text if len(classes) <= _LISTED else f"{text}, .. ({len(classes)} in all)"
