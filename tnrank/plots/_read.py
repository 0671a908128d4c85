"""What the pictures of ranks accept: reports, tensors in any form, spectra by node."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tnrank.dimension_tree import Node
    from tnrank.ranks import RankReport

_LONG = 14


def report_of(x: Any, tree: Any = None, rtol: float | None = None) -> RankReport:
    """``x`` if it is a report, else the report of it.

    Raises:
        ValueError: for a report and another tree or tolerance than its own.
    """
    from tnrank.ranks import RankReport, rank_report

    if isinstance(x, RankReport):
        if tree is not None or rtol is not None:
            raise ValueError("a report has its own tree and rtol: give the tensor itself to measure it by others")
        return x
    return rank_report(x, tree=tree, rtol=rtol)


def is_spectra(x: Any) -> bool:
    """Whether ``x`` maps nodes or names to singular values."""
    return isinstance(x, Mapping)


def entropy_of(entry: Any) -> float:
    """The entropy of the squared singular values of a row of a report, in nats."""
    found = getattr(entry, "entropy", None)
    if found is not None:
        return float(found)
    s = np.asarray(entry.singular_values, np.float64)
    squares = (s / s.max(initial=0.0)) ** 2 if s.max(initial=0.0) > 0 else s
    p = squares[squares > 0] / squares.sum() if squares.any() else squares[:0]
    return float(-(p * np.log(p)).sum()) + 0.0


def name_of(node: Node | Any) -> str:
    """The modes of a node, runs of neighbors shortened where the list is long; anything else as text."""
    text, modes = str(node), getattr(node, "modes", None)
    if modes is None or len(text) <= _LONG:
        return text
    starts = [modes[0], *(b for a, b in pairwise(modes) if b != a + 1)]
    ends = [*(a for a, b in pairwise(modes) if b != a + 1), modes[-1]]
    runs = [str(a) if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True)]
    text = "{" + ",".join(runs) + "}"
    return text if len(text) <= _LONG else f"{{{runs[0]},..,{runs[-1]}}}"


def shape_text(shape: tuple[int, ...]) -> str:
    """``8 x 8 x 8``, or ``6^64`` where that is long."""
    if len(shape) > 6 and len(set(shape)) == 1:
        return f"{shape[0]}^{len(shape)}"
    if len(shape) > 8:
        return f"{shape[0]} x {shape[1]} x .. x {shape[-1]}, order {len(shape)}"
    return " x ".join(map(str, shape))
