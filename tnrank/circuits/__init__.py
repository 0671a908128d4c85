"""Factorizations as convolutional arithmetic circuits: how much dependence a network can express."""

from tnrank.circuits._circuit import Circuit
from tnrank.circuits._layout import Level
from tnrank.circuits._min_cut import MinCut, min_cut
from tnrank.circuits._representation import (
    Affine,
    CosSin,
    Embedding,
    Gaussian,
    OneHot,
    Representation,
    patches,
)

__all__ = [
    "Affine",
    "Circuit",
    "CosSin",
    "Embedding",
    "Gaussian",
    "Level",
    "MinCut",
    "OneHot",
    "Representation",
    "min_cut",
    "patches",
]
