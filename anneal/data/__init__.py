"""Images with labels: the digits that come with the package, or a user's file.

In: a path, or none. Out: float32 images in [0, 1] and int32 labels, split into train and test.
"""

from __future__ import annotations

import math
import stat
import warnings
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

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

    The split is the same every time. Pixels are divided by the greatest magnitude, if that exceeds
    1. DataError where the file is missing, damaged or of other form.

    >>> split = load()
    >>> split.train_images.shape, split.test_images.shape
    ((1438, 8, 8), (359, 8, 8))
    """
    import numpy as np

    images, labels = _read(Path(path) if path is not None else DIGITS)
    order = np.random.default_rng(0).permutation(len(labels))
    # Scaled before it is float32, which what is finite in float64 need not fit.
    wide = images[order].astype(np.result_type(images, np.float32))
    wide /= max(wide.max(), -wide.min(), 1.0)
    scaled = wide.astype(np.float32, copy=False)
    labels = labels.astype(np.int32)[order]
    n = len(labels) - int(len(labels) * TEST_PART)
    return Split(scaled[:n], labels[:n], scaled[n:], labels[n:])


def _read(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    import numpy as np

    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DataError(f"{path}: not a regular file")
        with path.open("rb") as file:
            images, labels = _arrays(file)
    except DataError:
        raise
    except KeyError as e:
        raise DataError(f"{path}: expected arrays 'images' and 'labels': {e.args[0]}") from None
    except OSError as e:
        raise DataError(f"{path}: {e.strerror or e}") from None
    except MemoryError:
        raise DataError(f"{path}: its arrays do not fit the memory") from None
    except Exception as e:  # zipfile, zlib and NumPy raise whatever damaged bytes lead them to
        raise DataError(f"{path}: not a readable .npz file: {e or type(e).__name__}") from None
    if images.ndim != 3 or images.shape[1:] != (8, 8) or labels.shape != images.shape[:1]:
        raise DataError(f"{path}: expected images (n, 8, 8) and labels (n,), got "
                        f"{images.shape} and {labels.shape}")  # fmt: skip
    if len(labels) < 10 or labels.dtype.kind not in "iu" or images.dtype.kind not in "iuf":
        raise DataError(f"{path}: expected at least 10 numeric images with integer labels, got "
                        f"{len(labels)} of {images.dtype} with {labels.dtype}")  # fmt: skip
    if labels.min() < 0 or labels.max() > 9 or not np.isfinite(images).all():
        raise DataError(f"{path}: labels must be 0 to 9 and pixels finite")
    return images, labels


def _arrays(file: BinaryIO) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """`images` and `labels` of an archive. A member is read only if it is as long as its header
    says: a damaged shape asks for no memory."""
    import numpy as np

    if not zipfile.is_zipfile(file):
        raise zipfile.BadZipFile("it is no zip archive")
    found = []
    with zipfile.ZipFile(file) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of headers that it can read all the same
        for name in ("images", "labels"):
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as data:
                shape, _, dtype = _header(data)
                if math.prod(shape) * dtype.itemsize != member.file_size - data.tell():
                    raise ValueError(f"{name} of shape {shape} and dtype {dtype} are not "
                                     f"{member.file_size - data.tell()} bytes")  # fmt: skip
                data.seek(0)
                found.append(np.lib.format.read_array(data, allow_pickle=False))
                if data.read(1):  # the checksum is compared at the end
                    raise ValueError(f"{name} go on after their end")
    return found[0], found[1]


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    from numpy.lib import format

    version = format.read_magic(file)
    read = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of NumPy's format")
    return read(file)
