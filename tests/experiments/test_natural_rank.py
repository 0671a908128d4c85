"""Errors of low-rank factorizations on images and on their random twins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tnrank.data import random_labels
from tnrank.experiments import Interrupted, make_recipe, run
from tnrank.experiments.recipes import natural_rank

SMALL = {"ranks": "1,2", "widths": "2", "classes": 2, "htf_classes": "0,8", "limit": 150, "batch": 50}
SHORT = {"epochs": 3, "htf_epochs": 2, "dtype": "float64"}


def errors(folder: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = json.loads((folder / "summary.json").read_text())["errors"]
    return {(one["kind"], one["model"], one["size"], one["class"], one["seed"]): one for one in found}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_recipe("natural-rank", backend="numpy", seed=1, **SMALL, **SHORT)
    return run(recipe, out=tmp_path_factory.mktemp("runs")).folder


def test_one_error_of_each_model_class_and_twin(short: Path) -> None:
    found = errors(short)
    assert len(found) == 3 * (2 * 2 + 1 * 2)
    assert {key[3] for key in found if key[1] == "htf"} == {0, 8}
    assert (short / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_backends_agree(short: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    recipe = make_recipe("natural-rank", backend=backend, seed=1, **SMALL, **SHORT)
    found, expected = errors(run(recipe, out=tmp_path, figure=False).folder), errors(short)
    for key, one in expected.items():
        assert [found[key][name] for name in ("train", "test")] == pytest.approx([one["train"], one["test"]], rel=1e-9)


def test_errors_are_those_of_scores_by_hand() -> None:
    """Of a start of rank 1, whose score is a product over the pixels; errors of a test image are at most 1."""
    recipe = make_recipe("natural-rank", backend="numpy", **SMALL, std=0.2, dtype="float64")
    train, test = recipe.twins()["natural"]
    start = recipe.training("natural", "cp", 1, train).starts[0]
    (found,) = recipe._errors("natural", "cp", 1, [SimpleNamespace(factorization=start, status="steps")], train, test)
    source = load_digits()
    black = (source.images[1200:].reshape(597, 64) > 8).astype(int)
    by_hand = np.prod([np.asarray(factor)[black[:, n], 0] for n, factor in enumerate(start.factors)], axis=0)
    is_zero = source.target[1200:] == 0
    assert found["test"] == pytest.approx(np.minimum((by_hand - 2.0 * is_zero) ** 2, 4).mean() / 4, rel=1e-12)
    assert found["test_variance"] == pytest.approx(np.var(is_zero), rel=1e-12)


def test_twins_keep_what_they_should() -> None:
    twins = make_recipe("natural-rank", limit=300).twins()
    for split in (0, 1):
        natural, image, label = (twins[kind][split] for kind in natural_rank.KINDS)
        assert natural.states.shape == image.states.shape == (len(natural.labels), 64)
        np.testing.assert_array_equal(image.labels, natural.labels)
        np.testing.assert_array_equal(label.states, natural.states)
        np.testing.assert_array_equal(np.bincount(label.labels), np.bincount(natural.labels))
        assert (label.labels != natural.labels).mean() > 0.7
        assert abs(image.states.mean() - 0.5) < 0.02
    np.testing.assert_array_equal(twins["random label"][0].labels, random_labels(twins["natural"][0].labels, 0))


def test_interrupted_it_goes_on_bit_for_bit(short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of the fourth training, from whose checkpoint it goes on."""
    genuine, calls = natural_rank.SampleTraining.carry_out, []

    def carry_out(self: Any, **how: Any) -> Any:
        calls.append(self)
        if len(calls) != 4:
            return genuine(self, **how)
        own = how.pop("callback", None)

        def callback(step: int, loss: float) -> bool | None:
            if step >= 4:
                raise KeyboardInterrupt
            return None if own is None else own(step, loss)

        return genuine(self, callback=callback, **how)

    recipe = make_recipe("natural-rank", backend="numpy", seed=1, **SMALL, **SHORT)
    with monkeypatch.context() as patched:
        patched.setattr(natural_rank.SampleTraining, "carry_out", carry_out)
        with pytest.raises(Interrupted) as caught:
            run(recipe, out=tmp_path, figure=False)
    assert len(calls) == 4
    again = run(recipe, out=tmp_path, figure=False, resume=caught.value.kept)
    assert errors(again.folder) == errors(short)


def measured(**changes: float) -> list[dict[str, Any]]:
    """Errors with which all claims hold, but for the changes: ``{"cp_natural_train": 0.09}``."""
    found = []
    for model in ("cp", "htf"):
        for kind in natural_rank.KINDS:
            one: dict[str, Any] = {"kind": kind, "model": model, "size": 1, "class": 0, "seed": 0}
            for name in ("train", "test"):
                usual = 0.03 if kind == "natural" else 0.095
                one[name] = changes.get(f"{model}_{kind}_{name}".replace(" ", "_"), usual)
                one[f"{name}_variance"] = 0.09
            found.append(one)
    return found


def test_every_claim_can_fail() -> None:
    recipe = make_recipe("natural-rank")

    def holds(**changes: float) -> list[bool]:
        return [bool(check.holds) for check in natural_rank._claims(measured(**changes), recipe)]

    assert holds() == [True] * 6
    wrong = {
        "cp_natural_train": 0.046,
        "cp_natural_test": 0.046,
        "cp_random_image_test": 0.085,
        "htf_random_label_train": 0.05,
        "htf_natural_test": 0.046,
        "htf_random_label_test": 0.08,
    }
    for place, (name, value) in enumerate(wrong.items()):
        assert holds(**{name: value})[place] is False, name


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("natural-rank"), out=tmp_path, figure=False)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    found = errors(done.folder)
    train = {
        (kind, size): np.mean([one["train"] for key, one in found.items() if key[:3] == (kind, "htf", size)])
        for kind in natural_rank.KINDS
        for size in (1, 15)
    }
    assert train["natural", 15] < 0.5 * train["natural", 1]
    assert train["random image", 15] > train["natural", 1]


@pytest.mark.slow
@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_images_at_hand_have_low_rank(data: str, data_dir: Path, tmp_path: Path) -> None:
    """Rank and width 1 at the settings of the paper preset, on 12,000 and 3,600 images; ten and two classes."""
    settings = {"data": data, "data_dir": str(data_dir), "ranks": "1", "widths": "1", "seeds": 1}
    done = run(make_recipe("natural-rank", "paper", **settings), out=tmp_path, figure=False)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ranks": "2,1"}, "ranks .* rising"),
        ({"levels": 1}, "levels is .* 2 .* 256"),
        ({"data": "svhn"}, "data"),
        ({"htf_classes": "1,1"}, "htf_classes"),
        ({"htf_std": 0}, "htf_std is a positive number"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("natural-rank", **fields)


def test_missing_images_say_where_they_were_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TNRANK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe = replace(make_recipe("natural-rank"), data="mnist", data_dir=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"none.*download=True"):
        run(recipe, out=tmp_path / "runs", figure=False)
