"""Factorizations, circuits and factorized layers as Equinox modules: train them inside any JAX program."""

from tnrank_jax.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_jax.nn._conv import FactorizedConv1d, FactorizedConv2d
from tnrank_jax.nn._embedding import FactorizedEmbedding
from tnrank_jax.nn._factorization import Factorization
from tnrank_jax.nn._layer_ranks import layer_ranks
from tnrank_jax.nn._linear import FactorizedLinear
from tnrank_jax.nn._model import collapse, factorize, parameter_rates, prune

__all__ = [
    "ConvolutionalArithmeticCircuit",
    "Factorization",
    "FactorizedConv1d",
    "FactorizedConv2d",
    "FactorizedEmbedding",
    "FactorizedLinear",
    "collapse",
    "factorize",
    "layer_ranks",
    "parameter_rates",
    "prune",
]
