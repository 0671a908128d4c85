"""What a tensor train operator multiplies: dense vectors and matrices, tensor trains, operators; and its trace."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from tnrank._backend import common_backend
from tnrank._check import shown
from tnrank._typing import Array
from tnrank.factorizations._arrays import checked_arrays
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._operator_apply import evaluated, keep_network, order
from tnrank.factorizations._operator_cores import size_text, times_operator, times_train, without_ends
from tnrank.factorizations._tensor_train import TensorTrain

if TYPE_CHECKING:
    from tnrank.factorizations._operator import TensorTrainOperator


def product(a: TensorTrainOperator, other: Any) -> Any:
    """``a @ other``; see :meth:`tnrank.TensorTrainOperator.__matmul__`."""
    if isinstance(other, type(a)):
        _check_modes(a, other, other.row_shape)
        left, right = a._with_dtype_of(other)
        return left._with_cores(times_operator(left.cores, right.cores))
    if isinstance(other, TensorTrain):
        _check_modes(a, other, other.shape)
        left, right = a._with_dtype_of(other)
        return TensorTrain._make(other.ndim, without_ends(times_train(left.cores, right.cores)))
    return _on_dense(a, _readable(a, other, f"{type(a).__name__} @ {type(other).__name__}"))


def product_from_left(other: Any, a: TensorTrainOperator) -> Any:
    """``other @ a``: vectors ``(M,)``, matrices ``(B, M)`` and tensor trains are rows."""
    if isinstance(other, TensorTrain):
        return product(a.transpose(), other)
    vectors = _readable(a, other, f"{type(other).__name__} @ {type(a).__name__}")
    if len(vectors.shape) < 2:
        return _on_dense(a.transpose(), vectors)
    permute = a.backend.permute
    return permute(_on_dense(a.transpose(), permute(vectors, (1, 0))), (1, 0))


def trace(a: TensorTrainOperator) -> Array:
    """See :meth:`tnrank.TensorTrainOperator.trace`."""
    if a.row_shape != a.column_shape:
        raise ValueError(
            f"the trace needs row_shape and column_shape to be equal, got {a.row_shape} and {a.column_shape}; of a "
            "small matrix of other modes take x.to_matrix()"
        )
    network = getattr(a.network, keep_network(a.network, "trace"))
    return evaluated(network, a._values, a.dtype)


def _on_dense(a: TensorTrainOperator, operand: Array) -> Array:
    rows, columns = a.row_shape, a.column_shape
    shape, size = tuple(operand.shape), prod(columns)
    if len(shape) not in (1, 2) or shape[0] != size:
        text = size_text(columns)
        raise ValueError(
            f"a matrix {size_text(rows)} x {text} times an array of shape {shape}: needed ({text},) or ({text}, B)"
        )
    backend = common_backend([a._values[0], operand], lambda: ("the operator", "the array"))
    dtype = backend.xp.result_type(a._values[0], operand)
    a = a if a._values[0].dtype == dtype else a._converted(dtype)
    operand = operand if operand.dtype == dtype else backend.xp.astype(operand, dtype)
    batch = shape[1] if len(shape) > 1 else 1
    network = getattr(a.network, keep_network(a.network, "applied"))
    path = order(rows, columns, (1, *a.tt_ranks, 1), batch)
    values = [*a._values, backend.reshape(operand, (*columns, batch))]
    return backend.reshape(evaluated(network, values, a.dtype, path), (prod(rows), *shape[1:]))


def _readable(a: TensorTrainOperator, other: Any, what: str) -> Array:
    """A dense array, or a sentence that says what could stand there."""
    if isinstance(other, Factorization):
        raise TypeError(
            f"{what}: needed a {type(a).__name__}, a TensorTrain or a dense array; "
            "tnrank.TensorTrain.from_factorization(x) makes a train of it"
        )
    if not hasattr(other, "shape") or not hasattr(other, "dtype"):
        raise TypeError(
            f"{what}: needed a dense array, a TensorTrain or another {type(a).__name__}, got {shown(other)}"
        )
    return checked_arrays([other], lambda: ["the array"])[0]


def _check_modes(a: TensorTrainOperator, other: Factorization, needed: tuple[int, ...]) -> None:
    if a.column_shape != needed:
        what = "row_shape" if isinstance(other, type(a)) else "shape"
        raise ValueError(
            f"{type(a).__name__} @ {type(other).__name__}: the column_shape {a.column_shape} of the first and the "
            f"{what} {needed} of the second differ, needed the same"
        )
    common_backend([a._values[0], other._values[0]], lambda: ("the first", "the second"))
