"""Completion of a low-rank tensor: small initial weights make gradient descent prefer low rank."""

from __future__ import annotations

import numpy as np

import tnrank
from tnrank.data import low_rank_tensor, observe
from tnrank.training import recorders

target = low_rank_tensor((10, 10, 10), rank=3, seed=2)
indices, values = observe(target, count=500, seed=0)
print(f"{len(values)} of {target.size} entries observed; the target has rank 3, the model 100 components")

backend = "jax" if "jax" in tnrank.available_backends() else "numpy"
errors = {}
for std in (1e-3, 0.3):
    start = tnrank.CPFactorization.random((10, 10, 10), 100, std=std, seed=0, backend=backend)
    result = tnrank.complete(
        start,
        indices,
        values,
        loss=tnrank.SquaredLoss(),
        optimizer=tnrank.GroupRMSProp(1e-2),
        steps=8000,
        stop=tnrank.Stop(loss=1e-5),
        record=[recorders.ComponentNorms(top=6, every=25), recorders.Error(target, every=25)],
    )
    print(f"\ninitial standard deviation {std}: {result.message}, {result.steps} steps")
    trace = result.history["component_norms"]
    for k in np.linspace(0, len(trace) - 1, 9).astype(int):
        norms = "".join(f"{norm:8.2f}" for norm in trace.values[k])
        print(f"  step {trace.steps[k]:5}, largest component norms {norms}")
    errors[std] = float(result.history["error"].values[-1])
    print(f"  relative error over all entries, observed or not: {errors[std]:.4f}")
    assert result.status == "converged"

# Both fit what was observed. Only the small start finds the rest, with as many components as the target has.
assert errors[1e-3] < 0.02 < 0.2 < errors[0.3]
