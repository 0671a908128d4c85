"""Whether the arrangement of features suits a locally connected network, said from measured levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tnrank.ranks._entanglement._report import LevelEntanglement

SMALLEST, LARGEST = 4, 64
"""Features of the nodes that count: near the root everything is saturated, and single features have no neighbors."""
_CLEAR = 1.2
"""How many times less entangled than shuffled features an arrangement is that pays off."""
_ERRORS = 2.0
"""Standard errors that a difference must exceed to be certain."""
_ROUNDING = 1e-9
"""Nats that are no difference, where the error is zero."""


def judge(levels: Sequence[LevelEntanglement], samples: int, given_tree: bool) -> tuple[bool | None, str]:
    """Whether the arrangement suits a locally connected network, and a sentence that says why.

    With the means over the levels that count: ``None`` if natural and shuffled entropy differ by at most two standard
    errors or no level counts, ``True`` if the natural one is at least 1.2 times lower, else ``False``.
    """
    named = f"{SMALLEST} to {LARGEST} features"
    counted = [level for level in levels if SMALLEST <= level.mean_features <= LARGEST]
    if not counted:
        return None, f"No judgment: the tree has no level with nodes of {named}."
    several = [level for level in counted if level.measured > 1]
    if not several:
        return None, f"No judgment: one partition into nodes of {named} says nothing about its own error."
    free = [level for level in several if not level.saturated]
    if not free:
        return None, (
            f"No judgment: all levels with nodes of {named} are saturated, within ln 2 of ln {samples}. Give more "
            "samples, or a smaller scale."
        )
    natural = sum(level.natural.entropy for level in free) / len(free)
    if natural < 1e-9:
        return None, "No judgment: the features are not entangled at all, the samples do not differ enough."
    shuffled = [level.shuffled for level in free if level.shuffled is not None]
    if len(shuffled) < len(free):
        return None, "No judgment: without twins there is nothing to compare with, pass twins=True."
    other = sum(mean.entropy for mean in shuffled) / len(free)
    # If the arrangement carried nothing, the natural one would be one more shuffle, with the error of a shuffle.
    error = math.sqrt(2 * sum(mean.error**2 for mean in shuffled)) / len(free)
    sizes = sorted({round(level.mean_features) for level in free})
    of = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    numbers = f"{natural:.2f} against {other:.2f} nats for shuffled features, nodes of {of} features"
    bound = f"two standard errors ({_digits(_ERRORS * error)})"
    better = "Another tree may be better." if given_tree else "correlation_tree(X) may find a better arrangement."
    if abs(other - natural) <= max(_ERRORS * error, _ROUNDING):
        return None, f"Undecided: {numbers}, a difference within {bound}. More samples or features may tell. {better}"
    if other >= _CLEAR * natural:
        return True, (
            f"Well arranged: {numbers}, {other / natural:.1f} times lower and a difference of more than {bound}. A "
            "locally connected network suits the data."
        )
    small = f"less than {_CLEAR:g} times lower" if natural < other else "higher, the arrangement does harm"
    return False, f"Not well arranged: {numbers}, {small}, and the difference exceeds {bound}. {better}"


def _digits(error: float) -> str:
    """An error in nats with two decimal places, or two digits where that would be 0.00."""
    return f"{error:.2f}" if error >= 0.01 or error == 0 else f"{error:.2g}"
