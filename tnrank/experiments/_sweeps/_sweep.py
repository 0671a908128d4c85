"""Sweeps: one recipe over a grid of its fields and over seeds, in one folder with one table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tnrank._check import instance, shown, whole_number
from tnrank._explained import explained
from tnrank.experiments._arguments import check_place, check_progress, patience
from tnrank.experiments._runner import check_figure
from tnrank.experiments._sweeps._driver import Driver, Sweep
from tnrank.experiments._sweeps._plan import MANIFEST, Plan, check_same_plan, make_plan, read_manifest
from tnrank.experiments._sweeps._table import check_kind


@explained
def sweep(
    name: str,
    grid: Mapping[str, Iterable[Any]] | None = None,
    *,
    seeds: int | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    steps: int | None = None,
    out: str | Path = "runs",
    resume: str | Path | None = None,
    executor: Executor | None = None,
    batch: int = 32,
    table: str = "csv",
    progress: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    wait: bool | Callable[[str], None] = False,
    figure: bool = True,
) -> Sweep:
    """Run a recipe for every point of a grid and every seed, each in a run folder of its own, and make one table.

    The folder's name follows from what is run: the same sweep again goes on where it was, and does again nothing
    that is complete. On JAX and PyTorch, trainings of up to ``batch`` cells that agree in structure are one compiled
    call.

    Args:
        name: one of :func:`tnrank.experiments.recipes`.
        grid: field -> values; text is read as the field's type.
        seeds: how many, from the recipe's own on; 1 if not given.
        preset: what the fields start from; ``"quick"`` if not given.
        overrides: field -> value, the same in all cells.
        steps: sets every step budget.
        out: where the sweep's folder stands; made if missing.
        resume: the folder of a sweep, which goes on; ``out`` is not used, and what is given of the other settings has
            to be as it was.
        executor: any ``concurrent.futures.Executor``, which gets groups of up to ``batch`` cells; else they are
            carried out here. Its workers write into the sweep's folder.
        batch: the most cells in one call.
        table: ``"csv"`` or ``"parquet"``.
        progress: called with a line about twice a second.
        command: what was typed, kept in ``sweep.json`` and in each cell's ``config.json``.
        wait: whether to wait for another process that carries out this sweep, and then do what is left; a function is
            called with a line of progress about five times a second, else ``progress`` is.
        figure: whether to draw the figures of recipes that have one.

    Returns:
        A Sweep; cells that ended with an error are in its ``failed``, and do not end the others.

    Raises:
        TypeError: for an argument of another type.
        BlockingIOError: if another process carries out this sweep; its number, host and time are named.
        ValueError: for an unknown recipe or field (nearest names are given), a value of the wrong type, a grid that is
            empty or says something twice, or a folder of another sweep.
        ImportError: for a Parquet table without pyarrow, or figures without matplotlib.
        Interrupted: at Ctrl-C; it says how to go on.
        OSError: if the folder cannot be written to, or workers ended; what is complete stays so.

    Example:
        >>> import tempfile
        >>> from tnrank.experiments import sweep
        >>> few = {"backend": "numpy", "htf_width": 4}
        >>> done = sweep("dynamics", {"cp_std": [1e-2, 1e-3]}, steps=2, overrides=few, out=tempfile.mkdtemp())
        >>> [(row["cp_std"], row["status"]) for row in done.rows]
        [(0.01, 'complete'), (0.001, 'complete')]
    """
    instance(name, "name", str, "the name of a recipe, see tnrank.experiments.known_recipes()")
    for text, mapping in (("grid", grid), ("overrides", overrides)):
        if mapping is not None:
            instance(mapping, text, Mapping, "a dictionary of fields, such as {'cp_std': ..}")
            for field in mapping:
                instance(field, f"each field of {text}", str, "text")
    if preset is not None:
        instance(preset, "preset", str, "'quick' or 'paper'")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor is one of concurrent.futures, such as ProcessPoolExecutor(), got {shown(executor)}")
    check_place(out, resume)
    check_progress(progress, command)
    seconds, say = patience(wait, progress)
    batch = whole_number(batch, "batch", least=1)
    check_kind(table)
    given = (grid, seeds, preset, overrides or {}, steps)
    folder, plan = _new(name, Path(out), *given) if resume is None else _again(name, Path(resume), *given)
    typed = list(sys.argv if command is None else command)
    check_figure([plan.base], bool(instance(figure, "figure", bool, "True or False")))
    driver = Driver(plan, folder, folder / f"table.{table}", batch, progress, typed, figure)
    return driver.go(executor, seconds, say)


def _new(name: str, out: Path, grid: Any, seeds: Any, preset: Any, overrides: Any, steps: Any) -> tuple[Path, Plan]:
    plan = make_plan(name, grid or {}, seeds, preset or "quick", overrides, steps)
    folder = (out / plan.folder_name).resolve()
    if (folder / MANIFEST).exists():
        check_same_plan(plan, read_manifest(folder), folder)
    return folder, plan


def _again(
    name: str, folder: Path, grid: Any, seeds: Any, preset: Any, overrides: Any, steps: Any
) -> tuple[Path, Plan]:
    """The plan of a folder; what else is given is checked against it."""
    found = read_manifest(folder)
    if found.base.name != name:
        raise ValueError(f"the sweep in {folder} is of the recipe {found.base.name!r}, not {name!r}")
    points = found.grid if grid is None else grid
    own = {field: value for field, value in asdict(found.base).items() if field not in (*points, "preset")}
    plan = make_plan(
        name,
        points,
        found.seeds if seeds is None else seeds,
        preset or found.base.preset,
        {**own, **overrides},
        steps,
    )
    check_same_plan(plan, found, folder)
    return folder.resolve(), found
