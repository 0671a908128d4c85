"""Values that fit nowhere, and what an error must look like when a public callable is given one."""

from __future__ import annotations

import linecache
import signal
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.sparse

import tnrank

ALLOWED = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OSError,
    ImportError,
    NotImplementedError,
    ZeroDivisionError,
    AttributeError,  # only Python's own, of a missing method: see complaint_of
)
OURS = tuple(
    str(Path(module.__file__).parent) for module in map(__import__, ("tnrank", "tnrank_numpy", "tnrank_torch"))
)


def _numpy_matrix() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix([[1.0, 2.0]])


def _torch(name: str) -> object:
    import torch

    return {"dense": torch.ones(2, 2), "sparse": torch.eye(2).to_sparse()}[name]


GARBAGE: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "0": lambda: 0,
    "3.7": lambda: 3.7,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "10**30": lambda: 10**30,
    "1j": lambda: 1j,
    "empty text": lambda: "",
    "text": lambda: "garbage",
    "bytes": lambda: b"ir,jr",
    "empty list": lambda: [],
    "list": lambda: [1, 2],
    "nested list": lambda: [[1, 2], [3]],
    "tuple": lambda: (0,),
    "negative tuple": lambda: (-1, 5),
    "empty dict": lambda: {},
    "dict": lambda: {"a": 1},
    "dict of modes": lambda: {0: "b", (1,): None},
    "set": lambda: {1.5, 2},
    "object": lambda: object(),
    "function": lambda: len,
    "class": lambda: int,
    "generator": lambda: (k for k in (1.5, "b")),
    "range": lambda: range(3),
    "NumPy scalar": lambda: np.float64(2.0),
    "empty array": lambda: np.zeros(0),
    "0-d array": lambda: np.array(2.0),
    "vector": lambda: np.ones(3),
    "matrix": lambda: np.ones((2, 3)),
    "tensor": lambda: np.ones((2, 1, 3)),
    "array of NaN": lambda: np.full((2, 2), np.nan),
    "array of text": lambda: np.array(["a", "b"]),
    "array of objects": lambda: np.array([{}, None], dtype=object),
    "times": lambda: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "structured": lambda: np.zeros(2, dtype=[("a", "f8")]),
    "booleans": lambda: np.array([[True, False]]),
    "masked": lambda: np.ma.masked_array([[1.0, 2.0]], [[True, False]]),
    "numpy.matrix": _numpy_matrix,
    "sparse": lambda: scipy.sparse.eye_array(3),
    "factorization": lambda: tnrank.TensorTrain.random((2, 3, 2), rank=2, seed=0),
    "network": lambda: tnrank.Network({"A": "ij", "B": "jk"}),
    "tree": lambda: tnrank.DimensionTree.balanced(5),
    "path": lambda: Path("nowhere") / "at all",
}
"""What makes each value, by name: a fresh one a call, since iterators among them can be used up only once."""

if find_spec("torch"):
    GARBAGE["torch tensor"] = partial(_torch, "dense")
    GARBAGE["torch sparse"] = partial(_torch, "sparse")


class TooSlow(BaseException):
    """Raised by the alarm; no ``except Exception`` of the library catches it."""


@contextmanager
def limit(seconds: float):
    """Interrupt what runs longer, so that a wrong value that keeps the library busy is seen."""

    def ring(*_):
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, should a finalizer swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def complaint_of(call, seconds: float = 30.0) -> str | None:
    """What is wrong with how ``call`` ends; ``None`` if it returns, or raises a sentence of the library's own.

    The innermost frame of a good error is a ``raise`` of the library: then its words are ours, and say what was needed.
    """
    try:
        with limit(seconds), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            call()
    except TooSlow:
        return f"runs longer than {seconds:g} s"
    except ALLOWED as error:
        return _complaint(error)
    except BaseException as error:
        return f"raises {type(error).__name__}: {str(error)[:120]!r}"
    return None


def _complaint(error: Exception) -> str | None:
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {str(error)[:120]!r} from {where.filename}:{where.lineno}"
    if _python_itself(error):
        return None
    if not where.filename.startswith(OURS):
        return f"raw {told}"
    if not linecache.getline(where.filename, where.lineno).strip().startswith("raise"):
        return f"not raised on purpose, {told}"
    text = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
    if not isinstance(text, str) or len(text) < 12 or " " not in text:
        return f"no sentence, {told}"
    return None


def _python_itself(error: Exception) -> bool:
    """Whether the call itself was refused before the library ran: a wrong number of arguments."""
    return len(traceback.extract_tb(error.__traceback__)) <= 3 and "argument" in str(error)
