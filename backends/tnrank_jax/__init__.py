"""The JAX backend of tnrank."""

from tnrank_jax._backend import JaxBackend, backend

__all__ = ["JaxBackend", "backend"]
