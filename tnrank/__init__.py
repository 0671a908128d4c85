"""Tensor networks, factorizations and every notion of rank, on NumPy, JAX and PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tnrank._backend import Backend as Backend
    from tnrank._backend import available_backends as available_backends
    from tnrank._backend import backend_of as backend_of
    from tnrank._backend import get_backend as get_backend
    from tnrank._backend import register_backend as register_backend
    from tnrank.dimension_tree import DimensionTree as DimensionTree
    from tnrank.dimension_tree import Node as Node
    from tnrank.factorizations import CPFactorization as CPFactorization
    from tnrank.factorizations import HierarchicalFactorization as HierarchicalFactorization
    from tnrank.factorizations import MatrixFactorization as MatrixFactorization
    from tnrank.factorizations import Factorization as Factorization
    from tnrank.factorizations import load as load
    from tnrank.network import ContractionPlan as ContractionPlan
    from tnrank.network import Network as Network
    from tnrank.network import contract as contract
    from tnrank.network import environment as environment

# name -> the module that defines it; imported when the name is first used (PEP 562)
_HOME = {
    "Backend": "tnrank._backend",
    "available_backends": "tnrank._backend",
    "backend_of": "tnrank._backend",
    "get_backend": "tnrank._backend",
    "register_backend": "tnrank._backend",
    "DimensionTree": "tnrank.dimension_tree",
    "Node": "tnrank.dimension_tree",
    "CPFactorization": "tnrank.factorizations",
    "HierarchicalFactorization": "tnrank.factorizations",
    "MatrixFactorization": "tnrank.factorizations",
    "Factorization": "tnrank.factorizations",
    "load": "tnrank.factorizations",
    "ContractionPlan": "tnrank.network",
    "Network": "tnrank.network",
    "contract": "tnrank.network",
    "environment": "tnrank.network",
}
_ROOMS = frozenset({"circuits", "data", "experiments", "factorizations", "linalg", "network", "plots", "ranks", "testing", "theory", "training"})

__version__ = "0.1.0.dev0"
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"tnrank.{name}")
    raise AttributeError(f"module 'tnrank' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_ROOMS})
