"""Factorizations: networks together with their arrays."""

from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._cross._approximation import CrossApproximation, cross_approximation
from tnrank.factorizations._data_tensor import data_tensor
from tnrank.factorizations._hierarchical import HierarchicalFactorization
from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker
from tnrank.factorizations._io import load
from tnrank.factorizations._matrix import MatrixFactorization
from tnrank.factorizations._network_factorization import NetworkFactorization, deepen
from tnrank.factorizations._operator import TensorTrainOperator
from tnrank.factorizations._streaming._compress import compress
from tnrank.factorizations._sum import FactorizationSum, sum_of
from tnrank.factorizations._tensor_train import TensorTrain
from tnrank.factorizations._tree_core import Truncation
from tnrank.factorizations._tree_format import TreeFormat
from tnrank.factorizations._tucker import Tucker

__all__ = [
    "CPFactorization",
    "CrossApproximation",
    "Factorization",
    "FactorizationSum",
    "HierarchicalFactorization",
    "HierarchicalTucker",
    "MatrixFactorization",
    "NetworkFactorization",
    "TensorTrain",
    "TensorTrainOperator",
    "TreeFormat",
    "Truncation",
    "Tucker",
    "compress",
    "cross_approximation",
    "data_tensor",
    "deepen",
    "load",
    "sum_of",
]
