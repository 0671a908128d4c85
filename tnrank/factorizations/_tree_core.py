"""What the tree formats share: orthonormal frames, norms, spectra and truncation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np

from tnrank._backend import Backend, common_backend
from tnrank._by_node import ByNode
from tnrank._check import instance, sequence
from tnrank._explained import explained
from tnrank._scale import is_safe, on_host, quiet
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._arrays import measured, rounding_of
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._nodes._cutoff import Cutoff, MaxRank, PerNode
from tnrank.factorizations._nodes._sum import columns_of, orthogonalize_sum
from tnrank.factorizations._norms import check_numbers
from tnrank.factorizations._whole import is_whole
from tnrank.linalg import choose_method, default_rtol


class Truncation(NamedTuple):
    """A truncated tensor y of x, bounds of ``||x - y||`` and of ``||x - y|| / ||x||``, and the spectra of x.

    ``singular_values`` are relative to ``||x||``, which may be beyond the range of floating-point numbers.
    """

    tensor: Any
    error_bound: float
    relative_error_bound: float
    singular_values: ByNode[Array]

    def __repr__(self) -> str:
        return f"Truncation with relative_error_bound {self.relative_error_bound:.3g} of {self.tensor!r}"


class TreeCore(Factorization):
    """A tensor with a frame a leaf and a transfer tensor an interior node of a dimension tree.

    A subclass has ``tree``, ``nodes`` and ``_of_nodes``, and thereby everything else.
    """

    __slots__ = ()

    @property
    def tree(self) -> DimensionTree:
        """The dimension tree."""
        raise NotImplementedError

    @property
    def nodes(self) -> ByNode[Array]:
        """Node -> frame ``(d_n, k)`` or transfer tensor ``(k_c1, .., k_cm, k)``, leaves first; the root has no k."""
        raise NotImplementedError

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        raise NotImplementedError

    @classmethod
    def _reduced(cls, tree: DimensionTree) -> Collection[Node]:
        """The nodes whose frames truncation makes narrower."""
        return [node for node in tree.nodes if node != tree.root]

    def balance(self) -> Self:
        """Not for this format, whose components are fixed only up to a change of basis: see :meth:`orthogonalize`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"a {type(self).__name__} has no balance, because its frames are fixed only up to a change of basis: use "
            "x.orthogonalize() for orthonormal frames, or x.truncate() for the smallest ones"
        )

    @classmethod
    def _in_order(cls, tree: DimensionTree) -> Sequence[Node]:
        """The nodes that a sequence of ranks is for."""
        return [node for node in tree.nodes if node != tree.root]

    @property
    def ranks(self) -> ByNode[int]:
        """Node -> columns of its frame, the root left out: upper bounds of the hierarchical rank."""
        return ByNode({node: int(a.shape[-1]) for node, a in self.nodes.items() if node != self.tree.root})

    @measured
    @explained
    def orthogonalize(self, normalize: bool = False) -> Self:
        """The same tensor with orthonormal frames at all nodes but the root; ``normalize`` divides it by its norm.

        Raises:
            OverflowError: if the norm is beyond the range of floating-point numbers: ``normalize``, and see
                :meth:`log_norm`.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((4,) * 4, rank=2, seed=0).orthogonalize()
            >>> frame = x.nodes[tnrank.Node((0,), 0)]
            >>> bool(np.allclose(frame.T @ frame, np.eye(2)))
            True
        """
        arrays, log_norm = _hsvd.orthogonalize(self.tree, self.nodes)
        if normalize:
            return self._of_nodes(self.tree, arrays)
        if _is_out_of_range(self.backend, log_norm):
            raise OverflowError(
                "the norm is beyond the range of floating-point numbers and an orthonormal form keeps all of it at the "
                "root: use orthogonalize(normalize=True) with log_norm()"
            )
        root = self.tree.root
        return self._of_nodes(self.tree, {**arrays, root: arrays[root] * self.backend.xp.exp(log_norm)})

    @measured
    def log_norm(self) -> Array:
        """The natural logarithm of the Frobenius norm, a scalar array; -inf for the zero tensor, NaN if an entry of an
        array is NaN or infinite.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((10,) * 1000, rank=1, std=0.0, mean=1.0)  # all ones
            >>> bool(np.isclose(x.log_norm(), 500 * np.log(10)))
            True
        """
        return _hsvd.norm(self.tree, self.nodes, log=True)

    @measured
    def norm(self) -> Array:
        """The Frobenius norm, a scalar array, from orthonormal frames: accurate to eps where terms cancel.

        It is infinite, or 0, where it leaves the range of floating-point numbers: :meth:`log_norm` does not. Its
        derivative at zero is 0.
        """
        with np.errstate(over="ignore", under="ignore"):
            return _hsvd.norm(self.tree, self.nodes)

    @measured
    @explained
    def singular_values(self, method: str = "qr", relative: bool = False) -> ByNode[Array]:
        """Hierarchical singular values, {node: values} for every node but the root; nothing is made dense.

        Args:
            method: ``"qr"`` keeps eps of the largest value, ``"gram"`` sqrt(eps) and is faster at large ranks.
            relative: divide by the norm, which may be beyond the range of floating-point numbers at high order.

        Source: Grasedyck 2010, Sec. 4.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((4,) * 6, rank=2, seed=0)
            >>> x.singular_values()[tnrank.Node((0,), 0)].shape
            (2,)
        """
        method = choose_method(method, None, self.dtype)
        if relative:
            return ByNode(_hsvd.relative_spectra(self.tree, self.nodes, method))
        found, log_norm = _hsvd.spectra_and_log_norm(self.tree, self.nodes, method)
        with np.errstate(over="ignore"):
            scale = self.backend.xp.exp(log_norm)
        if is_safe(scale, self.backend):
            return ByNode({node: s * scale for node, s in found.items()})
        # An infinite scale times a zero value is a zero value.
        xp = self.backend.xp
        with quiet(self.backend):
            return ByNode({node: xp.where(s == 0, s, s * scale) for node, s in found.items()})

    @explained
    def default_rtol(self, node: Node) -> float:
        """What counts as zero at a node, relative to its largest value: max(sides of its array's matricization) * eps.

        The sides of the tensor's own matricization grow with the dimensions of all other modes; the rounding errors
        of the format do not.
        """
        shape = tuple(self.nodes[node].shape)
        dtype = self._measurable().dtype if is_whole(self.dtype) else self.dtype
        return default_rtol((prod(shape[:-1]), shape[-1]), dtype)

    def component_norms(self) -> ByNode[Array]:
        """The hierarchical singular values: this format's components are fixed only up to a basis change."""
        return self.singular_values()

    @explained
    def truncate(
        self,
        rtol: PerNode = None,
        max_rank: MaxRank = None,
        method: str = "qr",
        *,
        atol: PerNode = None,
    ) -> Truncation:
        """Fewer columns: all singular values that the tolerance allows are dropped, at every node at once.

        Args:
            rtol: bounds ``||x - y|| / ||x||``; ``None`` is :meth:`default_rtol`, which drops zeros only. A mapping
                {node: rtol} gives each named node its own share.
            max_rank: the most columns of any frame, {node: columns}, or a sequence of them: for the nodes of
                :attr:`ranks` in their order, of a Tucker tensor for the modes, of a train from the first core to the
                last. With it the error may exceed the tolerance, not the returned bound.
            method: ``"qr"`` or ``"gram"``, as in :meth:`singular_values`, or ``"auto"`` by the tolerance.
            atol: bounds ``||x - y||``, or {node: share}; with ``rtol`` too, the looser of the two holds.

        Returns:
            The tensor, the bounds ``sqrt(sum of the dropped squares)``, rounding left out, and the spectra before,
            divided by the norm. Integers give the default dtype, half precision gives single precision.

        Raises:
            ValueError: for ``rtol`` outside [0, 1) or below the method's floor, and for NaN or infinite entries; the
                array is named.

        Source: Grasedyck 2010, Thm. 3.11.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((4,) * 4, rank=2, seed=0)
            >>> max((x + x).ranks.values()), max((x + x).truncate().tensor.ranks.values())
            (4, 2)
        """
        x = self._measurable()
        frames, log_norm = _hsvd.orthogonalize(x.tree, x.nodes)
        check_numbers(log_norm, [self])
        return self._cut(x.tree, frames, log_norm, rtol, atol, max_rank, method, rounding=rounding_of(self.dtype))

    @classmethod
    @explained
    def truncate_sum(
        cls,
        terms: Sequence[Factorization],
        tree: DimensionTree | None = None,
        rtol: PerNode = None,
        max_rank: MaxRank = None,
        method: str = "qr",
        *,
        atol: PerNode = None,
    ) -> Truncation:
        """The sum of many tensors, truncated; the sum is never formed, and what cancels in it costs no accuracy.

        Frames of all terms are orthogonalized side by side, so that the error is eps times the largest term, as that
        of a dense sum is, and not sqrt(eps) times it.

        Args:
            terms: CP factorizations, hierarchical factorizations and tree formats on ``tree``, of equal shapes.
            tree: that of the first term that has one, else the balanced one.
            rtol: see :meth:`truncate`, as are the others.

        Raises:
            ValueError: if there are no terms, or their shapes or trees differ.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((4,) * 6, rank=2, seed=0)
            >>> small = tnrank.CPFactorization.random((4,) * 6, rank=1, seed=1)
            >>> max(tnrank.HierarchicalTucker.truncate_sum([x, small, -x], rtol=1e-10).tensor.ranks.values())
            1
        """
        terms = sequence(terms, "terms", "factorizations")
        if not terms:
            raise ValueError("got no terms, needed at least one")
        for place, term in enumerate(terms):
            instance(term, f"term {place}", Factorization, "a factorization, which from_dense(array) makes")
            if term.shape != terms[0].shape:
                raise ValueError(f"sum of shapes {terms[0].shape} and {term.shape}: needed equal shapes")
        found = cls._tree_of_sum(
            terms, tree if isinstance(tree, DimensionTree) or tree is None else DimensionTree(tree)
        )
        common_backend([term._values[0] for term in terms])
        wide = [term._measurable() for term in terms]
        rounding = max(rounding_of(term.dtype) for term in terms)
        dtype = wide[0].backend.xp.result_type(*(x._values[0] for x in wide))
        terms = [x._converted(dtype) for x in wide]
        frames, log_norm, condition = orthogonalize_sum(found, [columns_of(term, found) for term in terms])
        backend = terms[0].backend
        check_numbers(log_norm, terms)
        worst = max(1.0, float(backend.to_numpy(condition)))
        return cls._cut(found, frames, log_norm, rtol, atol, max_rank, method, worst, rounding)

    @classmethod
    def _tree_of_sum(cls, terms: Sequence[Factorization], tree: DimensionTree | None) -> DimensionTree:
        own: Any = next((t.tree for t in terms if hasattr(t, "tree")), None)
        return tree or own or cls._default_tree(terms[0].ndim)

    @classmethod
    def _default_tree(cls, order: int) -> DimensionTree:
        return DimensionTree.balanced(order)

    @classmethod
    def _cut(
        cls,
        tree: DimensionTree,
        arrays: dict[Node, Array],
        log_norm: Array,
        rtol: PerNode,
        atol: PerNode,
        max_rank: MaxRank,
        method: str,
        condition: float = 1.0,
        rounding: float = 0.0,
    ) -> Truncation:
        """Truncate orthonormal frames of a tensor of norm 1 times ``exp(log_norm)``, with rounding errors of
        ``condition`` units, or of ``rounding`` in numbers that were given in less precision."""
        backend = _backend_of(arrays[tree.root])
        dtype = backend.dtype_of(arrays[tree.root])
        reduced, edges = cls._reduced(tree), _hsvd.edges(tree)
        log = float(backend.to_numpy(log_norm))
        with np.errstate(over="ignore"):
            norm = float(np.exp(np.float64(log)))
        cutoff = Cutoff(tree, reduced, rtol, atol, max_rank, norm, cls._in_order(tree))
        chosen = choose_method(method, None if cutoff.tightest is None else min(cutoff.tightest, 0.99), dtype)
        bases, values = {}, {}
        dropped: dict[Any, float] = {}
        for node, factor in _hsvd.square_roots(tree, arrays, chosen).items():
            u, s = _hsvd.dominant(backend, factor, "qr")
            s = values[node] = backend.xp.sqrt(s) if chosen == "gram" else s
            if node not in reduced:
                continue
            host = np.asarray(backend.to_numpy(s), np.float64)
            shape = arrays[node].shape
            floor = min(0.5, condition * max(rounding, default_rtol((prod(shape[:-1]), shape[-1]), dtype)))
            # The absolute bound of all nodes together is relative to the norm, which is that of the spectrum too.
            allowed = cutoff.share(node, floor) * float(np.linalg.norm(host))
            count = _hsvd.kept_count(host, allowed, cutoff.most(node))
            # Two frames of one edge hold the same singular vectors: the narrower one alone counts.
            edge = edges.get(node)
            dropped[edge] = max(dropped.get(edge, 0.0), float((host[count:] ** 2).sum()))
            bases[node] = u[:, :count]
        made = _hsvd.project(tree, arrays, bases)
        # The norm is spread over all arrays, because at high order no single one can hold it.
        share_of_norm = backend.xp.exp(log_norm / len(made))
        tensor = cls._of_nodes(tree, {node: array * share_of_norm for node, array in made.items()})
        relative = sum(dropped.values()) ** 0.5
        return Truncation(tensor, relative * norm if relative else 0.0, relative, ByNode(values))


def _backend_of(array: Array) -> Backend:
    from tnrank._backend import backend_of

    return backend_of(array)


def _is_out_of_range(backend: Backend, log_norm: Array) -> bool:
    """Whether the norm of a tensor that is not zero overflows or vanishes; no while a framework traces the call."""
    host, limits = on_host(log_norm, backend), backend.xp.finfo(log_norm.dtype)
    return host is not None and bool(
        host > np.log(float(limits.max)) or -np.inf < host < np.log(float(limits.smallest_normal))
    )
