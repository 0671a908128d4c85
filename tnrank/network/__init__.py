"""Networks of tensors, and plans to contract them."""

from tnrank.network._contract import contract, environment
from tnrank.network._network import Network
from tnrank.network._plan import ContractionPlan

__all__ = ["ContractionPlan", "Network", "contract", "environment"]
