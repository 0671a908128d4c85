"""Every reader turns every damage into one sentence that names the file: valid files, mutated by fixed seeds."""

from __future__ import annotations

import resource
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data_files.mutations import mutate
from tests.data_files.samples import NAMES, make_samples

pytest.importorskip("safetensors")
_TRIES = 40
_SECONDS = 3.0
_MEMORY = 2**29
"""Bytes by which the process may grow over all tries of one format."""


def check(read: Any, path: Path) -> str:
    """Read, or fail as promised: how it ended."""
    failure: Exception | None = None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = read(path)
            if isinstance(found, np.ndarray):
                np.array(found)  # mapped files are read here
        except ValueError as error:
            failure = error
    for sentence in ([] if failure is None else [str(failure)]) + [str(warning.message) for warning in told]:
        assert path.name in sentence
        assert "\n" not in sentence
        assert len(sentence) < 1000
    assert failure is None or type(failure) is ValueError, repr(failure)
    return "read" if failure is None else type(failure).__name__


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes, Any]]:
    return make_samples(tmp_path_factory.mktemp("samples"))


def place_of(folder: Path, name: str, file: str) -> Path:
    """Where a sample has to lie: CIFAR-10 and runs that did not end are found by the names of their folders."""
    inner = folder / ("cifar10" if name.startswith("cifar10") else ".run.partial")
    inner.mkdir(exist_ok=True)
    return inner / file


@pytest.mark.parametrize("name", NAMES)
def test_damaged(name: str, samples: dict[str, tuple[str, bytes, Any]], tmp_path: Path) -> None:
    if name not in samples:
        pytest.skip("needs pillow")
    file, content, read = samples[name]
    path = place_of(tmp_path, name, file)
    path.write_bytes(content)
    if name != "npy-structured":
        assert check(read, path) == "read"
    others = [sample[1] for sample in samples.values()]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(_TRIES):
        damaged = mutate(rng, content, others)
        # Another inode: mapped arrays of the try before would change with the file.
        path.unlink()
        path.write_bytes(damaged)
        began = time.process_time()
        try:
            check(read, path)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise AssertionError(f"try {number} of {name}, {damaged[:200]!r}: {error!r}") from error
        assert time.process_time() - began < _SECONDS, (name, number)
    if sys.platform == "linux":
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < _MEMORY


@pytest.mark.parametrize("name", NAMES)
def test_cut_anywhere(name: str, samples: dict[str, tuple[str, bytes, Any]], tmp_path: Path) -> None:
    """Binary files that are cut short are never read; text ends where it ends."""
    if name not in samples:
        pytest.skip("needs pillow")
    file, content, read = samples[name]
    path = place_of(tmp_path, name, file)
    lengths = np.unique(np.linspace(0, len(content) - 1, 24).astype(int))
    binary = name.startswith(("npy", "npz", "idx", "safetensors", "cifar", "mask"))
    for length in lengths:
        path.write_bytes(content[:length])
        assert check(read, path) == "ValueError" or not binary
