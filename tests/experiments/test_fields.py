"""What fields hold, from their types: checks, text, help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from tnrank.experiments import Recipe
from tnrank.experiments.fields import (
    Count,
    Depth,
    Every,
    NonNegative,
    Part,
    Patience,
    Positive,
    Range,
    Seeds,
    Several,
    Share,
    Steps,
    TargetFile,
    fields_of,
)


@dataclass(frozen=True, kw_only=True)
class Declared(Recipe):
    """A recipe.

    Attributes:
        count: how many, of :class:`tnrank.Network`,
            in ``two`` lines.
        steps: the most.

    More text: which is no field.
    """

    name: ClassVar[str] = "declared"

    count: Count = 3
    few: Annotated[int, Range(2, 12)] = 4
    depth: Depth = 2
    steps: Steps = 10
    other_steps: int = 5
    every: Every = 1
    patience: Patience = 0
    seeds: Seeds = 1
    scale: Positive = 1.0
    noise: NonNegative = 0.0
    share: Share = 1.0
    part: Part = 0.5
    low: Annotated[float, Range(0, below=1)] = 0.0
    scales: Annotated[tuple[Positive, ...], Several(2, "falling")] = (2.0, 1.0)
    depths: Annotated[tuple[Depth, ...], Several(order="rising")] = (1, 2)
    losses: Annotated[tuple[Literal["l1", "l2"], ...], Several(once=True)] = ("l1",)
    way: Literal["there", "back"] = "there"
    most: Count | None = None
    pair: tuple[int, float] = (1, 2.0)
    target: TargetFile = None
    anything: Any = None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("count", 0, "count is a whole number from 1 on, got 0"),
        ("count", 1.5, "count is a whole number from 1 on, got 1.5"),
        ("count", True, "count is a whole number from 1 on, got True"),
        ("count", 10**7, "count is at most 1,000,000, got 10000000: arrays of that size do not fit into memory"),
        ("few", 1, "few is a whole number from 2 to 12, got 1"),
        ("few", 13, "few is a whole number from 2 to 12, got 13"),
        ("depth", 2000, "depth is at most 1,000"),
        ("steps", 2**31, "steps is at most 2,147,483,647, got 2147483648: steps are counted in 32 bits"),
        ("patience", -1, "patience is a whole number from 0 on, got -1"),
        ("seeds", 20_000, "each seed is a run of its own"),
        ("scale", 0, "scale is a positive number, got 0"),
        ("scale", float("nan"), "scale is a finite number, got nan"),
        ("scale", float("inf"), "scale is a finite number, got inf"),
        ("scale", "1", "scale is a positive number, got '1'"),
        ("noise", -1e-9, "noise is a number from 0 on, got -1e-09"),
        ("share", 0.0, "share is a number above 0, at most 1, got 0.0"),
        ("share", 1.1, "share is a number above 0, at most 1, got 1.1"),
        ("part", 1.0, "part is a number between 0 and 1, got 1.0"),
        ("low", 1.0, "low is a number from 0 on, below 1, got 1.0"),
        ("scales", (1.0, 2.0), "scales are positive numbers, two or more, falling, got (1.0, 2.0)"),
        ("scales", (1.0,), "scales are positive numbers, two or more, falling"),
        ("scales", (1.0, 0.0), "each of scales is a positive number, got 0.0"),
        ("scales", 1.0, "scales are positive numbers, two or more, falling, got 1.0"),
        ("depths", (), "depths are whole numbers from 1 on, one or more, rising, got ()"),
        ("losses", ("l1", "l1"), "losses are some of l1, l2, one or more, each once"),
        ("losses", ("l3",), "each of losses is one of l1, l2, got 'l3'"),
        ("way", "up", "way is one of there, back, got 'up'"),
        ("most", 0, "most is a whole number from 1 on, or none, got 0"),
        ("pair", (1, 2.0, 3), "pair are 2 whole numbers, got (1, 2.0, 3)"),
        ("pair", (1, "b"), "each of pair is a number, got 'b'"),
        ("target", 3, "target is text, or none, got 3"),
        ("seed", -1, "seed is a whole number from 0 on, got -1"),
        ("backend", None, "backend is text, got None"),
    ],
)
def test_a_value_out_of_range_is_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Declared(**{field: value})


def test_what_is_in_range_passes() -> None:
    made = Declared(scales=[3, 2, 1], few=np.int64(12), scale=np.float32(0.5), most=None, anything={"a": 1}, part=0.1)  # type: ignore[arg-type]
    assert made.scales == (3, 2, 1)
    assert (made.few, type(made.few)) == (12, int)
    assert (made.scale, type(made.scale)) == (0.5, float)


def test_budgets_are_declared() -> None:
    limited = Declared().limited(3)
    assert (limited.steps, limited.other_steps) == (3, 5)


def test_help_is_read_off_the_docstrings() -> None:
    found = fields_of(Declared)
    assert found["count"].help == "how many, of tnrank.Network, in two lines."
    assert found["steps"].help == "the most."
    assert found["scale"].help == ""
    assert found["seed"].help.startswith("of targets")
    assert list(found)[-4:] == ["preset", "backend", "dtype", "seed"]


@pytest.mark.parametrize("name", ["count", "pair", "losses", "most", "scale", "way"])
def test_text_is_read_as_the_type(name: str) -> None:
    kind = fields_of(Declared)[name].kind
    text = {"count": "1e2", "pair": "1,2", "losses": "l1, l2", "most": "None", "scale": "5e-2", "way": "back"}[name]
    value = {"count": 100, "pair": (1, 2.0), "losses": ("l1", "l2"), "most": None, "scale": 0.05, "way": "back"}[name]
    assert kind.read(name, text) == value
    if value is not None:
        with pytest.raises(ValueError, match=f"the field {name} is"):
            kind.read(name, [object()])
