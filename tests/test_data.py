"""The digits, and how they are split."""

from __future__ import annotations

import io
import os
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anneal import data


def test_the_digits_are_whole_and_split_without_overlap() -> None:
    split = data.load()
    assert split.train_images.dtype == np.float32 and split.train_labels.dtype == np.int32
    assert (len(split.train_labels), len(split.test_labels)) == (1438, 359)
    every = np.concatenate([split.train_images, split.test_images])
    assert every.min() == 0 and every.max() == 1
    with np.load(data.DIGITS) as raw:
        whole = sorted(map(bytes, raw["images"]))
    assert sorted(map(bytes, (every * 16).astype(np.uint8))) == whole
    counts = np.bincount(np.concatenate([split.train_labels, split.test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(split.test_labels, minlength=10).min() > 20


def test_the_split_is_the_same_every_time() -> None:
    for one, other in zip(data.load(), data.load(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.full((10, 8, 8), 255, np.uint8), labels=np.arange(10))
    split = data.load(path)
    assert len(split.train_labels) == 8 and len(split.test_labels) == 2
    assert split.train_images.max() == 1.0


# -- scale -----------------------------------------------------------------------------------------

WIDE = [("float64", 1e300), ("float64", -1e300), ("float64", 1.7e308), ("float32", 3.4e38),
        ("float32", -3.4e38), ("float16", 65504), ("int64", -(2**63)), ("uint64", 2**64 - 1),
        ("int32", -(2**31)), ("uint8", 255), (">f8", 1e300), (">i2", -300),
        ("longdouble", np.finfo(np.longdouble).max)]  # fmt: skip


@pytest.mark.parametrize(("dtype", "value"), WIDE)
def test_pixels_of_any_finite_size_are_scaled(dtype: str, value: float, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    images = np.zeros((20, 8, 8), dtype)
    images[3, 2, 1] = value
    np.savez(path, images=images, labels=np.arange(20) % 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = data.load(path)
    every = np.concatenate([split.train_images, split.test_images])
    assert every.dtype == np.float32
    assert np.count_nonzero(every) == 1 and every.sum() == (1.0 if value > 0 else -1.0)


def test_pixels_between_minus_one_and_one_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    images = np.linspace(-1, 0.5, 20 * 64).reshape(20, 8, 8)
    np.savez(path, images=images, labels=np.zeros(20, int))
    split = data.load(path)
    every = np.sort(np.concatenate([split.train_images, split.test_images]).ravel())
    np.testing.assert_array_equal(every, images.ravel().astype(np.float32))


# -- damage ----------------------------------------------------------------------------------------


def npy(images: np.ndarray) -> bytes:  # type: ignore[type-arg]
    file = io.BytesIO()
    np.save(file, images)
    return file.getvalue()


IMAGES, LABELS = npy(np.ones((20, 8, 8), np.uint8)), npy(np.zeros(20, np.int32))


def archive(images: bytes, labels: bytes = LABELS, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("images.npy", images)
        made.writestr("labels.npy", labels)
    return file.getvalue()


def header(text: str, version: bytes = b"\x01\x00", rest: bytes = bytes(1280)) -> bytes:
    raw = text.encode("latin1")
    return b"\x93NUMPY" + version + struct.pack("<H", len(raw)) + raw + rest


def shape(text: str) -> bytes:
    return archive(header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {text}}}"))


def field(raw: bytes, at: int, code: str, value: int) -> bytes:
    """The archive with a field of every central directory entry, and of its local one, changed."""
    out = bytearray(raw)
    for signature, offset in ((b"PK\x01\x02", at), (b"PK\x03\x04", at - 2)):
        place = out.find(signature)
        while place >= 0:
            struct.pack_into(code, out, place + offset, value)
            place = out.find(signature, place + 4)
    return bytes(out)


def flipped(raw: bytes, at: int) -> bytes:
    out = bytearray(raw)
    out[at] ^= 255
    return bytes(out)


WHOLE = archive(IMAGES)
DAMAGES: dict[str, Callable[[], bytes]] = {
    "deflate": lambda: flipped(WHOLE, WHOLE.index(b"images.npy") + 11),
    "deflate's end": lambda: flipped(WHOLE, WHOLE.index(b"PK\x03\x04", 4) - 2),
    "checksum": lambda: field(WHOLE, 16, "<I", 7),
    "encrypted": lambda: field(WHOLE, 8, "<H", 1),
    "unknown method": lambda: field(WHOLE, 10, "<H", 77),
    "bzip2 that is deflate": lambda: field(WHOLE, 10, "<H", zipfile.ZIP_BZIP2),
    "lzma that is deflate": lambda: field(WHOLE, 10, "<H", zipfile.ZIP_LZMA),
    "a version to come": lambda: field(WHOLE, 6, "<H", 999),
    "longer than it says": lambda: field(WHOLE, 24, "<I", 7),
    "shorter than it says": lambda: field(WHOLE, 24, "<I", 2**31),
    "an empty member": lambda: archive(b""),
    "no magic": lambda: archive(IMAGES[1:]),
    "a header cut short": lambda: archive(IMAGES[:30]),
    "a magic cut short": lambda: archive(IMAGES[:7]),
    "data cut short": lambda: archive(IMAGES[:-1]),
    "more data": lambda: archive(IMAGES + b"x"),
    "labels cut short": lambda: archive(IMAGES, LABELS[:-1]),
    "version 9": lambda: archive(header("{}", b"\x09\x00")),
    "no dictionary": lambda: archive(header("[]")),
    "a deep header": lambda: archive(header("(" * 60000)),
    "a header of no end": lambda: archive(header("{'descr': 'abc")),
    "an expression": lambda: archive(header("__import__('os').getpid()")),
    "a dtype that is none": lambda: archive(
        header("{'descr': '<f7', 'fortran_order': False, 'shape': (20, 8, 8)}")),
    "a shape that is an expression": lambda: shape("(10**12, 8, 8)"),
    "a shape of 64 TB": lambda: shape("(1000000000000, 8, 8)"),
    "a shape of 10^30": lambda: shape("(1000000000000000000000000000000, 8, 8)"),
    "a shape that wraps": lambda: shape("(288230376151711764, 8, 8)"),
    "a negative shape": lambda: shape("(-20, -8, 8)"),
    "a shape of floats": lambda: shape("(20.0, 8, 8)"),
    "a shape of text": lambda: shape("'abc'"),
    "100 axes": lambda: shape("(" + "1, " * 100 + ")"),
    "objects": lambda: archive(npy(np.array([None] * 20))),
    "names for a field": lambda: archive(npy(np.zeros(20, [("a", "i4")]))),
    "complex": lambda: archive(npy(np.zeros((20, 8, 8), complex))),
    "text": lambda: archive(npy(np.full((20, 8, 8), "a"))),
    "dates": lambda: archive(npy(np.zeros((20, 8, 8), "M8[s]"))),
    "nine images": lambda: archive(npy(np.zeros((9, 8, 8))), npy(np.zeros(9, int))),
    "no images": lambda: archive(npy(np.zeros((0, 8, 8))), npy(np.zeros(0, int))),
    "infinite": lambda: archive(npy(np.full((20, 8, 8), np.inf))),
    "float labels": lambda: archive(IMAGES, npy(np.zeros(20))),
    "labels beyond": lambda: archive(IMAGES, npy(np.full(20, 2**63, np.uint64))),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(DAMAGES[damage]())
    with pytest.raises(data.DataError, match=r"bad\.npz: ."):
        data.load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_archives_cut_short_anywhere_are_refused(method: int, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    raw = archive(IMAGES, method=method)
    path.write_bytes(raw)
    assert data.load(path).train_images.max() == 1
    for kept in range(0, len(raw), 7):
        path.write_bytes(raw[:kept])
        with pytest.raises(data.DataError):
            data.load(path)


def test_a_file_of_python_2_is_read_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "old.npz"
    path.write_bytes(shape("(20L, 8L, 8L)"))
    assert data.load(path).train_images.shape == (16, 8, 8)  # and warnings are errors here


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of POSIX")
def test_a_pipe_is_refused_without_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.perf_counter()
    with pytest.raises(data.DataError, match="not a regular file"):
        data.load(tmp_path / "pipe")
    assert time.perf_counter() - began < 5
