"""Factorizations and circuits as Equinox modules: train them inside any JAX program."""

from tnrank_jax.nn._circuit import ConvolutionalArithmeticCircuit
from tnrank_jax.nn._factorization import Factorization
from tnrank_jax.nn._layer_ranks import layer_ranks
from tnrank_jax.nn._linear import DeepLinear

__all__ = ["ConvolutionalArithmeticCircuit", "DeepLinear", "Factorization", "layer_ranks"]
