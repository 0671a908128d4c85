"""Whether the arrangement of features suits a locally connected network, said from measured levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tnrank.ranks._entanglement._report import LevelEntanglement

SMALLEST, LARGEST = 4, 64
"""Features of the nodes that count: near the root everything is saturated, and single features have no neighbors."""
_CLEAR, _SLIGHT = 1.2, 1.05
"""How many times less entangled than shuffled features an arrangement is that clearly, or only slightly, pays off."""
_ERRORS = 2.0
"""Standard errors that a difference must have to be one."""
_NOISE = 0.95
"""Share of the entropy of uniform data from which on data that are no better than shuffled ones count as noise."""


def judge(levels: Sequence[LevelEntanglement], samples: int, given_tree: bool) -> tuple[bool | None, str]:
    """``True`` if the arrangement suits, ``False`` if not, ``None`` if that is open; and a sentence."""
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
    shuffled, uniform = [level.shuffled for level in free], [level.uniform for level in free]
    if None in shuffled or None in uniform:
        return None, "No judgment: without twins there is nothing to compare with, pass twins=True."
    other = sum(x.entropy for x in shuffled if x) / len(free)
    noise = sum(x.entropy for x in uniform if x) / len(free)
    # If the arrangement carried nothing, the natural one would be one more shuffle, with the error of a shuffle.
    error = math.sqrt(2 * sum(x.error**2 for x in shuffled if x)) / len(free)
    apart = (other - natural) / error if error > 0 else math.copysign(math.inf, other - natural)
    ratio = other / natural
    sizes = sorted({round(level.mean_features) for level in free})
    of = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    numbers = f"{natural:.2f} against {other:.2f} nats, nodes of {of} features"
    better = "another tree" if given_tree else "correlation_tree(X)"
    if ratio >= _CLEAR and apart >= _ERRORS:
        return True, (
            f"Neighboring features are {ratio:.1f} times less entangled with the rest than shuffled ones ({numbers}): "
            "a locally connected network suits the data."
        )
    if ratio >= _SLIGHT and apart >= _ERRORS:
        return None, (
            f"Neighboring features are slightly less entangled with the rest than shuffled ones ({numbers}): the "
            f"arrangement carries a little; {better} may find a better one."
        )
    if ratio <= 1 / _SLIGHT and apart <= -_ERRORS:
        return False, (
            f"Neighboring features are more strongly entangled with the rest than shuffled ones ({numbers}): the "
            f"arrangement does harm; {better} may find a better one."
        )
    if _NOISE * noise <= natural <= noise / _NOISE:
        return False, (
            f"Neighboring features are as strongly entangled with the rest as uniform noise ({natural:.2f} against "
            f"{noise:.2f} nats): a locally connected network does not suit the data."
        )
    return False, (
        f"Neighboring features are about as strongly entangled with the rest as shuffled ones ({numbers}, a difference "
        f"of less than 5 % or two standard errors): the arrangement carries nothing that shows; {better} may find a "
        "better one."
    )
