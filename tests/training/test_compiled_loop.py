"""Long runs of tiny models on PyTorch, whose loop is compiled after a while, against the same steps one by one."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.training import Checkpoint, SquaredLoss, recorders

torch = pytest.importorskip("torch")
INDICES, VALUES = [(0, 1), (1, 0), (1, 1)], [1.0, 1.0, 0.0]
RATES = (6e-3, 3e-3, 0.5)


def run(steps=400, **options):
    """One run ends early by the stop rule, one goes on to the end, one diverges."""
    starts = [
        tnrank.MatrixFactorization.random((2, 2), depth=3, std=s, seed=4, backend="torch", dtype="float64")
        for s in (0.9, 0.02, 1.5)
    ]
    options = {
        "loss": SquaredLoss("half_sum"),
        "optimizer": tnrank.GradientDescent(RATES),
        "record": [recorders.Loss(every=37), recorders.EffectiveTime(every=37)],
        "stop": 5e-2,
        **options,
    }
    return tnrank.complete(starts, INDICES, VALUES, steps=steps, **options)


def same(ours, others):
    for a, b in zip(ours, others, strict=True):
        assert (a.status, a.steps, a.loss, a.message) == (b.status, b.steps, b.loss, b.message)
        for name, trace in b.history.items():
            np.testing.assert_array_equal(a.history[name].steps, trace.steps)
            np.testing.assert_array_equal(a.history[name].values, trace.values)
        for name, array in b.factorization.arrays.items():
            assert torch.equal(a.factorization.arrays[name], array)


@pytest.fixture
def early(monkeypatch):
    """Compiled from step 40 on, in blocks that compile fast."""
    from tnrank.training._loop import runner

    runner.cache_clear()
    monkeypatch.setattr("tnrank.training._loop._EAGER", 40)
    monkeypatch.setattr("tnrank_torch._loops._STEPS", 3)
    yield
    runner.cache_clear()


@pytest.mark.slow
def test_it_is_the_same_to_the_last_bit(early, monkeypatch, tmp_path):
    import tnrank_torch._loops as loops

    compiled = []
    real = loops.CompiledLoop._compile
    monkeypatch.setattr(loops.CompiledLoop, "_compile", lambda *given: compiled.append(1) or real(*given))
    found = run()
    assert len(compiled) == 1
    assert [one.status for one in found] == ["converged", "steps", "nan"]
    with monkeypatch.context() as patched:
        patched.setattr("tnrank.training._loop._EAGER", 10**9)
        eager = run()
    same(found, eager)
    # Interrupted on either side of the step from which on it is compiled, it goes on to the same numbers.
    for where in (20, 150):
        checkpoint = Checkpoint(tmp_path / str(where), every=where, unit="steps")
        run(where, checkpoint=checkpoint)
        same(run(checkpoint=checkpoint, resume=True), found)


def test_without_a_compiler_it_goes_on_as_before(early, monkeypatch):
    def fails(*given, **options):
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.warns(RuntimeWarning, match="torch.compile failed, steps are not compiled: RuntimeError: no C"):
        found = run(120)
    with monkeypatch.context() as patched:
        patched.setattr("tnrank.training._loop._EAGER", 10**9)
        same(found, run(120))


def test_large_runs_are_not_compiled(early, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda *given, **options: pytest.fail("compiled"))
    starts = [tnrank.CPFactorization.random((8, 8, 8), rank=8, std=0.1, seed=k, backend="torch") for k in range(2)]
    found = tnrank.complete(starts, np.argwhere(np.ones((8, 8, 8))), np.ones(512), steps=60)
    assert [one.steps for one in found] == [60, 60]
