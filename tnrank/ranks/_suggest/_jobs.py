"""The measurements behind a suggested tree: of a dense array, or of a tensor in the hierarchical Tucker format."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, prod, sqrt
from time import monotonic
from typing import TYPE_CHECKING, Any

from tnrank._backend import get_backend
from tnrank._by_node import ByNode
from tnrank._scale import over, peak, unit_of
from tnrank.dimension_tree import DimensionTree
from tnrank.linalg import choose_method, default_rtol, eps_of, matricization_sides, matricize, singular_values
from tnrank.ranks._input import read_tensor
from tnrank.ranks._numbers import effective_rank_of
from tnrank.ranks._suggest import _search as search
from tnrank.ranks._suggest._clusters import Clusters, DenseClusters, FormatClusters, Modes
from tnrank.ranks._suggest._search import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tnrank._typing import Array
    from tnrank.dimension_tree import Node


@dataclass(frozen=True)
class TreeCandidate:
    """A dimension tree with the ranks that a truncation to the tolerance keeps on it.

    ``storage`` is the number of parameters of a HierarchicalTucker with these ranks. Where the ranks on the way to the
    tree were too large for the memory limit, ``storage`` is ``None`` and ``ranks`` is empty.
    """

    name: str
    tree: DimensionTree
    ranks: ByNode[int] = field(repr=False)
    storage: int | None

    @property
    def largest_rank(self) -> int | None:
        """The largest of the ranks."""
        return max(self.ranks.values(), default=None)


class Job:
    """One tensor: spectra of groups of modes, measured once each."""

    given: str
    shape: tuple[int, ...]
    dtype: str

    def __init__(self, rtol: float | None, criterion: str) -> None:
        self.rtol, self.criterion = rtol, criterion
        self.known: dict[Modes, Measured] = {}
        self.until = inf

    def over(self) -> bool:
        """Whether the time is up."""
        return monotonic() > self.until

    @property
    def order(self) -> int:
        return len(self.shape)

    def share(self, modes: Modes) -> float:
        """What may be lost at one node, relative to the norm."""
        if self.rtol is None:
            return self.rounding(modes)
        nodes: int = max(1, 2 * self.order - 3)
        return max(self.rtol / sqrt(nodes), eps_of(self.dtype))

    def rounding(self, modes: Modes) -> float:
        raise NotImplementedError

    def clusters(self) -> Clusters:
        raise NotImplementedError

    def spectra(self, tree: DimensionTree) -> Mapping[Modes, Any]:
        """Of all nodes but the root."""
        raise NotImplementedError

    def measure(self, modes: Modes, spectrum: Any) -> Measured:
        from tnrank.factorizations import _hsvd

        columns = _hsvd.kept_count(spectrum, self.share(modes) * float((spectrum**2).sum()) ** 0.5, None)
        number = columns if self.criterion == "rank" else max(1.0, float(effective_rank_of(spectrum)))
        return Measured(columns, number)

    def agglomerated(self, by: str) -> TreeCandidate:
        """A binary tree from groups of modes that grow together."""
        from tnrank.factorizations._nodes._web import TooLarge

        name = f"by {by}"
        try:
            found = search.agglomerate(self.clusters(), self.order, self.measure, self.known, by, self.over)
        except TooLarge:
            return TreeCandidate(name, DimensionTree.balanced(self.order), ByNode({}), None)
        tree = DimensionTree(found)
        if self.over():
            return self.candidate(name, tree)
        return self.finished(name, search.rooted(tree, self.columns(tree)))

    def improved(self, start: TreeCandidate) -> list[TreeCandidate]:
        """What exchanges of two subtrees make of a binary tree, where any subset of modes can be measured."""
        return []

    def widened(self, candidate: TreeCandidate, most: int) -> TreeCandidate:
        """With nodes of up to ``most`` children where that saves storage."""
        if most == 2 or candidate.storage is None:
            return candidate
        return self.finished(candidate.name, search.widened(candidate.tree, self.columns(candidate.tree), most))

    def candidate(self, name: str, tree: DimensionTree) -> TreeCandidate:
        from tnrank.factorizations._nodes._web import TooLarge

        if any(node.modes not in self.known for node in tree.nodes if node != tree.root):
            try:
                spectra = self.spectra(tree)
            except TooLarge:
                return TreeCandidate(name, tree, ByNode({}), None)
            for modes, spectrum in spectra.items():
                self.known.setdefault(modes, self.measure(modes, spectrum))
        return self.finished(name, tree)

    def columns(self, tree: DimensionTree) -> dict[Modes, int]:
        """Of all nodes of a tree that is measured; a group of modes and its complement share them."""
        everything = tree.root.modes
        ranks = {everything: 1}
        for node in tree.nodes:
            if node.modes not in ranks:
                other = tuple(sorted(set(everything).difference(node.modes)))
                ranks[node.modes] = (self.known[node.modes] if node.modes in self.known else self.known[other]).columns
        return ranks

    def finished(self, name: str, tree: DimensionTree) -> TreeCandidate:
        ranks = self.columns(tree)
        below = {node: ranks[node.modes] for node in tree.nodes if node != tree.root}
        return TreeCandidate(name, tree, ByNode(below), search.storage(tree, self.shape, ranks))


_FEW = 6
"""Components up to which a CP factorization is regrouped in the hierarchical Tucker format, exact to rounding."""


class SubsetJob(Job):
    """A tensor of which any subset of modes can be measured."""

    def improved(self, start: TreeCandidate) -> list[TreeCandidate]:
        def cost(tree: DimensionTree) -> int:
            return self.candidate("", tree).storage or 0

        if self.over():
            return []
        tree = search.refined(start.tree, cost, self.over)
        return [self.finished("by exchanges", search.rooted(tree, self.columns(tree)))]


def unit(array: Any) -> Any:
    """An array over its largest entry: ranks know no scale, and squares may leave the range of numbers."""
    numpy = get_backend("numpy")
    return over(array, unit_of(peak(array, numpy), numpy), numpy) if array.size else array


class DenseJob(SubsetJob):
    """A dense array; the work is done with NumPy, in the basis of the ranges of all modes."""

    def __init__(self, x: Any, rtol: float | None, criterion: str) -> None:
        super().__init__(rtol, criterion)
        found = read_tensor(x)
        self.shape, self.dtype = tuple(found.array.shape), found.dtype
        self.given = "a tensor" if found.given == "array" else f"a {found.given}"
        self.method = choose_method("auto", None if rtol is None else self.share(()), self.dtype)
        self.start = DenseClusters(unit(found.backend.to_numpy(found.array)), self.dtype, self.method)

    def rounding(self, modes: Modes) -> float:
        return default_rtol(matricization_sides(self.shape, modes), self.dtype)

    def clusters(self) -> Clusters:
        return self.start.copy()

    def spectra(self, tree: DimensionTree) -> Mapping[Modes, Any]:
        return {
            node.modes: singular_values(matricize(self.start.core, node.modes), self.method)
            for node in tree.nodes
            if node.modes not in self.known and node.modes != tree.root.modes
        }


class FormatJob(Job):
    """A tensor in the hierarchical Tucker format; changes of tree give the ranks of the other trees."""

    def __init__(
        self,
        given: str,
        tree: DimensionTree,
        nodes: Mapping[Node, Array],
        rtol: float | None,
        criterion: str,
        memory_limit: int,
    ) -> None:
        from tnrank._backend import backend_of

        super().__init__(rtol, criterion)
        backend = backend_of(nodes[tree.root])
        self.given, self.tree, self.limit = given, tree, memory_limit
        self.dtype = backend.dtype_of(nodes[tree.root])
        self.shape = tuple(int(nodes[leaf].shape[0]) for leaf in tree.leaves)
        self.nodes = {node: backend.to_numpy(array) for node, array in nodes.items()}
        choose_method("qr", rtol, self.dtype)

    def rounding(self, modes: Modes) -> float:
        return 64 * eps_of(self.dtype)

    def clusters(self) -> Clusters:
        return FormatClusters(self.tree, self.nodes, self.limit)

    def spectra(self, tree: DimensionTree) -> Mapping[Modes, Any]:
        from tnrank.factorizations import HierarchicalTucker
        from tnrank.factorizations._nodes._change import change_tree

        nodes = self.nodes if tree == self.tree else change_tree(self.tree, self.nodes, tree, None, self.limit).nodes
        found = HierarchicalTucker._of_nodes(tree, nodes).singular_values(relative=True)
        return {node.modes: values for node, values in found.items() if node.modes != tree.root.modes}


def job_of(x: Any, rtol: float | None, criterion: str, memory_limit: int) -> Job:
    """The measurements of an array or a factorization, in the format where that is smaller than the dense tensor."""
    from tnrank.factorizations import CPFactorization, HierarchicalFactorization, HierarchicalTucker

    if isinstance(x, CPFactorization) and x.ndim > 1:
        if x.rank > _FEW and x.rank**2 * x.ndim < prod(x.shape):
            from tnrank.ranks._suggest._components import ComponentJob

            return ComponentJob(x, rtol, criterion)
        size = x.rank**3 * (x.ndim - 1)
    elif isinstance(x, HierarchicalFactorization) and x.ndim == x.tree.order > 1:
        widths = [(len(x.tree.children(node)), matrix) for node, matrix in x.matrices.items() if node.height]
        size = sum(matrix.shape[0] ** count * matrix.shape[1] for count, matrix in widths)
    elif isinstance(getattr(x, "nodes", None), dict) and isinstance(getattr(x, "tree", None), DimensionTree):
        size = sum(prod(array.shape) for array in x.nodes.values())
    else:
        return DenseJob(x, rtol, criterion)
    if size >= prod(x.shape) or len(x.shape) < 3:
        return DenseJob(x, rtol, criterion)
    made = x if hasattr(x, "nodes") else HierarchicalTucker.from_factorization(x)
    given = f"{'an' if type(x).__name__[0] in 'AEIOU' else 'a'} {type(x).__name__}"
    return FormatJob(given, made.tree, made.nodes, rtol, criterion, memory_limit)
