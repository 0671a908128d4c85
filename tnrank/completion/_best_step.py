"""When to stop a fit: at the step with the lowest validation error."""

from __future__ import annotations

from typing import Any

from tnrank.training import CompletionResult


class BestStep:
    """Watches the recorded validation error of a fit.

    A fit goes on until the error has not improved for as many steps as it took to reach the best one, and at
    least a tenth of the budget. The rule is applied to recorded steps alone, so the machine's speed
    does not matter.

    Attributes:
        reason: why the chosen step was the last one.
        end: the recorded step at which the rule ended the fit; ``None`` if it did not.
    """

    def __init__(self, budget: int) -> None:
        self.least = max(1, budget // 10)
        self.rows: list[tuple[int, float]] = []
        self.reason = "all steps done"
        self.end: int | None = None

    def on_record(self, name: str, step: int, value: Any, run: int) -> None:
        """Take note of a measurement."""
        if name == "validation_error":
            self.rows.append((step, float(value)))

    def callback(self, step: int, loss: float) -> bool:
        """Whether the fit can stop."""
        return self.judge()[1] is not None

    def choose(self, result: CompletionResult) -> int:
        """The step to keep."""
        trace = result.history.get("validation_error")
        if trace is None:
            self.reason = result.message
            return result.steps
        self.rows = [(int(s), float(v)) for s, v in zip(trace.steps, trace.values, strict=True)]
        step, self.end = self.judge()
        if step < result.steps or self.end is not None:
            self.reason = f"the validation error was lowest at step {step:,}"
        return step

    def judge(self) -> tuple[int, int | None]:
        """The best step so far, and the recorded one that ended the fit, if one did."""
        best, lowest = 0, float("inf")
        for step, value in self.rows:
            if value < lowest:
                best, lowest = step, value
            elif step - best > max(self.least, best):
                return best, step
        return best, None
