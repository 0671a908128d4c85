"""Named experiments: recipes are frozen configurations, one runner carries them out into a run folder."""

from tnrank.experiments._onsets import onsets, separated
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipe import Recipe, make_recipe, recipes, register
from tnrank.experiments._recipes._analogy import Analogy
from tnrank.experiments._recipes._completion import Completion
from tnrank.experiments._recipes._deep_tensor import DeepTensor
from tnrank.experiments._recipes._depth_efficiency import DepthEfficiency
from tnrank.experiments._recipes._dynamics import Dynamics
from tnrank.experiments._recipes._dynamics_law import DynamicsLaw
from tnrank.experiments._recipes._greedy import GreedyLowRank
from tnrank.experiments._recipes._linear_regression import LinearRegression
from tnrank.experiments._recipes._local_components import LocalComponentsRecipe
from tnrank.experiments._recipes._matrix_completion import MatrixCompletion
from tnrank.experiments._recipes._norms_to_infinity import NormsToInfinity
from tnrank.experiments._recipes._rank_of_architecture import RankOfArchitecture
from tnrank.experiments._recipes._rank_one import RankOne
from tnrank.experiments._recipes._tensor_completion import TensorCompletion
from tnrank.experiments._recipes._tensor_dynamics import TensorDynamics
from tnrank.experiments._recipes._tree_bias import TreeBias
from tnrank.experiments._run_folder import read_config, read_metrics
from tnrank.experiments._runner import Interrupted, Journal, Run, run
from tnrank.experiments._sweeps._driver import Sweep
from tnrank.experiments._sweeps._sweep import sweep

__all__ = [
    "Recipe",
    "make_recipe",
    "recipes",
    "register",
    "run",
    "Run",
    "sweep",
    "Sweep",
    "Interrupted",
    "Journal",
    "Outcome",
    "Check",
    "Table",
    "Analogy",
    "Dynamics",
    "DynamicsLaw",
    "Completion",
    "DeepTensor",
    "DepthEfficiency",
    "GreedyLowRank",
    "LinearRegression",
    "MatrixCompletion",
    "LocalComponentsRecipe",
    "NormsToInfinity",
    "RankOfArchitecture",
    "RankOne",
    "TensorCompletion",
    "TensorDynamics",
    "TreeBias",
    "onsets",
    "separated",
    "read_config",
    "read_metrics",
]
