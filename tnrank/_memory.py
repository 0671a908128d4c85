"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

_ELSEWHERE = 4 * 2**30
"""Bytes, where the operating system does not say what is available."""


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


def size_text(size: int) -> str:
    """A number of bytes in words, such as ``1.5 GiB`` or ``20 MiB``; of any length."""
    for unit, scale in (("bytes", 1), ("KiB", 2**10), ("MiB", 2**20)):
        if size < 1000 * scale:
            return f"{size / scale:.3g} {unit}"
    if size < 2**60:
        return f"{size / 2**30:,.3g} GiB" if size < 1000 * 2**30 else f"{size / 2**30:,.0f} GiB"
    # Python refuses to print integers of thousands of digits.
    return f"10^{int((size >> 30).bit_length() * 0.30103)} GiB"


def check_fits(numbers: int, what: str, fix: str) -> None:
    """Refuse what needs more memory than there is, before it is begun.

    Raises:
        ValueError: if ``numbers`` of 8 bytes each are more than is available.
    """
    if 8 * numbers > (free := available_memory()):
        raise ValueError(f"{what} take {size_text(8 * numbers)}, and {size_text(free)} of memory are free: {fix}")
