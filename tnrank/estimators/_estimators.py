"""A classifier and a regressor with scikit-learn's conventions."""

from __future__ import annotations

from math import isqrt
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tnrank._check import one_of, real_number, whole_number
from tnrank._memory import check_fits
from tnrank.dimension_tree import DimensionTree
from tnrank.estimators._features import features_for
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization
from tnrank.training import Adam, CrossEntropyLoss, SquaredLoss, fit, scores

Host = np.ndarray[Any, Any]


class _Base(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    def __init__(
        self,
        model: str = "cp",
        rank: int = 10,
        *,
        tree: Any = None,
        representation: Any = None,
        epochs: int = 100,
        batch: int = 100,
        learning_rate: float | None = None,
        std: float | None = None,
        validation_fraction: float = 0.0,
        patience: int = 10,
        random_state: Any = None,
        backend: str = "numpy",
        dtype: str = "float64",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.rank = rank
        self.tree = tree
        self.representation = representation
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.std = std
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.backend = backend
        self.dtype = dtype
        self.verbose = verbose

    def _fit(self, x: Host, targets: Host, loss: Any, classes: int) -> None:
        """Train; sets what ends with an underscore."""
        one_of(self.model, "model", ("cp", "htf"))
        rank = whole_number(self.rank, "rank", 1)
        order = x.shape[1]
        # A score is a product over all features: what moves each of them moves it so many times as much.
        rate = min(1e-2, 0.64 / order) if self.learning_rate is None else self.learning_rate
        std = min(0.1, 0.8 / np.sqrt(order)) if self.std is None else real_number(self.std, "std", 0)
        check_fits(rank * (rank if self.model == "htf" else 1) * x.shape[1], "the weights", "a smaller rank")
        random = check_random_state(self.random_state)
        self.features_ = features_for(self.representation, x)
        features = self.features_(x)
        start = self._start(order, classes, std, random)
        held = self._held_out(len(x), random)
        validation = (features[held], targets[held]) if held.any() else None
        result = fit(
            start,
            features[~held],
            targets[~held],
            loss=loss,
            optimizer=Adam(rate, relative=True),
            epochs=self.epochs,
            batch=self.batch,
            seed=int(random.randint(2**31 - 1)),
            validation=validation,
            patience=self.patience if held.any() else None,
            progress=bool(self.verbose),
        )
        if result.status == "interrupted":
            raise KeyboardInterrupt
        self.result_ = result
        self.factorization_: Factorization = result.factorization

    def _held_out(self, count: int, random: Any) -> Host:
        share = real_number(self.validation_fraction, "validation_fraction", 0, 1)
        held = np.zeros(count, bool)
        number = int(share * count)
        if share and not 0 < number < count:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {count} samples leaves none to train on, or "
                "none to validate on"
            )
        held[random.permutation(count)[:number]] = True
        return held

    def _start(self, order: int, classes: int, std: float, random: Any) -> Factorization:
        """Every score is near 1 / R of each component's 1, and slopes are small."""

        def near(rows: Host, columns: int) -> Host:
            return np.asarray(rows[:, None] + std * random.standard_normal((len(rows), columns)))

        ones = self.features_.ones
        options = self.backend, self.dtype
        if self.model == "cp":
            factors = [near(ones, self.rank) for _ in range(order)]
            if classes:
                factors.append(random.standard_normal((classes, self.rank)) / self.rank)
            else:
                factors[0] = factors[0] * random.standard_normal(self.rank) / self.rank
            return CPFactorization(factors).to(*options)
        tree = self._tree(order)
        matrices = {}
        for node in tree.nodes:
            if node == tree.root:
                matrices[node] = random.standard_normal((self.rank, max(classes, 1))) / self.rank
            elif node.height:
                # Components that start alike would stay alike for long.
                noise = random.standard_normal((self.rank, self.rank))
                matrices[node] = np.eye(self.rank) + std * noise / np.sqrt(self.rank)
            else:
                matrices[node] = near(ones, self.rank)
        return HierarchicalFactorization(tree, matrices).to(*options)

    def _tree(self, order: int) -> DimensionTree:
        if isinstance(self.tree, str) and self.tree == "quad":
            side = isqrt(order)
            if side * side != order:
                raise ValueError(
                    f"tree='quad' is of square images, and X has {order} features: of others "
                    "tree=tnrank.DimensionTree.quad(rows, columns)"
                )
            return DimensionTree.quad(side, side)
        tree = DimensionTree.balanced(order) if self.tree is None else self.tree
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        if tree.order != order:
            raise ValueError(f"the tree has {tree.order} modes, and X has {order} features: one mode a feature")
        return tree

    def _scores(self, x: Any) -> Host:
        check_is_fitted(self)
        x = validate_data(self, x, reset=False, dtype=np.float64)
        found = scores(self.factorization_, self.features_(x))
        return np.asarray(self.factorization_.backend.to_numpy(found), np.float64)


_ARGUMENTS = """
    Args:
        model: ``"cp"`` or ``"htf"``, a hierarchical factorization.
        rank: components of cp, width of htf.
        tree: of htf, a DimensionTree over the features or nested tuples; balanced if not given; ``"quad"`` for the
            pixels of square images.
        representation: what each number becomes: ``"scaled"`` (1, z) with z of mean 0 and variance 1, or less where
            values are rarely far off; ``"states"``, one-hot features of whole numbers; or a representation without
            weights, such as ``tnrank.circuits.CosSin()`` of numbers in [0, 1].
        epochs: how often all samples are seen.
        batch: samples of a step.
        learning_rate: of ``tnrank.Adam(.., relative=True)``; 0.64 / N, 0.01 at most, if not given.
        std: of the initial weights around those whose scores do not depend on the sample; 0.8 / sqrt(N), 0.1 at most,
            if not given.
        validation_fraction: share of the samples held out to end the training early; 0 for none.
        patience: epochs without a lower validation loss that end it.
        random_state: a seed, or as scikit-learn has it.
        backend: ``"numpy"``, ``"torch"`` or ``"jax"``.
        dtype: ``"float64"`` or ``"float32"``.
        verbose: show a line of progress.

    Ctrl-C ends the training with ``KeyboardInterrupt``.

    Attributes:
        factorization_: the trained factorization, whose ranks can be measured.
        features_: what makes features of numbers.
        result_: the :class:`tnrank.FitResult`.
"""


class FactorizationClassifier(ClassifierMixin, _Base):  # type: ignore[misc]
    __doc__ = f"""A classifier: scores ``<W, outer(f(x_1), .., f(x_N))>``, W a factorization with one mode a feature.
{_ARGUMENTS}        classes_: the labels.

    Raises:
        ValueError: for NaN, one class only, or features out of the range of the representation.

    Source: Stoudenmire & Schwab 2016; Cohen, Sharir & Shashua 2016.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from tnrank.estimators import FactorizationClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> bool(FactorizationClassifier(rank=5, random_state=0).fit(X, y).score(X, y) > 0.95)
        True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples X ``(M, N)`` and their labels y ``(M,)``."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            (only,) = self.classes_.tolist()
            raise ValueError(f"the labels have one class, {only!r}: a classifier needs two or more")
        self._fit(X, codes, CrossEntropyLoss(), len(self.classes_))
        return self

    def decision_function(self, X: Any) -> Host:
        """Scores ``(M, C)``; of two classes ``(M,)``, the second one's less the first one's."""
        found = self._scores(X)
        return found[:, 1] - found[:, 0] if len(self.classes_) == 2 else found

    def predict_proba(self, X: Any) -> Host:
        """Probabilities ``(M, C)``: the softmax of the scores."""
        found = self._scores(X)
        powers = np.exp(found - found.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Host:
        """The most probable label of each sample ``(M,)``."""
        best = self._scores(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


class FactorizationRegressor(RegressorMixin, _Base):  # type: ignore[misc]
    __doc__ = f"""A regressor: ``<W, outer(f(x_1), .., f(x_N))>``, W a factorization with one mode a feature.
{_ARGUMENTS}
    Raises:
        ValueError: for NaN, or features out of the range of the representation.

    Source: Novikov, Trofimov & Oseledets 2016 (exponential machines).

    Example:
        >>> import numpy as np
        >>> from tnrank.estimators import FactorizationRegressor
        >>> X = np.random.default_rng(0).standard_normal((300, 4))
        >>> y = X[:, 0] * X[:, 1] + X[:, 2]
        >>> bool(FactorizationRegressor(rank=6, random_state=0).fit(X, y).score(X, y) > 0.95)
        True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples X ``(M, N)`` and numbers y ``(M,)``."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.mean_, scale = float(y.mean()), float(y.std())
        self.scale_ = scale if scale > 0 else 1.0
        self._fit(X, (y - self.mean_) / self.scale_, SquaredLoss(), 0)
        return self

    def predict(self, X: Any) -> Host:
        """Predictions ``(M,)``."""
        return self._scores(X) * self.scale_ + self.mean_
