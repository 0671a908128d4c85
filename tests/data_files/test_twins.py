"""Twins of a data set: what each keeps and what it loses, by seed."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tnrank import data

SHAPES = array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5)
IMAGES = st.one_of(
    arrays(np.uint8, SHAPES),
    arrays(np.float64, SHAPES, elements=st.floats(0, 1)),
    arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
    arrays(np.bool_, SHAPES),
)
TWINS = (data.random_images, data.shuffled_pixels, data.independent_pixels)


@pytest.mark.parametrize("twin", TWINS)
@given(images=IMAGES, seed=st.integers(0, 2**40))
def test_a_seed_repeats(twin: Callable[..., Any], images: Any, seed: int) -> None:
    before = images.copy()
    found = twin(images, seed=seed)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    np.testing.assert_array_equal(found, twin(images, seed=seed))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("twin", TWINS)
def test_seeds_differ(twin: Callable[..., Any]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8)).astype(np.uint8)
    found = [twin(images, seed=seed).tobytes() for seed in range(20)]
    assert len({images.tobytes(), *found}) == 21


@given(images=IMAGES, seed=st.integers(0, 2**40))
def test_shuffled_pixels_are_one_permutation(images: Any, seed: int) -> None:
    shuffled = data.shuffled_pixels(images, seed)
    flat = images.reshape(len(images), -1, *images.shape[3:])
    order = data.pixel_permutation(flat.shape[1], seed)
    np.testing.assert_array_equal(np.sort(order), np.arange(flat.shape[1]))
    np.testing.assert_array_equal(shuffled.reshape(flat.shape)[:, np.argsort(order)], flat)
    # Training and test set have one order; each sample alone has it, too.
    np.testing.assert_array_equal(data.shuffled_pixels(images[1:], seed), shuffled[1:])


@given(images=IMAGES, seed=st.integers(0, 2**40))
def test_independent_pixels_keep_every_marginal(images: Any, seed: int) -> None:
    found = data.independent_pixels(images, seed)
    pairs = zip(_by_pixel(found), _by_pixel(images), strict=True)
    assert all(sorted(map(tuple, left)) == sorted(map(tuple, right)) for left, right in pairs)


def _by_pixel(images: Any) -> list[Any]:
    """For each pixel, its channels in all samples."""
    channels = images.shape[3] if images.ndim == 4 else 1
    return list(np.moveaxis(images.reshape(len(images), -1, channels), 1, 0))


def test_independent_pixels_are_independent() -> None:
    """Pixels that were equal in every sample are uncorrelated: M = 4000 leaves 1 / sqrt(M) = .016 a pair."""
    images = np.repeat(np.random.default_rng(0).random((4000, 1)), 6, axis=1)
    before, after = (np.corrcoef(x.T) - np.eye(6) for x in (images, data.independent_pixels(images, seed=1)))
    assert before.max() == pytest.approx(1)
    assert np.abs(after).max() < 5 / 4000**0.5


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=30).filter(lambda found: len(set(found)) > 1))
def test_random_labels_keep_the_counts(labels: list[int]) -> None:
    found = data.random_labels(labels, seed=3)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == sorted(labels)
    np.testing.assert_array_equal(found, data.random_labels(np.array(labels, np.uint8), seed=3))


def test_random_labels_say_nothing_about_the_images() -> None:
    labels = np.repeat(np.arange(10), 1000)
    same = (data.random_labels(labels, seed=0) == labels).mean()
    assert abs(same - 0.1) < 5 * (0.1 * 0.9 / 10000) ** 0.5


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_random_images_are_uniform(levels: int, dtype: type) -> None:
    """The statistic of chi squared has mean K - 1 and variance 2 (K - 1)."""
    images = np.zeros((400, 10, 10), dtype)
    found = data.random_images(images, levels=levels, seed=0)
    states = found if dtype is np.uint8 else np.rint(found * (levels - 1))
    np.testing.assert_allclose(states, found if dtype is np.uint8 else found * (levels - 1), atol=1e-12)
    counts = np.bincount(states.astype(int).ravel(), minlength=levels)
    assert len(counts) == levels
    expected = found.size / levels
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - (levels - 1)) < 5 * (2 * (levels - 1)) ** 0.5


def test_the_values_of_random_images() -> None:
    """Whole numbers up to the largest, floats anywhere in [0, 1)."""
    states = np.array([[0, 1, 0, 0]] * 200, np.uint8)
    assert set(data.random_images(states).flat) == {0, 1}
    assert set(data.random_images(states * 4).flat) == {0, 1, 2, 3, 4}
    assert set(data.random_images(states.astype(bool)).flat) == {False, True}
    assert set(data.random_images(np.zeros((9, 9), int)).flat) == {0, 1}
    floats = data.random_images(np.zeros((200, 10)))
    assert len(np.unique(floats)) == 2000
    assert abs(floats.mean() - 0.5) < 5 / 12**0.5 / 2000**0.5


def test_training_and_test_set_get_other_noise() -> None:
    """With one seed: otherwise the test set would repeat the training set."""
    train = np.random.default_rng(0).integers(0, 2, (100, 64)).astype(np.uint8)
    twins = [data.random_images(part, seed=5) for part in (train, train[:60], train[::-1])]
    for left, right in pairwise(twins):
        count = min(len(left), len(right))
        assert abs((left[:count] == right[:count]).mean() - 0.5) < 0.05


def test_twins_of_mnist(data_dir: Path) -> None:
    """The twin of independent pixels has the mean image of MNIST, the random one has none."""
    pixels, labels = data.images("mnist", "test", data_dir)
    states = data.states(pixels)
    np.testing.assert_array_equal(data.independent_pixels(states).sum(axis=0), states.sum(axis=0))
    assert np.bincount(data.random_labels(labels)).tolist() == np.bincount(labels).tolist()
    assert abs(data.random_images(states).mean(axis=0) - 0.5).max() < 5 * 0.5 / 100


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: data.random_images(np.array([[-1, 3]])), "whole numbers from -1 on, needed states"),
        (lambda: data.random_images(np.array([[0, 3]], np.uint8), 3), "up to 3: levels are from 4 to 256, got 3"),
        (lambda: data.random_images(np.array([[0, 3]], np.uint8), 300), "up to 3: levels are from 4 to 256, got 300"),
        (lambda: data.random_images(np.array([[0.0, 16.0]])), "pass images / 16"),
        (lambda: data.random_images(np.array([[0.0, np.nan]])), "1 of 2 entries of images are NaN"),
        (lambda: data.random_images(np.eye(2), seed=-1), "seed is a whole number from 0 on, got -1"),
        (lambda: data.random_labels([1, 1]), "one class only"),
        (lambda: data.independent_pixels(np.ones((1, 4))), "two samples or more, got shape (1, 4)"),
        (lambda: data.shuffled_pixels(np.ones(4)), "one sample is images.reshape(1, -1)"),
        (lambda: data.pixel_permutation(0), "number is a whole number from 1 to"),
    ],
)
def test_bad_input(call: Callable[[], Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        call()
