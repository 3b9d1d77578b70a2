"""Pytrees of arrays in safetensors files, one tensor for each leaf, named by its path.

Source of the format: the safetensors specification.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from anneal import errors, tree
from anneal.array import Array, asarray


class FileFormatError(errors.AnnealError, ValueError):
    """A file that is not what its name says."""


def save_safetensors(path: str | Path, params: Any, metadata: dict[str, str] | None = None) -> None:
    """Writes every leaf of `params` under its path, keys joined by dots ("layers.0.w").

    The file appears whole or not at all.
    """
    import numpy as np
    from safetensors.numpy import save

    path = Path(path)
    leaves, _ = tree.flatten_with_path(params)
    tensors = {_name(keys): np.ascontiguousarray(asarray(leaf)) for keys, leaf in leaves}
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(save(tensors, metadata))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _name(path: tree.Path) -> str:
    """`params['dense'][0]` as "dense.0"."""
    return re.sub(r"[\[\]'\".]+", ".", tree.keystr(path)).strip(".")


def load_safetensors(path: str | Path) -> dict[str, Array]:
    """The tensors of a file by name. FileFormatError, naming the file, where it is malformed."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: asarray(data) for name, data in load_file(path).items()}
    except SafetensorError as e:
        raise FileFormatError(f"{path}: not a safetensors file: {e}") from None
