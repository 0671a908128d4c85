"""Figures. matplotlib is imported when the first one is drawn; a figure is saved by whoever asked for it."""

from tnrank.plots._analogy import AnalogyRow, analogy, analogy_page
from tnrank.plots._circuit import circuit
from tnrank.plots._deep_tensor import DepthPanel, deep_tensor
from tnrank.plots._dimension_tree import dimension_tree
from tnrank.plots._dynamics import Panel, dynamics
from tnrank.plots._dynamics_law import LawPanel, LawPoints, dynamics_law
from tnrank.plots._greedy import GreedyLine, GreedyPanel, greedy_paths
from tnrank.plots._matrix_completion import CompletionCurve, ScaleCurve, matrix_completion
from tnrank.plots._network import network
from tnrank.plots._norms import NormCurve, NormPanel, norms_to_infinity
from tnrank.plots._rank_one import RankOneLine, RankOnePanel, rank_one
from tnrank.plots._rank_scan import rank_scan
from tnrank.plots._ranks import ranks
from tnrank.plots._recovery import Rebound, Recovery, recovery
from tnrank.plots._save import image_bytes
from tnrank.plots._spectra import spectra
from tnrank.plots._tensor_dynamics import Staircase, tensor_dynamics

__all__ = [
    "AnalogyRow",
    "CompletionCurve",
    "DepthPanel",
    "GreedyLine",
    "GreedyPanel",
    "LawPanel",
    "LawPoints",
    "NormCurve",
    "NormPanel",
    "Panel",
    "RankOneLine",
    "RankOnePanel",
    "ScaleCurve",
    "Staircase",
    "analogy",
    "analogy_page",
    "Rebound",
    "Recovery",
    "circuit",
    "deep_tensor",
    "dimension_tree",
    "dynamics",
    "dynamics_law",
    "greedy_paths",
    "image_bytes",
    "matrix_completion",
    "network",
    "norms_to_infinity",
    "rank_one",
    "rank_scan",
    "ranks",
    "recovery",
    "spectra",
    "tensor_dynamics",
]
