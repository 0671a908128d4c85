"""Dense weights in a format: against SVDs and TensorLy, within tolerances, weighted by what inputs see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnrank.layers import fit_weight, input_moments, patch_moments

STRUCTURES = ("mf", "cp", "tucker", "tt", "ttm", "htf", "btt")


def _dense(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _tail(matrix, rank):
    s = np.linalg.svd(matrix, compute_uv=False)
    return np.linalg.norm(s[rank:]) / np.linalg.norm(s)


@given(rank=st.integers(1, 8), depth=st.integers(2, 4), seed=st.integers(0, 99))
def test_mf_is_the_best_of_its_rank(rank, depth, seed):
    dense = _dense((8, 12), seed)
    found = fit_weight(dense, "linear", "mf", rank=rank, depth=depth)
    assert found.error == pytest.approx(_tail(dense, rank), abs=1e-10)
    assert found.weight.ranks == (rank,) * (depth - 1)
    assert np.linalg.norm(found.weight.dense(found.arrays) - dense) / np.linalg.norm(dense) == pytest.approx(
        found.error, abs=1e-10
    )


def test_btt_is_the_best_of_its_rank_in_every_block():
    dense = _dense((24, 30))
    found = fit_weight(dense, "linear", "btt", rank=2, modes=((4, 6), (5, 6)))
    blocks = dense.reshape(4, 6, 5, 6).transpose(1, 2, 0, 3)
    s = np.linalg.svd(blocks, compute_uv=False)
    assert found.error == pytest.approx(np.linalg.norm(s[..., 2:]) / np.linalg.norm(s), abs=1e-12)


def test_others_are_as_near_as_those_of_tensorly():
    tensorly = pytest.importorskip("tensorly")
    from tensorly import decomposition

    dense = _dense((36, 36)) @ np.diag(0.7 ** np.arange(36)) @ _dense((36, 36), 1)
    tensor = tensorly.tensor(dense.reshape(6, 6, 6, 6))
    norm = np.linalg.norm(dense)
    peers = {
        "tucker": tensorly.tucker_to_tensor(decomposition.tucker(tensor, rank=[4] * 4)),
        "tt": tensorly.tt_to_tensor(decomposition.tensor_train(tensor, rank=[1, 5, 5, 5, 1])),
        "cp": tensorly.cp_to_tensor(decomposition.parafac(tensor, 12, n_iter_max=60, init="random", random_state=0)),
    }
    ranks = {"tucker": 4, "tt": 5, "cp": 12}
    for structure, peer in peers.items():
        found = fit_weight(dense, "linear", structure, rank=ranks[structure])
        assert found.error <= 1.03 * np.linalg.norm(np.asarray(peer).reshape(36, 36) - dense) / norm


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_has_the_structure_is_found(structure):
    rng = np.random.default_rng(0)
    from tnrank.layers import initial, weight_format

    known = weight_format("linear", (16, 25), structure, rank=2)
    dense = known.dense(initial(known, 1, "numpy", "float64")) * rng.uniform(1, 2)
    found = fit_weight(dense, "linear", structure, rtol=1e-7)
    assert found.error <= 1e-7
    np.testing.assert_allclose(found.weight.dense(found.arrays), dense, atol=1e-6 * abs(dense).max())
    assert all(a <= b for a, b in zip(found.weight.ranks, known.ranks, strict=True))


@pytest.mark.parametrize("structure", [s for s in STRUCTURES if s not in ("ttm", "btt")])
def test_convolutions_with_groups_share_their_ranks(structure):
    dense = np.concatenate([_dense((6, 5, 3, 3)), np.zeros((6, 5, 3, 3))])
    found = fit_weight(dense, "conv", structure, rank=3, groups=2)
    assert all(
        rank == min(3, most) for rank, most in zip(found.weight.ranks, found.weight.limits.values(), strict=True)
    )
    alone = fit_weight(dense[:6], "conv", structure, rank=3)
    assert found.error == pytest.approx(alone.error, rel=1e-3)
    np.testing.assert_allclose(found.weight.dense(found.arrays)[6:], 0, atol=1e-12)


@pytest.mark.parametrize("structure", ["mf", "tucker", "tt", "ttm", "cp", "htf", "btt"])
@pytest.mark.parametrize("rtol", [0.5, 0.1])
def test_tolerances_hold(structure, rtol):
    dense = _dense((9, 9)) @ np.diag(0.5 ** np.arange(9)) @ _dense((9, 9), 1)
    found = fit_weight(dense, "linear", structure, rtol=rtol)
    assert found.error <= rtol
    error = np.linalg.norm(found.weight.dense(found.arrays) - dense) / np.linalg.norm(dense)
    assert error == pytest.approx(found.error, abs=1e-9)


def test_statistics_of_the_inputs_give_the_best_outputs():
    rng = np.random.default_rng(0)
    dense = _dense((10, 12))
    inputs = rng.standard_normal((4000, 12)) @ np.diag(0.6 ** np.arange(12)) @ _dense((12, 12), 1)
    moments = inputs.T @ inputs / len(inputs)
    weighted = fit_weight(dense, "linear", "mf", rank=3, moments=moments)
    plain = fit_weight(dense, "linear", "mf", rank=3)
    outputs = inputs @ dense.T

    def lost(found):
        return np.linalg.norm(inputs @ found.weight.dense(found.arrays).T - outputs) / np.linalg.norm(outputs)

    # no layer of rank 3 has outputs nearer to these: Eckart and Young, of the outputs themselves
    assert lost(weighted) == pytest.approx(_tail(outputs, 3), rel=1e-6)
    assert lost(weighted) == pytest.approx(weighted.error, rel=1e-4)
    assert lost(plain) > 1.2 * lost(weighted)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_error_is_that_of_the_outputs(structure):
    dense = _dense((16, 12))
    inputs = _dense((50, 12), 1) @ _dense((12, 12), 2)
    moments = input_moments(inputs, 12)
    np.testing.assert_allclose(moments, inputs.T @ inputs / 50, rtol=1e-12)
    for options in ({"rank": 3}, {"rtol": 0.3}):
        found = fit_weight(dense, "linear", structure, moments=moments, **options)
        lost = np.linalg.norm(inputs @ (found.weight.dense(found.arrays) - dense).T) / np.linalg.norm(inputs @ dense.T)
        assert found.error == pytest.approx(lost, abs=1e-9)
        assert found.error <= options.get("rtol", 1)


@pytest.mark.parametrize("structure", ["mf", "cp", "tucker", "tt", "htf"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"groups": 2, "stride": (2, 1), "pads": ((1, 2), (0, 1))},
        {"dilation": (1, 2), "pads": ((1, 1), (2, 2)), "padding_mode": "reflect"},
    ],
)
def test_patches_are_what_convolutions_look_at(structure, options):
    torch = pytest.importorskip("torch")
    groups, pads = options.get("groups", 1), options.get("pads", ((0, 0), (0, 0)))
    images = np.cumsum(_dense((6, 4, 8, 7)), -1) * 0.4 ** np.arange(4)[:, None, None]
    dense = _dense((6, 4 // groups, 3, 3))
    moments = patch_moments(images, (3, 3), **options)
    around = [side for pair in reversed(pads) for side in pair]
    mode = {"zeros": "constant"}.get(options.get("padding_mode", "zeros"), "reflect")
    padded = torch.nn.functional.pad(torch.as_tensor(images), around, mode)

    def outputs(weight):
        geometry = {"stride": options.get("stride", 1), "dilation": options.get("dilation", 1), "groups": groups}
        return torch.nn.functional.conv2d(padded, torch.as_tensor(weight), **geometry).numpy()

    wanted = outputs(dense)
    found = fit_weight(dense, "conv", structure, rank=2, groups=groups, moments=moments)
    lost = np.linalg.norm(outputs(found.weight.dense(found.arrays)) - wanted) / np.linalg.norm(wanted)
    assert found.error == pytest.approx(lost, abs=1e-9)
    if structure == "mf" and groups == 1:
        # Eckart and Young, of the outputs themselves; the floor of the variances costs a little
        assert lost == pytest.approx(_tail(np.moveaxis(wanted, 1, 0).reshape(6, -1), 2), rel=1e-4)
    within = fit_weight(dense, "conv", structure, rtol=0.2, groups=groups, moments=moments)
    assert within.error <= 0.2


def test_no_fit_is_given_out_that_misses_its_tolerance():
    torch = pytest.importorskip("torch")
    dense = torch.as_tensor(_dense((8, 8))).bfloat16()
    with pytest.raises(ValueError, match=r"within rtol=0.0001 was found, the last has error 0\.00.*: give a larger"):
        fit_weight(dense, "linear", "mf", rtol=1e-4, moments=np.eye(8))


def test_errors_of_moments():
    with pytest.raises(ValueError, match=r"needed \(.., 3\)"):
        input_moments(np.ones((2, 4)), 3)
    with pytest.raises(ValueError, match="inputs has entries that are not finite"):
        input_moments(np.full((2, 4), np.nan), 4)
    with pytest.raises(ValueError, match=r"hold nothing: give a batch"):
        patch_moments(np.ones((0, 3, 8, 8)), (3, 3))
    with pytest.raises(ValueError, match=r"needed images \(M, channels, side, side\)"):
        patch_moments(np.ones((3, 8, 8)), (3, 3))
    with pytest.raises(ValueError, match="more than the padded images"):
        patch_moments(np.ones((1, 3, 2, 8)), (3, 3))


@pytest.mark.parametrize(("structure", "seed"), [("htf", 0), ("htf", 1), ("cp", 0)])
def test_components_stay_small(structure, seed):
    dense = _dense((24, 40), seed)
    found = fit_weight(dense, "linear", structure, parameters=0.6)
    single = {name: np.float32(array) for name, array in found.arrays.items()}
    exact = found.weight.dense(found.arrays)
    assert np.linalg.norm(found.weight.dense(single) - exact) < 1e-4 * np.linalg.norm(exact)


def test_the_error_counts_rounding():
    dense = np.float32(_dense((8, 8)))
    found = fit_weight(dense, "linear", "mf", rank=8)
    assert 1e-8 < found.error < 1e-6
    wide = {name: np.float64(array) for name, array in found.arrays.items()}
    assert found.error == pytest.approx(
        np.linalg.norm(found.weight.dense(wide) - dense) / np.linalg.norm(dense), rel=1e-6
    )


@pytest.mark.parametrize("structure", ["tucker", "tt", "ttm", "cp", "htf", "btt"])
def test_statistics_help_every_structure(structure):
    rng = np.random.default_rng(0)
    dense = _dense((16, 16))
    spread = np.kron(0.5 ** np.arange(4), 0.5 ** np.arange(4))
    inputs = rng.standard_normal((4000, 16)) * spread
    moments = inputs.T @ inputs / len(inputs)
    outputs = inputs @ dense.T
    errors = []
    for known in (moments, None):
        found = fit_weight(dense, "linear", structure, rank=2, moments=known)
        errors.append(np.linalg.norm(inputs @ found.weight.dense(found.arrays).T - outputs) / np.linalg.norm(outputs))
    assert errors[0] < errors[1]


def test_backends_and_dtypes_are_kept():
    for backend, dtype in (("torch", "float32"), ("jax", "float32"), ("torch", "bfloat16")):
        import tnrank

        kind = tnrank.get_backend(backend)
        found = fit_weight(kind.asarray(_dense((8, 8)), dtype), "linear", "tt", rank=4)
        assert {kind.dtype_of(a) for a in found.arrays.values()} == {dtype}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needed one of the three"),
        ({"rank": 2, "rtol": 0.1}, "needed one of the three"),
        ({"rank": 9}, "larger than possible: 8 at most"),
        ({"rtol": 2}, "rtol"),
        ({"rank": 2, "moments": np.eye(3)}, r"needed \(8, 8\), of the inputs"),
        ({"rank": 2, "moments": np.zeros((8, 8))}, "not all 0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        fit_weight(_dense((8, 8)), "linear", "mf", **options)


def test_entries_that_are_not_finite_are_refused():
    dense = _dense((8, 8))
    dense[2, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_weight(dense, "linear", "cp", rank=2)
    with pytest.raises(ValueError, match="no inputs that are summed"):
        fit_weight(_dense((8, 8)), "embedding", "mf", rank=2, moments=np.eye(8))
