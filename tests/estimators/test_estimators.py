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
from tnrank.estimators import FactorizationClassifier, FactorizationRegressor, _estimators


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


@pytest.mark.parametrize("representation", [None, CosSin()])
@pytest.mark.parametrize("model", ["cp", "htf"])
def test_images_are_classified(model: str, representation: Any) -> None:
    """Of writers who are not among those trained on; logistic regression has 0.92."""
    images, labels = tnrank.data.images("digits", "train")
    others, right = tnrank.data.images("digits", "test")
    settings: dict[str, Any] = {"tree": "quad" if model == "htf" else None, "representation": representation}
    found = FactorizationClassifier(model, 10, epochs=25, random_state=0, **settings)
    found.fit(images.reshape(-1, 64), labels)
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


def test_many_features_are_no_other_call() -> None:
    """Of 400 pixels, most of which are black in most images: the digits, doubled and on a larger canvas."""
    images, labels = tnrank.data.images("digits", "train")
    canvas = np.zeros((1200, 20, 20))
    canvas[:, 2:18, 2:18] = images.repeat(2, axis=1).repeat(2, axis=2)
    found = FactorizationClassifier(epochs=15, random_state=0).fit(canvas[:800].reshape(800, -1), labels[:800])
    assert found.score(canvas[800:].reshape(400, -1), labels[800:]) > 0.8


def test_ctrl_c_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was interrupted is taken for fitted."""
    X, y = load_iris(return_X_y=True)
    genuine = _estimators.fit

    def interrupted(*given: Any, **options: Any) -> Any:
        def callback(step: int, loss: float) -> None:
            raise KeyboardInterrupt

        return genuine(*given, **options, callback=callback)

    monkeypatch.setattr(_estimators, "fit", interrupted)
    model = FactorizationClassifier()
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(model, {"rank": [1, 4]}, cv=3).fit(X, y)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "factorization_")


def test_trees_of_images() -> None:
    with pytest.raises(ValueError, match="'quad' is of square images, and X has 5 features"):
        FactorizationClassifier("htf", tree="quad").fit(np.random.default_rng(0).random((9, 5)), np.arange(9) % 3)
