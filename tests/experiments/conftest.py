"""What tests of sweeps share."""

from __future__ import annotations

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
    genuine = Trainer.answer

    def answer(self: Trainer, asked: Any) -> None:
        before = len(self.calls)
        try:
            genuine(self, asked)
        finally:
            found.extend(self.calls[before:])

    monkeypatch.setattr(Trainer, "answer", answer)
    return found
