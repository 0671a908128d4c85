"""Figures. matplotlib is imported when the first one is drawn; a figure is saved by whoever asked for it."""

from tnrank.plots._dynamics import Panel, dynamics
from tnrank.plots._save import image_bytes
from tnrank.plots._spectra import spectra

__all__ = ["Panel", "dynamics", "image_bytes", "spectra"]
