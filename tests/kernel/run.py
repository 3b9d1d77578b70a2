"""Runs a kernel on the CPU, or on WebGPU, with what NumPy holds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from anneal import device
from anneal.interpret import numpy_dtype
from anneal.kernel.expand import launches
from anneal.kernel.heuristic import Choices
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel
from anneal.kernel.spec import verify
from anneal.kernel.target import Target
from anneal.llvm import render as llvm
from anneal.llvm.runtime import Launches, Runtime
from anneal.lowering import code
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from anneal.memo import Memo
from anneal.uop.uop import Graph
from anneal.wgsl import render as wgsl
from tests.kernel.kernels import EXACT

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


def plan_on_interpreter(
    graph: Graph, data: list[Data], donate: frozenset[int], target: Target,
    shape: Callable[[Kernel, Target], Choices], monkeypatch: pytest.MonkeyPatch,
) -> list[Data]:  # fmt: skip
    """What a graph gives: the kernels of its plan, one after another, on their interpreter."""
    nests: list[Kernel] = []

    def noted(steps: Sequence[Sequence[Kernel]], target: Target) -> list[code._Text]:
        out = []
        for nest in (nest for step in steps for nest in step):
            binds = tuple([int(p.arg) for p in nest.params])
            out.append(code._Text((nest,), str(len(nests)), binds, (1, 1, 1)))
            nests.append(nest)
        return out

    with monkeypatch.context() as patched:
        patched.setattr(code, "_written", Memo(1000))
        patched.setitem(code._TARGETS, target.name, (shape, noted))
        plan = lower(graph, Limits(32, target=target), donate)
    memory: list[Data] = []
    for s in plan.slots:
        if s.kind == "input":
            memory.append(data[s.position].ravel().copy())
        elif s.alias is not None:
            memory.append(memory[s.alias])
        else:
            memory.append(np.full(s.size, 7, numpy_dtype(s.dtype)))
    for launch in plan.launches:
        nest = nests[int(launch.kernel.source)]
        verify(nest)
        held = {p.arg: memory[i].view(numpy_dtype(p.dtype))
                for i, p in zip(launch.args, nest.params, strict=True)}  # fmt: skip
        for position, value in interpret(nest, held).items():
            held[position][: value.size] = value
    return [memory[i].view(numpy_dtype(u.dtype))
            for i, u in zip(plan.outputs, graph.outputs, strict=True)]  # fmt: skip


def check(name: str, kernel: Kernel, got: Mapping[int, Data],
          expected: Mapping[int, Data]) -> None:  # fmt: skip
    """What a random case gave is what it should: to the bit where its sums are exact."""
    said = f"{name}: {' '.join(map(str, kernel.opts))}"
    for position, want in expected.items():
        if name.partition("(")[0] in EXACT:
            np.testing.assert_array_equal(got[position], want, err_msg=said)
        else:
            np.testing.assert_allclose(got[position], want, 2e-6, err_msg=said)
