"""What a run records that ends before the others of its batch."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.training import recorders

TARGET = np.einsum("ar,br,cr->abc", *(np.random.default_rng(k).standard_normal((4, 2)) for k in range(3)))
INDICES = np.argwhere(np.random.default_rng(5).random(TARGET.shape) < 0.7)
VALUES = TARGET[tuple(INDICES.T)]


@pytest.mark.few_on_jax("optimizer0")
@pytest.mark.parametrize("optimizer", [tnrank.GroupRMSProp(), tnrank.Adam(0.02), tnrank.GradientDescent(0.1, 0.9)])
def test_it_ends_with_the_rate_and_time_of_its_own_last_update(backend_name, optimizer):
    starts = [
        tnrank.CPFactorization.random((4, 4, 4), rank=5, std=std, seed=1, backend=backend_name, dtype="float64")
        for std in (0.5, 0.4)
    ]
    record = [recorders.LearningRate(every=7), recorders.EffectiveTime(every=7), recorders.Error(TARGET, every=7)]
    options = {"optimizer": optimizer, "steps": 800, "stop": 0.05, "record": record}
    together = tnrank.complete(starts, INDICES, VALUES, **options)
    assert {one.status for one in together} == {"converged"}
    assert together[0].steps != together[1].steps
    for x, one in zip(starts, together, strict=True):
        alone = tnrank.complete(x, INDICES, VALUES, **options)
        assert one.steps == alone.steps
        for name, trace in alone.history.items():
            np.testing.assert_array_equal(one.history[name].steps, trace.steps)
            np.testing.assert_allclose(one.history[name].values, trace.values, rtol=1e-10)
