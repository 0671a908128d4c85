"""Values that fit nowhere, and what an error must look like when a public callable is given one."""

from __future__ import annotations

import linecache
import signal
import traceback
import warnings
from contextlib import contextmanager
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


def garbage() -> dict[str, object]:
    """Fresh values by name; iterators among them can be used up only once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        numpy_matrix = np.matrix([[1.0, 2.0]])
    found = {
        "None": None,
        "True": True,
        "-1": -1,
        "0": 0,
        "3.7": 3.7,
        "nan": float("nan"),
        "inf": float("inf"),
        "10**30": 10**30,
        "1j": 1j,
        "empty text": "",
        "text": "garbage",
        "bytes": b"ir,jr",
        "empty list": [],
        "list": [1, 2],
        "nested list": [[1, 2], [3]],
        "tuple": (0,),
        "negative tuple": (-1, 5),
        "empty dict": {},
        "dict": {"a": 1},
        "dict of modes": {0: "b", (1,): None},
        "set": {1.5, 2},
        "object": object(),
        "function": len,
        "class": int,
        "generator": (k for k in (1.5, "b")),
        "range": range(3),
        "NumPy scalar": np.float64(2.0),
        "empty array": np.zeros(0),
        "0-d array": np.array(2.0),
        "vector": np.ones(3),
        "matrix": np.ones((2, 3)),
        "tensor": np.ones((2, 1, 3)),
        "array of NaN": np.full((2, 2), np.nan),
        "array of text": np.array(["a", "b"]),
        "array of objects": np.array([{}, None], dtype=object),
        "times": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "structured": np.zeros(2, dtype=[("a", "f8")]),
        "booleans": np.array([[True, False]]),
        "masked": np.ma.masked_array([[1.0, 2.0]], [[True, False]]),
        "numpy.matrix": numpy_matrix,
        "sparse": scipy.sparse.eye_array(3),
        "factorization": tnrank.TensorTrain.random((2, 3, 2), rank=2, seed=0),
        "network": tnrank.Network({"A": "ij", "B": "jk"}),
        "tree": tnrank.DimensionTree.balanced(5),
        "path": Path("nowhere") / "at all",
    }
    if find_spec("torch"):
        import torch

        found["torch tensor"] = torch.ones(2, 2)
        found["torch sparse"] = torch.eye(2).to_sparse()
    return found


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


def complaint_of(call, seconds: float = 5.0) -> str | None:
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
