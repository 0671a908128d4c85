"""Factorizations in safetensors files."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import tnrank
from tests.factorizations.strategies import factorizations
from tests.factorizations.test_values import DTYPES, MAKE, assert_same, kinds


@kinds
def test_round_trip_of_every_dtype(backend_name, make, tmp_path):
    for dtype in DTYPES[backend_name]:
        x = make(seed=2, backend=backend_name, dtype=dtype)
        x.save(tmp_path / "x.safetensors")
        y = tnrank.load(tmp_path / "x.safetensors")
        assert (y.backend.name, y.dtype) == (backend_name, dtype)
        assert_same(x, y)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=factorizations())
def test_round_trip_of_every_structure(x, tmp_path):
    x.save(str(tmp_path / "x"))
    y = tnrank.load(str(tmp_path / "x"))
    assert_same(x, y)
    assert repr(x) == repr(y)
    np.testing.assert_array_equal(x.to_dense(), y.to_dense())


@pytest.mark.slow
def test_a_tree_deeper_than_recursion_goes(tmp_path):
    tree = tnrank.DimensionTree.linear(1200)
    x = tnrank.HierarchicalFactorization.random((2,) * 1200, tree=tree, width=1)
    x.save(tmp_path / "x")
    assert_same(tnrank.load(tmp_path / "x"), x)


@pytest.mark.parametrize("special", [np.nan, np.inf, -0.0, 5e-324])
def test_special_values(special, tmp_path):
    x = tnrank.MatrixFactorization([np.asarray([[special, 1.0]])])
    x.save(tmp_path / "x")
    got = tnrank.load(tmp_path / "x").layers[0]
    assert got.tobytes() == x.layers[0].tobytes()


def test_on_another_backend(backend_name, tmp_path):
    x = MAKE["hierarchical"](seed=2, dtype="float64")
    x.save(tmp_path / "x")
    y = tnrank.load(tmp_path / "x", backend=backend_name)
    assert y.backend.name == backend_name
    assert_same(x, y)
    assert tnrank.load(tmp_path / "x", backend=backend_name, dtype="float32").dtype == "float32"


def test_parameters_of_torch_are_saved_detached(tmp_path):
    torch = pytest.importorskip("torch")
    x = MAKE["cp"](backend="torch").map(torch.nn.Parameter)
    x.save(tmp_path / "x")
    y = tnrank.load(tmp_path / "x")
    assert_same(x, y)
    assert not any(a.requires_grad for a in y.arrays.values())


def test_a_backend_that_is_not_installed(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    MAKE["cp"](backend="torch", dtype="float32").save(tmp_path / "x")
    monkeypatch.setattr("tnrank._backend._installed", lambda name: name == "numpy")
    assert tnrank.load(tmp_path / "x").backend.name == "numpy"


def test_other_programs_can_read_it(tmp_path):
    from safetensors import safe_open

    x = MAKE["cp"](seed=1)
    x.save(tmp_path / "x")
    with safe_open(tmp_path / "x", framework="numpy") as stream:
        assert stream.metadata()["kind"] == "cp"
        names = json.loads(stream.metadata()["tensors"])
        assert names == ["A0", "A1", "A2", "weights"]
        np.testing.assert_array_equal(stream.get_tensor("3"), x.weights)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    x, y = MAKE["cp"](seed=1), MAKE["cp"](seed=2)
    x.save(tmp_path / "x")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"disk full"):
        y.save(tmp_path / "x")
    assert_same(tnrank.load(tmp_path / "x"), x)
    assert os.listdir(tmp_path) == ["x"]


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def malicious():
    return pickle.dumps(Attack())


def object_array():
    stream = io.BytesIO()
    np.save(stream, np.asarray([Attack()], dtype=object), allow_pickle=True)
    return stream.getvalue()


def foreign():
    from safetensors.numpy import save

    return save({"weight": np.ones((2, 2), np.float32)})


def header_of(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(change, kind="hierarchical"):
    """A saved factorization whose metadata has been tampered with."""

    def build(tmp_path):
        MAKE[kind](seed=1).save(tmp_path / "good")
        header, rest = header_of((tmp_path / "good").read_bytes())
        change(header["__metadata__"])
        encoded = json.dumps(header).encode()
        return struct.pack("<Q", len(encoded)) + encoded + rest

    return build


def truncated(tmp_path):
    MAKE["cp"]().save(tmp_path / "good")
    return (tmp_path / "good").read_bytes()[:-40]


BAD = {
    "pickle": malicious,
    "object array": object_array,
    "foreign": foreign,
    "empty": lambda: b"",
    "text": lambda: b"hello, this is no factorization at all",
    "truncated": truncated,
    "other version": with_header(lambda m: m.update(format="tnrank factorization 999")),
    "unknown kind": with_header(lambda m: m.update(kind="os.system")),
    "no structure": with_header(lambda m: m.pop("structure")),
    "null structure": with_header(lambda m: m.update(structure="null")),
    "broken structure": with_header(lambda m: m.update(structure='["((0, 1)", false]')),
    "other structure": with_header(lambda m: m.update(structure='["((0, 1), 2)", false]')),
    "null depth": with_header(lambda m: m.update(structure="null"), "matrix"),
    "other depth": with_header(lambda m: m.update(structure="2"), "matrix"),
    "fewer tensors": with_header(lambda m: m.update(tensors='["A0"]'), "cp"),
    "more tensors": with_header(lambda m: m.update(tensors='["a", "b", "c", "d", "e"]'), "cp"),
    "tensors no list": with_header(lambda m: m.update(tensors="3"), "cp"),
    "no dtype": with_header(lambda m: m.pop("dtype")),
    "unknown dtype": with_header(lambda m: m.update(dtype="object")),
    "another dtype": with_header(lambda m: m.update(dtype="complex128")),
    "bits for numbers": with_header(lambda m: m.update(dtype="bfloat16", backend="torch")),
    "no backend": with_header(lambda m: m.pop("backend")),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build = BAD[name]
    content = build(tmp_path) if "tmp_path" in build.__code__.co_varnames else build()
    (tmp_path / "bad.file").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.file' is not a factorization that tnrank saved: "):
        tnrank.load("bad.file")
    assert not (tmp_path / "attacked").exists()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing"):
        tnrank.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        tnrank.load(tmp_path)


def test_wishes_that_cannot_be_fulfilled_are_not_the_files_fault(tmp_path):
    MAKE["cp"](seed=1).save(tmp_path / "x")
    with pytest.raises(ValueError, match=r"^unknown backend 'tensorflow'"):
        tnrank.load(tmp_path / "x", backend="tensorflow")
    with pytest.raises(ValueError, match=r"^the numpy backend has no dtype 'float8'"):
        tnrank.load(tmp_path / "x", dtype="float8")
    with pytest.raises(ValueError, match=r"^the numpy backend has the device 'cpu' alone"):
        tnrank.load(tmp_path / "x", device="cuda")


DTYPES_OF_FILES = {
    "numpy": (
        *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128", ">i4", ">f8", ">c16"),
    ),
    "jax": ("bool", "int8", "uint8", "int32", "int64", "float16", "bfloat16", "complex128"),
    "torch": ("bool", "int8", "uint8", "int16", "int64", "float16", "bfloat16", "complex64"),
}


def specials(dtype, order="C"):
    """Arrays with numbers that only an exact copy keeps, in any layout."""
    rng = np.random.default_rng(0)

    def f(*shape):
        host = rng.integers(0, 100, shape).astype(np.float64)
        if np.dtype(dtype).kind in "fc" and host.size:
            host.flat[0] = rng.choice([-0.0, np.nan, np.inf, 1e-45])
        if np.dtype(dtype).kind == "c":
            host = host + 0j
            host.imag.flat[:1] = -0.0
        array = np.asarray(host.astype(dtype))
        return (
            array if order == "C" or not array.ndim else array[::-1] if order == "reversed" else array.copy(order="F")
        )

    return f


@pytest.mark.parametrize("order", ["C", "F", "reversed"])
def test_every_dtype_of_numpy_comes_back_bit_for_bit(order, tmp_path):
    from tests.factorizations.test_dtypes import classes

    for dtype in DTYPES_OF_FILES["numpy"]:
        for x in (*classes(specials(dtype, order)), tnrank.MatrixFactorization([specials(dtype)(0, 2)])):
            x.save(tmp_path / "x")
            y = tnrank.load(tmp_path / "x")
            assert (type(y), y.dtype) == (type(x), np.dtype(dtype).newbyteorder("=").name)
            for a, b in zip(x._values, y._values, strict=True):
                assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_every_dtype_of_a_framework_comes_back(name, tmp_path):
    pytest.importorskip(name)
    from tests.factorizations.test_dtypes import classes, drawn

    for dtype in DTYPES_OF_FILES[name]:
        # JAX compiles a conversion for each dtype and shape: all shapes of one dtype there.
        every = name != "jax" or dtype == "bfloat16"
        for x in classes(drawn(dtype, backend=name)) if every else [next(classes(drawn(dtype, backend=name)))]:
            x.save(tmp_path / "x")
            y = tnrank.load(tmp_path / "x")
            assert (y.backend.name, y.dtype) == (name, dtype)
            for a, b in zip(x._values, y._values, strict=True):
                assert a.shape == b.shape
                np.testing.assert_array_equal(x.backend.to_numpy(a), y.backend.to_numpy(b))


@pytest.mark.parametrize("dtype", ["longdouble", "clongdouble"])
def test_what_a_file_cannot_hold_is_refused_before_writing(dtype, tmp_path):
    x = tnrank.MatrixFactorization([np.ones((2, 2), dtype)])
    with pytest.raises(ValueError, match="convert them first"):
        x.save(tmp_path / "x")
    mixed = MAKE["cp"]().map(lambda a: a.astype(np.float32) if a.ndim == 1 else a)
    with pytest.raises(ValueError, match="'weights' is float32: convert them"):
        mixed.save(tmp_path / "x")
    with pytest.raises(TypeError, match="'A0' cannot be saved"):
        MAKE["cp"]().map(lambda a: None).save(tmp_path / "x")
    assert not os.listdir(tmp_path)


def test_a_dtype_that_a_backend_would_narrow_is_refused(tmp_path):
    jax = pytest.importorskip("jax")
    tnrank.MatrixFactorization([np.ones((2, 2), np.int64)]).save(tmp_path / "x")
    without = jax if hasattr(jax, "enable_x64") else pytest.importorskip("jax.experimental")  # before JAX 0.8
    with (
        without.enable_x64(False),
        pytest.raises(ValueError, match="the arrays were saved as int64, which the jax backend keeps as int32"),
    ):
        tnrank.load(tmp_path / "x", backend="jax")


def test_equal_saves_are_equal_bytes_in_every_process(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, tnrank\n"
        "x = tnrank.HierarchicalFactorization.random((2, 3, 2), width=2, seed=0)\n"
        "x.save(sys.argv[1]); tnrank.load(sys.argv[1]).save(sys.argv[2])"
    )
    found = set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        again = tmp_path / f"{seed} again.safetensors"
        subprocess.run([sys.executable, "-c", code, str(path), str(again)], env=environment, check=True, timeout=120)
        found |= {path.read_bytes(), again.read_bytes()}
    assert len(found) == 1


def with_header(path, **changes):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] |= changes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("cp", {"structure": "[]"}),
        ("cp", {"structure": "[1000000000000, true]"}),
        ("cp", {"structure": "[2.5, true]"}),
        ("cp", {"structure": "null"}),
        ("cp", {"kind": ""}),
        ("cp", {"tensors": "5"}),
        ("cp", {"places": "{}"}),
        ("cp", {"dtype": "float32"}),
        ("matrix", {"structure": "true"}),
        ("matrix", {"structure": "-3"}),
        ("matrix", {"structure": "9" * 5000}),
        ("matrix", {"structure": "[" * 100_000}),
        ("hierarchical", {"structure": '["((0, (1,)), 2)", true]'}),
        ("hierarchical", {"structure": "[5, false]"}),
        ("hierarchical", {"structure": '["(0, 1", false]'}),
    ],
)
def test_damaged_structures(kind, changes, tmp_path):
    MAKE[kind]().save(tmp_path / "x")
    with_header(tmp_path / "x", **changes)
    with pytest.raises(ValueError, match=r"x' is not a factorization that tnrank saved: "):
        tnrank.load(tmp_path / "x")
