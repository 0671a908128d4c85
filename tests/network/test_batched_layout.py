"""Programs of several runs at once: the index of the runs leads everywhere, and nothing is turned for it."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.network import Network

RUNS = 3
CASES = {
    "cp": tnrank.CPFactorization.random((4, 5, 6), rank=7),
    "matrix": tnrank.MatrixFactorization.random((4, 6), depth=3, hidden=5),
    "hierarchical": tnrank.HierarchicalFactorization.random((4,) * 4, width=6),
}


def batched(name: str):
    x = CASES[name]
    tensors = {key: ("run", *labels) for key, labels in x.network.tensors.items()}
    return x, Network(tensors, ("run", *x.network.output)).plan({**x._sizes, "run": RUNS})


@pytest.mark.parametrize("name", CASES)
def test_no_operand_and_no_result_is_permuted(name):
    _, plan = batched(name)
    for _, _, (_, (first, _, _), (second, _, _), _, _, final) in plan._program.pairs:
        assert first is None
        assert second is None
        assert final is None


@pytest.mark.parametrize("name", CASES)
def test_each_run_is_contracted_and_pulled_back_as_alone(name):
    x, plan = batched(name)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((RUNS, *a.shape)) for a in x._values]
    slope = rng.standard_normal((RUNS, *x.shape))
    program = plan._program
    kept = program.run_and_keep(x.backend, given)
    back = program.pull_back(x.backend, kept, slope)
    alone = x.network.plan(x._sizes)._program
    for run in range(RUNS):
        one = alone.run_and_keep(x.backend, [a[run] for a in given])
        np.testing.assert_allclose(kept[-1][run], one[-1], rtol=1e-12, atol=1e-13)
        for got, wanted in zip(back, alone.pull_back(x.backend, one, slope[run]), strict=True):
            np.testing.assert_allclose(got[run], wanted, rtol=1e-11, atol=1e-12)
