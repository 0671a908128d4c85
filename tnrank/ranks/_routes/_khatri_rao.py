"""Khatri-Rao products of frames, of which only a triangular factor or the Gram matrix is kept; in stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tnrank._scale import nonzero, norm, root
from tnrank.linalg import scaled_singular_values

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


def unit(backend: Backend, frame: Frame) -> tuple[Frame, Array]:
    """Columns of norm 1 (zero columns as they are), and the norms ``(g, K)``."""
    if not frame.is_gram:
        # Squares of large and of tiny entries leave the range before the entries do.
        norms = norm(frame.array, backend, -2)
        return Frame(frame.array / nonzero(norms, backend)[:, None, :], False), norms
    norms = root(_diagonal(backend, frame.array), backend)
    safe = nonzero(norms, backend)
    return Frame(frame.array / (safe[:, :, None] * safe[:, None, :]), True), norms


def scaled(backend: Backend, frame: Frame) -> Frame:
    """Divided by its largest entry, the squares of which could otherwise vanish further down."""
    most = backend.xp.max(abs(frame.array), axis=(-2, -1), keepdims=True)
    return Frame(frame.array / nonzero(backend.stop_gradient(most), backend), frame.is_gram)


def size_of(backend: Backend, frame: Frame) -> Array:
    """Frobenius norms of the stack."""
    if frame.is_gram:
        return root(backend.xp.sum(_diagonal(backend, frame.array), axis=-1), backend)
    return norm(frame.array, backend, (-2, -1))


def _diagonal(backend: Backend, squares: Array) -> Array:
    xp = backend.xp
    diagonal = xp.linalg.diagonal(squares)
    diagonal = xp.real(diagonal) if xp.isdtype(diagonal.dtype, "complex floating") else diagonal
    return xp.where(diagonal < 0, xp.zeros_like(diagonal), diagonal)


def values(backend: Backend, frame: Frame, complement: Frame | None, method: str) -> Array:
    """Singular values of ``frame @ complement^T``, or of ``frame`` itself; stacks ``(g, n)``."""
    xp = backend.xp
    if complement is None:
        if not frame.is_gram:
            return scaled_singular_values(frame.array, method)
        squares = frame.array
    else:
        if frame.is_gram and not complement.is_gram:
            frame, complement = complement, frame
        if not complement.is_gram:
            return scaled_singular_values(frame.array @ xp.matrix_transpose(complement.array), method)
        factor = _factor(backend, frame.array) if frame.is_gram else frame.array
        squares = factor @ (xp.matrix_transpose(complement.array) @ _adjoint(xp, factor))
    values = xp.flip(xp.linalg.eigvalsh((squares + _adjoint(xp, squares)) / 2), axis=-1)
    return root(values, backend)


def _factor(backend: Backend, gram: Array) -> Array:
    """A factor E of ``gram = E^H E``; a triangular one need not exist, since components may be dependent."""
    xp = backend.xp
    values, vectors = xp.linalg.eigh((gram + _adjoint(xp, gram)) / 2)
    return root(values, backend)[..., None] * _adjoint(xp, vectors)


def logarithm(backend: Backend, norms: Array) -> Array:
    """``log(norms)``, -inf for zero."""
    xp = backend.xp
    return xp.where(norms == 0, xp.full_like(norms, -xp.inf), xp.log(nonzero(norms, backend)))


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


def normalized(backend: Backend, values: Array) -> Array:
    """Spectra whose squares sum to 1; zero spectra as they are."""
    return values / nonzero(norm(values, backend, -1), backend)[..., None]
