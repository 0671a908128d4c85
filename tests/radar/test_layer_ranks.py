"""The rank report of a model against NumPy, and cases with known answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank.radar import layer_ranks


def planted(rank, rows=40, columns=30, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return x + noise * rng.standard_normal(x.shape)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(0, 99), st.sampled_from([0.01, 0.1, 0.5, 0.9]))
def test_numbers_are_those_of_numpy(shape, seed, rtol):
    w = np.random.default_rng(seed).standard_normal(shape)
    row = layer_ranks({"w": w}, rtol=rtol)["w"]
    matrix = w.reshape(shape[0], -1)
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    p = s / s.sum()
    assert row.sides == matrix.shape
    assert row.parameters == w.size
    assert row.matrix.norm == pytest.approx(np.linalg.norm(w))
    assert row.matrix.rank == np.linalg.matrix_rank(matrix)
    assert row.matrix.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert row.matrix.stable_rank == pytest.approx((s**2).sum() / s[0] ** 2)
    assert row.matrix.singular_values == pytest.approx(s)
    errors = [np.linalg.norm(matrix - (u[:, :r] * s[:r]) @ vh[:r]) / np.linalg.norm(w) for r in range(len(s) + 1)]
    r = row.matrix.compressed_rank
    assert errors[r] <= rtol * (1 + 1e-9)
    assert r == 0 or errors[r - 1] > rtol * (1 - 1e-9)
    assert row.kept == pytest.approx(r * sum(matrix.shape) / w.size)
    if len(shape) > 2:
        assert row.multilinear_rank == tnrank.multilinear_rank(w)
        assert_tucker_reaches(w, row.compressed_multilinear_rank, rtol)
    else:
        assert row.multilinear_rank is row.compressed_multilinear_rank is row.tucker_kept is None


def assert_tucker_reaches(w, ranks, rtol):
    projected = w
    for mode, rank in enumerate(ranks):
        matrix = np.moveaxis(w, mode, 0).reshape(w.shape[mode], -1)
        u = np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]
        projected = np.moveaxis(np.tensordot(u @ u.T, projected, axes=(1, mode)), 0, mode)
    assert np.linalg.norm(w - projected) <= rtol * np.linalg.norm(w) * (1 + 1e-9)


def test_all_backends_agree(backend_name):
    backend = tnrank.get_backend(backend_name)
    host = {"conv": np.random.default_rng(0).standard_normal((6, 3, 2, 2)), "fc": planted(4), "b": np.ones(3)}
    arrays = {name: backend.asarray(x, "float64") for name, x in host.items()}
    before = {name: backend.asarray(x * 0.5, "float64") for name, x in host.items()}
    found, expected = layer_ranks(arrays, before), layer_ranks(host, {name: x * 0.5 for name, x in host.items()})
    assert found.left_out == expected.left_out == ("b",)
    for row, other in zip(found, expected, strict=True):
        assert row.matrix.rank == other.matrix.rank
        assert row.matrix.singular_values == pytest.approx(other.matrix.singular_values, abs=1e-12)
        assert row.change.effective_rank == pytest.approx(other.matrix.effective_rank)
        assert row.multilinear_rank == other.multilinear_rank


def test_planted_ranks_are_found():
    rng = np.random.default_rng(1)
    core = rng.standard_normal((3, 2, 2, 3))
    factors = [rng.standard_normal(sides) for sides in ((16, 3), (8, 2), (3, 2), (3, 3))]
    conv = np.einsum("abcd,ia,jb,kc,ld->ijkl", core, *factors)
    start = rng.standard_normal((40, 30))
    report = layer_ranks(
        {"conv": conv, "fc": planted(5), "noisy": planted(5, noise=1e-3), "moved": start + 0.1 * planted(2, seed=7)},
        {"conv": conv, "fc": planted(5), "noisy": np.zeros((40, 30)), "moved": start},
        {"fc": planted(3, 200, 40)},
        rtol=0.01,
    )
    assert report["conv"].multilinear_rank == report["conv"].compressed_multilinear_rank == (3, 2, 2, 3)
    assert report["conv"].change.rank == 0
    assert report["conv"].change.effective_rank == 0
    assert report["fc"].matrix.rank == report["fc"].matrix.compressed_rank == 5
    assert report["noisy"].matrix.rank == 30
    assert report["noisy"].matrix.compressed_rank == 5
    assert report["moved"].matrix.rank == 30
    assert report["moved"].change.rank == 2
    assert report["fc"].activations_effective_rank <= 3
    assert report["fc"].activations_width == 40


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rounding_is_no_rank(dtype):
    torch = pytest.importorskip("torch")
    kind = getattr(torch, dtype)
    report = layer_ranks({"low": torch.tensor(planted(3, 200, 100)).to(kind), "full": torch.randn(64, 64).to(kind)})
    assert report["low"].dtype == dtype
    assert report["low"].matrix.rank == 3
    assert report["full"].matrix.rank > 60
    exact = np.linalg.svd(torch.tensor(planted(3, 200, 100)).to(kind).double().numpy(), compute_uv=False)
    assert report["low"].matrix.singular_values[:3] == pytest.approx(exact[:3], rel=1e-5)


class OneAtATime(Mapping):
    """Arrays that are made when they are asked for, each once."""

    def __init__(self, count):
        self.count, self.alive, self.asked = count, 0, []

    def __getitem__(self, name):
        self.asked.append(name)
        return np.eye(3) * (int(name) + 1)

    def __iter__(self):
        return map(str, range(self.count))

    def __len__(self):
        return self.count


def test_arrays_are_fetched_one_after_the_other():
    weights, seen = OneAtATime(3), []
    layer_ranks(weights, progress=lambda words, share: seen.append((share, len(weights.asked))))
    assert weights.asked == ["0", "1", "2"]
    assert seen == [(0, 0), (1 / 3, 1), (2 / 3, 2), (1, 3)]


def test_what_has_no_rank_is_counted():
    weights = {"w": np.eye(3), "bias": np.ones(4), "scale": np.array(2.0), "count": np.ones((2, 2), int)}
    report = layer_ranks(weights | {"none": np.ones((0, 3))})
    assert report.left_out == ("bias", "scale", "count", "none")
    assert report.left_out_parameters == 4 + 1 + 4
    assert len(report) == 1
    assert report.parameters == 9


def test_in_other_forms(tmp_path):
    report = layer_ranks(
        {"conv.weight": np.random.default_rng(0).standard_normal((4, 3, 2)), "fc.weight": planted(2)},
        {"conv.weight": np.zeros((4, 3, 2)), "fc.weight": np.zeros((40, 30))},
        {"fc": np.eye(30, 40)},
    )
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [w["name"] for w in content["weights"]] == ["conv.weight", "fc.weight"]
    assert content["weights"][1]["matrix"]["rank"] == 2
    report.to_csv(tmp_path / "ranks.csv")
    with (tmp_path / "ranks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["shape"] == "4 3 2"
    assert rows[1]["compressed_rank"] == "2"
    assert float(rows[1]["activations_effective_rank"]) == pytest.approx(30)
    lines = str(report).splitlines()
    assert lines[0] == "ranks of 2 weights, 1,224 parameters"
    assert "as a tensor" in lines[-3]
    assert "30.00 of 40" in lines[-1]
    for name in ("conv.weight", "fc.weight"):
        assert name in report._repr_html_()
    pytest.importorskip("rich")
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report)
    assert "fc.weight" in console.export_text()
    with pytest.raises(KeyError, match=r"no weight 'other'; there are conv\.weight, fc\.weight"):
        report["other"]


def test_the_zero_weight():
    row = layer_ranks({"w": np.zeros((3, 4))})["w"]
    assert (row.matrix.rank, row.matrix.effective_rank, row.matrix.compressed_rank, row.kept) == (0, 0, 0, 0)


BAD = {
    "no mapping": (([np.eye(2)],), TypeError, "weights is a mapping of names to arrays"),
    "no weights": (({"b": np.ones(3)},), ValueError, "holds 1 arrays of order 0 or 1"),
    "nothing": (({},), ValueError, "holds nothing"),
    "a number for a name": (({1: np.eye(2)},), TypeError, "weights have names"),
    "no array": (({"fc.weight": "x"},), TypeError, "the weight 'fc.weight' cannot be measured"),
    "NaN": (({"fc.weight": np.full((2, 2), np.nan)},), ValueError, "'fc.weight' cannot be measured: 4 of 4"),
    "quantized": (({"fc.weight": np.ones((2, 2), np.int8)},), ValueError, "'fc.weight' holds int8 and is quantized"),
    "rtol": (({"w": np.eye(2)}, None, None, 0), ValueError, "rtol is a finite number above 0"),
    "other names": (
        ({"fc1.weight": np.eye(2)}, {"fc.weight": np.eye(2)}),
        ValueError,
        "initial has no weight 'fc1.weight'; similar: fc.weight",
    ),
    "another shape": (({"w": np.eye(2)}, {"w": np.eye(3)}), ValueError, r"shape \(2, 2\) and the initial one \(3, 3\)"),
    "activations of nothing": (({"w": np.eye(2)}, None, {"v": np.eye(2)}), ValueError, "of 'v' belong to no weight"),
    "activations of order 3": (({"w": np.eye(2)}, None, {"w": np.ones((2, 2, 2))}), ValueError, "samples, features"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    args, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        layer_ranks(*args)


def test_damaged_files_say_what_is_wrong(tmp_path):
    file = tmp_path / "junk.safetensors"
    file.write_bytes(b"no header of safetensors at all")
    assert tnrank.radar.holds_a_model(file)
    with pytest.raises(ValueError, match=r"junk.safetensors cannot be read"):
        tnrank.radar.read_weights(file)
