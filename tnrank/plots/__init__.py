"""Figures. matplotlib is imported when the first one is drawn; a figure is saved by whoever asked for it."""

from tnrank.plots._architectures import ArchitecturePanel, architectures
from tnrank.plots._circuit import circuit
from tnrank.plots._deep_tensor import DepthPanel, deep_tensor
from tnrank.plots._depth_efficiency import Growth, depth_efficiency
from tnrank.plots._dimension_tree import dimension_tree
from tnrank.plots._greedy import GreedyLine, GreedyPanel, greedy_paths
from tnrank.plots._linear_regression import Descent, Probe, linear_regression
from tnrank.plots._local_components import NearLowRankPanel, local_components
from tnrank.plots._matrix_completion import CompletionCurve, ScaleCurve, matrix_completion
from tnrank.plots._network import network
from tnrank.plots._norms import NormCurve, NormPanel, norms_to_infinity
from tnrank.plots._rank_one import RankOneLine, RankOnePanel, rank_one
from tnrank.plots._rank_scan import rank_scan
from tnrank.plots._ranks import ranks
from tnrank.plots._recovery import Rebound, Recovery, recovery
from tnrank.plots._save import image_bytes
from tnrank.plots._spectra import spectra
from tnrank.plots._tree_bias import TreeComparison, tree_bias

__all__ = [
    "ArchitecturePanel",
    "CompletionCurve",
    "DepthPanel",
    "Descent",
    "GreedyLine",
    "GreedyPanel",
    "Growth",
    "NearLowRankPanel",
    "NormCurve",
    "NormPanel",
    "Probe",
    "RankOneLine",
    "RankOnePanel",
    "ScaleCurve",
    "TreeComparison",
    "Rebound",
    "Recovery",
    "architectures",
    "circuit",
    "deep_tensor",
    "depth_efficiency",
    "dimension_tree",
    "greedy_paths",
    "image_bytes",
    "linear_regression",
    "local_components",
    "matrix_completion",
    "network",
    "norms_to_infinity",
    "rank_one",
    "rank_scan",
    "ranks",
    "recovery",
    "spectra",
    "tree_bias",
]
