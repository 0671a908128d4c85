"""Components that are cut: against SVDs, and moments against gradients of the new parametrization."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnrank.layers import initial, prune_weight, weight_format

STRUCTURES = ("mf", "cp", "tucker", "tt", "ttm", "htf", "btt")


def _weight(structure, rank=4, shape=(16, 16), **options):
    limits = weight_format("linear", shape, structure, rank=1, **options).limits
    return weight_format("linear", shape, structure, rank=[min(rank, m) for m in limits.values()], **options)


@given(keep=st.integers(1, 6), depth=st.integers(2, 4), seed=st.integers(0, 50))
def test_mf_keeps_the_largest_singular_values(keep, depth, seed):
    weight = _weight("mf", 6, depth=depth)
    arrays = initial(weight, seed, "numpy", "float64")
    before = weight.dense(arrays)
    found = prune_weight(weight, arrays, {}, None, keep)
    s = np.linalg.svd(before, compute_uv=False)
    assert found.weight.ranks == (keep,) * (depth - 1)
    np.testing.assert_allclose(np.linalg.svd(found.weight.dense(found.arrays), compute_uv=False)[:keep], s[:keep])
    assert found.error == pytest.approx(np.linalg.norm(s[keep:6]) / np.linalg.norm(s), abs=1e-8)
    np.testing.assert_allclose(found.norms["h1"], s[:6] / np.linalg.norm(s), atol=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("rtol", [1e-12, 0.1, 0.6])
@pytest.mark.parametrize("groups", [1, 2])
def test_tolerances_hold_and_errors_are_true(structure, rtol, groups):
    if groups == 2 and structure in ("ttm", "btt"):
        return
    weight = weight_format("conv", (12, 5, 3), structure, rank=3, groups=2) if groups == 2 else _weight(structure)
    arrays = initial(weight, 0, "numpy", "float64")
    before = weight.dense(arrays)
    found = prune_weight(weight, arrays, {}, rtol, None)
    error = np.linalg.norm(found.weight.dense(found.arrays) - before) / np.linalg.norm(before)
    assert error == pytest.approx(found.error, abs=1e-10)
    assert error <= rtol + 1e-12
    if rtol == 0.6 and groups == 1:
        assert found.weight.parameter_count < weight.parameter_count


@pytest.mark.parametrize("structure", STRUCTURES)
def test_superfluous_components_go(structure):
    small = _weight(structure, 2)
    arrays = initial(small, 0, "numpy", "float64")
    large = _weight(structure, 4)
    padded = {
        name: np.pad(array, [(0, b - a) for a, b in zip(array.shape, large.shapes[name], strict=True)])
        for name, array in arrays.items()
    }
    found = prune_weight(large, padded, {}, 1e-10, None)
    assert all(a <= b for a, b in zip(found.weight.ranks, small.ranks, strict=True))
    np.testing.assert_allclose(found.weight.dense(found.arrays), small.dense(arrays), atol=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_first_moments_become_gradients_of_the_new_arrays(structure):
    """A gradient before pruning turns into the gradient with respect to the new arrays, which autodiff computes."""
    torch = pytest.importorskip("torch")
    weight = _weight(structure, 3)
    arrays = initial(weight, 0, "torch", "float64")
    probe = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def gradients(weight, arrays):
        leaves = {name: array.detach().clone().requires_grad_() for name, array in arrays.items()}
        (weight.dense(leaves) * probe).sum().backward()
        return {name: leaf.grad.numpy() for name, leaf in leaves.items()}

    host = {name: array.numpy() for name, array in arrays.items()}
    found = prune_weight(weight, host, {"exp_avg": gradients(weight, arrays)}, 1e-13, None)
    new = {name: torch.as_tensor(np.ascontiguousarray(array)) for name, array in found.arrays.items()}
    expected = gradients(found.weight, new)
    for name, moment in found.moments["exp_avg"].items():
        np.testing.assert_allclose(moment, expected[name], atol=1e-9)


def test_second_moments_stay_positive():
    weight = _weight("tt", 4)
    arrays = initial(weight, 0, "numpy", "float64")
    squares = {name: np.ones_like(array) for name, array in arrays.items()}
    found = prune_weight(weight, arrays, {"exp_avg_sq": squares}, None, 2)
    assert all((array > 0).all() for array in found.moments["exp_avg_sq"].values())
    assert all(found.moments["exp_avg_sq"][name].shape == array.shape for name, array in found.arrays.items())


@pytest.mark.parametrize(
    ("rtol", "keep", "message"),
    [(None, None, "needed one of the two"), (0.1, 2, "needed one"), (None, 0, "from 1"), (1.0, None, "leave nothing")],
)
def test_errors(rtol, keep, message):
    weight = _weight("mf")
    with pytest.raises(ValueError, match=message):
        prune_weight(weight, initial(weight, 0, "numpy", "float64"), {}, rtol, keep)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("groups", [1, 2])
def test_tolerances_hold_for_components_that_are_not_orthogonal(structure, groups):
    if groups == 2 and structure in ("ttm", "btt"):
        return
    weight = weight_format("conv", (12, 5, 3), structure, rank=3, groups=2) if groups == 2 else _weight(structure)
    for seed in range(8):
        draw = np.random.default_rng(seed)
        arrays = {
            name: (array + 2 * np.abs(array).mean()) * draw.choice([1e-3, 0.1, 1.0, 3.0], array.shape[-1:])
            for name, array in initial(weight, seed, "numpy", "float64").items()
        }
        before = weight.dense(arrays)
        for rtol in (0.03, 0.3, 0.8):
            found = prune_weight(weight, arrays, rtol=rtol)
            error = np.linalg.norm(found.weight.dense(found.arrays) - before) / np.linalg.norm(before)
            assert error <= rtol * (1 + 1e-9)
            assert found.error == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e150])
def test_numbers_at_the_ends_of_the_range(structure, scale):
    weight = _weight(structure)
    arrays = initial(weight, 0, "numpy", "float64")
    expected = prune_weight(weight, arrays, rtol=0.1)
    first = next(iter(arrays))
    arrays[first] = arrays[first] * scale
    ones = {name: np.ones_like(array) for name, array in arrays.items()}
    moments = {"avg": ones, "avg_sq": ones}
    found = prune_weight(weight, arrays, moments, rtol=0.1)
    assert found.weight == expected.weight
    assert found.error == pytest.approx(expected.error)
    assert all(np.isfinite(array).all() for one in found.moments.values() for array in one.values())
    dense = found.weight.dense({**found.arrays, first: found.arrays[first] / scale})
    np.testing.assert_allclose(dense, expected.weight.dense(expected.arrays), atol=1e-10)


def test_moments_of_scaled_arrays_are_those_of_the_new_parametrization():
    # Of W = A B, gradients with A and B are G B^T and A^T G, for any G.
    weight = _weight("mf")
    arrays = initial(weight, 0, "numpy", "float64")
    arrays["layer0"] = arrays["layer0"] * 1e-90
    slope = np.random.default_rng(0).standard_normal((16, 16))

    def gradients(a):
        return {"layer0": slope @ a["layer1"].T, "layer1": a["layer0"].T @ slope}

    found = prune_weight(weight, arrays, {"avg": gradients(arrays)}, keep=2)
    expected = gradients(found.arrays)
    for name, array in found.moments["avg"].items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-8)


def test_entries_and_moments_that_cannot_be():
    weight = _weight("mf")
    arrays = initial(weight, 0, "numpy", "float64")
    with pytest.raises(ValueError, match=r"the tensor 'layer0' has entries that are not finite"):
        prune_weight(weight, {**arrays, "layer0": arrays["layer0"] * np.nan}, keep=1)
    with pytest.raises(ValueError, match=r"moments 'avg' have the ranks \(2,\), needed \(4,\)"):
        prune_weight(weight, arrays, {"avg": initial(_weight("mf", 2), 0, "numpy", "float64")}, keep=1)
    with pytest.raises(TypeError, match="has real floating-point numbers"):
        prune_weight(weight, {name: array * 1j for name, array in arrays.items()}, keep=1)
