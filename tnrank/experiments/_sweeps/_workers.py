"""Where groups of cells are carried out: here, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 5.0


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """``count`` processes that begin afresh and end with this one, however it ends.

    Raises:
        ValueError: for fewer than 1.
    """
    if count < 1:
        raise ValueError(f"workers is a number of processes from 1 on, got {count}")
    # Forked processes would inherit the threads of a framework half alive.
    context = multiprocessing.get_context("spawn")
    pool = _Pool(count, mp_context=context, initializer=_prepare)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    """Processes that Ctrl-C does not reach, not even while they begin."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # Processes are started here, and inherit what is blocked.
        with _without_interrupts():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Were it started later, it would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare() -> None:
    # Ctrl-C in a terminal reaches all processes; what is to be saved is told to them by the one that leads.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def dask(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster.

    Raises:
        ValueError: if ``address`` is none.
        ImportError: without Dask.
        ConnectionError: if nobody answers, or no worker is there.
    """
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not parts.scheme or not host or not port:
        raise ValueError(f"the address of a Dask scheduler is like tcp://127.0.0.1:8786, got {address!r}")
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise ImportError('Dask is not installed: pip install "tnrank[dask]"') from None
    try:
        # The client would try again and again where nobody listens.
        socket.create_connection((host, port), _PATIENCE_SECONDS).close()
        client = distributed.Client(address, timeout=_PATIENCE_SECONDS, set_as_default=False)
    except OSError as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address} ({error.strerror or type(error).__name__}): start one with "
            "`dask scheduler`, and workers with `dask worker ADDRESS`"
        ) from None
    try:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
        except TimeoutError:
            raise ConnectionError(f"the Dask scheduler at {address} has no workers: dask worker {address}") from None
        yield client.get_executor(pure=False)
    finally:
        client.close()


def count_workers(executor: Executor | None) -> int:
    """How many groups of cells run at the same time; 1 for executors that do not tell."""
    client = getattr(executor, "_client", None)
    if client is not None:
        return sum(client.nthreads().values())
    return int(getattr(executor, "_max_workers", 1))
