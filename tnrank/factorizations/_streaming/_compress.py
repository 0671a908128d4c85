"""The hierarchical Tucker format of an array that is larger than memory, by passes over chunks of it.

A pass adds up the Gram matrices of groups of modes, eigenvectors of which compress every chunk of the next pass; of a
mode too long for that, a sketch. What is left once it fits into memory is decomposed there. All projections are
orthogonal and go from the leaves up, so that the squares of their errors add up.

Source: Grasedyck 2010, Sec. 3; Vannieuwenhoven, Vandebril & Meerbergen 2012 (sequential truncation); Halko, Martinsson
& Tropp 2011 (sketches).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import plain_array
from tnrank._check import shown, whole_number
from tnrank._explained import explained
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._nodes._convert import spread
from tnrank.factorizations._streaming._chunks import Chunks
from tnrank.factorizations._streaming._groups import (
    groups_of,
    multiplied_out,
    nested_under,
    pairs_of,
    reduced_tree,
    subtree,
)
from tnrank.linalg import accuracy_floor, check_rtol

if TYPE_CHECKING:
    from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

NDArray = np.ndarray[Any, Any]
Progress = Callable[[str, float], None]

_COLUMNS = 64
"""Columns of the first sketch of a mode that is too long for its Gram matrix."""
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@explained
def compress(
    array: Any,
    tree: DimensionTree | Sequence[Any] | None = None,
    rtol: float = 1e-3,
    max_rank: int | None = None,
    *,
    memory: int | str = "1 GiB",
    progress: Progress | None = None,
) -> HierarchicalTucker:
    """The hierarchical Tucker format of an array on disk, read in chunks: it may be larger than memory.

    Args:
        array: a memory-mapped ``.npy`` file (``numpy.load(path, mmap_mode="r")``), or anything of order 2 or more with
            ``shape``, ``dtype`` and slices. Integers are read as float64; sums are in double precision throughout.
        tree: ``DimensionTree.balanced(N)`` if not given.
        rtol: bounds ``||array - result|| / ||array||``; from 1.5e-7 on.
        max_rank: the most columns of any frame; with it the error may exceed ``rtol``.
        memory: what chunks, Gram matrices and the compressed core may take, as bytes or text such as ``"500 MB"``.
        progress: called with words and the share of the present pass that is done.

    Raises:
        ValueError: for NaN or infinite entries (the first index is given), an ``rtol`` below the floor, a tree of
            another order, or a core that does not fit into ``memory`` after all passes; sizes are given.

    Source: Grasedyck 2010, Sec. 3; Vannieuwenhoven, Vandebril & Meerbergen 2012.

    Example:
        >>> import numpy as np, pathlib, tempfile, tnrank
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "sum.npy"
        >>> np.save(path, sum(np.ogrid[:20, :20, :20, :20]) * 1.0)
        >>> x = tnrank.factorizations.compress(np.load(path, mmap_mode="r"), rtol=1e-6, memory="300 kB")
        >>> max(x.ranks.values())
        2
    """
    from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

    return HierarchicalTucker._of_nodes(*stream_to_nodes(array, tree, rtol, max_rank, progress, memory))


def stream_to_nodes(
    array: Any,
    tree: DimensionTree | Sequence[Any] | None,
    rtol: float,
    max_rank: int | None = None,
    progress: Progress | None = None,
    memory: int | str = "1 GiB",
) -> tuple[DimensionTree, dict[Node, NDArray]]:
    """Tree and ``{node: array}``: see :func:`compress`."""
    array = _readable(array)
    shape = tuple(int(d) for d in array.shape)
    tree = _read_tree(tree, shape)
    rtol, budget = _checked(rtol), parse_memory(memory)
    if max_rank is not None:
        max_rank = whole_number(max_rank, "max_rank, the most columns of a frame,", 1)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biufc":
        raise ValueError(f"the array has entries of dtype {dtype}, needed numbers")
    return _Stream(array, shape, dtype, tree, rtol, max_rank, budget, progress or (lambda text, share: None)).run()


def _readable(array: Any) -> Any:
    """An array of a framework on the host; what reads a file, as it is."""
    try:
        plain, backend = plain_array(array)
    except TypeError:
        sparse = hasattr(array, "toarray") or hasattr(array, "todense") or isinstance(array, np.matrix)
        known = all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))
        if sparse or not known or not isinstance(array.dtype, (np.dtype, str, type)):
            raise
        return array
    return plain if backend.name == "numpy" else backend.to_numpy(plain)


class _Stream:
    """The passes over one array: what is compressed so far, and the frames that did it."""

    def __init__(
        self,
        array: Any,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        tree: DimensionTree,
        rtol: float,
        max_rank: int | None,
        budget: int,
        progress: Progress,
    ) -> None:
        self.tree, self.rtol, self.max_rank, self.budget = tree, rtol, max_rank, budget
        self.progress, self.dtype = progress, dtype
        self.wide = np.dtype(np.complex128 if dtype.kind == "c" else np.float64)
        # Each of several Gram matrices needs its eigenvectors and workspace besides itself.
        self.most_rows = int(sqrt(budget / (8 * self.wide.itemsize)))
        self.chunks = Chunks(array, shape, self.wide, budget // 16 // self.wide.itemsize, self.most_rows)
        self.columns = _COLUMNS if max_rank is None else max_rank + 10
        self._start()

    def _start(self) -> None:
        # The compressed tensor: its axes are disjoint nodes of the tree.
        self.axes: list[Node] = list(self.tree.leaves)
        self.sides: list[int] = list(self.chunks.shape)
        self.frames: dict[Node, NDArray] = {}
        self.projections: list[list[tuple[tuple[int, ...], NDArray]]] = []
        self.square = 0.0
        self.sketched = False

    def run(self) -> tuple[DimensionTree, dict[Node, NDArray]]:
        core = self._passes()
        while self.sketched and self.max_rank is None and self._lost(core) > self._allowed():
            # The error of a sketch is known only now, exactly: try again with more columns.
            self.columns *= 2
            self._start()
            core = self._passes()
        return self.tree, self._finish(core)

    def _passes(self) -> NDArray:
        if self._fits():
            self._measure()
        while not self._fits():
            self._compress(len(self.projections) + 1)
        return self._core()

    def _lost(self, core: NDArray) -> float:
        """The squared error of all projections so far, and of rounding."""
        inner = float(np.vdot(core, core).real)
        return max(0.0, self.square - inner) + 16 * float(np.finfo(np.float64).eps) * self.square

    def _allowed(self) -> float:
        """What of the squared error the passes may use; the core needs some of it, too."""
        return self.rtol**2 * self.square * (1 - 0.5 / len(self.tree.nodes))

    def _fits(self) -> bool:
        return 4 * prod(self.sides) * self.wide.itemsize <= self.budget

    def _compress(self, number: int) -> None:
        """One pass of Gram matrices, and the projections that follow from them."""
        reduced, known = reduced_tree(self.tree, self.axes)
        split = {k for k, node in enumerate(self.axes) if not set(node.modes).isdisjoint(self.chunks.split)}
        groups = groups_of(reduced, self.sides, split, self.most_rows, first=number == 1)
        if not groups:
            raise ValueError(self._too_large())
        rows = {group: prod(self.sides[k] for k in group.modes) for group in groups}
        tests = {group: self._test_matrix(rows[group]) for group in groups if rows[group] > self.most_rows}
        self.sketched = self.sketched or bool(tests)
        grams = {g: np.zeros((rows[g], tests[g].shape[1] if g in tests else rows[g]), self.wide) for g in groups}
        square = 0.0
        for share, _, chunk in self._compressed():
            self.progress(f"pass {number}: Gram matrices of {len(groups)} groups of modes", share)
            if number == 1:
                square += self.chunks.square(chunk)
            for group, gram in grams.items():
                _add_gram(gram, chunk, group.modes, tests.get(group))
        self.square = square if number == 1 else self.square
        total = len(self.tree.nodes)
        kept: dict[int, tuple[Node, int]] = {k: (node, self.sides[k]) for k, node in enumerate(self.axes)}
        projections = []
        for group in groups:
            below = subtree(reduced, group)
            fresh = sum(known[node] not in self.frames for node in below)
            gram = grams.pop(group)
            if group in tests:
                made = {group: np.linalg.qr(gram)[0]}
            else:
                made = self._frames(reduced, group, gram, self.rtol * sqrt(max(1, fresh) / total))
            for node, frame in made.items():
                self._take(known[node], frame)
            basis = multiplied_out(reduced, group, made)
            projections.append((group.modes, basis))
            for k in group.modes[1:]:
                del kept[k]
            kept[group.modes[0]] = (known[group], basis.shape[-1])
        self.projections.append(projections)
        self.axes = [node for node, _ in kept.values()]
        self.sides = [side for _, side in kept.values()]

    def _test_matrix(self, rows: int) -> NDArray:
        """The random matrix whose product with a Gram matrix is a sketch of it."""
        if 2 * self.columns > rows:
            raise ValueError(self._too_large())
        drawn = np.random.default_rng(0).standard_normal((rows, self.columns))
        return drawn.astype(self.wide)

    def _measure(self) -> None:
        for share, _, chunk in self._compressed():
            self.progress("pass 1: norm", share)
            self.square += self.chunks.square(chunk)

    def _frames(self, reduced: DimensionTree, group: Node, gram: NDArray, rtol: float) -> dict[Node, NDArray]:
        """The frames of a group and of all nodes below it, from a tensor with the same Gram matrix."""
        values, vectors = np.linalg.eigh(gram)
        values, vectors = values[::-1], vectors[:, ::-1]
        # What lies under the floor of Gram matrices is rounding.
        count = max(1, int((values > values[0] * np.finfo(values.dtype).eps).sum()))
        root = vectors[:, :count] * np.sqrt(np.maximum(values[:count], 0.0))
        sides = [self.sides[k] for k in group.modes]
        place = {k: i for i, k in enumerate(group.modes)}
        small = DimensionTree((nested_under(reduced, group, place), len(sides)))
        found = self._in_memory(root.reshape(*sides, count), small, rtol)
        pairs = pairs_of(reduced, group, small, small.children(small.root)[0])
        return {node: found[other] for node, other in pairs}

    def _in_memory(self, tensor: NDArray, tree: DimensionTree, rtol: float) -> dict[Node, NDArray]:
        from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

        # The Gram matrix of a mode longer than all others together would be larger than the tensor.
        method = "qr" if max(tensor.shape) ** 2 > tensor.size else "auto"
        # The children of a binary root are truncated one after the other, and the errors of both count.
        nodes = len(tree.nodes) - 1
        rtol = min(rtol, 0.5) * sqrt((nodes - 1) / nodes)
        made = HierarchicalTucker.from_dense(tensor, tree, rtol=rtol, max_rank=self.max_rank, method=method)
        return {node: np.asarray(frame) for node, frame in made.nodes.items()}

    def _take(self, node: Node, frame: NDArray) -> None:
        """A frame of a node; that of a node which has one already acts on its columns."""
        old = self.frames.get(node)
        self.frames[node] = frame if old is None else np.tensordot(old, frame, axes=(-1, 0))

    def _compressed(self) -> Any:
        """The chunks with all projections applied, each with its place on the split axes."""
        for share, place, chunk in self.chunks:
            for projections in self.projections:
                axes = list(range(chunk.ndim))
                # The group that shrinks most goes first; places of groups shift as axes merge.
                for modes, basis in sorted(projections, key=lambda p: p[1].shape[-1] / prod(p[1].shape[:-1])):
                    inner = [axes.index(k) for k in modes]
                    chunk = np.tensordot(chunk, basis.conj(), axes=(inner, range(len(inner))))
                    axes = [*(k for k in axes if k not in modes), modes[0]]
                chunk = chunk.transpose(np.argsort(axes))
            yield share, place, chunk

    def _core(self) -> NDArray:
        core = np.empty(self.sides, self.wide)
        axis_of = {n: k for k, node in enumerate(self.axes) for n in node.modes if n in self.chunks.split}
        for share, place, chunk in self._compressed():
            self.progress(f"pass {len(self.projections) + 1}: core of {' x '.join(map(str, self.sides))}", share)
            where: list[Any] = [slice(None)] * core.ndim
            for mode, part in place.items():
                where[axis_of[mode]] = part
            core[tuple(where)] = chunk
        return core

    def _finish(self, core: NDArray) -> dict[Node, NDArray]:
        """Decompose the core with what the passes left of the allowed error."""
        self.progress("decomposing the core", 1.0)
        inner = float(np.vdot(core, core).real)
        left = max(0.0, self.rtol**2 * self.square - self._lost(core))
        least = self.rtol / sqrt(len(self.tree.nodes))
        reduced, known = reduced_tree(self.tree, self.axes)
        rtol = max(sqrt(left / inner), 0.1 * least) if inner > 0 else least
        for node, frame in self._in_memory(core, reduced, rtol).items():
            self._take(known[node], frame)
        scale = self.chunks.scale
        target = self.dtype if self.dtype.kind in "fc" else self.wide
        target = np.dtype(np.float32) if target.itemsize == 2 else target.newbyteorder("=")
        frames = {node: self.frames[node] for node in self.tree.nodes}
        frames = spread(frames, round(np.log2(scale)), self.tree.root, str(target))
        return {node: np.ascontiguousarray(frame, dtype=target) for node, frame in frames.items()}

    def _too_large(self) -> str:
        size = prod(self.sides) * self.wide.itemsize
        needed = 4 * size / 2**30
        listed = [f"{node}: {side}" for node, side in zip(self.axes, self.sides, strict=True)]
        parts = ", ".join(listed if len(listed) <= 8 else [*listed[:6], "..", listed[-1]])
        passes = "1 pass" if len(self.projections) == 1 else f"{len(self.projections)} passes"
        return (
            f"after {passes} the core still has {prod(self.sides):,} entries ({parts}), which "
            f"needs {needed:.3g} GiB of memory and may take {self.budget / 2**30:.3g}: raise memory=, raise rtol (now "
            f"{self.rtol:g}), give max_rank=, or choose a tree that groups modes which depend on each other"
        )


def parse_memory(memory: int | str) -> int:
    """Bytes of a number or of text such as ``"1.5 GiB"``.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is not positive, or no such text.
    """
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(e[0-9]+)?\s*([a-z]*)\s*", memory.lower())
        number = float(found[1] + (found[2] or "")) if found is not None else 0.0
        if found is None or found[3] not in _UNITS or number * _UNITS[found[3]] > 2**62:
            raise ValueError(f"memory is a number of bytes or text such as '1 GiB' or '500 MB', got {shown(memory)}")
        memory = int(number * _UNITS[found[3]])
    count = whole_number(memory, "memory", -(2**62), 2**62)
    if count < 1:
        raise ValueError(f"memory is a positive number of bytes, got {count}")
    return count


def _read_tree(tree: DimensionTree | Sequence[Any] | None, shape: tuple[int, ...]) -> DimensionTree:
    if len(shape) < 2:
        raise ValueError(f"got an array of shape {shape}, needed a tensor of order 2 or more")
    if 0 in shape:
        raise ValueError(f"mode {shape.index(0)} of the tensor {shape} is empty")
    tree = DimensionTree.balanced(len(shape)) if tree is None else tree
    tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
    if tree.order != len(shape):
        raise ValueError(f"the tree has {tree.order} modes and the tensor {shape} has {len(shape)}")
    return tree


def _checked(rtol: float) -> float:
    found, floor = check_rtol(rtol), 10 * accuracy_floor("gram", "float64")
    if found is None or found < floor:
        raise ValueError(
            f"rtol {rtol} is below {floor:.2g}, the floor of the Gram matrices by which a large array is compressed: "
            "raise it, or take HierarchicalTucker.from_dense(x, method='qr') where the array fits into memory"
        )
    return found


def _add_gram(gram: NDArray, chunk: NDArray, modes: tuple[int, ...], test: NDArray | None) -> None:
    """Add the Gram matrix of a matricization of the chunk, or its product with a matrix of few columns."""
    last = modes == tuple(range(chunk.ndim - len(modes), chunk.ndim))
    rows = gram.shape[0]
    # Of the last modes the transposed matricization is the chunk as it lies in memory.
    matrix = chunk.reshape(-1, rows).T if last else np.moveaxis(chunk, modes, range(len(modes))).reshape(rows, -1)
    gram += matrix @ (matrix.conj().T if test is None else matrix.conj().T @ test)
