"""Numbers to whoever logs them: TensorBoard, Weights & Biases, Trackio, and what looks like one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tnrank._check import shown


def check_logger(log_to: Any) -> None:
    """Refuse what cannot log.

    Raises:
        TypeError: if it has neither ``add_scalar`` nor ``log``.
    """
    if log_to is not None and not any(callable(getattr(log_to, name, None)) for name in ("add_scalar", "log")):
        raise TypeError(
            "log_to is something with add_scalar(name, value, step), such as TensorBoard's SummaryWriter, or with "
            f"log(values, step=step), such as a run of Weights & Biases, got {shown(log_to)}"
        )


def log(log_to: Any, step: int, numbers: Mapping[str, float]) -> None:
    """Send numbers by name."""
    if callable(getattr(log_to, "add_scalar", None)):
        for name, value in numbers.items():
            log_to.add_scalar(name, value, step)
    elif log_to is not None:
        log_to.log(dict(numbers), step=step)
