from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from importlib import import_module
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from tnrank import Backend

_WRITTEN_OUT = 32  # terms; more would slow compilation down
_COPIED = 8192  # elements; beyond, the copy costs more than it saves
_NEEDS_X64 = {"float64": "float32", "complex128": "complex64"}


class JaxBackend(Backend):
    """JAX arrays; whole loops of training steps are compiled."""

    name: ClassVar[str] = "jax"
    xp: Any = jnp
    array_modules: tuple[str, ...] = ("jax", "jaxlib")
    dtypes: tuple[str, ...] = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"value_and_grad", "jit", "vmap", "scan", "stop_gradient", "odeint", "wrap_optimizer", "register_structure"}
    )

    @property
    def default_dtype(self) -> str:  # type: ignore[override]  # follows jax's x64 flag, which the user may flip
        return "float64" if _x64() else "float32"

    def enable_dtype(self, dtype: str | None) -> None:
        if dtype in _NEEDS_X64:
            jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]  # jax gives it no types

    def dtype_enabled(self, dtype: str | None) -> AbstractContextManager[None]:
        if dtype not in _NEEDS_X64 or _x64():
            return nullcontext()
        found: Any = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")  # before JAX 0.8
        enabled: AbstractContextManager[None] = found.enable_x64(True)
        return enabled

    def version(self) -> str:
        return jax.__version__

    def devices(self) -> tuple[str, ...]:
        return tuple(_device_name(d) for d in jax.devices())

    def asarray(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        self.check_dtype(dtype)
        wanted = dtype or (None if isinstance(x, jax.Array) else str(getattr(x, "dtype", "")))
        if wanted in _NEEDS_X64 and not _x64():
            raise ValueError(
                f"JAX keeps {wanted} as {_NEEDS_X64[wanted]} unless x64 is on: call "
                f"jax.config.update('jax_enable_x64', True) first, or pass dtype={_NEEDS_X64[wanted]!r} "
                "(the tnrank command does it for --dtype float64)"
            )
        return jnp.asarray(x, dtype=dtype, device=self._device(device))

    def _device(self, device: Any) -> Any:
        if not isinstance(device, str):
            return device
        for candidate in jax.devices():
            if device in (_device_name(candidate), candidate.platform):
                return candidate
        if device.partition(":")[0] == "cpu":
            return jax.devices("cpu")[0]
        raise ValueError(f"jax has no device {device!r}; it has {', '.join(self.devices())}")

    def to_numpy(self, x: Any) -> np.ndarray[Any, Any]:
        return np.asarray(x)

    def dtype_of(self, x: Any) -> str:
        return _name(x.dtype)

    def device_of(self, x: Any) -> str:
        if isinstance(x, jax.core.Tracer):
            return self.devices()[0]
        return _device_name(next(iter(x.devices())))

    def check_array(self, x: Any) -> None:
        # Sparse arrays of jax.experimental are not subclasses of jax.Array, and have a todense.
        if hasattr(type(x), "todense"):
            raise TypeError(f"got a {type(x).__name__}, which is sparse, needed a dense array: x.todense()")

    def einsum(self, equation: str, *operands: Any) -> Any:
        return jnp.einsum(equation, *operands)

    def synchronize(self, x: Any) -> None:
        jax.block_until_ready(x)  # type: ignore[no-untyped-call]  # jax gives it no types

    def matmul(self, a: Any, b: Any, turned: bool) -> Any:
        # XLA's CPU product is up to 1.7 times slower with a small transposed left side than with a copy of it.
        if turned and a.size <= _COPIED and _on_cpu():
            a = jax.lax.optimization_barrier(a)  # type: ignore[no-untyped-call]  # jax gives it no types
        return a @ b

    def multiply_sum(self, a: Any, b: Any, axes: tuple[int, ...]) -> Any:
        # XLA's CPU reductions over leading axes are not vectorized; a short sum written out fuses into one loop.
        extents = [max(a.shape[k], b.shape[k]) for k in axes]
        if math.prod(extents) > _WRITTEN_OUT or axes[-1] == a.ndim - 1:
            return jnp.sum(a * b, axis=axes)
        return sum(
            _at(a, axes, position) * _at(b, axes, position) for position in itertools.product(*map(range, extents))
        )

    def pair_product(self, x: Any) -> Any:
        return _pair_product(x)

    def scatter_add(self, shape: tuple[int, ...], axis: int, indices: Any, values: Any) -> Any:
        moved = jnp.moveaxis(values, axis, 0)
        zeros = jnp.zeros((shape[axis], *moved.shape[1:]), values.dtype)
        return jnp.moveaxis(zeros.at[indices].add(moved), 0, axis)

    def power_of_two(self, x: Any) -> Any:
        # Bit by bit, because XLA makes a product that overflows of a quotient by a quotient; and with a reciprocal that
        # is not flushed to zero, by which it multiplies where it is told to divide.
        most = jnp.finfo(x.dtype).maxexp - 2  # type: ignore[no-untyped-call]  # jax gives it no types
        exponent = jnp.minimum(jnp.frexp(x)[1] - 1, most)
        power = jnp.ldexp(jnp.ones_like(x), exponent)
        return jnp.where(jnp.isfinite(x), power, jnp.nan)

    def svdvals(self, x: Any) -> Any:
        return jnp.linalg.svd(x, compute_uv=False)

    def spectrum(self, values: Callable[..., Any], x: Any, rtol: float) -> Any:
        return _spectrum(values, rtol, x)

    def differentiate_as(self, fn: Callable[..., Any], smooth: Callable[..., Any], arrays: Sequence[Any]) -> Any:
        return _differentiated_as(fn, smooth, *arrays)

    def value_and_grad(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return jax.value_and_grad(fn)

    def jit(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(fn)

    def vmap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return jax.vmap(fn)

    def while_loop(self, condition: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
        return jax.lax.while_loop(condition, body, state)

    def cond(self, predicate: Any, fn: Callable[..., Any], *operands: Any) -> Any:
        if not isinstance(predicate, jax.core.Tracer):
            return fn(*operands) if predicate else None
        shapes = jax.eval_shape(fn, *operands)
        return jax.lax.cond(
            predicate, fn, lambda *_: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), *operands
        )

    def descend(self, arrays: Any, rate: Any, directions: Any) -> tuple[Any, ...]:
        return tuple((a - rate * d).astype(a.dtype) for a, d in zip(arrays, directions, strict=True))

    def scan(self, fn: Callable[..., Any], state: Any, xs: Sequence[Any]) -> tuple[Any, Any]:
        return jax.lax.scan(fn, state, xs)

    def odeint(
        self, fn: Callable[..., Any], state: Any, times: Any, data: Any, rtol: float, atol: float, max_steps: int
    ) -> tuple[list[Any], int, str]:
        # In the state's dtype, or the solver would widen the state.
        given = [jnp.asarray(number, state[0].dtype) for number in (times, rtol, atol)]
        found, reached, steps, failed = _odeint(fn, max_steps, tuple(state), data, *given)
        # One call an array: slices one by one cost more than a short solve.
        states = list(zip(*(jnp.unstack(a) for a in found), strict=True))[: int(reached)]
        steps = int(steps)
        why = f"{steps:,} steps were not enough" if steps >= max_steps else "the steps became too small"
        return states, steps, why if bool(failed) else ""

    def stop_gradient(self, x: Any) -> Any:
        return jax.lax.stop_gradient(x)

    def wrap_optimizer(self, optimizer: Any) -> Any:
        from tnrank_jax._optimizer import OptaxOptimizer

        is_transformation = callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))
        return OptaxOptimizer(optimizer) if is_transformation and not isinstance(optimizer, type) else None

    def register_structure(self, cls: Any) -> None:
        jax.tree_util.register_pytree_node(cls, lambda x: x._flatten(), cls._unflatten)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _spectrum(values: Callable[..., Any], rtol: float, x: Any) -> Any:
    return values(x)


@_spectrum.defjvp
def _spectrum_jvp(values: Callable[..., Any], rtol: float, primals: Any, tangents: Any) -> tuple[Any, Any]:
    (x,), (dx,) = primals, tangents
    u, s, vh = jnp.linalg.svd(x, full_matrices=False)
    moved = jnp.sum(jnp.conj(u) * (dx @ jnp.conj(jnp.matrix_transpose(vh))), axis=-2).real
    return s, jnp.where(s > rtol * s[..., :1], moved, 0)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _differentiated_as(fn: Callable[..., Any], smooth: Callable[..., Any], *arrays: Any) -> Any:
    return fn(*arrays)


@_differentiated_as.defjvp
def _differentiated_as_jvp(fn: Callable[..., Any], smooth: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    return jax.jvp(smooth, primals, tangents)


@jax.custom_jvp
def _pair_product(x: Any) -> Any:
    return x[:, 0] * x[:, 1]


@_pair_product.defjvp
def _pair_product_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    (x,), (dx,) = primals, tangents
    # XLA makes one loop of this; the derivative of two slices is two padded arrays and their sum.
    return x[:, 0] * x[:, 1], jnp.sum(dx * x[:, ::-1], axis=1)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _at(x: Any, axes: tuple[int, ...], position: tuple[int, ...]) -> Any:
    chosen: list[Any] = [slice(None)] * x.ndim
    for axis, k in zip(axes, position, strict=True):
        chosen[axis] = min(k, x.shape[axis] - 1)  # size 1 is broadcast
    return x[tuple(chosen)]


@partial(jax.jit, static_argnums=(0, 1))
def _odeint(
    fn: Callable[..., Any], max_steps: int, state: Any, data: Any, times: Any, rtol: Any, atol: Any
) -> tuple[Any, Any, Any, Any]:
    import diffrax

    # Steps end at the wanted times: the solver's interpolation between steps is less accurate than the steps.
    control = diffrax.ClipStepSizeController(diffrax.PIDController(rtol=rtol, atol=atol, force_dtmin=False), times)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, given: fn(y, given)),
        diffrax.Dopri8(),
        t0=0.0 * times[0],
        t1=times[-1],
        dt0=None,
        y0=state,
        args=data,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=control,
        max_steps=max_steps,
        throw=False,
    )
    finite = [jnp.all(jnp.isfinite(a).reshape(len(times), -1), axis=1) for a in found.ys]
    reached = jnp.sum(jnp.cumprod(jnp.all(jnp.stack(finite), axis=0)))
    return found.ys, reached, found.stats["num_steps"], found.result != diffrax.RESULTS.successful


@cache
def _name(dtype: Any) -> str:
    return str(dtype)


def _x64() -> bool:
    return bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]  # set at run time


def _device_name(device: Any) -> str:
    return "cpu" if device.platform == "cpu" else f"{device.platform}:{device.id}"


backend = JaxBackend()
