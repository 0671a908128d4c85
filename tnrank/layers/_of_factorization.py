"""The format of a weight that is given as a factorization."""

from __future__ import annotations

from tnrank._check import shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.layers._format import WeightFormat
from tnrank.layers._structures import STRUCTURES, Layout


@explained
def format_of_factorization(x: Factorization, outputs: int | None = None) -> tuple[WeightFormat, dict[str, Array]]:
    """The format of a linear layer whose weight is a factorization, and its arrays.

    Args:
        x: modes of the outputs, then those of the inputs.
        outputs: how many modes are outputs; half of them by default.

    Raises:
        TypeError: for a class that is none of the structures'.
        ValueError: if its modes or its tree do not fit.

    Example:
        >>> import tnrank
        >>> from tnrank.layers import format_of_factorization
        >>> x = tnrank.TensorTrain.random((4, 8, 2, 16), rank=3, seed=0)
        >>> weight, arrays = format_of_factorization(x)
        >>> weight.shape, weight.ranks
        ((32, 32), (3, 3, 3))
    """
    name = next((name for name, rules in STRUCTURES.items() if type(x) is rules.factorization), None)
    if name is None or name == "btt":
        usable = ", ".join(rules.factorization.__name__ for key, rules in STRUCTURES.items() if key != "btt")
        raise TypeError(f"got {shown(x)}, needed a factorization of one of the classes {usable}")
    count = x.ndim // 2 if outputs is None else whole_number(outputs, "outputs, the number of their modes,", 1)
    if not 1 <= count < x.ndim:
        raise ValueError(f"got a factorization of order {x.ndim}, needed modes of outputs and of inputs")
    rows, columns = x.shape[:count], x.shape[count:]
    depth = len(x.arrays) if name == "mf" else 2
    rules, layout = STRUCTURES[name], Layout(rows, columns, (), max(depth, 2))
    rules.check(layout)
    if depth == 1:
        raise ValueError("a matrix factorization of one layer is a dense weight: needed depth 2 or more")
    arrays = rules.arrays_of(layout, x)
    first = WeightFormat(name, "linear", layout.matrix_shape, layout, (1,) * len(rules.limits(layout)))
    return first.of_shapes({key: tuple(array.shape) for key, array in arrays.items()}), arrays
