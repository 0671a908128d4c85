"""The effective rank of a matrix of which the leading singular values, the norm and one more number are known.

The others are taken for ``A (1 - u)^a`` with u evenly between 0 and 1. The sum of their squares is what the norm
leaves, which is exact; the sum of their fourth powers is estimated by random vectors. Both together give A and a, for
bulks of random matrices as for spectra that decay fast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_ROUNDING = 1e-6
"""Share of the squared norm below which what is left of it is rounding in single precision."""


def effective_rank(leading: np.ndarray[Any, Any], norm: float, fourth: float, count: int) -> float:
    """The effective rank of ``count`` singular values.

    Args:
        leading: the largest of them, descending.
        norm: root of the sum of the squares of all.
        fourth: mean of the fourth powers of the others.
        count: how many there are in all.
    """
    rest = count - len(leading)
    s = leading[leading > 0]
    total, logs = float(s.sum()), float((s * np.log(s)).sum())
    left = norm**2 - math.fsum((leading**2).tolist())
    if rest > 0 and left > _ROUNDING * norm**2:
        top, exponent = _power_law(left / rest, fourth, float(leading[-1]))
        total += rest * top / (exponent + 1)
        logs += rest * top * (math.log(top) / (exponent + 1) - exponent / (exponent + 1) ** 2)
    return math.exp(math.log(total) - logs / total) if total > 0 else 0.0


def _power_law(second: float, fourth: float, largest: float) -> tuple[float, float]:
    """A and a of values with these mean squares and fourth powers, none above ``largest``."""
    excess = max(fourth / second**2 - 1, 0.0)
    exponent = (excess + math.sqrt(excess**2 + excess)) / 2
    if second * (2 * exponent + 1) > largest**2 > 0:
        exponent = max((largest**2 / second - 1) / 2, 0.0)
    return math.sqrt(second * (2 * exponent + 1)), exponent
