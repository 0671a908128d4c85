"""A lowered path: run it forwards, or forwards and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tnrank._backend import Backend
from tnrank.network import _lower
from tnrank.network._path import Pair


class Program:
    """The operations of a path for one set of index sizes.

    Positions below ``count`` are the given arrays; each step appends one. Index numbers stand for labels.
    ``pairs`` leave every result with one axis a label; ``forward`` are the same steps without needless
    reshapes.
    """

    def __init__(
        self,
        given: Sequence[tuple[int, ...]],
        reduced: Sequence[tuple[int, ...]],
        steps: Sequence[Pair],
        output: tuple[int, ...],
        sizes: Mapping[int, int] | Sequence[int],
    ) -> None:
        self.given, self.reduced, self.output, self.sizes = given, reduced, output, sizes
        self.count = len(given)
        place = {label: k for k, label in enumerate(output)}
        far = len(output)
        self.unary = []
        have: list[tuple[Any, ...]] = []
        for position, (labels, kept) in enumerate(zip(given, reduced, strict=True)):
            wanted = output if not steps else kept
            op = _lower.lower_unary(labels, wanted, sizes)
            if op is not None:
                self.unary.append((position, op))
            have.append(wanted if op is not None else labels)
        self.pairs: list[tuple[int, int, tuple[Any, ...]]] = []
        users = {position: step for step in steps for position in (step.first, step.second)}
        for number, step in enumerate(steps):
            a, b = step.first, step.second
            # The operand with the first output label of its own goes left, so that results need no permutation later.
            first_a, first_b = (
                min((place.get(x, far) for x in have[this] if x not in have[other]), default=far)
                for this, other in ((a, b), (b, a))
            )
            if first_b < first_a:
                a, b = b, a
            op, natural = _lower.lower_pair(have[a], have[b], step.out, sizes)
            if number == len(steps) - 1:
                op, natural = _lower.with_final(op, natural, output), output
            elif (user := users.get(self.count + number)) and not _ready(natural, user):
                turned, other = _lower.lower_pair(have[b], have[a], step.out, sizes)
                if _ready(other, user):
                    a, b, op, natural = b, a, turned, other
            self.pairs.append((a, b, op))
            have.append(natural)
        self.have = have
        self.forward = _lower.without_reshapes(self.pairs, self.count)
        self._back: dict[frozenset[int], list[Any]] = {}

    def run(self, backend: Backend, arrays: Sequence[Any]) -> Any:
        """The contraction of ``arrays``; each intermediate is dropped after its one use."""
        values = self.reduce(backend, arrays)
        run_pair = _lower.run_pair
        for a, b, op in self.forward:
            values.append(run_pair(backend, op, values[a], values[b]))
            values[a] = values[b] = None
        return values[-1]

    def reduce(self, backend: Backend, arrays: Sequence[Any]) -> list[Any]:
        """The given arrays after their diagonals and private sums."""
        values = list(arrays)
        for position, op in self.unary:
            values[position] = _lower.run_unary(backend, op, values[position])
        return values

    def run_and_keep(self, backend: Backend, arrays: Sequence[Any]) -> list[Any]:
        """All values of the forward run, for :meth:`pull_back`; the last is the result."""
        values = self.reduce(backend, arrays)
        run_pair = _lower.run_pair
        for a, b, op in self.pairs:
            values.append(run_pair(backend, op, values[a], values[b]))
        return values

    def pull_back(
        self, backend: Backend, values: Sequence[Any], cotangent: Any, constant: frozenset[int] = frozenset()
    ) -> list[Any]:
        """Vector-Jacobian products with the given arrays; one sweep from the result to the arrays.

        Positions in ``constant`` are left out, and what leads to them alone: their entries are ``None``.
        """
        back = self._back.get(constant)
        if back is None:
            back = self._back[constant] = self._lower_back(constant)
        run_pair = _lower.run_pair
        gradients: list[Any] = [None] * len(values)
        gradients[-1] = cotangent
        for out, target, first, second, op in back:
            a = gradients[out] if first == out else values[first]
            b = gradients[out] if second == out else values[second]
            gradients[target] = run_pair(backend, op, a, b)
        for position, _ in self.unary:
            if position in constant:
                continue
            reduced = self.output if not self.pairs else self.reduced[position]
            gradients[position] = _lower.spread(backend, self.given[position], reduced, gradients[position], self.sizes)
        return gradients[: self.count]

    def _lower_back(self, constant: frozenset[int]) -> list[Any]:
        fixed = [position in constant for position in range(self.count)]
        for a, b, _ in self.pairs:
            fixed.append(fixed[a] and fixed[b])
        back = []
        for number in range(len(self.pairs) - 1, -1, -1):
            a, b, _ = self.pairs[number]
            out = self.count + number
            for target, other in ((a, b), (b, a)):
                if not fixed[target]:
                    # The operand with the first of the target's labels to itself goes left: no transpose at the end.
                    first, second, wanted = out, other, self.have[target]
                    leading = next((x for x in wanted if (x in self.have[out]) != (x in self.have[other])), None)
                    if leading is not None and leading not in self.have[out]:
                        first, second = other, out
                    op, natural = _lower.lower_pair(self.have[first], self.have[second], wanted, self.sizes)
                    back.append((out, target, first, second, _lower.with_final(op, natural, wanted)))
        return back


def _ready(have: tuple[Any, ...], step: Pair) -> bool:
    """Whether an operand with the labels ``have`` goes into the matrix product of ``step`` without a copy."""
    shared = set(step.left).intersection(step.right)
    batch = shared.intersection(step.out)
    rest, summed = have[len(batch) :], shared - batch
    if not summed:
        return True
    count = len(summed)
    return batch.issuperset(have[: len(batch)]) and (
        summed.issuperset(rest[:count]) or summed.issuperset(rest[len(rest) - count :])
    )
