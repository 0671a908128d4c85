"""Wrong calls of complete name what was got, what was needed and the fix."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import tnrank

INDICES, VALUES = [[0, 0], [1, 2]], [1.0, 2.0]


def start(backend="numpy", **options):
    return tnrank.MatrixFactorization.random((3, 4), depth=2, backend=backend, **options)


@pytest.mark.parametrize(
    ("indices", "values", "error", "message"),
    [
        ([[0, 4]], [1.0], ValueError, "index 4 of entry 0 is out of range for mode 1 of dimension 4"),
        (
            [[0, 0], [-1, 0]],
            VALUES,
            ValueError,
            "index -1 of entry 1 is out of range for mode 0 of dimension 3",
        ),
        (
            [[0, 1], [2, 2], [0, 1]],
            [1, 5, 2],
            ValueError,
            r"entry \(0, 1\) is observed twice.* 1 at position 0, 2 at 2",
        ),
        ([], [], ValueError, "no observations, needed at least one"),
        (np.zeros((0, 2), int), np.zeros(0), ValueError, "no observations"),
        (
            INDICES,
            [1.0, np.nan],
            ValueError,
            r"1 of 2 values are NaN or infinite, the first at position 1.*isfinite",
        ),
        (INDICES, [np.inf, -np.inf], ValueError, "2 of 2 values are NaN or infinite"),
        (INDICES, [1.0], ValueError, r"values of shape \(1,\) for 2 observations: needed shape \(2,\)"),
        (INDICES, [[1.0], [2.0]], ValueError, r"shape \(2, 1\)"),
        (INDICES, [1j, 2.0], TypeError, "values are real numbers, got dtype complex128"),
        (INDICES, ["a", "b"], TypeError, "values are real numbers"),
        ([[0, 0, 0]], [1.0], ValueError, r"shape \(M, 2\), one column a mode, got \(1, 3\)"),
        ([0, 1], [1.0], ValueError, r"got \(2,\)"),
        ([[0.5, 1.0]], [1.0], TypeError, "whole numbers, got dtype float64"),
        (np.ones((3, 4), bool), np.ones(12), TypeError, "whole numbers, got dtype bool"),
    ],
)
def test_observations(backend_name, indices, values, error, message):
    with pytest.raises(error, match=message):
        tnrank.complete(start(backend_name), indices, values, steps=1)


def test_equal_repetitions_are_fine():
    once = tnrank.complete(start(), [[0, 0], [1, 1]], [1.0, 2.0], steps=0).loss
    thrice = tnrank.complete(start(), [[0, 0], [1, 1], [0, 0], [0, 0]], [1.0, 2.0, 1.0, 1.0], steps=0)
    residual = [float(start().entries([k])[0] - v) for k, v in (([0, 0], 1.0), ([1, 1], 2.0))]
    np.testing.assert_allclose(once, np.mean(np.square(residual)), rtol=1e-12)
    np.testing.assert_allclose(thrice.loss, (3 * residual[0] ** 2 + residual[1] ** 2) / 4, rtol=1e-12)


def test_measurements():
    make = tnrank.RankOneMeasurements
    with pytest.raises(ValueError, match=r"vectors of mode 1 have shape \(3, 4\): needed \(M, d_2\) with M = 2"):
        make([np.ones((2, 3)), np.ones((3, 4))])
    with pytest.raises(ValueError, match="vectors of mode 0 have 1 entries that are not finite"):
        make([np.asarray([[np.nan, 1, 1]]), np.ones((1, 4))])
    for empty in ([], [np.ones((0, 3)), np.ones((0, 4))]):
        with pytest.raises(ValueError, match="no measurements, needed at least one"):
            make(empty)
    good = make([np.ones((2, 3)), np.ones((2, 4))])
    assert repr(good) == "RankOneMeasurements(2 of a 3 x 4 tensor)"
    with pytest.raises(ValueError, match=r"tensor of shape \(3, 4\), the factorization has \(4, 3\)"):
        tnrank.complete(tnrank.MatrixFactorization.random((4, 3), depth=2), good, VALUES)
    with pytest.raises(ValueError, match=r"needed shape \(2,\)"):
        tnrank.complete(start(), good, [1.0])


@pytest.mark.parametrize("x", [np.eye(3), [], [np.eye(3)], "x", None, 3])
def test_what_to_start_from(x):
    with pytest.raises(TypeError, match="complete starts from a factorization or a sequence of them"):
        tnrank.complete(x, INDICES, VALUES)


def test_complex_factorizations(backend_name):
    with pytest.raises(TypeError, match="training is for real dtypes, got complex128"):
        tnrank.complete(start(backend_name, dtype="complex128"), INDICES, VALUES)


@pytest.mark.parametrize(
    "other",
    [
        lambda: tnrank.MatrixFactorization.random((3, 4), depth=3),
        lambda: tnrank.MatrixFactorization.random((3, 4), depth=2, hidden=2),
        lambda: tnrank.CPFactorization.random((3, 4), rank=3),
        lambda: start(dtype="float32"),
        lambda: start("torch", dtype="float64"),
    ],
)
def test_mixed_sequences(other):
    with pytest.raises(
        ValueError, match=r"factorization 1 is not structured like the first: got .*, needed .*a call of"
    ):
        tnrank.complete([start(), other()], INDICES, VALUES)


@pytest.mark.parametrize("steps", [-1, 1.5, "10"])
def test_steps(backend_name, steps):
    with pytest.raises(ValueError if steps == -1 else TypeError, match="steps is a whole number from 0 to"):
        tnrank.complete(start(backend_name), INDICES, VALUES, steps=steps)


def test_float64_on_jax_without_x64():
    pytest.importorskip("jax")
    code = """
import numpy as np, tnrank
make = lambda **k: tnrank.MatrixFactorization.random((3, 4), depth=2, **k)
assert make(backend="jax").dtype == "float32"
for call in (lambda: make(backend="jax", dtype="float64"), lambda: make().to("jax"),
             lambda: make(dtype="complex128").to("jax")):
    try:
        call()
    except ValueError as error:
        assert "jax.config.update('jax_enable_x64', True)" in str(error), error
        assert "dtype='float32'" in str(error) or "dtype='complex64'" in str(error), error
    else:
        raise AssertionError("nothing was raised")
x = make().to("jax", dtype="float32")
result = tnrank.complete(x, np.argwhere(np.ones((3, 4))), np.arange(12.0), steps=20)
assert result.factorization.dtype == "float32"
import jax
assert not jax.config.jax_enable_x64
"""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
