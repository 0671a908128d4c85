"""The analogy between matrix, tensor and hierarchical factorization, as one table of measured rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.data import low_rank_matrix, low_rank_tensor, observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _analogy_report as report
from tnrank.factorizations import CPFactorization, HierarchicalFactorization, MatrixFactorization
from tnrank.training import GroupRMSProp, Stop, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal
    from tnrank.factorizations import Factorization


@register
@dataclass(frozen=True, kw_only=True)
class Analogy(Recipe):
    """Quantity, dynamics, experiment and minimized rank of three factorizations, each measured in a run of its own.

    All three start from balanced small weights and complete a target of low rank from half of its entries. With
    depth 3, order 3 and a binary tree, K is 3 in every row.

    Attributes:
        matrix_size: rows and columns of the matrix.
        tensor_size: dimension of the three modes of the tensor of the CP factorization.
        tree_size: dimension of the four modes of the tensor of the hierarchical factorization.
        rank: of the targets: matrix rank, components, local components a node.
        components: of the CP factorization.
        width: local components a node of the hierarchical factorization.
        mf_std: standard deviation of the initial weights, before they are balanced; so are the next two.
        cp_std: see above.
        htf_std: see above.
        mf_steps: the most steps; so are the next two.
        cp_steps: see above.
        htf_steps: see above.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps.
        stop_loss: a model is done when its loss is below this at 20 checks in a row, one every 25 steps.

    Source: Razin, Maman & Cohen 2022, Sec. 4 and Fig. 2; the authors' summary of the three papers.
    """

    name: ClassVar[str] = "analogy"
    title: ClassVar[str] = "MF, CP and HTF side by side: quantity, dynamics, experiment, minimized rank"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {
                "matrix_size": 64,
                "tensor_size": 16,
                "tree_size": 8,
                "rank": 5,
                "components": 256,
                "width": 64,
                "mf_std": 1e-3,
                "cp_std": 1e-3,
                "htf_std": 3e-2,
                "htf_steps": 50_000,
            },
        }
    )

    seed: int = 1
    matrix_size: int = 24
    tensor_size: int = 10
    tree_size: int = 5
    rank: int = 3
    components: int = 40
    width: int = 24
    mf_std: float = 1e-2
    cp_std: float = 1e-2
    htf_std: float = 6e-2
    mf_steps: int = 20_000
    cp_steps: int = 20_000
    htf_steps: int = 20_000
    learning_rate: float = 1e-2
    record_every: int = 20
    stop_loss: float = 5e-5

    @explained
    def __post_init__(self) -> None:
        for field in ("matrix_size", "tensor_size", "tree_size", "components", "width"):
            if not 1 <= self.rank <= getattr(self, field):
                raise ValueError(f"rank lies between 1 and {field}={getattr(self, field)}, got {self.rank}")

    def execute(self, journal: Journal) -> Outcome:
        rows = [self._row(journal, model) for model in ("mf", "cp", "htf")]
        return report.outcome(rows)

    def _row(self, journal: Journal, model: str) -> report.Measured:
        target, start = self._problem(model)
        indices, values = observe(target, target.size // 2, seed=self.seed)
        every = self.record_every
        rates: Any = recorders.SingularValueRates(every=every)
        if model != "mf":
            index = "r" if model == "cp" else "r{0,1,2,3}"
            rates = recorders.Rates(index, every=every)
        result = journal.train(
            model,
            start.balance().to(self.backend, dtype=self.dtype),
            indices,
            values,
            record=[recorders.ComponentNorms(top=10, every=every), rates],
            optimizer=GroupRMSProp(self.learning_rate),
            steps=getattr(self, f"{model}_steps"),
            stop=Stop(self.stop_loss, 20, every=25),
        )
        return report.measure(model, result, rates.name, target)

    def _problem(self, model: str) -> tuple[np.ndarray[Any, Any], Factorization]:
        """Target of mean square 1, and initial factorization."""
        if model == "mf":
            shape: tuple[int, ...] = (self.matrix_size,) * 2
            matrix = MatrixFactorization.random(
                shape, depth=3, hidden=self.matrix_size, std=self.mf_std, seed=self.seed
            )
            return low_rank_matrix(shape, rank=self.rank, seed=self.seed), matrix
        if model == "cp":
            shape = (self.tensor_size,) * 3
            cp = CPFactorization.random(shape, rank=self.components, std=self.cp_std, seed=self.seed)
            return low_rank_tensor(shape, rank=self.rank, seed=self.seed), cp
        shape = (self.tree_size,) * 4
        drawn = np.asarray(HierarchicalFactorization.random(shape, width=self.rank, seed=self.seed).to_dense())
        htf = HierarchicalFactorization.random(shape, width=self.width, std=self.htf_std, seed=self.seed)
        return drawn * (sqrt(drawn.size) / float(np.linalg.norm(drawn))), htf
