"""An experiment of your own: does a deeper matrix factorization end with a lower effective rank?"""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import tnrank
from tnrank.data import low_rank_matrix, observe
from tnrank.experiments import run
from tnrank.experiments.fields import Count, Depth, Several, Share, Steps
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, Training, falls, register, told
from tnrank.plots.painters import Line, lines, panels


@register
@dataclass(frozen=True, kw_only=True)
class DepthAndRank(Recipe):
    """Completion of a matrix of low rank by factorizations of several depths.

    Attributes:
        size: rows and columns of the target.
        rank: of the target.
        share: of its entries that are observed.
        depths: numbers of layers.
        steps: the most steps of each factorization.
    """

    name: ClassVar[str] = "depth-and-rank"
    title: ClassVar[str] = "deeper matrix factorizations end with lower effective ranks"
    draws: ClassVar[bool] = True

    size: Count = 20
    rank: Count = 2
    share: Share = 0.4
    depths: Annotated[tuple[Depth, ...], Several(2, "rising")] = (1, 2, 3)
    steps: Steps = 4000

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        target = low_rank_matrix((self.size, self.size), self.rank, seed=self.seed)
        indices, values = observe(target, round(self.share * target.size), seed=self.seed)
        options: dict[str, Any] = {"seed": self.seed, "backend": self.backend, "dtype": self.dtype}
        ranks = []
        for depth in self.depths:
            start = tnrank.MatrixFactorization.random(target.shape, depth, std=0.07, **options)
            result = yield Training(f"depth-{depth}", start, indices, values, steps=self.steps, stop=1e-6)
            ranks.append(float(tnrank.effective_rank(result.factorization)))
        rows = [{"depth": depth, "effective rank": rank} for depth, rank in zip(self.depths, ranks, strict=True)]
        check = Check("the effective rank falls with depth", told(ranks, ".2f"), falls(ranks))
        return Outcome({"ranks": ranks}, [Table.of("Effective ranks", rows)], [check], partial(self._figure, ranks))

    def _figure(self, ranks: list[float]) -> Any:
        figure, axes = panels(1, 1)
        lines(axes[0, 0], [Line(self.depths, ranks, marker="o")], "Completed matrices", "depth", "effective rank")
        return figure


if __name__ == "__main__":
    print(run(DepthAndRank(backend="numpy")).outcome.checks[0])
