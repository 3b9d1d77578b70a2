"""What a device allows, and what is worth its while: all that lowering asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anneal.kernel.target import SOFTWARE, Target

# Iterations of all loops of one invocation. Mesa's llvmpipe ends a shader's loops after 65,535 in
# all, without a word; and a device that is not asked for more never hangs the desktop. What is
# planned for is less than a target's `max_loop`, which leaves room for loops over parts of sums.
MOST_ITERATIONS = 60_000


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Lines of Opts that searches found, by the key of the nest. What is found later is another
    one, and equal to itself alone."""

    lines: Mapping[str, str]


NOTHING = Found({})


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a program: storage buffers that a kernel may bind, bytes of one binding; whether
    operations are fused at all; what its kernels are shaped and written for; `opts` by hand, a
    line for the name of each nest that they shape; and those that searches found."""

    max_buffers: int = 8
    max_binding_bytes: int = 128 << 20
    fuse: bool = True
    target: Target = SOFTWARE
    opts: tuple[tuple[str, str], ...] = ()
    found: Found = field(default=NOTHING, repr=False)

    def by_hand(self, key: str) -> str | None:
        """The Opts that were given for a nest of this key."""
        return next((line for name, line in self.opts if name == called(key)), None)

    def asked(self, key: str) -> str | None:
        """The Opts that are asked for a nest of this key, by hand or by what was found; None where
        a heuristic chooses them."""
        line = self.by_hand(key)
        return self.found.lines.get(key) if line is None else line


def called(key: str) -> str:
    """The name of a nest of this key."""
    return key[:6]


def trips(sizes: Iterable[int]) -> int:
    """Iterations of loops in loops, the outermost first: those of all of them count."""
    total, times = 0, 1
    for n in sizes:
        times *= n
        total += times
    return total
