"""The multilinear function of any factorization: its network with one vector a mode, along a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnrank._backend import plain_array
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.network import Network


@explained
def evaluate(x: Factorization, features: Array | Sequence[Array]) -> Array:
    """A factorization contracted with one vector per mode, for a batch of them: what its circuit computes.

    The network of the factorization and the vectors is planned once per shape and contracted step by step; nothing
    dense is formed. It serves every format (a tensor train is a recurrent arithmetic circuit), where
    :meth:`tnrank.circuits.Circuit.forward` serves those that are convolutional, level by level.

    Args:
        x: any factorization of order N.
        features: vectors ``(batch, N, M)``, M at least the largest dimension, numbers past a mode's own being ignored;
            or N arrays ``(batch, d_n)``. With fewer vectors than modes the last modes stay.

    Returns:
        ``(batch,)``, or ``(batch, .., d_N)`` where modes stay.

    Raises:
        TypeError: if ``x`` is not a factorization, or the arrays belong to two backends.
        ValueError: for more vectors than modes, or vectors of other sizes.

    Source: Cohen, Sharir & Shashua 2016, Eq. 2 and 3.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.circuits import evaluate
        >>> x = tnrank.TensorTrain.random((2,) * 50, rank=3, seed=0)
        >>> features = np.eye(2)[np.random.default_rng(0).integers(2, size=(4, 50))]
        >>> bool(np.allclose(evaluate(x, features), x.entries(features.argmax(axis=2))))
        True
    """
    if not isinstance(x, Factorization):
        raise TypeError(f"got {type(x).__name__}, needed a factorization; a circuit has circuit.forward(weights, ..)")
    vectors = _vectors(x, features)
    network = x.network
    named = {f"vector of mode {n}": vector for n, vector in enumerate(vectors)}
    tensors: dict[str, Any] = dict(network.tensors)
    for n, name in enumerate(named):
        tensors[name] = ("batch of vectors", network.output[n])
    whole = Network(tensors, ("batch of vectors", *network.output[len(vectors) :]))
    arrays = {**x.arrays, **named}
    return whole.plan(whole.sizes(arrays))(arrays)


def _vectors(x: Factorization, features: Array | Sequence[Array]) -> list[Array]:
    stacked = hasattr(features, "shape")
    if stacked:
        shape = tuple(features.shape)  # type: ignore[union-attr]  # asked above
        if len(shape) != 3 or not 1 <= shape[1] <= x.ndim or shape[2] < max(x.shape[: shape[1]]):
            raise ValueError(
                f"got features of shape {shape}, needed (batch, N, M) for order {x.ndim}, M at least "
                f"{max(x.shape)}: one vector a mode"
            )
        features, backend = plain_array(features)
        moved = backend.permute(features, (1, 0, 2))
        return [moved[n, :, :d] for n, d in zip(range(shape[1]), x.shape, strict=False)]
    found = [plain_array(vector)[0] for vector in features]
    if not 1 <= len(found) <= x.ndim:
        raise ValueError(f"got {len(found)} arrays of vectors for order {x.ndim}: needed one a mode")
    for n, vector in enumerate(found):
        if len(vector.shape) != 2 or vector.shape[1] != x.shape[n] or vector.shape[0] != found[0].shape[0]:
            raise ValueError(
                f"got vectors of shape {tuple(vector.shape)} for mode {n}, needed "
                f"({found[0].shape[0]}, {x.shape[n]}): (batch, d_n)"
            )
    return found
