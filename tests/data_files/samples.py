"""One valid file of every format that is read, and what reads it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tnrank
from tnrank import data
from tnrank.cli._settings import read_settings
from tnrank.experiments import read_config, read_metrics
from tnrank.experiments._sweeps._plan import make_plan, read_manifest, write_manifest
from tnrank.ranks._certified._certificate import Certificate
from tnrank.runs import summary_of

Read = Callable[[Path], Any]
NAMES = (
    *("npy", "npy-fortran", "npy-big-endian", "npy-half", "npy-structured", "npz", "npz-deflated", "mask", "cifar10"),
    "cifar10-tar",
    *("csv", "csv-semicolon", "csv-utf16", "csv-european", "idx", "idx-float", "idx-gz"),
    *("png", "png-16", "gif", "tif", "tif-lzw", "jpg", "bmp"),
    *(f"safetensors-{name}" for name in ("mf", "cp", "htf", "ht", "tt", "tucker", "network")),
    *("config", "metrics", "summary", "sweep", "toml", "certificate", "plan"),
)


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz(save: Callable[..., None], **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def _idx(shape: tuple[int, ...], code: int, entries: bytes) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape) + entries


def _image(form: str, pixels: Any, **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _factorizations() -> dict[str, Any]:
    shape = (3, 4, 2)
    network = tnrank.Network({"a": ("i", "r"), "b": ("r", "j")}, ("i", "j"))
    dense = np.arange(24.0).reshape(shape)
    return {
        "mf": tnrank.MatrixFactorization.random((4, 3), depth=3, seed=0),
        "cp": tnrank.CPFactorization.random(shape, rank=2, seed=0, dtype="complex128"),
        "htf": tnrank.HierarchicalFactorization.random((2,) * 4, ((0, 3), (1, 2)), width=2, seed=0),
        "ht": tnrank.HierarchicalTucker.from_dense(dense, rtol=1e-9),
        "tt": tnrank.TensorTrain.from_dense(dense.astype(np.float32), rtol=1e-6),
        "operator": tnrank.TensorTrainOperator.random((2, 3), (3, 2), rank=2, seed=0, dtype="float32"),
        "tucker": tnrank.Tucker.from_dense(dense, rtol=1e-9),
        "network": tnrank.factorizations.NetworkFactorization.random(network, {"i": 3, "j": 4, "r": 2}, seed=0),
    }


def cifar_archive(batches: dict[str, bytes]) -> bytes:
    """An archive as that of CIFAR-10's binary version."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def make_samples(folder: Path) -> dict[str, tuple[str, bytes, Read]]:
    """Name -> (name of the file, its bytes, what reads it); ``folder`` is for what is written on the way."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 2))
    pixels = rng.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    structured = np.zeros(3, [("a", "f8"), ("b", "i4")])
    table = "\n".join(",".join(f"{v:.3g}" for v in row) for row in rng.standard_normal((8, 3)))
    read_array: Read = data.read_array
    samples: dict[str, tuple[str, bytes, Read]] = {
        "npy": ("x.npy", _npy(x), read_array),
        "npy-fortran": ("x.npy", _npy(np.asfortranarray(x)), read_array),
        "npy-big-endian": ("x.npy", _npy(x.astype(">f4")), read_array),
        "npy-half": ("x.npy", _npy(x.astype(np.float16)), read_array),
        "npy-structured": ("x.npy", _npy(structured), read_array),
        "npz": ("x.npz", _npz(np.savez, a=x, b=np.eye(2)), lambda path: data.read_array(path, key="a")),
        "npz-deflated": ("x.npz", _npz(np.savez_compressed, a=np.eye(20)), read_array),
        "csv": ("x.csv", ("a,b,c\n" + table).encode(), read_array),
        "csv-semicolon": ("x.csv", b'"a;b",c\r\n"1",\r\n# no\r\n-2e3,nan\r\n', read_array),
        "csv-utf16": ("x.csv", f"a\tb\tc\n{table.replace(',', chr(9))}".encode("utf-16"), read_array),
        "csv-european": (
            "x.csv",
            b"1.234,5;2\n3;4,25\n",
            lambda path: data.read_array(path, csv=data.CsvFormat(decimal=",", thousands=".")),
        ),
        "mask": ("x.npy", _npy(np.eye(4)), lambda path: data.read_mask(path, (4, 4))),
        "idx": ("x.idx", _idx((2, 3, 3), 8, bytes(range(18))), data.read_idx),
        "idx-float": ("x.idx", _idx((5,), 13, np.arange(5, dtype=">f4").tobytes()), data.read_idx),
        "idx-gz": ("x.gz", gzip.compress(_idx((2, 3, 3), 8, bytes(range(18))), mtime=0), data.read_idx),
        "cifar10": (
            "cifar10.npz",
            _npz(np.savez, x_test=np.zeros((2, 32, 32, 3), np.uint8), y_test=np.arange(2, dtype=np.uint8)),
            lambda path: data.cifar10("test", path.parent.parent),
        ),
        "cifar10-tar": (
            "cifar-10-binary.tar.gz",
            cifar_archive({"test_batch.bin": bytes([3, *range(256), *([7] * 2816)]) * 2}),
            lambda path: data.cifar10("test", path.parent.parent),
        ),
    }
    try:
        images = {
            "png": _image("PNG", pixels),
            "png-16": _image("PNG", (pixels[..., 0].astype(np.uint16) * 257)),
            "gif": _image("GIF", pixels[..., 0]),
            "tif": _image("TIFF", pixels),
            "tif-lzw": _image("TIFF", pixels, compression="tiff_lzw"),
            "jpg": _image("JPEG", pixels),
            "bmp": _image("BMP", pixels),
        }
    except ImportError:
        images = {}
    samples |= {name: (f"x.{name.partition('-')[0]}", content, read_array) for name, content in images.items()}
    for name, value in _factorizations().items():
        value.save(folder / "x.safetensors")
        samples[f"safetensors-{name}"] = ("x.safetensors", (folder / "x.safetensors").read_bytes(), tnrank.load)
    config = {"recipe": "dynamics", "fields": {"preset": "quick", "seed": 1, "mf_std": 0.1}, "command": ["tnrank"]}
    rows = ["mf,0,loss,,0,1.25", 'mf,10,singular_values,"{0,1}",1,2e-05', "cp,20,norm,,0,-3"]
    metrics = "\n".join(["model,step,quantity,node,index,value", *rows, ""])
    write_manifest(make_plan("dynamics", {"mf_std": [0.1, 0.2]}, 2, "quick", {}, 10), folder, ["tnrank"])
    summary = {"recipe": "dynamics", "status": "complete", "seconds": 1.5, "losses": [1, 2e-3], "verdict": "holds"}
    toml = b'preset = "paper"\nmf_std = 1e-2\n[grid]\ncp_std = [1e-2, 1e-3]\n'
    samples |= {
        "config": ("config.json", json.dumps(config, indent=2).encode(), lambda path: read_config(path.parent)),
        "metrics": ("metrics.csv", metrics.encode(), lambda path: read_metrics(path.parent)),
        "summary": ("summary.json", json.dumps(summary).encode(), lambda path: summary_of(path.parent)),
        "sweep": ("sweep.json", (folder / "sweep.json").read_bytes(), lambda path: read_manifest(path.parent)),
        "toml": ("x.toml", toml, lambda path: read_settings(path, None, None, None, [])),
    }
    cp = tnrank.CPFactorization.random((3, 4, 5), rank=2, seed=0)
    cp.network.plan(cp.network.sizes(cp.arrays)).save(folder / "plan.json")
    samples["plan"] = ("plan.json", (folder / "plan.json").read_bytes(), tnrank.ContractionPlan.load)
    tnrank.ranks.tensor_rank(np.eye(2)[:, :, None] * np.ones(2)).certificate.save(folder / "certificate.json")
    found = (folder / "certificate.json").read_bytes()
    samples["certificate"] = ("certificate.json", found, lambda path: Certificate.load(path).verify())
    return samples
