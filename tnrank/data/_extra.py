"""Packages of the ``data`` extra, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, package: str, purpose: str) -> Any:
    """The module.

    Raises:
        ImportError: if its package is not installed; the pip command is given.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} needs {package}, which is not installed: pip install "tnrank[data]"') from error
