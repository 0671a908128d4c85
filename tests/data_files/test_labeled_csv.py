"""Tables with a column of labels: the column is told from the others by its name in the header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tnrank.data import CsvFormat, read_labeled_csv


@pytest.mark.parametrize(
    ("text", "form", "labels"),
    [
        ("a,kind,b\n1,x,2\n3,y,4\n", None, ["x", "y"]),
        ("kind,a,b\nx,1,2\n y ,3,4\n", None, ["x", "y"]),
        ('"a","b","kind"\n1,2,"x, or z"\n3,4,y\n', None, ["x, or z", "y"]),
        ("kind,a,b\n7,1,2\n1e1,3,4\n", None, [7.0, 10.0]),
        ("a;b;kind\n1;2;0,5\n3;4;2\n", CsvFormat(decimal=","), [0.5, 2.0]),
        ("a,b,kind\n1,2,x\n3,4,7\n", None, ["x", "7"]),
        # R names the columns but not the rows.
        ("a,kind,b\nrow,1,x,2\nother,3,y,4\n", CsvFormat(index_column=True), ["x", "y"]),
        ("id,a,kind,b\n5,1,x,2\n6,3,y,4\n", CsvFormat(index_column=True), ["x", "y"]),
        ("kind,a,b\nx,1,2\ny,3,4\n", CsvFormat(index_column=True), ["x", "y"]),
    ],
)
def test_labels_are_no_part_of_the_table(
    tmp_path: Path, text: str, form: CsvFormat | None, labels: list[str | float]
) -> None:
    (tmp_path / "x.csv").write_text(text)
    table, found = read_labeled_csv(tmp_path / "x.csv", "kind", csv=form)
    np.testing.assert_array_equal(table, [[1.0, 2.0], [3.0, 4.0]])
    assert found.tolist() == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,kind\n1,x\n2,\n3,na\n", "has 2 rows without a label in the column 'kind', needed one a row"),
        ("kind,kind,a\n1,2,3\n", "has 2 columns named 'kind', needed one: its header has kind, kind"),
        ("a,b\n1,2\n", "has 0 columns named 'kind', needed one: its header has a, b"),
        ("kind\n1\n", "has the column 'kind' and no others"),
        ("1,2\n3,4\n", "has no header row, needed one that names the column 'kind': give header=True"),
        ("a,kind\nz,x\n", "line 2, field 1: 'z' is not a number"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labeled_csv(tmp_path / "x.csv", "kind")
