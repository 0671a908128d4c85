"""How much memory a dense tensor may take."""

from __future__ import annotations

from math import prod

from tnrank._memory import available_memory as available_memory
from tnrank.network._slicing import parse_limit


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


def _gib(size: int) -> str:
    gib = size / 2**30 if size < 2**1000 else float("inf")
    if gib < 1e7:
        return f"{gib:,.3g} GiB" if gib < 1000 else f"{gib:,.0f} GiB"
    digits = len(str(size // 2**30)) - 1
    return f"10^{digits} GiB"
