"""The recipes of the library, one module each; importing them registers them."""

from tnrank.experiments.recipes.adapter_rank import AdapterRank
from tnrank.experiments.recipes.analogy import Analogy
from tnrank.experiments.recipes.completion import Completion
from tnrank.experiments.recipes.compression_bound import CompressionBound
from tnrank.experiments.recipes.data_entanglement import DataEntanglement
from tnrank.experiments.recipes.deep_tensor import DeepTensor
from tnrank.experiments.recipes.depth_efficiency import DepthEfficiency
from tnrank.experiments.recipes.dynamics import Dynamics
from tnrank.experiments.recipes.dynamics_law import DynamicsLaw
from tnrank.experiments.recipes.expand import Expand
from tnrank.experiments.recipes.greedy_low_rank import GreedyLowRank
from tnrank.experiments.recipes.layer_compression import LayerCompression
from tnrank.experiments.recipes.linear_regression import LinearRegression
from tnrank.experiments.recipes.local_components import LocalComponentsRecipe
from tnrank.experiments.recipes.matrix_completion import MatrixCompletion
from tnrank.experiments.recipes.natural_rank import NaturalRank
from tnrank.experiments.recipes.norms_to_infinity import NormsToInfinity
from tnrank.experiments.recipes.rank_minimizing_autoencoder import RankMinimizingAutoencoder
from tnrank.experiments.recipes.rank_of_architecture import RankOfArchitecture
from tnrank.experiments.recipes.rank_of_layers import RankOfLayers
from tnrank.experiments.recipes.rank_one import RankOne
from tnrank.experiments.recipes.tensor_completion import TensorCompletion
from tnrank.experiments.recipes.tensor_dynamics import TensorDynamics
from tnrank.experiments.recipes.tree_bias import TreeBias

__all__ = [
    "AdapterRank",
    "Analogy",
    "Completion",
    "CompressionBound",
    "DataEntanglement",
    "DeepTensor",
    "DepthEfficiency",
    "Dynamics",
    "DynamicsLaw",
    "Expand",
    "GreedyLowRank",
    "LayerCompression",
    "LinearRegression",
    "LocalComponentsRecipe",
    "MatrixCompletion",
    "NaturalRank",
    "NormsToInfinity",
    "RankMinimizingAutoencoder",
    "RankOfArchitecture",
    "RankOfLayers",
    "RankOne",
    "TensorCompletion",
    "TensorDynamics",
    "TreeBias",
]
