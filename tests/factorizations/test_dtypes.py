"""Integers, half precision, complex numbers: results are exact, promoted as arrays are, or refused."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, Network
from tnrank.factorizations import NetworkFactorization, sum_of

TREE = DimensionTree.balanced(3)
NODES = ((0, 1), (0, 1, 2))


def tree_formats(f):
    yield tnrank.TensorTrain([f(3, 2), f(2, 4, 2), f(2, 2)])
    yield tnrank.Tucker(f(2, 2, 2), [f(3, 2), f(4, 2), f(2, 2)])
    leaves = {0: f(3, 2), 1: f(4, 2), 2: f(2, 2)}
    yield tnrank.HierarchicalTucker(TREE, leaves, dict(zip(NODES, (f(2, 2, 2), f(2, 2)), strict=True)))


def classes(f):
    yield tnrank.MatrixFactorization([f(3, 2), f(2, 4)])
    yield tnrank.CPFactorization([f(3, 2), f(4, 2), f(2, 2)], f(2))
    matrices = {0: f(3, 2), 1: f(4, 2), 2: f(2, 2), (0, 1): f(2, 2), (0, 1, 2): f(2, 1)}
    yield tnrank.HierarchicalFactorization(TREE, matrices)
    yield from tree_formats(f)
    yield tnrank.TensorTrainOperator([f(3, 2, 2), f(2, 2, 2)])
    yield NetworkFactorization(Network({"A": "ij", "B": "", "C": "jk"}, "ik"), [f(2, 3), f(), f(3, 2)])


def drawn(dtype, seed=0, backend="numpy"):
    """Small whole numbers, which every dtype holds, so that the right values are exact."""
    rng, target = np.random.default_rng(seed), tnrank.get_backend(backend)

    def f(*shape):
        host = np.asarray(rng.integers(0, 3, shape), "complex128" if dtype.startswith("complex") else "float64")
        if dtype.startswith("complex"):
            host = host + 1j * rng.integers(0, 3, shape)
        return target.xp.astype(target.asarray(host), getattr(target.xp, dtype))

    return f


def dense(x):
    """The end tensor by NumPy's einsum on Python's exact integers or complex128."""
    letters = {label: chr(97 + k) for k, label in enumerate(x.network.indices)}
    words = ["".join(letters[label] for label in labels) for labels in x.network.tensors.values()]
    equation = f"{','.join(words)}->{''.join(letters[label] for label in x.network.output)}"
    return np.einsum(equation, *(np.asarray(x.backend.to_numpy(a)).astype(np.complex128) for a in x._values))


WHOLE = ("int8", "uint8", "int64", "bool")


@pytest.mark.parametrize("dtype", [*WHOLE, "float16"])
def test_measures_are_those_of_the_exact_tensor(dtype):
    for x in classes(drawn(dtype)):
        tensor = dense(x)
        np.testing.assert_allclose(float(x.norm()), np.linalg.norm(tensor), rtol=1e-5 if dtype == "float16" else 1e-12)
        np.testing.assert_allclose(float(x.inner(x)), np.linalg.norm(tensor) ** 2, rtol=1e-5)
        x.component_norms()
        if tensor.ndim == 3:
            wanted = tuple(
                np.linalg.matrix_rank(np.moveaxis(tensor, k, 0).reshape(tensor.shape[k], -1)) for k in range(3)
            )
            assert tnrank.multilinear_rank(x) == wanted


def test_the_norm_of_int8_components_is_not_zero():
    x = tnrank.CPFactorization([np.full((30, 1), 100, np.int8)] * 3)
    assert float(x.norm()) == pytest.approx(1e6 * 30**1.5, rel=1e-14)
    assert float(x.inner(x)) == 1e12 * 30**3
    assert float(x.component_norms()[0]) == pytest.approx(1e6 * 30**1.5, rel=1e-14)
    assert x.balance().unbalancedness() < 1e-13
    assert tnrank.multilinear_rank(x) == (1, 1, 1)
    least = tnrank.CPFactorization([np.ones((2, 1), np.int8)] * 2, np.array([-128], np.int8))
    assert float(least.component_norms()[0]) == pytest.approx(256)


@given(
    seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["int8", "uint8", "int16", "int64"]), size=st.integers(1, 40)
)
def test_dense_integers_are_exact_or_refused(seed, dtype, size):
    rng = np.random.default_rng(seed)
    low = 0 if dtype.startswith("u") else -size
    arrays = [rng.integers(low, size, (3, 2)).astype(dtype) for _ in range(3)]
    exact = np.einsum("ar,br,cr->abc", *(a.astype(object) for a in arrays))
    x = tnrank.CPFactorization(arrays)
    fits = np.iinfo(dtype).min <= exact.min() and exact.max() <= np.iinfo(dtype).max
    for evaluate in (x.to_dense, lambda: x.entries(np.argwhere(np.ones((3, 3, 3)))).reshape(3, 3, 3)):
        # Refused if sums of absolute values leave the range.
        if np.einsum("ar,br,cr->abc", *(abs(a.astype(object)) for a in arrays)).max() > np.iinfo(dtype).max:
            with pytest.raises(OverflowError, match="wrap around"):
                evaluate()
            continue
        found = evaluate()
        assert fits
        assert found.dtype == dtype
        assert (found == exact).all()


def test_boolean_arrays_have_no_sums():
    x = tnrank.MatrixFactorization([np.ones((2, 3), bool)] * 1)
    with pytest.raises(TypeError, match=r"boolean arrays has no sums: use x\.to"):
        x.to_dense()


PAIRS = [
    (a, b)
    for a in ("int8", "int64", "float32", "float64", "complex64")
    for b in ("int8", "float32", "float64", "complex128")
]


@pytest.mark.parametrize("sign", [operator.add, operator.sub, operator.mul])
def test_sums_and_products_promote_as_arrays_do(sign):
    for a, b in PAIRS:
        for x, y in zip(tree_formats(drawn(a)), tree_formats(drawn(b, 1)), strict=True):
            z = sign(x, y)
            assert {v.dtype for v in z._values} == {sign(np.ones(1, a), np.ones(1, b)).dtype}, (a, b)
            np.testing.assert_allclose(dense(z), sign(dense(x), dense(y)), rtol=1e-6, atol=1e-6)


NUMBERS = (2, 2.5, 1j, True, np.int64(3), np.float32(2), np.float64(2), np.complex64(1j), np.asarray(2.0))


def test_multiples_promote_as_arrays_do():
    for dtype in ("int8", "int64", "float32", "float64", "complex64"):
        for x in tree_formats(drawn(dtype)):
            for number in NUMBERS:
                for act in (lambda p, q: p * q, lambda p, q: q * p, lambda p, q: p / q):
                    y = act(x, number)
                    assert {v.dtype for v in y._values} == {act(np.ones(1, dtype), number).dtype}, (dtype, number)
                    np.testing.assert_allclose(dense(y), act(dense(x), complex(number)), rtol=1e-6)
            assert (-x).dtype == dtype
            np.testing.assert_array_equal(dense(-x), -dense(x))


@pytest.mark.few_on_jax
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_frameworks_promote_as_their_arrays_do(name):
    pytest.importorskip(name)
    dtypes = ("int8", "bfloat16") if name == "jax" else ("int8", "float32", "bfloat16", "complex64")
    ones = {dtype: drawn(dtype, backend=name)(2) for dtype in dtypes}
    for a, one in ones.items():
        x = next(tree_formats(drawn(a, backend=name)))
        for b, other in list(ones.items())[: 1 + list(ones).index(a)]:
            y = next(tree_formats(drawn(b, 1, backend=name)))
            assert {v.dtype for v in (x + y)._values} == {(one + other).dtype}, (a, b)
            np.testing.assert_allclose(complex(x.inner(y)), np.vdot(dense(x), dense(y)), rtol=1e-5)
        for number in (2, 2.5, 1j):
            assert {v.dtype for v in (number * x)._values} == {(number * one).dtype}, (a, number)
            assert {v.dtype for v in (x / number)._values} == {(one / number).dtype}, (a, number)


def test_real_and_complex_inner_products_and_sums():
    for x, y in zip(classes(drawn("float32")), classes(drawn("complex128", 1)), strict=True):
        np.testing.assert_allclose(complex(x.inner(y)), np.vdot(dense(x), dense(y)), rtol=1e-6)
        np.testing.assert_allclose(complex(y.inner(x)), np.vdot(dense(y), dense(x)), rtol=1e-6)
        total = sum_of([x, y], [1, 2j])
        assert total.dtype == "complex128"
        np.testing.assert_allclose(total.to_dense(), dense(x) + 2j * dense(y), rtol=1e-6)
        np.testing.assert_allclose(complex(x.inner(sum_of([y, y]))), 2 * np.vdot(dense(x), dense(y)), rtol=1e-6)
    x, y = list(tree_formats(drawn("float32")))[:2]
    both = sum_of([x, y])
    assert (both.dtype, (1j * both).dtype, (np.float64(2) * both).dtype) == ("float32", "complex64", "float64")
    np.testing.assert_allclose((both / 2).to_dense(), (dense(x) + dense(y)).real / 2, rtol=1e-6)


def test_modes_of_integers_and_half_precision():
    for dtype in ("int8", "float16"):
        for x in tree_formats(drawn(dtype)):
            tensor = dense(x).real
            np.testing.assert_allclose(x.sum(), tensor.sum(), rtol=1e-6)
            np.testing.assert_allclose(x.mean(), tensor.mean(), rtol=1e-6)
            np.testing.assert_allclose(x[1].to_dense(), tensor[1], rtol=1e-6)
            np.testing.assert_allclose(x.tensordot(x, 3), (tensor**2).sum(), rtol=1e-5)
            halves = x.mode_products({0: np.full((1, 3), 0.5)})
            assert len({a.dtype for a in halves._values}) == 1
            np.testing.assert_allclose(halves.to_dense(), tensor.sum(0, keepdims=True) / 2, rtol=1e-6)
            cut = x.truncate().tensor
            np.testing.assert_allclose(cut.to_dense(), tensor, atol=2e-2 * tensor.max())
            assert x.change_root((0,)).shape == x.shape


def test_half_precision_from_dense():
    rng = np.random.default_rng(0)
    exact = np.einsum("ar,br,cr->abc", *(rng.integers(1, 4, (n, 2)) for n in (5, 6, 7)))
    pytest.importorskip("torch")
    for name in ("numpy", "torch"):
        backend = tnrank.get_backend(name)
        for dtype in ("float16", "bfloat16")[: 1 if name == "numpy" else 2]:
            tensor = backend.xp.astype(backend.asarray(exact * 1.0), getattr(backend.xp, dtype))
            for form in (tnrank.TensorTrain, tnrank.Tucker, tnrank.HierarchicalTucker):
                x = form.from_dense(tensor)
                assert (x.dtype, max(x.ranks.values()) <= 4) == ("float32", True)
                np.testing.assert_allclose(backend.to_numpy(x.to_dense()), exact, rtol=0.02)
            assert (
                max(abs(backend.to_numpy(tnrank.CPFactorization.from_dense(tensor, 2).to_dense()) - exact).ravel()) < 1
            )
    # The norm is beyond what float16 holds.
    huge = tnrank.HierarchicalTucker.from_dense(np.full((100, 100), 1e3, np.float16))
    assert np.isfinite(huge._values[-1]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x / 0, ZeroDivisionError, "over 0 has no finite entries"),
        (lambda x: x / np.float64(0), ZeroDivisionError, "over 0"),
        (lambda x: x / np.ones(3), TypeError, "needed a number"),
        (lambda x: x / "a", TypeError, "needed a number"),
        (lambda x: x / x, TypeError, "needed two of one format"),
        (lambda x: x * None, TypeError, "needed another TensorTrain"),
        (lambda x: x.inner(np.ones((3, 4, 2))), TypeError, "other is a factorization"),
        (lambda x: (x * 100) * 2, OverflowError, "leaves the range of int8"),
        (lambda x: (x * 60) * (x * 60), OverflowError, "beyond the range of int8"),
        (lambda x: -x.map(lambda a: a.astype(bool)), TypeError, "no negative"),
        (lambda x: -x.map(lambda a: a.astype("uint8")), OverflowError, "leaves the range of uint8"),
        (lambda x: tnrank.TensorTrain.truncate_sum([np.ones((2, 2))]), TypeError, "term 0 is a factorization"),
        (lambda x: tnrank.TensorTrain.truncate_sum(5), TypeError, "terms is a sequence"),
        (lambda x: x.balance(), NotImplementedError, r"use x\.orthogonalize\(\)"),
        (lambda x: x.to(dtype=()), ValueError, "no dtype"),
        (lambda x: tnrank.TensorTrain.random((3, 3), dtype=()), TypeError, "dtype is a name such as"),
        (lambda x: tnrank.CPFactorization([np.zeros((2, 2), object)]), TypeError, r"factors\[0\] is .* needed numbers"),
    ],
)
def test_refusals_are_sentences(call, error, message):
    with pytest.raises(error, match=message):
        call(next(tree_formats(lambda *shape: np.full(shape, 1, np.int8))))
