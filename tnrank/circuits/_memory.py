"""How much memory a dense tensor may take."""

from __future__ import annotations

from math import prod
from pathlib import Path

from tnrank.network._slicing import parse_limit

_ELSEWHERE = 4 * 2**30
"""Bytes, where the operating system does not say what is available."""


def check_size(shape: tuple[int, ...], dtype: str, memory_limit: int | str | None, what: str, fix: str) -> None:
    """Refuse a dense tensor before it is allocated.

    ``memory_limit`` counts elements, or is a string of bytes; ``None`` is half of the memory that is available, the
    other half being for the network and for what measures the tensor.

    Raises:
        ValueError: with the size in GiB and ``fix``, the way out.
    """
    size = {"float16": 2, "bfloat16": 2, "float32": 4, "complex128": 16}.get(dtype, 8)
    bound = available_memory() // 2 // size if memory_limit is None else parse_limit(memory_limit, dtype)
    assert bound is not None
    if prod(shape) > bound:
        listed = str(shape) if len(shape) <= 8 else f"({', '.join(map(str, shape[:3]))}, .., {shape[-1]})"
        given = "half of what is available" if memory_limit is None else f"memory_limit={memory_limit!r}"
        raise ValueError(
            f"{what} of order {len(shape)} and shape {listed} takes {_gib(prod(shape) * size)} in {dtype}, more than "
            f"the {_gib(bound * size)} of {given}: {fix}"
        )


def available_memory() -> int:
    """Bytes that this process may still take."""
    found = [_ELSEWHERE]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")] or found
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            used = int((group / "memory.current").read_text())
            # Cached files count as used, and make room when asked to.
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            found.append(int(most) - used + int(stat.get("file", 0)))
    except (OSError, ValueError, IndexError):
        pass
    return max(min(found), 2**26)


def _gib(size: int) -> str:
    gib = size / 2**30 if size < 2**1000 else float("inf")
    if gib < 1e7:
        return f"{gib:,.3g} GiB" if gib < 1000 else f"{gib:,.0f} GiB"
    digits = len(str(size // 2**30)) - 1
    return f"10^{digits} GiB"
