"""Native code of kernels, and the threads that run it: one call for all kernels of a step.

In: kernels' IR. Out: functions, and `run`, which runs launches one after another. The chunks of a
launch are claimed by an atomic counter, by the caller and by workers: threads that are in native
code already and spin there for some microseconds after work; without work they wait in Python, and
cost nothing. The caller can always finish alone, so no result depends on how many there are.

Code generation only: the IR is vectorised as it stands, and LLVM's optimizer would gain nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from anneal.llvm import objects
from anneal.stats import count

# Pauses of a worker before it leaves native code: some 50 microseconds, less than waking costs.
_SPINS = 2_000
# Codegen level: 0 spills every register, 2 gains nothing over 1 on straight-line vector code.
_LEVEL = 1

# A job, 8 bytes a field: the epoch and the next chunk in one word, so that a claim says which job
# it is of; chunks done; function; arguments; chunks; the epoch again, for claims to compare; and
# for those who spin.
_SOURCE = """
%job = type {{ i64, i64, ptr, ptr, i64, i64, i64 }}
%launch = type {{ ptr, ptr, i64 }}
{pause_declaration}

define internal void @drain(ptr %job, ptr %scratch) {{
entry:
  %claims = getelementptr %job, ptr %job, i32 0, i32 0
  %ended = getelementptr %job, ptr %job, i32 0, i32 1
  %functions = getelementptr %job, ptr %job, i32 0, i32 2
  %arguments = getelementptr %job, ptr %job, i32 0, i32 3
  %counts = getelementptr %job, ptr %job, i32 0, i32 4
  %epochs = getelementptr %job, ptr %job, i32 0, i32 5
  br label %claim
claim:
  %ticket = atomicrmw add ptr %claims, i64 1 seq_cst
  %of = lshr i64 %ticket, 32
  %chunk = and i64 %ticket, 4294967295
  %count = load atomic i64, ptr %counts seq_cst, align 8
  %epoch = load atomic i64, ptr %epochs seq_cst, align 8
  %mine = icmp eq i64 %of, %epoch
  %some = icmp ult i64 %chunk, %count
  %go = and i1 %mine, %some
  br i1 %go, label %work, label %out
work:
  %function = load ptr, ptr %functions
  %argument = load ptr, ptr %arguments
  call void %function(ptr %argument, i64 %chunk, ptr %scratch)
  %before = atomicrmw add ptr %ended, i64 1 seq_cst
  br label %claim
out:
  ret void
}}

define void @worker(ptr %job, ptr %scratch, i64 %spins) {{
entry:
  %signals = getelementptr %job, ptr %job, i32 0, i32 6
  br label %start
start:
  %seen = phi i64 [0, %entry], [%now, %work]
  br label %spin
spin:
  %n = phi i64 [0, %start], [%next, %more]
  %now = load atomic i64, ptr %signals seq_cst, align 8
  %new = icmp ne i64 %now, %seen
  br i1 %new, label %work, label %more
more:
  {pause}
  %next = add i64 %n, 1
  %again = icmp ult i64 %next, %spins
  br i1 %again, label %spin, label %out
work:
  call void @drain(ptr %job, ptr %scratch)
  br label %start
out:
  ret void
}}

define void @run(ptr %job, ptr %launches, i64 %count, ptr %scratch) {{
entry:
  %claims = getelementptr %job, ptr %job, i32 0, i32 0
  %ended = getelementptr %job, ptr %job, i32 0, i32 1
  %functions = getelementptr %job, ptr %job, i32 0, i32 2
  %arguments = getelementptr %job, ptr %job, i32 0, i32 3
  %counts = getelementptr %job, ptr %job, i32 0, i32 4
  %epochs = getelementptr %job, ptr %job, i32 0, i32 5
  %signals = getelementptr %job, ptr %job, i32 0, i32 6
  br label %launch
launch:
  %i = phi i64 [0, %entry], [%following, %ready]
  %left = icmp ult i64 %i, %count
  br i1 %left, label %begin, label %out
begin:
  %following = add i64 %i, 1
  %here = getelementptr %launch, ptr %launches, i64 %i
  %function = load ptr, ptr %here
  %second = getelementptr %launch, ptr %here, i32 0, i32 1
  %argument = load ptr, ptr %second
  %third = getelementptr %launch, ptr %here, i32 0, i32 2
  %chunks = load i64, ptr %third
  %one = icmp ule i64 %chunks, 1
  br i1 %one, label %alone, label %publish
alone:
  %any = icmp eq i64 %chunks, 1
  br i1 %any, label %call, label %ready
call:
  call void %function(ptr %argument, i64 0, ptr %scratch)
  br label %ready
publish:
  %old = load i64, ptr %epochs
  %up = add i64 %old, 1
  %epoch = and i64 %up, 2147483647
  store atomic i64 0, ptr %counts seq_cst, align 8
  store atomic i64 %epoch, ptr %epochs seq_cst, align 8
  store ptr %function, ptr %functions
  store ptr %argument, ptr %arguments
  store atomic i64 0, ptr %ended seq_cst, align 8
  store atomic i64 %chunks, ptr %counts seq_cst, align 8
  %ticket = shl i64 %epoch, 32
  store atomic i64 %ticket, ptr %claims seq_cst, align 8
  store atomic i64 %epoch, ptr %signals seq_cst, align 8
  call void @drain(ptr %job, ptr %scratch)
  br label %wait
wait:
  %done = load atomic i64, ptr %ended seq_cst, align 8
  %all = icmp eq i64 %done, %chunks
  br i1 %all, label %ready, label %pause
pause:
  {pause}
  br label %wait
ready:
  br label %launch
out:
  ret void
}}
"""

_FIELDS, _ALIGN = 7, 64


class CompileError(RuntimeError):
    """IR that LLVM refuses: a defect of ours; the message has the text."""


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel's machine code: its address, and the library that keeps it there."""

    address: int
    library: Any


class Memory:
    """`nbytes` of zeroed memory, aligned for any vector."""

    __slots__ = ("_held", "address")

    def __init__(self, nbytes: int) -> None:
        self._held = ctypes.create_string_buffer(nbytes + _ALIGN)
        self.address = -(-ctypes.addressof(self._held) // _ALIGN) * _ALIGN


class Runtime:
    """LLVM for this machine, and its workers. One call runs at a time."""

    def __init__(self, threads: int | None = None) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.llvm = llvm
        # The list of features, not the name: a virtual machine may report its neighbour's.
        self.features = llvm.get_host_cpu_features().flatten()
        self.triple = llvm.get_default_triple()
        target = llvm.Target.from_triple(self.triple)
        processor = llvm.get_host_cpu_name()
        self.machine = target.create_target_machine(
            cpu=processor, features=self.features, opt=_LEVEL
        )
        self.compiler = repr((self.triple, processor, self.features, _LEVEL, llvm.llvm_version_info,
                              llvmlite.__version__))  # fmt: skip
        self.jit = llvm.create_lljit_compiler(self.machine)
        self.threads = threads if threads is not None else _cores()
        # Of who calls: one at a time, from the arguments to the end of the last launch.
        self.lock = threading.RLock()
        self.names = 0
        (code,) = self.object_codes([_SOURCE.format(**self._pause())])
        self.library = self._link(code, ("run", "worker"))
        kinds = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self._run = ctypes.CFUNCTYPE(None, *kinds)(self.library["run"])
        self._work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
            self.library["worker"])  # fmt: skip
        self.job = Memory(8 * _FIELDS)
        self.scratch: list[Memory] = []
        self.scratch_bytes = -1
        self.workers: list[_Worker] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def describe(self) -> str:
        """The processor, its features by a digest, LLVM, and the threads."""
        version = ".".join(map(str, self.llvm.llvm_version_info))
        features = blake2b(self.features.encode(), digest_size=3).hexdigest()
        name = self.llvm.get_host_cpu_name()
        return f"cpu {name} ({features}), LLVM {version}, {self.threads} threads"

    def _pause(self) -> dict[str, str]:
        if self.triple.startswith(("x86_64", "i686", "amd64")):
            return {"pause_declaration": "declare void @llvm.x86.sse2.pause()",
                    "pause": "call void @llvm.x86.sse2.pause()"}  # fmt: skip
        return {"pause_declaration": "", "pause": "fence seq_cst"}

    # -- code ---------------------------------------------------------------------------------

    def object_code(self, source: str) -> bytes:
        """Machine code of a module with the function `kernel`. Raises CompileError."""
        return self.object_codes([source])[0]

    def object_codes(self, sources: Sequence[str]) -> list[bytes]:
        """Machine code of modules: from disk, if some process has compiled them for this processor;
        what is compiled now is kept there. Raises CompileError."""
        keys = [objects.key_of(s, self.compiler) for s in sources]
        known = objects.load(dict.fromkeys(keys))
        made = {k: self._object(s) for k, s in dict(zip(keys, sources, strict=True)).items()
                if k not in known}  # fmt: skip
        if made:
            objects.store(made)
        count("objects_loaded", len(known))
        count("kernels_compiled", len(made))
        return [known[k] if k in known else made[k] for k in keys]

    def _object(self, source: str) -> bytes:
        try:
            module = self.llvm.parse_assembly(source)
            module.verify()
        except RuntimeError as e:
            lines = "\n".join(f"{n:4} {t}" for n, t in enumerate(source.splitlines(), 1))
            raise CompileError(f"LLVM refuses this: {e}\n{lines}") from e
        code: bytes = self.machine.emit_object(module)
        return code

    def _link(self, code: bytes, names: Sequence[str]) -> Any:
        builder = self.llvm.JITLibraryBuilder().add_object_img(code)
        for name in names:
            builder = builder.export_symbol(name)
        self.names += 1
        return builder.link(self.jit, f"anneal{self.names}")

    def load(self, code: bytes) -> Function:
        """A function of machine code from `object_code`."""
        with self.lock:
            library = self._link(code, ("kernel",))
        return Function(library["kernel"], library)

    # -- running ------------------------------------------------------------------------------

    def run(self, launches: Launches, log: list[Any] | None = None, first: int = 0,
            count: int | None = None) -> None:  # fmt: skip
        """Runs launches, one after another, each to its end. `log` is not empty once they ran: no
        interrupt comes between."""
        log = [] if log is None else log
        with self.lock:
            if launches.scratch > self.scratch_bytes:
                self._grow(launches.scratch)
            if launches.parallel:
                self._call_workers()
            table, count = launches.table + 24 * first, launches.count if count is None else count
            given = (self.job.address,), (table,), (count,), (self.scratch[0].address,)
            log.extend(map(self._run, *given))

    def _begin_anew(self) -> None:
        """A forked child has no threads of ours, and a lock that one of them may have held."""
        self.lock, self.workers = threading.RLock(), []

    def _call_workers(self) -> None:
        if len(self.workers) < self.threads - 1:
            self.workers = [_Worker(self, n + 1) for n in range(self.threads - 1)]
        for worker in self.workers:
            worker.wake()

    def _grow(self, nbytes: int) -> None:
        """Scratch memory for every thread: workers that run now keep theirs until they return."""
        nbytes = max(nbytes, 1 << 16)
        self.scratch = [Memory(nbytes) for _ in range(self.threads)]
        self.scratch_bytes = nbytes
        for worker in self.workers:
            worker.leave()


class _Worker:
    """A thread that works in native code, and waits in Python."""

    def __init__(self, runtime: Runtime, number: int) -> None:
        self.runtime, self.number = runtime, number
        self.asleep = threading.Event()
        self.called = threading.Semaphore(0)
        self.asleep.set()
        threading.Thread(target=self._loop, name=f"anneal-{number}", daemon=True).start()

    def wake(self) -> None:
        if self.asleep.is_set():
            self.asleep.clear()
            self.called.release()

    def leave(self) -> None:
        """Waits until the thread is in Python."""
        self.asleep.wait()

    def _loop(self) -> None:
        work, job = self.runtime._work, self.runtime.job.address
        with contextlib.suppress(AttributeError, TypeError):  # Python ends, and its modules with it
            while True:
                self.called.acquire()
                scratch = self.runtime.scratch[self.number]
                work(job, scratch.address, _SPINS)
                self.asleep.set()


class Launches:
    """Functions with their arguments and counts of chunks, as one table for `Runtime.run`. The
    arguments are words that the caller fills in: addresses of buffers, values of variables."""

    __slots__ = ("_functions", "_table", "arguments", "count", "parallel", "scratch", "table")

    def __init__(self, functions: Sequence[Function], words: Sequence[int], chunks: Sequence[int],
                 scratch: int) -> None:  # fmt: skip
        self._functions = tuple(functions)
        self.arguments = [(ctypes.c_int64 * max(n, 1))() for n in words]
        self.count, self.scratch = len(functions), scratch
        self.parallel = any(n > 1 for n in chunks)
        self._table = (ctypes.c_int64 * max(3 * self.count, 1))()
        for i, (f, a, n) in enumerate(zip(functions, self.arguments, chunks, strict=True)):
            self._table[3 * i : 3 * i + 3] = [f.address, ctypes.addressof(a), n]
        self.table = ctypes.addressof(self._table)


def _cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
