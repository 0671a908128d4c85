"""What counts as a proof: rational witnesses, real ones that exist, and certificates that say which is which."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnrank import CPFactorization, tensor_rank
from tnrank.ranks import Certificate, TensorRank
from tnrank.ranks._certified import _search
from tnrank.ranks._certified._exact import integers_of
from tnrank.ranks._certified._existence import exists_near

Host = np.ndarray[Any, Any]
W3 = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])


def integers(t: Host) -> Host:
    found = integers_of(t)
    assert found is not None
    return found[0]


@cache
def rank_of_w() -> TensorRank:
    return tensor_rank(W3)


def from_file(certificate: Certificate) -> Certificate:
    return Certificate(json.loads(json.dumps(certificate.content)))


def random_integers(seed: int) -> Host:
    return np.random.default_rng(seed).integers(-2, 3, (3, 3, 3))


@cache
def rank_of_random_integers(seed: int) -> TensorRank:
    return tensor_rank(random_integers(seed))


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed in (1, 6) else pytest.mark.nightly) for seed in range(8)]
)
def test_random_integer_tensors_of_generic_rank_are_proven(seed: int) -> None:
    # 3 x 3 x 3 tensors have the generic rank 5 (Strassen 1983).
    found = rank_of_random_integers(seed)
    assert (found.lower, found.upper) == (5, 5)
    assert found.exact
    assert found.upper_proof in ("rational", "real")
    assert "tensor rank 5 over the reals, proven" in str(found)
    again = from_file(found.certificate)
    assert again.exact
    assert again.verify()


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(k, marks=pytest.mark.nightly) for k in range(10, 20))])
def test_existence_follows_the_hyperdeterminant(seed: int) -> None:
    # 2 x 2 x 2: rank 2 over the reals if Cayley's hyperdeterminant is positive, 3 if it is negative.
    t = np.random.default_rng(seed).integers(-4, 5, (2, 2, 2))
    a, b = t[..., 0], t[..., 1]
    minors = [round(float(np.linalg.det(m))) for m in (a + b, a, b)]
    cayley = (minors[0] - minors[1] - minors[2]) ** 2 - 4 * minors[1] * minors[2]
    if not cayley:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # components diverge where the rank is 3
        fit = CPFactorization.from_dense(t.astype(float), rank=2)
    assert exists_near(integers(t), [np.asarray(f) for f in fit.factors]) == (cayley > 0)


@pytest.mark.parametrize("tensors", [(1, 6), pytest.param(range(999), marks=pytest.mark.nightly)])
def test_existence_never_claims_less_than_a_proven_lower_bound(tensors: Sequence[int]) -> None:
    @settings(max_examples=10)
    @given(st.sampled_from(tensors), st.integers(0, 999), st.floats(1e-12, 10.0))
    def law(tensor: int, seed: int, noise: float) -> None:
        t, found, rng = random_integers(tensor), rank_of_random_integers(tensor), np.random.default_rng(seed)
        factors = [np.asarray(f) for f in found.witness.factors]
        factors = [f + noise * rng.standard_normal(f.shape) for f in factors]
        for rank in range(1, found.lower):
            assert not exists_near(integers(t), [f[:, :rank] for f in factors])

    law()


def test_existence_needs_a_point_near_a_solution_and_knows_no_scale() -> None:
    root = np.array([[1.0, 1.0], [2**0.5, -(2**0.5)]])
    t = np.rint(2 * np.einsum("ir,jr,kr->ijk", root, root, root)).astype(int)
    assert tensor_rank(t).exact
    for scale in (1, 7, 2**30):
        assert exists_near(integers(t) * scale, [root, root, root])
        assert exists_near(integers(t) * scale, [-1e3 * root, 1e-3 * root, root])
    off = [root + 0.3, root, root]
    assert not exists_near(integers(t), off)
    assert not exists_near(integers(t), [root.astype(complex)] * 3)
    # W is the limit of tensors of rank 2 and has rank 3: close is not enough.
    e = 1e-4
    near = np.array([[1.0, 1.0], [e, 0.0]])
    factors = [near, near, near * np.array([1 / e, -1 / e])]
    np.testing.assert_allclose(np.einsum("ir,jr,kr->ijk", *factors), W3, atol=2 * e)
    assert not exists_near(integers(W3), factors)


def test_existence_on_the_concise_part_of_a_larger_tensor() -> None:
    rng = np.random.default_rng(1)
    small = rng.integers(-2, 3, (3, 3, 3))
    bases = [rng.integers(-1, 2, (d, 3)) for d in (5, 4, 6)]
    t = np.einsum("abc,ia,jb,kc->ijk", small, *bases)
    found = tensor_rank(t)
    assert found.exact
    assert found.upper == 5


def test_a_true_verify_is_no_proof_of_floats(tmp_path: Any) -> None:
    found = tensor_rank(np.random.default_rng(0).random((2, 2, 2)))
    found.certificate.save(tmp_path / "c.json")
    certificate = Certificate.load(tmp_path / "c.json")
    assert certificate.verify()
    assert not certificate.exact
    assert {bound.status for bound in certificate.checked()} == {"numerical"}
    assert "to rounding: no bound is a proof, the witness has residual" in str(certificate)
    assert "{" not in repr(certificate)


def test_a_numerical_upper_bound_is_named_in_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_search, "_ATTEMPTS", 1)  # at a rational witness, which there is none of: a second each
    complex_product = np.array([[[1, 0], [0, 1]], [[0, 1], [-1, 0]]])
    found = tensor_rank(complex_product, field="complex")
    assert not found.exact
    assert (found.lower, found.upper) == (2, 2)  # 3 over the reals
    assert np.iscomplexobj(found.witness.to_dense())
    assert found.certificate.verify()
    said = "lower bound proven; no rational witness was found, the upper bound is numerical (residual"
    for text in (str(found), str(found.certificate)):
        assert said in text.splitlines()[0]
    assert [b.status for b in found.certificate.checked()] == ["proven"] * (len(found.bounds)) + ["numerical"]
    assert not from_file(found.certificate).exact
    assert "tensor_rank(x, seed=1)" in str(found)


def test_exact_is_worked_out_and_not_read() -> None:
    good = rank_of_w().certificate
    assert good.exact
    assert str(good).splitlines()[0] == "certificate: tensor rank 3 over the reals, proven"
    floats = copy.deepcopy(tensor_rank(np.random.default_rng(0).random((2, 2, 2))).certificate.content)
    floats["exact"] = True
    for bound in floats["bounds"]:
        bound["exact"] = True
    assert not Certificate(floats).exact
    false = copy.deepcopy(good.content)
    false["witness"]["factors"][0][0] = "7/3"
    assert not Certificate(false).exact
    assert Certificate(false).checked()[-1].status == "fails"
    assert "does not hold" in str(Certificate(false))
    assert "the rational witness is not the tensor" in str(Certificate(false))
    modest = copy.deepcopy(good.content)
    for bound in modest["bounds"]:
        bound["exact"] = False
    assert Certificate(modest).exact
    damaged = Certificate({"format": "none"})
    assert damaged.checked() == ()
    assert not damaged.exact
    assert "damaged" in str(damaged)


@pytest.mark.parametrize("t", [W3, np.zeros((2, 2, 2)), np.ones((2, 3)), np.eye(3), W3 * 0.1], ids=range(5))
def test_certificates_and_results_agree(t: Host) -> None:
    found = rank_of_w() if t is W3 else tensor_rank(t)
    assert found.certificate.exact == found.exact
    assert bool(found.upper_proof) == (found.certificate.checked()[-1].status == "proven")
    table = [line for line in str(found).splitlines() if "proven" in line or "numerical" in line][1:]
    assert all(line in str(found.certificate) for line in table)
