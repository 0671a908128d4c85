"""``tnrank recipes``, and recipes and targets of a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnrank.cli import _console, _options

if TYPE_CHECKING:
    from tnrank.experiments import Recipe, Table


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe: list its fields.", show_default=False)] = None,
    module: _options.Module = None,
) -> None:
    """List the recipes that tnrank reproduce and tnrank sweep know, or the fields of one."""
    from tnrank.experiments import Table, find_recipe, known_recipes

    load_module(module)
    if name is not None:
        kind = find_recipe(name)
        _console.say((kind.name, "bold"), f": {kind.title}" if kind.title else "")
        _console.show_table(table_of_fields(kind))
        return
    rows = [(name, kind.title) for name, kind in sorted(known_recipes().items())]
    _console.show_table(Table("recipes", ("name", "what it shows"), rows))


def table_of_fields(kind: type[Recipe]) -> Table:
    """Fields with what they hold, their values in every preset, and their line of help."""
    from tnrank.experiments import Table
    from tnrank.experiments.fields import fields_of

    fields = {name: field for name, field in fields_of(kind).items() if name != "preset"}
    presets = list(kind.presets)

    def told(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)

    rows = [
        (name, field.kind.words(), *(told(kind.presets[p].get(name, field.default)) for p in presets), field.help)
        for name, field in fields.items()
    ]
    return Table(f"fields of {kind.name}, for --set FIELD=VALUE", ("field", "type", *presets, "what it is"), rows)


def load_module(module: str | None) -> None:
    """Make the recipes of a user's file or module known."""
    if module is not None:
        from tnrank.experiments import load_recipes

        with _console.progress_line(f"importing {module}"):
            load_recipes(module)


def target_of(name: str, target: Path | None) -> str | None:
    """The field ``target`` of a recipe.

    Raises:
        ValueError: if the recipe has none.
    """
    if target is None:
        return None
    from tnrank.experiments import find_recipe, known_recipes
    from tnrank.experiments.fields import fields_of

    if "target" not in fields_of(find_recipe(name)):
        takes = sorted(other for other, kind in known_recipes().items() if "target" in fields_of(kind))
        raise ValueError(f"the recipe {name!r} makes its own target; --target is for {', '.join(takes)}")
    return str(target)
