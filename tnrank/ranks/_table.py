"""The words of the rank report: facts, and the dimension tree as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tnrank._tables import Layout

if TYPE_CHECKING:
    from tnrank.dimension_tree import DimensionTree, Node
    from tnrank.ranks._report import NodeRanks, RankReport

_COLUMNS = ("node", "rows x columns", "rank", "components", "effective", "stable", "entropy", "singular values")
_TO_THE_RIGHT = ("rank", "components", "effective", "stable", "entropy")
_SHOWN = 5
_LONG = 20
_MOST_ROWS = 64
_FIRST, _LARGEST = 24, 16
"""Of a long report: the first rows of the tree, and nodes with the largest ranks."""


def layout(report: RankReport) -> Layout:
    """Header lines, then the dimension tree as a table."""
    columns, rows, note = _rows(report)
    return Layout(_title(report), _facts(report), columns, rows, note, _TO_THE_RIGHT, "rank")


def _title(report: RankReport) -> str:
    given = report.given if report.given != "array" else "matrix" if len(report.shape) == 2 else "tensor"
    article = "an" if given[0] in "AEIOU" else "a"
    return f"ranks of {article} {given}, shape {_shape(report.shape)}, {report.dtype}"


def _shape(shape: tuple[int, ...]) -> str:
    if len(shape) <= 12:
        return " x ".join(map(str, shape))
    if len(set(shape)) == 1:
        return f"{shape[0]}^{len(shape)}"
    return f"{' x '.join(map(str, shape[:3]))} x .. x {shape[-1]} (order {len(shape)})"


def _facts(report: RankReport) -> list[tuple[str, str]]:
    low, high = (f"{pick(entry.rtol for entry in report.nodes):.2g}" for pick in (min, max))
    tolerance = f"{low if low == high else f'{low} .. {high}'} of the largest value"
    if report.rtol is None and report.method == "gram":
        tolerance += " (10 * sqrt(eps) or more, for method gram)"
    elif report.rtol is None:
        tolerance += " (larger side * eps)" if report.given == "array" else " (of rounding)"
    norm = f"{report.norm:.6g}"
    if report.relative:
        power = report.log_norm / math.log(10)
        norm = f"{10 ** (power % 1):.5g}e{math.floor(power):+d} (its logarithm is {report.log_norm:.10g})"
    facts = [("Frobenius norm", norm), ("tolerance", tolerance)]
    if report.matrix is not None:
        facts += [
            ("numerical rank", str(report.matrix.rank)),
            ("effective rank", f"{report.matrix.effective_rank:.4f}"),
            ("stable rank", f"{report.matrix.stable_rank:.4f}"),
            ("nuclear norm", f"{report.matrix.nuclear_norm:.6g}"),
            ("spectral norm", f"{report.matrix.spectral_norm:.6g}"),
        ]
    facts.append(("multilinear rank", _tuple(report.multilinear_rank)))
    if len(report.shape) > 2:
        facts.append(("hierarchical rank", f"{max(entry.rank for entry in report.nodes)} (largest over the nodes)"))
    if report.relative:
        facts.append(("singular values", "divided by the norm"))
    return facts


def _tuple(ranks: tuple[int, ...]) -> str:
    if len(ranks) <= 16:
        return f"({', '.join(map(str, ranks))})"
    return f"({', '.join(map(str, ranks[:8]))}, ..), {min(ranks)} to {max(ranks)} in {len(ranks)} modes"


def _rows(report: RankReport) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """The columns, one row for each node in the order in which the tree is drawn, and a note on what was left out."""
    columns = [name for name in _COLUMNS if name != "components" or any(e.components is not None for e in report.nodes)]
    found = {entry.node: entry for entry in report.nodes}
    if len(report.tree.nodes) > _MOST_ROWS:
        return _shortened_rows(report, columns)
    drawn: list[Node] = []
    lines = report.tree.draw(drawn.append).splitlines()
    rows = []
    for node, line in zip(drawn, lines, strict=True):
        name = line[: line.index("{")] + _label(node)
        rows.append((name, *_cells(found.get(node), columns)))
    return tuple(columns), rows, ""


def _shortened_rows(report: RankReport, columns: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """The nodes nearest to the root and those of the largest ranks, in the order in which the tree is drawn."""
    nearest = sorted(report.nodes, key=lambda e: (-len(e.node.modes), e.node.modes[0]))[:_FIRST]
    largest = sorted((e for e in report.nodes if e not in nearest), key=lambda e: (-e.rank, -e.entropy))[:_LARGEST]
    order = {node: number for number, node in enumerate(_from_the_root(report.tree))}
    shown = sorted([*nearest, *largest], key=lambda entry: order[entry.node])
    rows = [(_label(entry.node), *_cells(entry, columns)) for entry in shown]
    left = len(report.nodes) - len(shown)
    note = (
        f".. and {left} more nodes: shown are the {len(nearest)} with the most modes and {len(largest)} others with "
        "the largest ranks;\n.nodes and .to_dict() have all"
    )
    return tuple(columns), rows, note


def _from_the_root(tree: DimensionTree) -> list[Node]:
    """All nodes in the order in which the tree is drawn."""
    found, waiting = [], [tree.root]
    while waiting:
        found.append(waiting.pop())
        waiting += reversed(tree.children(found[-1]))
    return found


def _cells(entry: NodeRanks | None, columns: Sequence[str]) -> tuple[str, ...]:
    if entry is None:
        return ("",) * (len(columns) - 1)
    s = entry.singular_values
    # Values that count as zero are of no interest: the first few above the tolerance, then dots.
    shown = [f"{value:.3g}" for value in s[: min(_SHOWN, max(entry.rank, 1))]]
    if len(s) > len(shown):
        shown.append("...")
    cells = {
        "rows x columns": " x ".join(map(_count, entry.sides)),
        "rank": str(entry.rank),
        "components": "" if entry.components is None else str(entry.components),
        "effective": f"{entry.effective_rank:.2f}",
        "stable": f"{entry.stable_rank:.2f}",
        "entropy": f"{entry.entropy:.3f}",
        "singular values": "  ".join(shown),
    }
    return tuple(cells[name] for name in columns[1:])


def _count(side: int) -> str:
    """A side; a power of ten where it is long."""
    return str(side) if side < 10**7 else f"10^{math.log10(side):.1f}"


def _label(node: Node) -> str:
    """The modes of a node, runs of neighbors shortened where the list is long."""
    if len(str(node)) <= _LONG:
        return str(node)
    modes = node.modes
    starts = [modes[0], *(b for a, b in pairwise(modes) if b != a + 1)]
    ends = [*(a for a, b in pairwise(modes) if b != a + 1), modes[-1]]
    runs = [str(a) if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True)]
    label = "{" + ",".join(runs) + "}"
    return label if len(label) <= _LONG else f"{{{runs[0]},..,{runs[-1]}}} ({len(modes)} modes)"
