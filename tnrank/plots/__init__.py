"""Figures. matplotlib is imported when the first one is drawn; a figure is saved by whoever asked for it."""

from tnrank.plots._analogy import AnalogyRow, analogy, analogy_page
from tnrank.plots._architectures import ArchitecturePanel, architectures
from tnrank.plots._circuit import circuit
from tnrank.plots._deep_tensor import DepthPanel, deep_tensor
from tnrank.plots._depth_efficiency import Growth, depth_efficiency
from tnrank.plots._dimension_tree import dimension_tree
from tnrank.plots._dynamics import Panel, dynamics
from tnrank.plots._dynamics_law import LawPanel, LawPoints, dynamics_law
from tnrank.plots._linear_regression import Descent, Probe, linear_regression
from tnrank.plots._local_components import NearLowRankPanel, local_components
from tnrank.plots._matrix_completion import CompletionCurve, ScaleCurve, matrix_completion
from tnrank.plots._network import network
from tnrank.plots._rank_scan import rank_scan
from tnrank.plots._ranks import ranks
from tnrank.plots._recovery import Rebound, Recovery, recovery
from tnrank.plots._save import image_bytes
from tnrank.plots._spectra import spectra
from tnrank.plots._tensor_dynamics import Staircase, tensor_dynamics
from tnrank.plots._tree_bias import TreeComparison, tree_bias

__all__ = [
    "AnalogyRow",
    "ArchitecturePanel",
    "CompletionCurve",
    "DepthPanel",
    "Descent",
    "Growth",
    "LawPanel",
    "LawPoints",
    "NearLowRankPanel",
    "Panel",
    "Probe",
    "ScaleCurve",
    "Staircase",
    "TreeComparison",
    "analogy",
    "analogy_page",
    "Rebound",
    "Recovery",
    "architectures",
    "circuit",
    "deep_tensor",
    "depth_efficiency",
    "dimension_tree",
    "dynamics",
    "dynamics_law",
    "image_bytes",
    "linear_regression",
    "local_components",
    "matrix_completion",
    "network",
    "rank_scan",
    "ranks",
    "recovery",
    "spectra",
    "tensor_dynamics",
    "tree_bias",
]
