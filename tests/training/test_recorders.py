"""What recorders measure, against direct computation."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.training import recorders

STARTS = {
    "matrix": lambda: tnrank.MatrixFactorization.random((5, 4), depth=3, seed=1, std=0.6),
    "cp": lambda: tnrank.CPFactorization.random((3, 4, 2), rank=12, weighted=True, seed=1),
    "hierarchical": lambda: tnrank.HierarchicalFactorization.random(
        (3, 2, 2, 3), tree=((3, 0), (1, 2)), width=5, seed=1
    ),
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


def run(x, record, several=False):
    generator = np.random.default_rng(0)
    indices = np.argwhere(generator.random(x.shape) < 0.7)
    values = generator.standard_normal(len(indices))
    options = {"optimizer": tnrank.GradientDescent(0.01), "steps": 4}
    result = tnrank.complete([x, x.map(lambda a: 0.9 * a)] if several else x, indices, values, record=record, **options)
    return result[0] if several else result


def numbers(x, array):
    return np.asarray(x.backend.to_numpy(array))


@starts
@pytest.mark.parametrize("several", [False, True])
def test_values(backend_name, start, several):
    x = start().to(backend_name)
    target = np.random.default_rng(3).standard_normal(x.shape)
    held_out = np.argwhere(np.random.default_rng(4).random(x.shape) < 0.3)
    expected = target[tuple(held_out.T)]
    record = [
        recorders.Error(target, every=4),
        recorders.HeldOutError(held_out, expected, every=4),
        recorders.ComponentNorms(top=3, every=4),
        recorders.SingularValues(top=2, modes=[(0, 2)] if x.ndim > 2 else (), every=4),
        recorders.Function("norm", lambda y: {"norm": y.norm(), "first": y.entries([[0] * y.ndim])}, every=4),
    ]
    result = run(x, record, several)
    for row, y in enumerate((x, result.factorization)):
        end = numbers(y, y.to_dense())
        got = {name: trace.values for name, trace in result.history.items()}
        np.testing.assert_allclose(got["error"][row], np.linalg.norm(end - target) / np.linalg.norm(target), rtol=1e-10)
        rms = np.sqrt(np.mean((end[tuple(held_out.T)] - expected) ** 2))
        np.testing.assert_allclose(got["held_out_error"][row], rms, rtol=1e-10)
        np.testing.assert_allclose(got["norm"]["norm"][row], np.linalg.norm(end), rtol=1e-10)
        np.testing.assert_allclose(got["norm"]["first"][row], [end[(0,) * y.ndim]], rtol=1e-8, atol=1e-12)
        norms = y.component_norms()
        if isinstance(norms, dict):
            for node, values in norms.items():
                top = np.sort(numbers(y, values))[::-1][:3]
                np.testing.assert_allclose(got["component_norms"][node][row], top, rtol=1e-10)
        else:
            np.testing.assert_allclose(got["component_norms"][row], np.sort(numbers(y, norms))[::-1][:3], rtol=1e-10)
        singular = got["singular_values"]
        if y.ndim == 2:
            np.testing.assert_allclose(singular[row], np.linalg.svd(end, compute_uv=False)[:2], rtol=1e-10)
            continue
        tree = getattr(y, "tree", None) or tnrank.DimensionTree.balanced(y.ndim)
        assert set(singular) == {n.modes for n in tree.nodes if n != tree.root} | {(0, 2)}
        for modes, values in singular.items():
            rest = [k for k in range(y.ndim) if k not in modes]
            matrix = end.transpose([*modes, *rest]).reshape(np.prod([y.shape[k] for k in modes]), -1)
            np.testing.assert_allclose(values[row], np.linalg.svd(matrix, compute_uv=False)[:2], rtol=1e-9)


@pytest.mark.few_on_jax("jax")
def test_absolute_error(backend_name):
    x = STARTS["cp"]().to(backend_name)
    result = run(
        x,
        [
            recorders.Error(np.zeros(x.shape), relative=False),
        ],
    )
    np.testing.assert_allclose(result.history["error"].values[0], numbers(x, x.norm()), rtol=1e-12)
    run(x, [recorders.Error(np.zeros(x.shape))])  # a zero target is not divided by


@pytest.mark.few_on_jax("jax")
def test_two_of_a_kind_by_name(backend_name):
    x = STARTS["hierarchical"]().to(backend_name)
    record = [
        recorders.SingularValues(every=2),
        recorders.SingularValues(tree=tnrank.DimensionTree.star(4), every=2),
    ]
    with pytest.raises(ValueError, match=r"two recorders are called 'singular_values': give one another name"):
        run(x, record)
    record[1].name = "leaves"
    history = run(x, record).history
    assert set(history["leaves"].values) == {(0,), (1,), (2,), (3,)}
    assert (0, 3) in history["singular_values"].values


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: recorders.Loss(every=0), ValueError, "every of Loss is a whole number from 1 on, got 0"),
        (
            lambda: recorders.Error(np.zeros((2, 2))),
            ValueError,
            r"target of Error has shape \(2, 2\).*\(3, 4, 2\)",
        ),
        (
            lambda: recorders.HeldOutError([[0, 0, 9]], [1.0]),
            ValueError,
            "index 9 of entry 0 is out of range",
        ),
        (lambda: recorders.HeldOutError([[0, 0, 0]], [np.nan]), ValueError, "1 of 1 values are NaN"),
        (lambda: "loss", TypeError, "got the recorder 'loss': needed one of tnrank.training.recorders"),
        (lambda: recorders.Loss, TypeError, "needed one of tnrank.training.recorders"),
    ],
)
def test_wrong_recorders(make, error, message):
    with pytest.raises(error, match=message):
        run(STARTS["cp"](), [make()])
