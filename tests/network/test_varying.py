"""Plans with an index whose size differs from call to call."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@given(rows=st.integers(1, 40), seed=st.integers(0, 99), example=st.integers(1, 40))
def test_a_plan_made_for_one_size_runs_at_another(backend, rows, seed, example):
    if backend == "jax":
        rows = 1 + rows % 3  # each size is compiled anew
    net = tnrank.Network({"x": "zab", "A": "oar", "B": "rpb", "C": "rp"}, output="zop")
    sizes = {"z": example, "a": 3, "b": 4, "o": 2, "p": 5, "r": 3}
    plan = net.plan(sizes, varying="z")
    rng = np.random.default_rng(seed)
    real = {**sizes, "z": rows}
    arrays = {name: rng.standard_normal([real[x] for x in labels]) for name, labels in net.tensors.items()}
    kind = tnrank.get_backend(backend)
    given = {name: kind.asarray(a) for name, a in arrays.items()}
    found = np.asarray(plan(given))
    expected = np.einsum("zab,oar,rpb,rp->zop", arrays["x"], arrays["A"], arrays["B"], arrays["C"])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 if found.dtype == np.float32 else 1e-10)
    if backend == "numpy":
        _, pulled = plan.pull_back(arrays, np.ones_like(expected))
        back = np.einsum("zop,oar,rpb,rp->zab", np.ones_like(expected), arrays["A"], arrays["B"], arrays["C"])
        np.testing.assert_allclose(pulled["x"], back, atol=1e-10)


def test_other_sizes_are_refused_and_files_keep_it(tmp_path):
    net = tnrank.Network({"x": "za", "A": "ab"}, output="zb")
    plan = net.plan({"z": 5, "a": 2, "b": 3}, varying="z")
    with pytest.raises(ValueError, match="made for index 'a' of size 2"):
        plan({"x": np.ones((7, 4)), "A": np.ones((4, 3))})
    with pytest.raises(ValueError, match="'q' is not in the output"):
        net.plan({"z": 5, "a": 2, "b": 3}, varying="q")
    with pytest.raises(ValueError, match="at most one"):
        net.plan({"z": 5, "a": 2, "b": 3}, varying="zb")
    plan.save(tmp_path / "plan.json")
    assert tnrank.ContractionPlan.load(tmp_path / "plan.json") == plan == pickle.loads(pickle.dumps(plan))
    assert plan != net.plan({"z": 5, "a": 2, "b": 3})
