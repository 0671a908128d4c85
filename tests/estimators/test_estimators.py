"""The estimators under scikit-learn's own checks, and in its tools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tnrank
from tests.wrong_calls.garbage import GARBAGE, complaint_of
from tnrank.circuits import CosSin
from tnrank.estimators import FactorizationClassifier, FactorizationRegressor


@parametrize_with_checks(
    [
        FactorizationClassifier(epochs=60),
        FactorizationRegressor(epochs=60),
        FactorizationClassifier("htf", 6, epochs=60),
        FactorizationRegressor("htf", 6, epochs=60),
    ]
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_digits() -> None:
    X, y = load_digits(return_X_y=True)
    model = FactorizationClassifier(rank=20, epochs=20, random_state=0).fit(X[:1200], y[:1200])
    assert model.score(X[1200:], y[1200:]) > 0.85
    assert model.predict_proba(X[:3]).sum(axis=1) == pytest.approx(1)
    assert tnrank.matrix_rank(np.stack([f[:, :2] for f in model.factorization_.factors[:2]])).shape == (2,)


def test_grid_search_in_a_pipeline() -> None:
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(MinMaxScaler(clip=True), FactorizationClassifier(representation=CosSin(), random_state=0))
    search = GridSearchCV(pipe, {"factorizationclassifier__rank": [1, 4]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.9


@pytest.mark.parametrize("model", ["cp", "htf"])
def test_images_are_classified(model: str) -> None:
    """Of writers who are not among those trained on; logistic regression has 0.92."""
    images, labels = tnrank.data.images("digits", "train")
    others, right = tnrank.data.images("digits", "test")
    tree = tnrank.DimensionTree.quad(8, 8) if model == "htf" else None
    found = FactorizationClassifier(model, 10, tree=tree, epochs=20, random_state=0).fit(images.reshape(-1, 64), labels)
    assert found.score(images.reshape(-1, 64), labels) > 0.95
    assert found.score(others.reshape(-1, 64), right) > 0.85


OWN = sorted(set(FactorizationClassifier().get_params()) - {"random_state", "verbose"})


@pytest.mark.parametrize("name", OWN)
def test_wrong_settings_are_explained(name: str) -> None:
    """Whatever they are; of data and seeds scikit-learn complains itself."""
    numbers, labels = np.random.default_rng(0).random((12, 3)), np.arange(12) % 3
    found = []
    for title, make in GARBAGE.items():
        model = FactorizationClassifier(**{"epochs": 2, name: make()})
        if not (name == "epochs" and title == "10**30"):
            found.append(complaint_of(lambda model=model: model.fit(numbers, labels)))
    assert not any(found), [one for one in found if one]
