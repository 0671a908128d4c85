"""What tests of sweeps share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.experiments.tiny import Tiny
from tnrank.experiments._recipe import _KNOWN
from tnrank.experiments._sweeps._batch import Trainer


@pytest.fixture
def tiny_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe ``tiny`` is one of those that sweeps know."""
    monkeypatch.setitem(_KNOWN, "tiny", Tiny)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many factorizations each call of ``complete`` trained."""
    found: list[int] = []
    genuine = Trainer.carry_out

    def carry_out(self: Trainer, jobs: Any) -> None:
        before = len(self.calls)
        try:
            genuine(self, jobs)
        finally:
            found.extend(self.calls[before:])

    monkeypatch.setattr(Trainer, "carry_out", carry_out)
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Recipes observe every slice, or would call noise a completion; the toys of some modules do not."""
    here, toys = Path(__file__).parent, ("test_matrix_completion", "test_run_folder", "test_sweep")
    for item in items:
        if here in item.path.parents and not item.path.name.startswith(toys):
            item.add_marker(pytest.mark.filterwarnings("error:nothing is observed in:UserWarning"))
