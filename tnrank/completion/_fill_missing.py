"""``tnrank.fill_missing``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnrank._backend import Backend, available_backends, get_backend
from tnrank._check import shown
from tnrank._explained import explained
from tnrank._files import check_path
from tnrank._warn import warn
from tnrank.completion._filled import Filled
from tnrank.completion._filling import filling
from tnrank.completion._incomplete import Incomplete
from tnrank.completion._settings import Settings
from tnrank.runs import Training, drive
from tnrank.training import Checkpoint, complete

if TYPE_CHECKING:
    from tnrank.dimension_tree import DimensionTree

_FASTEST = ("jax", "torch", "numpy")


@explained
def fill_missing(
    array: Any,
    mask: Any = None,
    model: str = "auto",
    *,
    rank: int | None = None,
    depth: int = 3,
    tree: DimensionTree | tuple[Any, ...] | None = None,
    steps: int = 10_000,
    std: float | None = None,
    learning_rate: float = 1e-2,
    hold_out: float = 0.1,
    center: bool = False,
    seed: int = 0,
    backend: str | Backend | None = None,
    dtype: str = "float32",
    device: Any = None,
    progress: bool | Callable[[str], None] = False,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> Filled:
    """Fill in the missing entries of an array by a factorization that is trained from small weights.

    The array is scaled for training and back. Some observed entries are held out: half of them choose the step to stop
    at, half measure the error. ``tnrank complete`` gives the same numbers for the same settings and seed.

    Args:
        array: of order 2 or more and of real numbers: an array of NumPy, JAX or PyTorch, nested lists, a table that
            makes an array, or a ``numpy.ma.MaskedArray``. Masked or NaN entries are missing.
        mask: of the same shape, true (or 1) where an entry is missing, as in ``numpy.ma``; then NaN does not mark any.
        model: ``"mf"`` (matrices), ``"cp"`` or ``"htf"``; ``"auto"`` is mf for matrices and cp else.
        rank: hidden size (mf), components (cp) or local components a node (htf); ``None`` is 64 (mf: up to 256), or
            fewer where these are enough for any array.
        depth: layers of mf.
        tree: dimension tree of htf, or its nested tuples; ``None`` is the balanced one.
        steps: the most.
        std: of the initial weights; ``None`` chooses it so that the initial end tensor is small.
        learning_rate: of GroupRMSProp.
        hold_out: share of the observed entries that are held out; 0 for tiny tables.
        center: subtract the mean of the observed entries first.
        seed: of the initial weights and of what is held out.
        backend: what trains; ``None`` is that of a JAX or PyTorch array, and else the first of JAX, PyTorch and NumPy
            that is installed.
        dtype: of training, ``"float32"`` or ``"float64"``; on JAX, x64 is on meanwhile.
        device: what trains; ``None`` is that of the array on its own backend, and else the default one.
        progress: show a line with rate, loss and time left, or call a function with it.
        checkpoint: where the training is saved on its way, a folder or a :class:`tnrank.training.Checkpoint`. A call
            that was interrupted goes on from there when it is made again, and gives what it would have given.

    Returns:
        A :class:`tnrank.Filled`, which prints itself. Its ``array`` is of the backend, dtype and device of the given
        one, with every observed entry as it was; integers and booleans become float64 (on JAX, float32 unless x64 is
        on). At Ctrl-C it is what training had come to, and ``status`` is ``"interrupted"``.

    Raises:
        TypeError: for anything but real numbers, a mask that is neither of booleans nor of 0 and 1, or an argument of
            another type.
        ValueError: for an order below 2, a mask of another shape, nothing or all missing, an observed entry that is
            not finite, too few to hold any out, observed entries that are all 0, an argument out of range, or a
            checkpoint of another call.
        BlockingIOError: if another process trains in the folder of ``checkpoint``.

    Warns:
        UserWarning: if missing entries lie in a slice (row, column) without an observed entry, or whose observed
            entries were all held out: they are no prediction. ``unobserved`` and ``held_out_wholly`` list the slices.

    Example:
        >>> import numpy as np, tnrank
        >>> table = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
        >>> table[1, 2] = np.nan
        >>> filled = tnrank.fill_missing(table, hold_out=0, steps=2000, backend="numpy")
        >>> filled.array[1].round(1)
        array([2., 4., 6., 8.])
    """
    given = Incomplete.of(array, mask)
    if progress is not True and progress is not False and not callable(progress):
        raise TypeError(f"progress is True, False or a function of a line of text, got {shown(progress)}")
    kept = _checkpoint(checkpoint)
    target, place = _where(given, backend, device)
    if center in (0, 1):
        center = bool(center)  # NumPy has booleans of its own
    settings = Settings(
        model=model,
        rank=rank,
        depth=depth,
        tree=tree,
        steps=steps,
        std=std,
        learning_rate=learning_rate,
        hold_out=hold_out,
        center=center,
        seed=seed,
        backend=target.name,
        dtype=dtype,
        device=place,
    )
    with target.dtype_enabled(dtype):
        filled = drive(filling(given, settings), _Trainer(progress, kept))
    if filled.unlearned:
        warn("; ".join(filled.blind))
    return replace(filled, array=given.fill(filled.array))


def _checkpoint(given: Any) -> Checkpoint | None:
    if given is None or isinstance(given, Checkpoint):
        return given
    check_path(given, "checkpoint", "a folder such as 'runs/table', or tnrank.training.Checkpoint(folder)")
    return Checkpoint(given)


def _where(given: Incomplete, backend: Any, device: Any) -> tuple[Backend, Any]:
    """What trains, and on which of its devices."""
    if backend is not None:
        target = get_backend(backend)
    elif given.backend is not None:
        target = given.backend
    else:
        target = get_backend(next(name for name in _FASTEST if name in available_backends()))
    if device is None and target is given.backend:
        device = given.device
    return target, device


class _Trainer:
    """Carries out trainings one after the other; their checkpoints stand in folders of their own, in their order."""

    def __init__(self, progress: bool | Callable[[str], None], checkpoint: Checkpoint | None) -> None:
        self.progress, self.checkpoint, self.count = progress, checkpoint, 0

    def __call__(self, asked: Training) -> Any:
        """The result of one training."""
        kept = self.checkpoint
        if kept is not None:
            # Folders of this name are removed with the checkpoint that they belong to.
            kept = replace(kept, folder=Path(kept.folder) / f"run-{self.count}")
        self.count += 1
        with warnings.catch_warnings():
            # The report says it, and says it once.
            warnings.filterwarnings("ignore", "nothing is observed in", UserWarning)
            return complete(
                asked.starts,
                asked.indices,
                asked.values,
                record=asked.record,
                on_record=asked.on_record,
                callback=asked.callback,
                progress=self._shown(asked.title),
                checkpoint=kept,
                resume=kept is not None,
                **asked.options,
            )

    def _shown(self, title: str) -> bool | Callable[[str], None]:
        show = self.progress
        return (lambda line: show(f"{title}: {line}")) if callable(show) else show
