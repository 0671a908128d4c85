"""Convolutional arithmetic circuits as modules, made of PyTorch's convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import nn

from tnrank import Factorization
from tnrank.circuits import Circuit, Representation


class ConvolutionalArithmeticCircuit(nn.Module):
    """A circuit whose filters are parameters, and whose tensor is a factorization.

    The filters live in ``torch.nn`` layers without biases: a shared level in a 1x1 ``Conv1d`` or ``Conv2d``, a level
    with a filter bank a location in a ``Conv1d`` with one group a location, the dense layer in a ``Linear``. Call
    :meth:`value` for the factorization, train the module like any other.

    Args:
        circuit: what it looks like; :meth:`from_sizes` and :meth:`from_factorization` make one.
        seed: of the initial weights, the same on every backend.
        dtype: ``torch.get_default_dtype()`` if ``None``.
        device: where the parameters live.
        std: see :meth:`tnrank.circuits.Circuit.initial_weights`.
        sample: some inputs, to start from outputs of size 1 for them; it matters for long products.

    Raises:
        TypeError: if ``circuit`` is not a Circuit.

    Source: Cohen, Sharir & Shashua 2016, Sec. 3.

    Example:
        >>> import torch
        >>> from tnrank.circuits import Circuit, CosSin
        >>> from tnrank_torch import nn
        >>> circuit = Circuit.deep((8, 8), channels=16, classes=10, shared=True, representation=CosSin())
        >>> module = nn.ConvolutionalArithmeticCircuit(circuit)
        >>> module(torch.rand(5, 64, 1)).shape
        torch.Size([5, 10])
        >>> module.value().shape[-3:]
        (2, 2, 10)
    """

    def __init__(
        self,
        circuit: Circuit,
        seed: int | None = 0,
        dtype: Any = None,
        device: Any = None,
        std: float | None = None,
        sample: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(circuit, Circuit):
            raise TypeError(
                f"got {type(circuit).__name__}, needed a Circuit such as Circuit.deep((8, 8), features=2); "
                "for a factorization: ConvolutionalArithmeticCircuit.from_factorization(x)"
            )
        name = str(dtype or torch.get_default_dtype()).removeprefix("torch.")
        self.circuit = circuit
        made = {} if circuit.representation is None else circuit.representation.initial(seed, "torch", name, device)
        self.representation = nn.ParameterDict(made)
        features = None if sample is None else self._features(sample)
        weights = circuit.initial_weights(seed, "torch", name, device, std, features)
        many = len(circuit.levels)
        self.levels = nn.ModuleList(_convolution(circuit, k, w) for k, w in enumerate(weights[:many]))
        self.dense = _linear(weights[-1]) if circuit.dense else None

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
        sample: torch.Tensor | None = None,
    ) -> Self:
        """A deep circuit with new weights: :meth:`tnrank.circuits.Circuit.deep`.

        Example:
            >>> from tnrank_torch import nn
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
        """The circuit of a matrix, CP or hierarchical factorization, with its arrays as parameters.

        The arrays are copied. Arguments: see :meth:`tnrank.circuits.Circuit.from_factorization`; ``dtype`` and
        ``device`` are those of ``x`` if ``None``. A factorization holds no representation: give one where the module is
        to take patches, and keep trained ones by ``state_dict``.

        Raises:
            TypeError: for another kind of factorization.
            ValueError: if its tree is not made of windows.

        Example:
            >>> import torch, tnrank
            >>> from tnrank_torch import nn
            >>> x = tnrank.HierarchicalFactorization.random((3,) * 8, width=4, seed=0, backend="torch", dtype="float64")
            >>> module = nn.ConvolutionalArithmeticCircuit.from_factorization(x)
            >>> index = torch.randint(3, (5, 8))
            >>> bool(torch.allclose(module(index), x.entries(index)))
            True
        """
        circuit = Circuit.from_factorization(x, grid, shared, classes, representation)
        x = x.to("torch", None if dtype is None else str(dtype).removeprefix("torch."), device)
        first = next(iter(x.arrays.values()))
        made = cls(circuit, 0, first.dtype, first.device)
        with torch.no_grad():
            for own, given in zip(made.weights(), circuit.weights_of(x), strict=True):
                own.copy_(given)
        return made

    def weights(self) -> tuple[torch.Tensor, ...]:
        """The parameters in the shapes of :attr:`tnrank.circuits.Circuit.shapes`, as views."""
        return tuple(self._views())

    def _views(self) -> Iterator[torch.Tensor]:
        for shape, layer in zip(self.circuit.shapes, self.levels, strict=False):
            weight: Any = layer.weight
            if len(shape) == 2:
                yield weight.flatten(1).mT
            else:
                yield weight.view(shape[0], shape[2], shape[1]).mT
        if self.dense is not None:
            yield self.dense.weight.mT

    def value(self) -> Any:
        """The factorization of the present parameters; gradients flow through it.

        Raises:
            ValueError: if the circuit has another pooling than the product, or an activation.
        """
        return self.circuit.to_factorization(self.weights())

    def forward(self, inputs: torch.Tensor, log: bool = False) -> Any:
        """Outputs ``(batch,)`` or ``(batch, classes)``; with ``log`` the pair of signs and logarithms of sizes.

        Args:
            inputs: patches ``(batch, N, p)``; on a plane also ``(batch, p, H, W)``, a patch of p numbers a pixel;
                whole numbers ``(batch, N)`` for one-hot representations and embeddings.
            log: see :meth:`tnrank.circuits.Circuit.forward`.

        Raises:
            ValueError: for another number of patches or of numbers in a patch.
        """
        # Copies of the small filters: MKL is up to six times slower at the gradient of a transposed one.
        weights = [weight.contiguous() for weight in self.weights()]
        return self.circuit.forward(weights, self._features(inputs), log)

    def _features(self, inputs: torch.Tensor) -> Any:
        if not isinstance(inputs, torch.Tensor):
            raise TypeError(f"got {type(inputs).__name__}, needed a tensor of PyTorch: torch.as_tensor(inputs)")
        grid = self.circuit.grid
        if inputs.ndim == 4 and len(grid) == 2 and tuple(inputs.shape[2:]) == grid:
            inputs = inputs.flatten(2).mT
        return self.circuit.represent(dict(self.representation.items()), inputs)

    def extra_repr(self) -> str:
        return str(self.circuit)


def _convolution(circuit: Circuit, k: int, weight: torch.Tensor) -> nn.Module:
    shape = circuit.shapes[k]
    flat = len(circuit.grid) == 1
    kind: Any = nn.Conv1d if flat or len(shape) == 3 else nn.Conv2d
    groups = shape[0] if len(shape) == 3 else 1
    # Made on the meta device: the layer's own initialization would be thrown away.
    layer = kind(groups * shape[-2], groups * shape[-1], 1, groups=groups, bias=False, device="meta")
    tail = (1,) * (len(layer.weight.shape) - 2)
    layer.weight = nn.Parameter(weight.mT.reshape(groups * shape[-1], shape[-2], *tail).contiguous())
    return layer  # type: ignore[no-any-return]  # one of two classes


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.mT.contiguous())
    return layer
