"""Recorded runs of the published implementation, reproduced step by step in float64 (tests/data/*.npz)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tnrank
from tnrank.training import recorders

DATA = Path(__file__).parents[1] / "data"
RUNS = ("mf_d3", "tf_o3", "htf_o4", "mf22_d3_sgd", "mf22_d2_sgd")
STEPS = 600
RTOL = 1e-9


@cache
def recorded(name: str) -> SimpleNamespace:
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as stored:
        fields = {key: stored[key] for key in stored.files}
    return SimpleNamespace(**fields, fields=fields, spec=json.loads(str(fields["spec_json"])))


def factorization(run: SimpleNamespace, moment: str) -> tnrank.Factorization:
    def arrays(prefix):
        keys = [key for key in run.fields if key.startswith(f"{moment}__{prefix}")]
        return [run.fields[key] for key in sorted(keys, key=lambda key: key.split(".")[1:])]

    if run.spec["kind"] == "tf":
        return tnrank.CPFactorization(arrays("factors"))
    if run.spec["kind"] == "htf":
        keys = ((0,), (1,), (2,), (3,), (0, 1), (2, 3))
        hidden = dict(zip(keys, arrays("per_hidden_layer"), strict=True))
        root = run.fields[f"{moment}__output_layer_parameters"]
        return tnrank.HierarchicalFactorization(((0, 1), (2, 3)), {**hidden, (0, 1, 2, 3): root})
    return tnrank.MatrixFactorization(arrays("layers"))


def settings(run: SimpleNamespace) -> dict:
    if run.spec["kind"] == "mf22":
        loss = tnrank.SquaredLoss(reduction="half_sum")
        return {"loss": loss, "optimizer": tnrank.GradientDescent(run.spec["lr"])}
    return {"loss": tnrank.SquaredLoss(), "optimizer": tnrank.GroupRMSProp(1e-2)}


def metrics(run: SimpleNamespace) -> list[recorders.Recorder]:
    """Recorders that are due when the recorded run measured."""
    every = run.spec["rec"]
    found = [recorders.Error(run.target, every=every)]
    if run.spec["kind"] != "tf":
        found.append(recorders.SingularValues(top=None, every=every))
    if run.spec["kind"] in ("tf", "htf"):
        found.append(recorders.ComponentNorms(top=10, every=every))
    if run.spec["kind"] in ("mf", "mf22"):
        found.append(recorders.Function("end", lambda x: x.to_dense(), every=every))
    return found


def effective_ranks(s: np.ndarray) -> np.ndarray:
    p = s / s.sum(axis=-1, keepdims=True)
    return np.exp(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def measured(run: SimpleNamespace, result: tnrank.CompletionResult) -> dict[str, np.ndarray]:
    """What the run's m__ fields hold, from our history."""
    history = {name: trace.values for name, trace in result.history.items()}
    found = {"norm_rec_err": history["error"]}
    if run.spec["kind"] == "tf":
        found["top_comp_norms"] = history["component_norms"]
    elif run.spec["kind"] == "htf":
        for modes, s in history["singular_values"].items():
            name = "_".join(map(str, modes))
            found |= {f"mat_sing_vals__{name}": s[:, :10], f"mat_eff_rank__{name}": effective_ranks(s)}
        norms = {node.modes: values for node, values in history["component_norms"].items()}
        for level, positions, modes in ((0, "0_1", (0, 1)), (0, "2_3", (2, 3)), (1, "0_1", (0, 1, 2, 3))):
            found[f"top_local_comp_norms__l_{level}_f_{positions}"] = norms[modes]
    else:
        end = history["end"]
        s = np.linalg.svd(end, compute_uv=False)
        found |= {"sing_vals": history["singular_values"][:, :10], "eff_rank": effective_ranks(s)}
        found |= {"fro": np.sqrt((end**2).sum(axis=(1, 2))), "nuc": s.sum(axis=1)}
        if run.spec["kind"] == "mf22":
            found |= {
                "entry00": end[:, 0, 0],
                "det": end[:, 0, 0] * end[:, 1, 1] - end[:, 0, 1] * end[:, 1, 0],
            }
    return {name: values for name, values in found.items() if f"m__{name}" in run.fields}


def assert_follows(got: np.ndarray, wanted: np.ndarray, rtol: float, what: str) -> None:
    """Equal up to ``rtol`` of each row's largest entry: small singular values carry the rounding of the largest."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, what
    scale = abs(wanted).reshape(len(wanted), -1).max(axis=1)
    error = abs(got - wanted).reshape(len(wanted), -1).max(axis=1)
    worst = int(np.argmax(error / scale))
    assert (error <= rtol * scale).all(), f"{what} at row {worst}: off by {error[worst] / scale[worst]:.1e}"


@pytest.mark.few_on_jax("htf_o4", "mf_d3")
@pytest.mark.parametrize("name", RUNS)
def test_first_steps(backend_name, name):
    run = recorded(name)
    x = factorization(run, "init").to(backend_name)
    assert x.dtype == "float64"
    np.testing.assert_allclose(x.backend.to_numpy(x.to_dense()), run.e2e_init, rtol=1e-13, atol=1e-15)
    every = [recorders.Loss(every=1), recorders.LearningRate(every=1)]
    result = tnrank.complete(x, run.obs_idx, run.obs_y, steps=STEPS, record=[*every, *metrics(run)], **settings(run))
    assert (result.status, result.steps) == ("steps", STEPS)
    losses, rates = result.history["loss"], result.history["learning_rate"]
    np.testing.assert_array_equal(losses.steps, np.arange(STEPS + 1))
    np.testing.assert_allclose(losses.values, run.loss[: STEPS + 1], rtol=RTOL)
    if len(run.adjusted_lr):
        # The rate seen after update t + 1 is the one that update used.
        np.testing.assert_allclose(rates.values[1:], run.adjusted_lr[:STEPS], rtol=RTOL)
        assert rates.values[0] == 0
    rows = run.rec_steps <= STEPS
    compared = measured(run, result)
    assert set(compared) == {key[3:] for key in run.fields if key.startswith("m__")}
    for key, values in compared.items():
        assert_follows(values, run.fields[f"m__{key}"][rows], RTOL, key)
    np.testing.assert_array_equal(result.history["error"].steps, run.rec_steps[rows])


@pytest.mark.parametrize(("name", "unobserved"), [("mf22_d3_sgd", 12.4), ("mf22_d2_sgd", -2.55)])
def test_whole_run(name, unobserved):
    """Plain gradient descent does not amplify rounding: the weights at the end are the recorded ones."""
    pytest.importorskip("jax")
    run = recorded(name)
    x = factorization(run, "init").to("jax")
    steps = run.spec["steps"]
    every = [recorders.Loss(every=1)]
    result = tnrank.complete(x, run.obs_idx, run.obs_y, steps=steps, record=every, **settings(run))
    until = int(np.argmax(run.loss < 1e-6 * run.loss[0])) or steps
    np.testing.assert_allclose(result.history["loss"].values[:until], run.loss[:until], rtol=1e-6)
    for got, wanted in zip(result.factorization.layers, factorization(run, "final").layers, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    end = np.asarray(result.factorization.to_dense())
    np.testing.assert_allclose(end[0, 0], run.e2e_final[0, 0], rtol=1e-6)
    # At depth 3 the unobserved entry grows; at depth 2, unbalanced, the determinant loses its sign.
    np.testing.assert_allclose(end[0, 0], unobserved, rtol=1e-2)
