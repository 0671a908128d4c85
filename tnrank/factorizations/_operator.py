"""Tensor train operator: a matrix whose rows and columns are products of modes, as a train of cores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from tnrank._backend import backend_of
from tnrank._check import instance
from tnrank._check import shape as check_shape
from tnrank._explained import explained
from tnrank._typing import Array, Shape
from tnrank.factorizations._arrays import checked_arrays, read_arrays
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._draw import check_ranks, draw
from tnrank.factorizations._nodes._convert import to_nodes
from tnrank.factorizations._nodes._cutoff import MaxRank, PerNode
from tnrank.factorizations._operator_dense import at_first_ranks, from_matrix
from tnrank.factorizations._operator_product import product, product_from_left, trace
from tnrank.factorizations._operator_tree import OperatorTree


class TensorTrainOperator(OperatorTree):
    """A matrix with ``m_1 * .. * m_d`` rows and ``n_1 * .. * n_d`` columns as a train of cores, never formed.

    The entry at the row ``(i_1, .., i_d)`` and the column ``(j_1, .., j_d)`` is the product of the matrices
    ``cores[k][:, i_k, j_k, :]``. As a tensor it has the modes ``(m_1, .., m_d, n_1, .., n_d)``, on the dimension tree
    ``((0, d), ((1, d+1), ..))``.

    ``A @ v``, ``A @ x`` and ``A @ B`` apply it to dense vectors, tensor trains and operators; ``A * B`` is the
    entrywise product. Sums and products are exact, so that ranks add and multiply until :meth:`truncate`.

    Args:
        cores: d arrays ``(r_k, m_k, n_k, r_k+1)`` with ``r_1 = r_d+1 = 1``; the first and the last may leave that axis
            out. One core is a matrix ``(m, n)``.

    Raises:
        ValueError: if there are no cores or neighbors do not fit; core and sizes are named.

    Source: Oseledets 2010 (approximation of 2^d x 2^d matrices using tensor decomposition); in physics, a matrix
        product operator.

    Example:
        >>> import numpy as np, tnrank
        >>> A = tnrank.TensorTrainOperator.random((2,) * 10, (2,) * 10, rank=3, seed=0)
        >>> A
        TensorTrainOperator of order 20: 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x .., 312 parameters, float64, numpy
          1024 x 1024: rows 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x .., columns 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x ..
          ranks 3, 3, 3, 3, 3, 3, 3, 3, 3
        >>> v = np.ones(1024)
        >>> bool(np.allclose(A @ v, A.to_matrix() @ v))
        True
    """

    __slots__ = ()
    kind: ClassVar[str] = "tensor train operator"

    @explained
    def __init__(self, cores: Iterable[Array]) -> None:
        arrays = read_arrays(cores, "cores")
        last = len(arrays) - 1
        for k, array in enumerate(arrays):
            shape = tuple(array.shape)
            ends = (k == 0) + (k == last)
            if len(shape) == 4 and (k or shape[0] == 1) and (k < last or shape[-1] == 1):
                inner = shape[1 if not k else 0 : 3 if k == last else 4]
                arrays[k] = backend_of(array).reshape(array, inner)
            elif not ends or len(shape) != 4 - ends:
                wanted = ["(r, m, n, r')", "(1, m, n, r) or (m, n, r)", "(r, m, n, 1) or (r, m, n)"][
                    ends and 1 + (k > 0)
                ]
                wanted = wanted if last else "(1, m, n, 1) or (m, n)"
                raise ValueError(f"core {k} has shape {shape}: needed {wanted}")
        for k in range(last):
            if arrays[k].shape[-1] != arrays[k + 1].shape[0]:
                raise ValueError(
                    f"core {k} ends in rank {arrays[k].shape[-1]} and core {k + 1} begins with rank "
                    f"{arrays[k + 1].shape[0]}: needed the same"
                )
        self._fill(len(arrays), arrays)

    @classmethod
    @explained
    def random(
        cls,
        row_shape: Sequence[int],
        column_shape: Sequence[int],
        rank: int | Sequence[int] = 5,
        *,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random cores.

        Args:
            row_shape: ``(m_1, .., m_d)``.
            column_shape: ``(n_1, .., n_d)``.
            rank: between all cores, or d - 1 ranks.
            std: standard deviation of every entry of every core.
            mean: added to every entry.
            init: ``"normal"``, or ``"identity"``: at the first value of every rank ``std`` on the diagonal of row and
                column plus ``mean``, elsewhere 0.
            seed: of NumPy's Generator; the same cores on every backend.
            backend: where the arrays live.
            dtype: the backend's default if ``None``.
            device: likewise.

        Raises:
            ValueError: if there are not as many row modes as column modes, or not d - 1 ranks from 1 on.
        """
        rows, columns = _mode_pairs(row_shape, column_shape)
        ranks = check_ranks(rank, len(rows) - 1, (*rows, *columns))
        if init == "identity":
            blocks = draw(list(zip(rows, columns, strict=True)), std, mean, init, seed, backend, dtype, device)
            ends = zip(blocks, (1, *ranks), (*ranks, 1), strict=True)
            return cls._of_four_axes([at_first_ranks(block, r, r_next) for block, r, r_next in ends])
        shapes = list(zip((1, *ranks), rows, columns, (*ranks, 1), strict=True))
        return cls._of_four_axes(draw(shapes, std, mean, init, seed, backend, dtype, device))

    @classmethod
    @explained
    def identity(
        cls, shape: Sequence[int], *, backend: str = "numpy", dtype: str | None = None, device: Any = None
    ) -> Self:
        """The identity matrix with ``n_1 * .. * n_d`` rows, of ranks 1.

        Example:
            >>> import tnrank
            >>> float(tnrank.TensorTrainOperator.identity((2,) * 20).trace())
            1048576.0
        """
        return cls.random(shape, shape, 1, init="identity", backend=backend, dtype=dtype, device=device)

    @classmethod
    @explained
    def from_dense(
        cls,
        matrix: Array,
        row_shape: Sequence[int],
        column_shape: Sequence[int],
        rtol: float | None = None,
        max_rank: MaxRank = None,
        method: str = "auto",
        *,
        atol: float | None = None,
    ) -> Self:
        """The TT-SVD of a dense matrix, over pairs of a row and a column mode.

        Args:
            matrix: array ``(m_1 * .. * m_d, n_1 * .. * n_d)``, or its tensor ``(m_1, .., m_d, n_1, .., n_d)``.
            row_shape: ``(m_1, .., m_d)``.
            column_shape: ``(n_1, .., n_d)``.
            rtol: bounds ``||matrix - result|| / ||matrix||``; ``None`` is max(sides) * eps.
            max_rank: the largest rank, or d - 1 of them from the first core to the last; with it the error may exceed
                ``rtol``.
            method: as for :meth:`tnrank.HierarchicalTucker.from_dense`.
            atol: bounds ``||matrix - result||``; with ``rtol`` too, the looser of the two holds.

        Raises:
            ValueError: if the matrix has another shape, or NaN or infinite entries, or there are not as many row modes
                as column modes.

        Source: Oseledets 2010, Sec. 2.

        Example:
            >>> import numpy as np, tnrank
            >>> laplacian = 2 * np.eye(64) - np.eye(64, k=1) - np.eye(64, k=-1)
            >>> tnrank.TensorTrainOperator.from_dense(laplacian, (2,) * 6, (2,) * 6, rtol=1e-12).tt_ranks
            (3, 3, 3, 3, 3)
        """
        rows, columns = _mode_pairs(row_shape, column_shape)
        matrix = checked_arrays([matrix], lambda: ["matrix"])[0]
        return cls._make(len(rows), from_matrix(matrix, rows, columns, rtol, max_rank, method, atol))

    @classmethod
    @explained
    def from_factorization(cls, x: Factorization, rtol: PerNode = None, max_rank: MaxRank = None) -> Self:
        """Another factorization, with all row modes and then all column modes, exactly or truncated.

        Raises:
            TypeError: for a factorization with classes.
            ValueError: if the order is odd.

        Example:
            >>> import tnrank
            >>> cp = tnrank.CPFactorization.random((2, 3, 4, 5), rank=2, seed=0)
            >>> tnrank.TensorTrainOperator.from_factorization(cp).matrix_shape
            (6, 20)
        """
        instance(x, "x", Factorization, f"a factorization; {cls.__name__}.from_dense(matrix, ..) takes an array")
        made = cls._of_nodes(*to_nodes(x._measurable(), cls._default_tree(x.ndim)))
        if rtol is None and max_rank is None:
            return made
        short: Self = made.truncate(rtol, max_rank).tensor
        return short

    @explained
    def to_matrix(self, memory_limit: int | str | None = None) -> Array:
        """The dense matrix ``(m_1 * .. * m_d, n_1 * .. * n_d)``; :meth:`to_dense` gives its tensor."""
        return self.backend.reshape(self.to_dense(memory_limit), self.matrix_shape)

    @explained
    def matmul(self, other: Any) -> Any:
        """``A @ other``: the matrix times something with as many rows as it has columns; it is not formed.

        The operator calls this method, which ``torch.compile`` traces, as it does not trace ``@`` of classes.

        Args:
            other: a dense vector ``(N,)`` or matrix ``(N, B)``, which gives ``(M,)`` or ``(M, B)``; a
                :class:`tnrank.TensorTrain` or another operator, which gives the same with the products of the ranks.
                ``v @ A`` takes a dense vector ``(M,)``, a matrix ``(B, M)`` or a train from the left.

        Raises:
            ValueError: if the shapes do not fit.
            TypeError: for anything else.

        Source: Oseledets 2011, Sec. 4.3. Neighboring cores are merged into blocks before they meet a dense vector,
            the cheapest ones by multiplications and moved elements.

        Example:
            >>> import numpy as np, tnrank
            >>> A = tnrank.TensorTrainOperator.random((2,) * 8, (2,) * 8, rank=2, seed=0)
            >>> x = tnrank.TensorTrain.random((2,) * 8, rank=3, seed=1)
            >>> (A @ np.ones((256, 5))).shape, (A @ x).tt_ranks, (A @ A).tt_ranks
            ((256, 5), (6, 6, 6, 6, 6, 6, 6), (4, 4, 4, 4, 4, 4, 4))
        """
        return product(self, other)

    def __matmul__(self, other: Any) -> Any:
        return product(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return product_from_left(other, self)

    @property
    def T(self) -> Self:
        """The transpose."""
        return self.transpose()

    @property
    def H(self) -> Self:
        """The conjugate transpose."""
        turned = self.transpose()
        if not self.dtype.startswith("complex"):
            return turned
        return turned.map(self.backend.xp.conj)

    def transpose(self) -> Self:
        """The transpose: rows and columns of each core are exchanged."""
        permute = self.backend.permute
        return self._with_cores([permute(core, (0, 2, 1, 3)) for core in self.cores])

    @explained
    def trace(self) -> Array:
        """The sum of the diagonal, a scalar array.

        Raises:
            ValueError: if a core has another number of rows than of columns.

        Example:
            >>> import numpy as np, tnrank
            >>> A = tnrank.TensorTrainOperator.random((2, 3), (2, 3), rank=2, seed=0)
            >>> bool(np.isclose(A.trace(), np.trace(A.to_matrix())))
            True
        """
        return trace(self)


def _wanted(k: int, last: int) -> str:
    """The shapes that core k of the cores up to ``last`` may have, in words."""
    if not last:
        return "(1, m, n, 1) or (m, n)"
    return "(1, m, n, r) or (m, n, r)" if not k else "(r, m, n, 1) or (r, m, n)" if k == last else "(r, m, n, r')"


def _mode_pairs(row_shape: Any, column_shape: Any) -> tuple[Shape, Shape]:
    rows, columns = check_shape(row_shape, "row_shape"), check_shape(column_shape, "column_shape")
    if len(rows) != len(columns) or not rows:
        raise ValueError(
            f"got the row_shape {rows} and the column_shape {columns}, needed one row mode and one column mode a core, "
            "at least one of each: modes of size 1 fill up the shorter"
        )
    return rows, columns
