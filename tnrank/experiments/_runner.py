"""The one runner: a recipe goes in, a run folder comes out."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import instance, shown
from tnrank._explained import explained
from tnrank.experiments._arguments import check_place, check_progress, patience
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe
from tnrank.runs import Fitting, Journal, RunFolder, Training, drive, only_trainings, plain, read_config


class Interrupted(KeyboardInterrupt):
    """A run ended by Ctrl-C.

    Attributes:
        kept: the folder with what it had recorded, or ``None``.
    """

    def __init__(self, kept: Path | None, command: str = "", told: str = "") -> None:
        told += f"what was recorded is in {kept}" if kept else "nothing was recorded yet"
        super().__init__(f"interrupted; {told}{_to_go_on(kept, command)}")
        self.kept = kept


def _to_go_on(kept: Path | None, command: str) -> str:
    """How to go on with what was kept, where a command can."""
    return f"; to go on: {command} --resume {shlex.quote(str(kept))}" if kept and command else ""


_NO_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE})
"""Errors of a place that can no longer be written to."""


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its outcome, its wall-clock time with compilation."""

    folder: Path
    outcome: Outcome
    seconds: float


@explained
def run(
    recipe: Recipe,
    out: str | Path = "runs",
    *,
    progress: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    resume: str | Path | None = None,
    wait: bool | Callable[[str], None] = False,
    figure: bool = True,
) -> Run:
    """Carry out a recipe.

    Args:
        recipe: from :func:`tnrank.experiments.make_recipe`.
        out: where run folders stand; made if missing. The new one appears there only when it is complete.
        progress: called with a line about twice a second.
        command: what was typed, kept in ``config.json``.
        resume: the folder of a run of this recipe that did not end: it goes on there, in place of ``out``. Its models
            go on from their last checkpoints; the metrics are those of a run that was never interrupted.
        wait: whether to wait for another process that is at work in ``resume``; a function is called with a line of
            progress about five times a second, else ``progress`` is.
        figure: whether to draw the figure of recipes that have one.

    Float64 works on JAX without its x64 flag, which is on while the recipe runs.

    Raises:
        TypeError: for an argument of another type, or a recipe that yields something else than Trainings.
        ImportError: if a figure is wanted and matplotlib is not installed, before anything is trained.
        BlockingIOError: if another process is at work in ``resume``; its number, host and time are named.
        ValueError: if ``resume`` is no such folder, or its recipe has other fields.
        Interrupted: at Ctrl-C; it says where what was recorded lies.
        OSError: if ``out`` cannot be written to, or no longer; it says where what was recorded until then lies.

    Example:
        >>> import tempfile
        >>> from tnrank.experiments import make_recipe, run
        >>> done = run(make_recipe("dynamics", backend="numpy").limited(20), out=tempfile.mkdtemp())
        >>> sorted(path.name for path in done.folder.iterdir())[:4]
        ['config.json', 'cp.safetensors', 'figure.png', 'figure.svg']
    """
    instance(recipe, "recipe", Recipe, "made by tnrank.experiments.make_recipe(name)")
    check_place(out, resume)
    check_progress(progress, command)
    seconds, say = patience(wait, progress)
    backend = get_backend(recipe.backend)
    check_figure([recipe], bool(instance(figure, "figure", bool, "True or False")))
    if resume is not None:
        check_same(recipe, read_config(resume), resume)
    folder = RunFolder(out, recipe.folder_name) if resume is None else RunFolder.reopen(resume, seconds, say)
    journal = Journal(folder, progress)
    with backend.dtype_enabled(recipe.dtype):
        return drive(carrying_out(recipe, journal, command, figure), journal.train)


def carrying_out(
    recipe: Recipe, journal: Journal, command: Sequence[str] | None, figure: bool = True
) -> Generator[Training | Fitting, Any, Run]:
    """Execute a recipe in the folder of a journal, which becomes complete, or says what was kept."""
    folder, backend = journal.folder, get_backend(recipe.backend)
    began = time.perf_counter()
    again = f"tnrank {recipe.command}" if recipe.command else ""
    try:
        if not folder.resumed:
            folder.write_json("config.json", _config(recipe, backend, command))
        outcome = yield from _outcome(recipe, journal)
        summary = {
            "recipe": recipe.name,
            "status": "complete",
            "seconds": round(time.perf_counter() - began, 2),
            **outcome.summary,
        }
        if outcome.checks:
            summary["verdict"] = "holds" if outcome.holds else "does not hold"
            summary["checks"] = [asdict(check) for check in outcome.checks]
        for name, content in outcome.files.items():
            folder.write(name, content)
        drawn = outcome.figure if figure else None
        drawn = drawn() if callable(drawn) else drawn
        if drawn is not None:
            from tnrank.plots import image_bytes

            for name in ("figure.png", "figure.svg"):
                folder.write(name, image_bytes(drawn, name))
        final = folder.complete(summary)
    except KeyboardInterrupt:
        if folder.worth_keeping:
            with suppress(OSError):
                folder.write_json("summary.json", {"recipe": recipe.name, "status": "interrupted"})
        done = folder.is_complete
        raise Interrupted(folder.abandon(), "" if done else again, "the run is complete, " if done else "") from None
    except OSError as error:
        kept = folder.abandon()
        if error.errno is None or not (error.errno in _NO_PLACE or folder.owns(error.filename)):
            raise
        told = f"what was recorded until then is in {kept}" if kept else "nothing was recorded yet"
        text = f"cannot write to {folder.parent}: {os.strerror(error.errno)}; {told}{_to_go_on(kept, again)}"
        # Without a number it would be shown as the system's own words.
        raise _with_number(type(error)(text), error.errno) from error
    except BaseException:
        folder.abandon()
        raise
    return Run(final, replace(outcome, figure=drawn), time.perf_counter() - began)


def _outcome(recipe: Recipe, journal: Journal) -> Generator[Training | Fitting, Any, Outcome]:
    """What a recipe gives, whether it is a generator or trains nothing."""
    found: Any = recipe.execute(journal)
    if isinstance(found, Generator):
        found = yield from only_trainings(found, f"the recipe {recipe.name!r}")
    if not isinstance(found, Outcome):
        raise TypeError(
            f"the recipe {recipe.name!r} gave {shown(found)}: its execute yields Training(..) and returns Outcome(..)"
        )
    return found


def check_figure(recipes: Iterable[Recipe], figure: bool) -> None:
    """Say before the work that matplotlib is missing.

    Raises:
        ImportError: if a figure is wanted and there is none.
    """
    if figure and any(recipe.draws for recipe in recipes) and find_spec("matplotlib") is None:
        raise ImportError(
            'figures need matplotlib, which is not installed: pip install "tnrank[cli]"; or go without, figure=False'
        )


def _with_number(error: OSError, number: int) -> OSError:
    error.errno = number
    return error


def check_same(recipe: Recipe, found: Mapping[str, Any], folder: str | Path) -> None:
    if found.get("recipe") != recipe.name:
        raise ValueError(f"the run in {folder} is of the recipe {found.get('recipe')!r}, not {recipe.name!r}")
    here, there = plain(asdict(recipe)), plain(found.get("fields", {}))
    wrong = [
        f"its {name} is {there.get(name)!r}, here {here[name]!r}" for name in here if there.get(name) != here[name]
    ]
    if wrong:
        raise ValueError(f"the run in {folder} has other settings: {'; '.join(wrong)}")


@cache
def _versions() -> dict[str, str]:
    """Versions of what counts, read once: their files are long, and a sweep has many cells."""
    import tnrank

    found = {"tnrank": tnrank.__version__, "python": platform.python_version(), "numpy": np.__version__}
    for package in ("scipy", "matplotlib", "opt_einsum"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _config(recipe: Recipe, backend: Any, command: Sequence[str] | None) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "fields": asdict(recipe),
        "versions": {**_versions(), backend.name: backend.version()},
        "devices": list(backend.devices()),
        "platform": platform.platform(),
        "command": list(command) if command is not None else sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
