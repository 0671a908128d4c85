"""Counts of operations and elements as they are printed; they may have thousands of digits."""

from __future__ import annotations

_LONG = 10**15


def exact(number: int) -> str:
    """With separators; a long one as :func:`rounded` does."""
    return f"{number:,}" if number < _LONG else rounded(number)


def rounded(number: int) -> str:
    """Three digits; beyond the range of floating-point numbers the power of ten alone."""
    return f"{number:.3g}" if number.bit_length() < 1000 else f"1e{int(number.bit_length() * 0.30103)}"


def ratio(larger: int, smaller: int) -> str:
    """``larger / smaller`` in three digits."""
    shift = max(0, max(larger.bit_length(), smaller.bit_length()) - 1000)
    if shift and larger.bit_length() - smaller.bit_length() > 900:
        return rounded(larger // smaller)
    return f"{(larger >> shift) / max(smaller >> shift, 1):,.3g}"
