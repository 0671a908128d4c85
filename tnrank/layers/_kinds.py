"""Kinds of weights and the structures that they can have, by name."""

from __future__ import annotations

from typing import Any

from tnrank._check import one_of, shown
from tnrank.layers._structures import STRUCTURES, Structure

KINDS = ("linear", "conv", "embedding")


def check_kind(kind: Any, structure: Any) -> None:
    """Refuse a structure that weights of a kind cannot have; those that they can are listed."""
    one_of(kind, "kind", KINDS)
    if kind not in structure_of(structure).kinds:
        usable = ", ".join(name for name, rules in STRUCTURES.items() if kind in rules.kinds)
        raise ValueError(f"structure {structure!r} is not for weights of kind {kind!r}: use {usable}")


def structure_of(name: Any) -> Structure:
    """The structure of a name.

    Raises:
        ValueError: for another name; all are listed.
    """
    if not isinstance(name, str) or name not in STRUCTURES:
        raise ValueError(f"structure is one of {', '.join(map(repr, STRUCTURES))}, got {shown(name)}")
    return STRUCTURES[name]
