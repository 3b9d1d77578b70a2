"""Pytrees in files: names, dtypes, and files that are refused whole."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
