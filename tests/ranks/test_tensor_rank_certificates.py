"""Certificates: no number in one can be changed unnoticed, and every damaged file is refused in one sentence."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnrank import tensor_rank
from tnrank.ranks import Certificate
from tnrank.ranks._certified._claims import checksum

Host = np.ndarray[Any, Any]
Json = dict[str, Any]
W3 = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])


def matrix_product() -> Host:
    t = np.zeros((4, 4, 4), dtype=int)
    for i, j, k in itertools.product(range(2), repeat=3):
        t[2 * i + j, 2 * j + k, 2 * k + i] = 1
    return t


def determinant() -> Host:
    t = np.zeros((3, 3, 3), dtype=int)
    for p in itertools.permutations(range(3)):
        t[p] = round(np.linalg.det(np.eye(3)[list(p)]))
    return t


def components(rank: int) -> Host:
    rng = np.random.default_rng(1)
    return np.asarray(np.einsum("ir,jr,kr->ijk", *(rng.standard_normal((3, rank)) for _ in range(3))))


def content_of(t: Host) -> Json:
    loaded: Json = json.loads(json.dumps(tensor_rank(t).certificate.content))
    return loaded


@cache
def content_of_case(name: str) -> Json:
    return content_of(CASES[name])


def numbers(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(node, (dict, list)):
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from numbers(inner, (*at, key))
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield at, node


def changed(content: Json, at: tuple[Any, ...], value: Any) -> Json:
    made = copy.deepcopy(content)
    node: Any = made
    for key in at[:-1]:
        node = node[key]
    node[at[-1]] = value
    return made


def mutations(number: Any) -> list[Any]:
    other = [number + 1, number - 1, -number, number * 10, number * 1e-3, 0, -1, -3, 1e300, 10**400, number + 0.5]
    wrong = [float("nan"), float("inf"), str(number), None, True, False, [], {}]
    return [value for value in other if value != number] + wrong


CASES = {
    "matrix": np.arange(12).reshape(3, 4),
    "border": determinant(),
    "W": W3,
    "<2,2,2>": matrix_product(),
    "components": components(2),
    "single": np.random.default_rng(0).standard_normal((2, 1, 2, 2)).astype(np.float32),
}


@pytest.mark.parametrize("name", CASES)
def test_every_number_is_checked(name: str, tmp_path: Path) -> None:
    content = content_of_case(name)
    assert Certificate(content).verify()
    found = list(numbers(content))
    assert len(found) > 15
    stride = max(1, len(found) // 20)  # of long lists of entries a part
    for at, number in found[::stride]:
        for value in mutations(number):
            assert not Certificate(changed(content, at, value)).verify(), (at, number, value)
    path = tmp_path / "c.json"
    for at, number in found[:: 4 * stride]:
        for value in mutations(number):
            path.write_text(json.dumps(changed(content, at, value)))
            refused = ""
            try:
                loaded = Certificate.load(path)
            except ValueError as error:
                refused = str(error)
            else:
                assert not loaded.verify()
                assert not loaded.exact
            assert refused.startswith(str(path) if refused else "")


@pytest.mark.parametrize("name", ["matrix", "W", "components", "single"])
def test_claims_are_worked_out_and_not_only_summed(name: str) -> None:
    content = content_of_case(name)
    for at, number in numbers(content):
        # Another row or slice may be a proof as well, and numbers of the size of rounding are told by none.
        if "data" in at or abs(number) < 1e-13 or "factors" in at[:2] or at[:2] == ("tensor", "values"):
            continue
        for value in (number + 1, -number, number * 10, number * 0.1, 0, -3):
            if value != number:
                made = changed(content, at, value)
                made["checksum"] = checksum(made)
                assert not Certificate(made).verify(), (at, number, value)


def test_a_wider_tolerance_than_that_of_the_tensor_is_refused() -> None:
    # With eps of 0.01 the Koszul flattening of <2,2,2> has rank 5 to rounding, and six components come near enough.
    content = content_of(np.pi * matrix_product())
    for eps in (0.01, 2.0**-10, 2.0**-23, 2.0**-53):
        made = changed(content, ("tensor", "eps"), eps)
        made["checksum"] = checksum(made)
        assert "eps" in Certificate(made).problems()[0]
    single = content_of(np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32))
    assert single["tensor"]["eps"] == 2.0**-23
    assert Certificate(single).verify()


def test_an_exact_witness_is_one_kind_of_numbers() -> None:
    # Fractions in one factor and floats in the others would be compared to rounding, and called a proof.
    content = copy.deepcopy(content_of_case("W"))
    content["witness"]["factors"][1] = [float(Fraction(q)) for q in content["witness"]["factors"][1]]
    content["checksum"] = checksum(content)
    assert "one kind" in Certificate(content).problems()[0]


def test_what_was_added_to_a_certificate_is_told() -> None:
    """All that is claimed is true, and still it is not what was written."""
    added = Certificate(content_of_case("W") | {"note": "by hand"})
    assert added.problems() == ("the certificate was changed after it was written: its checksum is another",)
    assert not added.verify()


def test_certificates_of_the_first_version_are_read(tmp_path: Path) -> None:
    content = copy.deepcopy(content_of_case("W"))
    old = {key: value for key, value in content.items() if key != "checksum"} | {"version": 1}
    (tmp_path / "c.json").write_text(json.dumps(old))
    assert Certificate.load(tmp_path / "c.json").exact
    assert not Certificate(content | {"version": 1}).verify()
    assert not Certificate(old | {"version": 2}).verify()
    assert not Certificate(old | {"lower": 4}).verify()


def damages() -> Iterator[tuple[str, bytes]]:
    good = content_of_case("W")
    text = json.dumps(good)
    yield "empty", b""
    yield "half", text[: len(text) // 2].encode()
    yield "not UTF-8", b"\xff\xfe" + text.encode()
    yield "nested", b"[" * 100_000
    yield "nested inside", text.replace('"rows": [', '"rows": [' + "[" * 50_000, 1).encode()
    yield "list", b"[1, 2]"
    yield "number", b"3"
    yield "digits", text.replace('"lower": 3', '"lower": ' + "9" * 5000).encode()
    yield "NaN", text.replace('"lower": 3', '"lower": NaN').encode()
    yield "later", text.replace('"version": 2', '"version": 3').encode()
    for key in good:
        yield f"without {key}", json.dumps({k: v for k, v in good.items() if k != key}).encode()
        for value in (None, 1.5, "text", [], {}, [[]], [None], {"a": 1}):
            if key not in ("checksum",) and not (key == "bounds" and value == []):
                yield f"{key} {value}", json.dumps(good | {key: value}).encode()
    for part, inner in (("tensor", good["tensor"]), ("witness", good["witness"]), ("bounds", good["bounds"][0])):
        for key in inner:
            less = {k: v for k, v in inner.items() if k != key}
            yield f"{part} without {key}", json.dumps(good | {part: [less] if part == "bounds" else less}).encode()
            other = inner | {key: {"wrong": 1}}
            yield f"{part} {key}", json.dumps(good | {part: [other] if part == "bounds" else other}).encode()


def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    for name, data in damages():
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is tested
            Certificate.load(path)
        message = str(caught.value)
        assert message.startswith(str(path)), name
        assert "\n" not in message, name
        assert len(message) < 400, name
    with pytest.raises(ValueError, match="is no file"):
        Certificate.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Certificate.load(tmp_path / "none.json")
    with pytest.raises(TypeError, match=r"Certificate\.load"):
        Certificate("text")  # type: ignore[arg-type]
