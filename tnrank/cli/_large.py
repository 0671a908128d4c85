"""Ranks of a large file: compressed by passes over it, under a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tnrank.cli import _console

DEFAULT_RTOL = 1e-3
_WORTH_IT = 32 * 10**6
"""Bytes from which passes over an array that fits into memory are faster than decomposing it."""
_SHARES = (10.0, 3.0)
"""Of the tolerance, what such an array is compressed to: its own singular values shall decide the ranks."""


def is_large(array: Any, memory: int) -> bool:
    """Whether measuring ``array`` as it is would take more than ``memory`` bytes: itself and some matricizations."""
    size: int = array.size * (16 if array.dtype.kind == "c" else 8)
    return 4 * size > memory


def default_rtol(array: Any) -> float:
    """The tolerance where none is given: that of passes over a file, or of the rounding of its numbers."""
    from tnrank import linalg

    if array.dtype.itemsize > 2 or array.dtype.kind != "f":
        return DEFAULT_RTOL
    return max(DEFAULT_RTOL, linalg.default_rtol(array.shape, "float16"))


@contextmanager
def said_where_slow(file: Path, x: Any) -> Iterator[None]:
    """Say after a second that a large array is measured."""
    if getattr(x, "nbytes", 0) < _WORTH_IT:
        yield
        return
    with _console.progress_line(f"measuring {file}"):
        yield


def compress_file(file: Path, array: Any, tree: Any, rtol: float, memory: int) -> Any:
    """The hierarchical Tucker format of a mapped array, and a note on it to standard error."""
    from tnrank.factorizations import compress

    size = array.size * array.dtype.itemsize
    _console.say(
        f"{file} has {_size(size)}, more than a quarter of --memory: it is compressed to a hierarchical Tucker tensor "
        f"with a relative error of at most {rtol:g}, and the ranks are those of that tensor",
        console=_console.errors(),
    )
    with progress_bar() as progress:
        return compress(array, tree, rtol, memory=memory, progress=progress)


def is_worth_compressing(array: Any, rtol: float | None, method: str) -> bool:
    """Whether to compress an array that fits into memory first: a large one, to a tolerance within reach."""
    large = array.size * array.dtype.itemsize >= _WORTH_IT and array.ndim > 2
    return large and method != "qr" and rtol is not None and _floor() <= rtol < 1


def compress_in_memory(file: Path, array: Any, tree: Any, rtol: float, memory: int) -> Any:
    """The same of an array that fits into memory; ``None`` if it does not become small."""
    from tnrank.factorizations import compress

    size, floor = array.size * (16 if array.dtype.kind == "c" else 8), _floor()
    for share in dict.fromkeys(max(rtol / part, floor) for part in _SHARES):
        with progress_bar() as progress:
            try:
                found = compress(array, tree, share, memory=min(memory, 2 * size), progress=progress)
            except ValueError:  # too large still, or with entries that cannot be measured, which is said later
                continue
        _console.say(
            f"{file} has {_size(array.size * array.dtype.itemsize)}: it is compressed to a hierarchical Tucker tensor "
            f"with a relative error of at most {share:.2g}, and the ranks are those of that tensor; --method qr "
            "measures it as it is",
            console=_console.errors(),
        )
        return found
    return None


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None] | None]:
    """A function that shows words and a share that is done as a bar; ``None`` where nobody watches."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = _console.errors()
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(words: str, share: float) -> None:
            if words not in tasks:
                tasks[words] = bar.add_task(words, total=1.0)
            bar.update(tasks[words], completed=share)

        yield show


def note_on_patience(file: Path, array: Any) -> None:
    """Say that a large file takes its time."""
    _console.say(
        f"{file} has {_size(array.size * array.dtype.itemsize)} and is not of low rank to that tolerance: it is "
        "measured as it is, which may take a minute",
        console=_console.errors(),
    )


def _floor() -> float:
    from tnrank.linalg import accuracy_floor

    return 10 * accuracy_floor("gram", "float64")


def _size(count: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} bytes"
