"""How an array is completed: the model, its start, its training, and what is held out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

from tnrank._check import instance, real_number, shown, whole_number
from tnrank._explained import explained
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization

MODELS = ("mf", "cp", "htf")
_NORM = 64.0
"""The norm that tensors are scaled to, that of the papers' targets, for which the learning rate is made."""
_START = 1e-3
"""The norm of the initial end tensor over that, unless ``std`` is given."""
_MOST_STEPS = 2**31 - 2
_MOST_LAYERS, _MOST_COLUMNS = 1000, 10**6


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an array is completed; the attributes are the keywords of :func:`tnrank.fill_missing`.

    ``backend`` is a name here; ``device`` is the backend's default one if ``None``.

    Raises:
        TypeError: for an attribute of another type.
        ValueError: for one out of range, an unknown model (the nearest is given), or a tree of another model than htf.

    Example:
        >>> from tnrank.completion import Settings
        >>> Settings(rank=4).start((6, 5, 4)).rank
        4
    """

    model: str = "auto"
    rank: int | None = None
    depth: int = 3
    tree: Any = None
    steps: int = 10_000
    std: float | None = None
    learning_rate: float = 1e-2
    hold_out: float = 0.1
    center: bool = False
    seed: int = 0
    backend: str = "numpy"
    dtype: str = "float32"
    device: Any = None

    @explained
    def __post_init__(self) -> None:
        instance(self.model, "model", str, "one of 'auto', 'mf', 'cp' and 'htf'")
        if self.model not in ("auto", *MODELS):
            near = difflib.get_close_matches(self.model, MODELS, n=1)
            told = f"; did you mean {near[0]!r}?" if near else f"; known: auto, {', '.join(MODELS)}"
            raise ValueError(f"unknown model {shown(self.model)}{told}")
        if self.rank is not None:
            whole_number(self.rank, "rank", 1, _MOST_COLUMNS)
        whole_number(self.depth, "depth", 1, _MOST_LAYERS)
        whole_number(self.steps, "steps", 1, _MOST_STEPS)
        whole_number(self.seed, "seed", 0, 2**63 - 1)
        if self.std is not None:
            real_number(self.std, "std", 0, above=True)
        real_number(self.learning_rate, "learning_rate", 0, above=True)
        if not 0 <= real_number(self.hold_out, "hold_out") < 1:
            raise ValueError(f"hold_out is a share of the observed entries in [0, 1), got {self.hold_out}")
        instance(self.center, "center", bool, "True or False")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"training runs in float32 or float64, got dtype {shown(self.dtype)}")
        if self.model != "htf" and self.tree is not None:
            raise ValueError(f"a tree belongs to the model htf, got model {self.model}")

    def start(self, shape: tuple[int, ...]) -> Factorization:
        """The initial factorization of an array of ``shape`` that is scaled to :func:`norm_of` it.

        Raises:
            ValueError: for a model or tree that is not for that order.
        """
        model = self.model if self.model != "auto" else "mf" if len(shape) == 2 else "cp"
        options: dict[str, Any] = {"seed": self.seed, "std": self.std or 1.0}
        if model == "mf" and len(shape) != 2:
            raise ValueError(
                f"mf is for matrices, and an array of shape {shown(shape)} has order {len(shape)}: "
                "model='cp' or model='htf'"
            )
        x: Factorization
        if model == "mf":
            hidden = (self.rank or min(*shape, 256)) if self.depth > 1 else None
            x = MatrixFactorization.random(shape, self.depth, hidden, **options)
        elif model == "cp":
            enough = prod(shape) // max(shape)
            x = CPFactorization.random(shape, self.rank or min(enough, 64), **options)
        else:
            tree = self.tree if self.tree is None or isinstance(self.tree, DimensionTree) else DimensionTree(self.tree)
            x = HierarchicalFactorization.random(shape, tree, self.rank or 64, **options)
        if not self.std:
            # The end tensor is homogeneous in the weights, of a degree that is the number of arrays.
            shrink = (_START * norm_of(shape) / float(x.norm())) ** (1 / len(x.arrays))
            x = x.map(lambda a: a * shrink)
        return x.to(self.backend, dtype=self.dtype, device=self.device)


def norm_of(shape: tuple[int, ...]) -> float:
    """What arrays of this shape are scaled to: small ones to a mean square of 1."""
    return min(_NORM, sqrt(prod(shape)))
