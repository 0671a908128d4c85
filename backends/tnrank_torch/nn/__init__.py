"""Factorizations, circuits and layers as modules: train them inside any PyTorch program, and watch their ranks."""

from tnrank_torch.nn._adapt import adapt, merge
from tnrank_torch.nn._adapted import AdaptedLayer
from tnrank_torch.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_torch.nn._conv import FactorizedConv1d, FactorizedConv2d
from tnrank_torch.nn._embedding import FactorizedEmbedding
from tnrank_torch.nn._factorization import Factorization
from tnrank_torch.nn._group_rmsprop import GroupRMSProp
from tnrank_torch.nn._layer_ranks import layer_ranks
from tnrank_torch.nn._linear import FactorizedLinear
from tnrank_torch.nn._lora import save_lora
from tnrank_torch.nn._model import collapse, factorize, prune
from tnrank_torch.nn._parameter_groups import parameter_groups
from tnrank_torch.nn._radar import RankRadar

__all__ = [
    "AdaptedLayer",
    "ConvolutionalArithmeticCircuit",
    "Factorization",
    "FactorizedConv1d",
    "FactorizedConv2d",
    "FactorizedEmbedding",
    "FactorizedLinear",
    "GroupRMSProp",
    "RankRadar",
    "adapt",
    "collapse",
    "factorize",
    "layer_ranks",
    "merge",
    "parameter_groups",
    "prune",
    "save_lora",
]
