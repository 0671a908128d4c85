"""Checks of what a backend declares in ``capabilities``, and of the loops that all backends have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tnrank._backend import Backend, Structure, register_backend
from tnrank._typing import Array
from tnrank.network import Network
from tnrank.testing._checks import check, close, require, values

_NETWORK = Network({"A": "ir", "B": "jr", "C": "rr"}, "ji")


class Probe(Structure):
    """An array with a title: the smallest structure that a backend can be asked to carry."""

    __slots__ = ("array", "title")

    def __init__(self, array: Array, title: str) -> None:
        self.array, self.title = array, title

    def _flatten(self) -> tuple[tuple[Array, ...], Any]:
        return (self.array,), self.title

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Array]) -> Probe:
        (array,) = arrays
        return cls(array, static)


def _operands(backend: Backend) -> tuple[Array, ...]:
    shapes = ((2, 4), (3, 4), (4, 4))
    return tuple(backend.asarray(values(*shape, seed=k), backend.default_dtype) for k, shape in enumerate(shapes))


def _half_square(backend: Backend, arrays: Any) -> Array:
    result = _NETWORK.plan({"i": 2, "j": 3, "r": 4})(dict(zip("ABC", arrays, strict=True)))
    return backend.xp.sum(result * result) / 2


@check
def differentiates(backend: Backend) -> None:
    """``value_and_grad`` of a contraction is what ``pull_back`` gives; none passes ``stop_gradient``."""
    register_backend(backend)
    if "value_and_grad" not in backend.capabilities:
        return
    arrays = _operands(backend)
    named = dict(zip("ABC", arrays, strict=True))
    result, pulled = _NETWORK.plan(_NETWORK.sizes(named)).pull_back(named, lambda x: x)
    value, gradients = backend.value_and_grad(lambda given: _half_square(backend, given))(arrays)
    close(backend, value, (backend.to_numpy(result) ** 2).sum() / 2, "the value of value_and_grad")
    require(isinstance(gradients, tuple), f"gradients are a {type(gradients).__name__}, needed a tuple")
    for name, gradient in zip("ABC", gradients, strict=True):
        close(backend, gradient, backend.to_numpy(pulled[name]), f"the gradient of {name!r}")
    both = backend.value_and_grad(lambda given, factor: backend.xp.sum(given[0] * factor))
    close(
        backend,
        both(arrays[:1], arrays[0])[1][0],
        backend.to_numpy(arrays[0]),
        "a gradient beside other arguments",
    )
    if "stop_gradient" in backend.capabilities:
        half = backend.value_and_grad(lambda g: backend.xp.sum(g[0] * backend.stop_gradient(g[0])))
        _, (gradient,) = half(arrays[:1])
        close(backend, gradient, backend.to_numpy(arrays[0]), "the gradient of sum(x * stop_gradient(x))")


@check
def compiles(backend: Backend) -> None:
    """``jit`` gives the same values, and traces once for equal shapes."""
    register_backend(backend)
    arrays = _operands(backend)
    calls = []

    def fn(given: Any) -> Array:
        calls.append(1)
        return _half_square(backend, given)

    compiled = backend.jit(fn)
    first = compiled(arrays)
    close(backend, first, backend.to_numpy(_half_square(backend, arrays)), "jit")
    traced = len(calls)
    close(backend, compiled(tuple(2 * a for a in arrays)), 64 * backend.to_numpy(first), "jit, other values")
    if "jit" in backend.capabilities:
        require(len(calls) == traced, "jit traced again for equal shapes")


@check
def maps(backend: Backend) -> None:
    """``vmap`` runs over the leading axis of all arguments and results."""
    register_backend(backend)
    if "vmap" not in backend.capabilities:
        return
    arrays = _operands(backend)
    stacked = tuple(backend.xp.stack([a, 2 * a, 0 * a]) for a in arrays)
    got = backend.vmap(lambda given: _half_square(backend, given))(stacked)
    once = float(backend.to_numpy(_half_square(backend, arrays)))
    close(backend, got, np.array([once, 64 * once, 0.0]), "vmap of a contraction")
    first, second = backend.vmap(lambda a, b: (a + b, a))(stacked[0], stacked[0])
    close(backend, first, 2 * backend.to_numpy(second), "vmap of two arguments and two results")


@check
def loops(backend: Backend) -> None:
    """``scan`` and ``while_loop`` carry a state of several arrays."""
    rows = backend.asarray(values(5, 2), backend.default_dtype)
    start = backend.asarray(np.zeros(2), backend.default_dtype)
    (total, last), seen = backend.scan(lambda state, x: ((state[0] + x, x), state[0]), (start, start), rows)
    host = backend.to_numpy(rows)
    close(backend, total, host.sum(0), "the last state of scan")
    close(backend, last, host[-1], "the last state of scan")
    wanted = np.concatenate([np.zeros((1, 2)), np.cumsum(host, 0)[:-1]])
    require(len(seen) == 5, f"scan gave {len(seen)} rows, needed 5")
    for got, row in zip(seen, wanted, strict=True):
        close(backend, got, row, "the rows of scan")
    one = backend.asarray(np.ones(()), backend.default_dtype)
    count, power = backend.while_loop(lambda s: s[0] < 3.5, lambda s: (s[0] + 1, s[1] * 2), (0 * one, one))
    close(backend, count, 4.0, "while_loop")
    close(backend, power, 16.0, "while_loop")


@check
def integrates(backend: Backend) -> None:
    """``odeint`` follows a rotation to the wanted times, and says why it cannot where it cannot."""
    if "odeint" not in backend.capabilities:
        return
    speed = backend.asarray(np.asarray(2.0), backend.default_dtype)
    start = tuple(backend.asarray(np.asarray([x]), backend.default_dtype) for x in (1.0, 0.0))

    def turn(state: Any, speed: Any) -> tuple[Array, ...]:
        return -speed * state[1], speed * state[0]

    times = np.array([0.0, 0.5, 3.0])
    states, steps, why = backend.odeint(turn, start, times, speed, 1e-5, 1e-7, 200)
    require(len(states) == 3 and not why, f"odeint gave {len(states)} of 3 states and said {why!r}")
    require(0 < steps < 200, f"odeint counted {steps} steps")
    for time, (x, y) in zip(times, states, strict=True):
        found = np.concatenate([backend.to_numpy(x), backend.to_numpy(y)])
        error = float(np.abs(found - [np.cos(2 * time), np.sin(2 * time)]).max())
        require(error < 1e-3, f"odeint at time {time:g} is off by {error:.1e}, with rtol=1e-5")
    # As many times and steps as above, so that one compiled program serves both.
    states, _, why = backend.odeint(turn, start, np.array([0.0, 1e6, 2e6]), speed, 1e-5, 1e-7, 200)
    require(len(states) < 2 and bool(why), f"odeint with too few steps gave {len(states)} states and said {why!r}")


@check
def carries_structures(backend: Backend) -> None:
    """A registered structure passes through the transformations."""
    register_backend(backend)
    if "register_structure" not in backend.capabilities:
        return
    probe = Probe(backend.asarray(values(3, 2), backend.default_dtype), "probe")
    ways = {"jit": backend.jit, "vmap": backend.vmap}
    for name in ways.keys() & backend.capabilities:
        got = ways[name](lambda given: Probe(2 * given.array, given.title))(probe)
        require(
            isinstance(got, Probe) and got.title == "probe",
            f"{name} gave {type(got).__name__}, needed a Probe",
        )
        close(backend, got.array, 2 * backend.to_numpy(probe.array), f"{name} of a structure")


@check
def knows_its_optimizers(backend: Backend) -> None:
    """``wrap_optimizer`` gives ``None`` for what is no optimizer of the framework."""
    got = backend.wrap_optimizer(object())
    require(got is None, f"wrap_optimizer(object()) gave {got!r}, needed None")
