"""The exact rank of m x n x 2 tensors, from the Kronecker form of the pencil over the rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tnrank.ranks._certified._exact import Matrix, row_reduce, to_fractions

Polynomial = list[Fraction]
"""Coefficients, the constant first, without zeros at the end; ``[]`` is zero."""


def pencil_rank(tensor: Matrix, field: str) -> int:
    """Rank over the field of a concise integer tensor of shape ``(m, n, 2)``.

    With normal rank r the minimal indices and the regular part add up to ``m + n - r``; each invariant polynomial
    of the regular part that does not split into distinct linear factors over the field adds one. With singular
    blocks besides, the count over the complex numbers is taken: over the reals a lower bound.

    Source: Ja'Ja' 1979, *Optimal evaluation of pairs of bilinear forms*; Buergisser, Clausen & Shokrollahi 1997,
        Thm. 19.4.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._pencil import pencil_rank
        >>> complex_product = np.array([[[1, 0], [0, 1]], [[0, 1], [-1, 0]]])
        >>> pencil_rank(complex_product, "real"), pencil_rank(complex_product, "complex")
        (3, 2)
    """
    m, n = int(tensor.shape[0]), int(tensor.shape[1])
    tensor = to_fractions(tensor)
    first, second = tensor[..., 0], tensor[..., 1]
    for shift in range(m + n + 1):  # one of these is no eigenvalue: a regular part has at most min(m, n)
        lead = second + shift * first
        polynomials = [[_trim([first[i, j], lead[i, j]]) for j in range(n)] for i in range(m)]
        invariants = smith_invariants(polynomials)
        if len(row_reduce(lead)[1]) == len(invariants):
            break  # no infinite eigenvalue
    r = len(invariants)
    over = field if m == n == r else "complex"
    return m + n - r + sum(len(p) > 1 and not _splits(p, over) for p in invariants)


def smith_invariants(rows: list[list[Polynomial]]) -> list[Polynomial]:
    """The invariant polynomials of a matrix of polynomials, each dividing the next; their number is its rank."""
    a, found = [list(row) for row in rows], list[Polynomial]()
    m, n = len(a), len(a[0])
    for t in range(min(m, n)):
        while True:
            entries = [(len(a[i][j]), i, j) for i in range(t, m) for j in range(t, n) if a[i][j]]
            if not entries:
                return found
            _, i, j = min(entries)
            a[t], a[i] = a[i], a[t]
            for row in a:
                row[t], row[j] = row[j], row[t]
            pivot = a[t][t]
            for i in range(t + 1, m):
                q, _ = _divide(a[i][t], pivot)
                if q:
                    a[i] = [_subtract(x, _multiply(q, y)) for x, y in zip(a[i], a[t], strict=True)]
            for j in range(t + 1, n):
                q, _ = _divide(a[t][j], pivot)
                if q:
                    for row in a:
                        row[j] = _subtract(row[j], _multiply(q, row[t]))
            if any(a[i][t] for i in range(t + 1, m)) or any(a[t][j] for j in range(t + 1, n)):
                continue  # a remainder of lower degree is the next pivot
            rest = next((i for i in range(t + 1, m) for x in a[i][t + 1 :] if _divide(x, pivot)[1]), None)
            if rest is None:
                found.append([x / pivot[-1] for x in pivot])
                break
            a[t] = [_subtract(x, [-c for c in y]) for x, y in zip(a[t], a[rest], strict=True)]
    return found


def _splits(p: Polynomial, field: str) -> bool:
    """Whether p is a product of distinct linear factors: Sturm's sequence counts distinct real roots."""
    sequence = [p, _trim([k * c for k, c in enumerate(p)][1:])]
    while sequence[-1]:
        sequence.append([-c for c in _divide(sequence[-2], sequence[-1])[1]])
    sequence.pop()
    if len(sequence[-1]) > 1:
        return False  # a common factor of p and its derivative: a repeated root
    if field == "complex":
        return True
    right = [q[-1] > 0 for q in sequence]
    left = [(q[-1] > 0) == (len(q) % 2 == 1) for q in sequence]
    return bool(np.sum(np.diff(left)) - np.sum(np.diff(right)) == len(p) - 1)


def _trim(p: Polynomial) -> Polynomial:
    while p and p[-1] == 0:
        p = p[:-1]
    return p


def _subtract(p: Polynomial, q: Polynomial) -> Polynomial:
    size = max(len(p), len(q))
    zero = Fraction(0)
    return _trim([(p[k] if k < len(p) else zero) - (q[k] if k < len(q) else zero) for k in range(size)])


def _multiply(p: Polynomial, q: Polynomial) -> Polynomial:
    if not p or not q:
        return []
    found = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, x in enumerate(p):
        for j, y in enumerate(q):
            found[i + j] += x * y
    return found


def _divide(p: Polynomial, q: Polynomial) -> tuple[Polynomial, Polynomial]:
    quotient, rest = [Fraction(0)] * max(0, len(p) - len(q) + 1), p
    while len(rest) >= len(q):
        shift, factor = len(rest) - len(q), rest[-1] / q[-1]
        quotient[shift] = factor
        rest = _trim([c - (factor * q[k - shift] if k >= shift else 0) for k, c in enumerate(rest)])
    return _trim(quotient), rest
