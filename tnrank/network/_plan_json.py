"""Plans as JSON files."""

from __future__ import annotations

import json
import os
from typing import Any

from tnrank._check import shown
from tnrank._files import write_atomically
from tnrank._reading import read_bytes, reading
from tnrank._typing import Label
from tnrank.network._network import Network
from tnrank.network._plan import ContractionPlan

_FORMAT = "tnrank plan 1"
_KEYS = ("tensors", "output", "sizes", "path", "slices", "method")
_SHARE = 20
"""Bytes of Python objects that a byte of JSON may become."""


def save(plan: ContractionPlan, path: str | os.PathLike[str]) -> None:
    """See :meth:`ContractionPlan.save`."""
    network = plan.network
    content = {
        "format": _FORMAT,
        "tensors": [[name, [_encode(x) for x in labels]] for name, labels in network.tensors.items()],
        "output": [_encode(x) for x in network.output],
        "sizes": [[_encode(x), size] for x, size in plan.sizes.items()],
        "path": [list(pair) for pair in plan.path],
        "slices": [[_encode(x), chunk] for x, chunk in plan.slices.items()],
        "method": plan.method,
        "varying": [_encode(x) for x in plan.varying],
    }
    write_atomically(path, json.dumps(content).encode())


def load(path: str | os.PathLike[str]) -> ContractionPlan:
    """See :meth:`ContractionPlan.load`."""
    with reading(path, "is not a plan that tnrank saved", quoted=True) as file:
        return _read(json.loads(read_bytes(file, _SHARE)))


def _read(content: Any) -> ContractionPlan:
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"its format is not {_FORMAT!r}")
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise ValueError(f"it has no {missing[0]!r}")
    tensors = _pairs(content["tensors"], "tensors")
    if not all(isinstance(name, str) and isinstance(labels, list) for name, labels in tensors.items()):
        raise ValueError("its tensors are not lists of labels by name")
    varying = content.get("varying", [])  # files of the first version have none
    if not all(isinstance(part, list) for part in (content["output"], content["path"], varying)):
        raise ValueError("its output, path and varying are not lists")
    network = Network(
        {name: tuple(map(_decode, labels)) for name, labels in tensors.items()}, tuple(map(_decode, content["output"]))
    )
    sizes, slices = (_pairs(content[key], key) for key in ("sizes", "slices"))
    extra = [label for label in sizes if label not in network.indices]
    if extra:
        raise ValueError(f"it has a size for {shown(extra[0])}, which no tensor has")
    varying = [_decode(x) for x in varying]
    return ContractionPlan(network, sizes, content["path"], slices, content["method"], varying)


def _pairs(value: Any, what: str) -> dict[Any, Any]:
    """A list of pairs as a dictionary."""
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise ValueError(f"its {what} are not a list of pairs")
    found = {_decode(key): entry for key, entry in value}
    if len(found) != len(value):
        raise ValueError(f"its {what} name one twice")
    return found


def _encode(label: Label) -> Any:
    if isinstance(label, str) or (isinstance(label, int) and not isinstance(label, bool)):
        return label
    if isinstance(label, tuple):
        return [_encode(part) for part in label]
    raise TypeError(f"the label {label!r} cannot be written to JSON: use strings, numbers or tuples of them")


def _decode(value: Any) -> Label:
    if isinstance(value, list):
        return tuple(_decode(part) for part in value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"it has the label {shown(value)}, and labels are strings, whole numbers or lists of them")
    return value
