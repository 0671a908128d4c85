"""A person's own tensor: fit the entries that are there, fill in those that are missing."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tnrank.completion import Incomplete, Settings, filling
from tnrank.data import CsvFormat, read_array, read_mask
from tnrank.experiments.fields import Depth, NonNegative, Number, Positive, Steps
from tnrank.experiments.kit import Journal, Outcome, Recipe, Table, Training

_ERRORS = ("observed_error", "held_out_error", "mean_predictor_error", "variance_explained")


@dataclass(frozen=True, kw_only=True)
class Completion(Recipe):
    """Fill in the missing entries of a tensor in a file, as :func:`tnrank.fill_missing` does.

    Some observed entries are held out: half of them choose the step to stop at, half measure the error.

    Attributes:
        source: the file.
        key: of the array in an ``.npz`` file.
        missing: ``"nan"``, or a file of the tensor's shape with 1 (true) where an entry is missing.
        model: ``"mf"`` (order 2), ``"cp"`` or ``"htf"``; ``"auto"`` is mf for matrices and cp else.
        rank: hidden size (mf), components (cp) or local components a node (htf); 0 is 64 (mf: up to 256), or
            fewer where these are enough for any tensor.
        depth: layers of mf.
        tree: dimension tree of htf as nested tuples; ``None`` is the balanced one.
        steps: the most.
        std: of the initial weights; 0 chooses it so that the initial end tensor is small.
        learning_rate: of GroupRMSProp.
        hold_out: share of the observed entries that are held out.
        csv: fields of ``tnrank.data.CsvFormat`` and their values as pairs, for a ``.csv`` file; ``None`` finds them.
        center: subtract the mean of the observed entries first.
    """

    name: ClassVar[str] = "complete"
    title: ClassVar[str] = "fill in the missing entries of a tensor"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"own": {}}

    preset: str = "own"
    source: str
    key: str | None = None
    missing: str = "nan"
    model: str = "auto"
    rank: Number = 0
    depth: Depth = 3
    tree: Any = None
    steps: Steps = 10_000
    std: NonNegative = 0.0
    learning_rate: Positive = 1e-2
    hold_out: float = 0.1
    center: bool = False
    csv: Any = None

    def check(self) -> None:
        _ = self.settings

    @property
    def command(self) -> str:
        return "complete"

    @property
    def folder_name(self) -> str:
        return f"complete-{Path(self.source).stem}-{self.backend}"

    @property
    def settings(self) -> Settings:
        """How the tensor is completed."""
        same = ("model", "depth", "tree", "steps", "learning_rate", "hold_out", "center", "seed", "backend", "dtype")
        return Settings(**{n: getattr(self, n) for n in same}, rank=self.rank or None, std=self.std or None)

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        given = self._read()
        filled = yield from filling(given, self.settings)
        journal.save("factorization", filled.factorization)
        completed, x = io.BytesIO(), filled.factorization
        np.save(completed, filled.array)
        facts = {
            **{"source": self.source, "shape": given.array.shape},
            **{name: getattr(filled, name) for name in ("missing", "observed", "held_out")},
            **{"model": x.kind, "parameters": x.parameter_count},
            **{name: getattr(filled, name) for name in ("offset", "steps", "stopped", "training_loss")},
            **{name: getattr(filled, name) for name in _ERRORS if getattr(filled, name) is not None},
        }
        return Outcome(facts, [_table(facts)], files={"completed.npy": completed.getvalue()})

    def _read(self) -> Incomplete:
        form = None if self.csv is None else CsvFormat(**dict(self.csv))
        array = read_array(self.source, self.key, csv=form)
        if self.missing == "nan":
            return Incomplete.of(array, name=self.source)
        mask = read_mask(self.missing, array.shape, csv=form if Path(self.missing).suffix == ".csv" else None)
        return Incomplete.of(array, mask, self.source)


def _table(facts: Mapping[str, Any]) -> Table:
    rows = [("root mean squared error, observed", f"{facts['observed_error']:.4g}", "")]
    if "held_out_error" in facts:
        error, mean = f"{facts['held_out_error']:.4g}", f"{facts['mean_predictor_error']:.4g}"
        rows = [
            ("root mean squared error, held out", error, mean),
            ("variance explained, held out", f"{facts['variance_explained']:.1%}", "0.0%"),
        ]
    title = f"{facts['missing']:,} of {facts['missing'] + facts['observed']:,} entries filled in"
    return Table(title, ("", "completed", "mean predictor"), rows)
