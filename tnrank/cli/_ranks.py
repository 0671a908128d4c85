"""``tnrank ranks``."""

from __future__ import annotations

import warnings
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from tnrank._check import shown
from tnrank.cli import _console, _options, _weights


def ranks(
    file: Annotated[
        Path,
        typer.Argument(
            help=".npy, .npz, .csv, image, or .safetensors of a factorization; .safetensors or .pt of a model.",
            show_default=False,
        ),
    ],
    tree: Annotated[
        str | None,
        typer.Option(
            help="balanced, linear, star, auto (chosen from the data), or nested modes such as '((0,1),(2,3))'.",
            show_default=False,
        ),
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            help="Singular values up to this share of the largest count as zero; else larger side * eps. "
            "Of a model: the relative error of compressed weights, else 0.1."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="qr (accurate), gram (faster, to sqrt(eps)), or auto.")] = "auto",
    key: _options.Key = None,
    delimiter: _options.Delimiter = None,
    decimal: _options.Decimal = ".",
    thousands: _options.Thousands = None,
    header: _options.Header = None,
    index_column: _options.IndexColumn = None,
    memory: Annotated[
        str, typer.Option(help="What to use; .npy files of more than a quarter of it are read in chunks.")
    ] = "1 GiB",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw singular values and dimension tree into a .png, .svg or .pdf.")
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Of a model: write the table to a .csv, one line a weight."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Save the tensor compressed to --rtol as .safetensors, for tnrank.load.")
    ] = None,
    overwrite: _options.Overwrite = False,
) -> None:
    """Report the ranks of a tensor in a file, or of every weight of a model."""
    if csv_file is not None:
        _console.check_new_file(csv_file, (".csv",), overwrite)
    if plot is not None:
        _console.check_new_file(plot, (".png", ".svg", ".pdf"), overwrite)
    csv = _options.csv_fields(delimiter, decimal, thousands, header, index_column)
    from tnrank.radar import holds_a_model

    if holds_a_model(file):
        given = {"--tree": tree, "--save": save, "--delimiter and the like": csv}
        unfit = [option for option, value in given.items() if value is not None]
        unfit += [
            option for option, other in (("--method", method != "auto"), ("--memory", memory != "1 GiB")) if other
        ]
        _weights.check_options(file, unfit)
        _weights.show(file, rtol, key, csv_file, json, plot)
        return
    if csv_file is not None:
        raise ValueError(f"{file} holds no weights of a model, got --csv {csv_file}: tensors have --json")
    if save is not None:
        _console.check_new_file(save, (".safetensors",), overwrite)
        if file.suffix.lower() == ".safetensors":
            raise ValueError(f"{file} holds a factorization already: --save is for arrays")
    report, x = _measured(file, tree, rtol, key, method, memory, save is not None, csv)
    if save is not None:
        # Before anything is printed: an error leaves standard output empty.
        _save(x, report, rtol, save)
    if json:
        from json import dumps

        print(dumps(_finite(report.to_dict()), indent=2, allow_nan=False))
    else:
        print(report)
    if plot is not None:
        draw_spectra(report, plot)
        _console.say(f"singular values and dimension tree drawn in {plot}", console=_console.errors())


def rank_file(
    file: Path,
    tree: str | None = None,
    rtol: float | None = None,
    key: str | None = None,
    method: str = "auto",
    memory: str = "1 GiB",
) -> Any:
    """The rank report of what is in a file.

    Raises:
        ValueError: if there is no tensor of numbers in it, or the tree does not fit.
    """
    report, _ = _measured(file, tree, rtol, key, method, memory, False)
    return report


def _measured(
    file: Path,
    tree: str | None,
    rtol: float | None,
    key: str | None,
    method: str,
    memory: str,
    to_save: bool,
    csv: dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """The report, and what was measured: an array or a factorization."""
    import tnrank
    from tnrank.cli import _large
    from tnrank.factorizations._streaming._compress import parse_memory

    limit = parse_memory(memory)
    x: Any
    if file.suffix.lower() == ".safetensors":
        if key is not None:
            raise ValueError(f"{file} holds one factorization, got --key {key}: a key names an array of an .npz file")
        if csv is not None:
            raise ValueError(f"{file} is no .csv file, got --{next(iter(csv)).replace('_', '-')}")
        x = tnrank.load(file)
    else:
        x, step = _read(file, key, csv)
        if step is not None and rtol is None:
            rtol = _rounding_of_pixels(file, x, step)
        first = None if tree == "auto" else read_tree(tree, x.ndim)
        if _large.is_large(x, limit) and file.suffix.lower() == ".npy":
            if method == "qr":
                raise ValueError(
                    f"{file} is read in chunks and measured by Gram matrices, got --method qr: raise --memory above "
                    f"four times its size, or leave --method out"
                )
            rtol = _large.default_rtol(x) if rtol is None else rtol
            x, method = _large.compress_file(file, x, first, rtol, limit), "auto"
        elif to_save and rtol is None:
            raise ValueError("--save needs the relative error that the compressed tensor may have: give --rtol")
        elif rtol is not None and _large.is_worth_compressing(x, rtol, method):
            small = _large.compress_in_memory(file, x, first, rtol, limit)
            if small is None:
                x = _in_memory(file, x)
                _large.note_on_patience(file, x)
            else:
                x = small
        else:
            x = _in_memory(file, x)
    if tree == "auto":
        with _large.said_where_slow(file, x):
            suggestion = tnrank.ranks.suggest_tree(x, rtol=rtol)
        _console.say(f"tree chosen from the data: {suggestion.tree.text}", console=_console.errors())
        nested = suggestion.tree
    else:
        nested = read_tree(tree, x.ndim)
    with _large.said_where_slow(file, x):
        return tnrank.rank_report(x, tree=nested, rtol=rtol, method=method), x


def _save(x: Any, report: Any, rtol: float | None, path: Path) -> None:
    """The compressed tensor on the tree of the report, written atomically."""
    from tnrank import HierarchicalTucker

    if not isinstance(x, HierarchicalTucker):
        x = x.astype("float32") if x.dtype.itemsize == 2 else x
        x = HierarchicalTucker.from_dense(x, report.tree, rtol=rtol)
    elif x.tree != report.tree:
        x = x.change_tree(report.tree)
    x.save(path)
    count = sum(a.size for a in x.nodes.values())
    _console.say(f"hierarchical Tucker tensor of {count:,} numbers saved in {path}", console=_console.errors())


def _read(file: Path, key: str | None, csv: dict[str, Any] | None) -> tuple[Any, float | None]:
    """The array of a file in its own dtype, and the step that pixels are rounded to."""
    from tnrank.data import CsvFormat
    from tnrank.data._files import read_rounded

    try:
        x, step = read_rounded(file, key, None if csv is None else CsvFormat(**csv))
    except ValueError as error:
        if "unknown suffix" in str(error):
            raise ValueError(f"{error} .safetensors") from None
        raise
    if x.ndim < 2:
        raise ValueError(f"{file} has shape {x.shape}: ranks are those of a matrix or a tensor")
    return x, step


def _rounding_of_pixels(file: Path, x: Any, step: float) -> float | None:
    """The tolerance below which the singular values of a picture are rounding, or nothing if it is exact.

    Values off by half a step at most change singular values by no more than the norm of such an error, here relative to
    the norm of the picture; of black and white pictures nothing was rounded.
    """
    import numpy as np

    level = float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
    if step >= 1 or level == 0:
        return None
    rtol = min(step / 2 / level, 0.5)
    _console.say(
        f"{file} has pixels in steps of 1/{round(1 / step)}, and what is smaller is rounding: singular values up to "
        f"{rtol:.2g} of the largest count as zero; --rtol 1e-12 takes the pixels as exact",
        console=_console.errors(),
    )
    return rtol


def _in_memory(file: Path, x: Any) -> Any:
    import numpy as np

    # Factorizing images or counts as they are stored would be integer arithmetic; half precision stays, since the
    # rounding of its numbers decides what counts as zero.
    widest = np.complex128 if x.dtype.kind == "c" else np.float64
    exact = x.dtype.kind in "biu" or x.dtype.itemsize > np.dtype(widest).itemsize
    x = np.asarray(x, widest if exact else x.dtype.newbyteorder("="))
    if x.dtype.kind in "fc" and np.isnan(x).any():
        raise ValueError(
            f"{int(np.isnan(x).sum()):,} of {x.size:,} entries of {file} are NaN, and their ranks are "
            f"unknown: fill them in first, tnrank complete {file} --out COMPLETED.npy"
        )
    return x


def _finite(content: Any) -> Any:
    """JSON has no infinity: a norm beyond the range of numbers is null."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def read_tree(text: str | None, order: int, more: tuple[str, ...] = ()) -> Any:
    """A dimension tree from the command line; errors list the names in ``more`` beside those that are read here.

    Raises:
        ValueError: for anything but balanced, linear, star or nested modes.
    """
    from ast import literal_eval

    from tnrank import DimensionTree

    if text is None:
        return None
    if text in ("balanced", "linear", "star"):
        return getattr(DimensionTree, text)(order)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's doubts about text that is refused right after
            nested = literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        names = ", ".join((*more, "balanced", "linear", "star"))
        raise ValueError(f"a tree is {names}, or nested modes such as '((0,1),(2,3))', got {shown(text)}") from None
    return DimensionTree(nested)


def draw_spectra(report: Any, path: Path) -> None:
    """Singular values and dimension tree of a report side by side, written atomically."""
    from tnrank._files import write_atomically
    from tnrank.plots import image_bytes, ranks

    write_atomically(path, image_bytes(ranks(report), path))
