"""``tnrank reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnrank._reading import reading
from tnrank.cli import _console, _options
from tnrank.cli._recipes import load_module, target_of
from tnrank.cli._settings import Settings, preset_of, read_settings

if TYPE_CHECKING:
    from tnrank.experiments import Run


def reproduce(
    name: Annotated[str, typer.Argument(help="The recipe, such as dynamics.", show_default=False)],
    preset: _options.Preset = None,
    backend: _options.Backend = None,
    seed: Annotated[
        int | None, typer.Option(help="Of targets, observations and initial weights; else the recipe's own.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds, for recipes that repeat what they do; else the preset's.")
    ] = None,
    dtype: _options.OwnDtype = None,
    steps: _options.Steps = None,
    set_: _options.Set = None,
    config: _options.Config = None,
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
    wait: _options.Wait = False,
    target: _options.Target = None,
    module: _options.Module = None,
    figure: _options.Figure = True,
) -> None:
    """Rerun a published experiment: figure, metrics and a verdict in a run folder.

    The verdict is computed from the data and printed; it does not change the exit code. Ctrl-C saves a checkpoint,
    says how to go on from there, and exits with 130.
    """
    known = preset or preset_of(resume, config) or "quick"
    _console.limit_threads(int(known == "quick") if threads is None else threads)
    _options.whole(steps, "--steps", 1, 2**31 - 1, "steps are counted in 32 bits")
    load_module(module)
    _check_seeds(name, seed, seeds)
    own = {"seed": seed, "seeds": seeds, "target": target_of(name, target)}
    settings = read_settings(config, preset, backend, dtype, set_ or [], own)
    if settings.grid:
        raise ValueError(f"{config} has a grid: tnrank sweep {name} --config {config}")
    show_run(_run(name, settings, steps, out, resume, wait, figure))


def reproduce_run(
    name: str,
    preset: str | None,
    backend: str | None,
    seed: int | None,
    dtype: str | None,
    steps: int | None,
    overrides: dict[str, Any],
    out: Path,
    resume: Path | None = None,
) -> Run:
    """Make the recipe and run it under a progress line."""
    _check_seeds(name, seed, None)
    fields = {} if seed is None else {"seed": seed}
    return _run(name, Settings(preset, backend, dtype, {**fields, **overrides}, {}), steps, out, resume)


def _run(
    name: str,
    settings: Settings,
    steps: int | None,
    out: Path,
    resume: Path | None,
    wait: bool = False,
    figure: bool = True,
) -> Run:
    from tnrank.experiments import run

    if resume is not None:
        settings = _resumed(resume, name, settings)
    with _console.progress_line("importing what trains"):
        recipe = settings.recipe(name)
    if steps is not None:
        recipe = recipe.limited(steps)
    with _console.progress_line(f"running the recipe {name}") as progress:
        waiting = _console.waiting(wait, progress)
        return run(recipe, out, progress=progress, resume=resume, wait=waiting, figure=figure)


def _check_seeds(name: str, seed: int | None, seeds: int | None) -> None:
    _options.whole(seed, "a seed", 0, 2**63 - 1, "generators are seeded by 64 bits")
    _options.whole(seeds, "--seeds", 1, 10_000, "each seed is a run of its own")
    if seeds is None:
        return
    from tnrank.experiments import known_recipes
    from tnrank.experiments.fields import fields_of

    kind = known_recipes().get(name)
    if kind is not None and "seeds" not in fields_of(kind):
        raise ValueError(
            f"the recipe {name!r} runs once, with one seed; for several: tnrank sweep {name} --seeds {seeds}"
        )


def _resumed(folder: Path, name: str, settings: Settings) -> Settings:
    """The settings of a run that did not end, under those that were typed besides."""
    from tnrank.experiments import read_config
    from tnrank.runs import partial_of

    config = read_config(folder)
    if config.get("recipe") != name:
        raise ValueError(f"the run in {folder} is of the recipe {config.get('recipe')!r}, not {name!r}")
    from tnrank.experiments import make_recipe

    fields = dict(config["fields"])
    preset, backend, dtype = (fields.pop(key, None) for key in ("preset", "backend", "dtype"))
    with reading(partial_of(folder) / "config.json", "cannot be read"):
        own = make_recipe(name, preset, backend=backend, dtype=dtype, **fields)
        preset, backend, dtype = own.preset, own.backend, own.dtype
    return Settings(
        settings.preset or preset,
        settings.backend or backend,
        settings.dtype or dtype,
        {**fields, **settings.fields},
        {},
    )


def show_run(done: Run) -> None:
    """Tables, verdict, and where the files lie."""
    console = _console.out()
    console.print()
    for table in done.outcome.tables:
        _console.show_table(table, console)
    if done.outcome.checks:
        _console.show_checks(done.outcome.checks, console)
    files = ", ".join(sorted(path.name for path in done.folder.iterdir()))
    _console.say(f"\n{done.seconds:.0f} s; written to ", (done.folder, "bold"))
    console.print(_console.styled((files, "dim")))
