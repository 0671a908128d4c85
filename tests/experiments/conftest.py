"""What tests of sweeps share."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tnrank.plots
from tests.experiments.tiny import Tiny
from tnrank.experiments._recipe import _KNOWN
from tnrank.experiments._sweeps._batch import Trainer


@pytest.fixture
def tiny_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe ``tiny`` is one of those that sweeps know."""
    monkeypatch.setitem(_KNOWN, "tiny", Tiny)


_DRAW = tnrank.plots.image_bytes


def _sketch(figure: Any, path: str | Path, dpi: int = 200) -> bytes:
    """The figure drawn once, small and as it is: making room for words and two files take a second or two."""
    if not str(path).endswith(".png"):
        return b""
    figure.set_layout_engine("none")
    figure.savefig(found := io.BytesIO(), format="png", dpi=30)
    return found.getvalue()


@pytest.fixture(autouse=True, scope="module")
def sketched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Short runs of recipes draw a sketch; where the figure is what a module is about, and in slow tests, all of it."""
    with pytest.MonkeyPatch.context() as patched:
        if request.path.stem not in ("test_dynamics", "test_run_folder", "test_own_recipes"):
            patched.setattr(tnrank.plots, "image_bytes", _sketch)
        yield


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow tests draw what users see."""
    if request.node.get_closest_marker("slow"):
        monkeypatch.setattr(tnrank.plots, "image_bytes", _DRAW)


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
