"""``tnrank reproduce``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnrank.cli import _console, _options

if TYPE_CHECKING:
    from tnrank.experiments import Run


def reproduce(
    name: Annotated[str, typer.Argument(help="The recipe, such as dynamics.", show_default=False)],
    preset: Annotated[str, typer.Option(help="quick (under a minute) or paper (the published settings).")] = "quick",
    backend: _options.Backend = None,
    seed: Annotated[
        int | None, typer.Option(help="Of targets, observations and initial weights; else the recipe's own.")
    ] = None,
    dtype: _options.Dtype = "float32",
    steps: Annotated[int | None, typer.Option(help="The most steps of each model; else the preset's.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe; repeatable."),
    ] = None,
    out: _options.Out = Path("runs"),
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder of a run that did not end: go on there, with its settings.", metavar="FOLDER"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of NumPy and PyTorch; 0: all cores. Else 1 for quick (small arrays), all for paper."
        ),
    ] = None,
) -> None:
    """Rerun a published experiment: figure, metrics and a verdict in a run folder.

    The verdict is computed from the data and printed; it does not change the exit code. Ctrl-C saves a checkpoint,
    says how to go on from there, and exits with 130.
    """
    if resume is not None and threads is None and preset == "quick":
        preset = _preset_of(resume)
    _console.limit_threads(int(preset == "quick") if threads is None else threads)
    overrides = _overrides(set_ or [])
    show_run(reproduce_run(name, preset, backend, seed, dtype, steps, overrides, out, resume))


def reproduce_run(
    name: str,
    preset: str,
    backend: str | None,
    seed: int | None,
    dtype: str,
    steps: int | None,
    overrides: dict[str, str],
    out: Path,
    resume: Path | None = None,
) -> Run:
    """Make the recipe and run it under a progress line."""
    from tnrank.experiments import make_recipe, run

    if seed is not None:
        if seed < 0:
            raise ValueError(f"a seed is a whole number from 0 on, got {seed}")
        overrides = {"seed": str(seed), **overrides}
    if resume is not None:
        preset, backend, dtype, overrides = _settings(resume, name, preset, backend, dtype, overrides)
    recipe = make_recipe(name, preset, **overrides)
    from dataclasses import replace

    recipe = replace(recipe, backend=_console.ready_backend(overrides.get("backend", backend), dtype), dtype=dtype)
    if steps is not None:
        recipe = recipe.limited(steps)
    with _console.progress_line() as progress:
        return run(recipe, out, progress=progress, resume=resume)


def _preset_of(folder: Path) -> str:
    """The preset of a run, found before NumPy is imported and with it the number of threads settled."""
    for path in (folder, folder.parent / f".{folder.name}.partial"):
        try:
            return str(json.loads((path / "config.json").read_bytes())["fields"]["preset"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return "quick"


def _settings(
    folder: Path, name: str, preset: str, backend: str | None, dtype: str, overrides: dict[str, Any]
) -> tuple[str, str | None, str, dict[str, Any]]:
    """The settings of a run that did not end, under those that were typed besides."""
    from tnrank.experiments import read_config

    config = read_config(folder)
    fields = {key: _tuples(value) for key, value in config.get("fields", {}).items()}
    if config.get("recipe") != name:
        raise ValueError(f"the run in {folder} is of the recipe {config.get('recipe')!r}, not {name!r}")
    known = fields.pop("preset", preset), fields.pop("backend", backend), fields.pop("dtype", dtype)
    return (
        known[0] if preset == "quick" else preset,
        backend or known[1],
        known[2] if dtype == "float32" else dtype,
        {**fields, **overrides},
    )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def show_run(done: Run) -> None:
    """Tables, verdict, and where the files lie."""
    console = _console.out()
    console.print()
    for table in done.outcome.tables:
        _console.show_table(table, console)
    if done.outcome.checks:
        _console.show_checks(done.outcome.checks, console)
    files = ", ".join(sorted(path.name for path in done.folder.iterdir()))
    console.print(f"\n{done.seconds:.0f} s; written to [bold]{done.folder}[/]", soft_wrap=True)
    console.print(f"[dim]{files}[/]")


def _overrides(given: list[str]) -> dict[str, Any]:
    found = {}
    for text in given:
        field, equals, value = text.partition("=")
        if not equals or not field:
            raise typer.BadParameter(f"--set takes FIELD=VALUE, such as --set htf_std=5e-2, got {text!r}")
        found[field.strip().replace("-", "_")] = value.strip()
    return found
