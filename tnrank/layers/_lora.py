"""Changes of weights as an ordinary LoRA checkpoint that PEFT loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import instance, real_number, shown
from tnrank._explained import explained
from tnrank._files import check_path, write_atomically
from tnrank.layers._format import WeightFormat, checked_format
from tnrank.layers._host import host_arrays
from tnrank.layers._structures import Host


@dataclass(frozen=True)
class LoraReport:
    """What a LoRA checkpoint holds.

    Attributes:
        ranks: layer -> rank that it is written with.
        residuals: layer -> ``||change - B A|| / ||change||``.
    """

    ranks: dict[str, int]
    residuals: dict[str, float]

    def __str__(self) -> str:
        width = max(map(len, self.ranks))
        return "\n".join(
            f"{name:{width}}  rank {rank:4}  residual {self.residuals[name]:.1e}" for name, rank in self.ranks.items()
        )


@explained
def write_lora(
    folder: Any,
    changes: Mapping[str, tuple[WeightFormat, Mapping[str, Host]]],
    rtol: float = 1e-6,
    *,
    transposed: bool = False,
    base: str | None = None,
) -> LoraReport:
    """Write changes of weights as ``adapter_config.json`` and ``adapter_model.safetensors``.

    A matrix factorization of depth 2 is written as it is; every other change by its singular value decomposition.

    Args:
        folder: is made if it does not exist.
        changes: layer -> (format, arrays on the host).
        rtol: bounds what is cut off, relative to each change.
        transposed: whether the base model's weights are (inputs, outputs).
        base: name of the base model.

    Returns:
        Ranks and residuals by layer; it prints itself.

    Raises:
        ValueError: if a convolution has groups, there is no change, or entries are not finite.
        TypeError: if the changes are no pairs of a format and its arrays.
    """
    rtol = real_number(rtol, "rtol", 0, 1)
    base = None if base is None else instance(base, "base", str, "text, the name of a model")
    check_path(folder, "folder", "the name of a folder")
    instance(transposed, "transposed", bool, "True or False")
    instance(changes, "changes", Mapping, "a mapping from names of layers to formats and arrays")
    if not changes:
        raise ValueError("there are no changes to write")
    tensors: dict[str, Host] = {}
    ranks: dict[str, int] = {}
    residuals: dict[str, float] = {}
    for name, change in changes.items():
        instance(change, f"the change of layer {name!r}", tuple, "a pair: a format and its arrays")
        if not isinstance(name, str) or len(change) != 2:
            raise ValueError(f"changes are names of layers with a format and its arrays, got {shown(name)}")
        weight, arrays = host_arrays(checked_format(change[0]), change[1])
        if weight.groups > 1:
            raise ValueError(f"layer {name!r} is a convolution with {weight.groups} groups, which LoRA has no form for")
        first, second, residuals[name] = _factors(weight, arrays, rtol)
        ranks[name] = int(first.shape[0])
        kinds = ("lora_embedding_A", "lora_embedding_B")
        kinds = kinds if weight.kind == "embedding" else ("lora_A.weight", "lora_B.weight")
        for kind, array in zip(kinds, (first, second), strict=True):
            tensors[f"base_model.model.{name}.{kind}"] = np.ascontiguousarray(array, np.float32)
    most = max(ranks.values())
    patterns = {name: rank for name, rank in ranks.items() if rank != most}
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": True,
        "lora_alpha": most,  # the change is scaled by lora_alpha / r, which is 1 here
        "lora_dropout": 0.0,
        "r": most,
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
        "target_modules": list(ranks),
    }
    from safetensors.numpy import save

    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    write_atomically(where / "adapter_model.safetensors", save(tensors, {"format": "pt"}))
    write_atomically(where / "adapter_config.json", json.dumps(config, indent=2).encode())
    return LoraReport(ranks, residuals)


def _factors(weight: WeightFormat, arrays: Mapping[str, Host], rtol: float) -> tuple[Host, Host, float]:
    """A ``(r, inputs, *window)`` and B ``(outputs, r, 1, ..)``: the change is B A."""
    outputs, inputs = weight.sides
    window = weight.layout.kernel
    residual = 0.0
    if weight.structure == "mf" and weight.layout.depth == 2:
        second, first = arrays["layer0"], arrays["layer1"]
    else:
        dense = np.asarray(weight.dense(arrays))
        matrix = (dense.T if weight.kind == "embedding" else dense).reshape(outputs, -1)
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        lost = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0))
        rank = max(1, int(np.argmax(lost <= rtol * lost[0])))
        second, first = u[:, :rank] * np.sqrt(s[:rank]), np.sqrt(s[:rank])[:, None] * vh[:rank]
        residual = float(lost[rank] / lost[0]) if lost[0] else 0.0
    first = first.reshape(first.shape[0], inputs, *window)
    return first, second.reshape(outputs, second.shape[1], *[1] * len(window)), residual
