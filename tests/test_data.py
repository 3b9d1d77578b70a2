"""The digits, and how they are split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
