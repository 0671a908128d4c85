"""From index patterns to array operations: each step becomes one matrix product, product or einsum.

A negative size is that of an index whose size may vary from call to call; its magnitude is that of the example. No
shape may hold it: reshapes find it out.

The operations of a program are plain tuples in one flat tuple, so that a loop over them is cheap on NumPy,
compiles under ``torch.compile(fullgraph=True)`` and disappears under ``jax.jit``. NumPy's and torch's einsum
know 52 labels, so nothing here is passed on by label but by position.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import prod
from typing import Any

Labels = tuple[Hashable, ...]
Sizes = Any

MATMUL, MULTIPLY, MULTIPLY_SUM, EINSUM = range(4)

Operand = tuple[Any, Any, bool]
"""(axes, shape, turn): permute, reshape, swap the last two axes; ``None`` or false: nothing to be done."""


def run_pair(backend: Any, op: tuple[Any, ...], a: Any, b: Any) -> Any:
    """Run one lowered step of two operands."""
    kind, (pa, sa, ta), (pb, sb, tb), extra, shape, final = op
    if pa is not None:
        a = backend.permute(a, pa)
    if sa is not None:
        a = backend.reshape(a, sa)
    if ta:
        a = a.mT
    if pb is not None:
        b = backend.permute(b, pb)
    if sb is not None:
        b = backend.reshape(b, sb)
    if tb:
        b = b.mT
    if kind == MATMUL:
        c = backend.matmul(a, b, pa is not None or ta is not None)
    elif kind == MULTIPLY:
        c = a * b
    else:
        c = backend.multiply_sum(a, b, extra)
    if shape is not None:
        c = backend.reshape(c, shape)
    if final is not None:
        c = backend.permute(c, final)
    return c


def lower_pair(a: Labels, b: Labels, out: Sequence[Hashable], sizes: Sizes) -> tuple[tuple[Any, ...], Labels]:
    """The operation that contracts labels ``a`` with ``b``, and the order of the labels in its result."""
    kept, in_a, in_b = set(out), set(a), set(b)
    batch = [x for x in a if x in in_b and x in kept]
    summed = [x for x in a if x in in_b and x not in kept]
    left = [x for x in a if x not in in_b]
    right = [x for x in b if x not in in_a]
    if not summed:
        return _multiply(a, b, batch, left, right, sizes)
    if batch and not (left and right):
        return _multiply_sum(a, b, batch, summed, left, right, sizes)
    if len(b) == len(summed) + len(batch) + len(right) and _elements(b, sizes) > _elements(a, sizes):
        # The order of the summed labels follows the larger operand, which then needs no copy.
        summed = [x for x in b if x in set(summed)]
    operand_a = _as_matrix(a, batch, left, summed, sizes)
    operand_b = _as_matrix(b, batch, summed, right, sizes)
    natural = (*batch, *left, *right)
    groups = [group for group in (batch, left, right) if group]
    flat = tuple(_side(group, sizes) for group in groups)
    shape = _shape(natural, sizes) if any(len(group) > 1 for group in groups) else None
    return (MATMUL, operand_a, operand_b, flat, shape, None), natural


def _as_matrix(have: Labels, batch: list[Any], rows: list[Any], columns: list[Any], sizes: Sizes) -> Operand:
    """Bring ``have`` to (batch, rows, columns), each one axis (an empty group: none); transposing is free."""
    groups = [group for group in (batch, rows, columns) if group]
    wanted = tuple(x for group in groups for x in group)
    turned = (*batch, *columns, *rows)
    simple = all(len(group) == 1 for group in groups)
    # A copy that keeps the last axis last moves whole rows; one that does not takes several times as long.
    turn = bool(rows) and bool(columns) and (have == turned or (have != wanted and have[-1] == turned[-1]))
    if turn:
        groups[-2:], wanted = (columns, rows), turned
    axes = None if have == wanted else tuple(have.index(x) for x in wanted)
    shape = None if simple else tuple(_side(group, sizes) for group in groups)
    return axes, shape, turn


def _multiply(
    a: Labels, b: Labels, batch: list[Any], left: list[Any], right: list[Any], sizes: Sizes
) -> tuple[tuple[Any, ...], Labels]:
    if not left:
        natural: Labels = b
    elif not right:
        natural = a
    else:
        # Shared labels that lead in both operands go on leading: neither operand is turned.
        count = 0
        while count < len(batch) and a[count] == b[count]:
            count += 1
        natural = (*batch[:count], *left, *right, *batch[count:])
    groups = _groups(natural, a, b, frozenset())
    shape = _shape(natural, sizes) if len(groups) < len(natural) else None
    return (MULTIPLY, _align(a, groups, sizes), _align(b, groups, sizes), None, shape, None), natural


def _multiply_sum(
    a: Labels, b: Labels, batch: list[Any], summed: list[Any], left: list[Any], right: list[Any], sizes: Sizes
) -> tuple[tuple[Any, ...], Labels]:
    every = b if not left else a
    gone = frozenset(summed)
    natural = tuple(x for x in every if x not in gone)
    groups = _groups(every, a, b, gone)
    axes = tuple(k for k, group in enumerate(groups) if group[0] in gone)
    shape = _shape(natural, sizes) if len(groups) < len(every) else None
    return (MULTIPLY_SUM, _align(a, groups, sizes), _align(b, groups, sizes), axes, shape, None), natural


def _groups(every: Labels, a: Labels, b: Labels, gone: frozenset[Any]) -> list[list[Any]]:
    """Runs of neighboring labels on the same operands and with the same fate: each becomes one axis."""
    in_a, in_b = set(a), set(b)
    groups: list[list[Any]] = []
    last: Any = None
    for label in every:
        form = (label in in_a, label in in_b, label in gone)
        if form == last:
            groups[-1].append(label)
        else:
            groups.append([label])
        last = form
    return groups


def _align(have: Labels, groups: list[list[Any]], sizes: Sizes) -> Operand:
    """Bring ``have`` to one axis a group, of size 1 where it has none of the group."""
    present = set(have)
    wanted = tuple(x for group in groups for x in group if x in present)
    axes = None if wanted == have else tuple(have.index(x) for x in wanted)
    shape = tuple(_side(group, sizes) if group[0] in present else 1 for group in groups)
    return axes, None if shape == _shape(wanted, sizes) else shape, False


def _side(group: Sequence[Hashable], sizes: Sizes) -> int:
    """The length of the axis that a group of labels becomes; -1 if it varies."""
    length: int = prod(sizes[x] for x in group)
    return length if length >= 0 else -1


def _shape(labels: Sequence[Hashable], sizes: Sizes) -> tuple[int, ...]:
    return tuple(_side((x,), sizes) for x in labels)


def _elements(labels: Sequence[Hashable], sizes: Sizes) -> int:
    count: int = prod(sizes[x] for x in labels)
    return abs(count)


def with_final(op: tuple[Any, ...], natural: Labels, wanted: Sequence[Hashable]) -> tuple[Any, ...]:
    """``op`` with a permutation to the label order ``wanted`` at its end."""
    if natural == tuple(wanted):
        return op
    return (*op[:5], tuple(natural.index(x) for x in wanted))


def without_reshapes(pairs: Sequence[tuple[int, int, Any]], count: int) -> list[tuple[int, int, Any]]:
    """The steps ``(a, b, op)`` without reshapes of results that the next step would reshape again at once.

    Positions from ``count`` on are results of steps, in order. What the steps leave is the same, but for its
    shape.
    """
    ops = [list(op) for _, _, op in pairs]
    for a, b, op in zip([p[0] for p in pairs], [p[1] for p in pairs], ops, strict=True):
        for which, position in ((1, a), (2, b)):
            axes, shape, turn = op[which]
            made = ops[position - count] if position >= count else None
            if made and made[0] == MATMUL and made[5] is None and axes is None and shape is not None:
                made[4] = None
                op[which] = axes, None if made[3] == shape else shape, turn
    return [(a, b, tuple(op)) for (a, b, _), op in zip(pairs, ops, strict=True)]


Unary = tuple[Any, Any, Any]
"""(equation, shape, axes): an einsum of one operand, a reshape that drops axes of size 1, a permutation."""


def lower_unary(have: Labels, out: Sequence[Hashable], sizes: Sizes) -> Unary | None:
    """The operation that takes diagonals of repeated labels, sums what is not in ``out``, orders the rest."""
    wanted = tuple(out)
    if have == wanted:
        return None
    kept = set(wanted)
    distinct = tuple(dict.fromkeys(have))
    if len(distinct) == len(have):
        left = tuple(x for x in have if x in kept)
        if all(sizes[x] == 1 for x in have if x not in kept):
            shape = None if left == have else _shape(left, sizes)
            axes = None if left == wanted else tuple(left.index(x) for x in wanted)
            return None, shape, axes
    letters = {x: chr(97 + k) if k < 26 else chr(65 + k - 26) for k, x in enumerate(distinct)}
    equation = "".join(letters[x] for x in have) + "->" + "".join(letters[x] for x in wanted)
    return equation, None, None


def run_unary(backend: Any, op: Unary, a: Any) -> Any:
    """Run one lowered step of one operand."""
    equation, shape, axes = op
    if equation is not None:
        return backend.einsum(equation, a)
    if shape is not None:
        a = backend.reshape(a, shape)
    if axes is not None:
        a = backend.permute(a, axes)
    return a


def spread(backend: Any, have: Labels, reduced: Labels, cotangent: Any, sizes: Sizes) -> Any:
    """The adjoint of the unary step from ``have`` to ``reduced``: broadcast summed labels, fill diagonals."""
    xp = backend.xp
    labels = list(dict.fromkeys(have))
    order = [x for x in labels if x in set(reduced)]
    array = backend.permute(cotangent, tuple(reduced.index(x) for x in order)) if order != list(reduced) else cotangent
    array = backend.reshape(array, tuple(_side((x,), sizes) if x in order else 1 for x in labels))
    varying = {x: size for x, size in zip(labels, array.shape, strict=True) if sizes[x] < 0}
    array = xp.broadcast_to(array, tuple(varying.get(x, sizes[x]) for x in labels))
    current: list[Hashable] = list(labels)
    seen: set[Hashable] = set()
    for label in have:
        if label in seen:
            eye = xp.eye(sizes[label], dtype=array.dtype)
            at = current.index(label)
            shape = [1] * (len(current) + 1)
            shape[at] = shape[-1] = sizes[label]
            array = array[..., None] * backend.reshape(eye, tuple(shape))
            current.append(("again", len(current), label))
        seen.add(label)
    # Copies of a label stand at the end; bring every axis to its place in ``have``.
    copies: dict[Hashable, list[int]] = {}
    for position, label in enumerate(current):
        name = label[2] if isinstance(label, tuple) and len(label) == 3 and label[0] == "again" else label
        copies.setdefault(name, []).append(position)
    axes = tuple(copies[label].pop(0) for label in have)
    return backend.permute(array, axes) if axes != tuple(range(len(axes))) else array
