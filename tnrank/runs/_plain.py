"""Values as what JSON and tables hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def label(node: Any) -> str:
    """A node or a tuple of modes as text."""
    # A Node is a tuple too, and shows itself.
    return "{" + ",".join(map(str, node)) + "}" if type(node) is tuple else str(node)


def plain(content: Any) -> Any:
    """``content`` of plain numbers, text, lists and dictionaries; what is not finite is nothing."""
    if isinstance(content, Mapping):
        return {label(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, np.ndarray):
        return plain(content.tolist())
    if isinstance(content, np.generic):
        return plain(content.item())
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return str(content) if isinstance(content, Path) else content


def tuples(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value
