"""WebGPU through wgpu: one command buffer, one pass and one submission for a call.

In: a Plan. Out: an executable over pooled buffers. What could make wgpu-native abort the process is
refused here in Python first: too many or too large bindings, a buffer read and written at once,
memory given away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anneal import config
from anneal.device import DeviceError, read
from anneal.lowering import cache
from anneal.lowering.cost import item_bytes
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Kernel, Launch, Plan, Slot, lower
from anneal.profiling import profiled, record
from anneal.provenance import Lines
from anneal.stats import count, count_bytes
from anneal.uop import dtypes
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph
from anneal.wgsl.render import SUPPORTED

if TYPE_CHECKING:
    import numpy as np

_MOST_BINDINGS_REMEMBERED = 64
# Buffers kept for each result of a program: one that is read while the next is made.
_MOST_ON_A_SHELF = 2
_MOST_GROUPS = 65535  # every adapter's limit of workgroups along an axis
_INSTALL = "install a Vulkan driver (on Debian: apt-get install mesa-vulkan-drivers), or use the " \
           "interpreter"  # fmt: skip
_adapters: list[Any] | None = None


def adapters() -> list[Any]:
    """The adapters that answer, hardware first; OpenGL's are left out."""
    global _adapters
    if _adapters is None:
        try:
            import wgpu
            from wgpu.backends.wgpu_native.extras import set_instance_extras
        except (ImportError, OSError):  # OSError: the wheel is there, its library does not load
            _adapters = []
            return _adapters
        with contextlib.suppress(RuntimeError):  # the program made wgpu's instance before us
            set_instance_extras(backends=["Vulkan", "Metal", "DX12"])
        with config.no_display():
            found = [a for a in wgpu.gpu.enumerate_adapters_sync()
                     if a.info["backend_type"] != "OpenGL"]  # fmt: skip
        _adapters = sorted(found, key=lambda a: bool(a.info["adapter_type"] == "CPU"))
    return _adapters


def hardware_adapter() -> str | None:
    """The name of the first adapter that is no software renderer."""
    return next((str(a.info["device"]) for a in adapters() if a.info["adapter_type"] != "CPU"),
                None)  # fmt: skip


def describe(adapter: Any) -> dict[str, Any]:
    """An adapter for people."""
    info, limits = adapter.info, adapter.limits
    wanted = ("max-storage-buffers-per-shader-stage", "max-storage-buffer-binding-size",
              "max-compute-workgroup-storage-size", "max-compute-invocations-per-workgroup")
    helpful = ("shader-f16", "subgroup", "timestamp-query")
    return {"name": info["device"], "driver": info["description"], "type": info["adapter_type"],
            "backend": info["backend_type"],
            "features": [f for f in helpful if f in adapter.features],
            "limits": {k: limits[k] for k in wanted if k in limits}}  # fmt: skip


def open_device() -> WebGPU:
    """The first adapter's device. DeviceError where none answers, or it does not open."""
    found = adapters()
    if not found:
        raise DeviceError(f"no WebGPU adapter answers: {_INSTALL}")
    import wgpu

    try:
        return WebGPU(found[0])
    except (RuntimeError, wgpu.GPUError) as e:
        raise DeviceError(f"{found[0].info['device']} does not open: {e}") from e


class Storage:
    """A buffer on loan from the device's pool, or from `shelf`, to which it then goes back."""

    __slots__ = ("__weakref__", "buffer", "deleted", "device", "dtype", "shared", "shelf", "size")

    def __init__(self, device: WebGPU, dtype: DType, size: int, buffer: Any = None,
                 shelf: list[Any] | None = None) -> None:  # fmt: skip
        self.device, self.dtype, self.size, self.shelf = device, dtype, size, shelf
        self.deleted = self.shared = False
        self.buffer: Any = buffer  # set before what may raise: __del__ reads it
        if buffer is None:
            self.buffer = device.acquire(self.nbytes)

    @property
    def nbytes(self) -> int:
        return self.size * item_bytes(self.dtype)

    def held(self) -> Any:
        """The buffer; DeviceError once it was given away."""
        if self.buffer is None:
            raise DeviceError("the array's memory was donated and holds it no more")
        return self.buffer

    def take(self) -> Any:
        """The buffer, given away: this storage is deleted."""
        buffer, self.buffer = self.buffer, None
        self.deleted = True
        return buffer

    def __del__(self) -> None:
        if self.buffer is not None and count_bytes is not None:  # None while Python shuts down
            self.device.release(self.buffer, self.shelf)


class WebGPU:
    """A wgpu device with its pipelines and free buffers."""

    name = "webgpu"

    def __init__(self, adapter: Any) -> None:
        features = [f for f in ("shader-f16", "timestamp-query") if f in adapter.features]
        own = adapter.limits
        wanted = {k: own[k] for k in ("max-storage-buffers-per-shader-stage", "max-buffer-size",
                                      "max-storage-buffer-binding-size") if k in own}
        self.handle = adapter.request_device_sync(required_features=features,
                                                  required_limits=wanted)  # fmt: skip
        self.features = frozenset(features)
        bound = self.handle.limits
        self.limits = Limits(int(bound["max-storage-buffers-per-shader-stage"]),
                             int(bound["max-storage-buffer-binding-size"]),
                             gpu=adapter.info["adapter_type"] != "CPU")  # fmt: skip
        self.pipelines: dict[str, Any] = {}
        self.free: dict[int, list[Any]] = {}

    def acquire(self, nbytes: int) -> Any:
        """A buffer of at least `nbytes`; DeviceError beyond the adapter's limit."""
        if nbytes > self.limits.max_binding_bytes:
            raise DeviceError(
                f"an array of {nbytes} bytes exceeds the device's {self.limits.max_binding_bytes} "
                "bytes a buffer: split it, or use the interpreter"
            )
        size = max(16, -(-nbytes // 16) * 16)
        count_bytes(size)
        free = self.free.get(size)
        if free:
            return free.pop()
        import wgpu

        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
        count("buffers")
        return self.handle.create_buffer(size=size, usage=usage)

    def release(self, buffer: Any, shelf: list[Any] | None = None) -> None:
        count_bytes(-buffer.size)
        if shelf is not None and len(shelf) < _MOST_ON_A_SHELF:
            shelf.append(buffer)
            return
        self.free.setdefault(buffer.size, []).append(buffer)

    def timed(self, pipeline: Any, group: Any, grid: tuple[int, int, int]) -> float:
        """Runs one dispatch to its end; the seconds that it took, by the device's time stamps or,
        where it has none, by the host's clock."""
        import wgpu

        handle, stamps = self.handle, "timestamp-query" in self.features
        usage = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
        result = handle.create_buffer(size=16, usage=usage)
        encoder = handle.create_command_encoder()
        writes = None
        if stamps:
            queries = handle.create_query_set(type="timestamp", count=2)
            writes = {"query_set": queries, "beginning_of_pass_write_index": 0,
                      "end_of_pass_write_index": 1}  # fmt: skip
        compute = encoder.begin_compute_pass(timestamp_writes=writes)
        compute.set_pipeline(pipeline)
        compute.set_bind_group(0, group)
        compute.dispatch_workgroups(*grid)
        compute.end()
        if stamps:
            encoder.resolve_query_set(queries, 0, 2, result, 0)
        start = time.perf_counter()
        handle.queue.submit([encoder.finish()])
        begin, end = handle.queue.read_buffer(result).cast("Q")  # waits
        return (end - begin) * 1e-9 if stamps else time.perf_counter() - start

    def upload(self, data: np.ndarray[Any, Any]) -> Storage:
        """A storage with the elements of `data`."""
        import numpy as np

        dtype = dtypes.by_name(data.dtype.name)
        self._check(dtype)
        out = Storage(self, dtype, data.size)
        if data.size:
            stored = data.astype(np.uint32) if dtype is dtypes.bool_ else data
            raw = np.ascontiguousarray(stored).tobytes()
            self.handle.queue.write_buffer(out.buffer, 0, raw + bytes(-len(raw) % 4))
        return out

    def read(self, storage: Storage) -> np.ndarray[Any, Any]:
        """The elements, flat."""
        import numpy as np

        kind = np.uint32 if storage.dtype is dtypes.bool_ else np.dtype(storage.dtype.name)
        if not storage.size:
            return np.zeros(0, storage.dtype.name)
        nbytes = -(-storage.nbytes // 4) * 4
        raw = self.handle.queue.read_buffer(storage.held(), 0, nbytes)
        out = np.frombuffer(raw, kind)[: storage.size]
        return out.astype(bool) if storage.dtype is dtypes.bool_ else out

    def copy(self, storage: Storage) -> Storage:
        """A storage of its own with the same elements."""
        source = storage.held()
        out = Storage(self, storage.dtype, storage.size)
        encoder = self.handle.create_command_encoder()
        encoder.copy_buffer_to_buffer(source, 0, out.buffer, 0, out.buffer.size)
        self.handle.queue.submit([encoder.finish()])
        return out

    def _check(self, dtype: DType) -> None:
        half = dtype is dtypes.float16
        if dtype not in SUPPORTED or (half and "shader-f16" not in self.features):
            known = ", ".join(sorted(d.name for d in SUPPORTED))
            raise TypeError(f"webgpu holds no {dtype} here: it holds {known}; cast with "
                            "x.astype(...), or use the interpreter")  # fmt: skip

    def _check_sizes(self, launch: Launch, lines: Lines | None) -> None:
        """DeviceError for what a kernel would bind but the device cannot, before anything runs."""
        most = self.limits.max_binding_bytes
        for p in launch.kernel.params:
            nbytes = p.size * item_bytes(p.dtype)
            if nbytes > most:
                found = lines.of(launch.made) if lines is not None else ()
                places = dict.fromkeys(f"{o.file}:{o.line}" for o in found)
                at = f" at {', '.join(list(places)[:3])}" if places else ""
                raise DeviceError(
                    f"{launch.kernel.name}{at} would {p.access.replace('_', ' and ')} an array of "
                    f"{p.size} {p.dtype} elements, {nbytes} bytes, which exceeds the device's "
                    f"{most} bytes a buffer: compute it in parts, for example a smaller batch"
                )

    def pipeline(self, kernel: Kernel) -> Any:
        """The compiled kernel, once for every text."""
        if len(kernel.params) > self.limits.max_buffers:
            raise DeviceError(f"{kernel.name} binds {len(kernel.params)} buffers; the device "
                              f"allows {self.limits.max_buffers}")  # fmt: skip
        if not all(0 <= n <= _MOST_GROUPS for n in kernel.grid):
            raise DeviceError(f"{kernel.name} launches {kernel.grid} workgroups; WebGPU allows "
                              f"{_MOST_GROUPS} along an axis")  # fmt: skip
        known = self.pipelines.get(kernel.source)
        if known is not None:
            return known
        import wgpu

        try:
            module = self.handle.create_shader_module(label=kernel.name, code=kernel.source)
            made = self.handle.create_compute_pipeline(
                layout="auto", compute={"module": module, "entry_point": "main"}
            )
        except wgpu.GPUError as e:
            lines = enumerate(kernel.source.splitlines(), 1)
            text = "\n".join([f"{n:4} {line}" for n, line in lines])
            raise DeviceError(f"{kernel.name} does not compile: {e}\n{text}") from e
        count("kernels_compiled")
        count("pipelines")
        self.pipelines[kernel.source] = made
        return made

    def compile(self, graph: Graph, donate: frozenset[int], limits: Limits) -> Loaded:
        key = cache.key_of(graph, limits, sorted(donate))
        plan = cache.load(graph, key)
        if plan is None:
            plan = lower(graph, limits, donate)
            cache.store(key, plan)
        return Loaded(self, plan, Lines(graph))


class Loaded:
    """A Plan on a device: pipelines and scratch buffers ready, bind groups kept by buffers."""

    def __init__(self, device: WebGPU, plan: Plan, lines: Lines | None = None) -> None:
        self.device, self.plan = device, plan
        for s in plan.slots:
            device._check(s.dtype)
        for launch in plan.launches:
            device._check_sizes(launch, lines)
        self.pipelines = [device.pipeline(launch.kernel) for launch in plan.launches]
        self.scratch = {i: Storage(device, s.dtype, s.size) for i, s in enumerate(plan.slots)
                        if s.kind == "temp"}  # fmt: skip
        self.made = [(i, s) for i, s in enumerate(plan.slots) if s.kind != "input"]
        self.aliases = [(i, s.alias, s) for i, s in enumerate(plan.slots) if s.alias is not None]
        # A result's buffers come back to its own shelf: the next call binds the same ones.
        self.shelves: list[list[Any]] = [[] for _ in plan.slots]
        self.bound: dict[tuple[int, ...], list[tuple[Any, Any, tuple[int, int, int]]]] = {}

    def __call__(self, inputs: Sequence[Any], lines: Lines | None = None) -> list[Storage]:
        inputs = [s if type(s) is Storage else self.device.upload(read(s)) for s in inputs]
        for s in inputs:
            if s.deleted:
                raise DeviceError(f"input {inputs.index(s)} was donated and is deleted")
        storages: list[Storage] = [*inputs]  # a plan's slots begin with its inputs
        apart = not self.aliases or len({id(s) for s in inputs}) == len(inputs)
        for i, slot in self.made:
            storages.append(self._storage(i, slot, inputs, apart))
        if self.plan.launches:
            self._submit([s.buffer for s in storages], lines)
        # Only now that all went well do donated storages give their buffers away.
        for i, alias, slot in self.aliases:
            if storages[i] is storages[alias]:
                buffer = storages[alias].take()
                storages[i] = Storage(self.device, slot.dtype, slot.size, buffer)
        return [storages[i] for i in self.plan.outputs]

    def _storage(self, i: int, slot: Slot, inputs: Sequence[Storage], apart: bool) -> Storage:
        if slot.kind == "temp":
            return self.scratch[i]
        if slot.alias is None:
            shelf = self.shelves[i]
            buffer = shelf.pop() if shelf else None
            if buffer is not None:
                count_bytes(buffer.size)
            return Storage(self.device, slot.dtype, slot.size, buffer, shelf)
        given = inputs[slot.alias]
        if not apart and sum(s is given for s in inputs) > 1:
            return self.device.copy(given)  # another input reads the memory that is written here
        return given

    def _submit(self, bound: list[Any], lines: Lines | None) -> None:
        key = tuple(map(id, bound))
        ready = self.bound.get(key)
        if ready is None:
            if len(self.bound) >= _MOST_BINDINGS_REMEMBERED:
                self.bound.clear()
            ready = self.bound[key] = self._bind(bound)
        if profiled():
            self._timed(ready, lines)
            return
        encoder = self.device.handle.create_command_encoder()
        compute = encoder.begin_compute_pass()
        for pipeline, group, grid in ready:
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, group)
            compute.dispatch_workgroups(*grid)
        compute.end()
        self.device.handle.queue.submit([encoder.finish()])
        count("submissions")
        count("launches", len(ready))

    def _timed(
        self, ready: list[tuple[Any, Any, tuple[int, int, int]]], lines: Lines | None
    ) -> None:
        """The launches one by one, each timed."""
        for launch, (pipeline, group, grid) in zip(self.plan.launches, ready, strict=True):
            seconds = self.device.timed(pipeline, group, grid)
            k = launch.kernel
            origins = lines.of(launch.made) if lines is not None else ()
            record(k.name, k.flops, k.bytes, origins, seconds)
            count("submissions")
            count("launches")

    def _bind(self, bound: list[Any]) -> list[tuple[Any, Any, tuple[int, int, int]]]:
        out = []
        for launch, pipeline in zip(self.plan.launches, self.pipelines, strict=True):
            buffers = [bound[i] for i in launch.args]
            written = [b for b, p in zip(buffers, launch.kernel.params, strict=True)
                       if p.access == "read_write"]  # fmt: skip
            if len({id(b) for b in buffers}) < len(buffers) and any(
                sum(b is w for b in buffers) > 1 for w in written
            ):
                raise DeviceError(f"{launch.kernel.name} would read and write one buffer")
            entries = [{"binding": n, "resource": {"buffer": b, "offset": 0, "size": b.size}}
                       for n, b in enumerate(buffers)]  # fmt: skip
            group = self.device.handle.create_bind_group(
                layout=pipeline.get_bind_group_layout(0), entries=entries
            )
            out.append((pipeline, group, launch.kernel.grid))
        return out
