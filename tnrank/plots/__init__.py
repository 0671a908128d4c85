"""Figures. matplotlib is imported when the first one is drawn; a figure is saved by whoever asked for it."""

from tnrank.plots._circuit import circuit
from tnrank.plots._dimension_tree import dimension_tree
from tnrank.plots._entanglement import entanglement
from tnrank.plots._layer_ranks import layer_ranks
from tnrank.plots._learning_curves import learning_curves
from tnrank.plots._network import network
from tnrank.plots._rank_scan import rank_scan
from tnrank.plots._ranks import ranks
from tnrank.plots._save import image_bytes
from tnrank.plots._spectra import spectra

__all__ = [
    "circuit",
    "dimension_tree",
    "entanglement",
    "image_bytes",
    "layer_ranks",
    "learning_curves",
    "network",
    "rank_scan",
    "ranks",
    "spectra",
]
