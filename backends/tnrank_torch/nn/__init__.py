"""Factorizations and circuits as modules: train them inside any PyTorch program."""

from tnrank_torch.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_torch.nn._factorization import Factorization
from tnrank_torch.nn._linear import DeepLinear

__all__ = ["ConvolutionalArithmeticCircuit", "DeepLinear", "Factorization"]
