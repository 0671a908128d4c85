"""Fixtures that all tests share."""

from __future__ import annotations

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest

BACKENDS = ("numpy", "jax", "torch")
INSTALLED = tuple(name for name in BACKENDS if find_spec(name))

COMPILE_QUICKLY = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

if "jax" in INSTALLED:
    # Most of the tests' time goes into compiling: a second run, and processes that tests start, find it done.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
    # Programs of tests run once or twice on small arrays: making them fast costs more than half of compiling them.
    # Names of flags change between versions, and an unknown one ends the process. `XLA_FLAGS=` compiles as users do.
    if version("jaxlib").startswith("0.10."):
        os.environ.setdefault("XLA_FLAGS", " ".join(COMPILE_QUICKLY))

    import jax

    jax.config.update("jax_enable_x64", True)

if "torch" in INSTALLED:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(params=BACKENDS)
def backend_name(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn."""
    if request.param not in INSTALLED:
        pytest.skip(f'{request.param} is not installed: pip install "tnrank[{request.param}]"')
    return request.param


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the MNIST, Fashion-MNIST and CIFAR-10 files."""
    if "TNRANK_DATA" not in os.environ:
        pytest.skip("TNRANK_DATA does not name the folder with mnist/, fashion-mnist/ and cifar10/")
    return Path(os.environ["TNRANK_DATA"])


# Modules in which compiling for JAX takes longer than all tests of the other backends together.
LONG_TO_COMPILE = (
    "test_checkpoints",
    "test_complete",
    "test_end_tensor",
    "test_ends_of_the_range",
    "test_framework_optimizers",
    "test_gradient_flow",
    "test_gradients",
    "test_hierarchical_tucker",
    "test_hsvd_accuracy",
    "test_hsvd_derivatives",
    "test_no_numbers",
    "test_plain_loops",
    "test_rate_recorders",
    "test_recorders",
    "test_tree_formats",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark their tests on JAX as slow, so that ``make test`` stays short."""
    for item in items:
        given = getattr(item, "callspec", None)
        values = given.params.values() if item.path.stem in LONG_TO_COMPILE and given else ()
        if any(isinstance(value, str) and value == "jax" for value in values):
            item.add_marker(pytest.mark.slow)
