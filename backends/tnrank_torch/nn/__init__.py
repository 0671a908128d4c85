"""Factorizations, circuits and layers as modules: train them inside any PyTorch program."""

from tnrank_torch.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_torch.nn._conv import FactorizedConv1d, FactorizedConv2d
from tnrank_torch.nn._embedding import FactorizedEmbedding
from tnrank_torch.nn._factorization import Factorization
from tnrank_torch.nn._linear import FactorizedLinear

__all__ = [
    "ConvolutionalArithmeticCircuit",
    "Factorization",
    "FactorizedConv1d",
    "FactorizedConv2d",
    "FactorizedEmbedding",
    "FactorizedLinear",
]
