"""The hierarchical Tucker format of a file, in chunks, against the dense tensor and the construction in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, HierarchicalTucker, Node
from tnrank.factorizations import compress
from tnrank.factorizations._streaming._compress import parse_memory

CASES = [
    ((20, 20, 20, 20), None, "300 kB"),
    ((2,) * 16, None, "100 kB"),
    ((2,) * 16, DimensionTree.linear(16), "100 kB"),  # three passes: groups of compressed groups
    ((1000, 40), None, "700 kB"),
    ((40, 1000), None, "700 kB"),  # the long mode is split, which is not the first
    ((700, 300), None, "2 MB"),  # two modes too long for their Gram matrices: one is sketched
    ((300, 4, 300), None, "2 MB"),
    ((16, 16, 16, 16), DimensionTree(((0, 3), (1, 2))), "150 kB"),
    ((16, 16, 16, 16), DimensionTree(((0, 2), (1, 3))), "150 kB"),
    ((6, 7, 5, 6, 4, 6), DimensionTree(((5, 0, 2), (3, (4, 1)))), "300 kB"),
    ((8,) * 5, DimensionTree.star(5), "100 kB"),
    ((8, 9, 7, 6, 5), DimensionTree.windows(5), "100 kB"),
    ((9, 8, 7), None, "1 GiB"),  # fits at once
]


def tensor(shape: tuple[int, ...], tree: Any = None, noise: float = 1e-5, dtype: str = "float64") -> np.ndarray:
    """Hierarchical rank 3 on a tree, norm 1, and noise of a given norm."""
    kind = "complex128" if dtype.startswith("complex") else "float64"
    made = np.asarray(HierarchicalTucker.random(shape, tree, 3, seed=0, dtype=kind).to_dense())
    drawn = np.random.default_rng(0).standard_normal(shape)
    return (made / np.linalg.norm(made) + noise * drawn / np.linalg.norm(drawn)).astype(dtype)


def save(path: Path, array: np.ndarray) -> Any:
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def error(x: Any, y: HierarchicalTucker) -> float:
    return float(np.linalg.norm(x - np.asarray(y.to_dense())) / np.linalg.norm(x))


@pytest.mark.parametrize(("shape", "tree", "memory"), CASES)
@pytest.mark.parametrize("rtol", [0.3, 1e-3])
def test_error_and_ranks(tmp_path: Path, shape: Any, tree: Any, memory: str, rtol: float) -> None:
    x = tensor(shape, tree)
    said: list[tuple[str, float]] = []
    y = compress(save(tmp_path / "x.npy", x), tree, rtol, memory=memory, progress=lambda *args: said.append(args))
    assert y.tree == (tree or DimensionTree.balanced(len(shape)))
    assert error(x, y) <= rtol
    # Shares of the error among the nodes differ a little from those of the construction in memory.
    in_memory = HierarchicalTucker.from_dense(x, tree, rtol=0.6 * rtol)
    assert y.parameter_count <= 1.2 * in_memory.parameter_count
    if rtol == 1e-3:
        assert y.ranks == in_memory.ranks
        assert error(x, y) < 1.01e-5
    assert said[-1] == ("decomposing the core", 1.0)
    assert all(0 < share <= 1 for _, share in said)


def test_several_passes_were_tested() -> None:
    said: list[str] = []
    compress(tensor(*CASES[2][:2]), CASES[2][1], memory=CASES[2][2], progress=lambda text, share: said.append(text))
    assert [text[:7] for text in dict.fromkeys(said)] == ["pass 1:", "pass 2:", "pass 3:", "decompo"]


@pytest.mark.slow
def test_sketches_grow_until_they_suffice() -> None:
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((d, 110)))[0] for d in (700, 600))
    x = (u * 0.95 ** np.arange(110)) @ v.T
    said: list[str] = []
    y = compress(x, rtol=1e-1, memory="3 MB", progress=lambda text, share: said.append(text))
    assert error(x, y) <= 1e-1
    tails = np.sqrt(np.cumsum(np.linalg.svd(x)[1][::-1] ** 2))[::-1]
    assert max(y.ranks.values()) <= 1 + (tails > 0.07 * tails[0]).sum()
    assert error(x, compress(x * (1 + 1j), rtol=1e-1, memory="6 MB") * (1 / (1 + 1j))) <= 1e-1
    said.clear()
    assert error(x, compress(x, rtol=1e-2, memory="3 MB", progress=lambda text, share: said.append(text))) <= 1e-2
    assert "pass 2: core of 700 x 64" in said  # a sketch of 64 columns, which is not enough
    assert "pass 2: core of 700 x 128" in said
    with pytest.raises(ValueError, match="raise memory="):
        compress(rng.standard_normal((700, 600)), memory="3 MB")


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtypes_and_memory_orders(tmp_path: Path, dtype: str, order: str) -> None:
    x = tensor((12, 10, 8, 9), dtype=dtype)
    given = save(tmp_path / "x.npy", np.asarray(x, order=order))
    assert given.flags.f_contiguous == (order == "F")
    y = compress(given, rtol=1e-3, memory="150 kB")
    assert y.dtype == dtype
    assert error(x, y) < 1.1e-5
    assert set(y.ranks.values()) == {3}


def test_integers_and_other_byte_orders(tmp_path: Path) -> None:
    total = sum(np.ogrid[:12, :12, :12, :12])
    for dtype in (">f8", "int64", "uint16", "float16", ">i4"):
        y = compress(save(tmp_path / "x.npy", total.astype(dtype)), rtol=1e-6, memory="150 kB")
        assert y.dtype == ("float32" if dtype == "float16" else "float64")
        assert set(y.ranks.values()) == {2}
        assert error(total, y) < 1e-6
    y = compress(total % 2 == 0, rtol=1e-3, memory="150 kB")
    assert error((total % 2 == 0) * 1.0, y) <= 1e-3


def test_anything_with_slices() -> None:
    x = tensor((12, 10, 8, 9))

    class Remote:
        shape, dtype = x.shape, x.dtype

        def __getitem__(self, index: Any) -> Any:
            assert np.prod([part.stop - part.start for part in index if part.start is not None] or [1]) < x.size
            return x[index].tolist()

    assert error(x, compress(Remote(), rtol=1e-3, memory="150 kB")) < 1.1e-5


@given(st.data())
def test_law(data: st.DataObject) -> None:
    """The tolerance is kept on random shapes, trees, spectra and memory limits."""
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=5)))
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    modes: list[Any] = list(range(len(shape)))
    rng.shuffle(modes)
    while len(modes) > 2:
        modes[:2] = [(modes[0], modes[1])]
        rng.shuffle(modes)
    x = rng.standard_normal(shape) * np.exp(-sum(np.ogrid[tuple(slice(d) for d in shape)]))
    rtol = data.draw(st.sampled_from([0.5, 1e-2, 1e-5]))
    try:
        y = compress(x, tuple(modes), rtol, memory=data.draw(st.sampled_from([5_000, 30_000, 10**6])))
    except ValueError as refused:
        assert "raise memory=" in str(refused)  # noqa: PT017
        return
    assert error(x, y) <= rtol


def test_max_rank() -> None:
    x = tensor((20, 20, 20, 20), noise=1e-1)
    y = compress(x, rtol=1e-3, max_rank=2, memory="300 kB")
    assert max(y.ranks.values()) == 2
    assert 1e-1 < error(x, y) < 1


def test_zero_and_huge_and_tiny_numbers() -> None:
    y = compress(np.zeros((20, 20, 20)), memory="100 kB")
    assert set(y.ranks.values()) == {1}
    assert not np.asarray(y.to_dense()).any()
    x = tensor((20, 20, 20, 20))
    x[0] = 0  # the scale is that of the first chunk that is not zero
    for scale in (1e-200, 1e200):
        assert error(x, compress(x * scale, rtol=1e-3, memory="300 kB") * (1 / scale)) < 1.1e-5
    x[5, 5, 5, 5] = 1e300
    with pytest.raises(ValueError, match=r"squares of entries up to 1e\+300 overflow"):
        compress(x, memory="300 kB")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite(tmp_path: Path, wrong: float) -> None:
    x = tensor((20, 20, 20, 20))
    x[13, 2, 3, 4] = x[13, 7, 0, 0] = wrong
    with pytest.raises(ValueError, match=r"the first of the array at index \(13, 2, 3, 4\)"):
        compress(save(tmp_path / "x.npy", x), memory="300 kB")
    with pytest.raises(ValueError, match="NaN or infinite"):
        compress(x, memory="1 GiB")


def test_a_core_that_stays_too_large() -> None:
    x = np.random.default_rng(0).standard_normal((20, 20, 20, 20))
    with pytest.raises(ValueError, match=r"160,000 entries \(\{0\}: 20, .* 0.00477 GiB .* raise memory="):
        compress(x, memory="300 kB")


def test_bad_calls() -> None:
    x = np.ones((4, 4, 4))
    for arguments, said in [
        ({"rtol": 1e-8}, "below 1.5e-07, the floor of the Gram matrices"),
        ({"rtol": 2.0}, r"in \[0, 1\)"),
        ({"tree": DimensionTree.balanced(4)}, "the tree has 4 modes and the tensor"),
        ({"tree": ((0, 1), 3)}, "mode 2 is missing"),
        ({"max_rank": 0}, "a whole number from 1 on, got 0"),
        ({"memory": "much"}, "got 'much'"),
        ({"memory": 0}, "positive number of bytes"),
    ]:
        with pytest.raises(ValueError, match=said):
            compress(x, **arguments)
    with pytest.raises(ValueError, match="order 2 or more"):
        compress(np.ones(4))
    with pytest.raises(ValueError, match=r"mode 1 of the tensor \(2, 0\) is empty"):
        compress(np.ones((2, 0)))
    with pytest.raises(ValueError, match="needed numbers"):
        compress(np.array([["a"]]))


def test_memory_in_words() -> None:
    assert [parse_memory(m) for m in ("2 GiB", "1.5 kB", "7", 7, "3MB")] == [2**31, 1500, 7, 7, 3 * 10**6]


_CODE = """
import json, sys
import numpy as np
import tnrank
def peak():
    return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
from tnrank.factorizations import compress
compress(np.ones((4, 4, 4)), memory=10**4)  # everything is imported
before = peak()
x = compress(np.load("x.npy", mmap_mode="r"), rtol=1e-3, memory="64 MB")
x.save("x.safetensors")
print(json.dumps(peak() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory of a process from /proc")
def test_peak_memory(tmp_path: Path) -> None:
    shape = (64, 64, 64, 100)  # 210 MB
    x = HierarchicalTucker.random(shape, rank=4, seed=0)
    size = float(x.norm()) / np.sqrt(np.prod(shape))
    out = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, shape)
    out[...] = np.asarray(x.to_dense()) + 1e-5 * size * np.random.default_rng(0).standard_normal(shape)
    out.flush()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) < 64e6
    y = tnrank.load(tmp_path / "x.safetensors")
    assert y.ranks[Node((0,), 0)] == 4
    assert error(out, y) < 1.1e-5
