"""Factorizations: networks together with their arrays."""

from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._hierarchical import HierarchicalFactorization
from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker
from tnrank.factorizations._io import load
from tnrank.factorizations._matrix import MatrixFactorization
from tnrank.factorizations._tensor_train import TensorTrain
from tnrank.factorizations._tree_core import Truncation
from tnrank.factorizations._tree_format import TreeFormat
from tnrank.factorizations._tucker import Tucker

__all__ = [
    "CPFactorization",
    "Factorization",
    "HierarchicalFactorization",
    "HierarchicalTucker",
    "MatrixFactorization",
    "TensorTrain",
    "TreeFormat",
    "Truncation",
    "Tucker",
    "load",
]
