"""A server of data sets on this machine, whose answers a test chooses."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data_files.samples import cifar_archive
from tnrank.data import _sources

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


RECORDS = [bytes([k]) + bytes(np.random.default_rng(k).integers(0, 256, 3072).astype(np.uint8)) for k in range(6)]
FILES = {
    "train-images-idx3-ubyte.gz": gzip.compress(idx(IMAGES)),
    "train-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS)),
    "cifar-10-binary.tar.gz": cifar_archive(
        {"test_batch.bin": RECORDS[5]} | {f"data_batch_{k + 1}.bin": RECORDS[k] for k in (1, 0, 2, 4, 3)}
    ),
}


class Server:
    """Two mirrors, ``/a/`` and ``/b/``; what they answer is what a test puts into ``answers``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler, bytes], None]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror, name = self.path.strip("/").split("/")
                server.asked.append(f"{mirror}/{name}")
                server.answers.get(mirror, whole)(self, FILES[name])

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


def whole(answer: BaseHTTPRequestHandler, content: bytes, length: int | None = None) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(len(content) if length is None else length))
    answer.end_headers()
    answer.wfile.write(content)


def absent(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    answer.send_error(404)


def cut(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(answer, content[: len(content) // 2], len(content))


def cut_without_length(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    answer.send_response(200)
    answer.end_headers()
    answer.wfile.write(content[: len(content) // 2])


def damaged(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(answer, content[:-1] + bytes([content[-1] ^ 1]))


def endless(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(answer, bytes(3_000_000))


def silent(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    threading.Event().wait(1.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    started = Server()
    monkeypatch.delenv("TNRANK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("MNIST", "CIFAR10"):
        genuine = getattr(_sources, name)
        files = {split: tuple(map(_ours, files)) for split, files in genuine.splits.items()}
        mirrors = (f"{started.address}/a/", f"{started.address}/b/")
        monkeypatch.setattr(_sources, name, genuine._replace(mirrors=mirrors, splits=files))
    yield started
    started.http.shutdown()
    started.http.server_close()


def _ours(file: _sources.SourceFile) -> _sources.SourceFile:
    return file._replace(md5=hashlib.md5(FILES.get(file.name, b"")).hexdigest(), megabytes=0.02)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
