"""A factorization prints whatever its leaves are, and says what is wrong where it needs arrays."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tests.factorizations.test_dtypes import classes, drawn
from tnrank.factorizations import FactorizationSum, sum_of


def everything(backend="numpy"):
    found = list(classes(drawn("float32", backend=backend)))
    return [*found, sum_of([found[3], found[4]])]


LEAVES = {
    "none": lambda a: None,
    "booleans": lambda a: True,
    "text": lambda a: "x",
    "objects": lambda a: object(),
    "numbers": lambda a: 1.5,
    "scalars": lambda a: np.float32(1),
    "other shapes": lambda a: np.ones((2, 2, 2, 2)),
}


def with_leaves(x, change):
    if isinstance(x, FactorizationSum):
        return FactorizationSum._unflatten(x.weights, [term.map(change) for term in x.terms])
    return x.map(change)


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
def test_any_leaves_print(leaf):
    for x in everything():
        y = with_leaves(x, leaf)
        for text in (repr(y), str(y), f"{y}"):
            assert type(x).__name__ in text.splitlines()[0]
        for name in ("shape", "dtype", "parameter_count", "ndim"):
            # Nothing but a sentence: an AttributeError of a leaf would be one of the factorization.
            with contextlib.suppress(TypeError, ValueError):
                getattr(y, name)


def test_a_mask_of_some_leaves():
    x = everything()[1]
    y = x.map(lambda a: a if a.ndim == 1 else None)
    assert repr(y) == "CPFactorization of order 3 whose leaves are no arrays of one shape: 3 NoneType, 1 ndarray"
    with pytest.raises(TypeError, match="has a shape when all its leaves are arrays: 'A0' is None"):
        _ = y.shape
    assert y.parameter_count == 2


def test_frameworks():
    jax = pytest.importorskip("jax")
    eqx = pytest.importorskip("equinox")
    for x in everything("jax"):
        assert repr(jax.eval_shape(lambda x=x: x)) == repr(x)
        _, static = eqx.partition(x, eqx.is_array)
        assert type(x).__name__ in repr(static)
        shown = []

        @jax.jit
        def trace(y, shown=shown):
            shown.append(repr(y))
            return 0

        trace(x)
        assert type(x).__name__ in shown[0]
    optax = pytest.importorskip("optax")
    x = everything("jax")[1]
    state = optax.masked(optax.trace(0.9), jax.tree.map(lambda a: a.ndim == 1, x)).init(x)
    assert "CPFactorization" in repr(state)


def test_a_torch_module_without_its_parameters():
    torch = pytest.importorskip("torch")
    from tnrank_torch import nn

    module = nn.Factorization(everything("torch")[1])
    assert "CPFactorization of order 3" in repr(module)
    assert "CPFactorization of order 3" in repr(module.to("meta"))
    module.arrays = torch.nn.ParameterDict()
    assert "CPFactorization" in repr(module)
