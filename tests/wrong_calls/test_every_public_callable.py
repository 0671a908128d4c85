"""Every public callable, given one wrong argument, returns or raises a sentence of its own: nothing raw from inside."""

from __future__ import annotations

import random

import pytest

from tests.wrong_calls.garbage import GARBAGE, complaint_of
from tests.wrong_calls.samples import ENDLESS, attacked, targets

TARGETS = targets()
CALLED = (
    *("f", "g", "fn", "model", "function", "features", "note", "cotangent", "progress", "callback", "on_record", "map"),
)
"""Parameters that are functions: what a wrong function raises is its own error."""
HUGE = ("10**30", "inf")
SHARE = 0.35
"""Of the wrong values, how many the quick suite tries for each parameter; the slow one tries all."""


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """What a call writes lands in an empty folder, and no server is asked for anything."""

    def refused(*_, **__):
        raise ConnectionRefusedError("tests have no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TNRANK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refused)


def complaints(name, call, valid, share):
    """What is wrong with the errors of one callable, one line a wrong value."""
    chosen = random.Random(name)
    found = []
    for parameter in attacked(call, valid):
        for title, make in GARBAGE.items():
            theirs = title in ("function", "class") and parameter in CALLED
            if theirs or (title in HUGE and parameter in ENDLESS) or chosen.random() >= share:
                continue
            wrong = make()
            complaint = complaint_of(lambda p=parameter, w=wrong: call(**{**valid, p: w}))
            if complaint:
                found.append(f"{name}({parameter}={title}) {complaint}")
    return found


@pytest.mark.parametrize(("name", "call", "valid"), TARGETS, ids=[name for name, _, _ in TARGETS])
def test_some_wrong_arguments(name, call, valid):
    found = complaints(name, call, valid, SHARE)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "call", "valid"), TARGETS, ids=[name for name, _, _ in TARGETS])
def test_all_wrong_arguments(name, call, valid):
    found = complaints(name, call, valid, 1.0)
    assert not found, "\n".join(found)


def test_the_judge_itself():
    assert complaint_of(lambda: int("x")).startswith("raw ValueError")
    assert complaint_of(lambda: [][1]).startswith("raw IndexError")
    assert complaint_of(lambda: 1 / 0).startswith("raw ZeroDivisionError")
    assert "RecursionError" in complaint_of(lambda f=lambda f: f(f): f(f))
    assert "longer" in complaint_of(lambda: [None for _ in iter(int, 1)], seconds=0.05)
