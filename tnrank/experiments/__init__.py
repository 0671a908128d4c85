"""Named experiments: recipes are frozen configurations, one runner carries them out into a run folder."""

from tnrank.experiments import recipes
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipe import Recipe, UnknownField, register
from tnrank.experiments._registry import find_recipe, known_recipes, load_recipes, make_recipe
from tnrank.experiments._runner import Interrupted, Run, run
from tnrank.experiments._sweeps._driver import Sweep
from tnrank.experiments._sweeps._sweep import sweep
from tnrank.ranks import onsets, separated
from tnrank.runs import Fitted, Fitting, Journal, SampleTraining, Trainer, Training, read_config, read_metrics

__all__ = [
    "Check",
    "Fitted",
    "Fitting",
    "Interrupted",
    "Journal",
    "Outcome",
    "Recipe",
    "Run",
    "Sweep",
    "Table",
    "Trainer",
    "SampleTraining",
    "Training",
    "UnknownField",
    "find_recipe",
    "known_recipes",
    "load_recipes",
    "make_recipe",
    "onsets",
    "read_config",
    "read_metrics",
    "recipes",
    "register",
    "run",
    "separated",
    "sweep",
]
