"""Weights of layers as networks of small tensors: what PyTorch's and Equinox's layers are made of."""

from tnrank.layers._fit import Fit, fit_weight
from tnrank.layers._format import WeightFormat
from tnrank.layers._initial import initial, initial_bias, learning_rates
from tnrank.layers._inputs import input_moments, patch_moments
from tnrank.layers._lora import LoraReport, write_lora
from tnrank.layers._naming import naming
from tnrank.layers._of_factorization import format_of_factorization
from tnrank.layers._plans import Plans, plans_of
from tnrank.layers._prune import Pruned, prune_weight
from tnrank.layers._report import LayerChange, ModelReport, forward_flops
from tnrank.layers._rules import match_rules
from tnrank.layers._sizes import weight_format
from tnrank.layers._stage_costs import dense_from
from tnrank.layers._stages import Stage, stages_of

__all__ = [
    "Fit",
    "LayerChange",
    "LoraReport",
    "ModelReport",
    "Plans",
    "Pruned",
    "Stage",
    "WeightFormat",
    "dense_from",
    "fit_weight",
    "format_of_factorization",
    "forward_flops",
    "initial",
    "initial_bias",
    "input_moments",
    "learning_rates",
    "match_rules",
    "naming",
    "patch_moments",
    "plans_of",
    "prune_weight",
    "stages_of",
    "weight_format",
    "write_lora",
]
