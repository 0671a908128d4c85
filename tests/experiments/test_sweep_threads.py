"""Jobs that take turns and have their questions answered together."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from tnrank.experiments._sweeps._threads import Asked, Together


def test_they_take_turns_and_are_answered_together() -> None:
    seen: list[Any] = []
    working: list[str] = []

    def job(name: str, count: int) -> Any:
        def go(ask: Any) -> str:
            for k in range(count):
                working.append(name)
                assert len(working) == 1
                time.sleep(0.001)
                working.pop()
                seen.append((name, k, ask((name, k))))
            return f"{name} is done"

        return go

    rounds: list[Any] = []

    def answer(asked: list[Asked[Any]]) -> None:
        rounds.append([one.question for one in asked])
        for one in asked:
            one.result = len(rounds)

    ended = Together([job("a", 1), job("b", 3), job("c", 2)], answer).go()
    assert ended == ["a is done", "b is done", "c is done"]
    assert rounds == [[("a", 0), ("b", 0), ("c", 0)], [("b", 1), ("c", 1)], [("b", 2)]]
    assert seen == [("a", 0, 1), ("b", 0, 1), ("c", 0, 1), ("b", 1, 2), ("c", 1, 2), ("b", 2, 3)]


@pytest.mark.parametrize("count", [1, 3])
def test_errors_are_raised_where_they_belong(count: int) -> None:
    def job(k: int) -> Any:
        def go(ask: Any) -> str:
            try:
                return f"{k} got {ask(k)}"
            except ValueError as error:
                return f"{k} caught {error}"

        return go

    def answer(asked: list[Asked[int]]) -> None:
        for one in asked:
            if one.question == 0:
                one.error = ValueError("no zeros")
            else:
                one.result = "something"

    ended = Together([job(k) for k in range(count)], answer).go()
    assert ended == ["0 caught no zeros", "1 got something", "2 got something"][:count]

    def broken(asked: list[Asked[int]]) -> None:
        raise ValueError("all of it")

    assert Together([job(k) for k in range(count)], broken).go() == [f"{k} caught all of it" for k in range(count)]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("where", ["job", "answer"])
def test_ctrl_c_reaches_all(where: str) -> None:
    """The one that works is stopped in its work, those that wait get it as their answer, the rest do not begin."""

    def job(k: int) -> Any:
        def go(ask: Any) -> str:
            try:
                if k == 1 and where == "job":
                    deadline = time.monotonic() + 20
                    while time.monotonic() < deadline:
                        time.sleep(0.01)
                return f"{k} got {ask(k)}"
            except KeyboardInterrupt:
                return f"{k} stopped"

        return go

    def answer(asked: list[Asked[int]]) -> None:
        asked[0].result = "its answer"
        time.sleep(20)

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        ended = Together([job(k) for k in range(3)], answer).go()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 10
    assert ended == (
        ["0 stopped", "1 stopped", None] if where == "job" else ["0 got its answer", "1 stopped", "2 stopped"]
    )
    assert threading.active_count() == len(threading.enumerate())
