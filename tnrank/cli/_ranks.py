"""``tnrank ranks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tnrank.cli import _console, _options


def ranks(
    file: Annotated[
        Path,
        typer.Argument(help=".npy, .npz, .csv, image, or .safetensors of a factorization.", show_default=False),
    ],
    tree: Annotated[
        str | None,
        typer.Option(help="balanced, linear, or nested modes such as '((0,1),(2,3))'.", show_default=False),
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option(help="Singular values up to this share of the largest count as zero; else larger side * eps."),
    ] = None,
    key: _options.Key = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the singular values into a .png, .svg or .pdf.")] = None,
    overwrite: _options.Overwrite = False,
) -> None:
    """Report the matrix, multilinear and hierarchical ranks of a tensor in a file."""
    if plot is not None:
        _console.check_new_file(plot, (".png", ".svg", ".pdf"), overwrite)
    report = rank_file(file, tree, rtol, key)
    if json:
        from json import dumps

        print(dumps(report.to_dict(), indent=2))
    else:
        print(report)
    if plot is not None:
        draw_spectra(report, plot)
        _console.errors().print(f"singular values drawn in {plot}")


def rank_file(file: Path, tree: str | None = None, rtol: float | None = None, key: str | None = None) -> Any:
    """The rank report of what is in a file.

    Raises:
        ValueError: if there is no tensor of numbers in it, or the tree does not fit.
    """
    import numpy as np

    import tnrank
    from tnrank.data import read_array

    x: Any
    if file.suffix.lower() == ".safetensors":
        x = tnrank.load(file)
        order = x.ndim
    else:
        x = read_array(file, key)
        order = x.ndim
        # Factorizing images or counts as they are stored would be integer arithmetic.
        x = np.asarray(x, np.float64) if x.dtype.kind in "biu" or x.dtype == np.float16 else np.asarray(x)
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise ValueError(
                f"{int(np.isnan(x).sum()):,} of {x.size:,} entries of {file} are NaN, and their ranks are "
                f"unknown: fill them in first, tnrank complete {file} --out COMPLETED.npy"
            )
        if order < 2:
            raise ValueError(f"{file} has shape {x.shape}: ranks are those of a matrix or a tensor")
    return tnrank.rank_report(x, tree=read_tree(tree, order), rtol=rtol)


def read_tree(text: str | None, order: int) -> Any:
    """A dimension tree from the command line.

    Raises:
        ValueError: for anything but balanced, linear or nested modes.
    """
    from ast import literal_eval

    from tnrank import DimensionTree

    if text is None:
        return None
    if text in ("balanced", "linear", "star"):
        return getattr(DimensionTree, text)(order)
    try:
        nested = literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(
            f"a tree is balanced, linear, star, or nested modes such as '((0,1),(2,3))', got {text!r}"
        ) from None
    return DimensionTree(nested)


def draw_spectra(report: Any, path: Path) -> None:
    """The figure of a report, written atomically."""
    from tnrank._files import write_atomically
    from tnrank.plots import image_bytes, spectra

    write_atomically(path, image_bytes(spectra(report), path))
