"""What adapters are claimed to find, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments.kit import Check, Table, told
from tnrank.plots.painters import Figure, Line, legend_below, lines, panels

if TYPE_CHECKING:
    from tnrank.experiments.recipes.adapter_rank import AdapterRank

Found = Mapping[str, Mapping[str, Any]]

RIGHT, UNSEEN, USED, PRUNING = 7 / 8, 1 / 5, 1 / 3, 0.01


def claims(recipe: AdapterRank, planted: Found, tuned: Found) -> list[Check]:
    """Rank and error of planted changes; components and pruning in fine-tuning."""
    needed = int(np.ceil(RIGHT * recipe.layers))
    lora = min(float(np.median(planted[f"lora-{name}"]["unseen_error"])) for name in ("adam", "group-rmsprop"))
    checks = []
    for optimizer in ("group-rmsprop", "adam"):
        one = planted[f"small3-{optimizer}"]
        right = int((np.rint(one["effective_rank"]) == recipe.planted).sum())
        claim = f"small3-{optimizer}: effective rank {recipe.planted}, rounded, in {needed} of {recipe.layers} layers"
        checks.append(Check(claim, f"{right}: {told(one['effective_rank'], '.2f')}", right >= needed))
    for name in ("small2-group-rmsprop", "small3-group-rmsprop", "small3-adam"):
        error = float(np.median(planted[name]["unseen_error"]))
        claim = f"{name}: the error on unseen entries is at most {UNSEEN:g} of that of LoRA's start"
        checks.append(Check(claim, f"{error:.3f} against {lora:.3f}", error <= UNSEEN * lora))
    one, most = tuned["small2"], int(USED * recipe.offered)
    claim = f"fine-tuning, small2: at most {most} of {recipe.offered} components are used in each layer"
    checks.append(Check(claim, told(one["components"]), max(one["components"]) <= most))
    cost = one["test_accuracy"] - one["pruned_accuracy"]
    claim = f"fine-tuning, small2: pruning costs at most {100 * PRUNING:g} point"
    measured = f"{one['test_accuracy']:.3f} to {one['pruned_accuracy']:.3f}"
    checks.append(Check(claim, measured, cost <= PRUNING + 1e-9))
    return checks


def tables(recipe: AdapterRank, planted: Found, tuned: Found) -> list[Table]:
    """Planted changes, and fine-tuning."""
    rows = []
    for name, adapter in recipe.adapters().items():
        one = planted[name]
        ranks, counts = one["effective_rank"], one["components"]
        right = int((np.rint(ranks) == recipe.planted).sum())
        rows.append(
            (
                name,
                adapter.title,
                f"{np.median(ranks):.2f}  ({ranks.min():.2f} to {ranks.max():.2f})",
                f"{counts.min():g} to {counts.max():g}",
                f"{right} of {recipe.layers}",
                f"{np.median(one['unseen_error']):.3f}",
                f"{one['loss']:.0e}",
            )
        )
    columns = ("name", "start, depth, optimizer", "effective rank", "components", "right", "unseen error", "loss")
    note = (
        f"{recipe.layers} layers of {recipe.size} x {recipe.size}, changes of rank {recipe.planted}, "
        f"{recipe.seen:.0%} of the entries seen, rank {recipe.offered} offered. Medians over the layers; components "
        f"are above {recipe.tolerance:g} of the largest; right: layers whose effective rank rounds to {recipe.planted}."
    )
    known = {"before": "not fine-tuned", "whole": "all weights trained"}
    known |= {name: adapter.title for name, adapter in recipe.tunings().items()}
    fine = []
    for name, one in tuned.items():
        pruned = f"{one['pruned_accuracy']:.3f}" if "components" in one else ""
        fine.append(
            (name, known[name], told(one.get("components", ()), none=""), f"{one['test_accuracy']:.3f}", pruned)
        )
    title = "Fine-tuned " + {"turned-digits": "from digits to turned digits"}.get(
        recipe.target, f"from MNIST to {recipe.target}"
    )
    of_tuned = f"Two layers with adapters of rank {recipe.offered}, Adam; all else is frozen."
    return [
        Table("Planted changes", columns, rows, note),
        Table(title, ("name", "start", "components", "accuracy", "pruned"), fine, of_tuned),
    ]


def figure(recipe: AdapterRank, planted: Found, tuned: Found) -> Figure:
    """Singular values of planted and of fine-tuned changes; effective ranks during training."""
    drawn, axes = panels(1, 3, width=4.6)
    spectra, ranks, tunings = [], [], []
    colors = {kind: k for k, kind in enumerate(("lora", "scaled", "small2", "small3"))}
    for name, adapter in recipe.adapters().items():
        one, (kind, _, optimizer) = planted[name], name.partition("-")
        style = "--" if optimizer == "adam" else "-"
        shares = np.median(one["spectra"] / one["spectra"][:, :1], axis=0)
        numbers = np.arange(1, len(shares) + 1)
        spectra.append(Line(numbers, np.maximum(shares, 1e-9), adapter.title, colors[kind], style))
        # At the start LoRA's change is zero, and that of others random.
        middle = np.median(one["effective_ranks"], axis=1)[1:]
        ranks.append(Line(one["steps"][1:] / one["steps"][-1], middle, "", colors[kind], style))
    for name, adapter in recipe.tunings().items():
        for k, values in enumerate(tuned[name]["spectra"]):
            shares = values[: recipe.offered] / values[0]
            drawn_at = np.arange(1, len(shares) + 1), np.maximum(shares, 1e-9)
            tunings.append(Line(*drawn_at, "" if k else adapter.title, colors[name], ("-", ":")[k]))
    level = [recipe.tolerance, recipe.tolerance]
    spectra.append(Line([1, recipe.size], level, "counted above", "quiet", ":"))
    tunings.append(Line([1, recipe.offered], level, "", "quiet", ":"))
    spectra.append(Line([], [], "planted rank", "ink", ":"))
    ranks.append(Line([0, 1], [recipe.planted, recipe.planted], "", "ink", ":"))
    size = "singular value / largest"
    lines(axes[0, 0], spectra, "Planted changes, learned", "component", size, "y", where=None)
    lines(axes[0, 1], ranks, "Effective ranks, planted changes", "share of the steps", "effective rank", where=None)
    lines(axes[0, 2], tunings, "Fine-tuned changes (dotted: second layer)", "component", size, "y", where="upper right")
    for panel in (axes[0, 0], axes[0, 2]):
        panel.set_ylim(1e-4, 1.5)
    axes[0, 1].set_ylim(0, None)
    legend_below(drawn, axes[0, 0], columns=3)
    return drawn


def without_spectra(one: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary holds of one adapter."""
    return {key: value for key, value in one.items() if key not in ("spectra", "steps", "effective_ranks")}
