"""Incremental learning in matrix, CP and hierarchical factorization: the three-panel figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank.data import low_rank_matrix, low_rank_tensor, observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _dynamics_report as report
from tnrank.experiments._recipes._dynamics_root import TOP, largest_at_root
from tnrank.factorizations import CPFactorization, HierarchicalFactorization, MatrixFactorization
from tnrank.training import GroupRMSProp, Stop, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal
    from tnrank.factorizations import Factorization

_NORM = 64.0
"""The targets' norm: 4096 entries of mean square 1."""


@register
@dataclass(frozen=True, kw_only=True)
class Dynamics(Recipe):
    """Completion of targets of rank 5 from half of their 4096 entries, starting from small weights.

    Attributes:
        mf_std: standard deviation of the initial weights of the matrix factorization, 64 x 64 of depth 3.
        cp_std: that of the CP factorization, 16 x 16 x 16 with 256 components.
        htf_std: that of the hierarchical factorization, 8 x 8 x 8 x 8 on the perfect binary tree.
        htf_width: local components of each of its interior nodes.
        mf_steps: the most steps; so are the next two.
        cp_steps: see above.
        htf_steps: see above.
        observed: observed entries.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps; spectra of matricizations are recorded every four of them.
        stop_loss: a model is done when its loss is below this at more than ``stop_patience`` checks in a row.
        stop_patience: see above; a check is due every 25 steps.
        onset_share: a value sets in when it exceeds this share of the final largest one.

    The targets' sizes, the stop rule, and the scales, widths and budgets of the paper preset are the published ones. A
    hierarchical factorization of width 64 needs larger initial weights than one of width 512: its end tensor
    grows like std^7 width^1.5, and with the published 1e-2 it would not leave the origin.

    Source: Razin, Maman & Cohen 2022, Fig. 2.
    """

    name: ClassVar[str] = "dynamics"
    title: ClassVar[str] = "singular values and component norms of MF, CP and HTF appear one after the other"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {"htf_std": 3e-2, "htf_width": 64, "htf_steps": 50_000},
            "paper": {
                "htf_std": 1e-2,
                "htf_width": 512,
                "mf_steps": 500_000,
                "cp_steps": 500_000,
                "htf_steps": 500_000,
            },
        }
    )

    seed: int = 1
    mf_std: float = 1e-3
    cp_std: float = 1e-3
    htf_std: float = 3e-2
    htf_width: int = 64
    mf_steps: int = 20_000
    cp_steps: int = 20_000
    htf_steps: int = 50_000
    observed: int = 2048
    learning_rate: float = 1e-2
    record_every: int = 25
    stop_loss: float = 5e-5
    stop_patience: int = 100
    onset_share: float = 0.1

    def execute(self, journal: Journal) -> Outcome:
        found = [self._train(journal, model) for model in ("mf", "cp", "htf")]
        return report.outcome(found, self.preset, self.onset_share)

    def _train(self, journal: Journal, model: str) -> report.Measured:
        target, start = self._problem(model)
        indices, values = observe(target, self.observed, seed=self.seed)
        every = self.record_every
        record: list[Any] = [recorders.Loss(every), recorders.Error(target, every=every)]
        record.append(recorders.ComponentNorms(top=TOP, every=every))
        if model == "htf":
            record.append(recorders.Function("root_components", largest_at_root, every=every))
            # Nodes on the tree and one off it: the bias is towards the rank of the tree's matricizations. Six
            # decompositions at every record would cost a third of a narrow factorization's run.
            record.append(recorders.SingularValues(top=TOP, modes=((0, 2),), every=8 * every))
        result = journal.train(
            model,
            start,
            indices,
            values,
            record=record,
            optimizer=GroupRMSProp(self.learning_rate),
            steps=getattr(self, f"{model}_steps"),
            stop=Stop(self.stop_loss, self.stop_patience, every=25),
        )
        return report.Measured.of(model, result, target, self.onset_share)

    def _problem(self, model: str) -> tuple[np.ndarray[Any, Any], Factorization]:
        """Target and initial factorization."""
        seed = self.seed
        options: dict[str, Any] = {"seed": seed, "backend": self.backend, "dtype": self.dtype}
        if model == "mf":
            matrix = MatrixFactorization.random((64, 64), depth=3, hidden=64, std=self.mf_std, **options)
            return low_rank_matrix((64, 64), rank=5, norm=_NORM, seed=seed), matrix
        if model == "cp":
            cp = CPFactorization.random((16, 16, 16), rank=256, std=self.cp_std, **options)
            return low_rank_tensor((16, 16, 16), rank=5, norm=_NORM, seed=seed), cp
        drawn = HierarchicalFactorization.random((8,) * 4, width=5, seed=seed).to_dense()
        target = np.asarray(drawn) * (_NORM / float(np.linalg.norm(drawn)))
        return target, HierarchicalFactorization.random((8,) * 4, width=self.htf_width, std=self.htf_std, **options)
