"""Plans as JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tnrank._files import write_atomically
from tnrank._typing import Label
from tnrank.network._network import Network
from tnrank.network._plan import ContractionPlan

_FORMAT = "tnrank plan 1"


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
    }
    write_atomically(path, json.dumps(content).encode())


def load(path: str | os.PathLike[str]) -> ContractionPlan:
    """See :meth:`ContractionPlan.load`."""
    try:
        content = json.loads(Path(path).read_text())
        if content["format"] != _FORMAT:
            raise KeyError(content["format"])
        network = Network(
            {name: tuple(_decode(x) for x in labels) for name, labels in content["tensors"]},
            tuple(_decode(x) for x in content["output"]),
        )
        sizes = {_decode(x): size for x, size in content["sizes"]}
        slices = {_decode(x): chunk for x, chunk in content["slices"]}
        return ContractionPlan(network, sizes, [tuple(pair) for pair in content["path"]], slices, content["method"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a plan that tnrank saved ({error!r})") from None


def _encode(label: Label) -> Any:
    if isinstance(label, (str, int)) and not isinstance(label, bool):
        return label
    if isinstance(label, tuple):
        return [_encode(part) for part in label]
    raise TypeError(f"the label {label!r} cannot be written to JSON: use strings, numbers or tuples of them")


def _decode(value: Any) -> Label:
    return tuple(_decode(part) for part in value) if isinstance(value, list) else value
