"""``jit``, ``grad`` and ``vmap`` of contractions on JAX and torch, with compilations counted."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tests.network.strategies import dense, numpy_arrays, on
from tnrank import Network

NETWORK = Network({"A": "ir", "B": "jr", "C": "kr", "D": "kl"}, "ijl")
SIZES = {"i": 2, "j": 3, "k": 4, "l": 2, "r": 5}
ARRAYS = numpy_arrays(NETWORK, SIZES)


class TestJax:
    @pytest.fixture(autouse=True)
    def arrays(self):
        self.jax = pytest.importorskip("jax")
        self.arrays = on(tnrank.get_backend("jax"), ARRAYS)

    def test_equal_structure_compiles_once(self):
        traced = []

        @self.jax.jit
        def fn(network, arrays):
            traced.append(network)
            return tnrank.contract(network, arrays)

        np.testing.assert_allclose(fn(NETWORK, self.arrays), dense(NETWORK, ARRAYS), rtol=1e-12)
        # Equal by value, made anew, its tensors in another order: nothing is compiled again.
        fn(Network(dict(reversed(NETWORK.tensors.items())), NETWORK.output), self.arrays)
        fn(Network.from_einsum("ir,jr,kr,kl->ijl", "ABCD"), {n: 2 * x for n, x in self.arrays.items()})
        assert len(traced) == 1
        fn(Network(NETWORK.tensors, "lji"), self.arrays)
        assert len(traced) == 2

    def test_a_network_is_a_static_argument_too(self):
        traced = []

        def fn(arrays, network):
            traced.append(1)
            return tnrank.contract(network, arrays)

        compiled = self.jax.jit(fn, static_argnums=1)
        compiled(self.arrays, NETWORK)
        compiled(self.arrays, Network(dict(NETWORK.tensors), NETWORK.output))
        assert len(traced) == 1

    def test_a_plan_compiles_once_a_dtype(self, monkeypatch):
        plan = NETWORK.plan(SIZES, optimize="greedy")
        runs = []
        run = type(plan)._run
        monkeypatch.setattr(type(plan), "_run", lambda *args: runs.append(1) or run(*args))
        for _ in range(3):
            plan(self.arrays)
            plan({name: 2 * x for name, x in reversed(self.arrays.items())})
        assert len(runs) == 1
        single = {name: x.astype("float32") for name, x in self.arrays.items()}
        assert plan(single).dtype == "float32"
        plan(single)
        assert len(runs) == 2

    def test_grad(self):
        def loss(arrays):
            return (tnrank.contract(NETWORK, arrays) ** 2).sum() / 2

        _, pulled = NETWORK.plan(SIZES).pull_back(self.arrays, lambda x: x)
        for name, gradient in self.jax.jit(self.jax.grad(loss))(self.arrays).items():
            np.testing.assert_allclose(gradient, pulled[name], rtol=1e-12)

    def test_hessian_of_a_vector(self):
        network = Network({"A": "ij", "x": "i", "y": "j"}, "")

        def form(x):
            return tnrank.contract(network, {"A": self.arrays["C"][:, :4], "x": x, "y": x})

        a = np.asarray(self.arrays["C"][:, :4])
        np.testing.assert_allclose(self.jax.jit(self.jax.hessian(form))(np.ones(4)), a + a.T, rtol=1e-12)

    def test_vmap(self):
        stacked = {name: self.jax.numpy.stack([x, -x, 2 * x]) for name, x in self.arrays.items()}
        got = self.jax.vmap(lambda arrays: tnrank.contract(NETWORK, arrays))(stacked)
        wanted = dense(NETWORK, ARRAYS)
        np.testing.assert_allclose(got, np.stack([wanted, wanted, 16 * wanted]), rtol=1e-12)
        half = self.jax.vmap(lambda a: tnrank.contract(NETWORK, {**self.arrays, "A": a}))(stacked["A"])
        np.testing.assert_allclose(half, np.stack([wanted, -wanted, 2 * wanted]), rtol=1e-12)

    def test_environment_and_pull_back_under_jit(self):
        plan = NETWORK.plan(SIZES)
        _, pulled = self.jax.jit(lambda arrays: plan.pull_back(arrays, lambda x: x))(self.arrays)
        cotangent = tnrank.contract(NETWORK, self.arrays)
        alone = self.jax.jit(lambda arrays: tnrank.environment(NETWORK, arrays, "B", cotangent))(self.arrays)
        np.testing.assert_allclose(alone, pulled["B"], rtol=1e-12)

    def test_slices_under_jit(self):
        fn = self.jax.jit(lambda arrays: tnrank.contract(NETWORK, arrays, memory_limit=9))
        np.testing.assert_allclose(fn(self.arrays), dense(NETWORK, ARRAYS), rtol=1e-12)

    def test_errors_while_tracing_name_the_tensor(self):
        bad = {**self.arrays, "B": self.arrays["B"][:, :4]}
        with pytest.raises(ValueError, match="index 'r' has size 5 on tensor 'A' and size 4 on tensor 'B'"):
            self.jax.jit(lambda arrays: tnrank.contract(NETWORK, arrays))(bad)


class TestTorch:
    @pytest.fixture(autouse=True)
    def arrays(self):
        self.torch = pytest.importorskip("torch")
        self.arrays = on(tnrank.get_backend("torch"), ARRAYS)

    def loss(self, arrays):
        return (tnrank.contract(NETWORK, arrays) ** 2).sum() / 2

    def test_backward(self):
        leaves = {name: x.clone().requires_grad_() for name, x in self.arrays.items()}
        self.loss(leaves).backward()
        _, pulled = NETWORK.plan(SIZES).pull_back(self.arrays, lambda x: x)
        for name, leaf in leaves.items():
            np.testing.assert_allclose(leaf.grad, pulled[name], rtol=1e-12)

    def test_parameters_are_arrays(self):
        given = {name: self.torch.nn.Parameter(x) for name, x in self.arrays.items()}
        mixed = {**self.arrays, "A": given["A"]}
        for arrays in (given, mixed):
            result = tnrank.contract(NETWORK, arrays)
            assert result.requires_grad
            np.testing.assert_allclose(result.detach(), dense(NETWORK, ARRAYS), rtol=1e-12)

    def test_func_grad_and_jacrev(self):
        _, pulled = NETWORK.plan(SIZES).pull_back(self.arrays, lambda x: x)
        for name, gradient in self.torch.func.grad(self.loss)(self.arrays).items():
            np.testing.assert_allclose(gradient, pulled[name], rtol=1e-12)
        jacobian = self.torch.func.jacrev(lambda a: tnrank.contract(NETWORK, {**self.arrays, "A": a}))(self.arrays["A"])
        assert jacobian.shape == (2, 3, 2, 2, 5)
        wanted = self.torch.einsum("ijlmr,mr->ijl", jacobian, self.arrays["A"])
        np.testing.assert_allclose(wanted, dense(NETWORK, ARRAYS), rtol=1e-12)

    def test_vmap(self):
        stacked = {name: self.torch.stack([x, -x, 2 * x]) for name, x in self.arrays.items()}
        wanted = dense(NETWORK, ARRAYS)
        got = self.torch.func.vmap(lambda arrays: tnrank.contract(NETWORK, arrays))(stacked)
        np.testing.assert_allclose(got, np.stack([wanted, wanted, 16 * wanted]), rtol=1e-12)
        each = self.torch.func.vmap(self.torch.func.grad(self.loss))(stacked)
        assert each["B"].shape == (3, 3, 5)

    @pytest.mark.parametrize("call", ["plan", "contract"])
    def test_compile_to_one_graph(self, call):
        """Both the plan made before and the plan made while the compiler traces."""
        self.torch._dynamo.reset()
        network = Network(dict(NETWORK.tensors), NETWORK.output)
        plan = network.plan(SIZES)
        fn = {
            "plan": lambda arrays: plan(arrays),
            "contract": lambda arrays: tnrank.contract(network, arrays),
        }[call]
        graphs = []

        def count(graph, inputs):
            graphs.append(graph)
            return graph.forward

        compiled = self.torch.compile(fn, fullgraph=True, backend=count)
        wanted = dense(NETWORK, ARRAYS)
        for factor in (1, 2):
            got = compiled({name: factor * x for name, x in self.arrays.items()})
            np.testing.assert_allclose(got, factor**4 * wanted, rtol=1e-12)
        assert len(graphs) == 1
        if call == "contract":  # another size, another plan
            short = {**ARRAYS, "A": ARRAYS["A"][:1]}
            np.testing.assert_allclose(compiled(on(tnrank.get_backend("torch"), short)), wanted[:1], rtol=1e-12)
            assert len(graphs) == 2

    @pytest.mark.slow
    def test_compile_with_the_default_compiler(self):
        plan = NETWORK.plan(SIZES)
        leaves = {name: x.clone().requires_grad_() for name, x in self.arrays.items()}
        compiled = self.torch.compile(lambda arrays: (plan(arrays) ** 2).sum() / 2, fullgraph=True)
        compiled(leaves).backward()
        _, pulled = plan.pull_back(self.arrays, lambda x: x)
        for name, leaf in leaves.items():
            np.testing.assert_allclose(leaf.grad, pulled[name], rtol=1e-9)
