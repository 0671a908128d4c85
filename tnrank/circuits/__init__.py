"""Factorizations as convolutional arithmetic circuits: how much dependence a network can express."""

from tnrank.circuits._min_cut import MinCut, min_cut

__all__ = ["MinCut", "min_cut"]
