"""Other trees, roots and orders of modes, and contractions of two tensors: what leaves a format's own tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tnrank._check import instance, shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._arrays import measured
from tnrank.factorizations._nodes._change import change_root, change_tree, permute
from tnrank.factorizations._nodes._indexing import read_modes
from tnrank.factorizations._nodes._tensordot import tensordot
from tnrank.factorizations._tree_arithmetic import TreeArithmetic

if TYPE_CHECKING:
    from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker


class TreeChanges(TreeArithmetic):
    """What gives a ``HierarchicalTucker`` on another tree, of any tree format."""

    __slots__ = ()

    @explained
    def tensordot(self, other: TreeArithmetic, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Any:
        """The sum over pairs of modes of two tensors, as ``np.tensordot``; 0 pairs give the outer product.

        Nothing is conjugated. Both are brought to trees that hold the contracted modes together first.

        Args:
            other: another tensor in this format.
            axes: modes of the first and of the second, or how many: the last of the first, the first of the second.

        Returns:
            The modes of the first that are left, then those of the second; a dense vector or scalar array if one mode
            or none is left.

        Raises:
            ValueError: if the modes do not exist or their dimensions differ, or :meth:`change_tree` raises.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((3, 4, 5), rank=2, seed=0)
            >>> x.tensordot(x, axes=((0, 2), (0, 2))).shape
            (4, 4)
        """
        instance(other, "other", TreeArithmetic, f"a tensor in a tree format: {type(self).__name__}.from_dense(array)")
        self, other = self._measurable()._with_dtype_of(other._measurable())
        if hasattr(axes, "__index__"):
            axes = whole_number(axes, "axes, the number of modes to contract,", 0, self.ndim)
            pairs: tuple[Sequence[int], Sequence[int]] = (range(self.ndim - axes, self.ndim), range(axes))
        else:
            pairs = axes
            if not isinstance(pairs, (tuple, list)) or len(pairs) != 2:
                raise TypeError(
                    f"axes are the modes of both tensors, such as ((0, 2), (0, 1)), or a number, got {shown(axes)}"
                )
        first, second = (read_modes(modes, x.ndim) for x, modes in ((self, pairs[0]), (other, pairs[1])))
        sizes = [[x.shape[m] for m in modes] for x, modes in ((self, first), (other, second))]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the modes {first} have dimensions {tuple(sizes[0])} and the modes {second} of the other tensor "
                f"{tuple(sizes[1])}: needed the same"
            )
        tree, made = tensordot(self.tree, self.nodes, other.tree, other.nodes, first, second)
        return made if tree is None else _general(tree, made)

    @explained
    def permute(self, order: Sequence[int]) -> HierarchicalTucker:
        """The same tensor with its modes in another order, as ``np.transpose``; the tree's leaves are renamed.

        Raises:
            ValueError: if ``order`` does not name every mode once.

        Example:
            >>> import tnrank
            >>> tnrank.HierarchicalTucker.random((3, 4, 5), rank=2, seed=0).permute((2, 0, 1)).shape
            (5, 3, 4)
        """
        return _general(*permute(self.tree, self.nodes, order))

    @measured
    @explained
    def change_root(self, at: Any, on_edge: bool = True) -> HierarchicalTucker:
        """The same tensor with another root: its dimension tree is a graph, and any edge or interior node may be it.

        Args:
            at: a Node or its modes; the new root sits on the edge above it.
            on_edge: ``False`` makes the interior node itself the root.

        Raises:
            KeyError: if there is no such node.
            ValueError: if it cannot be the root.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((3,) * 4, rank=2, seed=0)
            >>> x.change_root((0,)).tree.nested
            (0, (1, (2, 3)))
        """
        return _general(*change_root(self.tree, self.nodes, at, on_edge))

    @measured
    @explained
    def change_tree(
        self, tree: DimensionTree | Sequence[Any], rtol: float | None = None, memory_limit: int | None = None
    ) -> HierarchicalTucker:
        """The same tensor on another dimension tree, by local exchanges; it is never made dense.

        Args:
            tree: the new dimension tree.
            rtol: bounds ``||x - y|| / ||x||``; ``None`` drops rounding errors only.
            memory_limit: elements of the largest array on the way; 2^24 if not given.

        Raises:
            ValueError: if the tree has other modes, or an array on the way is larger than the limit; sizes are named.

        Source: exchanges of neighboring subtrees with truncated singular value decompositions, as in Grelier,
            Nouy & Chevreuil 2018.

        Example:
            >>> import tnrank
            >>> cp = tnrank.CPFactorization.random((3,) * 6, rank=2, seed=0)
            >>> x = tnrank.HierarchicalTucker.from_factorization(cp)
            >>> set(x.change_tree(tnrank.DimensionTree.linear(6)).ranks.values())
            {2}
        """
        wanted = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        return _general(wanted, change_tree(self.tree, self.nodes, wanted, rtol, memory_limit).nodes)


def _general(tree: DimensionTree, nodes: Mapping[Node, Array]) -> HierarchicalTucker:
    from tnrank.factorizations._hierarchical_tucker import HierarchicalTucker

    return HierarchicalTucker._of_nodes(tree, nodes)
