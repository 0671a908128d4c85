"""Khatri-Rao products of frames, of which only a triangular factor or the Gram matrix is kept; in stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tnrank.linalg import singular_values

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array
    from tnrank.dimension_tree import Node

_SMALL = 4096
"""Elements up to which the nodes of a level are stacked: beyond, calls cost less than copies."""


class Frame(NamedTuple):
    """A matrix with one column a component, up to an isometry of its rows: a stack of factors or of Gram matrices."""

    array: Array
    """Factors ``(g, m, K)``, or Gram matrices ``(g, K, K)``."""
    is_gram: bool


def product(backend: Backend, parts: Sequence[Frame], method: str) -> Frame:
    """Khatri-Rao product of frames."""
    xp, made = backend.xp, parts[0]
    for part in parts[1:]:
        rows, columns = made.array.shape[-2] * part.array.shape[-2], made.array.shape[-1]
        if not made.is_gram and not part.is_gram and (method == "qr" or rows <= columns):
            product = made.array[:, :, None, :] * part.array[:, None, :, :]
            made = shortened(backend, Frame(xp.reshape(product, (product.shape[0], rows, columns)), False), method)
        else:
            made = Frame(_gram(xp, made) * _gram(xp, part), True)
    return made


def times(backend: Backend, frame: Frame, matrix: Array, method: str) -> Frame:
    """The frame with its columns mixed by ``matrix``."""
    xp = backend.xp
    if frame.is_gram:
        return Frame(_adjoint(xp, matrix) @ (frame.array @ matrix), True)
    return shortened(backend, Frame(frame.array @ matrix, False), method)


def shortened(backend: Backend, frame: Frame, method: str) -> Frame:
    """No more rows than columns."""
    if frame.is_gram or frame.array.shape[-2] <= frame.array.shape[-1]:
        return frame
    if method == "gram":
        return Frame(_gram(backend.xp, frame), True)
    return Frame(backend.xp.linalg.qr(frame.array)[1], False)


def _gram(xp: Any, frame: Frame) -> Array:
    return frame.array if frame.is_gram else _adjoint(xp, frame.array) @ frame.array


def unit(xp: Any, frame: Frame) -> tuple[Frame, Array]:
    """Columns of norm 1 (zero columns as they are), and the norms ``(g, K)``."""
    if not frame.is_gram:
        # Squares of large and of tiny entries leave the range before the entries do.
        most = xp.max(abs(frame.array), axis=-2, keepdims=True)
        most = xp.where(most > 0, most, xp.ones_like(most))
        norms = xp.linalg.vector_norm(frame.array / most, axis=-2) * most[:, 0, :]
        safe = xp.where(norms > 0, norms, xp.ones_like(norms))
        return Frame(frame.array / safe[:, None, :], False), norms
    norms = xp.sqrt(_diagonal(xp, frame.array))
    safe = xp.where(norms > 0, norms, xp.ones_like(norms))
    return Frame(frame.array / (safe[:, :, None] * safe[:, None, :]), True), norms


def scaled(xp: Any, frame: Frame) -> Frame:
    """Divided by its largest entry, the squares of which could otherwise vanish further down."""
    most = xp.max(abs(frame.array), axis=(-2, -1), keepdims=True)
    return Frame(frame.array / xp.where(most > 0, most, xp.ones_like(most)), frame.is_gram)


def norm(xp: Any, frame: Frame) -> Array:
    """Frobenius norms of the stack."""
    if frame.is_gram:
        return xp.sqrt(xp.sum(_diagonal(xp, frame.array), axis=-1))
    count, *shape = frame.array.shape
    return xp.linalg.vector_norm(xp.reshape(frame.array, (count, prod(shape))), axis=-1)


def _diagonal(xp: Any, squares: Array) -> Array:
    diagonal = xp.linalg.diagonal(squares)
    diagonal = xp.real(diagonal) if xp.isdtype(diagonal.dtype, "complex floating") else diagonal
    return xp.where(diagonal > 0, diagonal, xp.zeros_like(diagonal))


def values(backend: Backend, frame: Frame, complement: Frame | None, method: str) -> Array:
    """Singular values of ``frame @ complement^T``, or of ``frame`` itself; stacks ``(g, n)``."""
    xp = backend.xp
    if complement is None:
        if not frame.is_gram:
            return singular_values(frame.array, method)
        squares = frame.array
    else:
        if frame.is_gram and not complement.is_gram:
            frame, complement = complement, frame
        if not complement.is_gram:
            return singular_values(frame.array @ xp.matrix_transpose(complement.array), method)
        factor = _root(xp, frame.array) if frame.is_gram else frame.array
        squares = factor @ (xp.matrix_transpose(complement.array) @ _adjoint(xp, factor))
    values = xp.flip(xp.linalg.eigvalsh((squares + _adjoint(xp, squares)) / 2), axis=-1)
    return xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))


def _root(xp: Any, gram: Array) -> Array:
    """A factor E of ``gram = E^H E``; a triangular one need not exist, since components may be dependent."""
    values, vectors = xp.linalg.eigh((gram + _adjoint(xp, gram)) / 2)
    roots = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
    return roots[..., None] * _adjoint(xp, vectors)


def logarithm(xp: Any, norms: Array) -> Array:
    """``log(norms)``, -inf for zero."""
    safe = xp.where(norms > 0, norms, xp.ones_like(norms))
    return xp.where(norms > 0, xp.log(safe), xp.full_like(norms, -xp.inf))


def _adjoint(xp: Any, matrix: Array) -> Array:
    turned = xp.matrix_transpose(matrix)
    return xp.conj(turned) if xp.isdtype(matrix.dtype, "complex floating") else turned


def form(frame: Frame) -> tuple[Any, ...]:
    """What frames of one stack have in common."""
    return (*frame.array.shape[1:], frame.is_gram)


def alike(nodes: Iterable[Node], form: Callable[[Node], Any]) -> list[list[Node]]:
    """Nodes of one form together, so that small arrays share a call; large ones stand alone."""
    found: dict[Any, list[Node]] = {}
    for node in nodes:
        key = form(node)
        found.setdefault(key if _size(key) <= _SMALL else node, []).append(node)
    return list(found.values())


def _size(key: Any) -> int:
    """The most elements of an array in a form, which nests shapes."""
    if not isinstance(key, tuple):
        return 1
    if all(isinstance(part, (bool, int)) for part in key):
        return prod(int(part) for part in key if not isinstance(part, bool))
    return max(_size(part) for part in key)


def stack(xp: Any, arrays: Sequence[Array]) -> Array:
    """Arrays of one shape with a leading axis."""
    return arrays[0][None] if len(arrays) == 1 else xp.stack(arrays)


def pile(xp: Any, frames: Mapping[Node, Frame], nodes: Sequence[Node]) -> Frame:
    """The frames of nodes of one form as one stack."""
    arrays = [frames[node].array for node in nodes]
    return Frame(arrays[0] if len(arrays) == 1 else xp.concat(arrays), frames[nodes[0]].is_gram)


def normalized(xp: Any, values: Array) -> Array:
    """Spectra whose squares sum to 1; zero spectra as they are."""
    norms = xp.linalg.vector_norm(values, axis=-1, keepdims=True)
    return values / xp.where(norms > 0, norms, xp.ones_like(norms))
