"""The CPU through LLVM: one native call for all kernels of a call.

In: a Plan whose kernels are LLVM IR. Out: an executable over host memory, which it shares with the
interpreter: arrays move between the two without a copy.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anneal.device import DeviceError, Donation, HostStorage, read
from anneal.interpret import numpy_dtype
from anneal.kernel.target import CPU as CPU_TARGET
from anneal.llvm.runtime import CompileError, Function, Launches, Runtime
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Plan
from anneal.memo import Memo
from anneal.profiling import profiled, record
from anneal.provenance import Lines
from anneal.tuning import plan_of
from anneal.uop import dtypes, ops
from anneal.uop.call import all_nodes
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph

if TYPE_CHECKING:
    import numpy as np

# References to the data of a storage that nobody looks at: its own, and the argument of the count.
_UNSEEN = 2
_MOST_FUNCTIONS = 4096
_NONE: frozenset[int] = frozenset()


def open_cpu() -> CPU:
    """The CPU. DeviceError where llvmlite is missing."""
    try:
        return CPU(Runtime())
    except (ImportError, OSError) as e:
        raise DeviceError(f"the CPU device needs llvmlite: pip install llvmlite ({e})") from None


class CPU:
    """This machine's processor, and the functions compiled for it."""

    name = "cpu"

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        # An index is 64 bits, a kernel binds what it likes: what bounds a program is memory.
        target = replace(CPU_TARGET, threads=runtime.threads)
        self.limits = Limits(1 << 16, 1 << 62, target=target)
        self.functions: Memo[str, Function] = Memo(_MOST_FUNCTIONS)

    def holds(self, dtype: DType) -> bool:
        """Whether arrays can have the dtype."""
        return dtype is not dtypes.index

    def upload(self, data: np.ndarray[Any, Any]) -> HostStorage:
        return HostStorage(data)

    def read(self, storage: HostStorage) -> np.ndarray[Any, Any]:
        return storage.data.view()

    def copy(self, storage: HostStorage) -> HostStorage:
        return HostStorage(storage.data)

    def functions_of(self, sources: Sequence[str]) -> list[Function]:
        """The machine code of kernels, each made once."""
        found = {s: self.functions.find(s) for s in sources}
        missing = [s for s, known in found.items() if known is None]
        if missing:
            try:
                codes = self.runtime.object_codes(missing)
            except CompileError as e:
                raise DeviceError(str(e)) from e
            for s, code in zip(missing, codes, strict=True):
                found[s] = self.functions.keep(s, self.runtime.load(code))
        return [f for s in sources if (f := found[s]) is not None]

    @property
    def driver(self) -> str:
        """What it is, and how many threads it has."""
        return self.runtime.describe()

    def load(self, plan: Plan) -> Loaded:
        return Loaded(self, plan)

    def compile(self, graph: Graph, donate: frozenset[int], limits: Limits,
                beam: int = 0) -> Loaded:  # fmt: skip
        for u in all_nodes(graph):
            if u.op is not ops.CALL and not self.holds(u.dtype):
                raise TypeError(f"cpu has no {u.dtype}: cast with x.astype(...), or run on the "
                                "interpreter (ANNEAL_DEVICE=interpreter)")  # fmt: skip
        return Loaded(self, plan_of(self, graph, donate, limits, beam))


class Loaded:
    """A Plan with its functions, and the table of its launches. What no call changes is filled in
    once: functions, counts, and where temporaries are."""

    def __init__(self, device: CPU, plan: Plan) -> None:
        import numpy as np

        self.plan, self.runtime, self.empty = plan, device.runtime, np.empty
        kernels = [launch.kernel for launch in plan.launches]
        self.launches = Launches(
            device.functions_of([k.source for k in kernels]),
            [len(launch.args) for launch in plan.launches],
            [k.grid[0] for k in kernels],
            max((k.scratch for k in kernels), default=0),
        )
        self.dtypes = [numpy_dtype(s.dtype) for s in plan.slots]
        self.temporaries = {i: HostStorage(np.empty(s.size, self.dtypes[i]))
                            for i, s in enumerate(plan.slots) if s.kind == "temp"}  # fmt: skip
        # Where addresses go that a call brings.
        self.places: list[tuple[Any, int, int]] = []
        for words, launch in zip(self.launches.arguments, plan.launches, strict=True):
            for i, slot in enumerate(launch.args):
                if slot in self.temporaries:
                    words[i] = _address(self.temporaries[slot])
                else:
                    self.places.append((words, i, slot))
        self.others = [(i, s) for i, s in enumerate(plan.slots) if s.kind == "output"]
        # Results that are all of their slot's: no input's memory, and not returned twice.
        self.alone = {i for i, s in self.others
                      if s.alias is None and plan.outputs.count(i) == 1}  # fmt: skip

    def __call__(self, inputs: Sequence[Any], donation: Donation | None = None,
                 lines: Lines | None = None) -> list[HostStorage]:  # fmt: skip
        inputs = [s if type(s) is HostStorage else HostStorage(read(s)) for s in inputs]
        for n, s in enumerate(inputs):
            if s.spent:
                raise DeviceError(f"input {n} was donated and is deleted")
        with self.runtime.lock:
            storages = self._storages(inputs, donation.taken if donation is not None else _NONE)
            for words, i, slot in self.places:
                s = storages[slot]
                words[i] = s.address or _address(s)
            # Each result has a storage of its own; `_is_unseen` knows when they share memory.
            results = [storages[i] if i in self.alone else HostStorage(storages[i].data)
                       for i in self.plan.outputs]  # fmt: skip
            log: list[Any] = []
            if donation is not None:
                log = donation.begin(inputs)
                donation.finish = lambda: results
            if profiled():
                self._timed(log, lines)
            else:
                self.runtime.run(self.launches, log)
        return results

    def _storages(self, inputs: Sequence[HostStorage],
                  taken: frozenset[int]) -> dict[int, HostStorage]:  # fmt: skip
        """A storage for each slot of inputs and outputs. An output in a donated input's memory has
        a storage of its own around it, if nobody else sees it; else a copy."""
        found = {i: s if s.address else _in_order(s, self.dtypes[i]) for i, s in enumerate(inputs)}
        for i, slot in self.others:
            if slot.alias is None:
                found[i] = _new(self.empty(slot.size, self.dtypes[i]))
            elif slot.alias in taken and _is_unseen(found[slot.alias]):
                found[i] = HostStorage(found[slot.alias].data)
            else:
                found[i] = HostStorage(found[slot.alias].data.copy())
        return found

    def _timed(self, log: list[Any], lines: Lines | None) -> None:
        """The launches one by one, each timed."""
        for n, launch in enumerate(self.plan.launches):
            start = time.perf_counter()
            self.runtime.run(self.launches, log, n, 1)
            k = launch.kernel
            origins = lines.of(launch.made) if lines is not None else ()
            record(k.name, k.flops, k.bytes, origins, time.perf_counter() - start)


def _is_unseen(s: HostStorage) -> bool:
    """Whether no NumPy array looks at the memory: what is written there would change it."""
    return s.data.base is None and sys.getrefcount(s.data) <= _UNSEEN


def _in_order(s: HostStorage, dtype: np.dtype[Any]) -> HostStorage:
    """The storage with its elements as kernels read them: row-major, of the dtype."""
    data = s.data
    if data.flags.c_contiguous and data.dtype == dtype:
        return s
    import numpy as np

    return HostStorage(np.ascontiguousarray(data, dtype))


def _new(data: np.ndarray[Any, Any]) -> HostStorage:
    """A storage of new memory, whose address is had for little while it may be written."""
    buffer: Any = data
    known = data.size and data.dtype.kind in "biuf"  # no buffer is empty, or of another's dtypes
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if known else 0
    s = HostStorage(data)
    s.address = address
    return s


def _address(s: HostStorage) -> int:
    s.address = s.data.__array_interface__["data"][0]
    return s.address
