"""Named experiments: recipes are frozen configurations, one runner carries them out into a run folder."""

from tnrank.experiments._onsets import onsets, separated
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipe import Recipe, make_recipe, recipes, register
from tnrank.experiments._recipes._completion import Completion
from tnrank.experiments._recipes._depth_efficiency import DepthEfficiency
from tnrank.experiments._recipes._dynamics import Dynamics
from tnrank.experiments._recipes._rank_of_architecture import RankOfArchitecture
from tnrank.experiments._run_folder import read_config, read_metrics
from tnrank.experiments._runner import Interrupted, Journal, Run, run

__all__ = [
    "Recipe",
    "make_recipe",
    "recipes",
    "register",
    "run",
    "Run",
    "Interrupted",
    "Journal",
    "Outcome",
    "Check",
    "Table",
    "Dynamics",
    "Completion",
    "DepthEfficiency",
    "RankOfArchitecture",
    "onsets",
    "separated",
    "read_config",
    "read_metrics",
]
