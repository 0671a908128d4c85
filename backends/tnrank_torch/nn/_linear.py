"""Deep linear networks: matrix factorizations as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from tnrank import MatrixFactorization


class DeepLinear(nn.Sequential):
    """Linear layers without biases, one after the other: ``x @ W_0 @ W_1 @ ..``, a matrix factorization.

    The weight of layer j is the transpose of ``W_j``, as ``torch.nn.Linear`` has it.

    Args:
        sizes: ``(d_0, .., d_L)``: features of the input, of every hidden layer, and of the output.
        std: standard deviation of the entries; ``d_in ** -0.5`` of every layer if not given, which keeps outputs as
            large as inputs.
        seed: of NumPy's Generator.
        dtype: ``torch.get_default_dtype()`` if ``None``.
        device: where the parameters live.

    Raises:
        ValueError: for fewer than two sizes, or sizes below 1.

    Source: Arora, Cohen, Hu & Luo 2019, Sec. 2; Razin & Cohen 2020, Sec. 2.

    Example:
        >>> import torch, tnrank
        >>> from tnrank_torch import nn
        >>> module = nn.DeepLinear((64, 32, 10))
        >>> module(torch.ones(5, 64)).shape, module.value().shape
        (torch.Size([5, 10]), (64, 10))
    """

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
        name = str(dtype or torch.get_default_dtype()).removeprefix("torch.")
        drawn = MatrixFactorization.random(
            (sizes[0], sizes[-1]), depth=len(sizes) - 1, hidden=sizes[1:-1], seed=seed, backend="torch", dtype=name
        )
        scaled = [w * (w.shape[0] ** -0.5 if std is None else std) for w in drawn.layers]
        super().__init__(*(_layer(w.to(device)) for w in scaled))

    @classmethod
    def from_factorization(cls, x: MatrixFactorization) -> Self:
        """The linear network of a matrix factorization; the arrays are copied.

        Raises:
            TypeError: for another factorization.

        Example:
            >>> import torch, tnrank
            >>> from tnrank_torch import nn
            >>> x = tnrank.MatrixFactorization.random((4, 3), depth=3, seed=0, backend="torch")
            >>> bool(torch.allclose(nn.DeepLinear.from_factorization(x)(torch.eye(4)), x.to_dense()))
            True
        """
        if not isinstance(x, MatrixFactorization):
            raise TypeError(
                f"got {type(x).__name__}, needed a MatrixFactorization; others: ConvolutionalArithmeticCircuit"
            )
        x = x if x.backend.name == "torch" else x.to("torch")
        made = cls.__new__(cls)
        nn.Sequential.__init__(made, *(_layer(w) for w in x.layers))
        return made

    def value(self) -> MatrixFactorization:
        """The matrix factorization of the present parameters; gradients flow through it."""
        return MatrixFactorization([layer.weight.mT for layer in self])


def _layer(matrix: torch.Tensor) -> nn.Linear:
    # Made on the meta device: the layer's own initialization would be thrown away.
    layer = nn.Linear(matrix.shape[0], matrix.shape[1], bias=False, device="meta")
    layer.weight = nn.Parameter(matrix.detach().mT.clone(memory_format=torch.contiguous_format))
    return layer
