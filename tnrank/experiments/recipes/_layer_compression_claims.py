"""What compressed layers are claimed to reach, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments.kit import Check, Table
from tnrank.plots.painters import Figure, Line, legend_below, lines, panels

if TYPE_CHECKING:
    from tnrank.experiments.recipes.layer_compression import LayerCompression

MF = ("mf-depth2-sgd", "mf-depth3-sgd", "mf-depth2-adam")
"""The matrix factorizations from small weights."""
SPARSE = (*MF, "cp-small", "cp-penalty", "htf-penalty")
LEFT, PRUNING, NEAR = 20, 0.01, 0.06
CP_NEAR, CP_SHARE = 0.02, 0.07
MF_SHARE = {"fashion-mnist": 0.1, "mnist": 0.1, "digits": 0.25}
"""Data -> the most parameters of a pruned matrix factorization, as a share of the dense weight's.

The weight of the digits has 64 columns, so that one component takes 2 % of its parameters, and not 0.5 %.
"""
CP_LEFT = {"fashion-mnist": 0.3, "mnist": 0.3, "digits": 0.5}
"""Data -> the most components that CP keeps from small weights, as a share of those offered: 128, of digits only 23."""

Found = Mapping[str, Mapping[str, Any]]


def claims(recipe: LayerCompression, found: Found) -> list[Check]:
    """Sparsity and accuracy of matrix factorizations and CP from small weights; accuracy of CP from usual ones."""
    dense, checks = found["dense"]["test_accuracy"], []
    for name in MF:
        one, share = found[name], _share(found[name], "pruned_parameters")
        most = MF_SHARE[recipe.data]
        claim = f"{name} keeps at most {LEFT} of {recipe.rank} components"
        checks.append(Check(claim, f"{one['components']}", one["components"] <= LEFT))
        checks.append(_pruning(name, one))
        claim = f"{name}, pruned: at most {most:.0%} of the parameters within {100 * NEAR:g} points of dense"
        measured = f"{share:.1%}, {_points(one['pruned_accuracy'], dense)}"
        checks.append(Check(claim, measured, share <= most and one["pruned_accuracy"] >= dense - NEAR))
    one, share = found["cp"], _share(found["cp"], "parameters")
    claim = f"cp: at most {CP_SHARE:.0%} of the parameters within {100 * CP_NEAR:g} points of dense"
    measured = f"{share:.1%}, {_points(one['test_accuracy'], dense)}"
    checks.append(Check(claim, measured, share <= CP_SHARE and one["test_accuracy"] >= dense - CP_NEAR))
    one, most = found["cp-small"], CP_LEFT[recipe.data]
    claim = f"cp-small keeps at most {most:.0%} of {recipe.cp_rank} components, within {100 * NEAR:g} points of dense"
    holds = one["components"] <= most * recipe.cp_rank and one["pruned_accuracy"] >= dense - NEAR
    checks.append(Check(claim, f"{one['components']}, {_points(one['pruned_accuracy'], dense)}", holds))
    return checks


def table(titles: Mapping[str, str], found: Found) -> Table:
    """One row a model."""
    rows = []
    for name, one in found.items():
        offered = max((len(values) for values in one["norms"].values()), default=0)
        rows.append(
            (
                name,
                titles[name],
                f"{one['test_accuracy']:.3f}",
                f"{one['parameters']:,}",
                f"{one['components']} of {offered}" if offered else "",
                f"{one['pruned_accuracy']:.3f}",
                f"{one['pruned_parameters']:,}",
                f"{one['pruned_parameters'] / found['dense']['parameters']:.1%}",
            )
        )
    columns = ("name", "first layer", "accuracy", "parameters", "components", "pruned", "parameters ", "of dense")
    note = (
        "Test accuracy before and after components were dropped whose norm is at most the tolerance times the largest, "
        "with the parameters of the first weight. HTF: components at the inner index where most are kept."
    )
    return Table("A layer and its compressed forms", columns, rows, note)


def figure(titles: Mapping[str, str], found: Found, tolerance: float) -> Figure:
    """Norms of components at the end of training; accuracy against parameters, before and after pruning."""
    drawn, axes = panels(1, 2, width=5.4)
    spectra, places = [], []
    for color, name in enumerate((*SPARSE[:3], "cp", "cp-small", "cp-penalty", "htf", "htf-penalty")):
        one = found[name]
        # Of hierarchical factorizations, the inner index where most components are kept.
        norms = max(one["norms"].values(), key=lambda s: int((s > tolerance * s.max()).sum()))
        shares = np.asarray(norms) / norms.max()
        numbers = np.arange(1, len(shares) + 1)
        visible = shares > 1e-4
        style = {"mf": "-", "cp": "--", "htf": ":"}[name.partition("-")[0]]
        spectra.append(Line(numbers[visible], shares[visible], titles[name], color, style))
        sizes = [_share(one, "parameters"), _share(one, "pruned_parameters")]
        accuracies = [one["test_accuracy"], one["pruned_accuracy"]]
        places += [
            Line(sizes, accuracies, "", color, style, width=1.0),
            Line(sizes[:1], accuracies[:1], "", color, "", "o", hollow=True),
            Line(sizes[1:], accuracies[1:], "", color, "", "o"),
        ]
    most = max(len(line.x) for line in spectra)
    spectra.append(Line([1, most], [tolerance, tolerance], "dropped below", "quiet", "--"))
    lines(axes[0, 0], spectra, "Components after training", "component", "norm / largest norm", "xy", where=None)
    for name, marker in (("dense", "s"), ("narrow", "D"), ("mf-direct", "^")):
        one = found[name]
        share = one["parameters"] / found["dense"]["parameters"]
        places.append(Line([share], [one["test_accuracy"]], titles[name], "ink", "", marker))
    title, x = "Accuracy, before (rings) and after pruning", "parameters of the layer / dense"
    lines(axes[0, 1], places, title, x, "test accuracy", "x", where="lower right")
    legend_below(drawn, axes[0, 0], columns=3)
    return drawn


def _pruning(name: str, one: Mapping[str, Any]) -> Check:
    cost = one["test_accuracy"] - one["pruned_accuracy"]
    claim = f"{name}: pruning costs at most {100 * PRUNING:g} point"
    return Check(claim, f"{one['test_accuracy']:.3f} to {one['pruned_accuracy']:.3f}", cost <= PRUNING + 1e-9)


def _share(one: Mapping[str, Any], of: str) -> float:
    return float(one[of]) / float(one["dense_parameters"])


def _points(accuracy: float, dense: float) -> str:
    return f"{accuracy:.3f} against {dense:.3f}"
