"""What the installed distribution says of itself."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from importlib.resources import files

import pytest

import tnrank

EXTRAS = {"jax", "torch", "cli", "data", "convex", "cotengra", "dask", "all", "test", "docs", "dev"}
PACKAGES = ("tnrank", "tnrank_numpy", "tnrank_jax", "tnrank_torch")


@pytest.fixture
def installed() -> Distribution:
    try:
        return distribution("tnrank")
    except PackageNotFoundError:
        pytest.skip("tnrank runs from a checkout that is not installed")


def test_metadata(installed):
    assert installed.version == tnrank.__version__
    assert installed.metadata["License-Expression"] == "Apache-2.0"
    assert set(installed.metadata.get_all("Provides-Extra")) == EXTRAS


def test_core_asks_for_no_framework(installed):
    core = {line.split(">")[0] for line in installed.requires if "extra ==" not in line}
    assert {name.replace("_", "-") for name in core} == {
        "array-api-compat",
        "numpy",
        "opt-einsum",
        "safetensors",
        "scipy",
        "tensornetwork",
    }


def test_command(installed):
    (command,) = (point for point in installed.entry_points if point.group == "console_scripts")
    assert (command.name, command.value) == ("tnrank", "tnrank.cli:main")


def test_built_in_backends_take_no_entry_point():
    assert not any(point.value.startswith("tnrank_") for point in entry_points(group="tnrank.backends"))


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_typed(package):
    pytest.importorskip({"tnrank": "numpy"}.get(package, package.removeprefix("tnrank_")))
    assert files(package).joinpath("py.typed").is_file()
