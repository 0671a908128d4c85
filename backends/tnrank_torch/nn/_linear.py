"""Linear layers whose weight is a factorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

import tnrank
from tnrank.layers import WeightFormat, format_of_factorization, input_moments, plans_of, weight_format
from tnrank_torch.nn._layer import FactorizedLayer, batch, fit_layer


class FactorizedLinear(FactorizedLayer):
    """``x @ W.T + bias`` with a factorized weight W, of shape (out_features, in_features).

    Inputs are contracted with the tensors along a plan that is chosen for the number of rows; where it is cheaper, the
    plan builds W first.

    Args:
        in_features: size of the inputs.
        out_features: size of the outputs.
        bias: whether there is one.
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
            ``torch.nn.Linear``.
        balanced: start from balanced tensors with the same product; for ``"mf"``, ``"cp"`` and ``"htf"``.
        seed: of the initial weights; PyTorch's generator gives one if ``None``.
        recompute: compute intermediates again in the backward pass, instead of keeping them.
        device: where the parameters live.
        dtype: ``torch.get_default_dtype()`` if ``None``.

    Raises:
        ValueError: for ranks or modes that do not fit; what is possible is named.

    Source: Arora, Cohen, Hu & Luo 2019 (deep linear networks); Novikov, Podoprikhin, Osokin & Vetrov 2015 (tensor-train
    matrices); Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024 (block tensor trains).

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> layer = nn.FactorizedLinear(1024, 1024, structure="tt", parameters=0.05)
        >>> layer
        FactorizedLinear(
          1024 x 1024, bias=True, tt, rank 28, 51,968 of 1,048,576 parameters (5.0 %)
          (arrays): ParameterDict(
              (core0): Parameter containing: [torch.FloatTensor of size 32x28]
              (core1): Parameter containing: [torch.FloatTensor of size 28x32x28]
              (core2): Parameter containing: [torch.FloatTensor of size 28x32x28]
              (core3): Parameter containing: [torch.FloatTensor of size 28x32]
          )
        )
        >>> layer(torch.ones(5, 1024)).shape
        torch.Size([5, 1024])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        std: float | None = None,
        balanced: bool = False,
        seed: int | None = None,
        recompute: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (out_features, in_features)
        weight = weight_format("linear", shape, structure, rank=rank, parameters=parameters, modes=modes, depth=depth)
        super().__init__(weight, torch.zeros(out_features) if bias else None, recompute)
        self.draw(std=std, balanced=balanced, seed=seed, dtype=dtype, device=device)

    @classmethod
    def from_layer(
        cls,
        layer: nn.Module,
        *,
        structure: str = "mf",
        rank: int | Sequence[int] | None = None,
        rtol: float | None = None,
        parameters: float | str | None = None,
        modes: Any = None,
        depth: int = 2,
        inputs: torch.Tensor | None = None,
        recompute: bool = False,
    ) -> Self:
        """The factorized layer nearest to a trained one; its ``error`` says how near.

        Args:
            layer: a ``torch.nn.Linear``, or the transposed ``Conv1D`` of language-model libraries.
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
            TypeError: for another layer, or a quantized weight.
            ValueError: as above.

        Example:
            >>> import torch
            >>> from tnrank_torch import nn
            >>> dense = torch.nn.Linear(64, 32)
            >>> nn.FactorizedLinear.from_layer(dense, rank=32).error < 1e-5
            True
        """
        transposed = is_transposed(layer)
        if not isinstance(layer, nn.Linear) and not transposed:
            raise TypeError(f"got a {type(layer).__name__}, needed a torch.nn.Linear")
        trained: Any = layer
        dense = trained.weight.T if transposed else trained.weight
        settings = {"structure": structure, "rank": rank, "rtol": rtol, "parameters": parameters}
        moments = None if inputs is None else input_moments(batch(inputs), dense.shape[1])
        fit = fit_layer(dense, "linear", {**settings, "modes": modes, "depth": depth}, moments)
        return cls._of_fit(layer, fit, recompute)

    @classmethod
    def from_factorization(cls, x: tnrank.Factorization, outputs: int | None = None, bias: bool = False) -> Self:
        """The layer whose weight is a factorization, with its arrays, copied, as parameters.

        Args:
            x: modes of the outputs, then those of the inputs: a matrix factorization ``(out_features, in_features)``,
                a CP, Tucker, tensor-train or hierarchical one, or a tensor-train operator.
            outputs: how many of its modes are outputs; half of them by default.
            bias: whether there is one; it starts at 0.

        Raises:
            TypeError: for another class.
            ValueError: if its modes do not fit.

        Example:
            >>> import tnrank
            >>> from tnrank_torch import nn
            >>> x = tnrank.MatrixFactorization.random((10, 64), depth=3, hidden=20, std=0.1, seed=0)
            >>> layer = nn.FactorizedLinear.from_factorization(x)
            >>> layer.in_features, layer.value().depth
            (64, 3)
        """
        weight, arrays = format_of_factorization(x, outputs)
        made = cls._beside(None, weight, bias, recompute=False)
        backend = tnrank.get_backend("torch")
        made._fill({name: backend.asarray(x.backend.to_numpy(a), x.dtype).clone() for name, a in arrays.items()})
        if made.bias is not None:
            made.bias.data = made.bias.data.to(getattr(torch, x.dtype))
        return made

    @classmethod
    def empty_like(cls, layer: Any, *, bias: bool, recompute: bool = False, **settings: Any) -> Self:
        """A layer of the sizes of a dense one, without content."""
        transposed = is_transposed(layer)
        shape = tuple(layer.weight.T.shape if transposed else layer.weight.shape)
        return cls._beside(layer, weight_format("linear", shape, **settings), bias, recompute)

    _original: Any = None

    def _take_options(self, layer: Any) -> None:
        self._original = type(layer) if layer is not None and is_transposed(layer) else None

    def _set_format(self, weight: WeightFormat) -> None:
        super()._set_format(weight)
        self.out_features, self.in_features = weight.shape
        self._plans = plans_of(weight)

    def dense_weight(self) -> torch.Tensor:
        dense = super().dense_weight()
        return dense.mT if self._original else dense

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs ``(.., out_features)`` of inputs ``(.., in_features)``."""
        shape = input.shape
        if not shape or shape[-1] != self.in_features:
            raise ValueError(f"inputs have shape {tuple(shape)}, needed (.., {self.in_features})")
        x, arrays, bias = self._cast(input if len(shape) == 2 else input.reshape(-1, self.in_features))
        rows = self._seen(x.shape[0])
        y = self._run(lambda given, inputs: self._plans.apply(given, inputs, rows), x, arrays)
        if bias is not None:
            y = y + bias
        return y if len(shape) == 2 else y.reshape(*shape[:-1], self.out_features)

    def collapse(self) -> nn.Module:
        """The dense layer that computes the same.

        Example:
            >>> import torch
            >>> from tnrank_torch import nn
            >>> layer = nn.FactorizedLinear(64, 32, structure="cp", rank=10, dtype=torch.float64)
            >>> x = torch.ones(3, 64, dtype=torch.float64)
            >>> bool(torch.allclose(layer.collapse()(x), layer(x), atol=1e-12))
            True
        """
        weight = self.dense_weight().detach().contiguous()
        made: Any = (
            self._original(self.out_features, self.in_features)
            if self._original
            else nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        )
        made.weight = nn.Parameter(weight)
        made.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        return made  # type: ignore[no-any-return]  # the class of a transposed layer is another library's


def is_transposed(layer: nn.Module) -> bool:
    """True for the ``Conv1D`` of language-model libraries: a linear layer with the weight (inputs, outputs)."""
    weight = getattr(layer, "weight", None)
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf") and getattr(weight, "ndim", 0) == 2
