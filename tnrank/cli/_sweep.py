"""``tnrank sweep``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnrank.cli import _console, _options
from tnrank.cli._recipes import load_module, target_of
from tnrank.cli._settings import Settings, preset_of, read_settings

if TYPE_CHECKING:
    from tnrank.experiments import Sweep, Table

_SHOWN = 4
"""Numbers of the summary in the printed table; the file has all."""


def sweep(
    name: Annotated[str, typer.Argument(help="The recipe, such as dynamics.", show_default=False)],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="FIELD=V1,V2",
            help="Values of a field; repeatable, for all combinations. Between values that are lists themselves: ;",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds at each point, from the recipe's own on.", show_default="1")
    ] = None,
    preset: _options.Preset = None,
    backend: _options.Backend = None,
    dtype: _options.OwnDtype = None,
    steps: _options.Steps = None,
    set_: _options.Set = None,
    config: _options.Config = None,
    workers: Annotated[int | None, typer.Option(help="Processes of this machine; else one, this one.")] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Scheduler of a Dask cluster that does the work.")
    ] = None,
    batch: Annotated[int, typer.Option(help="The most cells in one compiled call.")] = 32,
    table: Annotated[str, typer.Option(help="csv or parquet.")] = "csv",
    out: _options.Out = Path("runs"),
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of a sweep: go on there, with its settings.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of NumPy and PyTorch; 0: all cores. Else 1, but all for paper without --workers."),
    ] = None,
    wait: _options.Wait = False,
    target: _options.Target = None,
    module: _options.Module = None,
    figure: _options.Figure = True,
) -> None:
    """Run a recipe over a grid of its fields and over seeds: a run folder a cell, and one table.

    The same command again, or --resume, goes on where it was and does again nothing that is complete. Ctrl-C saves
    what is under way and exits with 130; cells that fail make the exit code 1.
    """
    known = preset or preset_of(resume, config) or "quick"
    _console.limit_threads(int(known == "quick" or bool(workers)) if threads is None else threads)
    _options.whole(seeds, "--seeds", 1, 100_000, "each seed is a run with a folder of its own at every point")
    _options.whole(steps, "--steps", 1, 2**31 - 1, "steps are counted in 32 bits")
    _options.whole(workers, "--workers", 1, 1024, "each is a process that imports the frameworks")
    _options.whole(batch, "--batch", -(2**63), 100_000, "so many cells are compiled into one call")
    if workers is not None and dask is not None:
        raise ValueError("got --workers and --dask: one of them does the work")
    load_module(module)
    settings = read_settings(config, preset, backend, dtype, set_ or [], {"target": target_of(name, target)})
    points = {**settings.grid, **_grid(name, grid or [])}
    from tnrank.experiments import sweep as carry_out

    typed: dict[str, Any] = dict(settings.fields)
    if resume is None:
        with _console.progress_line("importing what trains"):
            typed |= _ready(name, settings, points)
    else:
        with _console.progress_line(f"reading what is complete in {resume}"):
            _make_ready(resume)
        given = {"backend": settings.backend, "dtype": settings.dtype}
        typed |= {field: value for field, value in given.items() if value is not None}
    with _executor(workers, dask) as executor, _console.progress_line(f"sweeping the recipe {name}") as progress:
        done = carry_out(
            name,
            points if points or resume is None else None,
            seeds=seeds,
            preset=settings.preset,
            overrides=typed,
            steps=steps,
            out=out,
            resume=resume,
            executor=executor,
            batch=batch,
            table=table,
            progress=progress,
            wait=_console.waiting(wait, progress),
            figure=figure,
        )
    _show(done)
    if done.failed:
        first = done.failed[0]
        _console.complain(
            f"{len(done.failed):,} of {len(done.rows):,} cells failed, the first of them cell "
            f"{first['cell']}: {first.get('failure', 'it is missing')}"
        )
        raise typer.Exit(1)


def _grid(name: str, given: list[str]) -> dict[str, list[str]]:
    """``FIELD=V1,V2`` as a field and the text of its values.

    ``std`` of a recipe with ``stds`` is one of them a cell.
    """
    from tnrank.experiments import known_recipes
    from tnrank.experiments.fields import fields_of

    kind = known_recipes().get(name)
    fields = {} if kind is None else fields_of(kind)

    def is_sequence(field: str) -> bool:
        return field in fields and fields[field].kind.plain is tuple

    found: dict[str, list[str]] = {}
    for text in given:
        field, equals, values = text.partition("=")
        field = field.strip().replace("-", "_")
        if not equals or not field:
            raise typer.BadParameter(f"--grid takes FIELD=V1,V2, such as --grid cp_std=1e-1,1e-2, got {text!r}")
        one_each = field not in fields and is_sequence(f"{field}s")
        field = f"{field}s" if one_each else field
        if field in found:
            raise ValueError(f"{field} is in the grid twice: give all its values at once, --grid {field}=V1,V2")
        lists = ";" in values or (is_sequence(field) and not one_each)
        found[field] = [v.strip() for v in values.split(";" if lists else ",")] if values.strip() else []
    return found


def _ready(name: str, settings: Settings, grid: dict[str, Any]) -> dict[str, Any]:
    """Backend and dtype of all cells, unless they are in the grid; all of them are made usable."""
    from tnrank.experiments import make_recipe

    own = make_recipe(name, settings.preset or "quick", **settings.fields)
    dtypes = grid.get("dtype") or [settings.dtype or own.dtype]
    backends = grid.get("backend") or [settings.backend]
    found = [_console.ready_backend(backend, dtype) for backend in backends for dtype in dtypes]
    fixed = {"backend": found[0]} if "backend" not in grid else {}
    return fixed | ({"dtype": dtypes[0]} if "dtype" not in grid else {})


def _make_ready(folder: Path) -> None:
    from tnrank.experiments._sweeps._plan import read_manifest

    for backend, dtype in {(cell.recipe.backend, cell.recipe.dtype) for cell in read_manifest(folder).cells}:
        _console.ready_backend(backend, dtype)


@contextmanager
def _executor(workers: int | None, address: str | None) -> Iterator[Executor | None]:
    from tnrank.experiments._sweeps import _workers

    if workers is None and address is None:
        yield None
        return
    with _workers.processes(workers) if workers is not None else _workers.dask(str(address)) as found:
        yield found


def _show(done: Sweep) -> None:
    """A line a point of the grid: how many seeds, verdicts, and medians."""
    console = _console.out()
    console.print()
    _console.show_table(_by_point(done), console)
    again = len(done.rows) - done.computed
    told = f"; {again:,} cell{'s were' if again != 1 else ' was'} complete before" if again else ""
    _console.say(f"{done.seconds:.0f} s; written to ", (done.folder, "bold"), told)
    _console.say("table: ", (done.table, "bold"))


def _by_point(done: Sweep) -> Table:
    from tnrank.experiments import Table

    points: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in done.rows:
        points.setdefault(tuple(str(row[field]) for field in done.fields), []).append(row)
    whole = [row for row in done.rows if row["status"] == "complete"]
    own = {"cell", "seed", "status", "seconds", "verdict", "failure", "folder", *done.fields}
    plain = [name for name in (whole[0] if whole else {}) if name not in own and "." not in name]
    shown = [n for n in plain if all(isinstance(row.get(n), (int, float)) for row in whole)][:_SHOWN]
    verdicts = any(row["verdict"] is not None for row in whole)
    rows = []
    for point, found in points.items():
        ended = [row for row in found if row["status"] == "complete"]
        cells = [f"{len(ended)} of {len(found)}"]
        if verdicts:
            cells.append(str(sum(row["verdict"] == "holds" for row in ended)))
        cells += [f"{median(float(row[name]) for row in ended):.4g}" if ended else "" for name in shown]
        rows.append((*point, *cells))
    heads = ("complete", *(("verdict holds",) if verdicts else ()), *(f"median {name}" for name in shown))
    return Table(f"{len(done.rows):,} cell{'s' * (len(done.rows) != 1)}", (*done.fields, *heads), rows)
