"""Pytrees of arrays in safetensors files, one tensor for each leaf, named by its path.

Source of the format: the safetensors specification.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anneal import device, errors, tree
from anneal.array import Array, asarray, realize
from anneal.io.files import write_whole
from anneal.uop.uop import UOp, toposort
from anneal.wgsl.render import SUPPORTED

if TYPE_CHECKING:
    import numpy as np

# Beside the names of tensors the header has this one.
_RESERVED = "__metadata__"
# Readers refuse longer headers.
_MOST_HEADER_BYTES = 100_000_000
_NUMPY_NAMES = {
    "BOOL": "uint8", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "F16": "float16",
    "U32": "uint32", "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64",
    "F64": "float64",
}  # fmt: skip


class FileFormatError(errors.AnnealError, ValueError):
    """A file that is not what its name says."""


def save_safetensors(path: str | Path, params: Any, metadata: dict[str, str] | None = None) -> None:
    """Writes every leaf of `params` under its path, keys joined by dots ("layers.0.w").

    The file appears whole or not at all, for other processes and after a crash; a link, and the
    mode of a file that was there, are kept; a device is written to. ValueError where two leaves
    would have the same name, or one the format's own.
    """
    from safetensors.numpy import save

    leaves, _ = tree.flatten_with_path(params)
    paths: dict[str, tree.Path] = {}
    for keys, _ in leaves:
        name = _name(keys)
        if name in paths:
            one, other = tree.keystr(paths[name]), tree.keystr(keys)
            raise ValueError(f"params{one} and params{other} would both be {name!r} in the file; "
                             "rename one")  # fmt: skip
        if name == _RESERVED:
            raise ValueError(f"params{tree.keystr(keys)} would be {name!r} in the file, which is "
                             "the format's own; rename it")  # fmt: skip
        paths[name] = keys
    data = save({_name(keys): _on_host(asarray(leaf)) for keys, leaf in leaves}, metadata)
    if int.from_bytes(data[:8], "little") > _MOST_HEADER_BYTES:
        raise ValueError(f"the names of {len(leaves)} leaves make a header that readers refuse, of "
                         f"more than {_MOST_HEADER_BYTES} bytes; shorten them")  # fmt: skip
    write_whole(path, data)


def _name(path: tree.Path) -> str:
    """`params['dense'][0]` as "dense.0"."""
    return ".".join([_step(key) for key in path])


def _step(key: tree.Key) -> str:
    match key:
        case tree.SequenceKey(step) | tree.GetAttrKey(step):
            return str(step)
        case tree.DictKey(step) | tree.FlattenedIndexKey(step):
            return str(step)


def _on_host(x: Array) -> np.ndarray[Any, Any]:
    """The elements of `x`. What was cast to a dtype that the device lacks (bfloat16 on WebGPU) is
    computed on the device up to there, and on the host from there."""
    import numpy as np

    if device.current().name != "webgpu":
        return _copied(x)
    nodes = toposort([x.uop], stop=_is_known)
    beyond = set[UOp]()
    for u in nodes:
        if not _is_known(u) and (u.dtype not in SUPPORTED or not beyond.isdisjoint(u.src)):
            beyond.add(u)
    if not beyond:
        return _copied(x)
    realize([Array(s) for u in beyond for s in u.src if s not in beyond and s.dtype in SUPPORTED])
    with device.within("interpreter"):
        return np.array(_copied(x))


def _is_known(u: UOp) -> bool:
    return not u.src or u.value is not None


def _copied(x: Array) -> np.ndarray[Any, Any]:
    import numpy as np

    # Not ascontiguousarray, which gives scalars an axis.
    return np.array(x, order="C")


def load_safetensors(path: str | Path) -> dict[str, Array]:
    """The tensors of a file by name, in the file's order. FileFormatError, naming the file, where
    it is malformed, has two tensors of one name, or a dtype that arrays cannot have."""
    from safetensors import SafetensorError, deserialize

    path = Path(path)
    # Read, not mapped: what another program cuts short meanwhile would end the process.
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FileFormatError(f"{path}: not a regular file")
    raw = path.read_bytes()
    try:
        found = deserialize(raw)  # type: ignore[no-untyped-call]
    except SafetensorError as e:
        raise FileFormatError(f"{path}: not a safetensors file: {e}") from None
    names = _names(raw)
    if repeated := [name for name, n in names.items() if n > 1]:
        raise FileFormatError(f"{path}: the header names {repeated[0]!r} more than once")
    order = {name: i for i, name in enumerate(names)}  # what is found comes in any
    tensors: dict[str, Array] = {}
    for name, tensor in sorted(found, key=lambda pair: order[pair[0]]):
        try:
            tensors[name] = asarray(_tensor(tensor))
        except (TypeError, ValueError, OverflowError) as e:
            raise FileFormatError(f"{path}: tensor {name!r} cannot be read: {e}") from None
    return tensors


def _names(raw: bytes) -> Counter[str]:
    """How often the header, already known to be JSON, has each name, in its order."""
    header = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    pairs: list[tuple[str, Any]] = json.loads(header, object_pairs_hook=list)
    return Counter([name for name, _ in pairs])


def _tensor(tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    kind = tensor["dtype"]
    if kind == "BF16":
        import ml_dtypes

        dtype = np.dtype(ml_dtypes.bfloat16)
    elif kind in _NUMPY_NAMES:
        dtype = np.dtype(_NUMPY_NAMES[kind]).newbyteorder("<")
    else:
        raise TypeError(f"arrays have no dtype {kind}")
    data = np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])
    # A byte of a bool is 0 or 1 here, whatever a file says.
    return data != 0 if kind == "BOOL" else data.astype(dtype.newbyteorder("="), copy=False)
