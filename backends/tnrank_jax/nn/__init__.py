"""Factorizations, circuits and factorized layers as Equinox modules: train them inside any JAX program."""

from tnrank_jax.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_jax.nn._conv import FactorizedConv1d, FactorizedConv2d
from tnrank_jax.nn._embedding import FactorizedEmbedding
from tnrank_jax.nn._factorization import Factorization
from tnrank_jax.nn._layer import FactorizedLayer
from tnrank_jax.nn._linear import FactorizedLinear

__all__ = [
    "ConvolutionalArithmeticCircuit",
    "Factorization",
    "FactorizedConv1d",
    "FactorizedConv2d",
    "FactorizedEmbedding",
    "FactorizedLayer",
    "FactorizedLinear",
]
