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
    from tnrank.completion import Filled as Filled
    from tnrank.completion import fill_missing as fill_missing
    from tnrank.dimension_tree import DimensionTree as DimensionTree
    from tnrank.dimension_tree import Node as Node
    from tnrank.factorizations import CPFactorization as CPFactorization
    from tnrank.factorizations import Factorization as Factorization
    from tnrank.factorizations import HierarchicalFactorization as HierarchicalFactorization
    from tnrank.factorizations import HierarchicalTucker as HierarchicalTucker
    from tnrank.factorizations import MatrixFactorization as MatrixFactorization
    from tnrank.factorizations import TensorTrain as TensorTrain
    from tnrank.factorizations import TensorTrainOperator as TensorTrainOperator
    from tnrank.factorizations import Tucker as Tucker
    from tnrank.factorizations import data_tensor as data_tensor
    from tnrank.factorizations import load as load
    from tnrank.network import ContractionPlan as ContractionPlan
    from tnrank.network import Network as Network
    from tnrank.network import contract as contract
    from tnrank.network import environment as environment
    from tnrank.ranks import EntanglementReport as EntanglementReport
    from tnrank.ranks import RankReport as RankReport
    from tnrank.ranks import TensorRank as TensorRank
    from tnrank.ranks import correlation_tree as correlation_tree
    from tnrank.ranks import effective_rank as effective_rank
    from tnrank.ranks import entanglement_entropy as entanglement_entropy
    from tnrank.ranks import entanglement_report as entanglement_report
    from tnrank.ranks import hierarchical_rank as hierarchical_rank
    from tnrank.ranks import hierarchical_singular_values as hierarchical_singular_values
    from tnrank.ranks import matrix_rank as matrix_rank
    from tnrank.ranks import multilinear_rank as multilinear_rank
    from tnrank.ranks import rank_report as rank_report
    from tnrank.ranks import schatten_norm as schatten_norm
    from tnrank.ranks import separation_rank as separation_rank
    from tnrank.ranks import singular_values as singular_values
    from tnrank.ranks import stable_rank as stable_rank
    from tnrank.ranks import suggest_tree as suggest_tree
    from tnrank.ranks import tensor_rank as tensor_rank
    from tnrank.ranks import tt_ranks as tt_ranks
    from tnrank.training import Adam as Adam
    from tnrank.training import CompletionResult as CompletionResult
    from tnrank.training import CrossEntropyLoss as CrossEntropyLoss
    from tnrank.training import FitResult as FitResult
    from tnrank.training import GradientDescent as GradientDescent
    from tnrank.training import GroupRMSProp as GroupRMSProp
    from tnrank.training import HuberLoss as HuberLoss
    from tnrank.training import L1Loss as L1Loss
    from tnrank.training import LogisticLoss as LogisticLoss
    from tnrank.training import RankOneMeasurements as RankOneMeasurements
    from tnrank.training import SmoothL1Loss as SmoothL1Loss
    from tnrank.training import SquaredLoss as SquaredLoss
    from tnrank.training import Stop as Stop
    from tnrank.training import complete as complete
    from tnrank.training import fit as fit
    from tnrank.training import scores as scores

# name -> the module that defines it; imported when the name is first used (PEP 562)
_HOME = {
    "available_backends": "tnrank._backend",
    "Backend": "tnrank._backend",
    "backend_of": "tnrank._backend",
    "get_backend": "tnrank._backend",
    "register_backend": "tnrank._backend",
    "fill_missing": "tnrank.completion",
    "Filled": "tnrank.completion",
    "DimensionTree": "tnrank.dimension_tree",
    "Node": "tnrank.dimension_tree",
    "CPFactorization": "tnrank.factorizations",
    "Factorization": "tnrank.factorizations",
    "HierarchicalFactorization": "tnrank.factorizations",
    "HierarchicalTucker": "tnrank.factorizations",
    "data_tensor": "tnrank.factorizations",
    "load": "tnrank.factorizations",
    "MatrixFactorization": "tnrank.factorizations",
    "TensorTrain": "tnrank.factorizations",
    "TensorTrainOperator": "tnrank.factorizations",
    "Tucker": "tnrank.factorizations",
    "contract": "tnrank.network",
    "ContractionPlan": "tnrank.network",
    "environment": "tnrank.network",
    "Network": "tnrank.network",
    "correlation_tree": "tnrank.ranks",
    "effective_rank": "tnrank.ranks",
    "entanglement_entropy": "tnrank.ranks",
    "entanglement_report": "tnrank.ranks",
    "EntanglementReport": "tnrank.ranks",
    "hierarchical_rank": "tnrank.ranks",
    "hierarchical_singular_values": "tnrank.ranks",
    "matrix_rank": "tnrank.ranks",
    "multilinear_rank": "tnrank.ranks",
    "rank_report": "tnrank.ranks",
    "RankReport": "tnrank.ranks",
    "schatten_norm": "tnrank.ranks",
    "separation_rank": "tnrank.ranks",
    "singular_values": "tnrank.ranks",
    "stable_rank": "tnrank.ranks",
    "suggest_tree": "tnrank.ranks",
    "tensor_rank": "tnrank.ranks",
    "TensorRank": "tnrank.ranks",
    "tt_ranks": "tnrank.ranks",
    "Adam": "tnrank.training",
    "complete": "tnrank.training",
    "CompletionResult": "tnrank.training",
    "CrossEntropyLoss": "tnrank.training",
    "fit": "tnrank.training",
    "FitResult": "tnrank.training",
    "GradientDescent": "tnrank.training",
    "GroupRMSProp": "tnrank.training",
    "HuberLoss": "tnrank.training",
    "L1Loss": "tnrank.training",
    "LogisticLoss": "tnrank.training",
    "RankOneMeasurements": "tnrank.training",
    "scores": "tnrank.training",
    "SmoothL1Loss": "tnrank.training",
    "SquaredLoss": "tnrank.training",
    "Stop": "tnrank.training",
}
_ROOMS = frozenset(
    {
        "circuits",
        "completion",
        "data",
        "experiments",
        "factorizations",
        "linalg",
        "network",
        "plots",
        "radar",
        "ranks",
        "runs",
        "testing",
        "theory",
        "training",
    }
)

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
