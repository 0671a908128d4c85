"""Linear layers whose weight is a factorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

import tnrank
from tnrank.layers import format_of_factorization, input_moments, plans_of, weight_format
from tnrank_jax.nn._layer import MAPPED, FactorizedLayer, dense_layer, drawn, fit_layer, made


class FactorizedLinear(FactorizedLayer):
    """``W @ x + bias`` with a factorized weight W, of shape (out_features, in_features).

    Inputs are contracted with the tensors along a plan that is chosen for the number of rows; where it is cheaper, the
    plan builds W first. A single vector is planned as one of 64, since ``jax.vmap`` hides the batch from a layer; a
    batch that is given as it is has the plan of its size.

    Args:
        in_features: size of the inputs.
        out_features: size of the outputs.
        use_bias: whether there is one.
        dtype: JAX's default if ``None``.
        key: of ``jax.random``, as layers of Equinox take; it seeds NumPy's generator, which draws the weights.
        seed: of NumPy's generator, in place of ``key``; the same weights as in PyTorch.
        structure: ``"mf"``, a matrix factorization (deep linear network); ``"cp"``; ``"tucker"``; ``"tt"``, a tensor
            train over the modes of outputs and inputs; ``"ttm"``, a tensor-train matrix; ``"htf"``, a hierarchical
            factorization; ``"btt"``, a block tensor train.
        rank: one number for all inner indices, each at most what is of use there; or one for each. For ``"mf"`` the
            latter are the hidden sizes of a deep linear network, which may exceed the rank of a matrix.
        parameters: in place of ``rank``: the largest rank that takes at most this share of the dense parameters;
            ``"same"`` is 1.
        modes: into how many modes each side is split, or both splits: ``((outputs), (inputs))``.
        depth: number of factors of ``"mf"``.
        std: standard deviation of all initial entries; by default outputs and gradients start with the scale of
            ``eqx.nn.Linear``.
        balanced: start from balanced tensors with the same product; for ``"mf"``, ``"cp"`` and ``"htf"``.
        recompute: compute intermediates again in the backward pass, instead of keeping them.
        device: where the arrays live.

    Raises:
        ValueError: for ranks or modes that do not fit, what is possible is named; or without a key and a seed.

    Source: Arora, Cohen, Hu & Luo 2019 (deep linear networks); Novikov, Podoprikhin, Osokin & Vetrov 2015 (tensor-train
    matrices); Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024 (block tensor trains).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnrank_jax import nn
        >>> layer = nn.FactorizedLinear(1024, 1024, structure="tt", parameters=0.05, key=jax.random.key(0))
        >>> layer
        FactorizedLinear(1024 x 1024, use_bias=True, tt, rank 28, 51,968 of 1,048,576 parameters (5.0 %))
        >>> jax.vmap(layer)(jnp.ones((5, 1024))).shape, layer(jnp.ones((5, 1024))).shape
        ((5, 1024), (5, 1024))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        use_bias: bool = True,
        dtype: Any = None,
        *,
        key: Any = None,
        seed: int | None = None,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        std: float | None = None,
        balanced: bool = False,
        recompute: bool = False,
        device: Any = None,
    ) -> None:
        shape = (out_features, in_features)
        weight = weight_format("linear", shape, structure, rank=rank, parameters=parameters, modes=modes, depth=depth)
        outputs = weight.shape[0] if use_bias else None
        self.arrays, self.bias = drawn(weight, outputs, key, seed, dtype, device, std, balanced)
        self.format, self.error, self.recompute = weight, None, bool(recompute)

    @classmethod
    def from_layer(
        cls,
        layer: Any,
        *,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        rtol: float | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        inputs: Any = None,
        recompute: bool = False,
    ) -> Self:
        """The factorized layer nearest to a trained one; its ``error`` says how near.

        Args:
            layer: an ``eqx.nn.Linear``.
            structure: see above.
            rank: see above; one of ``rank``, ``rtol`` and ``parameters``.
            rtol: bounds the relative error of the weight.
            parameters: see above.
            modes: see above.
            depth: see above.
            inputs: inputs ``(.., in_features)`` that the layer sees: the error of its outputs for them is made small,
                in place of that of its weight.
            recompute: see above.

        Raises:
            TypeError: for another layer, or a weight that is no array of floating-point numbers.
            ValueError: as above.

        Example:
            >>> import equinox as eqx, jax
            >>> from tnrank_jax import nn
            >>> dense = eqx.nn.Linear(64, 32, key=jax.random.key(0))
            >>> nn.FactorizedLinear.from_layer(dense, rank=32).error < 1e-5
            True
        """
        if not isinstance(layer, eqx.nn.Linear):
            raise TypeError(f"got a {type(layer).__name__}, needed an eqx.nn.Linear")
        if "scalar" in (layer.in_features, layer.out_features):
            raise ValueError("the layer has a side of size 'scalar': there is nothing to factorize, leave it dense")
        settings = {"structure": structure, "rank": rank, "rtol": rtol, "parameters": parameters}
        moments = None if inputs is None else input_moments(inputs, int(layer.in_features))
        fit = fit_layer(layer, "linear", {**settings, "modes": modes, "depth": depth}, moments)
        return made(
            cls, arrays=fit.arrays, bias=layer.bias, format=fit.weight, error=fit.error, recompute=bool(recompute)
        )

    @classmethod
    def from_factorization(cls, x: tnrank.Factorization, outputs: int | None = None, use_bias: bool = False) -> Self:
        """The layer whose weight is a factorization, with its arrays as leaves.

        Args:
            x: modes of the outputs, then those of the inputs: a matrix factorization ``(out_features, in_features)``,
                a CP, Tucker, tensor-train or hierarchical one, or a tensor-train operator; one of another backend is
                converted to JAX first.
            outputs: how many of its modes are outputs; half of them by default.
            use_bias: whether there is one; it starts at 0.

        Raises:
            TypeError: for another class.
            ValueError: if its modes do not fit.

        Example:
            >>> import tnrank
            >>> from tnrank_jax import nn
            >>> x = tnrank.MatrixFactorization.random((10, 64), depth=3, hidden=20, std=0.1, seed=0, backend="jax")
            >>> layer = nn.FactorizedLinear.from_factorization(x)
            >>> layer.in_features, layer.value().depth
            (64, 3)
        """
        weight, arrays = format_of_factorization(x, outputs)
        backend = tnrank.get_backend("jax")
        if x.backend.name != "jax":
            arrays = {name: backend.asarray(x.backend.to_numpy(array), x.dtype) for name, array in arrays.items()}
        bias = jnp.zeros(weight.shape[0], x.dtype) if use_bias else None
        return made(cls, arrays=dict(arrays), bias=bias, format=weight, error=None, recompute=False)

    @property
    def in_features(self) -> int:
        """Size of the inputs."""
        return self.format.shape[1]

    @property
    def out_features(self) -> int:
        """Size of the outputs."""
        return self.format.shape[0]

    def __call__(self, x: Any, *, key: Any = None) -> jax.Array:
        """Outputs ``(.., out_features)`` of inputs ``(.., in_features)``: a vector, a batch, or more.

        Args:
            x: the inputs.
            key: not used; other Equinox layers take one.

        Raises:
            ValueError: for inputs of another size.
        """
        x = jnp.asarray(x)
        if not x.ndim or x.shape[-1] != self.in_features:
            raise ValueError(f"inputs have shape {x.shape}, needed (.., {self.in_features})")
        dtype = jnp.result_type(x, *self.arrays.values())
        flat = x.reshape(-1, self.in_features).astype(dtype)
        plans, rows = plans_of(self.format), MAPPED if x.ndim == 1 else flat.shape[0]
        y = self._run(lambda arrays, inputs: plans.apply(arrays, inputs, rows), flat, dtype)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def collapse(self) -> eqx.nn.Linear:
        """The dense layer that computes the same.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from tnrank_jax import nn
            >>> layer = nn.FactorizedLinear(64, 32, structure="cp", rank=10, key=jax.random.key(0))
            >>> x = jnp.ones(64)
            >>> bool(jnp.allclose(layer.collapse()(x), layer(x), atol=1e-5))
            True
        """
        found: eqx.nn.Linear = dense_layer(
            eqx.nn.Linear, self.in_features, self.out_features, self.use_bias, weight=self.weight, bias=self.bias
        )
        return found
