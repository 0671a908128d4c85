"""Wrong calls of the constructors name the array and the sizes."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank

MF, CP, HTF = tnrank.MatrixFactorization, tnrank.CPFactorization, tnrank.HierarchicalFactorization
ones = np.ones
GOOD = {(0,): ones((2, 3)), (1,): ones((4, 3)), (0, 1): ones((3, 1))}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: MF([ones((2, 3)), ones((4, 5))]),
            ValueError,
            "size 3 on tensor 'W0' and size 4 on tensor 'W1'",
        ),
        (lambda: MF([]), ValueError, "no layers, needed at least one"),
        (lambda: MF(ones((2, 3))), TypeError, "layers is a sequence of arrays, got a ndarray of shape"),
        (lambda: MF([ones(3), ones((3, 2))]), ValueError, "W0"),
        (lambda: MF([[[1.0]], [[1.0]]]), TypeError, "got .*list, needed an array"),
        (lambda: MF([ones((2, 2)), ones((2, 2), np.float32)]), TypeError, "float32"),
        (lambda: MF.random((3, 4, 5)), ValueError, r"a shape of two sides, got \(3, 4, 5\)"),
        (
            lambda: MF.random((3, 4), depth=0),
            ValueError,
            "depth, the number of layers, is a whole number from 1 to 10000, got 0",
        ),
        (
            lambda: MF.random((3, 4), depth=3, hidden=(2,)),
            ValueError,
            r"depth 3 has 2 hidden sizes, got 1: \[2\]",
        ),
        (lambda: MF.random((3, 0)), ValueError, "mode 1 of shape is a whole number from 1 on, got 0"),
        (lambda: MF.random((3, 2.5)), TypeError, "mode 1 of shape is a whole number from 1 on, got 2.5"),
        (lambda: MF.random(3), TypeError, r"a sequence of whole numbers such as \(8, 8, 8\), got 3"),
        (lambda: MF.random((3, 3), std=-1.0), ValueError, "std is .* at least 0, got -1.0"),
        (lambda: MF.random((3, 3), init="zeros"), ValueError, "unknown init 'zeros': give 'normal' or 'identity'"),
        (lambda: MF.random((3, 3), dtype="float8"), ValueError, "no dtype 'float8'; it has"),
        (
            lambda: MF.random((3, 3), backend="cupy"),
            ValueError,
            "unknown backend 'cupy'; known: .*pip install",
        ),
        (
            lambda: CP([ones((2, 3)), ones((4, 5))]),
            ValueError,
            r"factor 1 has 5 components .* factor 0 has 3",
        ),
        (lambda: CP([ones((2, 3)), ones(4)]), ValueError, r"factor 1 has shape \(4,\): needed \(d_2, R\)"),
        (lambda: CP([ones((2, 3))], ones(4)), ValueError, "weights"),
        (lambda: CP([]), ValueError, "no factors, needed at least one"),
        (lambda: CP([[[1.0]], ones((2, 1))]), TypeError, "got .*list, needed an array"),
        (lambda: CP([ones((2, 1)), [[1.0]]]), TypeError, "got .*list, needed an array"),
        (
            lambda: CP.random((3, 4), rank=0),
            ValueError,
            "rank, the number of components, is a whole number from 1 on, got 0",
        ),
        (lambda: CP.random(()), ValueError, "at least one mode"),
        (
            lambda: HTF((0, 1), {k: GOOD[k] for k in ((0,), (1,))}),
            ValueError,
            r"no matrix for the node .*\(0, 1\)",
        ),
        (lambda: HTF((0, 1), {**GOOD, (0, 2): ones((1, 1))}), ValueError, r"no node of the modes \(0, 2\)"),
        (
            lambda: HTF((0, 1), {**GOOD, (1,): ones((4, 2))}),
            ValueError,
            r"node \{1\} has 2 columns .*\{0\} has 3",
        ),
        (
            lambda: HTF((0, 1), {**GOOD, (0, 1): ones((5, 1))}),
            ValueError,
            r"node \{0,1\} has 5 rows .* 3 columns",
        ),
        (
            lambda: HTF((0, 1), {**GOOD, (0, 1): ones(3)}),
            ValueError,
            r"node \{0,1\} has shape \(3,\): needed two axes",
        ),
        (lambda: HTF((0, 1), {**GOOD, 0: ones((2, 3))}), ValueError, r"two matrices for the node \{0\}"),
        (lambda: HTF((0, 1), {**GOOD, (0,): [[1.0]]}), TypeError, "got .*list, needed an array"),
        (lambda: HTF((0, 0), GOOD), ValueError, "mode 0 appears 2 times"),
        (lambda: HTF((0, (1,)), {**GOOD}), ValueError, r"modes \(1,\) name 2 nodes"),
        (
            lambda: HTF.random((2, 3), tree=((0, 1), 2)),
            ValueError,
            r"tree has 3 modes and the shape \(2, 3\) has 2",
        ),
        (lambda: HTF.random((2, 3), width=0), ValueError, r"width is a whole number from 1 on, got 0"),
        (lambda: HTF.random((2,) * 4, width={(0, 1): 2}), ValueError, r"\(2, 3\).* width None"),
        (lambda: HTF.random((2, 3), width={(0, 5): 2}), ValueError, r"no node of the modes \(0, 5\)"),
        (lambda: HTF.random((2, 3), width={(0, 1): 2, 0: 3}), ValueError, r"\{0\} is a leaf"),
        (lambda: HTF.random((2, 3), classes=0), ValueError, "classes, the columns .* from 1 on, got 0"),
    ],
)
def test_constructors(make, error, message):
    with pytest.raises(error, match=message):
        make()
