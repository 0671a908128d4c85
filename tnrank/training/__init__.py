"""Training: losses, optimizers, recorders, and completion by gradient descent."""

from tnrank.training import recorders
from tnrank.training._checkpoint_folder import Checkpoint, SavedRuns
from tnrank.training._complete import complete
from tnrank.training._fit import fit
from tnrank.training._flow import FlowFailed, FlowResult, FlowTrace, gradient_flow
from tnrank.training._loop import Stop
from tnrank.training._losses import (
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    LogisticLoss,
    Loss,
    SmoothL1Loss,
    SquaredLoss,
)
from tnrank.training._observations import RankOneMeasurements
from tnrank.training._optimizers import Adam, GradientDescent, GroupRMSProp, Optimizer
from tnrank.training._rates_of import MeasuredRates, rates_of
from tnrank.training._result import CompletionResult, Trace
from tnrank.training._samples._fit_result import FitResult
from tnrank.training._samples._predict import scores
from tnrank.training._stability import stability_limit

__all__ = [
    "Adam",
    "Checkpoint",
    "CompletionResult",
    "CrossEntropyLoss",
    "FitResult",
    "FlowFailed",
    "FlowResult",
    "FlowTrace",
    "GradientDescent",
    "GroupRMSProp",
    "HuberLoss",
    "L1Loss",
    "LogisticLoss",
    "Loss",
    "MeasuredRates",
    "Optimizer",
    "RankOneMeasurements",
    "SavedRuns",
    "SmoothL1Loss",
    "SquaredLoss",
    "Stop",
    "Trace",
    "complete",
    "fit",
    "gradient_flow",
    "rates_of",
    "recorders",
    "scores",
    "stability_limit",
]
