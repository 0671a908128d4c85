"""CP components that trained convolutions need, with real labels and with random ones."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import compression_bound

pytest.importorskip("torch")
SMALL = {"limit": 60, "channels": "5,6", "components": "1,2,45", "seeds": 1, "steps": 20, "batch": 30}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("compression-bound", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())["runs"]
    assert [one["kind"] for one in summary] == ["real", "random"]
    for one in summary:
        # (5, 3, 3) and (6, 5, 3, 3): the first has at most 9 components, the second at most 45
        parameters = [28 * 1, 28 * 2, 45 + 270]
        assert [row["parameters"] for row in one["rows"]] == parameters
        assert [row["bound"] for row in one["rows"]] == [pytest.approx(sqrt(q / 60)) for q in parameters]
        first, second = one["errors"].values()
        assert all(np.diff(errors)[k] <= 1e-9 for errors in (first, second) for k in range(2))
        assert first[-1] == second[-1] == 0
        # of the widest fits: with 45 components each kernel is left alone
        assert [len(norms) for norms in one["spectra"].values()] == [2, 2]
    assert (short / "figure.png").stat().st_size > 10_000


def test_a_kernel_of_three_components_is_found_with_three() -> None:
    x = tnrank.CPFactorization.random((6, 5, 3, 3), rank=3, seed=0)
    kernel = np.asarray(x.to_dense())
    fits = compression_bound._fits(kernel, (1, 3, 45), seed=0)
    assert compression_bound._error(fits[0], kernel) > 0.1
    assert compression_bound._error(fits[1], kernel) < 1e-6
    assert fits[2] is None
    assert compression_bound._error(None, kernel) == 0
    one_channel = compression_bound._fits(kernel[:, :1], (2, 9), seed=0)
    assert one_channel[0] is not None
    assert one_channel[0].shape == (6, 3, 3)
    assert one_channel[1] is None


def test_components_are_enough_only_if_more_are_as_well() -> None:
    """Accuracies of compressed networks go up and down: one lucky number is not what is needed."""

    class Fixed:
        answers = iter((0.9, 1.0, 0.8, 0.995, 1.0))

        def kernels(self) -> dict[str, Any]:
            return {"only": np.random.default_rng(0).standard_normal((4, 3, 3, 3))}

        def measure(self) -> dict[str, float]:
            return {"train_accuracy": 1.0, "test_accuracy": 0.5}

        def measure_with(self, kernels: Any) -> dict[str, float]:
            return {"train_accuracy": next(self.answers), "test_accuracy": 0.5}

    recipe: Any = make_recipe("compression-bound", components="1,2,3,4,5")
    assert recipe._compressed(Fixed(), 10)["needed"]["components"] == 4


def runs(
    real: int | None = 16, random: int | None = 64, fitted: float = 1.0, test: float = 0.79
) -> list[dict[str, Any]]:
    found = []
    for kind, count in (("real", real), ("random", random)):
        needed = None if count is None else {"components": count, "test_accuracy": test}
        found.append({"kind": kind, "full": {"train_accuracy": fitted, "test_accuracy": 0.8}, "needed": needed})
    return found


def test_every_claim_can_fail() -> None:
    recipe: Any = make_recipe("compression-bound")

    def holds(*found: dict[str, Any]) -> list[bool]:
        return [bool(check.holds) for check in compression_bound._claims(recipe, found)]

    assert holds(*runs(), *runs(random=None)) == [True] * 3
    assert holds(*runs(fitted=0.9))[0] is False
    assert holds(*runs(), *runs(real=64))[1] is False
    assert holds(*runs(), *runs(test=0.69))[2] is False
    assert holds(*runs(real=None))[1:] == [False, False]


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    outcome = run(make_recipe("compression-bound"), out=tmp_path, figure=False).outcome
    assert outcome.holds
