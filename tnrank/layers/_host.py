"""The arrays of a weight on the host, in double precision, once it is sure that they are its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import instance, shown
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat
from tnrank.layers._structures import Host


def host_arrays(weight: WeightFormat, arrays: Mapping[str, Array]) -> tuple[WeightFormat, dict[str, Host]]:
    """The format with the ranks of the arrays, and the arrays.

    Raises:
        TypeError: if they are no mapping, or no arrays of real numbers.
        ValueError: if they do not fit the format, or have entries that are not finite.
    """
    instance(arrays, "arrays", Mapping, "a mapping of arrays by tensor name")
    host = {name: host_array(array, f"the tensor {name!r}") for name, array in arrays.items()}
    weight = weight.of_shapes({name: array.shape for name, array in host.items()})
    return weight, {name: host[name] for name in weight.parts}


def host_array(array: Any, what: str) -> Host:
    """An array of real numbers on the host; numbers of ``what`` are finite.

    Raises:
        TypeError: if it is no array of real numbers.
        ValueError: if it has entries that are not finite.
    """
    backend = backend_of(array)
    host = backend.to_numpy(array)
    if host.dtype.kind not in "fV" and host.dtype.name != "bfloat16":
        raise TypeError(f"{what} has real floating-point numbers, got {shown(array)}: convert it to float64 first")
    host = np.asarray(host, np.float64)
    if not np.isfinite(host).all():
        raise ValueError(f"{what} has entries that are not finite: clear them first")
    return host
