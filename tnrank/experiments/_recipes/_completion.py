"""A person's own tensor: fit the entries that are there, fill in those that are missing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.data import CsvFormat, read_array, read_mask
from tnrank.dimension_tree import DimensionTree
from tnrank.experiments._outcome import Outcome, Table
from tnrank.experiments._recipe import Recipe, check_number, nearest
from tnrank.experiments._recipes._split import Split, split_observed
from tnrank.experiments._recipes._stopping import BestStep
from tnrank.factorizations import (
    CPFactorization,
    Factorization,
    HierarchicalFactorization,
    MatrixFactorization,
)
from tnrank.training import GroupRMSProp, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

MODELS = ("mf", "cp", "htf")
_RECORDS = 400
_NORM = 64.0
"""The norm that tensors are scaled to, that of the papers' targets, for which the learning rate is made."""
_START = 1e-3
"""The norm of the initial end tensor over that, unless ``std`` is given."""


@dataclass(frozen=True, kw_only=True)
class Completion(Recipe):
    """Fill in the missing entries of a tensor in a file.

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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"own": {}})

    preset: str = "own"
    source: str
    key: str | None = None
    missing: str = "nan"
    model: str = "auto"
    rank: int = 0
    depth: int = 3
    tree: Any = None
    steps: int = 10_000
    std: float = 0.0
    learning_rate: float = 1e-2
    hold_out: float = 0.1
    center: bool = False
    csv: Any = None

    @explained
    def __post_init__(self) -> None:
        for field in ("seed", "rank", "depth", "steps", "std", "learning_rate"):
            check_number(field, getattr(self, field))
        if self.model not in ("auto", *MODELS):
            raise ValueError(f"unknown model {self.model!r}{nearest(self.model, MODELS)}")
        for field, least in (("seed", 0), ("rank", 0), ("depth", 1), ("steps", 1), ("std", 0)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} is at least {least}, got {getattr(self, field)}")
        if not 0 <= self.hold_out < 1:
            raise ValueError(f"hold_out is a share of the observed entries in [0, 1), got {self.hold_out}")

    @property
    def command(self) -> str:
        return "complete"

    @property
    def folder_name(self) -> str:
        return f"complete-{Path(self.source).stem}-{self.backend}"

    def execute(self, journal: Journal) -> Outcome:
        array, missing = self._read()
        split = split_observed(array, missing, self.hold_out, self.seed)
        offset = float(split.train_values.mean()) if self.center else 0.0
        level = float(np.sqrt(np.mean((split.train_values - offset) ** 2)))
        if level == 0:
            what = "all observed entries are equal" if self.center else "all observed entries are 0"
            raise ValueError(f"{self.source}: {what}, there is nothing to learn from")
        scale = level * sqrt(array.size) / _norm(array.shape)
        start = self.start(array.shape)
        result, best = self._fit(journal, start, split, offset, scale)
        # The arrays share the scale evenly, so that the saved factorization is of the tensor itself.
        share = scale ** (1 / len(start.arrays))
        fitted = result.factorization.map(lambda a: a * share)
        fitted.save(journal.folder.partial / "factorization.safetensors")
        dense = np.asarray(fitted.backend.to_numpy(fitted.to_dense()), np.float64) + offset
        completed = np.where(missing, dense, array)
        errors = split.errors(dense)
        facts = {
            "source": self.source,
            "shape": array.shape,
            "missing": int(missing.sum()),
            "observed": int((~missing).sum()),
            "held_out": len(split.test),
            "model": start.kind,
            "parameters": start.parameter_count,
            "offset": offset,
            "steps": result.steps,
            "stopped": best.reason,
            "training_loss": result.loss * scale**2,
            **errors,
        }
        return Outcome(facts, [_table(facts)], files={"completed.npy": _npy(completed)})

    def _read(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        form = None if self.csv is None else CsvFormat(**dict(self.csv))
        array = read_array(self.source, self.key, csv=form)
        if array.dtype.kind == "c":
            raise ValueError(f"{self.source} holds complex numbers, and training is for real ones")
        if array.ndim < 2:
            raise ValueError(f"{self.source} has shape {array.shape}: needed a matrix or a tensor")
        array = np.asarray(array, np.float64)
        if self.missing == "nan":
            missing = np.isnan(array)
            if not missing.any():
                raise ValueError(
                    f"no entry of {self.source} is NaN: write NaN where an entry is missing, or give a mask "
                    "(--missing MASK.npy, 1 where an entry is missing)"
                )
        else:
            missing = read_mask(self.missing, array.shape, csv=form if Path(self.missing).suffix == ".csv" else None)
        if missing.all():
            raise ValueError(f"all {array.size:,} entries of {self.source} are missing")
        wrong = ~np.isfinite(array) & ~missing
        if wrong.any():
            where = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise ValueError(f"{self.source} has {array[where]} at index {where}, which is not marked as missing")
        return array, missing

    def start(self, shape: tuple[int, ...]) -> Factorization:
        """The initial factorization for a tensor of this shape, whose entries are scaled."""
        model = self.model if self.model != "auto" else "mf" if len(shape) == 2 else "cp"
        options: dict[str, Any] = {"seed": self.seed, "std": self.std or 1.0}
        if model == "mf" and len(shape) != 2:
            raise ValueError(f"mf is for matrices, {self.source} has order {len(shape)}: use --model cp or htf")
        if model != "htf" and self.tree is not None:
            raise ValueError(f"a tree belongs to the model htf, got model {model}")
        x: Factorization
        if model == "mf":
            x = MatrixFactorization.random(
                shape, self.depth, self.rank or min(*shape, 256) if self.depth > 1 else None, **options
            )
        elif model == "cp":
            enough = int(np.prod(shape)) // max(shape)
            x = CPFactorization.random(shape, self.rank or min(enough, 64), **options)
        else:
            tree = None if self.tree is None else DimensionTree(self.tree)
            x = HierarchicalFactorization.random(shape, tree, self.rank or 64, **options)
        if not self.std:
            # The end tensor is homogeneous in the weights, of a degree that is the number of arrays.
            shrink = (_START * _norm(shape) / float(x.norm())) ** (1 / len(x.arrays))
            x = x.map(lambda a: a * shrink)
        return x.to(self.backend, dtype=self.dtype)

    def _fit(self, journal: Journal, start: Factorization, split: Split, offset: float, scale: float) -> Any:
        every = max(1, self.steps // _RECORDS)
        record: list[Any] = [recorders.Loss(every)]
        for name, indices, values in split.held_out():
            recorder = recorders.HeldOutError(indices, (values - offset) / scale, every=every)
            recorder.name = name
            record.append(recorder)
        options: dict[str, Any] = {"optimizer": GroupRMSProp(self.learning_rate), "record": record}
        values = (split.train_values - offset) / scale
        best = BestStep(self.steps)
        result = journal.train(
            "fit",
            start,
            split.train,
            values,
            steps=self.steps,
            save=False,
            callback=best.callback,
            on_record=best.on_record,
            **options,
        )
        step = best.choose(result)
        if step < result.steps:
            # Training is deterministic: going to the best step again costs less than keeping all weights.
            result = journal.train("refit", start, split.train, values, steps=step, save=False, **options)
        return result, best


def _norm(shape: tuple[int, ...]) -> float:
    """What tensors of this shape are scaled to: small ones to a mean square of 1."""
    return min(_NORM, sqrt(prod(shape)))


def _table(facts: Mapping[str, Any]) -> Table:
    if "held_out_error" not in facts:
        rows = [("root mean squared error, observed", f"{facts['observed_error']:.4g}", "")]
    else:
        rows = [
            (
                "root mean squared error, held out",
                f"{facts['held_out_error']:.4g}",
                f"{facts['mean_predictor_error']:.4g}",
            ),
            ("variance explained, held out", f"{facts['variance_explained']:.1%}", "0.0%"),
        ]
    title = f"{facts['missing']:,} of {facts['missing'] + facts['observed']:,} entries filled in"
    return Table(title, ("", "completed", "mean predictor"), rows)


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
