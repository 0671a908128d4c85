"""Factorizations as convolutional arithmetic circuits: how much dependence a network can express."""

from tnrank.circuits._circuit import Circuit
from tnrank.circuits._evaluate import evaluate
from tnrank.circuits._generalized import generalized_product, generalized_tensor
from tnrank.circuits._grid_tensor import grid_tensor
from tnrank.circuits._layout import Level
from tnrank.circuits._min_cut import MinCut, min_cut
from tnrank.circuits._network_ranks import NetworkRanks, network_ranks
from tnrank.circuits._representation import (
    Affine,
    CosSin,
    Embedding,
    Gaussian,
    OneHot,
    Representation,
    patches,
)
from tnrank.circuits._separation import Separation, SeparationReport, partitions, separation_report

__all__ = [
    "Affine",
    "Circuit",
    "CosSin",
    "Embedding",
    "Gaussian",
    "Level",
    "MinCut",
    "NetworkRanks",
    "OneHot",
    "Representation",
    "Separation",
    "SeparationReport",
    "evaluate",
    "generalized_product",
    "generalized_tensor",
    "grid_tensor",
    "min_cut",
    "network_ranks",
    "partitions",
    "patches",
    "separation_report",
]
