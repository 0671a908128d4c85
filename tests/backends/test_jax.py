"""What the JAX backend writes itself: derivatives of every kind."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank

jax = pytest.importorskip("jax")


def test_product_of_halves_has_all_derivatives():
    product = tnrank.get_backend("jax").pair_product
    x = jax.numpy.asarray(np.random.default_rng(0).standard_normal((2, 2, 3)))
    assert np.array_equal(product(x), x[:, 0] * x[:, 1])

    def ours(a):
        return (product(a) ** 3).sum()

    def plain(a):
        return ((a[:, 0] * a[:, 1]) ** 3).sum()

    for derivative in (jax.grad, jax.hessian, lambda f: jax.jacfwd(jax.hessian(f))):
        found, wanted = (
            jax.jit(derivative(function))(x) for function in (ours, plain)
        )  # eager steps compile one by one
        assert np.allclose(found, wanted, rtol=1e-13, atol=1e-13)
    assert np.array_equal(jax.vmap(product)(x[None])[0], product(x))
