"""Runs a kernel on the CPU, or on WebGPU, with what NumPy holds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anneal import device
from anneal.interpret import numpy_dtype
from anneal.kernel.expand import launches
from anneal.kernel.ir import Kernel
from anneal.llvm import render as llvm
from anneal.llvm.runtime import Launches, Runtime
from anneal.wgsl import render as wgsl

Data = np.ndarray[Any, Any]
Run = Callable[[Kernel, Mapping[int, Data]], dict[int, Data]]


@functools.cache
def runtime() -> Runtime:
    return Runtime(threads=2)


def _memory(kernels: list[Kernel], memory: Mapping[int, Data]) -> dict[int, Data]:
    """Copies of the memory, and what the launches hand on."""
    found: dict[int, Data] = {}
    for p in (p for k in kernels for p in k.params):
        dtype = numpy_dtype(p.dtype)
        if p.arg not in found:
            given = memory.get(p.arg, np.zeros(int(p.src[0].arg)))
            found[p.arg] = np.array(given, dtype).ravel()
    return found


def on_cpu(kernel: Kernel, memory: Mapping[int, Data]) -> dict[int, Data]:
    kernels = launches(kernel)
    held = _memory(kernels, memory)
    texts = [llvm.render(k) for k in kernels]
    functions = [runtime().load(runtime().object_code(t.source)) for t in texts]
    table = Launches(functions, [len(k.params) for k in kernels],
                     [int(t.chunks.arg) for t in texts],
                     max(t.scratch for t in texts))  # fmt: skip
    for words, k in zip(table.arguments, kernels, strict=True):
        for n, p in enumerate(k.params):
            words[n] = held[p.arg].ctypes.data
    runtime().run(table)
    return held


def on_webgpu(kernel: Kernel, memory: Mapping[int, Data]) -> dict[int, Data]:
    import wgpu

    kernels = launches(kernel)
    held = _memory(kernels, memory)
    gpu: Any = device.get("webgpu")
    usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC
    buffers = {}
    for position, data in held.items():
        raw = (data.astype(np.uint32) if data.dtype == bool else data).tobytes()
        buffers[position] = gpu.handle.create_buffer_with_data(
            data=raw + bytes(16 - len(raw) % 16), usage=usage
        )
    encoder = gpu.handle.create_command_encoder()
    run = encoder.begin_compute_pass()
    for k in kernels:
        text = wgsl.render(k)
        module = gpu.handle.create_shader_module(code=text.source)
        pipeline = gpu.handle.create_compute_pipeline(
            layout="auto", compute={"module": module, "entry_point": "main"}
        )
        entries = [{"binding": n, "resource": {"buffer": buffers[p.arg], "offset": 0,
                                               "size": buffers[p.arg].size}}
                   for n, p in enumerate(k.params)]  # fmt: skip
        run.set_pipeline(pipeline)
        layout = pipeline.get_bind_group_layout(0)
        run.set_bind_group(0, gpu.handle.create_bind_group(layout=layout, entries=entries))
        groups = [int(n.arg) for n in text.groups]
        run.dispatch_workgroups(*groups, *[1] * (3 - len(groups)))
    run.end()
    gpu.handle.queue.submit([encoder.finish()])
    out = {}
    for position, data in held.items():
        kind = np.dtype(np.uint32) if data.dtype == bool else data.dtype
        raw = np.frombuffer(gpu.handle.queue.read_buffer(buffers[position]), kind)[: data.size]
        out[position] = raw.astype(data.dtype)
    return out
