"""Conformance suites that a third-party backend can run in its own tests.

``check_backend(backend)`` runs everything; ``backend_checks`` is the same as a list for
``pytest.mark.parametrize``.
"""

from __future__ import annotations

from tnrank._backend import Backend
from tnrank.testing import _arithmetic, _networks, _transformations  # noqa: F401  # they add their checks
from tnrank.testing._checks import backend_checks

__all__ = ["backend_checks", "check_backend"]


def check_backend(backend: Backend) -> None:
    """Run all checks against ``backend``, which is registered with tnrank on the way.

    Raises:
        AssertionError: naming each check that failed and what it got.

    Example:
        >>> import tnrank
        >>> from tnrank.testing import check_backend
        >>> check_backend(tnrank.get_backend("numpy"))
    """
    failures = []
    for check in backend_checks:
        try:
            check(backend)
        except Exception as error:
            failures.append((check.__name__, error))
    if failures:
        told = "\n".join(f"  {name}: {type(error).__name__}: {error}" for name, error in failures)
        raise AssertionError(f"the backend {backend.name!r} fails {len(failures)} checks:\n{told}") from failures[0][1]
