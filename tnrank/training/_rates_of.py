"""Measured rates beside predicted ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._check import instance
from tnrank._explained import explained
from tnrank._typing import Label
from tnrank.training._flow import FlowTrace
from tnrank.training._result import Trace

_Host = np.ndarray[Any, Any]
_SPLINE = 5


@dataclass(frozen=True)
class MeasuredRates:
    """Growth per unit of effective time, measured and predicted, at P moments; arrays are ``(P, R)`` but the times.

    Components keep the order of the index; singular values descend.

    Attributes:
        steps: ``(P,)``, the update after which each rate is; of a flow, the number of the time.
        time: ``(P,)``, effective time.
        interval: ``(P,)``, the effective time that the next update took; 0 for a flow.
        norms: component norms, or singular values.
        projection: gamma = <-grad L, C>.
        measured: the increment of ``norms`` by the next update, over ``interval``; of a flow, the derivative of the
            spline of degree 5 through all times.
        exact: the rate that theory predicts, for any weights.
        balanced: that for balanced weights, K norms^(2 - 2/K) gamma.
        next_norms: ``norms`` after the next update; of a flow, the same.
        next_projection: likewise.
        lower: bound of ``exact`` from norms, projection and unbalancedness; ``None`` for singular values.
        upper: likewise.
        unbalancedness: likewise.
    """

    steps: _Host
    time: _Host
    interval: _Host
    norms: _Host
    projection: _Host
    measured: _Host
    exact: _Host
    balanced: _Host
    next_norms: _Host
    next_projection: _Host
    lower: _Host | None = None
    upper: _Host | None = None
    unbalancedness: _Host | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"MeasuredRates({self.norms.shape[1]} components at {len(self)} moments)"


@explained
def rates_of(trace: Trace | FlowTrace, index: Label | None = None) -> MeasuredRates:
    """What ``recorders.Rates`` or ``recorders.SingularValueRates`` saw, with the rates that were measured.

    Args:
        trace: of a training run, whose recorded steps come in pairs t, t + 1, or of a gradient flow.
        index: which one, if several were recorded.

    Raises:
        TypeError: if ``trace`` is no trace.
        ValueError: if the trace has no rates, no such index, no two successive steps, or a flow's times are fewer
            than six.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.training import rates_of, recorders
        >>> x = tnrank.CPFactorization.random((3, 3, 3), rank=2, std=0.5, seed=0).balance()
        >>> indices = np.argwhere(np.ones((3, 3, 3)))
        >>> result = tnrank.complete(
        ...     x, indices, np.ones(27), steps=50, optimizer=tnrank.GradientDescent(1e-4), record=[recorders.Rates()]
        ... )
        >>> rates = rates_of(result.history["rates"])
        >>> bool((abs(rates.measured / rates.balanced - 1) < 1e-3).all())
        True
    """
    instance(trace, "trace", (Trace, FlowTrace), 'what a recorder saw, such as result.history["rates"]')
    values = _of_index(trace, index)
    sigma = "norms" if "norms" in values else "singular_values"
    if isinstance(trace, FlowTrace):
        first = np.arange(len(trace))
        measured = _derivative(trace.times, values[sigma])
        after, interval = first, np.zeros(len(first))
    else:
        first = np.flatnonzero(np.diff(trace.steps) == 1)
        if not len(first):
            raise ValueError("the trace has no two successive steps: needed one of recorders.Rates, of 1 step or more")
        after = first + 1
        interval = values["rate"][after]
        if not np.isfinite(interval).all():
            # Optimizers of a framework do not tell their rates.
            raise ValueError("the optimizer tells no learning rate: needed tnrank.GradientDescent or GroupRMSProp")
        measured = (values[sigma][after] - values[sigma][first]) / interval[:, None]
    steps = first if isinstance(trace, FlowTrace) else trace.steps[first]
    bounds = {name: values[name][first] for name in ("lower", "upper", "unbalancedness") if name in values}
    return MeasuredRates(
        steps=steps,
        time=values["time"][first],
        interval=interval,
        norms=values[sigma][first],
        projection=values["projection"][first],
        measured=measured,
        exact=values["exact"][first],
        balanced=values["balanced"][first],
        next_norms=values[sigma][after],
        next_projection=values["projection"][after],
        **bounds,
    )


def _of_index(trace: Any, index: Label | None) -> dict[str, _Host]:
    """Field -> what was recorded of one index, in double precision."""
    keys = list(trace.values) if isinstance(trace.values, Mapping) else []
    if "singular_values" in keys:
        if index is not None:
            raise ValueError(f"singular values belong to no index, got index={index!r}: leave it out")
        return {name: np.asarray(value, np.float64) for name, value in trace.values.items()}
    known = list(dict.fromkeys(key[0] for key in keys if isinstance(key, tuple) and key[1:] == ("exact",)))
    if not known:
        raise ValueError(f"got {trace!r}, needed the trace of recorders.Rates or SingularValueRates")
    if index is None and len(known) > 1:
        raise ValueError(f"rates of several indices were recorded: give one of {', '.join(map(repr, known))}")
    wanted = known[0] if index is None else index
    if wanted not in known:
        raise ValueError(f"no rates of the index {index!r} were recorded: needed {', '.join(map(repr, known))}")
    return {key[1]: np.asarray(value, np.float64) for key, value in trace.values.items() if key[0] == wanted}


def _derivative(times: _Host, values: _Host) -> _Host:
    from scipy.interpolate import make_interp_spline

    if len(times) <= _SPLINE:
        raise ValueError(f"a flow at {len(times)} times is too coarse for rates: needed {_SPLINE + 1} or more")
    return np.asarray(make_interp_spline(times, values, k=_SPLINE).derivative()(times))
