"""Networks from and to einsum equations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tnrank._check import instance, sequence
from tnrank._typing import Label
from tnrank.network._labels import listed
from tnrank.network._network import Network


def from_einsum(equation: str, names: Sequence[str] | None) -> Network:
    """See :meth:`tnrank.Network.from_einsum`."""
    instance(equation, "equation", str, "a string such as 'ir,jr->ij'")
    if names is not None and not isinstance(names, str):  # a string is one name a letter
        names = sequence(names, "names", "tensor names, such as ['A', 'B']")
    written = "".join(equation.split())
    left, arrow, right = written.partition("->")
    odd = sorted({c for c in left.replace(",", "") + right if c.isdigit() or c in ",.->"})
    if odd:
        what = "an ellipsis: name every axis" if "." in odd else f"{odd[0]!r}: labels are letters"
        raise ValueError(f"the equation {equation!r} has {what}, such as 'ir,jr->ij'")
    terms = left.split(",")
    titles = [str(k) for k in range(len(terms))] if names is None else list(names)
    if len(titles) != len(terms) or len(set(map(str, titles))) != len(titles):
        raise ValueError(
            f"the equation {equation!r} has {len(terms)} tensors, got the names {listed(titles)}: "
            "needed as many, each once"
        )
    once = Counter(left.replace(",", ""))
    # Without an arrow, einsum sorts the labels that occur once.
    output = tuple(right) if arrow else tuple(sorted(label for label, times in once.items() if times == 1))
    return Network({name: tuple(term) for name, term in zip(titles, terms, strict=True)}, output)


def to_einsum(network: Network) -> str:
    """See :meth:`tnrank.Network.to_einsum`."""
    if not network.tensors:
        raise ValueError("an empty network has no einsum equation: it is the scalar 1")
    letters: dict[Label, str] = {x: x for x in network.indices if isinstance(x, str) and len(x) == 1 and x.isalpha()}
    fresh = _symbols(set(letters.values()))
    for label in network.indices:
        if label not in letters:
            letters[label] = next(fresh)
    terms = ["".join(letters[x] for x in labels) for labels in network.tensors.values()]
    return ",".join(terms) + "->" + "".join(letters[x] for x in network.output)


def _symbols(taken: set[str]) -> Iterator[str]:
    """Letters that are not taken: a-z, A-Z, then what else Unicode calls a letter, as opt_einsum does."""
    for code in (*range(97, 123), *range(65, 91), *range(192, 0xD800)):
        symbol = chr(code)
        if symbol.isalpha() and symbol not in taken:
            yield symbol
    raise ValueError("more indices than there are letters: an einsum equation cannot hold this network")
