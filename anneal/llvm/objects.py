"""Machine code on disk: a second process links what the first one compiled.

In: IR and what compiles it. Out: object files. They name no addresses, so any process links them;
the key is all that code generation knows, so none is linked for another processor or by another
LLVM, and a row that was not stored under its key is not linked at all (`lowering/database.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from anneal.lowering.blobs import Blobs

# Some kilobytes each: about 100 MB.
OBJECTS = Blobs("objects", "object", most=16_384)


def key_of(source: str, compiler: str) -> str:
    """The key of what `compiler` (processor, features, versions, settings) makes of `source`."""
    return blake2b(f"{compiler}\n{source}".encode(), digest_size=16).hexdigest()


def load(keys: Iterable[str]) -> dict[str, bytes]:
    """The object files that are there."""
    return OBJECTS.load(keys, bytes)


def store(made: Mapping[str, bytes]) -> None:
    """Keeps object files for the next process."""
    OBJECTS.store(made)
