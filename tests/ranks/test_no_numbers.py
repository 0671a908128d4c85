"""NaN and infinite entries never become a plausible number: they raise, and stay NaN where nothing can raise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import linalg, ranks

WRONG = [np.nan, np.inf, -np.inf]

OF_MATRICES: dict[str, Callable[[Any], Any]] = {
    "effective_rank": ranks.effective_rank,
    "stable_rank": ranks.stable_rank,
    "participation_ratio": ranks.participation_ratio,
    "spectral_entropy": ranks.spectral_entropy,
    "nuclear_norm": ranks.nuclear_norm,
    "ky_fan_norm": lambda m: ranks.ky_fan_norm(m, 1),
    "condition_number": ranks.condition_number,
    **{f"schatten_norm {p}": lambda m, p=p: ranks.schatten_norm(m, p) for p in (0.5, 1, 2, 3, np.inf)},
    **{f"distance_to_rank {r}": lambda m, r=r: ranks.distance_to_rank(m, r) for r in (0, 1, 9)},
    **{f"singular_values {m}": lambda x, m=m: ranks.singular_values(x, m).sum(-1) for m in ("qr", "gram")},
    **{f"linalg {m}": lambda x, m=m: linalg.singular_values(x, m).sum(-1) for m in ("qr", "gram")},
    **{f"entropy {a}": lambda m, a=a: ranks.entanglement_entropy(m, order=a)[0] for a in (0, 0.5, 1, 2, np.inf)},
    "hierarchical": lambda m: ranks.hierarchical_singular_values(m, relative=True)[0].sum(-1),
}

OF_SPECTRA: dict[str, Callable[[Any], Any]] = {
    "effective_rank_of": ranks.effective_rank_of,
    "stable_rank_of": ranks.stable_rank_of,
    "participation_ratio_of": ranks.participation_ratio_of,
    "spectral_entropy_of": ranks.spectral_entropy_of,
    "nuclear_norm_of": ranks.nuclear_norm_of,
    "condition_number_of": ranks.condition_number_of,
    "ky_fan_norm_of": lambda s: ranks.ky_fan_norm_of(s, 1),
    **{f"schatten_norm_of {p}": lambda s, p=p: ranks.schatten_norm_of(s, p) for p in (0.5, 2, np.inf)},
    **{f"distance_to_rank_of {r}": lambda s, r=r: ranks.distance_to_rank_of(s, r) for r in (1, 9)},
    **{f"renyi_entropy_of {a}": lambda s, a=a: ranks.renyi_entropy_of(s, a) for a in (0, 0.5, 1, 2, np.inf)},
}


def matrices(wrong: float) -> np.ndarray:
    """A good matrix and one with a wrong entry."""
    found = np.stack([np.diag([3.0, 2.0, 1.0]), np.ones((3, 3))])
    found[1, 0, 1] = wrong
    return found


def spectra(wrong: float) -> np.ndarray:
    found = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    found[1, 2 if wrong == -np.inf else 0] = wrong
    return found


def everything(functions: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """All results as one array, so that they compile once."""
    return lambda x: tuple(f(x) for f in functions.values())


@cache
def compiled(given: Any, batched: bool) -> Any:
    """All functions of what ``given`` makes as one program, for all wrong numbers."""
    jax = pytest.importorskip("jax")
    fn = everything(OF_MATRICES if given is matrices else OF_SPECTRA)
    return jax.jit(jax.vmap(fn) if batched else fn)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("functions", "given", "ways"),
    [
        (OF_MATRICES, matrices, ("jax.vmap", "torch.vmap")),
        pytest.param(OF_MATRICES, matrices, ("jit",), marks=pytest.mark.slow),
        (OF_SPECTRA, spectra, ("jit", "jax.vmap", "torch.vmap")),
    ],
)
def test_traced_results_are_nan(functions: Any, given: Any, ways: tuple[str, ...], wrong: float) -> None:
    """Beside a good matrix, whose results are those of an eager call."""
    torch = pytest.importorskip("torch")
    fn, x = everything(functions), given(wrong)
    expected = [float(f(x[0])) for f in functions.values()]
    found = {
        "jit": lambda: [np.array([float(f), float(g)]) for f, g in zip(*map(compiled(given, False), x), strict=True)],
        "jax.vmap": lambda: [np.asarray(f) for f in compiled(given, True)(x)],
        "torch.vmap": lambda: [f.numpy() for f in torch.func.vmap(fn)(torch.as_tensor(x))],
    }
    for way in ways:
        for name, (good, bad), value in zip(functions, found[way](), expected, strict=True):
            assert np.isclose(good, value, atol=1e-6), (way, name)
            assert np.isnan(bad), (way, name)


OPTIONS: tuple[dict[str, float], ...] = ({}, {"rtol": 0.1}, {"atol": 0.1})
RANKS = [
    (of, given, o) for o in OPTIONS for of, given in ((ranks.matrix_rank, matrices), (ranks.numerical_rank_of, spectra))
]


@cache
def compiled_ranks() -> Any:
    """All ranks of stacks of matrices and of spectra as one program."""
    jax = pytest.importorskip("jax")
    return jax.jit(
        lambda *x: [jax.vmap(lambda a, of=of, o=o: of(a, **o))(a) for (of, _, o), a in zip(RANKS, x, strict=True)]
    )


@pytest.mark.parametrize("wrong", WRONG)
def test_integer_ranks_raise_or_are_minus_one(wrong: float) -> None:
    torch = pytest.importorskip("torch")
    by_jax = compiled_ranks()(*(given(wrong) for _, given, _ in RANKS))
    for (of, given, options), found in zip(RANKS, by_jax, strict=True):
        with pytest.raises(ValueError, match="index"):
            of(given(wrong), **options)
        batch = torch.as_tensor(given(wrong))
        by_torch = torch.func.vmap(lambda a, of=of, options=options: of(a, **options))(batch)
        np.testing.assert_array_equal(np.asarray(found), [3, -1])
        np.testing.assert_array_equal(np.asarray(by_torch), [3, -1])


def formats(seed: int = 0) -> list[Any]:
    shape = (3, 4, 5)
    return [
        tnrank.CPFactorization.random(shape, rank=2, seed=seed),
        tnrank.MatrixFactorization.random((3, 4), depth=3, seed=seed),
        tnrank.HierarchicalFactorization.random((3,) * 4, width=2, seed=seed),
        tnrank.TensorTrain.random(shape, rank=2, seed=seed),
        tnrank.TensorTrainOperator.random((3, 2), (2, 2), rank=2, seed=seed),
        tnrank.HierarchicalTucker.random((3,) * 4, rank=2, seed=seed),
        tnrank.Tucker.random(shape, rank=2, seed=seed),
        tnrank.CPFactorization.random((20, 20, 20), rank=2, seed=seed),  # by inner products
    ]


def spoiled(x: Any, wrong: float, place: int) -> Any:
    values = [np.array(a) for a in x._values]
    values[place].flat[-1] = wrong
    return x.replace(values)


@pytest.mark.parametrize("wrong", WRONG)
def test_norms_of_formats(wrong: float, backend_name: str) -> None:
    for x in formats():
        y = spoiled(x, wrong, -1).to(backend_name)
        assert np.isnan(float(y.norm())), x
        if hasattr(y, "log_norm"):
            assert np.isnan(float(y.log_norm())), x
            assert all(np.isnan(y.backend.to_numpy(s)).all() for s in y.singular_values("gram").values())
            moved = [lambda y=y: y.change_tree(y.tree.nested)] if hasattr(y, "change_tree") else []
            for call in (y.truncate, *moved):
                with pytest.raises(ValueError, match=r"index|NaN or infinite"):
                    call()
        else:
            assert np.isnan(y.unbalancedness()), x
            with pytest.raises(ValueError, match="of the array"):
                y.balance()
        with pytest.raises(ValueError, match="of the array"):
            ranks.hierarchical_rank(y)
        norms = y.component_norms()
        parts = list(norms.values()) if isinstance(norms, dict) else [norms]
        assert any(np.isnan(y.backend.to_numpy(part)).any() for part in parts), x


def test_traced_norms_of_formats() -> None:
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    given = formats()[:7]
    by_jax = given[::2]  # compiling is most of the time
    traced = jax.jit(lambda several: [z.norm() for z in several])([spoiled(x, np.nan, 0).to("jax") for x in by_jax])
    assert np.isnan(traced).all()
    for x in given:
        y = spoiled(x, np.nan, 0)
        batched = [torch.as_tensor(np.stack([a, b])) for a, b in zip(x._values, y._values, strict=True)]
        found = torch.func.vmap(lambda *arrays, x=x: x.to("torch").replace(arrays).norm())(*batched)
        assert np.isclose(float(found[0]), float(x.norm()))
        assert np.isnan(float(found[1])), x


@pytest.mark.parametrize("make", [tnrank.TensorTrain, tnrank.HierarchicalTucker, tnrank.Tucker, tnrank.CPFactorization])
def test_dense_tensors_name_the_entry(make: Any) -> None:
    tensor = np.ones((3, 4, 5))
    tensor[1, 2, 3] = np.nan
    options = {"rank": 1} if make is tnrank.CPFactorization else {}
    with pytest.raises(ValueError, match=r"1 of 60 entries of the tensor .* index \(1, 2, 3\)"):
        make.from_dense(tensor, **options)
    with pytest.raises(ValueError, match=r"index \(1, 2\)"):
        linalg.range_finder(tensor[:, :, 3], rank=1)


def test_trains_say_what_they_have_in_place_of_balance() -> None:
    for call in (lambda x: x.balance(), lambda x: x.unbalancedness()):
        with pytest.raises(NotImplementedError, match=r"x.orthogonalize\(\)"):
            call(tnrank.TensorTrain.random((3, 4), rank=2))
