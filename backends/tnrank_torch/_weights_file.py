"""State dicts from PyTorch's own files, without running what is pickled in them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

_USUAL = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
"""Under which name checkpoints keep the weights, beside optimizer states and counters."""
_LISTED = 8


def read_weights(path: str, key: str | None = None) -> Mapping[str, torch.Tensor]:
    """``{name: tensor}`` of a file that ``torch.save`` wrote; tensors are mapped, not read.

    A weight that is saved under two names, as tied ones are, stands under the first of them.

    Args:
        path: of the file.
        key: the entry of a checkpoint that holds the weights, where that is not clear.

    Raises:
        ValueError: if it holds other objects than tensors in dictionaries, no tensors, or is damaged.
    """
    loaded = _load(path)
    if key is not None:
        if not isinstance(loaded, Mapping) or key not in loaded:
            held = _names(loaded) if isinstance(loaded, Mapping) else f"a {type(loaded).__qualname__}"
            raise ValueError(f"{path} has no entry {key!r}: it holds {held}")
        loaded = loaded[key]
    _check_packed(path, loaded)
    found = _tensors(loaded)
    if _has_matrices(found):
        return _checked(path, found)
    parts = {str(name): part for name, part in loaded.items()} if isinstance(loaded, Mapping) else {}
    parts = {name: _tensors(part) for name, part in parts.items() if isinstance(part, Mapping)}
    parts = {name: part for name, part in parts.items() if _has_matrices(part)}
    usual = [name for name in _USUAL if name in parts]
    if len(parts) > 1 and len(usual) != 1:
        raise ValueError(
            f"{path} has weights in several entries ({_names(parts)}): name one by key='{next(iter(parts))}'"
        )
    if parts:
        return _checked(path, parts[usual[0] if usual else next(iter(parts))])
    if found:
        return _checked(path, found)
    raise ValueError(f"{path} holds no weights: {_names(loaded) if isinstance(loaded, Mapping) else 'no dictionary'}")


def _load(path: str) -> Any:
    zipped = zipfile.is_zipfile(path)
    try:
        with warnings.catch_warnings():
            # Its warnings are about programs of TorchScript, which are refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if any(word in str(error) for word in ("Unsupported global", "Unsupported class", "GLOBAL", "unsafe")):
            raise ValueError(
                f"{path} holds other objects than weights, such as a whole pickled module, and is not unpickled, which "
                "would run its code: save the weights alone, torch.save(model.state_dict(), 'weights.pt')"
            ) from None
        raise ValueError(_damaged(path)) from None
    except (
        RuntimeError,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        ValueError,
        TypeError,
        AssertionError,
    ) as error:
        if "TorchScript" in str(error):
            raise ValueError(
                f"{path} is a program of TorchScript, which is not run: save its weights alone, "
                "torch.save(torch.jit.load(path).state_dict(), 'weights.pt')"
            ) from None
        raise ValueError(_damaged(path)) from None


def _damaged(path: str) -> str:
    return f"{path} holds no weights that torch.save wrote, or it is cut short or damaged"


def _tensors(part: Any) -> dict[str, torch.Tensor]:
    if isinstance(part, torch.Tensor):
        return {"tensor": part}
    if not isinstance(part, Mapping):
        return {}
    return {str(name): value for name, value in part.items() if isinstance(value, torch.Tensor)}


def _has_matrices(tensors: Mapping[str, torch.Tensor]) -> bool:
    return any(value.ndim >= 2 for value in tensors.values())


def _checked(path: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    places = set()
    for name, value in tensors.items():
        if value.is_quantized:
            raise _quantized(path, name)
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if place not in places or not value.numel():
            found[name] = value.detach()
        places.add(place)
    return found


def _check_packed(path: str, loaded: Any) -> None:
    """Refuse the state dict of quantized layers, whose weights are packed with their biases."""
    for name in loaded if isinstance(loaded, Mapping) else ():
        if "_packed_params" in str(name):
            raise _quantized(path, str(name).partition("._packed_params")[0])


def _quantized(path: str, name: str) -> ValueError:
    return ValueError(
        f"{path} has the quantized weight {name!r}, and ranks are those of floating-point weights: take the model "
        "before it was quantized"
    )


def _names(part: Mapping[Any, Any]) -> str:
    names = [str(name) for name in part]
    shown = ", ".join(names[:_LISTED]) + (", .." if len(names) > _LISTED else "")
    return shown or "an empty dictionary"
