"""Filling in what is missing: scaling, hold-out, the best step, and what came of it."""

from tnrank.completion._fill_missing import fill_missing
from tnrank.completion._filled import Filled
from tnrank.completion._filling import filling
from tnrank.completion._incomplete import Incomplete
from tnrank.completion._settings import Settings

__all__ = ["Filled", "Incomplete", "Settings", "fill_missing", "filling"]
