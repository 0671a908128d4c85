"""Ranks of a file that does not fit into memory: compressed by passes over it, under a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tnrank.cli import _console

DEFAULT_RTOL = 1e-3


def is_large(array: Any, memory: int) -> bool:
    """Whether measuring ``array`` as it is would take more than ``memory`` bytes: itself and some matricizations."""
    size: int = array.size * (16 if array.dtype.kind == "c" else 8)
    return 4 * size > memory


def compress_file(file: Path, array: Any, tree: Any, rtol: float, memory: int) -> Any:
    """The hierarchical Tucker format of a mapped array, and a note on it to standard error."""
    from tnrank.factorizations import compress

    size = array.size * array.dtype.itemsize
    _console.errors().print(
        f"{file} has {_size(size)}, more than a quarter of --memory: it is compressed to a hierarchical Tucker tensor "
        f"with a relative error of at most {rtol:g}, and the ranks are those of that tensor"
    )
    with progress_bar() as progress:
        return compress(array, tree, rtol, memory=memory, progress=progress)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None] | None]:
    """A function that shows words and a share that is done as a bar; ``None`` where nobody watches."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = _console.errors()
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(words: str, share: float) -> None:
            if words not in tasks:
                tasks[words] = bar.add_task(words, total=1.0)
            bar.update(tasks[words], completed=share)

        yield show


def _size(count: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} bytes"
