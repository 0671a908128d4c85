"""Fixtures that all tests share."""

from __future__ import annotations

import gc
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

# Tests ask for fewer examples than these where one takes long. More: pytest --hypothesis-profile thorough -m hypothesis
hypothesis.settings.register_profile("default", deadline=None, max_examples=25)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=250)
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


# By folder, the modules of `pytest -m quick`: for each room those that say most a second. All doctests are with them.
QUICK = {
    "tests": ("test_by_node", "test_dimension_tree"),
    "backends": ("test_discovery", "test_dtypes", "test_torch"),
    "circuits": (
        *("test_around", "test_evaluate", "test_generalized", "test_grid_tensor", "test_initial_weights"),
        *("test_representations", "test_separation"),
    ),
    "cli": ("test_complete",),
    "completion": ("test_parts",),
    "data_files": (
        *("test_cifar", "test_damaged_files", "test_downloads", "test_files", "test_images", "test_pixels"),
        *("test_synthetic", "test_twins", "test_writing", "test_wrong_calls"),
    ),
    "experiments": (*("test_fields", "test_own_recipes", "test_recipe", "test_run_folder", "test_sweep_bad_input"),),
    "factorizations": (
        *("test_bad_input", "test_hsvd_accuracy", "test_masks", "test_printing"),
        *("test_quimb_oracle", "test_streaming", "test_sum", "test_values"),
    ),
    "linalg": ("test_matricize", "test_spectra"),
    "network": (
        *("test_batched_layout", "test_contract", "test_hand_made", "test_interop", "test_network", "test_plan"),
        *("test_scalars", "test_wrong_calls"),
    ),
    "packaging": ("test_distribution", "test_import"),
    "plots": ("test_wrong_calls",),
    "radar": ("test_layer_ranks", "test_radar"),
    "ranks": (
        *("test_core_consistency", "test_data_tensor", "test_ends_of_the_range", "test_entropy", "test_numbers"),
        *("test_onsets", "test_scales", "test_tensor", "test_tensor_rank_ones"),
    ),
    "runs": ("test_fitting",),
    "theory": (
        *("test_conserved", "test_exponent", "test_growth", "test_least_squares", "test_near_low_rank"),
        *("test_singular_values", "test_two_by_two", "test_wrong_calls"),
    ),
    "torch_nn": ("test_factorization", "test_linear"),
    "training": (
        *("test_bad_input", "test_complete", "test_gradients", "test_plain_loops"),
        *("test_recorders", "test_unobserved", "test_wrong_calls"),
    ),
}

# Tests of these modules that take more than a second or two each.
NOT_QUICK = (
    *("test_a_flow_into_the_wrong_basin_is_told", "test_a_killed_run_leaves_readable_metrics_and_no_final_folder"),
    *("test_float64_on_jax_without_x64", "test_images_of_order_784", "test_order_1000", "test_recipes_of_a_file"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose what is slow on JAX and what is quick."""
    for item in items:
        if _is_slow_on_jax(item):
            item.add_marker(pytest.mark.slow)
        if not any(item.get_closest_marker(name) for name in ("slow", "nightly")) and _is_quick(item):
            item.add_marker(pytest.mark.quick)


def _is_slow_on_jax(item: pytest.Item) -> bool:
    """Whether compiling takes long, in a module where it does or in a case that no ``few_on_jax`` names."""
    given = getattr(item, "callspec", None)
    if given is None or "jax" not in [value for value in given.params.values() if isinstance(value, str)]:
        return False
    few = item.get_closest_marker("few_on_jax")
    kept = few.args if few else () if item.path.stem in LONG_TO_COMPILE else ("",)
    return not any(words in given.id for words in kept)


def _is_quick(item: pytest.Item) -> bool:
    path = item.path
    if Path(__file__).parent not in path.parents:
        return "experiments" not in path.parts
    return path.stem in QUICK.get(path.parent.name, ()) and item.name.partition("[")[0] not in NOT_QUICK


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of garbage collections: each would walk a million objects again."""
    gc.collect()
    gc.freeze()
