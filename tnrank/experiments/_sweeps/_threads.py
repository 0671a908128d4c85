"""Runs of one batch: each in a thread of its own, only one of which works at any time."""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Question = TypeVar("Question")
_ONE = threading.Lock()
"""Held by whoever works: recipes of other batches in this process wait, for drawing and warnings know no threads."""
_LOOK_SECONDS = 0.2


@dataclass
class Asked(Generic[Question]):
    """A question of one run, and the place for its answer: a result, or an error that is raised where it was asked."""

    question: Question
    result: Any = None
    error: BaseException | None = None

    def take(self) -> Any:
        """The answer, in the thread that asked."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class _Seat(Generic[Question]):
    job: Callable[[Callable[[Question], Any]], Any]
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    asked: Asked[Question] | None = None
    thread: threading.Thread | None = None
    over: bool = False
    result: Any = None


class Together(Generic[Question]):
    """Carries out jobs that ask questions which are answered together.

    Jobs take turns in their order: each works until it asks or ends. When all that are left have asked, ``answer``
    is called in this thread with what they asked. So nothing depends on how threads are scheduled.

    Args:
        jobs: each is called with ``ask(question)`` and handles its own errors.
        answer: fills in the answers.
    """

    def __init__(
        self,
        jobs: Sequence[Callable[[Callable[[Question], Any]], Any]],
        answer: Callable[[list[Asked[Question]]], None],
    ) -> None:
        self.seats = [_Seat(job) for job in jobs]
        self.answer = answer
        self.stopped = False
        """After Ctrl-C: whoever asks gets a KeyboardInterrupt."""
        self._back = threading.Semaphore(0)

    def go(self) -> list[Any]:
        """What the jobs return, in their order."""
        if len(self.seats) == 1:
            # Alone in this thread, which Ctrl-C reaches at once.
            with _ONE:
                self.seats[0].result = self.seats[0].job(self._ask_alone)
            return [self.seats[0].result]
        for seat in self.seats:
            self._turn(seat)
        while waiting := [seat for seat in self.seats if not seat.over]:
            self._answer([seat.asked for seat in waiting if seat.asked is not None])
            for seat in waiting:
                self._turn(seat)
        return [seat.result for seat in self.seats]

    def _answer(self, asked: list[Asked[Question]]) -> None:
        if not self.stopped:
            try:
                self.answer(asked)
                return
            except KeyboardInterrupt:
                self.stopped = True
            except BaseException as error:
                for one in asked:
                    one.error = one.error or error
                return
        for one in asked:
            if one.result is None and one.error is None:
                one.error = KeyboardInterrupt()

    def _ask_alone(self, question: Question) -> Any:
        asked = Asked(question)
        _ONE.release()
        try:
            self._answer([asked])
        finally:
            _ONE.acquire()
        return asked.take()

    def _turn(self, seat: _Seat[Question]) -> None:
        """Let one job work until it asks or ends."""
        if self.stopped and seat.thread is None:
            seat.over = True
            return
        with _ONE:
            if seat.thread is None:
                # What is set for this thread, NumPy's error state say, holds in all of them.
                context = contextvars.copy_context()
                seat.thread = threading.Thread(target=lambda: context.run(self._work, seat), daemon=True)
                seat.thread.start()
            else:
                seat.go.release()
            self._wait(seat)

    def _wait(self, seat: _Seat[Question]) -> None:
        assert seat.thread is not None
        assert seat.thread.ident is not None
        while True:
            try:
                while not self._back.acquire(timeout=_LOOK_SECONDS):
                    if not seat.thread.is_alive():
                        seat.over = True
                        return
                return
            except KeyboardInterrupt:
                self.stopped = True
                # It reaches the main thread only; the one that works shall hear of it.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(seat.thread.ident), ctypes.py_object(KeyboardInterrupt)
                )

    def _work(self, seat: _Seat[Question]) -> None:
        def ask(question: Question) -> Any:
            asked = seat.asked = Asked(question)
            if self.stopped:
                raise KeyboardInterrupt
            self._back.release()
            seat.go.acquire()
            return asked.take()

        try:
            seat.result = seat.job(ask)
        finally:
            seat.over = True
            self._back.release()
