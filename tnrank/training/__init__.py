"""Training: losses, optimizers, recorders, and completion by gradient descent."""

from tnrank.training import recorders
from tnrank.training._complete import complete
from tnrank.training._loop import Stop
from tnrank.training._losses import HuberLoss, L1Loss, Loss, SmoothL1Loss, SquaredLoss
from tnrank.training._observations import RankOneMeasurements
from tnrank.training._optimizers import Adam, GradientDescent, GroupRMSProp, Optimizer
from tnrank.training._result import CompletionResult, Trace

__all__ = [
    "Adam",
    "CompletionResult",
    "GradientDescent",
    "GroupRMSProp",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "Optimizer",
    "RankOneMeasurements",
    "SmoothL1Loss",
    "SquaredLoss",
    "Stop",
    "Trace",
    "complete",
    "recorders",
]
