"""What the commands print: progress on a line of its own, results as tables, errors in one line."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tnrank.cli._words import in_options

if TYPE_CHECKING:
    from tnrank.experiments import Check, Table

settings = {"debug": False}
_EXPECTED = (ValueError, TypeError, OSError, ImportError, NotImplementedError, MemoryError)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def out() -> Console:
    """Standard output; tables keep their full width where it is no terminal."""
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, 110))


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with errors as one readable line and exit code 1, and Ctrl-C as 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                if not settings["debug"]:
                    warnings.showwarning = _show_warning
                command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            errors().print(escape(str(stop) or "interrupted"))
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except _EXPECTED as error:
            if settings["debug"]:
                raise
            errors().print(f"[bold red]error:[/] {escape(_in_words(error))}")
            raise typer.Exit(1) from None

    return wrapped


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """The words of a warning, without the source line that raised it."""
    errors().print(f"[yellow]warning:[/] {escape(str(message))}")


def _in_words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return in_options(str(error)) or type(error).__name__


@contextmanager
def progress_line() -> Iterator[Callable[[str], None] | None]:
    """A function that shows a line of progress, rewritten in place; ``None`` where nobody watches."""
    console = errors()
    if not console.is_terminal:
        yield None
        return
    with console.status("starting") as status:
        yield lambda line: status.update(escape(line))


def waiting(wait: bool, progress: Callable[[str], None] | None) -> bool | Callable[[str], None]:
    """What runs are given for ``--wait``: where nobody watches, one line says what is waited for."""
    if not wait or progress is not None:
        return progress if wait and progress is not None else False
    lines: list[str] = []

    def once(line: str) -> None:
        if not lines:
            errors().print(escape(line.rpartition(",")[0]))
            lines.append(line)

    return once


def show_table(table: Table, console: Console | None = None) -> None:
    """A table of an outcome."""
    console = console or out()
    console.print(f"[bold]{escape(table.title)}[/]")
    drawn = RichTable(box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        drawn.add_column(escape(column), header_style="dim", no_wrap=number == 0)
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    console.print(drawn)
    if table.note:
        console.print(f"[dim]{escape(table.note)}[/]")
    console.print()


def show_checks(checks: Sequence[Check], console: Console | None = None) -> None:
    """The checks, and the verdict that follows from them."""
    console = console or out()
    for check in checks:
        mark = "[green]holds[/]" if check.holds else "[red]fails[/]"
        console.print(f"{mark}  {escape(check.claim)}: {escape(check.measured)}")
    held = sum(check.holds for check in checks)
    color = "green" if held == len(checks) else "red"
    words = "holds" if held == len(checks) else "does not hold"
    console.print(f"[bold {color}]verdict: {words}[/] ({held} of {len(checks)} claims)")


def limit_threads(count: int) -> None:
    """Have NumPy and PyTorch use ``count`` threads if they are not imported yet; 0 leaves it to them."""
    if count < 0:
        raise ValueError(f"threads is a number from 0 (all cores) on, got {count}")
    if count and "numpy" not in sys.modules:
        for name in _THREADS:
            os.environ.setdefault(name, str(count))


def ready_backend(name: str | None, dtype: str) -> str:
    """The name of a usable backend that has ``dtype``; ``None`` is the fastest that is installed.

    Raises:
        ValueError: for an unknown backend, or a dtype that it lacks or that cannot be trained in.
        ImportError: if it is not installed.
    """
    import tnrank

    if name is None:
        name = next(n for n in ("jax", "torch", "numpy") if n in tnrank.available_backends())
    backend = tnrank.get_backend(name)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"training runs in float32 or float64, got dtype {dtype!r}")
    backend.enable_dtype(dtype)
    backend.check_dtype(dtype)
    return name


def check_new_file(path: Path, suffixes: Sequence[str], overwrite: bool = False) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        ValueError: for another suffix.
        FileExistsError: if it is there already and may not be overwritten.
        OSError: if its folder is missing or not writable.
    """
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path} has the suffix {path.suffix!r}: needed {' or '.join(suffixes)}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file in it")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already: choose another name, or add --overwrite")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {path.parent} is not writable, needed for {path.name}")
