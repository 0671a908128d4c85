"""One line that tells how far a long run is."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Steps done, rate, loss and time left, rewritten in place on standard error."""

    def __init__(self, total: int, shown: Any, title: str = "") -> None:
        self.total, self.shown, self.title = total, shown, title
        self.began = time.perf_counter()
        self.rate = 0.0
        self.last = (self.began, 0)

    def update(self, step: int, loss: float) -> None:
        """Tell the state after ``step`` steps."""
        if not self.shown:
            return
        now = time.perf_counter()
        before, done = self.last
        if step > done and now > before:
            # The first chunk holds compilation, so the rate forgets: later chunks count more.
            fresh = (step - done) / (now - before)
            self.rate = fresh if not self.rate else 0.5 * self.rate + 0.5 * fresh
        self.last = (now, step)
        left = (self.total - step) / self.rate if self.rate else 0.0
        left_text = f"{clock(left)} left"
        line = f"{self.title}step {step:,} of {self.total:,}  {self.rate:,.0f} steps/s  loss {loss:.3e}  {left_text}"
        if callable(self.shown):
            self.shown(line)
        else:
            print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self.shown and not callable(self.shown) and self.last[1]:
            print(file=sys.stderr)


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours if there are any."""
    whole = int(seconds + 0.5)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
