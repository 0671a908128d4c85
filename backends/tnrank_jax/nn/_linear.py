"""Deep linear networks: matrix factorizations as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tnrank import MatrixFactorization, get_backend


class DeepLinear(eqx.Module):
    """Linear layers without biases, one after the other: ``x @ W_0 @ W_1 @ ..``, a matrix factorization.

    ``layers`` are ``equinox.nn.Linear``; the weight of layer j is the transpose of ``W_j``, as Equinox has it.

    Args:
        sizes: ``(d_0, .., d_L)``: features of the input, of every hidden layer, and of the output.
        std: standard deviation of the entries; ``d_in ** -0.5`` of every layer if not given, which keeps outputs as
            large as inputs.
        seed: of NumPy's Generator.
        dtype: JAX's default if ``None``.
        device: where the arrays live.

    Raises:
        ValueError: for fewer than two sizes, or sizes below 1.

    Source: Arora, Cohen, Hu & Luo 2019, Sec. 2; Razin & Cohen 2020, Sec. 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnrank_jax import nn
        >>> module = nn.DeepLinear((64, 32, 10))
        >>> module(jnp.ones((5, 64))).shape, module.value().shape
        ((5, 10), (64, 10))
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(
        self,
        sizes: Sequence[int],
        std: float | None = None,
        seed: int | None = 0,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        sizes = [int(size) for size in sizes]
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"got sizes {sizes}, needed at least two from 1 on: (input, hidden, .., output)")
        drawn = MatrixFactorization.random(
            (sizes[0], sizes[-1]),
            depth=len(sizes) - 1,
            hidden=sizes[1:-1],
            seed=seed,
            backend="jax",
            dtype=dtype_name(dtype),
            device=device,
        )
        self.layers = tuple(_layer(w * (w.shape[0] ** -0.5 if std is None else std)) for w in drawn.layers)

    @classmethod
    def from_factorization(cls, x: MatrixFactorization) -> Self:
        """The linear network of a matrix factorization.

        Raises:
            TypeError: for another factorization.

        Example:
            >>> import jax.numpy as jnp, tnrank
            >>> from tnrank_jax import nn
            >>> x = tnrank.MatrixFactorization.random((4, 3), depth=3, seed=0, backend="jax")
            >>> bool(jnp.allclose(nn.DeepLinear.from_factorization(x)(jnp.eye(4)), x.to_dense(), atol=1e-5))
            True
        """
        if not isinstance(x, MatrixFactorization):
            raise TypeError(
                f"got {type(x).__name__}, needed a MatrixFactorization; others: ConvolutionalArithmeticCircuit"
            )
        x = x if x.backend.name == "jax" else x.to("jax")
        made = cls((1, 1), dtype="float32")
        found: Self = eqx.tree_at(lambda module: module.layers, made, tuple(_layer(w) for w in x.layers))
        return found

    def value(self) -> MatrixFactorization:
        """The matrix factorization of the present weights; gradients flow through it."""
        return MatrixFactorization([layer.weight.T for layer in self.layers])

    def __call__(self, x: jax.Array, *, key: Any = None) -> jax.Array:
        """Outputs ``(.., d_L)`` of inputs ``(.., d_0)``: a vector, a batch, or more; ``key`` is not used."""
        # eqx.nn.Linear itself takes one vector only.
        for layer in self.layers:
            x = x @ layer.weight.T
        return x


def dtype_name(dtype: Any) -> str:
    """``jnp.bfloat16``, ``"bfloat16"`` and the like by name; the default if ``None``."""
    return get_backend("jax").default_dtype if dtype is None else jnp.dtype(dtype).name


def _layer(matrix: jax.Array) -> eqx.nn.Linear:
    rows, columns = matrix.shape
    # Made of shapes only: the layer's own initialization would be thrown away.
    shapes = eqx.filter_eval_shape(lambda: eqx.nn.Linear(rows, columns, use_bias=False, key=jax.random.key(0)))
    layer: eqx.nn.Linear = eqx.tree_at(lambda made: made.weight, shapes, matrix.T)
    return layer
