"""WebGPU through wgpu: one command buffer, one pass and one submission for a call.

In: a Plan. Out: an executable over pooled buffers. What could make wgpu-native abort the process is
refused here in Python first: too many or too large bindings, a buffer read and written at once,
memory given away.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from anneal import config
from anneal.device import DeviceError, Donation, forget_forked, read
from anneal.interrupts import Apart
from anneal.kernel.target import SOFTWARE, WEBGPU
from anneal.lowering.code import Kernel
from anneal.lowering.cost import item_bytes
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Launch, Plan, Slot
from anneal.memo import Memo
from anneal.profiling import profiled, record
from anneal.provenance import Lines
from anneal.stats import count, gauge
from anneal.tuning import plan_of
from anneal.uop import dtypes
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph
from anneal.wgsl.pool import Pool
from anneal.wgsl.render import SUPPORTED

if TYPE_CHECKING:
    import numpy as np

_MOST_BINDINGS_REMEMBERED = 64
_MOST_PIPELINES = 1024  # some 0.3 MB each
_MOST_GROUPS = 65535  # every adapter's limit of workgroups along an axis
_INSTALL = "install a Vulkan driver (on Debian: apt-get install mesa-vulkan-drivers), or use the " \
           "interpreter"  # fmt: skip
# A pipeline, its bind group, and how many workgroups run.
_Dispatch = tuple[Any, Any, tuple[int, int, int]]
_adapters: list[Any] | None = None
_finding = threading.RLock()
_forked = False


def adapters() -> list[Any]:
    """The adapters that answer, hardware first; OpenGL's are left out. DeviceError in a process
    that was forked after they were found."""
    global _adapters
    if _forked:
        raise DeviceError(
            "this process was forked after WebGPU had been opened, whose threads and locks a fork "
            "does not copy: start processes anew (multiprocessing's \"spawn\"), fork before the "
            "first use of WebGPU, or use the interpreter here"
        )
    with _finding:
        if _adapters is None:
            _adapters = _found()
        return _adapters


def _found() -> list[Any]:
    try:
        import wgpu
        from wgpu.backends.wgpu_native.extras import set_instance_extras
    except (ImportError, OSError):  # OSError: the wheel is there, its library does not load
        return []
    with contextlib.suppress(RuntimeError):  # the program made wgpu's instance before us
        set_instance_extras(backends=["Vulkan", "Metal", "DX12"])
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    with config.no_display():
        found = [a for a in wgpu.gpu.enumerate_adapters_sync()
                 if a.info["backend_type"] != "OpenGL"]  # fmt: skip
    return sorted(found, key=lambda a: bool(a.info["adapter_type"] == "CPU"))


def _after_fork() -> None:
    """What wgpu holds is the parent's: the child neither uses it nor gives it back."""
    global _forked
    _forked = True
    forget_forked()
    from wgpu.backends.wgpu_native import _api

    _api.libf = None  # finalizers then leave the library alone


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
    """A buffer on loan from the device's pool, or from `shelf`, to which it then goes back.

    `spent`: not empty once the memory was given away; see `anneal.device.Donation`.
    """

    __slots__ = ("__weakref__", "buffer", "device", "dtype", "shared", "shelf", "size", "spent")

    def __init__(self, device: WebGPU, dtype: DType, size: int, buffer: Any,
                 shelf: list[Any] | None = None) -> None:  # fmt: skip
        self.device, self.dtype, self.size, self.shelf = device, dtype, size, shelf
        self.buffer = buffer
        self.shared = False
        self.spent: Sequence[Any] = ()

    @property
    def nbytes(self) -> int:
        return self.size * item_bytes(self.dtype)

    def held(self) -> Any:
        """The buffer; DeviceError once it was given away."""
        if self.spent or self.buffer is None:
            raise DeviceError("the array's memory was donated and holds it no more")
        return self.buffer

    def __del__(self) -> None:
        # `count` is None while Python shuts down.
        if self.buffer is not None and not _forked and count is not None:
            self.device.pool.release(self.buffer, self.shelf)


class WebGPU:
    """A wgpu device with its pipelines and memory. One thread at a time is at work with it, under
    `lock`: what is submitted first is done first, and what was read is still what it was when the
    work on it is submitted."""

    name = "webgpu"

    def __init__(self, adapter: Any) -> None:
        features = [f for f in ("shader-f16", "timestamp-query") if f in adapter.features]
        own, self.info = adapter.limits, adapter.info
        wanted = {k: own[k] for k in ("max-storage-buffers-per-shader-stage", "max-buffer-size",
                                      "max-storage-buffer-binding-size") if k in own}
        from wgpu.backends.wgpu_native import ffi, lib

        self.handle = adapter.request_device_sync(required_features=features,
                                                  required_limits=wanted)  # fmt: skip
        self._new_array, self._submit = ffi.new, lib.wgpuQueueSubmit
        self._queue = self.handle.queue._internal
        self.features = frozenset(features)
        bound = self.handle.limits
        target = SOFTWARE if adapter.info["adapter_type"] == "CPU" else WEBGPU
        self.limits = Limits(int(bound["max-storage-buffers-per-shader-stage"]),
                             int(bound["max-storage-buffer-binding-size"]),
                             target=target)  # fmt: skip
        self.lock = threading.RLock()
        self.reader = Apart()  # wgpu waits for data with locks in Python
        self.pipelines: Memo[str, Any] = Memo(_MOST_PIPELINES)
        self.pool = Pool(self._new_buffer)
        gauge(self._bytes)

    def _bytes(self) -> dict[str, int]:
        pool = self.pool
        pool.settle()
        return {"live_bytes": pool.live_bytes, "peak_bytes": pool.peak_bytes,
                "pooled_bytes": pool.free_bytes}  # fmt: skip

    def new(self, dtype: DType, size: int) -> Storage:
        """A storage of `size` elements. DeviceError beyond the adapter's limit."""
        nbytes = size * item_bytes(dtype)
        if nbytes > self.limits.max_binding_bytes:
            raise DeviceError(
                f"an array of {nbytes} bytes exceeds the device's {self.limits.max_binding_bytes} "
                "bytes a buffer: split it, or use the interpreter"
            )
        return Storage(self, dtype, size, self.acquire(_aligned(nbytes)))

    def acquire(self, size: int, shelf: list[Any] | None = None) -> Any:
        """A buffer of `size` bytes, from `shelf` if one is there. DeviceError where no memory is
        left even without the free buffers."""
        try:
            return self.pool.acquire(size, shelf)
        except MemoryError:
            raise DeviceError(
                f"no memory left on the device for {size} bytes, beside {self.pool.live_bytes} "
                "that arrays hold: let go of some, or compute in smaller batches"
            ) from None

    def _new_buffer(self, size: int) -> Any:
        """MemoryError where there is none."""
        import wgpu

        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
        with _memory_errors():
            return self.handle.create_buffer(size=size, usage=usage)

    def submit(self, commands: Any, log: list[Any]) -> None:
        """Submits a command buffer, and appends to `log`, in one step for the interpreter: no
        interrupt comes between. (What wgpu finds wrong at a submission it does not raise, but ends
        the process.)"""
        array = self._new_array("WGPUCommandBuffer[]", [commands._internal])
        log.extend(map(self._submit, (self._queue,), (1,), (array,)))

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
        with self.lock:
            out = self.new(dtype, data.size)
            if data.size:
                stored = data.astype(np.uint32) if dtype is dtypes.bool_ else data
                raw = np.ascontiguousarray(stored).tobytes()
                with self._room():
                    self.handle.queue.write_buffer(out.buffer, 0, raw + bytes(-len(raw) % 4))
        return out

    def read(self, storage: Storage) -> np.ndarray[Any, Any]:
        """A copy of the elements, flat."""
        import numpy as np

        kind = np.uint32 if storage.dtype is dtypes.bool_ else np.dtype(storage.dtype.name)
        if not storage.size:
            return np.zeros(0, storage.dtype.name)
        if sys.is_finalizing():  # and wgpu's thread, which says when data are there, is no more
            raise DeviceError("an array was read while Python shuts down: read it before")
        nbytes = -(-storage.nbytes // 4) * 4
        with self.lock, self._room():
            buffer = storage.held()
            raw = self.reader.run(lambda: self.handle.queue.read_buffer(buffer, 0, nbytes))
        out = np.frombuffer(raw, kind)[: storage.size]
        return out.astype(bool) if storage.dtype is dtypes.bool_ else out

    def copy(self, storage: Storage) -> Storage:
        """A storage of its own with the same elements."""
        with self.lock:
            source = storage.held()
            out = self.new(storage.dtype, storage.size)
            encoder = self.handle.create_command_encoder()
            encoder.copy_buffer_to_buffer(source, 0, out.buffer, 0, out.buffer.size)
            self.submit(encoder.finish(), [])
        return out

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """For work that takes memory of its own: DeviceError where there is none."""
        try:
            with _memory_errors():
                yield
        except MemoryError as e:
            self.pool.empty()  # so that it works when tried again
            raise DeviceError(f"no memory left on the device to move data: {e}") from None

    def holds(self, dtype: DType) -> bool:
        """Whether arrays can have the dtype."""
        half = dtype is dtypes.float16
        return dtype in SUPPORTED and not (half and "shader-f16" not in self.features)

    def _check(self, dtype: DType) -> None:
        if not self.holds(dtype):
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
        return self.pipelines.get(kernel.source, lambda: self._compiled(kernel))

    def _compiled(self, kernel: Kernel) -> Any:
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
        return made

    @property
    def driver(self) -> str:
        """The adapter, and its driver."""
        return f"webgpu {self.info['device']}, {self.info['description']}"

    def load(self, plan: Plan) -> Loaded:
        with self.lock:
            return Loaded(self, plan)

    def compile(self, graph: Graph, donate: frozenset[int], limits: Limits,
                beam: int = 0) -> Loaded:  # fmt: skip
        plan = plan_of(self, graph, donate, limits, beam)
        with self.lock:
            return Loaded(self, plan, Lines(graph))


def _aligned(nbytes: int) -> int:
    """The size of a buffer for so many bytes."""
    return max(16, -(-nbytes // 16) * 16)


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """wgpu's errors that say that no memory is left, as MemoryError."""
    import wgpu

    try:
        yield
    except wgpu.GPUError as e:
        if "not enough memory" in str(e).lower() or "out of memory" in str(e).lower():
            raise MemoryError(str(e).strip()) from None
        raise


class Loaded:
    """A Plan on a device: its pipelines, and bind groups kept with the buffers that they name."""

    def __init__(self, device: WebGPU, plan: Plan, lines: Lines | None = None) -> None:
        self.device, self.plan = device, plan
        for s in plan.slots:
            device._check(s.dtype)
        for launch in plan.launches:
            device._check_sizes(launch, lines)
        self.pipelines = [device.pipeline(launch.kernel) for launch in plan.launches]
        self.made = [(i, s, _aligned(s.size * item_bytes(s.dtype)))
                     for i, s in enumerate(plan.slots) if s.kind != "input"]  # fmt: skip
        # Inputs that are results as they are, and slots that are several results or those.
        self.returned = [i for i in dict.fromkeys(plan.outputs) if plan.slots[i].kind == "input"]
        self.repeated = [i for i in dict.fromkeys(plan.outputs)
                         if i in self.returned or plan.outputs.count(i) > 1]  # fmt: skip
        # A result's buffers come back to its own shelf: the next call binds the same ones.
        self.shelves: list[list[Any]] = [[] for _ in plan.slots]
        # By the ids of buffers, which are theirs for as long as they are kept here.
        self.bound: dict[tuple[int, ...], tuple[list[Any], list[_Dispatch]]] = {}

    def __call__(self, inputs: Sequence[Any], donation: Donation | None = None,
                 lines: Lines | None = None) -> list[Storage]:  # fmt: skip
        inputs = [s if type(s) is Storage else self.device.upload(read(s)) for s in inputs]
        with self.device.lock:
            for s in inputs:
                if s.spent:
                    raise DeviceError(f"input {inputs.index(s)} was donated and is deleted")
            storages: list[Storage] = [*inputs]  # a plan's slots begin with its inputs
            if donation is None:
                for i, slot, nbytes in self.made:
                    storages.append(self._new(i, slot, nbytes) if slot.alias is None
                                    else self.device.copy(inputs[slot.alias]))  # fmt: skip
                self._run(storages, [], lines)
                return self._kept(storages)
            heirs = self._lay_out(inputs, storages, donation.taken)

            def finish() -> list[Storage]:
                for i, before, after in heirs:
                    if before.buffer is not None:
                        after.buffer, before.buffer = before.buffer, None
                    storages[i] = after
                return self._kept(storages)

            log = donation.begin(inputs)
            if profiled():
                log.append(None)  # from the first kernel on, what was given is not what it was
            else:
                donation.finish = finish
            self._run(storages, log, lines)
            return finish()

    def _lay_out(self, inputs: Sequence[Storage], storages: list[Storage],
                 taken: frozenset[int]) -> list[tuple[int, Storage, Storage]]:  # fmt: skip
        """Appends the storages of what is made, and returns those that are to get the buffers of
        `taken` inputs: slot, input and heir."""
        slots = self.plan.slots
        heirs = [(i, inputs[i], self._heir(slots[i])) for i in self.returned if i in taken]
        for i, slot, nbytes in self.made:
            if slot.alias is None:
                storages.append(self._new(i, slot, nbytes))
            elif slot.alias in taken:
                heirs.append((i, inputs[slot.alias], self._heir(slot)))
                storages.append(inputs[slot.alias])
            else:  # another reads the memory that is written here
                storages.append(self.device.copy(inputs[slot.alias]))
        return heirs

    def _new(self, i: int, slot: Slot, nbytes: int) -> Storage:
        shelf = self.shelves[i]
        return Storage(self.device, slot.dtype, slot.size, self.device.acquire(nbytes, shelf),
                       shelf)  # fmt: skip

    def _kept(self, storages: Sequence[Storage]) -> list[Storage]:
        """The results of a call that was submitted."""
        for i in self.repeated:
            storages[i].shared = True
        return [storages[i] for i in self.plan.outputs]

    def _run(self, storages: Sequence[Storage], log: list[Any], lines: Lines | None) -> None:
        buffers = [s.buffer for s in storages]
        if not self.plan.launches:
            log.append(None)
        elif profiled():
            self._timed(self._bound(buffers), lines)
        else:
            self._submit(buffers, log)

    def _heir(self, slot: Slot) -> Storage:
        """A storage that will get the buffer of an input."""
        return Storage(self.device, slot.dtype, slot.size, None)

    def _submit(self, buffers: list[Any], log: list[Any]) -> None:
        dispatches = self._bound(buffers)
        encoder = self.device.handle.create_command_encoder()
        compute = encoder.begin_compute_pass()
        for pipeline, group, grid in dispatches:
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, group)
            compute.dispatch_workgroups(*grid)
        compute.end()
        self.device.submit(encoder.finish(), log)
        count("submissions")
        count("launches", len(dispatches))

    def _bound(self, buffers: list[Any]) -> list[_Dispatch]:
        key = tuple(map(id, buffers))
        known = self.bound.get(key)
        if known is None:
            if len(self.bound) >= _MOST_BINDINGS_REMEMBERED:
                self.bound.clear()
            known = self.bound[key] = buffers, self._bind(buffers)
        return known[1]

    def _timed(self, dispatches: Sequence[_Dispatch], lines: Lines | None) -> None:
        """The launches one by one, each timed."""
        for launch, (pipeline, group, grid) in zip(self.plan.launches, dispatches, strict=True):
            seconds = self.device.timed(pipeline, group, grid)
            k = launch.kernel
            origins = lines.of(launch.made) if lines is not None else ()
            record(k.name, k.flops, k.bytes, origins, seconds)
            count("submissions")
            count("launches")

    def _bind(self, bound: list[Any]) -> list[_Dispatch]:
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
