from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from array_api_compat import torch as torch_namespace
from torch.utils import _pytree

from tnrank import Backend


class TorchBackend(Backend):
    """PyTorch tensors; gradients by autograd, batches by ``torch.func.vmap``."""

    name: ClassVar[str] = "torch"
    xp: Any = torch_namespace
    array_modules: tuple[str, ...] = ("torch",)
    dtypes: tuple[str, ...] = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"value_and_grad", "vmap", "stop_gradient", "wrap_optimizer", "register_structure"}
    )

    @property
    def default_dtype(self) -> str:  # type: ignore[override]  # follows torch.set_default_dtype
        return _name(torch.get_default_dtype())

    def version(self) -> str:
        return str(torch.__version__)

    def devices(self) -> tuple[str, ...]:
        return ("cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count())))

    def asarray(self, x: Any, dtype: str | None = None, device: Any = None) -> torch.Tensor:
        self.check_dtype(dtype)
        if isinstance(x, np.ndarray):
            x = np.asarray(x, order="C")
            # An axis of size 1 may have a negative stride, and count as contiguous; torch takes none.
            x = x if x.flags.writeable and min(x.strides, default=0) >= 0 else x.copy()
        kind = None if dtype is None else getattr(torch, dtype)
        return torch.as_tensor(x, dtype=kind, device=device)

    def to_numpy(self, x: torch.Tensor) -> np.ndarray[Any, Any]:
        if torch.compiler.is_compiling():
            raise TypeError("a compiled program has no values yet")  # the compiler would make up an array of its own
        x = x.detach().cpu().resolve_conj().resolve_neg()
        return x.float().numpy() if x.dtype is torch.bfloat16 else x.numpy()

    def dtype_of(self, x: torch.Tensor) -> str:
        return _name(x.dtype)

    def device_of(self, x: torch.Tensor) -> str:
        return str(x.device)

    def check_array(self, x: torch.Tensor) -> None:
        if x.layout is not torch.strided or x.is_quantized or x.is_nested:
            kind = "quantized" if x.is_quantized else "nested" if x.is_nested else f"sparse ({x.layout})"
            fix = "dequantize" if x.is_quantized else "to_padded_tensor(0.0)" if x.is_nested else "to_dense"
            raise TypeError(f"got a tensor that is {kind}, needed a dense one: x.{fix}{'' if x.is_nested else '()'}")

    def einsum(self, equation: str, *operands: torch.Tensor) -> torch.Tensor:
        return torch.einsum(equation, *operands)

    def synchronize(self, x: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def reshape(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.reshape(shape)

    def permute(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return x.permute(axes)

    def multiply_sum(self, a: torch.Tensor, b: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return (a * b).sum(axes)

    def pair_product(self, x: torch.Tensor) -> torch.Tensor:
        if not x.requires_grad or torch.compiler.is_compiling() or _in_vmap(x):
            return x[:, 0] * x[:, 1]
        found: torch.Tensor = _PairProduct.apply(x)  # type: ignore[no-untyped-call]  # torch gives it no types
        return found

    def take(self, x: torch.Tensor, indices: torch.Tensor, axis: int) -> torch.Tensor:
        return x.index_select(axis, indices)

    def scatter_add(
        self, shape: tuple[int, ...], axis: int, indices: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        # index_add takes ten times as long where rows are short.
        places = indices.long().reshape([-1 if k == axis else 1 for k in range(values.ndim)]).expand(values.shape)
        return values.new_zeros(shape).scatter_add(axis, places, values)

    def sum_of_squares(self, arrays: Sequence[torch.Tensor]) -> torch.Tensor:
        if _in_vmap(arrays[0]):
            return torch.stack([a.abs().square().sum() for a in arrays]).sum()
        return torch.stack(torch._foreach_norm(list(arrays))).square().sum()

    def descend(self, arrays: Any, rate: Any, directions: Any) -> tuple[torch.Tensor, ...]:
        if isinstance(rate, float) and not _in_vmap(arrays[0]):
            return tuple(torch._foreach_add(list(arrays), list(directions), alpha=-rate))
        return tuple(a - rate * d for a, d in zip(arrays, directions, strict=True))

    def svdvals(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.svdvals(x)
        return values

    def spectrum(self, values: Callable[..., Any], x: torch.Tensor, rtol: float) -> torch.Tensor:
        if torch.compiler.is_compiling():
            # The compiler does not see through a rule of one's own; torch's is U diag(g) V^H, too, for any values.
            return self.svdvals(x)
        if not _differentiated(x):
            plain: torch.Tensor = values(x)
            return plain
        found: torch.Tensor = _Spectrum.apply(x, values, rtol)  # type: ignore[no-untyped-call]  # torch gives it no types
        return found

    def differentiate_as(
        self, fn: Callable[..., Any], smooth: Callable[..., Any], arrays: Sequence[torch.Tensor]
    ) -> Any:
        if not _differentiated(*arrays):
            return fn(*arrays)
        return _DifferentiatedAs.apply(fn, smooth, *arrays)  # type: ignore[no-untyped-call]  # torch gives it no types

    def cond(self, predicate: Any, fn: Callable[..., Any], *operands: Any) -> Any:
        # A batch has no one answer: what does not hold is computed as well, and the caller chooses.
        batched = isinstance(predicate, torch.Tensor) and _in_vmap(predicate)
        return fn(*operands) if batched or predicate else None

    def value_and_grad(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        def both(arrays: Sequence[torch.Tensor], *rest: Any) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
            with torch.enable_grad():
                leaves = tuple(a.detach().requires_grad_() for a in arrays)
                value = fn(leaves, *rest)
                gradients = torch.autograd.grad(value, leaves)
            return value.detach(), gradients

        return both

    def vmap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return torch.func.vmap(fn)

    def compiled_loop(self, condition: Callable[..., Any], body: Callable[..., Any]) -> Any:
        from tnrank_torch._loops import CompiledLoop

        return CompiledLoop(condition, body)

    def stop_gradient(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()

    def wrap_optimizer(self, optimizer: Any) -> Any:
        from tnrank_torch._optimizer import TorchOptimizer

        return (
            TorchOptimizer(optimizer) if callable(optimizer) or isinstance(optimizer, torch.optim.Optimizer) else None
        )

    def read_weights(self, path: str, key: str | None = None) -> Mapping[str, torch.Tensor]:
        from tnrank_torch._weights_file import read_weights

        return read_weights(path, key)

    def register_structure(self, cls: Any) -> None:
        _pytree.register_pytree_node(
            cls,
            lambda x: (list(x._flatten()[0]), x._flatten()[1]),
            lambda leaves, static: cls._unflatten(static, leaves),
            serialized_type_name=f"tnrank.{cls.__name__}",
        )


class _Spectrum(torch.autograd.Function):
    """Singular values by any method, differentiated by singular vectors that only a derivative computes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, values: Callable[..., Any], rtol: float) -> Any:
        return values(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, _, ctx.rtol = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        u, s, vh = torch.linalg.svd(ctx.saved_tensors[0], full_matrices=False)
        g = torch.where(s > ctx.rtol * s[..., :1], g, 0)
        return (u * g[..., None, :]) @ vh, None, None

    @staticmethod
    def jvp(ctx: Any, dx: torch.Tensor, *_: Any) -> Any:
        u, s, vh = torch.linalg.svd(ctx.saved_tensors[0], full_matrices=False)
        moved = (u.conj() * (dx @ vh.mH)).sum(-2).real
        return torch.where(s > ctx.rtol * s[..., :1], moved, 0)


class _PairProduct(torch.autograd.Function):
    """A product of two halves whose gradient is written into one array; autograd makes two and copies them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> Any:
        return x[:, 0] * x[:, 1]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled() or _in_vmap(g):
            return torch.stack((g * x[:, 1].conj(), g * x[:, 0].conj()), 1)
        found = torch.empty_like(x)
        for here, there in ((0, 1), (1, 0)):
            torch.mul(g, x[:, there].conj(), out=found[:, here])
        return found

    @staticmethod
    def jvp(ctx: Any, dx: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return dx[:, 0] * x[:, 1] + x[:, 0] * dx[:, 1]


class _DifferentiatedAs(torch.autograd.Function):
    """A function with the derivative of another one of the same values."""

    generate_vmap_rule = True

    @staticmethod
    def forward(fn: Callable[..., Any], smooth: Callable[..., Any], *arrays: torch.Tensor) -> Any:
        return fn(*arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.smooth, *arrays = inputs
        ctx.save_for_backward(*arrays)
        ctx.save_for_forward(*arrays)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        pull = torch.func.vjp(ctx.smooth, *ctx.saved_tensors)[1]
        return (None, None, *pull(gradients))

    @staticmethod
    def jvp(ctx: Any, _fn: Any, _smooth: Any, *tangents: Any) -> Any:
        arrays = ctx.saved_tensors
        full = tuple(torch.zeros_like(a) if t is None else t for a, t in zip(arrays, tangents, strict=True))
        return torch.func.jvp(ctx.smooth, arrays, full)[1]


def _in_vmap(x: torch.Tensor) -> bool:
    # The fused kernels over lists of tensors have no batching rule.
    return bool(torch._C._functorch.is_batchedtensor(x))


def _differentiated(*arrays: torch.Tensor) -> bool:
    """Whether a derivative, or a transformation of functions, may want a rule; binding its arguments takes long."""
    return any(a.requires_grad for a in arrays) or torch._C._functorch.maybe_current_level() is not None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


backend = TorchBackend()
