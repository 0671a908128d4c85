"""Recipes by name: those of the library, of other packages and of a user's own files."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from tnrank._backend import available_backends
from tnrank._check import instance
from tnrank._explained import explained
from tnrank.experiments._recipe import _KNOWN, ORIGINS, Recipe, nearest, read_field

GROUP = "tnrank.recipes"
"""The entry-point group in which other packages name their recipes: ``name = "package.module"``."""


def known_recipes() -> dict[str, type[Recipe]]:
    """Name -> recipe, those of installed packages included.

    Example:
        >>> from tnrank.experiments import known_recipes
        >>> "dynamics" in known_recipes()
        True
    """
    for name in _elsewhere():
        find_recipe(name)
    return dict(_KNOWN)


@explained
def find_recipe(name: str) -> type[Recipe]:
    """The class of the recipe called ``name``.

    Raises:
        TypeError: for a name that is no text.
        ValueError: for an unknown one (nearest names are given), or one whose package cannot be imported.

    Example:
        >>> from tnrank.experiments import find_recipe
        >>> find_recipe("dynamics").__name__
        'Dynamics'
    """
    instance(name, "name", str, "the name of a recipe, see tnrank.experiments.known_recipes()")
    if name not in _KNOWN:
        elsewhere = _elsewhere()
        if name not in elsewhere:
            own = f"; tnrank.experiments.load_recipes({name!r}) makes its recipes known" if name.endswith(".py") else ""
            raise ValueError(f"unknown recipe {name!r}{own or nearest(name, {**_KNOWN, **elsewhere})}")
        module = elsewhere[name]
        try:
            importlib.import_module(module)
        except Exception as error:
            raise ValueError(f"the recipe {name!r} cannot be imported from {module}: {_told(error)}") from error
        if name not in _KNOWN:
            raise ValueError(f"{module} registers no recipe {name!r}, which its package says it has")
    return _KNOWN[name]


def _elsewhere() -> dict[str, str]:
    """Name -> module, of recipes in other packages."""
    return {entry.name: entry.value.partition(":")[0] for entry in entry_points(group=GROUP)}


@explained
def load_recipes(module: str | Path) -> list[str]:
    """Make the recipes of a file or module known: it registers them with ``@register``.

    Args:
        module: a path that ends in ``.py``, or the name of a module. A file is imported under its stem, and its folder
            is searched for what it imports.

    Returns:
        The names of its recipes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be imported, registers nothing, or has the name of another module.

    Example:
        >>> from tnrank.experiments import load_recipes
        >>> load_recipes("mine.py")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no file mine.py with recipes
    """
    instance(module, "module", (str, Path), "a file such as 'mine.py', or the name of a module")
    file = Path(module) if str(module).endswith(".py") else None
    if file is None and Path(module).is_file():
        raise ValueError(f"{module} is no Python file by its name: rename it to {Path(module).with_suffix('.py').name}")
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"there is no file {file} with recipes")
    known = sys.modules.get(file.stem) if file is not None else None
    if known is not None and file is not None and getattr(known, "__file__", None) != str(file.resolve()):
        raise ValueError(
            f"{file} cannot be imported: a module called {file.stem!r} is imported already, rename the file"
        )
    try:
        found = importlib.import_module(str(module)) if file is None else _imported(file.resolve())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a script may end itself
        raise ValueError(f"{module} cannot be imported: {_told(error)}") from error
    names = [name for name, kind in _KNOWN.items() if kind.__module__ == found.__name__]
    if not names:
        if file is not None:
            del sys.modules[found.__name__]
        raise ValueError(
            f"{module} registers no recipe: decorate its class, derived from tnrank.experiments.Recipe, with "
            "@tnrank.experiments.register"
        )
    ORIGINS.update(dict.fromkeys(names, str(file.resolve() if file else module)))
    return names


def _imported(file: Path) -> ModuleType:
    if file.stem in sys.modules:
        return sys.modules[file.stem]
    if str(file.parent) not in sys.path:
        # Worker processes find it there, too.
        sys.path.append(str(file.parent))
    spec = spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[file.stem] = module_from_spec(spec)
    try:
        spec.loader.exec_module(found)
    except BaseException:
        del sys.modules[file.stem]
        raise
    return found


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


@explained
def make_recipe(name: str, preset: str = "quick", **overrides: Any) -> Recipe:
    """The recipe called ``name`` with the fields of a preset, some of them overridden.

    Args:
        name: one of :func:`recipes`.
        preset: ``"quick"`` or ``"paper"``.
        overrides: field -> value; text is read as the field's type, ``"1e-1,1e-2"`` as a tuple. The backend is the
            recipe's own unless that is not installed.

    Raises:
        TypeError: for a name or preset that is no text.
        ValueError: for an unknown recipe, preset or field (nearest names are given), or a wrong value.

    Example:
        >>> from tnrank.experiments import make_recipe
        >>> make_recipe("dynamics", "paper").htf_width
        512
    """
    kind = find_recipe(name)
    instance(preset, "preset", str, "'quick' or 'paper'")
    if preset not in kind.presets:
        raise ValueError(f"the recipe {name!r} has no preset {preset!r}{nearest(preset, kind.presets)}")
    values = dict(kind.presets[preset])
    values |= {field: read_field(kind, field, value) for field, value in overrides.items()}
    own = values.setdefault("backend", kind.backend)
    if "backend" not in overrides and own not in (installed := available_backends()):
        values["backend"] = next(one for one in ("jax", "torch", "numpy") if one in installed)
    return kind(preset=preset, **values)
