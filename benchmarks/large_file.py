"""A file that does not fit into the memory it may take: a hierarchical Tucker tensor from 2 GB, and one large leaf."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tnrank
from benchmarks._harness import Report, alternate
from tnrank.linalg import range_finder

SHAPE = (64, 64, 64, 64, 16)
RTOL, NOISE = 1e-3, 1e-5

_CODE = """
import json, sys, time
import numpy as np
import tnrank
began = time.perf_counter()
x = tnrank.factorizations.compress(np.load(sys.argv[1], mmap_mode="r"), rtol=float(sys.argv[2]))
seconds = time.perf_counter() - began
# The maximum of getrusage counts the pages of the parent, too, from before exec.
peak = 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
x.save(sys.argv[3])
print(json.dumps({"seconds": seconds, "peak": peak}))
"""


def write_tensor(path: Path, shape: tuple[int, ...] = SHAPE, noise: float = NOISE, seed: int = 0) -> None:
    """A tensor of hierarchical rank 5 plus relative noise, written slab by slab."""
    x = tnrank.HierarchicalTucker.random(shape, rank=5, seed=seed)
    size = float(x.norm()) / np.sqrt(np.prod(shape, dtype=float))
    rng = np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, "w+", np.float64, shape)
    frame = x.nodes[tnrank.Node((0,), 0)]
    for row in range(shape[0]):
        slab = tnrank.HierarchicalTucker._of_nodes(x.tree, {**x.nodes, tnrank.Node((0,), 0): frame[row : row + 1]})
        dense = slab.to_dense()
        out[row] = dense[0] + noise * size * rng.standard_normal(dense.shape[1:])
    out.flush()


def error_of(path: Path, x: tnrank.HierarchicalTucker) -> float:
    """``||tensor - x|| / ||tensor||``, slab by slab."""
    tensor, leaf = np.load(path, mmap_mode="r"), tnrank.Node((0,), 0)
    wrong = whole = 0.0
    for row in range(tensor.shape[0]):
        nodes = {**x.nodes, leaf: x.nodes[leaf][row : row + 1]}
        given = np.asarray(tensor[row])
        wrong += float(((given - tnrank.HierarchicalTucker._of_nodes(x.tree, nodes).to_dense()[0]) ** 2).sum())
        whole += float((given**2).sum())
    return float(np.sqrt(wrong / whole))


def run(report: Report) -> None:
    """Peak memory, time against reading the file, and the error."""
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / "large.npy", Path(folder) / "x.safetensors"
        write_tensor(path)
        began = time.perf_counter()
        tensor, total = np.load(path, mmap_mode="r"), 0.0
        for row in range(tensor.shape[0]):
            total += float(np.vdot(tensor[row], tensor[row]))
        reading = time.perf_counter() - began
        done = subprocess.run(
            [sys.executable, "-c", _CODE, str(path), str(RTOL), str(result)], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        x = tnrank.load(result)
        error = error_of(path, x)
    name = f"{np.prod(SHAPE) * 8 / 1e9:.1f} GB on disk, rtol {RTOL:g}"
    report.limit(name, "peak memory", found["peak"], 1.5e9, show=lambda value: f"{value / 1e9:.2f} GB")
    report.limit(name, "error", error, RTOL, show=lambda value: f"{value:.1e}")
    report.compare(name, "against one norm of it", found["seconds"], reading)
    rng = np.random.default_rng(0)
    leaf = rng.standard_normal((2000, 40)) @ rng.standard_normal((40, 4000))
    leaf += 1e-5 * np.linalg.norm(leaf) / np.sqrt(leaf.size) * rng.standard_normal(leaf.shape)

    def by_lq() -> None:
        np.linalg.svd(np.linalg.qr(leaf.T)[1].T, full_matrices=False)

    ours, peer = alternate(lambda: range_finder(leaf, rtol=RTOL), by_lq, repeat=3)
    report.compare("leaf 2000 x 4000, rank 40", "range finder against LQ and SVD", ours, peer, at_most=0.2)
