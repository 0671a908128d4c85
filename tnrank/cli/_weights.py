"""``tnrank ranks`` of the weights of a model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tnrank.cli import _console

DEFAULT_RTOL = 0.1


def check_options(file: Path, unfit: Sequence[str]) -> None:
    """Refuse options that belong to tensors.

    Raises:
        ValueError: if one was given; it is named.
    """
    if unfit:
        raise ValueError(
            f"{file} holds the weights of a model, got {unfit[0]}: models have --rtol, --key, --csv, --json and --plot"
        )


def show(
    file: Path,
    rtol: float | None,
    key: str | None,
    csv: Path | None,
    json: bool,
    plot: Path | None,
) -> None:
    """Measure the weights in a file and print their table; write and draw what was asked for."""
    report = _measured(file, rtol, key)
    if csv is not None:
        report.to_csv(csv)
        _console.say(f"{len(report)} rows written to {csv}", console=_console.errors())
    if json:
        from json import dumps

        print(dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        print(report)
    if plot is not None:
        from tnrank._files import write_atomically
        from tnrank.plots import image_bytes, layer_ranks

        write_atomically(plot, image_bytes(layer_ranks(report), plot))
        _console.say(f"spectra and ranks drawn in {plot}", console=_console.errors())


def _measured(file: Path, rtol: float | None, key: str | None) -> Any:
    """The ranks of all weights in a file, read one after the other."""
    from tnrank.cli._large import progress_bar
    from tnrank.radar import layer_ranks, read_weights

    with _console.progress_line(f"reading {file}"):
        weights = read_weights(file, key)
    try:
        with progress_bar() as progress, nullcontext() if progress else _console.progress_line(f"measuring {file}"):
            return layer_ranks(weights, rtol=DEFAULT_RTOL if rtol is None else rtol, progress=progress)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith((str(file), "rtol ")) else f"{file}: {text}") from None
