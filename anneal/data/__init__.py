"""Images with labels: the digits that come with the package, or a user's file.

In: a path, or none. Out: float32 images in [0, 1] and int32 labels, split into train and test.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anneal import errors

if TYPE_CHECKING:
    import numpy as np

TEST_PART = 0.2
DIGITS = Path(__file__).parent / "digits.npz"


class DataError(errors.AnnealError, ValueError):
    """A data file that cannot be read, or does not hold images and labels."""


class Split(NamedTuple):
    """Images (n, 8, 8) float32 and labels (n,) int32, for training and for the test."""

    train_images: np.ndarray[Any, Any]
    train_labels: np.ndarray[Any, Any]
    test_images: np.ndarray[Any, Any]
    test_labels: np.ndarray[Any, Any]


def load(path: str | Path | None = None) -> Split:
    """The data of an .npz file with `images` (n, 8, 8) and `labels` (n,), one fifth for the test.

    The split is the same every time. DataError where the file is missing, damaged or of other form.

    >>> split = load()
    >>> split.train_images.shape, split.test_images.shape
    ((1438, 8, 8), (359, 8, 8))
    """
    import numpy as np

    images, labels = _read(Path(path) if path is not None else DIGITS)
    order = np.random.default_rng(0).permutation(len(labels))
    scaled = images.astype(np.float32)[order] / np.float32(max(float(images.max()), 1.0))
    labels = labels.astype(np.int32)[order]
    n = len(labels) - int(len(labels) * TEST_PART)
    return Split(scaled[:n], labels[:n], scaled[n:], labels[n:])


def _read(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    import numpy as np

    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile("it is no zip archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as found:
                images, labels = found["images"], found["labels"]
    except KeyError as e:
        raise DataError(f"{path}: expected arrays 'images' and 'labels': {e.args[0]}") from None
    except OSError as e:
        raise DataError(f"{path}: {e.strerror or e}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, TypeError) as e:
        raise DataError(f"{path}: not a readable .npz file: {e}") from None
    if images.ndim != 3 or images.shape[1:] != (8, 8) or labels.shape != images.shape[:1]:
        raise DataError(f"{path}: expected images (n, 8, 8) and labels (n,), got "
                        f"{images.shape} and {labels.shape}")  # fmt: skip
    if len(labels) < 10 or labels.dtype.kind not in "iu" or images.dtype.kind not in "iuf":
        raise DataError(f"{path}: expected at least 10 numeric images with integer labels, got "
                        f"{len(labels)} of {images.dtype} with {labels.dtype}")  # fmt: skip
    if labels.min() < 0 or labels.max() > 9 or not np.isfinite(images.astype(np.float64)).all():
        raise DataError(f"{path}: labels must be 0 to 9 and pixels finite")
    return images, labels
