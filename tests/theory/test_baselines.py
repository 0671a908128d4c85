"""Minimum-norm solutions against cvxpy, linear programs, closed forms and their own certificates."""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.data import low_rank_tensor, observe
from tnrank.theory import (
    minimum_nuclear_norm,
    minimum_nuclear_norm_sensing,
    minimum_schatten,
    zero_fill,
)

needs_cvxpy = pytest.mark.skipif(not find_spec("cvxpy"), reason='cvxpy is not installed: pip install "tnrank[convex]"')

TWO_BY_TWO = ((2, 2), [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.0])


def schatten(W, p):
    return float((np.linalg.svd(W, compute_uv=False) ** p).sum() ** (1 / p))


def random_completion(seed, shape, rank, share):
    rng = np.random.default_rng(seed)
    target = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    mask = rng.random(shape) < share
    mask[0, 0] = True
    return target, np.argwhere(mask), target[mask]


def commuting_measurements(seed, count, size, rank):
    """Simultaneously diagonal measurements of a psd matrix: their minimal trace is a linear program."""
    rng = np.random.default_rng(seed)
    rows = rng.random((count, size))
    eigenvalues = np.zeros(size)
    eigenvalues[:rank] = rng.random(rank) + 0.5
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return Q, rows, np.einsum("ia,na,ja->nij", Q, rows, Q), rows @ eigenvalues


# zero fill


@pytest.mark.few_on_jax("shape2")
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4, 2)])
def test_zero_fill_has_the_entries_and_nothing_else(backend_name, shape):
    target = low_rank_tensor(shape, rank=1, seed=0)
    indices, values = observe(target, count=max(2, target.size // 2), seed=0)
    backend = tnrank.get_backend(backend_name)
    # an entry may come twice with the same value
    indices, values = np.concatenate([indices, indices[:1]]), np.concatenate([values, values[:1]])
    filled = zero_fill(shape, indices, backend.asarray(values))
    assert tnrank.backend_of(filled) is backend
    expected = np.zeros(shape)
    expected[tuple(indices.T)] = values
    np.testing.assert_array_equal(backend.to_numpy(filled), expected)


# nuclear norm


@needs_cvxpy
@pytest.mark.parametrize("seed", range(6))
def test_nuclear_norm_completion_agrees_with_cvxpy(seed):
    shape = ((5, 5), (4, 7), (8, 6))[seed % 3]
    _, indices, values = random_completion(seed, shape, rank=(1, 4)[seed % 2], share=0.6)
    own = minimum_nuclear_norm(shape, indices, values)
    assert own.status == "converged"
    theirs = minimum_nuclear_norm(shape, indices, values, solver="cvxpy")
    assert abs(own.objective - theirs.objective) < 1e-6 * own.objective
    # each bound holds for the other's matrix
    assert theirs.objective >= own.objective - own.gap - 1e-12
    assert own.objective >= theirs.objective - theirs.gap - 1e-12
    assert 0 <= theirs.gap + 1e-12 < 1e-6 * own.objective


@needs_cvxpy
def test_the_problem_written_anew_in_cvxpy_has_the_same_solution():
    import cvxpy

    target, indices, values = random_completion(3, (8, 8), rank=1, share=0.7)
    W = cvxpy.Variable((8, 8))
    observed = [W[int(i), int(j)] == float(v) for (i, j), v in zip(indices, values, strict=True)]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(W)), observed).solve(solver="SCS", eps=1e-9, max_iters=100_000)
    own = minimum_nuclear_norm((8, 8), indices, values)
    np.testing.assert_allclose(own.matrix, W.value, atol=1e-6)
    np.testing.assert_allclose(own.matrix, target, atol=1e-6)


@needs_cvxpy
@pytest.mark.parametrize("psd", [False, True])
def test_nuclear_norm_sensing_agrees_with_cvxpy(psd):
    rng = np.random.default_rng(5)
    factor = rng.standard_normal((6, 2))
    matrices = rng.standard_normal((14, 6, 6))
    values = np.einsum("nij,ij->n", matrices, factor @ factor.T)
    own = minimum_nuclear_norm_sensing(matrices, values, psd=psd)
    theirs = minimum_nuclear_norm_sensing(matrices, values, psd=psd, solver="cvxpy")
    assert own.status == "converged"
    np.testing.assert_allclose(np.einsum("nij,ij->n", matrices, own.matrix), values, atol=1e-11)
    assert abs(own.objective - theirs.objective) < 1e-6 * own.objective
    np.testing.assert_allclose(own.matrix, theirs.matrix, atol=1e-6 * 10 * own.objective)


@pytest.mark.parametrize(("size", "rank", "share"), [(30, 1, 0.5), (40, 2, 0.5), (64, 3, 0.5)])
def test_well_sampled_matrices_of_low_rank_are_recovered(size, rank, share):
    target, indices, values = random_completion(size, (size, size), rank, share)
    found = minimum_nuclear_norm((size, size), indices, values)
    assert found.status == "converged"
    np.testing.assert_allclose(found.matrix, target, atol=1e-6 * np.abs(target).max())


def test_a_matrix_that_is_not_recovered_has_smaller_norm_than_the_target():
    target, indices, values = random_completion(0, (30, 30), rank=5, share=0.3)
    found = minimum_nuclear_norm((30, 30), indices, values)
    assert found.status == "converged"
    assert found.objective < 0.9 * np.linalg.norm(target, "nuc")
    assert np.linalg.matrix_rank(found.matrix, tol=1e-6) > 5


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6), st.floats(0.2, 1.0))
def test_certificates_hold(seed, m, k, share):
    target, indices, values = random_completion(seed, (m, k), rank=6, share=share)
    found = minimum_nuclear_norm((m, k), indices, values)
    assert found.status == "converged"
    assert found.objective == pytest.approx(np.linalg.norm(found.matrix, "nuc"), rel=1e-12)
    np.testing.assert_array_equal(found.matrix[tuple(indices.T)], values)
    # weak duality, with any other matrix that fits
    for other in (target, zero_fill((m, k), indices, values)):
        assert found.objective - found.gap <= np.linalg.norm(other, "nuc") * (1 + 1e-12)


def test_closed_forms():
    _, indices, values = random_completion(1, (4, 6), rank=6, share=1.1)
    full = minimum_nuclear_norm((4, 6), indices, values)
    assert full.status == "converged"
    np.testing.assert_array_equal(full.matrix.ravel(), values)
    # the trace of the signs times W is at most the nuclear norm of W
    diagonal = minimum_nuclear_norm((3, 3), [[0, 0], [1, 1], [2, 2]], [1.0, -2.0, 3.0])
    assert diagonal.objective == pytest.approx(6, rel=1e-9)
    # rows and columns without observations stay zero
    row = minimum_nuclear_norm((3, 4), [[1, 0], [1, 2]], [3.0, 4.0])
    np.testing.assert_allclose(row.matrix, [[0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]], atol=1e-8)
    assert row.objective == pytest.approx(5, rel=1e-9)
    zero = minimum_nuclear_norm((2, 3), [[0, 0]], [0.0])
    assert (zero.status, zero.objective, zero.iterations) == ("converged", 0.0, 0)
    # one measurement: the least norm is |y| over the spectral norm of the measurement matrix
    A = np.random.default_rng(0).standard_normal((1, 3, 5))
    sensed = minimum_nuclear_norm_sensing(A, [2.0])
    assert sensed.objective == pytest.approx(2 / np.linalg.norm(A[0], 2), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_solutions_scale_with_the_values(scale):
    _, indices, values = random_completion(2, (7, 5), rank=2, share=0.6)
    one = minimum_nuclear_norm((7, 5), indices, values)
    other = minimum_nuclear_norm((7, 5), indices, scale * values)
    assert other.iterations == one.iterations
    np.testing.assert_allclose(other.matrix / scale, one.matrix, atol=1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_commuting_measurements_are_a_linear_program(seed):
    Q, rows, matrices, values = commuting_measurements(seed, count=(8, 5)[seed % 2], size=(20, 10)[seed % 2], rank=3)
    program = scipy.optimize.linprog(np.ones(rows.shape[1]), A_eq=rows, b_eq=values)
    found = minimum_nuclear_norm_sensing(matrices, values, psd=True)
    assert found.status == "converged"
    assert found.objective == pytest.approx(program.fun, rel=1e-8)
    np.testing.assert_allclose(found.matrix, Q @ np.diag(program.x) @ Q.T, atol=1e-6)


def test_psd_completion_counts_entries_with_their_mirror_images():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((20, 2))
    target = factor @ factor.T
    upper = np.triu(rng.random((20, 20)) < 0.4)
    found = minimum_nuclear_norm((20, 20), np.argwhere(upper), target[upper], psd=True)
    assert found.status == "converged"
    np.testing.assert_allclose(found.matrix, target, atol=1e-5)
    np.testing.assert_allclose(found.matrix, found.matrix.T, atol=1e-12)
    assert found.residual <= 1e-9 * np.linalg.norm(target, 2)


@pytest.mark.parametrize("size", [3, 5])
def test_observations_come_from_any_backend(backend_name, size):
    _, indices, values = random_completion(size, (size, size), rank=1, share=0.8)
    backend = tnrank.get_backend(backend_name)
    given = (size, size), backend.asarray(indices), backend.asarray(values)
    own = minimum_nuclear_norm((size, size), indices, values)
    np.testing.assert_array_equal(minimum_nuclear_norm(*given).matrix, own.matrix)
    np.testing.assert_array_equal(
        minimum_schatten(*given, 0.5).matrix, minimum_schatten((size, size), indices, values, 0.5).matrix
    )


@needs_cvxpy
def test_cvxpy_completes_psd_matrices_and_finds_out_where_there_are_none():
    assert minimum_nuclear_norm((2, 2), [[0, 0]], [-1.0], psd=True, solver="cvxpy").status == "infeasible"
    given = (2, 2), [[0, 0], [0, 1]], [1.0, 2.0]
    found = minimum_nuclear_norm(*given, psd=True, solver="cvxpy", rtol=1e-6)
    assert found.status == "converged"
    assert found.objective == pytest.approx(5, rel=1e-6)
    assert minimum_nuclear_norm(*given, psd=True).objective == pytest.approx(5, rel=1e-8)


def test_problems_without_a_psd_solution_are_found_out():
    assert minimum_nuclear_norm((2, 2), [[0, 0]], [-1.0], psd=True).status == "infeasible"
    indefinite = minimum_nuclear_norm((2, 2), [[0, 0], [0, 1], [1, 1]], [1.0, 2.0, 1.0], psd=True)
    assert indefinite.status == "infeasible"
    assert indefinite.gap == np.inf
    # only in the limit of an infinite trace: never claimed to be solved
    assert (
        minimum_nuclear_norm((2, 2), [[0, 0], [0, 1]], [0.0, 1.0], psd=True, max_iterations=500).status != "converged"
    )


def test_a_small_budget_is_reported():
    _, indices, values = random_completion(0, (20, 20), rank=3, share=0.4)
    found = minimum_nuclear_norm((20, 20), indices, values, max_iterations=3)
    assert (found.status, found.iterations) == ("iterations", 3)
    assert "asked for 1.0e-09" in repr(found)
    assert found.gap > 0
    np.testing.assert_array_equal(found.matrix[tuple(indices.T)], values)
    best = minimum_nuclear_norm((20, 20), indices, values)
    assert found.objective - found.gap <= best.objective <= found.objective
    with pytest.raises(dataclasses.FrozenInstanceError):
        best.status = "other"


# Schatten norms


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9, 1.0, 1.3, 1.7, 2.0])
def test_every_schatten_norm_leaves_the_two_by_two_entry_zero(p):
    found = minimum_schatten(*TWO_BY_TWO, p)
    assert found.status == "converged"
    assert abs(found.matrix[0, 0]) < 1e-6
    assert found.objective == pytest.approx(2 ** (1 / p), rel=1e-9)
    assert abs(minimum_nuclear_norm(*TWO_BY_TWO).matrix[0, 0]) < 1e-6


@pytest.mark.parametrize("p", [0.3, 0.5, 0.9, 1.0, 1.3, 1.7])
def test_perturbed_two_by_two_against_a_scan_of_the_missing_entry(p):
    def norm(entry):
        return schatten(np.array([[entry, -2.0], [0.5, 0.05]]), p)

    grid = np.linspace(-30, 5, 7001)
    near = grid[np.argmin([norm(entry) for entry in grid])]
    best = scipy.optimize.minimize_scalar(norm, bounds=(near - 0.01, near + 0.01), method="bounded")
    found = minimum_schatten((2, 2), [[0, 1], [1, 0], [1, 1]], [-2.0, 0.5, 0.05], p)
    assert found.status == "converged"
    if p >= 1:
        assert found.objective <= best.fun * (1 + 1e-5)
    else:
        # a stationary point: no better entry nearby
        entry = found.matrix[0, 0]
        assert found.objective <= min(norm(entry - 1e-3), norm(entry + 1e-3))


@pytest.mark.parametrize(("shape", "rank", "share"), [((20, 30), 2, 0.5), ((40, 40), 2, 0.5)])
def test_schatten_one_is_the_nuclear_norm(shape, rank, share):
    _, indices, values = random_completion(0, shape, rank, share)
    convex = minimum_nuclear_norm(shape, indices, values)
    found = minimum_schatten(shape, indices, values, 1)
    assert found.status == "converged"
    assert np.linalg.norm(found.matrix - convex.matrix) < 1e-4 * np.linalg.norm(convex.matrix)
    assert abs(found.objective - convex.objective) < 1e-5 * convex.objective
    assert found.objective - found.gap <= convex.objective


@pytest.mark.parametrize("shape", [(3, 3), (4, 6), (6, 4)])
def test_schatten_one_has_the_nuclear_norm_where_nothing_is_recovered(shape):
    _, indices, values = random_completion(7, shape, rank=3, share=0.5)
    convex = minimum_nuclear_norm(shape, indices, values)
    found = minimum_schatten(shape, indices, values, 1, rtol=1e-6)
    assert found.status == "converged"
    assert abs(found.objective - convex.objective) < 1e-6 * convex.objective


def test_schatten_two_is_the_zero_fill():
    _, indices, values = random_completion(4, (5, 8), rank=3, share=0.6)
    found = minimum_schatten((5, 8), indices, values, 2)
    np.testing.assert_allclose(found.matrix, zero_fill((5, 8), indices, values), atol=1e-13)
    assert found.iterations == 1


@pytest.mark.parametrize("p", [1.25, 1.5])
def test_schatten_norms_above_one_are_those_of_a_descent_method(p):
    """Smooth in the unobserved entries: by SciPy's BFGS."""
    _, indices, values = random_completion(9, (4, 5), rank=3, share=0.6)
    W = zero_fill((4, 5), indices, values)
    free = np.ones((4, 5), bool)
    free[tuple(indices.T)] = False

    def objective(x):
        W[free] = x
        U, s, Vh = np.linalg.svd(W, full_matrices=False)
        return (s**p).sum(), (p * (U * s ** (p - 1)) @ Vh)[free]

    best = scipy.optimize.minimize(objective, np.zeros(free.sum()), jac=True, method="BFGS", options={"gtol": 1e-10})
    found = minimum_schatten((4, 5), indices, values, p, rtol=1e-12)
    assert found.status == "converged"
    assert found.objective == pytest.approx(best.fun ** (1 / p), rel=1e-11)
    np.testing.assert_allclose(found.matrix[free], best.x, atol=1e-5)


@cache
def nuclear_norm_completion():
    _, indices, values = random_completion(0, (20, 30), rank=2, share=0.4)
    return minimum_nuclear_norm((20, 30), indices, values).matrix


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_small_p_recovers_where_the_nuclear_norm_does_not(p):
    target, indices, values = random_completion(0, (20, 30), rank=2, share=0.4)
    norm = np.linalg.norm(target)
    assert np.linalg.norm(nuclear_norm_completion() - target) > 1e-2 * norm
    found = minimum_schatten((20, 30), indices, values, p)
    assert found.status == "converged"
    assert np.isnan(found.gap)
    assert np.linalg.norm(found.matrix - target) < 1e-6 * norm
    assert found.objective == pytest.approx(schatten(found.matrix, p), rel=1e-6)


def test_schatten_reports_its_budget_and_zeros():
    _, indices, values = random_completion(0, (6, 6), rank=3, share=0.5)
    short = minimum_schatten((6, 6), indices, values, 0.5, max_iterations=2)
    assert (short.status, short.iterations) == ("iterations", 2)
    assert repr(short).startswith("SchattenResult(iterations: relative change")
    zero = minimum_schatten((2, 3), [[0, 0]], [0.0], 1)
    assert (zero.status, zero.objective) == ("converged", 0.0)


# bad input


@pytest.mark.parametrize("method", [zero_fill, minimum_nuclear_norm, lambda *given: minimum_schatten(*given, 1)])
@pytest.mark.parametrize(
    ("indices", "values", "error", "words"),
    [
        ([[0, 0], [0, 0]], [1.0, 2.0], ValueError, r"entry \(0, 0\) is observed twice with different values: 1 at"),
        ([[0, 3]], [1.0], ValueError, "out of range for mode 1 of dimension 3"),
        ([[-1, 0]], [1.0], ValueError, "out of range"),
        ([[0, 0]], [np.nan], ValueError, "1 of 1 values are NaN or infinite, the first at position 0"),
        ([[0, 0]], [1.0, 2.0], ValueError, r"values of shape \(2,\) for 1 observations"),
        ([], [], ValueError, "no observations"),
        ([[0.5, 0.0]], [1.0], TypeError, "whole numbers"),
        ([[0, 0]], [1j], TypeError, "real numbers"),
        ([[0, 0, 0]], [1.0], ValueError, r"shape \(M, 2\)"),
    ],
)
def test_bad_observations(method, indices, values, error, words):
    with pytest.raises(error, match=words):
        method((2, 3), indices, values)


@pytest.mark.parametrize("p", [0, -1, 2.01, np.inf, np.nan])
def test_p_out_of_range(p):
    with pytest.raises(ValueError, match=r"p lies in \(0, 2\]"):
        minimum_schatten(*TWO_BY_TWO, p)


def test_other_bad_input():
    with pytest.raises(TypeError, match="p is a number"):
        minimum_schatten(*TWO_BY_TWO, "1")
    with pytest.raises(ValueError, match=r"needed a matrix's.*zero_fill"):
        minimum_nuclear_norm((2, 2, 2), [[0, 0, 0]], [1.0])
    with pytest.raises(ValueError, match="at least 1"):
        zero_fill((2, 0), [[0, 0]], [1.0])
    with pytest.raises(TypeError, match="whole numbers"):
        zero_fill((2.5, 2), [[0, 0]], [1.0])
    with pytest.raises(ValueError, match="unknown solver 'scs'"):
        minimum_nuclear_norm(*TWO_BY_TWO, solver="scs")
    with pytest.raises(ValueError, match="are square"):
        minimum_nuclear_norm((2, 3), [[0, 0]], [1.0], psd=True)
    with pytest.raises(ValueError, match=r"\(0, 1\) is observed twice .*mirror image.*: 1 at position 0, 2 at 1"):
        minimum_nuclear_norm((2, 2), [[0, 1], [1, 0]], [1.0, 2.0], psd=True)
    with pytest.raises(ValueError, match="rtol"):
        minimum_nuclear_norm(*TWO_BY_TWO, rtol=0)
    with pytest.raises(ValueError, match="max_iterations"):
        minimum_schatten(*TWO_BY_TWO, 1, max_iterations=0)
    with pytest.raises(ValueError, match="no matrix has these measurements"):
        minimum_nuclear_norm_sensing(np.ones((2, 2, 2)), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(n, m, k\)"):
        minimum_nuclear_norm_sensing(np.ones((2, 2)), [1.0, 2.0])
    with pytest.raises(ValueError, match="for 1 measurements"):
        minimum_nuclear_norm_sensing(np.ones((1, 2, 2)), [1.0, 2.0])
    with pytest.raises(ValueError, match="nothing is measured"):
        minimum_nuclear_norm_sensing(np.zeros((1, 2, 2)), [0.0])


def test_without_cvxpy_the_command_is_given(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"pip install \"tnrank\[convex\]\""):
        minimum_nuclear_norm(*TWO_BY_TWO, solver="cvxpy")
