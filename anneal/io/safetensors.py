"""Pytrees of arrays in safetensors files, one tensor for each leaf, named by its path.

Source of the format: the safetensors specification.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anneal import errors, tree
from anneal.array import Array, asarray


class FileFormatError(errors.AnnealError, ValueError):
    """A file that is not what its name says."""


def save_safetensors(path: str | Path, params: Any, metadata: dict[str, str] | None = None) -> None:
    """Writes every leaf of `params` under its path, keys joined by dots ("layers.0.w").

    The file appears whole or not at all. ValueError where two leaves would have the same name.
    """
    import numpy as np
    from safetensors.numpy import save

    path = Path(path)
    leaves, _ = tree.flatten_with_path(params)
    paths: dict[str, tree.Path] = {}
    for keys, _ in leaves:
        name = _name(keys)
        if name in paths:
            one, other = tree.keystr(paths[name]), tree.keystr(keys)
            raise ValueError(f"params{one} and params{other} would both be {name!r} in the file; "
                             "rename one")  # fmt: skip
        paths[name] = keys
    # Not ascontiguousarray, which gives scalars an axis.
    tensors = {_name(keys): np.array(asarray(leaf), order="C") for keys, leaf in leaves}
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(save(tensors, metadata))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _name(path: tree.Path) -> str:
    """`params['dense'][0]` as "dense.0"."""
    return ".".join([_step(key) for key in path])


def _step(key: tree.Key) -> str:
    match key:
        case tree.SequenceKey(step) | tree.GetAttrKey(step):
            return str(step)
        case tree.DictKey(step) | tree.FlattenedIndexKey(step):
            return str(step)


def load_safetensors(path: str | Path) -> dict[str, Array]:
    """The tensors of a file by name. FileFormatError, naming the file, where it is malformed."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as e:
        raise FileFormatError(f"{path}: not a safetensors file: {e}") from None
    except (AttributeError, KeyError) as e:  # a dtype that NumPy lacks
        raise FileFormatError(f"{path}: a tensor's dtype cannot be read: {e}") from None
    return {name: asarray(data) for name, data in tensors.items()}
