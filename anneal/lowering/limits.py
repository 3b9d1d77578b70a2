"""What a device allows, and what is worth its while: all that lowering asks of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a kernel: storage buffers it may bind, bytes of one binding; whether operations
    are fused at all; whether invocations run side by side on a GPU, which wants more of them, and
    where those of a workgroup can share long loops."""

    max_buffers: int = 8
    max_binding_bytes: int = 128 << 20
    fuse: bool = True
    gpu: bool = False
