"""Recipes, presets, overrides and the registry."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, ClassVar

import pytest

from tnrank.experiments import Outcome, Recipe, known_recipes, make_recipe, register
from tnrank.experiments._recipe import _KNOWN


def test_dynamics_has_both_presets() -> None:
    quick, paper = make_recipe("dynamics"), make_recipe("dynamics", "paper")
    assert (quick.htf_width, paper.htf_width) == (64, 512)
    assert (quick.htf_std, paper.htf_std) == (3e-2, 1e-2)
    assert paper.htf_steps == 500_000  # the published budget; the stop rule ends it long before
    assert paper.preset == "paper"


def test_recipes_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make_recipe("dynamics").seed = 3  # type: ignore[misc]


def test_text_is_read_as_the_type_of_the_field() -> None:
    recipe = make_recipe("dynamics", htf_std="5e-2", htf_steps="1e3", seed="4")
    assert (recipe.htf_std, recipe.htf_steps, recipe.seed) == (0.05, 1000, 4)


@dataclass(frozen=True, kw_only=True)
class _Fields(Recipe):
    name: ClassVar[str] = "fields"

    stds: tuple[float, ...] = ()
    sides: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 1.0)
    flags: tuple[bool, ...] = ()
    most: int | None = None
    plain: bool = False
    label: str = ""
    anything: Any = None


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        ("stds", "1e-1,1e-2", (0.1, 0.01)),
        ("stds", "(0.5, 2)", (0.5, 2.0)),
        ("stds", "3", (3.0,)),
        ("stds", "", ()),
        ("stds", [1, 2], (1.0, 2.0)),
        ("sides", "8,8,8", (8, 8, 8)),
        ("sides", "1e3,", (1000,)),
        ("models", "mf, cp", ("mf", "cp")),
        ("pair", "2,0.5", (2, 0.5)),
        ("flags", "true,no", (True, False)),
        ("most", "none", None),
        ("most", None, None),
        ("most", "7", 7),
        ("plain", "yes", True),
        ("anything", {"a": 1}, {"a": 1}),
    ],
)
def test_fields_are_read(monkeypatch: pytest.MonkeyPatch, field: str, given: Any, value: Any) -> None:
    monkeypatch.setitem(_KNOWN, "fields", _Fields)
    found = getattr(make_recipe("fields", **{field: given}), field)
    assert found == value
    if isinstance(value, tuple):
        assert [type(one) for one in found] == [type(one) for one in value]


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("stds", "1e-1,big", "the field stds is numbers, such as 1e-1,1e-2, got '1e-1,big'"),
        ("stds", 0.1, "the field stds is numbers"),
        ("stds", [True], "the field stds is numbers"),
        ("sides", "8,8.5", "the field sides is whole numbers, such as 1,2"),
        ("sides", [8, None], "the field sides is whole numbers"),
        ("models", [3], "the field models is words, such as a,b"),
        ("pair", "1,2,3", "the field pair is 2 whole numbers"),
        ("flags", "true,maybe", "the field flags is true-or-false values"),
        ("most", "many", "the field most is a whole number"),
        ("plain", "maybe", "the field plain is true or false"),
        ("plain", 3, "the field plain is true or false"),
        ("label", 3, "the field label is text, got 3"),
        ("seed", True, "the field seed is a whole number"),
    ],
)
def test_values_of_the_wrong_type_are_named(monkeypatch: pytest.MonkeyPatch, field: str, given: Any, said: str) -> None:
    monkeypatch.setitem(_KNOWN, "fields", _Fields)
    with pytest.raises(ValueError, match=re.escape(said)):
        make_recipe("fields", **{field: given})


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
        assert known_recipes()["nothing"] is Nothing
        assert make_recipe("nothing").folder_name == "nothing-quick-jax"
    finally:
        del _KNOWN["nothing"]
