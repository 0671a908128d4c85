"""The NumPy backend of tnrank."""

from tnrank_numpy._backend import NumpyBackend, backend

__all__ = ["NumpyBackend", "backend"]
