"""What the commands print: progress on a line of its own, results as tables, errors in one line."""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tnrank.cli import _options
from tnrank.cli._words import in_options

if TYPE_CHECKING:
    from tnrank.experiments import Check, Table

settings = {"debug": False}
_EXPECTED = (ValueError, TypeError, OSError, ImportError, NotImplementedError, MemoryError, Warning)
"""What the library raises on purpose; anything else is a fault of ours."""
_USAGE: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Names of files and words of errors are printed as they are; what has a style is a ``Text``."""
_PATIENCE = 0.9
"""Seconds after which a command says what it is doing."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def out() -> Console:
    """Standard output; tables keep their full width where it is no terminal."""
    console = Console(soft_wrap=False, **_PLAIN)
    return console if console.is_terminal else Console(width=max(console.width, 110), **_PLAIN)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, soft_wrap=True, **_PLAIN)


def styled(*parts: Any) -> Text:
    """A line of plain parts and of ``(part, style)``; nothing in a part is read as markup."""
    return Text.assemble(*(part if isinstance(part, str) else (str(part[0]), part[1]) for part in parts))


def say(*parts: Any, console: Console | None = None) -> None:
    """Print :func:`styled` parts as one line, which is not broken; to standard output unless told otherwise."""
    (console or out()).print(styled(*parts), soft_wrap=True)


def complain(text: str) -> None:
    """An error, as one line."""
    say(("error:", "bold red"), " " + " ".join(text.split("\n")), console=errors())


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with errors as one readable line and exit code 1, and Ctrl-C as 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                if not settings["debug"]:
                    warnings.showwarning = _show_warning
                command(*args, **kwargs)
                if sys.stdout is not None:
                    sys.stdout.flush()  # a full disk is found out here, not when Python ends
        except KeyboardInterrupt as stop:
            say(str(stop) or "interrupted", console=errors())
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` does.
            _drop_output()
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort, _USAGE):
            raise
        except BaseException as error:
            if settings["debug"] or (not isinstance(error, Exception) and type(error).__module__ == "builtins"):
                raise
            complain(_in_words(error))
            _show_what_helps(error)
            if isinstance(error, OSError):
                _drop_output()
            raise typer.Exit(1) from None

    return wrapped


def _drop_output() -> None:
    """Nothing more can be written to standard output: what waits there would be an error at the end again."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """The words of a warning on one line, without the source line that raised it."""
    text = in_options(" ".join(str(message).split()))
    say(("warning:", "yellow"), f" {text}", console=errors())


def _in_words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory"
    if isinstance(error, _EXPECTED) and str(error):
        return in_options(str(error))
    told = " ".join(str(error).split())
    told = f"{type(error).__name__}: {told}" if told else type(error).__name__
    return f"tnrank failed, and not by your input ({told}): please report it with what tnrank --debug COMMAND shows"


@contextmanager
def progress_line(what: str = "starting") -> Iterator[Callable[[str], None] | None]:
    """A function that shows a line of progress, rewritten in place; ``None`` where nobody watches.

    Until it is called the line says ``what`` is done. Where nobody watches, that is printed after a second.
    """
    console = errors()
    if not console.is_terminal:
        note = threading.Timer(_PATIENCE, say, (f"{what} ..",), {"console": console})
        note.daemon = True
        note.start()
        try:
            yield None
        finally:
            note.cancel()
        return
    with console.status(Text(what)) as status:
        yield lambda line: status.update(Text(line))


def waiting(wait: bool, progress: Callable[[str], None] | None) -> bool | Callable[[str], None]:
    """What runs are given for ``--wait``: where nobody watches, one line says what is waited for."""
    if not wait or progress is not None:
        return progress if wait and progress is not None else False
    lines: list[str] = []

    def once(line: str) -> None:
        if not lines:
            errors().print(Text(line.rpartition(",")[0]))
            lines.append(line)

    return once


def _show_what_helps(error: BaseException) -> None:
    """The fields of the recipe whose field was misspelt."""
    experiments = sys.modules.get("tnrank.experiments")
    if experiments is not None and isinstance(error, experiments.UnknownField):
        from tnrank.cli._recipes import table_of_fields

        console = errors()
        wide = console if console.is_terminal else Console(stderr=True, width=max(console.width, 140), **_PLAIN)
        show_table(table_of_fields(error.recipe), wide)


def show_table(table: Table, console: Console | None = None) -> None:
    """A table of an outcome."""
    console = console or out()
    console.print(styled((table.title, "bold")))
    drawn = RichTable(box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        drawn.add_column(Text(column), header_style="dim", no_wrap=number == 0)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console.print(drawn)
    if table.note:
        console.print(styled((table.note, "dim")))
    console.print()


def show_checks(checks: Sequence[Check], console: Console | None = None) -> None:
    """The checks, and the verdict that follows from them."""
    console = console or out()
    for check in checks:
        mark = ("holds", "green") if check.holds else ("fails", "red")
        console.print(styled(mark, f"  {check.claim}: {check.measured}"))
    held = sum(check.holds for check in checks)
    color = "green" if held == len(checks) else "red"
    words = "holds" if held == len(checks) else "does not hold"
    console.print(styled((f"verdict: {words}", f"bold {color}"), f" ({held} of {len(checks)} claims)"))


def limit_threads(count: int) -> None:
    """Have NumPy and PyTorch use ``count`` threads if they are not imported yet; 0 leaves it to them."""
    _options.whole(count, "--threads", 0, 1024, "0 uses all cores")
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
