"""The rank radar: leading singular values and ranks of every weight of a model, recorded while it trains."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np

from tnrank._backend import host_array
from tnrank._check import instance, real_number, shown, whole_number
from tnrank._explained import explained
from tnrank.radar._loggers import check_logger, log
from tnrank.radar._measure import is_measured, read_weight, sides_of
from tnrank.radar._radar_report import RadarReport, RecordedLayer, write_csv
from tnrank.radar._track import LayerHistory, Track
from tnrank.ranks import onsets

_KINDS = ("weight", "change")
_LATEST = 2**62


class RankRadar:
    """A recorder of the leading singular values, effective and stable ranks of weights, given by name.

    Call :meth:`record` every so often while the weights are trained, by any framework. Each record starts from the
    singular vectors of the one before and takes a few products with thin matrices, so that it costs a few percent of
    what a full decomposition does. ``tnrank_torch.nn.RankRadar`` does this for a module.

    Args:
        leading: how many singular values of each weight.
        changes: record the difference from the initial weights as well.
        initial: ``{name: array}``, the initial weights; those of the first record if not given.
        accuracy: estimated error of the singular values, as a share of the largest, at which a record is done.
        log_to: something with ``add_scalar(name, value, step)`` or ``log(values, step=step)``, which is told the ranks
            of every record.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``leading`` or ``accuracy`` is out of range.

    Source: Golub, Luk & Overton 1981 (block Lanczos bidiagonalization); Musco & Musco 2015.

    Example:
        >>> import numpy as np
        >>> from tnrank.radar import RankRadar
        >>> radar = RankRadar(leading=4)
        >>> for step in (0, 10, 20):
        ...     radar.record(step, {"fc.weight": np.diag([3.0, step, 0.0])})
        >>> radar.history["fc.weight"].singular_values
        array([[ 3.,  0.,  0.],
               [10.,  3.,  0.],
               [20.,  3.,  0.]])
        >>> radar.onsets(0.1)
        {'fc.weight': [0, 10]}
    """

    @explained
    def __init__(
        self,
        leading: int = 32,
        *,
        changes: bool = False,
        initial: Mapping[str, Any] | None = None,
        accuracy: float = 1e-3,
        log_to: Any = None,
    ) -> None:
        self.leading = whole_number(leading, "leading", 1, 10_000)
        self.accuracy = real_number(accuracy, "accuracy", 0, 1, above=True)
        self._changes = instance(changes, "changes", bool, "True or False")
        instance(initial, "initial", (Mapping, type(None)), "a mapping of names to arrays, or None")
        check_logger(log_to)
        self._log_to = log_to
        self._tracks: dict[str, dict[str, Track]] = {kind: {} for kind in _KINDS}
        self._initial: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._given = initial is not None
        if initial is not None:
            self._changes = True
            self._initial = {name: _copy(*read_weight(array, name)[:2]) for name, array in initial.items()}

    @explained
    def record(self, step: int, weights: Mapping[str, Any]) -> None:
        """Measure the weights after ``step`` steps.

        Args:
            step: larger than at the last record.
            weights: ``{name: array}``, of any backend; vectors and whole numbers are passed over. A weight of order 3
                or more is a matrix, its first axis against all others.

        Raises:
            ValueError: if the step is no later one, or a weight has another shape than before.
            TypeError: if something is no array.
        """
        step = whole_number(step, "step", 0, _LATEST)
        instance(weights, "weights", Mapping, "a mapping of names to arrays")
        if step <= (last := self.last_step):
            raise ValueError(f"records go on from step {last}, got step {step}: give a later one, or make a new radar")
        numbers: dict[str, float] = {}
        for name, given in weights.items():
            array, backend, dtype = read_weight(given, name)
            shape = tuple(int(size) for size in array.shape)
            if not is_measured(name, shape, dtype):
                continue
            sides = sides_of(shape)
            track = self._track("weight", name, sides)
            row = track.record(step, backend.reshape(array, sides), backend)
            self._shapes[name] = shape
            numbers[f"effective_rank/{name}"] = row.effective_rank
            numbers[f"stable_rank/{name}"] = (row.norm / row.values[0]) ** 2 if row.values[0] else 0.0
            numbers[f"spectral_norm/{name}"] = float(row.values[0])
            if self._changes:
                moved = backend.reshape(array - self._before(name, array, backend), sides)
                change = self._track("change", name, sides).record(step, moved, backend)
                numbers[f"effective_rank_of_change/{name}"] = change.effective_rank
        if not numbers:
            raise ValueError("ranks are those of weights with two axes or more, and there are none")
        log(self._log_to, step, numbers)

    @property
    def last_step(self) -> int:
        """The step of the last record; -1 before the first."""
        return max((track.rows[-1].step for track in self._tracks["weight"].values() if track.rows), default=-1)

    @property
    def history(self) -> Mapping[str, LayerHistory]:
        """``{name: LayerHistory}`` of the weights."""
        return MappingProxyType({name: track.history() for name, track in self._tracks["weight"].items()})

    @property
    def changes(self) -> Mapping[str, LayerHistory]:
        """``{name: LayerHistory}`` of the differences from the initial weights; empty if they are not recorded."""
        return MappingProxyType({name: track.history() for name, track in self._tracks["change"].items()})

    @explained
    def onsets(self, threshold: float = 0.1, of_changes: bool = False) -> dict[str, list[int]]:
        """When singular values set in: the first recorded step at which the k-th exceeds a share of the final largest.

        Args:
            threshold: the share, in (0, 1).
            of_changes: of the differences from the initial weights, in place of the weights.

        Returns:
            ``{name: steps}``, one step for k = 1, 2, .. as long as the k-th value ends above that level: see
            :func:`tnrank.ranks.onsets`.

        Raises:
            ValueError: if ``threshold`` is out of range.
        """
        found = self.changes if instance(of_changes, "of_changes", bool, "True or False") else self.history
        threshold = real_number(threshold, "threshold", 0, 1, above=True)
        return {name: onsets_of(history, threshold) for name, history in found.items()}

    @explained
    def report(self, threshold: float = 0.1) -> RadarReport:
        """First and last ranks of every weight, and the onsets; ``print`` shows a table.

        Args:
            threshold: of the onsets.

        Raises:
            ValueError: if nothing was recorded, or ``threshold`` is out of range.
        """
        if self.last_step < 0:
            raise ValueError("nothing was recorded: call radar.record(step, weights)")
        steps = self.onsets(threshold)
        changes = self.changes
        rows = [
            RecordedLayer(name, self._shapes[name], history, changes.get(name), tuple(steps[name]))
            for name, history in self.history.items()
        ]
        return RadarReport(tuple(rows), threshold)

    @explained
    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write everything that was recorded, one line a number: step, layer, quantity, index, value.

        Args:
            path: of the file, replaced if it exists.

        Raises:
            OSError: if it cannot be written.
        """
        write_csv(path, self.history, self.changes)

    def plot(self) -> Any:
        """The figure :func:`tnrank.plots.layer_ranks` of what was recorded."""
        from tnrank.plots import layer_ranks

        return layer_ranks(self)

    def state_dict(self) -> dict[str, Any]:
        """Everything as one flat dictionary of arrays, for ``numpy.savez``, safetensors or ``torch.save``."""
        state: dict[str, Any] = {}
        for kind, tracks in self._tracks.items():
            for name, track in tracks.items():
                state |= {f"{kind}/{name}/{key}": value for key, value in track.state().items()}
        state |= {f"shape/{name}": np.array(shape, np.int64) for name, shape in self._shapes.items()}
        return state | {f"initial/{name}": host_array(array, name).copy() for name, array in self._initial.items()}

    @explained
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; what was recorded so far is replaced.

        Args:
            state: the dictionary, its arrays of any backend.

        Raises:
            ValueError: if it is another dictionary, of another number of singular values, or holds other weights than
                this radar has recorded.
        """
        instance(state, "state", Mapping, "what state_dict() gave")
        tracks: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in _KINDS}
        initial: dict[str, Any] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for key, value in state.items():
            kind, _, rest = str(key).partition("/")
            name, _, field = rest.rpartition("/")
            if kind in tracks and name:
                tracks[kind].setdefault(name, {})[field] = host_array(value, f"the entry {key!r} of the state")
            elif kind == "initial" and rest:
                initial[rest] = host_array(value, f"the entry {key!r} of the state")
            elif kind == "shape" and rest:
                shapes[rest] = tuple(host_array(value, f"the entry {key!r} of the state").tolist())
            else:
                raise ValueError(f"the state has the entry {shown(key)}, which is none of a radar's")
        made = {
            kind: {name: Track.restore(name, parts, self.leading, self.accuracy) for name, parts in named.items()}
            for kind, named in tracks.items()
        }
        for name, shape in shapes.items():
            here = self._shapes.get(name, None if self._shapes else shape)
            if here != shape:
                held = "none of that name" if here is None else f"shape {here}"
                raise ValueError(
                    f"the state is of another model: it has the weight {name!r} of shape {shape}, this radar {held}"
                )
        self._tracks, self._initial, self._shapes = made, initial, shapes

    def __repr__(self) -> str:
        layers = len(self._tracks["weight"])
        return f"RankRadar({layers} layers, {self.leading} singular values, last step {max(self.last_step, 0)})"

    def _track(self, kind: str, name: str, sides: tuple[int, int]) -> Track:
        track = self._tracks[kind].setdefault(name, Track(sides, self.leading, self.accuracy))
        if track.sides != sides:
            raise ValueError(
                f"the weight {name!r} is {sides[0]} x {sides[1]}, and was {track.sides[0]} x {track.sides[1]} at the "
                "last record: make a new radar where a layer is replaced"
            )
        return track

    def _before(self, name: str, array: Any, backend: Any) -> Any:
        if name not in self._initial:
            if self._given:
                near = get_close_matches(name, list(self._initial), n=3)
                hint = f"; similar: {', '.join(near)}" if near else ""
                raise ValueError(f"initial has no weight {name!r}{hint}: give all that are recorded")
            self._initial[name] = _copy(array, backend)
        before = self._initial[name]
        if tuple(before.shape) != tuple(array.shape):
            raise ValueError(f"the weight {name!r} has shape {tuple(array.shape)}, the initial {tuple(before.shape)}")
        if type(before) is not type(array):
            device = backend.device_of(array)
            before = backend.asarray(
                before, backend.dtype_of(array), None if device == backend.devices()[0] else device
            )
            self._initial[name] = before
        return before


def onsets_of(history: LayerHistory, threshold: float) -> list[int]:
    """The onsets of one layer; records of a weight that was not finite are passed over."""
    good = np.isfinite(history.singular_values).all(axis=1)
    return onsets(history.steps[good], history.singular_values[good], threshold) if good.any() else []


def _copy(array: Any, backend: Any) -> Any:
    """Frameworks train in place."""
    return backend.xp.asarray(array, copy=True)
