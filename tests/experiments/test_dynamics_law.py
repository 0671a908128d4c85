"""Measured against predicted rates, and the exponents fitted from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments.recipes._dynamics_law_lines import Measured, cp_case, hierarchical_case, matrix_case
from tnrank.experiments.recipes.dynamics_law import Descent, _outcome
from tnrank.theory import fit_exponent, local_components
from tnrank.training import MeasuredRates

SMALL = {"mf_depths": (3,), "cp_orders": (3,), "weighted_orders": (), "htf_arities": (2,), "record_every": 10}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_recipe("dynamics-law", backend="numpy", seed=3, **SMALL).limited(20)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tnrank.experiments.recipes.dynamics_law._FLOW_TIMES", 30)
        return run(recipe, out=tmp_path_factory.mktemp("runs")).folder


def test_a_short_run_does_not_pass(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert summary["verdict"] == "does not hold"
    assert set(summary["exponents"]) == {
        "matrix, depth 3",
        "CP, order 3",
        *(f"hierarchical, 2 leaves a node: r{{{modes}}}" for modes in ("0,1", "2,3", "0,1,2,3")),
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_backends_agree(short: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    recipe = make_recipe("dynamics-law", backend=backend, seed=3, **SMALL).limited(20)
    rows = read_metrics(run(recipe, out=tmp_path).folder)
    wanted = {key(r): r["value"] for r in read_metrics(short) if r["node"].endswith("norms}")}
    found = {key(r): r["value"] for r in rows if r["node"].endswith("norms}")}
    assert found == pytest.approx(wanted, rel=1e-7)


def key(row: dict) -> tuple:
    return row["model"], row["step"], row["node"], row["index"]


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("dynamics-law", backend="numpy"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    summary = json.loads((done.folder / "summary.json").read_text())
    for found in summary["exponents"].values():
        assert found["low"] <= found["law"] <= found["high"] < found["low"] + 0.04
        assert abs(found["exponent"] - found["law"]) < 5e-3


@pytest.mark.parametrize("case", [matrix_case(3), cp_case(3, False), cp_case(4, True), hierarchical_case(3)])
def test_starts(case) -> None:
    for lopsided in (1.0, 30.0):
        x = case.start(0, 1e-3, lopsided=lopsided)
        np.testing.assert_allclose(np.linalg.norm(x.to_dense()), np.linalg.norm(case.start(0, 1e-3).to_dense()))
        for index, order in case.orders.items():
            if index is None:
                assert len(x.layers) == order
                continue
            found = local_components(x, index)
            assert found.order == order
            if lopsided == 1.0:
                assert max(found.norms) > 0.99e-3
                np.testing.assert_allclose(np.ptp(list(found.slice_norms.values()), axis=0), 0, atol=1e-12)
        first = next(iter(case.orders))
        if lopsided != 1.0 and first is not None:
            sizes = np.sort(list(local_components(x, first).slice_norms.values()), axis=0)
            assert (sizes[-1] > 25 * sizes[-2]).all()
    assert np.mean(case.target(0) ** 2) == pytest.approx(1)


def rates(order: int, exponent: float, gap: float = 0.0, moments: int = 40, seed: int = 0) -> MeasuredRates:
    """Rates that follow a power law of any exponent, with noise of 1e-3."""
    generator = np.random.default_rng(seed)
    sigma = np.exp(generator.uniform(-6, 1, (moments, 5)))
    gamma = generator.uniform(0.5, 1, (moments, 5))
    measured = order * sigma**exponent * gamma * np.exp(generator.normal(0, 1e-3, sigma.shape))
    law = order * sigma ** (2 - 2 / order) * gamma
    steps = np.arange(moments)
    return MeasuredRates(
        steps, steps * 1.0, np.ones(moments), sigma, gamma, measured, law, law, sigma, gamma,
        law * 0.9, law * 1.1, np.full_like(sigma, gap),
    )  # fmt: skip


def line(case, index, exponent: float | None = None, gap: float = 0.0, balanced: bool = True) -> Measured:
    order = case.orders[index]
    law = 2 - 2 / order if exponent is None else exponent
    found = [rates(order, law, gap, seed=k) for k in range(3)]
    return Measured(case, index, order, found, [np.zeros(40)] * 3, balanced)


def test_an_interval_is_that_of_the_fit_at_both_ends() -> None:
    found = line(cp_case(3, False), "r")
    fit = found.fit
    groups = np.concatenate([np.broadcast_to(np.arange(5), (40, 5)).ravel() + 5 * k for k in range(3)])
    together = [
        np.concatenate([getattr(r, n).ravel() for r in found.rates]) for n in ("norms", "measured", "projection")
    ]
    wanted = fit_exponent(*together, groups)
    assert (fit.low, fit.high, fit.count) == pytest.approx((wanted.low, wanted.high, 600))
    later = replace(found, rates=[replace(r, next_norms=2 * r.norms) for r in found.rates])
    assert later.fit.exponent == pytest.approx(fit.exponent)
    assert later.fit.prefactor == pytest.approx(fit.prefactor * 2 ** (-4 / 6), rel=1e-3)


def test_points_of_unbalanced_components_are_left_out() -> None:
    assert line(cp_case(3, False), "r", gap=0.01).fit.count < 600
    assert line(cp_case(3, False), "r", gap=0.01, balanced=False).fit.count == 600
    assert line(cp_case(3, False), "r", gap=100.0).fit is None


def holding(descent=(2e-3, 1e-3, 1e-9), **changes) -> list[bool]:
    """Whether each check holds, for data in which all do but for the changes."""

    cases = [(matrix_case(3), None), (cp_case(3, False), "r"), (hierarchical_case(2), "r{0,1}")]
    runs = {
        "balanced": [line(*case) for case in cases],
        "unbalanced": [line(*case, balanced=False) for case in cases],
        "lopsided": [line(*case, exponent=1.0, balanced=False) for case in cases],
        "found": [Descent(cases[0][0], 0.1, *descent)],
    }
    return [bool(check.holds) for check in _outcome(**{**runs, **changes}).checks]


def test_every_check_can_fail() -> None:
    assert holding() == [True] * 10
    cp, matrix, tree = (cp_case(3, False), "r"), (matrix_case(3), None), (hierarchical_case(2), "r{0,1}")
    for place, case in enumerate((matrix, cp, tree)):
        wrong = [line(*other, exponent=1.36 if other is case else None) for other in (matrix, cp, tree)]
        assert holding(balanced=wrong)[place] is False
    four = [line(*matrix, exponent=1.5), line(*cp), line(*tree)]
    assert holding(balanced=four)[3] is False
    twice = replace(line(*cp), rates=[replace(r, measured=1.1 * r.measured) for r in line(*cp).rates])
    assert holding(balanced=[line(*matrix), twice, line(*tree)])[4:6] == [False, False]
    outside = line(*cp, balanced=False)
    outside = replace(outside, rates=[replace(r, upper=0.9 * r.measured) for r in outside.rates])
    assert holding(unbalanced=[outside])[6] is False
    assert holding(lopsided=[line(*cp, balanced=False)])[7] is False
    assert holding(descent=(2e-3, 2e-3, 1e-9))[8] is False
    assert holding(descent=(2e-3, 1e-3, 1e-3))[9] is False


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mf_depths": "1,2"}, "mf_depths is a whole number from 2 to 12, got 1"),
        ({"cp_orders": "7"}, "cp_orders is a whole number from 3 to 6"),
        ({"htf_arities": ()}, "htf_arities are whole numbers from 2 to 4, one or more"),
        ({"seeds": 0}, "seeds is a whole number from 1 on, got 0"),
        ({"start": -1.0}, "start is a positive number, got -1.0"),
        ({"confidence": 1.0}, "confidence is a number between 0 and 1"),
        ({"dtype": "float32"}, "need dtype float64, got float32"),
    ],
)
def test_bad_fields(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("dynamics-law", **fields)
