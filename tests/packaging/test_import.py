"""What `import tnrank` brings in, and what it offers."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import tnrank

HEAVY = {
    "array_api_compat",
    "cotengra",
    "jax",
    "matplotlib",
    "opt_einsum",
    "safetensors",
    "scipy",
    "tensornetwork",
    "torch",
}


def in_fresh_interpreter(code: str) -> str:
    """What `code` prints in an interpreter that finds tnrank where this one does."""
    paths = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_brings_in_nothing_heavy():
    code = f"before = set(sys.modules)\nimport tnrank\nprint(sorted({HEAVY!r} & (set(sys.modules) - before)))"
    assert in_fresh_interpreter(code).strip() == "[]"


def test_import_of_one_backend_brings_in_no_other_framework():
    code = "import tnrank; tnrank.get_backend('numpy'); print(sorted({'jax', 'torch'} & set(sys.modules)))"
    assert in_fresh_interpreter(code).strip() == "[]"


@pytest.mark.parametrize("name", tnrank.__all__)
def test_exported_name_resolves(name):
    assert getattr(tnrank, name) is not None
    assert name in dir(tnrank)


def test_unknown_name_raises():
    with pytest.raises(AttributeError, match="no attribute 'contrakt'"):
        _ = tnrank.contrakt


def test_type_checkers_see_the_exported_names():
    branches = [node for node in ast.parse(inspect.getsource(tnrank)).body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name
        for node in ast.walk(branches[0])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen >= set(tnrank.__all__)
