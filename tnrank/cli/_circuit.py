"""``tnrank circuit``."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tnrank._check import shown
from tnrank.cli import _console, _options

if TYPE_CHECKING:
    from tnrank.circuits import Circuit

_LINES = 40
"""Nodes of a tree that is printed as one."""
_LOCATIONS = 65_536
_WIDEST = 10**9
_NO_WEIGHTS = "weights of that size fit into no memory"
_WORDS = (
    (r"set ragged=True for short windows", "add --ragged for short windows"),
    (r"unknown (pooling|activation)='([^']*)': (.*)", r"unknown --\1 \2: \3"),
    (r"got channels for", "got --channels for"),
    (r"got the window \((\d+),?\), needed", r"got --window \1, needed"),
    (r"got the (grid|window) ", r"got --\1 "),
    (r"or grid= for another layout", "or --grid for another layout"),
    (r"got (-?\d+) features, needed", r"got --features \1, needed"),
    (r"got (-?\d+) classes, needed at least 1", r"got --classes \1, needed 1 or more"),
    (r"level \d+ has (-?\d+) channels, needed", r"got --channels \1, needed"),
)


def circuit(
    file: Annotated[
        Path | None,
        typer.Argument(help=".safetensors of a matrix, CP or hierarchical factorization.", show_default=False),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Patches, 8x8 or 64; without FILE 8x8 if not given.", show_default=False)
    ] = None,
    features: Annotated[
        int | None, typer.Option(help="Representation functions; 2 if not given.", show_default=False)
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="One number, or one a level: 16,32; 16 if not given.", show_default=False)
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Pooling window, 2 or 2x1, or one a level: 2,4; 2 if not given.", show_default=False),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            help="Outputs; 10 if not given. With a CP FILE: its last mode is the classes.", show_default=False
        ),
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="One filter bank a level for all locations.")] = False,
    ragged: Annotated[bool, typer.Option("--ragged", help="Allow short windows at the border.")] = False,
    shallow: Annotated[bool, typer.Option("--shallow", help="One level that pools all: a CP factorization.")] = False,
    pooling: Annotated[
        str | None, typer.Option(help="product, max, average or sum; product if not given.", show_default=False)
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="identity or relu; identity if not given.", show_default=False)
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Draw circuit, tensor network and tree into a .png, .svg or .pdf.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    overwrite: _options.Overwrite = False,
) -> None:
    """Show a factorization as a convolutional arithmetic circuit: layers, tensor network and dimension tree."""
    if save is not None:
        _console.check_new_file(save, (".png", ".svg", ".pdf"), overwrite)
    _options.whole(features, "--features", -(10**6), _WIDEST, _NO_WEIGHTS)
    _options.whole(classes, "--classes", -(10**6), _WIDEST, _NO_WEIGHTS)
    sizes = {"--features": features, "--channels": channels, "--window": window, "--pooling": pooling}
    sizes |= {"--activation": activation}
    flags = {"--shared": shared, "--ragged": ragged, "--shallow": shallow}
    if file is not None:
        given = [name for name, value in sizes.items() if value is not None] + [n for n, on in flags.items() if on]
        if given:
            raise ValueError(f"{file} says what its circuit is, got {' and '.join(given)}: leave it out, or leave FILE")
        found = _in_options(lambda: _of_file(file, grid, classes))
    else:
        if shallow and (window is not None or ragged):
            raise ValueError(
                f"--shallow pools all locations at once, got {'--ragged' if window is None else '--window'}"
            )
        found = _in_options(lambda: _of_sizes(grid, sizes, 10 if classes is None else classes, shared, ragged, shallow))
    picture = None
    if save is not None:
        from tnrank.plots import circuit as draw
        from tnrank.plots import image_bytes

        picture = image_bytes(draw(found), save)
    if json:
        from json import dumps

        print(dumps(_described(found), indent=2))
    else:
        _show(found)
    if save is not None and picture is not None:
        from tnrank._files import write_atomically

        write_atomically(save, picture)
        _console.say(f"circuit, tensor network and dimension tree drawn in {save}", console=_console.errors())
    elif not json:
        _console.say("a picture of the three: add --save circuit.png", console=_console.errors())


def _in_options(make: Callable[[], Circuit]) -> Circuit:
    """A circuit, or its error with the options of this command in place of arguments."""
    try:
        return make()
    except ValueError as error:
        text = str(error)
        for pattern, words in _WORDS:
            text = re.sub(pattern, words, text)
        raise ValueError(text) from None


def _of_file(file: Path, grid: str | None, classes: int | None) -> Circuit:
    import tnrank
    from tnrank.circuits import Circuit

    if file.suffix.lower() != ".safetensors":
        raise ValueError(f"{file} has the suffix {file.suffix!r}: needed .safetensors, which x.save(path) writes")
    x = tnrank.load(file)
    known = (tnrank.MatrixFactorization, tnrank.CPFactorization, tnrank.HierarchicalFactorization)
    if not isinstance(x, known):
        raise TypeError(
            f"{file} holds a {type(x).__name__}, a circuit computes a MatrixFactorization, CPFactorization or "
            "HierarchicalFactorization. A CP fit of it: "
            "tnrank.CPFactorization.from_dense(x.to_dense(), rank).save(path); "
            f"its ranks: tnrank ranks {file}"
        )
    last = classes is not None and isinstance(x, tnrank.CPFactorization)
    if last and x.shape[-1] != classes:
        raise ValueError(f"got --classes {classes}, and the last mode of {file} has dimension {x.shape[-1]}")
    found = Circuit.from_factorization(x, None if grid is None else _sides(grid, "--grid"), classes=last)
    if classes is not None and found.classes != classes:
        raise ValueError(f"got --classes {classes}, and {file} has {found.classes}")
    return found


def _of_sizes(
    grid: str | None, sizes: dict[str, Any], classes: int, shared: bool, ragged: bool, shallow: bool
) -> Circuit:
    from tnrank.circuits import Circuit

    patches = _sides("8x8" if grid is None else grid, "--grid")
    if len(patches) > 2:
        raise ValueError(f"got --grid {grid}, needed one or two sides, such as 64 or 8x8")
    features = 2 if sizes["--features"] is None else sizes["--features"]
    many = _list("16" if sizes["--channels"] is None else sizes["--channels"], "--channels")
    same: dict[str, Any] = {
        "classes": classes,
        "shared": shared,
        "pooling": sizes["--pooling"] or "product",
        "activation": sizes["--activation"] or "identity",
    }
    if shallow:
        if len(many) > 1:
            raise ValueError(f"--shallow has one level, got --channels {sizes['--channels']}")
        return Circuit.shallow(patches, features, many[0], **same)
    text = "2" if sizes["--window"] is None else sizes["--window"]
    windows = [_sides(part, "--window") for part in text.split(",")]
    window: Any = [w if len(w) > 1 else w[0] for w in windows]
    return Circuit.deep(
        patches,
        features,
        many[0] if len(many) == 1 else many,
        window if len(window) > 1 else window[0],
        ragged=ragged,
        **same,
    )


def _sides(text: str, option: str) -> tuple[int, ...]:
    """``8x8`` or ``64``."""
    if not re.fullmatch(r"[0-9]+(x[0-9]+)*", text.strip().lower()):
        raise ValueError(f"got {option} {shown(text)[1:-1]}, needed whole numbers such as 2 or 8x8")
    # Python refuses to read integers of thousands of digits.
    sides = tuple(int(side[:40]) for side in text.strip().lower().split("x"))
    _options.whole(prod(sides), f"the number of locations of {option}", 0, _LOCATIONS, "each is a node of the tree")
    return sides


def _list(text: str, option: str) -> list[int]:
    """``16`` or ``16,32``."""
    if not re.fullmatch(r"[0-9]+(,[0-9]+)*", text.replace(" ", "")):
        raise ValueError(f"got {option} {shown(text)[1:-1]}, needed whole numbers such as 16 or 16,32")
    numbers = [int(number[:40]) for number in text.replace(" ", "").split(",")]
    _options.whole(max(numbers), option, 0, _WIDEST, _NO_WEIGHTS)
    return numbers


def _show(found: Circuit) -> None:
    from tnrank.experiments import Table

    console = _console.out()
    print(found)
    print()
    tree = found.tree
    print(f"dimension tree, {tree.order:,} modes, {len(tree.nodes):,} nodes")
    if len(tree.nodes) <= _LINES:
        print(tree.draw())
    else:
        counts = (f"{len(row):,} of height {height}" for height, row in enumerate(found.nodes))
        print(f"{', '.join(counts)} (all nodes: --json)")
    print()
    parts = " + ".join(f"{prod(shape):,}" for shape in found.shapes)
    print(f"parameters  {found.parameter_count:,} = {parts}\n")
    arithmetic = found.pooling == "product" and found.activation == "identity"
    note = "" if arithmetic else "only product pooling without an activation is a tensor network"
    rows = tuple(tuple(row[name] for name in ("circuit", "network", "tree")) for row in _rows(found))
    if not arithmetic:
        rows = tuple((a, "-", c) for a, _, c in rows)
    _console.show_table(
        Table("level by level, outputs first", ("circuit", "tensor network", "dimension tree"), rows, note), console
    )


def _rows(found: Circuit) -> list[dict[str, str]]:
    """The levels from the output to the input in the words of the circuit, its network and its tree."""
    from tnrank.plots._circuit_rows import rows

    return [
        {name: _plain(getattr(row, name)) for name in ("circuit", "network", "tree")}
        for row in reversed(rows(found, whole=True))
    ]


def _plain(lines: tuple[str, str]) -> str:
    """Two lines of the picture as one, in letters that every terminal has."""
    joint = " " if lines[1].startswith("of size") else ", "
    return joint.join(filter(None, lines)).replace(r"$\times$", "x").replace("→", "->")


def _described(found: Circuit) -> dict[str, Any]:
    """All that there is to know, for other programs."""
    levels = [
        {
            "grid": list(found.grids[k]),
            "channels_before": list(found.widths[k]),
            "channels": level.channels if isinstance(level.channels, int) else list(level.channels),
            "shared": level.shared,
            "locations": None if level.locations is None else list(level.locations),
            "window": list(level.window),
            "grid_after": list(found.grids[k + 1]),
            "weights": list(found.shapes[k]),
            "node_height": k,
        }
        for k, level in enumerate(found.levels)
    ]
    return {
        "kind": found.kind,
        "order": found.order,
        "grid": list(found.grid),
        "features": found.features if isinstance(found.features, int) else list(found.features),
        "pooling": found.pooling,
        "activation": found.activation,
        "is_tensor_network": found.pooling == "product" and found.activation == "identity",
        "levels": levels,
        "dense": list(found.shapes[-1]) if found.dense else None,
        "classes": found.classes,
        "parameters": found.parameter_count,
        "tree": found.tree.text,
        "nodes": [[list(node.modes) for node in row] for row in found.nodes],
    }
