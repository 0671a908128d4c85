"""A convolutional arithmetic circuit: what it looks like, without its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self

from tnrank._explained import explained
from tnrank._typing import Array, Shape
from tnrank.circuits import _layout
from tnrank.circuits._layout import Level
from tnrank.circuits._representation import Representation
from tnrank.dimension_tree import DimensionTree, Node

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank.factorizations import Factorization

Pooling = Literal["product", "max", "average", "sum"]
Activation = Literal["identity", "relu"]
Kind = Literal["hierarchical", "cp", "matrix"]
Weights = Sequence[Array]

POOLINGS = ("product", "max", "average", "sum")
ACTIVATIONS = ("identity", "relu")


@dataclass(frozen=True)
class Circuit:
    """A convolutional network of 1x1 convolutions and pooling windows, with product pooling a factorization.

    An input has a patch at every location of a grid; representation functions turn a patch into numbers. Each level
    multiplies the channels of a location by a matrix (one for all locations if shared), applies the activation, and
    pools windows of the grid. At the last location that is left, a dense layer gives the classes, or the channels
    are summed. With product pooling and no activation the output is the multilinear function of a factorization:
    a matrix factorization, a CP factorization (one level), or a hierarchical factorization.

    Args:
        grid: patches of the input, ``(N,)`` or ``(H, W)``; modes are numbered row by row.
        features: representation functions, one number or one a location.
        levels: convolution and pooling, until one location is left.
        classes: outputs of the dense layer.
        pooling: ``"product"``, ``"max"``, ``"average"`` or ``"sum"``.
        activation: ``"identity"`` or ``"relu"``, between convolution and pooling.
        dense: whether there is a dense layer; else the last channels are summed.
        representation: what turns patches into features; ``None`` if inputs are features.
        kind: the factorization it belongs to: ``"hierarchical"``, ``"cp"`` or ``"matrix"``.
        ragged: whether a last window of a row or column may be short.

    Raises:
        ValueError: if windows do not divide a grid and ``ragged`` is not set, if more than one location is left, or
            if numbers of channels do not fit.

    Source: Cohen, Sharir & Shashua 2016, Sec. 3; Razin, Maman & Cohen 2022, Sec. 5.

    Example:
        >>> from tnrank.circuits import Circuit
        >>> circuit = Circuit.deep((4, 4), features=3, channels=8, classes=10)
        >>> print(circuit)
        circuit on 4 x 4 patches, product pooling, 720 weights
          3 features at 4 x 4 locations
          1x1 convolution to 8 channels, a filter bank a location, pooling 2 x 2: 2 x 2 locations
          1x1 convolution to 8 channels, a filter bank a location, pooling 2 x 2: 1 x 1 location
          dense to 10 classes
        >>> x = circuit.to_factorization(circuit.initial_weights(seed=0))
        >>> x.shape[-3:]
        (3, 3, 10)
    """

    grid: tuple[int, ...]
    features: int | tuple[int, ...]
    levels: tuple[Level, ...]
    classes: int = 1
    pooling: Pooling = "product"
    activation: Activation = "identity"
    dense: bool = True
    representation: Representation | None = None
    kind: Kind = "hierarchical"
    ragged: bool = False

    @explained
    def __post_init__(self) -> None:
        _layout.complete(self)

    @classmethod
    @explained
    def deep(
        cls,
        grid: int | Sequence[int],
        features: int | Sequence[int] | None = None,
        channels: int | Sequence[int] = 16,
        window: Any = 2,
        *,
        classes: int = 1,
        shared: bool = False,
        ragged: bool = False,
        pooling: Pooling = "product",
        activation: Activation = "identity",
        representation: Representation | None = None,
    ) -> Self:
        """A circuit that pools small windows, level by level, until one location is left.

        Args:
            grid: ``N``, ``(N,)`` or ``(H, W)`` patches.
            features: representation functions; those of ``representation`` if not given.
            channels: one number, or one a level.
            window: one side for all axes (2 is 2 x 2 on a plane), a window such as ``(1, 2)``, or one of either a
                level as a list.
            classes: see :class:`Circuit`; so are the others.
            shared: one filter bank a level for all locations.
            ragged: whether a last window may be short.

        Raises:
            ValueError: see :class:`Circuit`.

        Example:
            >>> from tnrank.circuits import Circuit
            >>> Circuit.deep(8, features=2, channels=4).tree == __import__("tnrank").DimensionTree.balanced(8)
            True
        """
        grid = _layout.sides_of(grid)
        windows = _layout.windows_to_one(grid, window)
        many = list(_layout.whole_numbers("channels", channels))
        many = many * len(windows) if isinstance(channels, Integral) else many
        if len(many) != len(windows):
            raise ValueError(
                f"got channels for {len(many)} levels; the grid {_layout.crossed(grid)} needs {len(windows)} levels: "
                f"give one number, or {len(windows)}"
            )
        levels = tuple(Level(c, w, shared) for c, w in zip(many, windows, strict=True))
        many_features = _layout.features_of(features, representation)
        return cls(
            grid, many_features, levels, classes, pooling, activation, True, representation, "hierarchical", ragged
        )

    @classmethod
    @explained
    def shallow(
        cls,
        grid: int | Sequence[int],
        features: int | Sequence[int] | None = None,
        channels: int = 16,
        *,
        classes: int = 1,
        shared: bool = False,
        dense: bool = True,
        pooling: Pooling = "product",
        activation: Activation = "identity",
        representation: Representation | None = None,
    ) -> Self:
        """A circuit of one convolution and one pooling of all locations: a CP factorization.

        Args:
            grid: ``N``, ``(N,)`` or ``(H, W)`` patches.
            features: representation functions; those of ``representation`` if not given.
            channels: the number of components of the CP factorization.
            classes: see :class:`Circuit`; so are the others.
            shared: one filter bank for all locations: the factors are one matrix.
            dense: ``False`` for a plain sum of the components.

        Example:
            >>> from tnrank.circuits import Circuit
            >>> circuit = Circuit.shallow((8, 8), features=2, channels=5)
            >>> circuit.to_factorization(circuit.initial_weights()).rank
            5
        """
        grid = _layout.sides_of(grid)
        level, count = Level(channels, grid, shared), _layout.features_of(features, representation)
        return cls(grid, count, (level,), classes, pooling, activation, dense, representation, "cp")

    @classmethod
    @explained
    def from_factorization(
        cls,
        x: Factorization,
        grid: Sequence[int] | None = None,
        shared: bool | None = None,
        classes: bool = False,
        representation: Representation | None = None,
    ) -> Self:
        """The circuit whose output is the multilinear function of a factorization; weights: :meth:`weights_of`.

        A matrix factorization is a linear network on two patches, where the first one is multiplied by all matrices
        but the last; a CP factorization is a shallow circuit; a hierarchical factorization is a deep one.

        Args:
            x: a MatrixFactorization, CPFactorization or HierarchicalFactorization.
            grid: the layout of the modes, ``(N,)`` or ``(H, W)``; for a hierarchical factorization it is found from
                the tree if not given.
            shared: whether the matrices of a level are one; if not given, whether they are one object.
            classes: whether the last mode of a CP factorization stands for the classes.
            representation: what turns patches into features; a factorization does not hold it.

        Raises:
            TypeError: for another factorization; ``HierarchicalFactorization`` is what a circuit computes.
            ValueError: if the tree is not made of windows of the grid, the node is named.

        Source: Razin, Maman & Cohen 2022, Sec. 3 and 5; Cohen, Sharir & Shashua 2016.

        Example:
            >>> import tnrank
            >>> from tnrank.circuits import Circuit
            >>> x = tnrank.HierarchicalFactorization.random((2,) * 16, tnrank.DimensionTree.quad(4, 4), width=3)
            >>> circuit = Circuit.from_factorization(x)
            >>> circuit.grids
            ((4, 4), (2, 2), (1, 1))
        """
        from tnrank.circuits._mapping import circuit_of

        found: Self = circuit_of(cls, x, grid, shared, classes, representation)
        return found

    @cached_property
    def grids(self) -> tuple[tuple[int, ...], ...]:
        """The grid before each level, and after the last."""
        found = [self.grid]
        for level in self.levels:
            found.append(tuple(-(-side // w) for side, w in zip(found[-1], level.window, strict=True)))
        return tuple(found)

    @property
    def order(self) -> int:
        """The number of patches N."""
        return prod(self.grid)

    @cached_property
    def widths(self) -> tuple[tuple[int, ...], ...]:
        """The channels at every location before each level, and after the last."""
        return _layout.widths(self)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of the weights.

        A level has ``(in, out)`` if shared, else ``(locations, in, out)``, padded where locations differ in channels
        (:meth:`forward` does not read the padding, :meth:`to_factorization` drops it); last comes the dense layer,
        ``(channels, classes)``.
        """
        found: list[Shape] = []
        for k, level in enumerate(self.levels):
            where = level.locations if level.locations is not None else range(len(self.widths[k]))
            rows = max(self.widths[k][n] for n in where)
            columns = max(_layout.channels_at(level, n) for n in where)
            found.append((rows, columns) if level.shared else (len(where), rows, columns))
        if self.dense:
            found.append((self.widths[-1][0], self.classes))
        return tuple(found)

    @property
    def parameter_count(self) -> int:
        """Weights of all levels and the dense layer, padding included, the representation's not."""
        return sum(prod(shape) for shape in self.shapes)

    @cached_property
    def padding(self) -> tuple[tuple[tuple[int, ...], tuple[int, ...]] | None, ...]:
        """For each weight the rows and the columns of its matrices; ``None`` where all have the same shape."""
        return tuple(_layout.padding(self, k) for k in range(len(self.shapes)))

    @cached_property
    def nodes(self) -> tuple[tuple[Node, ...], ...]:
        """Nodes of the dimension tree, by level and location: leaves first, the root last."""
        return _layout.nodes(self)[0]

    @cached_property
    def tree(self) -> DimensionTree:
        """The dimension tree: windows of a level are the children of a node.

        Example:
            >>> from tnrank.circuits import Circuit
            >>> Circuit.deep(4, features=2).tree.nested
            ((0, 1), (2, 3))
        """
        return DimensionTree(_layout.nodes(self)[1])

    @explained
    def forward(self, weights: Weights, features: Array, log: bool = False) -> Any:
        """The output of the circuit for a batch of inputs.

        Args:
            weights: arrays of the shapes of :attr:`shapes`.
            features: ``(batch, N, M)`` values of the representation functions, or whole numbers ``(batch, N)``: which
                of them is 1, all others being 0.
            log: whether to keep a scale beside the numbers at each location, so that products of any length neither
                overflow nor vanish; for product pooling.

        Returns:
            ``(batch,)``, or ``(batch, classes)``; with ``log`` a pair of them: the sign, and the logarithm of the
            absolute value.

        Raises:
            ValueError: for another number of patches or features, or ``log`` without product pooling.
            TypeError: for products of integers.

        Example:
            >>> import numpy as np
            >>> from tnrank.circuits import Circuit
            >>> circuit = Circuit.deep((28, 28), features=2, channels=4, ragged=True)
            >>> weights = circuit.initial_weights(seed=0, dtype="float32")
            >>> inputs = np.zeros((3, 784), int)
            >>> bool(np.isfinite(circuit.forward(weights, inputs)).all())
            True
            >>> sign, size = circuit.forward([1e-3 * w for w in weights], inputs, log=True)
            >>> bool((size < -5000).all())
            True
        """
        from tnrank.circuits._forward import forward

        return forward(self, weights, features, log)

    @explained
    def represent(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        """Inputs ``(batch, N, p)`` as features ``(batch, N, M)``, by the representation and its arrays.

        Raises:
            ValueError: for another number of patches.
        """
        if len(inputs.shape) < 2 or inputs.shape[1] != self.order:
            raise ValueError(
                f"got inputs of shape {tuple(inputs.shape)}, needed (batch, {self.order}, ..), a patch for each of "
                f"{_layout.crossed(self.grid)} locations: tnrank.circuits.patches(images, size) cuts images"
            )
        return inputs if self.representation is None else self.representation(arrays, inputs)

    @explained
    def initial_weights(
        self,
        seed: int | None = 0,
        backend: str | Backend = "numpy",
        dtype: str | None = None,
        device: Any = None,
        std: float | None = None,
        sample: Array | None = None,
    ) -> tuple[Array, ...]:
        """Random weights for which channels are of size 1 at every level, whatever the order.

        The columns of every matrix sum to 1 (those of the first level with the representation's functions), so that
        equal channels stay equal and products of ones stay one; Gaussian noise on top, whose columns sum to 0, gives
        channels and inputs their differences. Those of the first level grow with every product, hence are small.

        Args:
            seed: of NumPy's Generator; the same weights on every backend.
            backend: where the arrays live.
            dtype: the backend's default if ``None``.
            device: likewise.
            std: the relative size of the noise in the first level; ``N ** -0.5`` if not given, and
                ``1 / N`` if the level is shared; 1 without product pooling.
            sample: features ``(batch, N, M)`` of some inputs, for which the functions of a patch, weighted, are to
                sum to 1; without it, those that the representation expects. At order 784 it matters.

        Example:
            >>> from tnrank.circuits import Circuit
            >>> circuit = Circuit.deep(4, features=2, channels=3)
            >>> [w.shape for w in circuit.initial_weights(seed=0)]
            [(4, 2, 3), (2, 3, 3), (3, 1)]
        """
        from tnrank.circuits._initial import initial_weights

        return initial_weights(self, seed, backend, dtype, device, std, sample)

    @explained
    def weights_of(self, x: Factorization) -> tuple[Array, ...]:
        """The arrays of a factorization as weights of this circuit.

        Raises:
            ValueError: if the factorization has another structure, or a level is shared and its matrices differ.
        """
        from tnrank.circuits._mapping import weights_of

        return weights_of(self, x)

    @explained
    def to_factorization(self, weights: Weights) -> Any:
        """The factorization of these weights; matrices of a shared level are one array.

        Raises:
            ValueError: for other shapes, or a circuit with another pooling than the product, or an activation.

        Example:
            >>> import numpy as np
            >>> from tnrank.circuits import Circuit
            >>> circuit = Circuit.deep(4, features=2, channels=3)
            >>> weights = circuit.initial_weights(seed=0)
            >>> x = circuit.to_factorization(weights)
            >>> index = np.array([[0, 1, 1, 0]])
            >>> bool(np.allclose(x.entries(index), circuit.forward(weights, index)))
            True
        """
        from tnrank.circuits._mapping import factorization_of

        return factorization_of(self, weights)

    def __str__(self) -> str:
        return _layout.describe(self)
