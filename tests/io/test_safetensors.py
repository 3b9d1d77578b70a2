"""Pytrees in files: names, dtypes, and files that are refused whole."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal.io import load_safetensors, save_safetensors
from anneal.io.safetensors import FileFormatError


def test_a_tree_comes_back_under_the_names_of_its_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tree = {"layers": [{"w": anp.ones((2, 3)), "b": np.arange(3)}], "scale": 2.0}
    save_safetensors(path, tree)
    found = load_safetensors(path)
    assert sorted(found) == ["layers.0.b", "layers.0.w", "scale"]
    assert found["layers.0.w"].tolist() == [[1.0] * 3] * 2
    assert found["scale"].shape == () and found["scale"].item() == 2.0


def test_keys_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"it's": [np.ones(1)], "[a]": np.ones(2)})
    assert sorted(load_safetensors(path)) == ["[a]", "it's.0"]


def test_two_leaves_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match=r"params\['a'\]\['b'\] and params\['a.b'\]"):
        save_safetensors(path, {"a.b": np.ones(1), "a": {"b": np.zeros(2)}})
    assert not path.exists()


DTYPES = ["bool", "int8", "uint8", "int32", "uint32", "float16", "float32"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_survive(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    data = np.array([0, 1, 100], dtype)
    save_safetensors(path, {"x": data})
    found = load_safetensors(path)["x"]
    assert str(found.dtype) == dtype
    np.testing.assert_array_equal(np.asarray(found), data)


@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", b"\xff" * 64])
def test_a_malformed_file_is_refused_by_name(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damage)
    with pytest.raises(FileFormatError, match=r"bad\.safetensors"):
        load_safetensors(path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"x": np.arange(100)})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FileFormatError):
        load_safetensors(path)


def test_a_dtype_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0")
    with pytest.raises(FileFormatError, match=r"x\.safetensors: .*dtype"):
        load_safetensors(path)


@pytest.mark.parametrize("missing", [{}, {"x": np.ones(2)}])
def test_nothing_is_left_of_a_save_that_failed(missing: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        save_safetensors(tmp_path / "nowhere" / "x.safetensors", missing)
    assert list(tmp_path.iterdir()) == []


# -- names -----------------------------------------------------------------------------------------


def test_the_formats_own_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match=r"params\['__metadata__'\]"):
        save_safetensors(path, {"__metadata__": np.ones(1), "x": np.ones(1)})
    assert not path.exists()


NAMES = ["", " ", "__metadata", "x" * 10000, "a\0b", "é", "\U0001f600", "."]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_other_name_comes_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {name: np.ones(2), "__metadata__": {name: np.zeros(3)}}, {"a": "b"})
    found = load_safetensors(path)
    assert {k: v.shape for k, v in found.items()} == {name: (2,), f"__metadata__.{name}": (3,)}


def test_a_lone_array_has_an_empty_name(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "x", np.arange(3))
    assert load_safetensors(tmp_path / "x")[""].tolist() == [0, 1, 2]


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        save_safetensors(tmp_path / "x", {"\ud800": np.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_readers_refuse_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anneal.io.safetensors._MOST_HEADER_BYTES", 1000)
    with pytest.raises(ValueError, match="shorten"):
        save_safetensors(tmp_path / "x", {"x" * 1000: np.ones(1)})
    assert list(tmp_path.iterdir()) == []


# -- dtypes ----------------------------------------------------------------------------------------

LEAVES: dict[str, Callable[[Any], Any]] = {
    "as it was": lambda x: x,
    "cast": lambda x: x.astype("bfloat16"),
    "computed, then cast": lambda x: (x * 2).astype("bfloat16"),
    "cast, then moved": lambda x: x.astype("bfloat16").reshape(3, 1).T,
    "cast, then computed with": lambda x: x.astype("bfloat16") + 1,
    "cast there and back": lambda x: x.astype("bfloat16").astype("float32") + x,
    "a scalar": lambda x: x[1].astype("bfloat16"),
    "an int8": lambda x: x.astype("int8"),
    "no elements": lambda x: x[:0].astype("bfloat16"),
    "made": lambda x: anp.ones(3, "bfloat16"),
    "NumPy's": lambda x: np.array([1, 2, 3], ml_dtypes.bfloat16),
    "NumPy's scalar": lambda x: ml_dtypes.bfloat16(1.5),
    "Python's": lambda x: 1.5,
}


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("place", ["webgpu", "interpreter"])
def test_what_the_device_lacks_is_saved(leaf: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    data = np.array([1.1, 2.5, -3.3], np.float32)
    with anneal.default_device("interpreter"):
        expected = np.asarray(LEAVES[leaf](anp.asarray(data) * 3))
    with anneal.default_device(place):
        made = LEAVES[leaf](anp.asarray(data) * 3)
        save_safetensors(path, {"x": made})
        assert anneal.device.current().name == place
    found = np.asarray(load_safetensors(path)["x"])
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected.astype(found.dtype))


# -- what others wrote -----------------------------------------------------------------------------


def write(path: Path, header: str | bytes, data: bytes = b"") -> None:
    raw = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


def entry(dtype: str, shape: str, end: int, name: str = "x") -> str:
    return f'"{name}": {{"dtype": "{dtype}", "shape": [{shape}], "data_offsets": [0, {end}]}}'


def header(*entries: str) -> str:
    return "{" + ", ".join(entries) + "}"


REFUSED: dict[str, tuple[str | bytes, bytes]] = {
    "one name twice": (header(entry("U8", "1", 1), entry("U8", "1", 1)), b"a"),
    "one name spelt twice": (
        header(entry("U8", "1", 1), entry("U8", "1", 1, "\\u0078")), b"a"),
    "complex": (header(entry("C64", "1", 8)), bytes(8)),
    "too many axes": (header(entry("U8", ",".join("1" * 65), 1)), b"a"),
    "axes longer than memory": (header(entry("U8", "0, 18446744073709551615", 0)), b""),
    "axes that wrap": (header(entry("U8", "4294967296, 4294967296", 0)), b""),
    "integers beyond 32 bits": (header(entry("I64", "1", 8)), b"\xff" * 7 + b"\x7f"),
    "deep": ('{"x":' * 10000, b""),
    "a list": ("[]", b""),
    "an offset behind": (header(entry("U8", "8", 8)), b"1234567"),
    "bytes of nobody": (header(entry("U8", "8", 8)), b"123456789"),
    "no text": (b"{\xff}", b""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_none_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    write(path, *REFUSED[case])
    with pytest.raises(FileFormatError, match=r"bad\.safetensors: .*") as refused:
        load_safetensors(path)
    assert "\n" not in str(refused.value)


def test_a_bool_is_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write(path, header(entry("BOOL", "4", 4)), bytes([0, 1, 2, 255]))
    found = np.asarray(load_safetensors(path)["x"])
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_tensors_come_in_the_order_of_the_header(tmp_path: Path) -> None:
    names = [f"layer{i * 7 % 23}.w" for i in range(23)]
    header, data = {}, b""
    for i, name in enumerate(names):
        header[name] = {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]}
        data += bytes([i])
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert list(load_safetensors(tmp_path / "x")) == names
