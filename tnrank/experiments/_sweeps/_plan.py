"""What a sweep runs: cells, one a point of the grid and seed, and the manifest that says so."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tnrank._check import shown, whole_number
from tnrank._files import write_atomically
from tnrank._reading import read_json, reading
from tnrank.experiments._recipe import Recipe, read_field
from tnrank.experiments._registry import make_recipe
from tnrank.runs import tuples

MANIFEST = "sweep.json"
_FORMAT = "tnrank sweep 1"
_MOST_CELLS = 100_000


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        number: from 0 on.
        point: grid field -> value.
        recipe: with these values and its seed.
    """

    number: int
    point: dict[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        """The name of its run folder."""
        told = "-".join([*(f"{k}={told_value(v)}" for k, v in self.point.items() if k != "seed"), ""])
        return re.sub(r"[^\w.=+,-]", "_", f"{self.number:04d}-{told}seed={self.recipe.seed}")[:120]


@dataclass(frozen=True)
class Plan:
    """A recipe, the values of the swept fields, and seeds.

    Attributes:
        base: the recipe that all cells start from.
        grid: field -> values.
        seeds: how many, from the base's seed on; ``None`` if the seed is in the grid.
    """

    base: Recipe
    grid: dict[str, tuple[Any, ...]]
    seeds: int | None

    def __post_init__(self) -> None:
        count = math.prod(len(values) for values in self.grid.values()) * (self.seeds or 1)
        if count > _MOST_CELLS:
            raise ValueError(
                f"a sweep has at most {_MOST_CELLS:,} cells, since each is a run with a folder of its own, got "
                f"{shown(count)}: fewer seeds, or several sweeps"
            )

    @property
    def cells(self) -> list[Cell]:
        """All of them; seeds vary fastest, so that neighbors have most in common."""
        found: list[Cell] = []
        for values in itertools.product(*self.grid.values()):
            point = dict(zip(self.grid, values, strict=True))
            for k in range(self.seeds or 1):
                recipe = replace(self.base, **{"seed": self.base.seed + k, **point})
                found.append(Cell(len(found), point, recipe))
        return found

    def check(self) -> None:
        """Have the fields of all cells check themselves, before anything is written."""
        self.cells  # noqa: B018

    def to_json(self) -> dict[str, Any]:
        """What another process needs to make the same plan, and tells one plan from another."""
        own = {f.name: getattr(self.base, f.name) for f in fields(self.base)}
        content = {"recipe": self.base.name, "fields": own, "grid": self.grid, "seeds": self.seeds}
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain

    @property
    def folder_name(self) -> str:
        """The same for the same plan: its command, typed again, finds it."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return f"sweep-{self.base.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def make_plan(
    name: str,
    grid: Mapping[str, Iterable[Any]],
    seeds: int | None,
    preset: str,
    overrides: Mapping[str, Any],
    steps: int | None,
) -> Plan:
    """Check everything and make the plan.

    Raises:
        ValueError: see :func:`tnrank.experiments.sweep`.
    """
    base = make_recipe(name, preset, **overrides)
    if steps is not None:
        base = base.limited(steps)
    if seeds is not None:
        seeds = whole_number(seeds, "seeds", 1)
    read: dict[str, tuple[Any, ...]] = {}
    for field, values in grid.items():
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise ValueError(f"the grid of {field} is a list of values, got {values!r}")
        read[field] = tuple(read_field(type(base), field, value) for value in values)
        if not read[field]:
            raise ValueError(f"the grid of {field} has no values")
        twice = [v for k, v in enumerate(read[field]) if v in read[field][:k]]
        if twice:
            raise ValueError(f"the grid of {field} has {twice[0]!r} twice")
        if field in overrides:
            raise ValueError(f"{field} is both in the grid and set to {overrides[field]!r}: leave one out")
    if "seed" in read and seeds is not None:
        raise ValueError(f"seed is in the grid, and seeds={seeds} asks for other ones: leave one out")
    plan = Plan(base, read, None if "seed" in read else int(seeds or 1))
    plan.check()
    return plan


def write_manifest(plan: Plan, folder: Path, command: list[str]) -> None:
    """Write what the sweep is into its folder."""
    cells = [{"cell": c.number, "folder": c.name, "seed": c.recipe.seed, **c.point} for c in plan.cells]
    content = {"format": _FORMAT, **plan.to_json(), "cells": cells, "command": command}
    write_atomically(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> Plan:
    """The plan of a sweep folder.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is not the folder of a sweep.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no sweep folder {folder} to resume")
    path = folder / MANIFEST
    if not path.is_file():
        run = " but the folder of one run, which tnrank reproduce NAME --resume takes" if _is_run(folder) else ""
        raise ValueError(f"{folder} is not a sweep folder{run or f': it has no {MANIFEST}'}")
    with reading(path, "cannot be read"):
        content = read_json(path)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, needed {_FORMAT!r}")
        name, own, grid, seeds = (content[key] for key in ("recipe", "fields", "grid", "seeds"))
        own = {field: tuples(value) for field, value in own.items() if field != "preset"}
        base = make_recipe(name, content["fields"]["preset"], **own)
        values = {f: tuple(read_field(type(base), f, tuples(v)) for v in found) for f, found in grid.items()}
        plan = Plan(base, values, None if seeds is None else whole_number(seeds, "seeds", 1))
        plan.check()
        return plan


def check_same_plan(plan: Plan, found: Plan, folder: Path) -> None:
    """Refuse the folder of another sweep.

    Raises:
        ValueError: with what differs.
    """
    here, there = plan.to_json(), found.to_json()
    if here["recipe"] != there["recipe"]:
        raise ValueError(f"the sweep in {folder} is of the recipe {there['recipe']!r}, not {here['recipe']!r}")
    wrong = []
    if here["grid"] != there["grid"]:
        wrong.append(f"its grid is {told_grid(there['grid'])}, here {told_grid(here['grid'])}")
    if here["seeds"] != there["seeds"]:
        wrong.append(f"it has {there['seeds']} seeds, here {here['seeds']}")
    own, other = here["fields"], there["fields"]
    wrong += [f"its {name} is {other.get(name)!r}, here {own[name]!r}" for name in own if own[name] != other.get(name)]
    if wrong:
        raise ValueError(f"the sweep in {folder} is another one: {'; '.join(wrong)}")


def told_value(value: Any) -> str:
    """A value as it is typed."""
    return ",".join(map(told_value, value)) if isinstance(value, (tuple, list)) else str(value)


def told_grid(grid: Mapping[str, Any]) -> str:
    """A grid as it is typed."""
    told = []
    for field, values in grid.items():
        mark = ";" if any(isinstance(v, (tuple, list)) for v in values) else ","
        told.append(f"{field}={mark.join(map(told_value, values))}")
    return " ".join(told) or "empty"


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file()
