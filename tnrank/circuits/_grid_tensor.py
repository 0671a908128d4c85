"""Grid tensors: the values of a network at all combinations of templates."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tnrank._explained import explained
from tnrank._typing import Function
from tnrank.circuits._memory import check_size
from tnrank.circuits._templates import Host, Templates, Values

_FIX = (
    "measure it by network_ranks(f, templates), which forms no grid tensor, give fewer templates, or raise "
    "memory_limit="
)


@explained
def grid_tensor(
    f: Function,
    templates: Any,
    *,
    order: int | None = None,
    batch_size: int | None = None,
    memory_limit: int | str | None = None,
) -> Host:
    """The grid tensor of any function or network: ``A[d_1, .., d_N] = f(x^(d_1), .., x^(d_N))``.

    Inputs are made and evaluated a batch at a time. The templates' backend decides what ``f`` is called with, so that
    a torch module takes torch templates. Gradients are not kept beyond a batch; ``torch.no_grad()`` around the call
    spares them altogether.

    Args:
        f: takes ``(batch, N, p)``, or ``(batch, N)`` for templates that are numbers; gives ``(batch,)`` or
            ``(batch, classes)``. One class is one number.
        templates: an array ``(M, p)`` or ``(M,)`` for every location, with ``order=N``; or N arrays, one a location,
            whose numbers of templates may differ.
        order: N, where one array is given.
        batch_size: inputs in one call of ``f``; by default these have up to a million numbers.
        memory_limit: the most elements (an int) or bytes (a string such as ``"4 GiB"``) of the grid tensor; ``None``
            is half of the memory that is available.

    Returns:
        A NumPy array ``(d_1, .., d_N)``, or ``(d_1, .., d_N, classes)``, in the dtype that ``f`` returns (whole numbers
        as float64).

    Raises:
        TypeError: if templates are not numbers, or ``f`` returns anything but one number, or one a class, an input.
        ValueError: if the grid tensor is over ``memory_limit``, before it is allocated; if a location has no templates
            or a value is NaN or infinite (its index is named); if ``f`` gives two values for one input.

    Source: Cohen & Shashua 2016, *Convolutional Rectifier Networks as Generalized Tensor Decompositions* (grid
        tensors).

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import grid_tensor
        >>> grid_tensor(lambda x: x.max(axis=1), np.array([0.0, 1.0, 2.0]), order=2)
        array([[0., 1., 2.],
               [1., 1., 2.],
               [2., 2., 2.]])
    """
    read = Templates(templates, order)
    values = Values(f, read, batch_size)
    probes = read.probes()
    first = values(probes)
    shape = read.shape if values.classes is None else (*read.shape, values.classes)
    check_size(shape, values.dtype, memory_limit, "the grid tensor", _FIX)
    total = prod(read.shape)
    found = np.empty((total, *first.shape[1:]), first.dtype)
    for start in range(0, total, values.batch_size):
        stop = min(start + values.batch_size, total)
        indices = np.stack(np.unravel_index(np.arange(start, stop), read.shape), axis=1)
        found[start:stop] = values(indices)
    values.check_repeats(first, found[np.ravel_multi_index(tuple(probes.T), read.shape)])
    return found.reshape(shape)
