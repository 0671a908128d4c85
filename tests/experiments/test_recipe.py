"""Recipes, presets, overrides and the registry."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Any, ClassVar

import pytest

from tnrank.experiments import Completion, Outcome, Recipe, make_recipe, recipes, register
from tnrank.experiments._recipe import _KNOWN


def test_dynamics_has_both_presets() -> None:
    quick, paper = make_recipe("dynamics"), make_recipe("dynamics", "paper")
    assert (quick.htf_width, paper.htf_width) == (64, 512)
    assert (quick.htf_std, paper.htf_std) == (3e-2, 1e-2)
    assert paper.htf_steps == 32_000
    assert paper.preset == "paper"


def test_recipes_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make_recipe("dynamics").seed = 3  # type: ignore[misc]


def test_text_is_read_as_the_type_of_the_field() -> None:
    recipe = make_recipe("dynamics", htf_std="5e-2", htf_steps="1e3", seed="4")
    assert (recipe.htf_std, recipe.htf_steps, recipe.seed) == (0.05, 1000, 4)


def test_limited_sets_every_budget() -> None:
    recipe = make_recipe("dynamics").limited(7)
    assert (recipe.mf_steps, recipe.cp_steps, recipe.htf_steps) == (7, 7, 7)
    with pytest.raises(ValueError, match="from 1 on"):
        recipe.limited(0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("dynamic",), "did you mean 'dynamics'"),
        (("zzz",), "known: "),
        (("dynamics", "papre"), "did you mean 'paper'"),
    ],
)
def test_unknown_names_suggest_the_nearest(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_recipe(*given)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"htf_wdith": 3}, "did you mean 'htf_width'"),
        ({"htf_width": "3.5"}, "whole number"),
        ({"htf_std": "small"}, "is a number"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_recipe("dynamics", **fields)


def test_a_recipe_from_outside_can_be_registered() -> None:
    @register
    @dataclass(frozen=True, kw_only=True)
    class Nothing(Recipe):
        name: ClassVar[str] = "nothing"

        def execute(self, journal: Any) -> Outcome:
            return Outcome({})

    try:
        assert recipes()["nothing"] is Nothing
        assert make_recipe("nothing").folder_name == "nothing-quick-jax"
    finally:
        del _KNOWN["nothing"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "htff"}, "did you mean 'htf'"),
        ({"hold_out": 1.0}, "hold_out"),
        ({"steps": 0}, "steps is at least 1"),
    ],
)
def test_completion_checks_its_fields(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Completion(source="x.npy", **fields)
