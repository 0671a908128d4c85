"""The radar against full decompositions, and sequences of weights with planted events."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import tnrank
from tnrank.radar import RankRadar


def orthonormal(rows, columns, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, columns)))[0]


def moving(records, rows=400, columns=300, seed=0, speed=0.1):
    """Random initial weights on which a few directions grow, as training does it, while all entries drift."""
    rng = np.random.default_rng(seed)
    w = rng.uniform(-1, 1, (rows, columns)) / np.sqrt(columns)
    left, right = orthonormal(rows, 6, 1), orthonormal(columns, 6, 2)
    for k in range(records):
        growth = np.array([4.0, 3.0, 2.5, 2.0, 1.5, 1.0]) * (1 - np.exp(-0.4 * k))
        yield w + (left * growth) @ right.T
        w = w + speed * rng.standard_normal(w.shape) / np.sqrt(columns) / 10


@pytest.mark.parametrize("turned", [False, True])
def test_leading_values_from_the_third_record_on(turned):
    radar = RankRadar(leading=16)
    for k, w in enumerate(moving(8)):
        w = w.T if turned else w
        radar.record(50 * k, {"w": w.astype(np.float32)})
        if k >= 2:
            exact = np.linalg.svd(w, compute_uv=False)
            found = radar.history["w"]
            assert np.abs(found.singular_values[-1] - exact[:16]).max() <= 1e-3 * exact[0]
            assert found.norm[-1] == pytest.approx(np.linalg.norm(w), rel=1e-5)
            assert found.stable_rank[-1] == pytest.approx((exact**2).sum() / exact[0] ** 2, rel=3e-3)
            p = exact / exact.sum()
            assert found.effective_rank[-1] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=0.05)
    assert found.steps.tolist() == [50 * k for k in range(8)]
    assert found.uncertainty[2:].max() <= 1e-3


def test_all_backends(backend_name):
    backend = tnrank.get_backend(backend_name)
    radars = [RankRadar(leading=8, changes=True) for _ in range(2)]
    for k, w in enumerate(moving(3, 220, 180)):
        host = {"w": w.astype(np.float32), "conv": np.ones((4, 3, 2, 2), np.float32) * (k + 1), "b": np.ones(3)}
        radars[0].record(k, host)
        radars[1].record(k, {name: backend.asarray(x) for name, x in host.items()})
    for name in ("w", "conv"):
        ours, theirs = (radar.history[name] for radar in radars)
        assert theirs.singular_values == pytest.approx(ours.singular_values, abs=2e-3)
        assert theirs.effective_rank == pytest.approx(ours.effective_rank, rel=0.02)
        ours, theirs = (radar.changes[name] for radar in radars)
        assert theirs.norm == pytest.approx(ours.norm, rel=1e-4)
    assert set(radars[1].history) == {"w", "conv"}
    assert radars[1].history["conv"].singular_values[:, 0] == pytest.approx(np.sqrt(48) * np.arange(1, 4), rel=1e-5)


SPECTRA = {
    "flat": np.ones(256),
    "exponential": np.exp(-np.arange(256) / 10),
    "steps": np.r_[np.full(20, 10.0), np.full(236, 0.5)],
    "low rank": np.r_[np.linspace(5, 1, 12), np.zeros(244)],
    "linear": np.linspace(1, 0.01, 256),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_effective_rank_of_known_spectra(name, scale):
    s = SPECTRA[name]
    w = (orthonormal(300, 256, 0) * s) @ orthonormal(256, 256, 1).T
    radar = RankRadar(leading=24)
    for step in range(2):
        radar.record(step, {"w": (w * scale).astype(np.float32)})
    found = radar.history["w"]
    p = s[s > 0] / s.sum()
    assert found.effective_rank[-1] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=0.05)
    assert found.singular_values[-1] / scale == pytest.approx(s[:24], abs=1e-3 * s[0])


def test_directions_are_not_counted_twice():
    """What is new in the second round of a matrix of low rank is rounding, which must not repeat the first values."""
    w = (orthonormal(500, 40, 0) * np.linspace(2, 1, 40)) @ orthonormal(400, 40, 1).T
    radar = RankRadar(leading=64)
    for step in range(3):
        radar.record(step, {"w": w.astype(np.float32)})
    s = radar.history["w"].singular_values[-1]
    assert s[:40] == pytest.approx(np.linspace(2, 1, 40), rel=1e-4)
    assert s[40:].max() < 1e-4


@pytest.mark.parametrize("sides", [(300, 260), (40, 30)])
@pytest.mark.parametrize("sudden", [True, False])
def test_planted_onsets(sides, sudden):
    """Singular values that switch on, or grow, at known steps are found within one recording interval."""
    every, times, heights = 20, (130, 410, 690), (8.0, 4.0, 2.0)
    left, right = orthonormal(sides[0], 3, 3), orthonormal(sides[1], 3, 4)
    noise = 0.01 * np.random.default_rng(0).standard_normal(sides) / np.sqrt(sides[0])
    radar = RankRadar(leading=8)
    for step in range(0, 1001, every):
        since = step - np.array(times)
        grown = since >= 0 if sudden else 1 / (1 + np.exp(-since / 5))
        radar.record(step, {"w": (noise + (left * (np.array(heights) * grown)) @ right.T).astype(np.float32)})
    found = radar.onsets(0.1)["w"]
    level = 0.1 * heights[0]
    shift = [0.0 if sudden else -5 * np.log(height / level - 1) for height in heights]
    expected = [time + by for time, by in zip(times, shift, strict=True)]
    assert len(found) == 3
    for onset, true in zip(found, expected, strict=True):
        assert 0 <= onset - true <= every


def test_changes_from_the_first_record_and_from_given_weights():
    start = np.random.default_rng(0).standard_normal((50, 40))
    step = np.outer(np.ones(50), np.ones(40))
    own, given = RankRadar(changes=True), RankRadar(initial={"w": start - step})
    w = start.copy()
    for k in range(3):
        own.record(k, {"w": w})
        given.record(k, {"w": w})
        w += step  # in place, as frameworks train
    assert own.changes["w"].norm == pytest.approx(np.array([0, 1, 2]) * np.sqrt(2000))
    assert own.changes["w"].effective_rank == pytest.approx([0, 1, 1])
    assert given.changes["w"].norm == pytest.approx(np.array([1, 2, 3]) * np.sqrt(2000))
    assert not RankRadar().changes
    with pytest.raises(ValueError, match=r"initial has no weight 'v'"):
        given.record(9, {"v": w})


def test_diverged_weights_are_recorded_as_such():
    radar = RankRadar(leading=4)
    ws = list(moving(4, 200, 180))
    ws[2] = ws[2] * np.nan
    for k, w in enumerate(ws):
        radar.record(k, {"w": w})
    found = radar.history["w"]
    assert np.isnan(found.singular_values[2]).all()
    assert np.isfinite(found.singular_values[[0, 1, 3]]).all()
    assert len(radar.onsets()["w"]) == 4
    radar.report().to_dict()
    json.dumps(radar.report().to_dict(), allow_nan=False)
    zero = RankRadar()
    zero.record(0, {"w": np.zeros((300, 200))})
    assert zero.history["w"].effective_rank.tolist() == [0]
    assert zero.onsets() == {"w": []}


def test_resumed_is_uninterrupted(tmp_path):
    ws = [{"a/b.weight": w.astype(np.float32), "small": np.eye(3) * (k + 1)} for k, w in enumerate(moving(6))]
    whole, first = RankRadar(leading=8, changes=True), RankRadar(leading=8, changes=True)
    for k, w in enumerate(ws):
        whole.record(k, w)
        if k < 3:
            first.record(k, w)
    np.savez(tmp_path / "radar.npz", **first.state_dict())
    resumed = RankRadar(leading=8, changes=True)
    with np.load(tmp_path / "radar.npz", allow_pickle=False) as state:
        resumed.load_state_dict(state)
    assert resumed.last_step == 2
    for k, w in list(enumerate(ws))[3:]:
        resumed.record(k, w)
    for kind in ("history", "changes"):
        for name, one in getattr(whole, kind).items():
            other = getattr(resumed, kind)[name]
            for field in ("steps", "singular_values", "effective_rank", "stable_rank", "norm", "uncertainty"):
                np.testing.assert_array_equal(getattr(other, field), getattr(one, field))
    assert str(resumed.report()) == str(whole.report())


class Writer:
    """As TensorBoard's SummaryWriter."""

    def __init__(self):
        self.calls = []

    def add_scalar(self, name, value, step):
        self.calls.append((name, float(value), step))


class Run:
    """As a run of Weights & Biases, and Trackio."""

    def __init__(self):
        self.calls = []

    def log(self, values, step=None):
        self.calls += [(name, float(value), step) for name, value in values.items()]


def test_loggers_are_told():
    both = Writer(), Run()
    for logger in both:
        radar = RankRadar(log_to=logger)
        for step in (0, 10):
            radar.record(step, {"w": np.diag([2.0, 1.0])})
    assert both[0].calls == both[1].calls
    told = {(name, step): value for name, value, step in both[0].calls}
    assert told["stable_rank/w", 10] == pytest.approx(1.25)
    assert {name for name, _, _ in both[0].calls} == {"effective_rank/w", "stable_rank/w", "spectral_norm/w"}


def test_table_and_file(tmp_path):
    radar = RankRadar(leading=2, changes=True)
    for step in (0, 1000):
        radar.record(step, {"w": np.diag([2.0, 1.0, 0.0]) * (1 + step)})
    lines = str(radar.report(0.3)).splitlines()
    assert lines[0] == "ranks of 1 weight in 2 records up to step 1,000"
    assert " ".join(lines[-1].split()) == "w 3 x 3 1.89 -> 1.89 1.25 -> 1.25 1.89 2e+03 1e+03 ... 1,000 (x2)"
    assert "w" in radar.report()._repr_html_()
    radar.to_csv(tmp_path / "radar.csv")
    with (tmp_path / "radar.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    values = {(r["step"], r["quantity"], r["index"]): float(r["value"]) for r in rows if r["layer"] == "w"}
    assert values["1000", "singular_value", "1"] == pytest.approx(1001)
    assert values["1000", "change_norm", ""] == pytest.approx(1000 * 5**0.5)
    assert values["0", "effective_rank", ""] == pytest.approx(1.8899, abs=1e-4)
    assert repr(radar) == "RankRadar(1 layers, 2 singular values, last step 1000)"
    with pytest.raises(ValueError, match="read-only"):
        radar.history["w"].steps[0] = 1


def test_the_report_says_how_accurate_its_values_are():
    exact, estimated = RankRadar(leading=4), RankRadar(leading=4)
    for step, weight in enumerate(moving(4)):
        exact.record(step, {"small": weight[:50, :40]})
        estimated.record(step, {"large": weight})
    assert "singular values are exact to rounding: every weight was decomposed as a whole" in str(exact.report())
    warm = estimated.history["large"].uncertainty[2:].max()
    assert warm > 0
    expected = f"errors of singular values are at most {warm:.1g} of the largest from the third record on (estimated)"
    assert expected in str(estimated.report())


def recorded():
    radar = RankRadar(leading=2)
    radar.record(5, {"w": np.eye(3)})
    return radar


BAD = {
    "leading": (lambda: RankRadar(0), ValueError, "leading is a whole number from 1"),
    "logger": (lambda: RankRadar(log_to=print), TypeError, r"log_to is something with add_scalar"),
    "an earlier step": (lambda: recorded().record(5, {"w": np.eye(3)}), ValueError, "records go on from step 5"),
    "another shape": (lambda: recorded().record(6, {"w": np.eye(4)}), ValueError, "'w' is 4 x 4, and was 3 x 3"),
    "no weights": (lambda: recorded().record(6, {"b": np.ones(3)}), ValueError, "two axes or more, and there are none"),
    "no array": (lambda: recorded().record(6, {"w": "x"}), TypeError, "'w' cannot be measured"),
    "threshold": (lambda: recorded().onsets(1.5), ValueError, "threshold is a finite number"),
    "threshold 1": (lambda: recorded().onsets(1), ValueError, "between 0 and 1"),
    "no records": (lambda: RankRadar().report(), ValueError, "nothing was recorded"),
    "a foreign state": (lambda: RankRadar().load_state_dict({"x": np.ones(2)}), ValueError, "has the entry 'x'"),
    "half a state": (
        lambda: RankRadar().load_state_dict({"weight/w/steps": np.ones(2)}),
        ValueError,
        "the state of 'w' lacks effective_rank",
    ),
    "a state of more values": (
        lambda: RankRadar(leading=1).load_state_dict(recorded().state_dict()),
        ValueError,
        "has 2 singular values a record, and this radar records 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize(
    ("spectrum", "within"),
    [
        (np.arange(1, 257) ** -0.5, 0.1),
        (0.96 ** np.arange(256), 0.1),
        (1 / np.arange(1, 257), 0.35),
        (np.r_[np.ones(64), np.full(192, 0.05)], 0.35),
    ],
)
def test_effective_ranks_of_large_weights_are_marked_as_estimates(spectrum, within):
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((256, 256)))[0] for _ in range(2))
    radar = RankRadar(32)
    for step in range(3):
        radar.record(step, {"large": u * spectrum @ v, "small": np.diag([2.0, 1.0])})
    share = spectrum / spectrum.sum()
    exact = np.exp(-(share * np.log(share)).sum())
    assert radar.history["large"].effective_rank[-1] == pytest.approx(exact, rel=within)
    large, small = (line for line in str(radar.report()).splitlines() if line.startswith(("large", "small")))
    assert f"~{radar.history['large'].effective_rank[-1]:.3g}" in large
    assert "~" not in small
