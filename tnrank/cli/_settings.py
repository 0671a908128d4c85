"""What is run, said by flags and by a TOML file; flags win."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tnrank._reading import read_bytes, read_json, reading
from tnrank.cli import _console

if TYPE_CHECKING:
    from tnrank.experiments import Recipe

_OWN = ("preset", "backend", "dtype")


@dataclass(frozen=True)
class Settings:
    """A preset, a backend, a dtype (each perhaps not said), fields of the recipe, and a grid for sweeps."""

    preset: str | None
    backend: str | None
    dtype: str | None
    fields: dict[str, Any]
    grid: dict[str, Any]

    def recipe(self, name: str) -> Recipe:
        """The recipe in its own dtype and, where it is installed, on its own backend if no other was said."""
        from dataclasses import replace

        from tnrank import available_backends
        from tnrank.experiments import make_recipe

        recipe = make_recipe(name, self.preset or "quick", **self.fields)
        dtype = self.dtype or recipe.dtype
        backend = self.backend or (recipe.backend if recipe.backend in available_backends() else None)
        return replace(recipe, backend=_console.ready_backend(backend, dtype), dtype=dtype)


def read_settings(
    config: Path | None,
    preset: str | None,
    backend: str | None,
    dtype: str | None,
    given: list[str],
    options: dict[str, Any] | None = None,
) -> Settings:
    """Flags over those of a file; ``given`` is what ``--set`` says, ``options`` are fields with options of their own.

    Raises:
        ValueError: for a file that is not TOML, or says something else than fields.
    """
    own: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    grid: dict[str, Any] = {}
    if config is not None:
        fields = _read(config)
        grid = fields.pop("grid", {})
        if not isinstance(grid, dict):
            raise ValueError(f"{config}: grid is a table such as [grid] with std = [1e-1, 1e-2], got {grid!r}")
        own = {name: fields.pop(name) for name in _OWN if name in fields}
        wrong = [name for name, value in own.items() if not isinstance(value, str)]
        if wrong:
            raise ValueError(f"{config}: {wrong[0]} is text, got {own[wrong[0]]!r}")
    fields |= {name: value for name, value in (options or {}).items() if value is not None}
    typed = overrides(given)
    own |= {k: v for k, v in zip(_OWN, (preset, backend, dtype), strict=True) if v is not None}
    own |= {name: typed.pop(name) for name in _OWN[1:] if name in typed}
    return Settings(own.get("preset"), own.get("backend"), own.get("dtype"), {**fields, **typed}, grid)


def _read(config: Path) -> dict[str, Any]:
    import tomllib

    config.stat()  # a file that is missing is one that the person named, not one that has similar neighbors
    with reading(config, "is not a TOML file") as file:
        found = tomllib.loads(read_bytes(file, 20).decode("utf-8"))
    return {name.replace("-", "_"): value for name, value in found.items()}


def overrides(given: list[str]) -> dict[str, Any]:
    """``FIELD=VALUE`` as a field and its text."""
    found = {}
    for text in given:
        field, equals, value = text.partition("=")
        if not equals or not field:
            raise typer.BadParameter(f"--set takes FIELD=VALUE, such as --set htf_std=5e-2, got {text!r}")
        found[field.strip().replace("-", "_")] = value.strip()
    return found


def preset_of(folder: Path | None, config: Path | None) -> str | None:
    """The preset of a run, a sweep or a file, found before NumPy is imported and with it the threads settled."""
    if folder is not None:
        for path in (folder / "config.json", folder.parent / f".{folder.name}.partial" / "config.json"):
            if path.is_file():
                break
        else:
            path = folder / "sweep.json"
        try:
            return str(read_json(path)["fields"]["preset"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    if config is not None:
        try:
            return str(_read(config)["preset"])
        except (OSError, ValueError, KeyError):
            return None
    return None
