from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tnrank import CPFactorization, DimensionTree, HierarchicalTucker, TensorTrain, get_backend
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


def test_entropies_are_von_neumanns() -> None:
    report = rank_report(X, TREE)
    for entry in report.nodes:
        p = np.array(entry.singular_values) ** 2 / report.norm**2
        p = p[p > 1e-28]
        assert entry.entropy == pytest.approx(-(p * np.log(p)).sum(), abs=1e-12)
        assert entry.components is None
    assert all(node["components"] is None for node in report.to_dict()["nodes"])
    assert {"entropy", "log10_sides"} <= report.to_dict()["nodes"][0].keys()


def test_shortened_reports_keep_the_order_of_the_tree() -> None:
    x = HierarchicalTucker.random((2,) * 64, DimensionTree.balanced(64), rank=3, seed=0)
    lines = str(rank_report(x)).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("node ")) + 1
    names = [line[: line.index("}") + 1] for line in lines[start:] if line.startswith("{")]
    assert len(names) == 40
    modes = [tuple(int(k) for k in re.findall(r"\d+", name)) for name in names]
    spans = [(found[0], found[-1]) for found in modes]
    assert spans == sorted(spans, key=lambda span: (span[0], -span[1]))
    star = str(rank_report(TensorTrain.random((3,) * 80, rank=2, seed=0), DimensionTree.star(80)))
    leaves = [int(k) for k in re.findall(r"^\{(\d+)\}", star, re.MULTILINE)]
    assert len(leaves) == 40
    assert leaves == sorted(leaves)


def test_long_reports_are_shortened() -> None:
    x = CPFactorization([np.eye(2)] * 300)
    report = rank_report(x)
    text = str(report)
    assert text.startswith("ranks of a CPFactorization, shape 2^300, float64\n")
    assert len(text.splitlines()) < 60
    assert max(map(len, text.splitlines())) < 130
    assert text.endswith("others with the largest ranks;\n.nodes and .to_dict() have all")
    assert f".. and {len(report.nodes) - 40} more nodes" in text
    assert "(2, 2, 2, 2, 2, 2, 2, 2, ..), 2 to 2 in 300 modes" in text
    assert "{0..149}" in text
    assert report._repr_html_().count("<tr>") < 60
    deep = rank_report(CPFactorization([np.eye(2)] * 250), DimensionTree.linear(250))
    found = json.loads(json.dumps(deep.to_dict(), allow_nan=False))
    assert DimensionTree.from_text(found["tree"]) == deep.tree
    assert len(found["nodes"]) == 498


def test_norms_beyond_numbers_are_logarithms() -> None:
    ones = CPFactorization([np.full((100, 1), 10.0)] * 200)
    report = rank_report(ones)
    assert report.relative
    assert report.norm == np.inf
    assert report.log_norm == pytest.approx(400 * np.log(10), rel=1e-13)
    assert {entry.singular_values for entry in report.nodes} == {(1.0,)}
    assert re.search(r"^Frobenius norm +(1e\+400|1\.0+e\+400|9\.9+e\+399|10e\+399)", str(report), re.M)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["frobenius_norm"] is None
    assert found["relative"] is True
    assert found["log_norm"] == report.log_norm
    tiny = rank_report(CPFactorization([np.full((10, 1), 1e-9)] * 200))
    assert tiny.norm == 0
    assert tiny.relative
    assert tiny.log_norm == pytest.approx(200 * np.log(1e-9) + 100 * np.log(10))
    assert {entry.rank for entry in tiny.nodes} == {1}


def test_terminals_show_a_rich_table() -> None:
    console_of = pytest.importorskip("rich.console").Console
    for report in (rank_report(X, TREE), rank_report(CPFactorization([np.eye(2)] * 100))):
        console = console_of(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(report)
        shown = console.export_text()
        console.file.close()
        plain = str(report)
        assert [line.split()[:1] for line in shown.splitlines() if "x" in line] == [
            line.split()[:1] for line in plain.splitlines() if "x" in line
        ]
        assert "entropy" in shown
        assert all(word in shown for word in re.findall(r"\{[\d.,]+\}", plain))


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
