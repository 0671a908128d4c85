"""Convolutional arithmetic circuits as Equinox modules."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tnrank import Factorization
from tnrank.circuits import Circuit, Representation
from tnrank_jax.nn._layer import dtype_name


class ConvolutionalArithmeticCircuit(eqx.Module):
    """A circuit whose filters are leaves of an Equinox module, and whose tensor is a factorization.

    ``weights`` are arrays of the shapes of :attr:`tnrank.circuits.Circuit.shapes`, ``representation`` has the arrays
    of the representation functions by name; both are trained. Call :meth:`value` for the factorization.

    Args:
        circuit: what it looks like; :meth:`from_sizes` and :meth:`from_factorization` make one.
        seed: of the initial weights, the same on every backend.
        dtype: JAX's default if ``None``.
        device: where the arrays live.
        std: see :meth:`tnrank.circuits.Circuit.initial_weights`.
        sample: some inputs, to start from outputs of size 1 for them; it matters for long products.

    Raises:
        TypeError: if ``circuit`` is not a Circuit.

    Source: Cohen, Sharir & Shashua 2016, Sec. 3.

    Example:
        >>> import equinox as eqx, jax.numpy as jnp
        >>> from tnrank.circuits import Circuit, CosSin
        >>> from tnrank_jax import nn
        >>> circuit = Circuit.deep((8, 8), channels=16, classes=10, shared=True, representation=CosSin())
        >>> module = nn.ConvolutionalArithmeticCircuit(circuit)
        >>> eqx.filter_jit(module)(jnp.ones((5, 64, 1))).shape
        (5, 10)
        >>> module.value().shape[-3:]
        (2, 2, 10)
    """

    circuit: Circuit = eqx.field(static=True)
    weights: tuple[Any, ...]
    representation: dict[str, Any]

    def __init__(
        self,
        circuit: Circuit,
        seed: int | None = 0,
        dtype: Any = None,
        device: Any = None,
        std: float | None = None,
        sample: Any = None,
    ) -> None:
        if not isinstance(circuit, Circuit):
            raise TypeError(
                f"got {type(circuit).__name__}, needed a Circuit such as Circuit.deep((8, 8), features=2); "
                "for a factorization: ConvolutionalArithmeticCircuit.from_factorization(x)"
            )
        name, functions = dtype_name(dtype), circuit.representation
        self.circuit = circuit
        self.representation = {} if functions is None else functions.initial(seed, "jax", name, device)
        features = None if sample is None else self._features(jnp.asarray(sample))
        self.weights = circuit.initial_weights(seed, "jax", name, device, std, features)

    @classmethod
    def from_sizes(
        cls,
        grid: int | Sequence[int],
        features: int | None = None,
        channels: int | Sequence[int] = 16,
        window: Any = 2,
        *,
        classes: int = 1,
        shared: bool = False,
        ragged: bool = False,
        representation: Representation | None = None,
        seed: int | None = 0,
        dtype: Any = None,
        device: Any = None,
        std: float | None = None,
        sample: Any = None,
    ) -> Self:
        """A deep circuit with new weights: :meth:`tnrank.circuits.Circuit.deep`.

        Example:
            >>> from tnrank_jax import nn
            >>> nn.ConvolutionalArithmeticCircuit.from_sizes(8, features=2, channels=4).value().shape
            (2, 2, 2, 2, 2, 2, 2, 2)
        """
        circuit = Circuit.deep(
            grid,
            features,
            channels,
            window,
            classes=classes,
            shared=shared,
            ragged=ragged,
            representation=representation,
        )
        return cls(circuit, seed, dtype, device, std, sample)

    @classmethod
    def from_factorization(
        cls,
        x: Factorization,
        grid: Sequence[int] | None = None,
        shared: bool | None = None,
        classes: bool = False,
        representation: Representation | None = None,
        *,
        dtype: Any = None,
        device: Any = None,
    ) -> Self:
        """The circuit of a matrix, CP or hierarchical factorization, with its arrays as weights.

        Arguments: see :meth:`tnrank.circuits.Circuit.from_factorization`; ``dtype`` and ``device`` are those of ``x``
        if ``None``. A factorization holds no representation: give one where the module is to take patches.

        Raises:
            TypeError: for another kind of factorization.
            ValueError: if its tree is not made of windows.

        Example:
            >>> import jax.numpy as jnp, tnrank
            >>> from tnrank_jax import nn
            >>> x = tnrank.HierarchicalFactorization.random((3,) * 4, width=4, seed=0, backend="jax")
            >>> module = nn.ConvolutionalArithmeticCircuit.from_factorization(x)
            >>> index = jnp.array([[0, 1, 2, 0]])
            >>> bool(jnp.allclose(module(index), x.entries(index)))
            True
        """
        circuit = Circuit.from_factorization(x, grid, shared, classes, representation)
        x = x.to("jax", None if dtype is None else dtype_name(dtype), device)
        made = cls(circuit, 0, x.dtype)
        found: Self = eqx.tree_at(lambda module: module.weights, made, circuit.weights_of(x))
        return found

    def value(self) -> Any:
        """The factorization of the present weights; gradients flow through it.

        Raises:
            ValueError: if the circuit has another pooling than the product, or an activation.
        """
        return self.circuit.to_factorization(self.weights)

    def __call__(self, inputs: Any, log: bool = False, *, key: Any = None) -> Any:
        """Outputs ``(batch,)`` or ``(batch, classes)``; with ``log`` the pair of signs and logarithms of sizes.

        Args:
            inputs: patches ``(batch, N, p)``; on a plane also ``(batch, p, H, W)``, a patch of p numbers a pixel;
                whole numbers ``(batch, N)`` for one-hot representations and embeddings. One input, ``(N, p)`` or
                whole numbers ``(N,)``, gives one output, also under ``jax.vmap``; a batch at once is faster.
            log: see :meth:`tnrank.circuits.Circuit.forward`.
            key: not used; other Equinox layers take one.

        Raises:
            ValueError: for another number of patches or of numbers in a patch.
        """
        inputs = jnp.asarray(inputs)
        single = inputs.ndim == (2 if jnp.issubdtype(inputs.dtype, jnp.inexact) else 1)
        features = self._features(inputs[None] if single else inputs)
        found = self.circuit.forward(self.weights, features, log)
        return jax.tree.map(lambda a: a[0], found) if single else found

    def _features(self, inputs: jax.Array) -> Any:
        grid = self.circuit.grid
        if inputs.ndim == 4 and len(grid) == 2 and inputs.shape[2:] == grid:
            inputs = jnp.moveaxis(inputs.reshape(*inputs.shape[:2], -1), 1, 2)
        return self.circuit.represent(self.representation, inputs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\n{indent(str(self.circuit), '  ')}\n)"
