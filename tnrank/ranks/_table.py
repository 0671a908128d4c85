"""The rank report as plain text and as HTML."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tnrank.dimension_tree import Node
    from tnrank.ranks._report import NodeRanks, RankReport

_COLUMNS = ("node", "rows x columns", "rank", "effective", "stable", "singular values")
_TO_THE_RIGHT = (2, 3, 4)
_SHOWN = 5
_LONG = 20


def text(report: RankReport) -> str:
    """Header lines, then the dimension tree as a table, aligned."""
    facts = _facts(report)
    width = 2 + max(len(name) for name, _ in facts)
    lines = [_title(report), *(f"{name:<{width}}{value}" for name, value in facts), ""]
    rows = [_COLUMNS, *_rows(report)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_COLUMNS))]
    for row in rows:
        cells = [
            cell.rjust(size) if k in _TO_THE_RIGHT else cell.ljust(size)
            for k, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def html(report: RankReport) -> str:
    """The same for notebooks."""
    facts = "".join(
        f"<tr><th style='text-align:left'>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in _facts(report)
    )
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in _COLUMNS)
    body = ""
    for name, *cells in _rows(report):
        tree = f"<td style='text-align:left;white-space:pre;font-family:monospace'>{escape(name)}</td>"
        rest = "".join(
            f"<td style='text-align:{'right' if k in _TO_THE_RIGHT else 'left'}'>{escape(cell)}</td>"
            for k, cell in enumerate(cells, 1)
        )
        body += f"<tr>{tree}{rest}</tr>"
    return (
        f"<div><b>{escape(_title(report))}</b><table>{facts}</table>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _title(report: RankReport) -> str:
    given = report.given if report.given != "array" else "matrix" if len(report.shape) == 2 else "tensor"
    article = "an" if given[0] in "AEIOU" else "a"
    return f"ranks of {article} {given}, shape {' x '.join(map(str, report.shape))}, {report.dtype}"


def _facts(report: RankReport) -> list[tuple[str, str]]:
    low, high = (f"{pick(entry.rtol for entry in report.nodes):.2g}" for pick in (min, max))
    tolerance = f"{low if low == high else f'{low} .. {high}'} of the largest value"
    if report.rtol is None:
        tolerance += " (larger side * eps)"
    facts = [("Frobenius norm", f"{report.norm:.6g}"), ("tolerance", tolerance)]
    if report.matrix is not None:
        facts += [
            ("numerical rank", str(report.matrix.rank)),
            ("effective rank", f"{report.matrix.effective_rank:.4f}"),
            ("stable rank", f"{report.matrix.stable_rank:.4f}"),
            ("nuclear norm", f"{report.matrix.nuclear_norm:.6g}"),
            ("spectral norm", f"{report.matrix.spectral_norm:.6g}"),
        ]
    facts.append(("multilinear rank", f"({', '.join(map(str, report.multilinear_rank))})"))
    if len(report.shape) > 2:
        facts.append(("hierarchical rank", f"{max(entry.rank for entry in report.nodes)} (largest over the nodes)"))
    return facts


def _rows(report: RankReport) -> list[tuple[str, ...]]:
    """One row for each node in the order in which the tree is drawn."""
    found = {entry.node: entry for entry in report.nodes}
    drawn: list[Node] = []
    lines = report.tree.draw(drawn.append).splitlines()
    rows = []
    for node, line in zip(drawn, lines, strict=True):
        name = line[: line.index("{")] + _label(node)
        entry = found.get(node)
        rows.append((name, *_cells(entry)) if entry else (name, "", "", "", "", ""))
    return rows


def _cells(entry: NodeRanks) -> tuple[str, ...]:
    s = entry.singular_values
    # Values that count as zero are of no interest: the first few above the tolerance, then dots.
    shown = [f"{value:.3g}" for value in s[: min(_SHOWN, max(entry.rank, 1))]]
    if len(s) > len(shown):
        shown.append("...")
    return (
        f"{entry.sides[0]} x {entry.sides[1]}",
        str(entry.rank),
        f"{entry.effective_rank:.2f}",
        f"{entry.stable_rank:.2f}",
        "  ".join(shown),
    )


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
