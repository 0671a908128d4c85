"""How backends are found, and what is said where none is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank import _backend


def test_entry_point(tmp_path):
    """A package that names a backend under the entry-point group is found by name and by its arrays."""
    (tmp_path / "toylib.py").write_text(Path(__file__).with_name("toylib.py").read_text())
    metadata = tmp_path / "toylib-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toylib\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[tnrank.backends]\ntoy = toylib:backend\n")
    code = f"""
import sys
sys.path[:] = {[str(tmp_path), *sys.path]!r}
import tnrank
assert "toy" in tnrank.available_backends() and "toylib" not in sys.modules
import toylib
assert tnrank.backend_of(toylib.Grid([1.0])) is toylib.backend is tnrank.get_backend("toy")
try:
    tnrank.get_backend("toi")
except ValueError as error:
    assert "'toy'" in str(error)
tnrank.testing.check_backend(tnrank.get_backend("toy"))
print("found")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "found", done.stderr


def test_backends_are_made_once(backend_name):
    backend = tnrank.get_backend(backend_name)
    assert tnrank.get_backend(backend_name) is backend
    assert tnrank.get_backend(backend) is backend
    assert tnrank.register_backend(backend) is backend
    assert backend_name in tnrank.available_backends()
    assert repr(backend) == f"<tnrank backend {backend_name!r}, version {backend.version()}>"


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"unknown backend 'tensorflow'.*'jax' \(pip install \"tnrank\[jax\]\"\)"):
        tnrank.get_backend("tensorflow")


def test_framework_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(_backend, "_LOADED", {})
    monkeypatch.setattr(_backend.importlib.util, "find_spec", lambda name: None)
    assert tnrank.available_backends() == ()
    with pytest.raises(ImportError, match=r'pip install "tnrank\[torch\]"'):
        tnrank.get_backend("torch")


@pytest.mark.parametrize("thing", [[1.0, 2.0], 1.0, np.float64(1.0), None, "abc"])
def test_what_is_no_array(thing):
    with pytest.raises(TypeError, match="needed an array of a backend"):
        tnrank.backend_of(thing)


def test_subclasses_belong_to_the_backend():
    class Matrix(np.ndarray):
        pass

    assert tnrank.backend_of(np.ones(2).view(Matrix)).name == "numpy"
