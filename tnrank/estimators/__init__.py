"""Factorizations as estimators of scikit-learn, which is imported when one of them is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tnrank.estimators._estimators import FactorizationClassifier as FactorizationClassifier
    from tnrank.estimators._estimators import FactorizationRegressor as FactorizationRegressor

__all__ = ["FactorizationClassifier", "FactorizationRegressor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tnrank.estimators import _estimators
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ImportError(f'{name} needs scikit-learn, which is not installed: pip install "tnrank[data]"') from error
    return getattr(_estimators, name)
