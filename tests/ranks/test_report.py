from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tnrank import DimensionTree, get_backend
from tnrank.data import low_rank_matrix, low_rank_tensor
from tnrank.ranks import (
    RankReport,
    effective_rank,
    hierarchical_rank,
    hierarchical_singular_values,
    multilinear_rank,
    rank_report,
    schatten_norm,
    stable_rank,
)

X = low_rank_tensor((4, 3, 5, 2), 2, seed=1)
TREE = DimensionTree(((0, 2), (1, (3,))))


def test_holds_what_the_functions_measure(backend_name: str) -> None:
    x = get_backend(backend_name).asarray(X)
    report = rank_report(x, TREE)
    assert report.shape == (4, 3, 5, 2)
    assert report.dtype == "float64"
    assert report.matrix is None
    assert report.norm == pytest.approx(np.sqrt(120))
    assert report.multilinear_rank == multilinear_rank(X) == (2, 2, 2, 2)
    assert report.hierarchical_rank == hierarchical_rank(X, TREE)
    values = hierarchical_singular_values(X, TREE)
    for entry in report.nodes:
        np.testing.assert_allclose(entry.singular_values, values[entry.node], atol=1e-10)
        others = [mode for mode in range(4) if mode not in entry.node.modes]
        matrix = X.transpose(*entry.node.modes, *others).reshape(entry.sides)
        assert entry.effective_rank == pytest.approx(float(effective_rank(matrix)), abs=1e-10)
        assert entry.stable_rank == pytest.approx(float(stable_rank(matrix)), abs=1e-10)
        assert entry.rtol == max(entry.sides) * np.finfo(float).eps


def test_matrices_have_norms() -> None:
    x = low_rank_matrix((6, 4), 2, seed=0)
    report = rank_report(x, rtol=1e-6)
    assert report.matrix is not None
    assert report.matrix.rank == 2
    assert report.matrix.nuclear_norm == pytest.approx(float(schatten_norm(x, 1)))
    assert report.matrix.spectral_norm == pytest.approx(float(schatten_norm(x, np.inf)))
    assert re.search(r"^numerical rank +2$", str(report), re.M)
    assert re.search(r"^tolerance +1e-06 of the largest value$", str(report), re.M)
    assert str(report).startswith("ranks of a matrix, shape 6 x 4, float64\n")


def test_is_data() -> None:
    report = rank_report(X, TREE)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["shape"] == [4, 3, 5, 2]
    assert found["multilinear_rank"] == [2, 2, 2, 2]
    assert DimensionTree(found["tree"]) == TREE
    assert [node["rank"] for node in found["nodes"]] == [2] * 6
    assert {"modes": [0, 2], "rows": 20, "columns": 6}.items() <= found["nodes"][4].items()
    assert json.loads(json.dumps(rank_report(np.ones((2, 2))).to_dict()))["matrix"]["rank"] == 1
    with pytest.raises(FrozenInstanceError):
        report.norm = 0.0  # type: ignore[misc]
    assert hash(report) == hash(rank_report(X, TREE))
    assert isinstance(report, RankReport)
    assert len(repr(report)) < 300


def test_table_is_aligned() -> None:
    lines = str(rank_report(X, TREE)).splitlines()
    start = lines.index("") + 1
    head, *rows = lines[start:]
    assert len(rows) == len(TREE.nodes)
    assert [re.sub(r"[^{},\d].*", "", row.lstrip("│├└─ ")) for row in rows] == [
        "{0,1,2,3}", "{0,2}", "{0}", "{2}", "{1,3}", "{1}", "{3}", "{3}",
    ]  # fmt: skip
    column = head.index("rank") + 3
    assert {row[column] for row in rows[1:6]} == {"2"}
    assert all(line == line.rstrip() for line in lines)
    assert max(map(len, lines)) < 100


def test_long_labels_are_shortened() -> None:
    x = np.zeros((2,) * 12)
    x[(0,) * 12] = 1
    table = str(rank_report(x, DimensionTree(((*range(0, 12, 2), 1, 3, 5, 7, 9), 11))))
    assert "{0..11}" in table
    assert "├── {0..10}" in table


def test_html() -> None:
    page = rank_report(X, TREE)._repr_html_()
    assert page.count("<tr>") == page.count("</tr>") == 4 + 1 + len(TREE.nodes)
    assert "├── {0,2}" in page


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 1)])
def test_zero_tensors(shape: tuple[int, ...]) -> None:
    report = rank_report(np.zeros(shape))
    assert report.multilinear_rank == (0,) * len(shape)
    assert {(e.rank, e.effective_rank, e.stable_rank) for e in report.nodes} == {(0, 0.0, 0.0)}
    assert report.norm == 0
    assert str(report)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="mode 3 is missing from its root"):
        rank_report(X, DimensionTree.balanced(3))
    with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
        rank_report(X, rtol=2)
    with pytest.raises(ValueError, match="entries are NaN"):
        rank_report(np.full((2, 2), np.nan))
