"""Run folders: what long work records, keeps and goes on from, and what it wants trained on the way."""

from tnrank.runs._fitting import Fitted, Fitting, FittingJob, Trainer
from tnrank.runs._folder import ADVICE, RunFolder, finished
from tnrank.runs._journal import Job, Journal
from tnrank.runs._plain import plain, tuples
from tnrank.runs._read import partial_of, read_config, read_metrics, summary_of
from tnrank.runs._training import SampleTraining, Training, drive, only_trainings

__all__ = [
    "ADVICE",
    "Fitted",
    "Fitting",
    "FittingJob",
    "Job",
    "Journal",
    "RunFolder",
    "Trainer",
    "SampleTraining",
    "Training",
    "drive",
    "finished",
    "only_trainings",
    "partial_of",
    "plain",
    "read_config",
    "read_metrics",
    "summary_of",
    "tuples",
]
