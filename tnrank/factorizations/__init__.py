"""Factorizations: networks together with their arrays."""

from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._hierarchical import HierarchicalFactorization
from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker, Truncation
from tnrank.factorizations._io import load
from tnrank.factorizations._matrix import MatrixFactorization

__all__ = [
    "CPFactorization",
    "Factorization",
    "HierarchicalFactorization",
    "HierarchicalTucker",
    "MatrixFactorization",
    "Truncation",
    "load",
]
