"""Wrong arguments of training are refused at the door, in a sentence of this library."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import training
from tnrank.training import recorders

X = tnrank.MatrixFactorization.random((3, 4), depth=2, seed=0)
INDICES, VALUES = np.argwhere(np.ones((3, 4))), np.arange(12.0)
JUNK: dict[str, Any] = {
    "None": None,
    "nan": float("nan"),
    "inf": float("inf"),
    "negative": -1,
    "text": "x",
    "bytes": b"x",
    "object": object(),
    "class": int,
    "mapping": {"a": 1},
    "ragged": [[1], [1, 2]],
    "complex": 1j * np.ones(12),
    "objects": np.asarray([object()]),
    "strings": np.asarray(["a"] * 12),
    "masked": np.ma.array(np.arange(12), mask=np.arange(12) == 3),
    "huge": 10**30,
    "factorization": X,
}


def complete(**given: Any) -> Any:
    options = {"x": X, "indices": INDICES, "values": VALUES, "steps": 1, **given}
    return tnrank.complete(options.pop("x"), options.pop("indices"), options.pop("values"), **options)


def flow(**given: Any) -> Any:
    options = {"x": X, "indices": INDICES, "values": VALUES, "until": 1e-3, **given}
    return training.gradient_flow(options.pop("x"), options.pop("indices"), options.pop("values"), **options)


def limit(**given: Any) -> Any:
    return training.stability_limit(**{"x": X, "indices": INDICES, "values": VALUES, **given})


def recorded(kind: Any) -> Any:
    def call(**given: Any) -> Any:
        return complete(record=[kind(**given)])

    return call


# function -> argument -> what of the junk is meaningful there
CALLS: list[tuple[Any, str, str]] = [
    *((complete, name, "") for name in ("x", "indices", "values")),
    *((complete, name, "None") for name in ("loss", "optimizer", "record", "on_record", "callback", "checkpoint")),
    *((complete, "steps", ""), (complete, "stop", "None huge"), (complete, "progress", "")),
    (complete, "resume", "None text"),
    *((flow, name, "") for name in ("x", "indices", "values", "rtol")),
    *((flow, name, "huge") for name in ("until", "max_steps")),
    *((flow, "atol", "huge"), (flow, "loss", "None"), (flow, "record", "")),
    *((limit, name, "") for name in ("x", "indices", "values")),
    (limit, "loss", "None"),
    (tnrank.GradientDescent, "learning_rate", "huge"),
    (tnrank.GradientDescent, "momentum", ""),
    *((tnrank.GroupRMSProp, name, "huge") for name in ("learning_rate", "eps", "weight_decay")),
    (tnrank.GroupRMSProp, "decay", ""),
    *((tnrank.Adam, name, "huge") for name in ("learning_rate", "eps")),
    *((tnrank.Adam, name, "") for name in ("beta1", "beta2")),
    *((tnrank.Stop, name, "huge") for name in ("loss", "patience", "every")),
    *((tnrank.HuberLoss, "delta", "huge"), (tnrank.SmoothL1Loss, "beta", "huge")),
    *((kind, "reduction", "") for kind in (tnrank.SquaredLoss, tnrank.HuberLoss, tnrank.SmoothL1Loss, tnrank.L1Loss)),
    (tnrank.RankOneMeasurements, "vectors", ""),
    (training.rates_of, "trace", ""),
    (recorded(recorders.Loss), "every", "huge"),
    (recorded(recorders.Loss), "at", "None"),
    (recorded(recorders.ComponentNorms), "top", "None huge"),
    (recorded(recorders.SingularValues), "tree", "None"),
    (recorded(recorders.SingularValues), "modes", "ragged"),
    (recorded(recorders.Error), "target", ""),
    (recorded(lambda fn: recorders.Function("f", fn)), "fn", ""),
    (recorded(lambda indices: recorders.HeldOutError(indices, VALUES)), "indices", ""),
    (recorded(lambda values: recorders.HeldOutError(INDICES, values)), "values", ""),
    (recorded(recorders.Rates), "index", "None"),
    (recorded(recorders.Rates), "components", "None"),
]


def named(part: Any) -> str:
    """The name of a callable, which is the same in every process, or the text itself."""
    return str(getattr(part, "__qualname__", part))[:30]


@pytest.mark.parametrize(("call", "argument", "meaningful"), CALLS, ids=named)
def test_junk(call: Any, argument: str, meaningful: str) -> None:
    for name, junk in JUNK.items():
        if name in meaningful.split() or (argument in ("fn", "on_record", "callback") and callable(junk)):
            continue
        if argument == "x" and name == "factorization":
            continue
        with pytest.raises((ValueError, TypeError, FileNotFoundError)) as caught:
            call(**{argument: junk})
        raised = traceback.extract_tb(caught.value.__traceback__)[-1].filename
        assert "/tnrank" in raised.replace("\\", "/"), (name, caught.value)
        assert len(str(caught.value)) > 20, name


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"indices": np.ma.array(INDICES, mask=INDICES == 2)}, ValueError, "masked"),
        ({"values": np.ma.array(VALUES, mask=VALUES > 10)}, ValueError, "masked"),
        ({"indices": np.asarray([[0, 2**63 + 5]], np.uint64), "values": [1.0]}, ValueError, "9223372036854775813"),
        ({"indices": INDICES.astype(float)}, TypeError, "whole numbers, got dtype float64"),
        ({"indices": np.ones((3, 4), bool)}, TypeError, r"argwhere\(mask\)"),
        ({"indices": [[0, 1], [2]], "values": [1.0, 2.0]}, ValueError, "this list makes no array"),
        ({"x": X.replace({"W0": np.full((3, 3), np.nan)})}, ValueError, "9 of 9 weights in the array 'W0'"),
        ({"x": [X, X.replace({"W0": np.full((3, 3), np.inf)})]}, ValueError, "factorization 1 are NaN or infinite"),
        ({"x": X.map(lambda a: a.astype(np.int64))}, TypeError, "real dtypes, got int64"),
        ({"loss": tnrank.SquaredLoss}, TypeError, "got the class SquaredLoss"),
        ({"record": recorders.Loss()}, TypeError, r"record=\[Loss\(every=25\)\]"),
        ({"stop": True}, TypeError, "stop is a number or"),
        ({"steps": True}, TypeError, "steps is a whole number"),
        ({"checkpoint": "folder"}, TypeError, "Checkpoint"),
        ({"optimizer": tnrank.Adam}, TypeError, "the class Adam"),
    ],
)
def test_what_is_said(given: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        complete(**given)


def test_a_mask_that_hides_nothing_is_none() -> None:
    plain = complete(steps=3).loss
    assert complete(steps=3, values=np.ma.array(VALUES), indices=np.ma.array(INDICES)).loss == plain


def test_nan_in_a_weight_that_no_entry_sees() -> None:
    bad = np.ones((60, 2))
    bad[3, 1] = np.nan
    x = tnrank.CPFactorization([bad, np.ones((60, 2)), np.ones((60, 2))])
    with pytest.raises(ValueError, match="1 of 120 weights in the array 'A0' of the initial"):
        tnrank.complete(x, [[0, 0, 0], [1, 1, 1]], [1.0, 2.0], steps=1)


def test_vectors_of_measurements() -> None:
    for vectors, error, said in (
        (
            [np.ones((2, 3)), 1j * np.ones((2, 4))],
            TypeError,
            "vectors of mode 1 are real numbers, got dtype complex128",
        ),
        ([np.ma.array(np.ones((2, 3)), mask=np.eye(2, 3) > 0), np.ones((2, 4))], ValueError, "masked"),
        ([np.asarray([["a"]])], TypeError, "mode 0 are real numbers"),
        ("ab", TypeError, "sequence of arrays"),
        (np.ones((2, 3)), TypeError, "sequence of arrays"),
    ):
        with pytest.raises(error, match=said):
            tnrank.RankOneMeasurements(vectors)  # type: ignore[arg-type]


def test_checkpoints(tmp_path: Path) -> None:
    for given in ({"folder": 3}, {"every": float("nan")}, {"every": True}, {"keep": 1.5}, {"unit": "hours"}):
        with pytest.raises((ValueError, TypeError), match=r"folder is a path|every is|keep is|unit"):
            training.Checkpoint(**{"folder": tmp_path, **given})


def test_one_learning_rate_a_run_on_every_backend(backend_name: str) -> None:
    xs = [X.to(backend_name)] * 2
    rates = tnrank.GradientDescent((1e-2, 3e-2))
    results = tnrank.complete(xs, INDICES, VALUES, optimizer=rates, steps=3)
    alone = [tnrank.complete(X, INDICES, VALUES, optimizer=tnrank.GradientDescent(r), steps=3) for r in (1e-2, 3e-2)]
    np.testing.assert_allclose([r.loss for r in results], [r.loss for r in alone], rtol=1e-10)
    with pytest.raises(ValueError, match="2 learning rates for 3 runs"):
        tnrank.complete([*xs, xs[0]], INDICES, VALUES, optimizer=rates, steps=3)
