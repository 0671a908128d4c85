"""The PyTorch backend of tnrank."""

from tnrank_torch._backend import TorchBackend, backend

__all__ = ["TorchBackend", "backend"]
