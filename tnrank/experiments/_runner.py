"""The one runner: a recipe goes in, a run folder comes out."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import instance
from tnrank._explained import explained
from tnrank.experiments._arguments import check_place, check_progress, patience
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe
from tnrank.experiments._run_folder import RunFolder, plain, read_config
from tnrank.training import Checkpoint, CompletionResult, complete

if TYPE_CHECKING:
    from tnrank.factorizations import Factorization


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


class Journal:
    """What a recipe works with: trains models, and records and saves them on the way."""

    @explained
    def __init__(self, folder: RunFolder, progress: Callable[[str], None] | None) -> None:
        self.folder, self.progress = folder, progress
        self._trained: Counter[str] = Counter()

    def say(self, line: str) -> None:
        """Show a line of progress."""
        if self.progress is not None:
            self.progress(line)

    def complete(self, *args: Any, **options: Any) -> Any:
        """:func:`tnrank.complete`; a journal of several runs at once may train them together."""
        return complete(*args, **options)

    @overload
    def train(self, model: str, x: Factorization, indices: Any, values: Any, **options: Any) -> CompletionResult: ...
    @overload
    def train(
        self, model: Sequence[str], x: Sequence[Factorization], indices: Any, values: Any, **options: Any
    ) -> list[CompletionResult]: ...
    def train(
        self,
        model: Any,
        x: Any,
        indices: Any,
        values: Any,
        *,
        record: Iterable[Any] = (),
        callback: Callable[[int, float], bool | None] | None = None,
        on_record: Callable[[str, int, Any, int], None] | None = None,
        save: bool = True,
        checkpoint: float | None = 60.0,
        **options: Any,
    ) -> Any:
        """:func:`tnrank.complete` whose measurements stream into ``metrics.csv`` under the name ``model``.

        Args:
            model: column of the metrics, and name of the saved factorization; a list of them for several runs in one
                batch.
            x: where to start; a list of equally structured ones for several runs.
            indices: as for ``complete``; so are the values and the options.
            values: observed values.
            record: recorders.
            callback: also called after what was recorded has been flushed.
            on_record: also called with each measurement.
            save: write ``model.safetensors`` at the end.
            checkpoint: seconds between checkpoints, with which an interrupted run goes on from where it was; ``None``
                for none.

        Raises:
            KeyboardInterrupt: at Ctrl-C, after the factorizations and a checkpoint were saved.
        """
        models = [model] if isinstance(model, str) else list(model)
        if not isinstance(model, str) and len(models) != len(x):
            raise ValueError(f"got {len(models)} names for {len(x)} runs: needed one for each")
        title = models[0] if len(models) == 1 else f"{models[0]} and {len(models) - 1} more"
        written: dict[tuple[int, str], int] = {}

        def keep(name: str, step: int, value: Any, run: int) -> None:
            self.folder.record(models[run], step, name, value)
            written[run, name] = step
            if on_record is not None:
                on_record(name, step, value, run)

        def after_chunk(step: int, loss: float) -> bool | None:
            self.folder.flush()
            return callback(step, loss) if callback is not None else None

        self.say(f"{title}: preparing")
        if checkpoint is not None:
            # A resumed recipe trains the same models in the same order, and each finds its own checkpoints.
            self._trained[title] += 1
            name = f"{title.replace('/', '-').replace(' ', '-')}-{self._trained[title]}"
            options |= {"checkpoint": Checkpoint(self.folder.checkpoints / name, every=checkpoint), "resume": True}
        found: Any = self.complete(
            x,
            indices,
            values,
            record=record,
            on_record=keep,
            callback=after_chunk,
            progress=(lambda line: self.say(f"{title}: {line}")) if self.progress else False,
            **options,
        )
        results: list[CompletionResult] = [found] if isinstance(model, str) else found
        interrupted = any(result.status == "interrupted" for result in results)
        for run, result in enumerate(results):
            self._last_rows(models[run], result, {name: step for (k, name), step in written.items() if k == run})
            if save or interrupted:
                path = self.folder.partial / f"{models[run]}.safetensors"
                path.parent.mkdir(parents=True, exist_ok=True)
                result.factorization.save(path)
        self.folder.flush()
        if interrupted:
            raise KeyboardInterrupt
        return found

    def _last_rows(self, model: str, result: CompletionResult, written: Mapping[str, int]) -> None:
        """Record what is only measured when a run is over: its last step, if it stopped between two marks."""
        for name, trace in result.history.items():
            if len(trace) and trace.steps[-1] > written.get(name, -1):
                last = (
                    {k: v[-1] for k, v in trace.values.items()}
                    if isinstance(trace.values, Mapping)
                    else trace.values[-1]
                )
                self.folder.record(model, int(trace.steps[-1]), name, last)


@explained
def run(
    recipe: Recipe,
    out: str | Path = "runs",
    *,
    progress: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    resume: str | Path | None = None,
    wait: bool | Callable[[str], None] = False,
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

    Raises:
        TypeError: for an argument of another type.
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
    get_backend(recipe.backend)
    if resume is not None:
        check_same(recipe, read_config(resume), resume)
    folder = RunFolder(out, recipe.folder_name) if resume is None else RunFolder.reopen(resume, seconds, say)
    return carry_out(recipe, Journal(folder, progress), command)


def carry_out(recipe: Recipe, journal: Journal, command: Sequence[str] | None) -> Run:
    """Execute a recipe in the folder of a journal, which becomes complete, or says what was kept."""
    folder, backend = journal.folder, get_backend(recipe.backend)
    began = time.perf_counter()
    again = f"tnrank {recipe.command}" if recipe.command else ""
    try:
        if not folder.resumed:
            folder.write_json("config.json", _config(recipe, backend, command))
        outcome = recipe.execute(journal)
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
        if outcome.figure is not None:
            from tnrank.plots import image_bytes

            for name in ("figure.png", "figure.svg"):
                folder.write(name, image_bytes(outcome.figure, name))
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
    return Run(final, outcome, time.perf_counter() - began)


def _with_number(error: OSError, number: int) -> OSError:
    error.errno = number
    return error


def check_same(recipe: Recipe, found: Mapping[str, Any], folder: str | Path) -> None:
    if found.get("recipe") != recipe.name:
        raise ValueError(f"the run in {folder} is of the recipe {found.get('recipe')!r}, not {recipe.name!r}")
    here, there = plain(asdict(recipe)), found.get("fields", {})
    wrong = [
        f"its {name} is {there.get(name)!r}, here {here[name]!r}" for name in here if there.get(name) != here[name]
    ]
    if wrong:
        raise ValueError(f"the run in {folder} has other settings: {'; '.join(wrong)}")


def _config(recipe: Recipe, backend: Any, command: Sequence[str] | None) -> dict[str, Any]:
    import tnrank

    versions = {"tnrank": tnrank.__version__, "python": platform.python_version(), "numpy": np.__version__}
    versions[backend.name] = backend.version()
    for package in ("scipy", "matplotlib", "opt_einsum"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "recipe": recipe.name,
        "fields": asdict(recipe),
        "versions": versions,
        "devices": list(backend.devices()),
        "platform": platform.platform(),
        "command": list(command) if command is not None else sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
