"""Images as states, patches, gray and smaller images; labels as targets: values by hand, laws, bad input."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tnrank
from tnrank import circuits, data

BYTES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
COLOR = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3)).astype(np.uint8)


def test_states_by_hand() -> None:
    """127 is below and 128 above the middle of 0 .. 255; halfway goes to the even state."""
    two = data.states(BYTES)
    assert two.shape == (1, 256)
    assert two.dtype == np.uint8
    assert two[0].tolist() == [0] * 128 + [1] * 128
    assert data.states(np.array([[0.25, 0.5, 0.75]]), levels=3).tolist() == [[0, 1, 2]]
    assert data.states(np.array([[0.5, 0.125, 0.375]]), levels=2).tolist() == [[0, 0, 0]]
    assert data.states(np.array([[0.125, 0.375]]), levels=5).tolist() == [[0, 2]]
    assert data.states(BYTES, levels=256)[0].tolist() == list(range(256))
    assert data.states(np.array([[True, False]])).tolist() == [[1, 0]]
    assert data.states(np.array([[1 + 5e-7, -5e-7]])).tolist() == [[1, 0]]


@given(levels=st.integers(2, 256), single=st.booleans())
def test_bytes_and_floats_have_the_same_states(levels: int, single: bool) -> None:
    floats = (BYTES / 255).astype(np.float32 if single else np.float64)
    found = data.states(BYTES, levels)
    np.testing.assert_array_equal(found, data.states(floats, levels))
    exact = [int(2 * v * (levels - 1) + 255) // 510 for v in range(256)]  # whole numbers; none is halfway
    assert found[0].tolist() == exact


def test_pixels_stand_row_by_row() -> None:
    images = np.zeros((2, 3, 4))
    images[1, 2, 1] = 1
    assert np.argwhere(data.states(images)).tolist() == [[1, 2 * 4 + 1]]


@pytest.mark.parametrize("size", [1, 2])
def test_patches(size: int) -> None:
    found = data.patches(COLOR, size)
    assert found.shape == (3, 24 // size**2, 3 * size**2)
    for place, vector in enumerate(found[1]):
        row, column = divmod(place, 6 // size)
        corner = COLOR[1, row * size : (row + 1) * size, column * size : (column + 1) * size]
        by_hand = [corner[r, c, k] / 255 for k in range(3) for r in range(size) for c in range(size)]
        np.testing.assert_allclose(vector, by_hand, rtol=1e-15)
    floats = (COLOR[..., 0] / 255).astype(np.float32)
    found = data.patches(floats, size)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, circuits.patches(floats, size))


def test_gray_and_pooled_by_hand() -> None:
    """Pillow's conversion, which rounds to bytes, is the independent source."""
    image_module = pytest.importorskip("PIL.Image")
    found = data.gray(COLOR)
    pillow = np.stack([np.asarray(image_module.fromarray(image).convert("L")) for image in COLOR])
    assert np.abs(found * 255 - pillow).max() <= 1
    np.testing.assert_allclose(data.gray(COLOR / 255), found, rtol=1e-14)
    np.testing.assert_array_equal(data.gray(COLOR[..., 0]), COLOR[..., 0] / 255)
    np.testing.assert_array_equal(data.gray(COLOR[..., :1]), COLOR[..., 0] / 255)
    assert data.gray(np.full((1, 1, 1, 3), 255, np.uint8)).max() <= 1
    pooled = data.average_pool(COLOR, 2)
    assert pooled.shape == (3, 2, 3, 3)
    np.testing.assert_allclose(pooled[2, 1, 2], COLOR[2, 2:4, 4:6].astype(float).mean(axis=(0, 1)) / 255, rtol=1e-14)
    np.testing.assert_allclose(data.average_pool(COLOR[..., 1], 2), pooled[..., 1], rtol=1e-14)


@given(pixels=arrays(np.uint8, (2, 4, 4)))
def test_pooling_keeps_the_mean(pixels: Any) -> None:
    assert data.average_pool(pixels, 2).mean() == pytest.approx(pixels.mean() / 255, rel=1e-12)
    np.testing.assert_allclose(data.average_pool(pixels, 4)[:, 0, 0], data.patches(pixels, 4).mean(axis=(1, 2)))


def test_targets_by_hand() -> None:
    labels = np.array([2, 0, 2, 5], np.uint8)
    assert data.one_versus_all(labels).tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert data.one_versus_all(labels, [5], positive=2.0).tolist() == [[0, 0, 0, 2]]
    assert data.one_versus_all(labels, np.unique(labels)).dtype == np.float64
    assert data.one_versus_all([True, False]).tolist() == [[0, 1], [1, 0]]


@given(labels=st.lists(st.integers(-3, 3), min_size=2, max_size=20).filter(lambda found: len(set(found)) > 1))
def test_every_sample_is_in_one_class(labels: list[int]) -> None:
    found = data.one_versus_all(labels, positive=2.0)
    np.testing.assert_array_equal(found.sum(axis=0), 2)
    assert (found.sum(axis=1) / 2).tolist() == [labels.count(c) for c in sorted(set(labels))]


def test_arrays_of_every_backend(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    pixels, labels = backend.asarray(COLOR[..., 0] / 255, dtype="float32"), backend.asarray(np.array([1, 0, 1]))
    np.testing.assert_array_equal(data.states(pixels), COLOR[..., 0].reshape(3, -1) > 127)
    assert data.patches(pixels, 2).dtype == np.float32
    assert data.one_versus_all(labels).tolist() == [[0, 1, 0], [1, 0, 1]]
    assert type(data.shuffled_pixels(pixels)) is np.ndarray


def test_labeled_images() -> None:
    pixels, labels = data.check_labeled(COLOR, [0, 1, 1])
    assert pixels is COLOR
    assert labels.dtype == np.int64


def test_digits_are_split_in_order() -> None:
    pytest.importorskip("sklearn")
    whole, labels = data.digits()
    (train, first), (test, last) = data.images(), data.images("digits", "test")
    np.testing.assert_array_equal(np.concatenate([train, test]), whole)
    np.testing.assert_array_equal(np.concatenate([first, last]), labels)
    assert (len(train), len(test)) == (1200, 597)


def test_digits_as_states() -> None:
    """In two states, 29 training digits form twelve groups of equal ones, of one class each; in three, all differ."""
    pytest.importorskip("sklearn")
    pixels, labels = data.images()
    for levels, equal, groups in ((2, 29, 12), (3, 0, 0)):
        found = [state.tobytes() for state in data.states(pixels, levels)]
        repeated = [count for count in Counter(found).values() if count > 1]
        assert (sum(repeated), len(repeated)) == (equal, groups)
        assert len(set(zip(found, labels.tolist(), strict=True))) == len(set(found))


def test_mnist_as_states(data_dir: Path) -> None:
    """The class counts of the 10,000 test images are known; those of the training images are counted in the file."""
    pixels, labels = data.images("mnist", "test", data_dir)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(labels).tolist() == counts
    targets = data.one_versus_all(labels, positive=2.0)
    assert (targets.sum(axis=1) / 2).tolist() == counts
    found = data.states(pixels)
    assert found.shape == (10000, 784)
    np.testing.assert_array_equal(found.reshape(-1, 28, 28), pixels > 127)
    train = data.images("mnist", "train", data_dir)[1]
    content = gzip.decompress((data_dir / "mnist" / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert np.bincount(train).tolist() == [content.count(k) for k in range(10)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: data.states(BYTES / 1.0), "images / 255, with the same numbers for training and test"),
        (lambda: data.states(np.array([[-1.0, 3.0]])), "needed [0, 1]: pass (images - -1) / 4"),
        (lambda: data.states(BYTES.astype(int)), "pass images.astype('uint8'), or images / 255"),
        (lambda: data.states(COLOR), "tnrank.data.gray(images) has one value a pixel, images.reshape(3, -1) one mode"),
        (lambda: data.states(np.zeros(4)), "got shape (4,): one sample is images.reshape(1, -1)"),
        (lambda: data.states(np.zeros((0, 4))), "at least one pixel of one sample, got shape (0, 4)"),
        (lambda: data.states([[0.5, np.nan]]), "1 of 2 entries of images are NaN or infinite, first at (0, 1): fill"),
        (lambda: data.states(np.ma.masked_array([[0.5, 1]], [[0, 1]])), "masked: fill them in, tnrank.fill_missing"),
        (lambda: data.states([["a"]]), "images is an array of numbers of shape (M, N) or (M, H, W), got [['a']]"),
        (lambda: data.states(BYTES, 257), "levels is a whole number from 2 to 256, got 257"),
        (lambda: data.patches(np.zeros((2, 16))), "rows and columns, images.reshape(2, H, W)"),
        (lambda: data.patches(BYTES, 3), "got 3 for 16 x 16: give 1 or 2 or 4 or 8 or 16"),
        (lambda: data.gray(np.zeros((2, 3, 8, 8))), "pass numpy.moveaxis(images, 1, -1)"),
        (lambda: data.gray(np.zeros((2, 8, 8, 4))), "4 channels, needed 1 or 3"),
        (lambda: data.average_pool(BYTES, 5), "give 1 or 2 or 4 or 8 or 16"),
        (lambda: data.one_versus_all([3, 3, 3]), "one class only, 3, in 3 samples"),
        (lambda: data.one_versus_all([0, 1], [2, 0]), "no sample has the class 2, the labels are 0, 1"),
        (lambda: data.one_versus_all([0, 1], [0, 0]), "classes has a class twice: 0, 0"),
        (lambda: data.one_versus_all([0.0, 1.0]), "pass labels.astype('int64')"),
        (lambda: data.one_versus_all(np.eye(2)[:, :1].astype(int)), "pass labels.reshape(-1)"),
        (lambda: data.one_versus_all([0, 1], positive=0), "positive is a finite number above 0, got 0"),
        (lambda: data.check_labeled(BYTES, [1, 2]), "1 images and 2 labels: one label belongs to each image"),
        (lambda: data.check_labeled(COLOR, [4, 4, 4]), "one class only, 4"),
        (lambda: data.images("mnits"), "unknown name 'mnits': give 'digits' or 'mnist'"),  # type: ignore[arg-type]
        (lambda: data.images("digits", "val"), "unknown split 'val': give 'train' or 'test'"),  # type: ignore[arg-type]
    ],
)
def test_bad_input(call: Callable[[], Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        call()
