"""Factorizations and circuits as modules: train them inside any PyTorch program, and watch the ranks of others."""

from tnrank_torch.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_torch.nn._factorization import Factorization
from tnrank_torch.nn._layer_ranks import layer_ranks
from tnrank_torch.nn._linear import DeepLinear
from tnrank_torch.nn._radar import RankRadar

__all__ = ["ConvolutionalArithmeticCircuit", "DeepLinear", "Factorization", "RankRadar", "layer_ranks"]
