"""dtypes and devices: kept, or refused with the reason."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tnrank

DTYPES = ("bfloat16", "float32", "float64", "complex64", "complex128")


@pytest.mark.few_on_jax("bfloat16", "complex128")
@pytest.mark.parametrize("dtype", DTYPES)
def test_contraction_keeps_dtype(backend_name, dtype):
    backend = tnrank.get_backend(backend_name)
    if dtype not in backend.dtypes:
        with pytest.raises(ValueError, match=f"the numpy backend has no dtype '{dtype}'; it has float32, "):
            backend.asarray(np.ones(2), dtype=dtype)
        return
    network = tnrank.Network({"A": "iir", "B": "jrx", "C": "kr"}, "kij")
    arrays = {
        name: backend.asarray(np.ones((2,) * len(labels)), dtype=dtype) for name, labels in network.tensors.items()
    }
    for result in (
        tnrank.contract(network, arrays),
        tnrank.contract(network, arrays, memory_limit=4),
        tnrank.environment(network, arrays, "A"),
        tnrank.environment(network, arrays, "A", cotangent=backend.asarray(np.ones((2, 2, 2)), dtype=dtype)),
    ):
        assert backend.dtype_of(result) == dtype
        assert backend.device_of(result) == "cpu"


TAKE_LONG = ("contracts_networks", "pulls_back", "integrates")


@pytest.mark.parametrize(
    "checks",
    [
        ("describes_itself", "converts_there_and_back", "keeps_dtypes", "has_operators"),
        pytest.param(
            [c.__name__ for c in tnrank.testing.backend_checks if c.__name__ not in TAKE_LONG], marks=pytest.mark.slow
        ),
    ],
    ids=["few", "many"],
)
def test_float64_on_jax_without_x64(checks):
    pytest.importorskip("jax")
    code = f"""
import sys
sys.path[:] = {sys.path!r}
import numpy as np, tnrank
backend = tnrank.get_backend("jax")
assert backend.default_dtype == "float32"
assert backend.dtype_of(backend.asarray([1.0])) == "float32"
for attempt in (lambda: backend.asarray([1.0], dtype="float64"), lambda: backend.asarray(np.ones(2))):
    try:
        attempt()
    except ValueError as error:
        print(error)
for check in tnrank.testing.backend_checks:
    if check.__name__ in {checks!r}:
        check(backend)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("jax.config.update('jax_enable_x64', True)") == 2


def test_unknown_device(backend_name):
    backend = tnrank.get_backend(backend_name)
    with pytest.raises((ValueError, RuntimeError), match="tpu9"):
        backend.asarray(np.ones(2), device="tpu9")


def test_torch_tensors_that_need_gradients_convert():
    torch = pytest.importorskip("torch")
    backend = tnrank.get_backend("torch")
    x = torch.ones(3, dtype=torch.complex64, requires_grad=True)
    assert backend.to_numpy(x.conj()).dtype == np.complex64
    assert backend.to_numpy(torch.ones(3, dtype=torch.bfloat16, requires_grad=True)).dtype == np.float32


def test_torch_does_not_share_memory_that_is_read_only():
    pytest.importorskip("torch")
    host = np.ones(3)
    host.flags.writeable = False
    assert tnrank.get_backend("torch").asarray(host)[0] == 1


@pytest.mark.parametrize("dtype", ["float32", "complex64", "bfloat16"])
def test_cuda_keeps_dtype_and_device(dtype):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    backend = tnrank.get_backend("torch")
    network = tnrank.Network({"A": "ir", "B": "jr", "C": "kkr"}, "ijr")
    arrays = {
        name: backend.asarray(np.ones((2,) * len(labels)), dtype=dtype, device="cuda:0")
        for name, labels in network.tensors.items()
    }
    plan = network.plan(network.sizes(arrays))
    result, pulled = plan.pull_back(arrays, lambda value: value)
    for x in (result, plan(arrays), *pulled.values()):
        assert (backend.device_of(x), backend.dtype_of(x)) == ("cuda:0", dtype)


def test_jax_accelerator_keeps_device():
    jax = pytest.importorskip("jax")
    if jax.default_backend() == "cpu":
        pytest.skip("jax sees no accelerator on this machine")
    backend = tnrank.get_backend("jax")
    device = backend.devices()[0]
    arrays = {"A": backend.asarray(np.ones((2, 2)), dtype="float32", device=device)}
    assert backend.device_of(tnrank.contract(tnrank.Network({"A": "ij"}, "ji"), arrays)) == device
