"""Files that others wrote or disks changed: each is refused by a clear error, or read as it says.

`python -m tests.fuzz_files --seed 0 --count 10000` mutates plan caches, safetensors files and
`--data` archives, `count` of each, by flipping bits, truncating, splicing and overwriting, and
checks:

* a plan is the one that was stored under the key, or none; afterwards the cache works again;
* tensors are what an independent reading of the same bytes gives, or FileFormatError;
* images are those that were written, or DataError. Where the checksums of the archive do not reach
  (a member's name, say), a mutation must still not give other values.

A failure prints the seed that repeats it, and leaves the file.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import anneal
import anneal.numpy as anp
from anneal import data
from anneal.io import load_safetensors, save_safetensors
from anneal.io.safetensors import FileFormatError
from anneal.lowering import cache
from anneal.lowering.plan import Plan, lower
from anneal.uop.uop import Graph

# -- mutations -------------------------------------------------------------------------------------


def mutated(raw: bytes, other: bytes, rng: random.Random) -> bytes:
    """`raw` with one to three changes; pieces of `other` may come in."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_MUTATIONS)(out, other, rng)
    return bytes(out)


def _flip(out: bytearray, other: bytes, rng: random.Random) -> None:
    if out:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _overwrite(out: bytearray, other: bytes, rng: random.Random) -> None:
    at = rng.randrange(len(out) + 1)
    n = rng.choice((1, 2, 4, 8, 64))
    fill = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", rng.randbytes(1)))
    out[at : at + n] = fill * len(out[at : at + n])


def _truncate(out: bytearray, other: bytes, rng: random.Random) -> None:
    del out[rng.choice((rng.randrange(len(out) + 1), max(len(out) - rng.randrange(1, 64), 0))) :]


def _splice(out: bytearray, other: bytes, rng: random.Random) -> None:
    """A piece of another file of the kind, in place or shifted."""
    start = rng.randrange(len(other))
    piece = other[start : start + rng.choice((1, 16, 256, 4096))]
    at = rng.choice((start, rng.randrange(len(out) + 1)))
    out[at : at + rng.choice((0, len(piece)))] = piece


def _cut(out: bytearray, other: bytes, rng: random.Random) -> None:
    at = rng.randrange(len(out) + 1)
    del out[at : at + rng.choice((1, 4, 100))]


def _repeat(out: bytearray, other: bytes, rng: random.Random) -> None:
    at, to = rng.randrange(len(out) + 1), rng.randrange(len(out) + 1)
    out[to:to] = out[at : at + rng.choice((1, 8, 512))]


def _digit(out: bytearray, other: bytes, rng: random.Random) -> None:
    """Headers are text: a digit or a letter is another."""
    places = [i for i, b in enumerate(out[:2000]) if chr(b).isalnum()]
    if places:
        out[rng.choice(places)] = ord(rng.choice("0123456789-.eFIUBx\"'[]{},"))


def _near_the_start(out: bytearray, other: bytes, rng: random.Random) -> None:
    if out:
        out[rng.randrange(min(len(out), 128))] = rng.randrange(256)


_MUTATIONS: tuple[Callable[[bytearray, bytes, random.Random], None], ...] = (
    _flip, _flip, _flip, _overwrite, _truncate, _splice, _cut, _repeat, _digit, _near_the_start,
)  # fmt: skip


# -- plan caches -----------------------------------------------------------------------------------

PROGRAMS: tuple[Callable[[Any], Any], ...] = (
    lambda x: x + 1, lambda x: x + 2, lambda x: x * 2, lambda x: (x * 2).sum(), lambda x: x.max(),
    lambda x: anp.exp(x) / anp.exp(x).sum(), lambda x: x[:, None] * x, lambda x: x.sum() + x,
)  # fmt: skip


def _plans() -> list[tuple[Graph, str, Plan]]:
    found = []
    for f in PROGRAMS:
        graph = anneal.jit(f).lower(np.ones(16, np.float32)).graph
        limits = replace(anneal.device.limits(), max_buffers=8)
        found.append((graph, cache.key_of(graph, limits), lower(graph, limits, frozenset())))
    return found


class Plans:
    """Two caches of the same programs, stored in another order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "plans"
        self.plans = _plans()
        self.file = self.folder / "plans.sqlite3"
        self.raw = [self._stored(self.plans), self._stored(self.plans[::-1])]

    def _stored(self, plans: list[tuple[Graph, str, Plan]]) -> bytes:
        with _cache_folder(self.folder):
            for _, key, plan in plans:
                cache.store(key, plan)
        raw = self.file.read_bytes()
        self.file.unlink()
        return raw

    def check(self, rng: random.Random) -> str:
        raw, other = rng.sample(self.raw, 2)
        bad = mutated(raw, other, rng)
        outcome = "as stored"
        with _cache_folder(self.folder):
            for graph, key, plan in rng.sample(self.plans, 3):
                self.file.write_bytes(bad)
                found = cache.load(graph, key)
                assert found is None or found == plan, f"another plan: {found}"
                if found is None:
                    outcome = "a miss"
                    cache.store(key, plan)
                    again = cache.load(graph, key)
                    assert again is None or again == plan
                    if again is None:
                        outcome = "a miss that stays"
        return outcome


class _cache_folder:  # noqa: N801  (a context manager)
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = os.environ.get("ANNEAL_CACHE_DIR")
        os.environ["ANNEAL_CACHE_DIR"] = str(self.folder)

    def __exit__(self, *_: object) -> None:
        os.environ.pop("ANNEAL_CACHE_DIR")
        if self.before is not None:
            os.environ["ANNEAL_CACHE_DIR"] = self.before


# -- safetensors -----------------------------------------------------------------------------------

_DTYPES = {"BOOL": "u1", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
           "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
           "BF16": ml_dtypes.bfloat16}  # fmt: skip


def independent(raw: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors by the format's specification, read plainly. KeyError and such for no file."""
    n = int.from_bytes(raw[:8], "little")
    header, rest = json.loads(raw[8 : 8 + n]), raw[8 + n :]
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            array = np.frombuffer(rest[start:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
            found[name] = array != 0 if entry["dtype"] == "BOOL" else array
    return found


def _narrow(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    to = {"float64": "float32", "int64": "int32", "uint64": "uint32"}.get(x.dtype.name)
    with np.errstate(over="ignore"):
        return x if to is None else x.astype(to)


class Tensors:
    """Files of every dtype, of small tensors and of metadata."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "x.safetensors"
        tree = {name: np.arange(6).reshape(2, 3).astype(name)
                for name in ("bool", "int8", "uint8", "int16", "int32", "uint32", "float16",
                             "float32")}  # fmt: skip
        tree["bfloat16"] = np.arange(5).astype(ml_dtypes.bfloat16)
        self.raw = []
        for params, metadata in ((tree, {"model": "mlp"}), ({"x": 1.0, "y": [2, np.ones(0)]}, None),
                                 ([np.ones((3, 4)), {"w": np.zeros(7)}], {"a": "b"})):  # fmt: skip
            save_safetensors(self.file, params, metadata)
            self.raw.append(self.file.read_bytes())

    def check(self, rng: random.Random) -> str:
        raw, other = rng.sample(self.raw, 2)
        bad = mutated(raw, other, rng)
        self.file.write_bytes(bad)
        try:
            found = load_safetensors(self.file)
        except FileFormatError as e:
            assert self.file.name in str(e)
            return "refused"
        expected = independent(bad)
        assert list(map(str, sorted(found))) == sorted(expected)
        for name, x in expected.items():
            got, x = np.asarray(found[name]), _narrow(x)
            assert got.dtype == x.dtype and got.shape == x.shape, name
            assert got.tobytes() == x.tobytes() or np.array_equal(got, x, equal_nan=True), name
        return "as it says" if bad != raw else "unchanged"


# -- archives --------------------------------------------------------------------------------------


class Archives:
    """Archives of several methods, of equal images, labels that differ between the files."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "data.npz"
        rng = np.random.default_rng(0)
        self.raw: list[tuple[bytes, data.Split]] = []
        for method, dtype in ((zipfile.ZIP_STORED, "u1"), (zipfile.ZIP_DEFLATED, "u1"),
                              (zipfile.ZIP_DEFLATED, "<f8")):  # fmt: skip
            images = rng.integers(0, 17, (12, 8, 8)).astype(dtype)
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as made:
                for name, array in (("images", images), ("labels", rng.integers(0, 10, 12))):
                    with made.open(f"{name}.npy", "w") as member:
                        np.save(member, array)  # type: ignore[arg-type]
            self.file.write_bytes(file.getvalue())
            self.raw.append((file.getvalue(), data.load(self.file)))

    def check(self, rng: random.Random) -> str:
        (raw, split), (other, another) = rng.sample(self.raw, 2)
        self.file.write_bytes(mutated(raw, other, rng))
        try:
            found = data.load(self.file)
        except data.DataError as e:
            assert self.file.name in str(e)
            return "refused"
        # A file spliced whole into another may be that other file; it is never a mixture.
        assert any(all(map(np.array_equal, found, known)) for known in (split, another)), found
        return "as written"


# -- the command -----------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Path], Any]] = {
    "plans": Plans, "safetensors": Tensors, "archives": Archives}  # fmt: skip
# A file of a few kilobytes is read in milliseconds, however damaged.
_MOST_SECONDS = 10.0


def fuzz(kind: str, seed: int, count: int, folder: Path) -> Counter[str]:
    """What came of `count` mutated files of a kind. AssertionError, and its seed, at a failure."""
    tried = KINDS[kind](folder)
    outcomes: Counter[str] = Counter()
    for i in range(seed, seed + count):
        start = time.perf_counter()
        try:
            outcomes[tried.check(random.Random(i))] += 1
        except Exception as e:
            raise AssertionError(f"{kind}, --seed {i} --count 1, {tried.file}: {e!r}") from e
        assert time.perf_counter() - start < _MOST_SECONDS, f"{kind}, --seed {i} --count 1: slow"
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000, help="files of each kind")
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-files-"))
    for kind in args.kind or KINDS:
        began = time.perf_counter()
        outcomes = fuzz(kind, args.seed, args.count, folder)
        text = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
        print(f"{kind:12s} {args.count} files from seed {args.seed}: {text}; "
              f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
