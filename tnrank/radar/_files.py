"""Weights of models from files, one array at a time."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import instance
from tnrank._explained import explained
from tnrank._reading import check_size, reading

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
"""Files that ``torch.save`` writes."""
_DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64", "BOOL": "bool"},
    **{
        f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
}
"""Names of dtypes in a safetensors file -> ours."""
_HEADER = 100 * 2**20
"""Bytes that the header of a safetensors file has at most, by its specification."""


class _Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    start: int


class StoredWeights(Mapping[str, Any]):
    """The arrays of a safetensors file, each read when it is asked for.

    ``dtypes`` are those in the file: bfloat16 is read as float32, which NumPy has.
    """

    def __init__(self, file: Path, entries: Mapping[str, _Entry]) -> None:
        self._file, self._entries = file, entries
        self.dtypes = {name: _DTYPES.get(entry.dtype, entry.dtype) for name, entry in entries.items()}

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        dtype, shape, start = self._entries[name]
        if dtype not in _DTYPES:
            raise ValueError(
                f"{self._file} has the weight {name!r} in {dtype}, a quantized format, and ranks are those of "
                "floating-point weights: take the model before it was quantized"
            )
        known = self.dtypes[name]
        stored = np.dtype("<u2" if known == "bfloat16" else np.dtype(known).newbyteorder("<"))
        count = math.prod(shape)
        check_size(self._file, 2 * count * max(stored.itemsize, 4), f"the array {name!r}")
        with reading(self._file) as file:
            array = np.fromfile(file, stored, count, offset=start)
            if array.size != count:
                raise ValueError(f"{file} cannot be read: the array {name!r} is cut short")
        array = array.reshape(shape)
        if known == "bfloat16":
            return np.asarray(array.astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return array.astype(stored.newbyteorder("="), copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@explained
def read_weights(path: str | os.PathLike[str], key: str | None = None) -> Mapping[str, Any]:
    """The weights in a file, ``{name: array}``, for :func:`layer_ranks`; each is read when it is asked for.

    Args:
        path: ``.safetensors`` of any model, or a file of ``torch.save`` (``.pt``, ``.pth``, ``.bin``, ``.ckpt``) with
            a state dict, for which PyTorch must be installed. Nothing is unpickled that could run code. Names lose the
            ``_orig_mod`` of ``torch.compile``, and a tied weight of the latter stands once.
        key: which entry of a checkpoint of PyTorch holds the weights, where that is not clear.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no weights, something else than weights, or is damaged.
        ImportError: if it is a file of PyTorch, which is not installed.

    Source: the format of safetensors, https://github.com/huggingface/safetensors.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> from safetensors.numpy import save_file
        >>> from tnrank.radar import layer_ranks, read_weights
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> save_file({"fc.weight": np.eye(6, 4)}, path)
        >>> layer_ranks(read_weights(path))["fc.weight"].matrix.rank
        4
    """
    instance(key, "key", (str, type(None)), "the name of an entry of a checkpoint, or None")
    with reading(path) as file:
        suffix = file.suffix.lower()
        if suffix in TORCH_SUFFIXES:
            return {
                plain_name(name): array for name, array in get_backend("torch").read_weights(str(file), key).items()
            }
        if suffix != ".safetensors":
            known = " ".join((".safetensors", *TORCH_SUFFIXES))
            raise ValueError(f"{file} has the unknown suffix {file.suffix!r}; weights are read from {known}")
        if key is not None:
            raise ValueError(f"{file} holds the weights alone, got key={key!r}: a key names an entry of a checkpoint")
        return StoredWeights(file, _entries(file))


@explained
def holds_a_model(path: str | os.PathLike[str]) -> bool:
    """Whether :func:`read_weights` reads a file, by its suffix and header: no factorization of tnrank's own.

    Args:
        path: any file. A ``.safetensors`` whose header is damaged counts, so that reading it says what is wrong.

    Example:
        >>> from tnrank.radar import holds_a_model
        >>> holds_a_model("model.pt"), holds_a_model("tensor.npy")
        (True, False)
    """
    file = Path(path)
    if file.suffix.lower() in TORCH_SUFFIXES:
        return True
    if file.suffix.lower() != ".safetensors":
        return False
    try:
        with reading(file) as readable:
            metadata = _header(readable)[0].get("__metadata__") or {}
            return not str(metadata.get("format", "")).startswith("tnrank")
    except OSError:  # whoever reads it says what is wrong
        return False
    except ValueError:
        return True


def _entries(file: Path) -> dict[str, _Entry]:
    from safetensors import safe_open

    with safe_open(str(file), framework="numpy"):
        pass  # it checks that the header is whole and that the arrays fill the file
    header, start = _header(file)
    found = {
        plain_name(name): _Entry(entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__"
    }
    return {name: found[name] for name in sorted(found, key=_natural)}


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its arrays begin."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= min(_HEADER, file.stat().st_size - 8):
            raise ValueError(f"{file} cannot be read: it has no header of safetensors")
        header = json.loads(stream.read(size))
    if not isinstance(header, dict):
        raise ValueError(f"{file} cannot be read: its header is no dictionary")
    return header, 8 + size


@explained
def plain_name(name: str) -> str:
    """The name of a weight without the wrappers that ``torch.compile`` puts around modules.

    Args:
        name: in a state dict.

    Raises:
        TypeError: if it is no text.

    Example:
        >>> from tnrank.radar import plain_name
        >>> plain_name("_orig_mod.blocks.0._orig_mod.weight")
        'blocks.0.weight'
    """
    instance(name, "name", str, "the name of a weight such as 'blocks.0.weight'")
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Layer 10 after layer 9."""
    parts = re.split(r"(\d{1,18})", name)
    return [(1, int(part), "") if part.isdigit() and part.isascii() else (0, 0, part) for part in parts]
