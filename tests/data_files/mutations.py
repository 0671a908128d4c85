"""Damage to files, drawn by a generator of fixed seed."""

from __future__ import annotations

import re

import numpy as np

_WHOLE = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
_WORDS = [
    *(b"0", b"-1", b"1e999", b"nan", b"NaN", b"Infinity", b"1_0", b"99999999999", b"9" * 40, b"9" * 5000, b"1.5", b"-"),
    *(b'"', b"'", b"{", b"}", b"[]", b"{}", b"[[1]]", b"[" * 20_000, b"(" * 5_000, b",", b";", b"#", b"null", b"true"),
    *(b"\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xd9\xa1", b"a" * 200_000),
    *(b"1L", b"|O", b">f8", b"<U4", b"True", b"<!--"),
]


def mutate(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    """``content`` with one to three kinds of damage."""
    for _ in range(int(rng.integers(1, 4))):
        kinds = (_flip, _delete, _insert, _cut, _repeat, _whole, _word, _digits)
        kind = int(rng.integers(len(kinds) + 1))
        content = kinds[kind](rng, content) if kind < len(kinds) else _splice(rng, content, others)
    return content


def _place(rng: np.random.Generator, content: bytes) -> int:
    """Anywhere; half of the time near the start, where headers are."""
    return int(rng.integers(min(len(content), 64) + 1 if rng.random() < 0.5 else len(content) + 1))


def _flip(rng: np.random.Generator, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 5)) if found else 0):
        found[min(_place(rng, content), len(found) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(found)


def _delete(rng: np.random.Generator, content: bytes) -> bytes:
    start = _place(rng, content)
    return content[:start] + content[start + int(rng.integers(1, 9)) :]


def _insert(rng: np.random.Generator, content: bytes) -> bytes:
    start = _place(rng, content)
    return content[:start] + rng.bytes(int(rng.integers(1, 9))) + content[start:]


def _cut(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _repeat(rng: np.random.Generator, content: bytes) -> bytes:
    start, end = sorted((_place(rng, content), _place(rng, content)))
    return content[:end] + content[start:end] * int(rng.integers(1, 4)) + content[end:]


def _whole(rng: np.random.Generator, content: bytes) -> bytes:
    """A whole number that headers do not expect, of 1 to 8 bytes."""
    start, size = _place(rng, content), int(2 ** rng.integers(4))
    number = _WHOLE[int(rng.integers(len(_WHOLE)))] % 256**size
    return content[:start] + number.to_bytes(size, "big" if rng.random() < 0.5 else "little") + content[start + size :]


def _word(rng: np.random.Generator, content: bytes) -> bytes:
    start = _place(rng, content)
    return content[:start] + _WORDS[int(rng.integers(len(_WORDS)))] + content[start + int(rng.integers(0, 3)) :]


def _digits(rng: np.random.Generator, content: bytes) -> bytes:
    """Another word in place of a number in digits."""
    found = list(re.finditer(rb"[0-9]+", content))
    if not found:
        return content
    number = found[int(rng.integers(len(found)))]
    return content[: number.start()] + _WORDS[int(rng.integers(len(_WORDS)))] + content[number.end() :]


def _splice(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    other = others[int(rng.integers(len(others)))]
    return content[: _place(rng, content)] + other[_place(rng, other) :]
