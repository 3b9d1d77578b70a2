"""Which device runs, and what every device offers: data in, graphs compiled, data out.

`compile` is memoized on a graph's structure, so a function defined again with the same body
compiles nothing. Callers pass graphs whose data are inputs (`realization.close_over`).
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from anneal import config, errors
from anneal.lowering import searches
from anneal.lowering.limits import Limits
from anneal.memo import Memo
from anneal.profiling import profiled, record
from anneal.provenance import Lines
from anneal.stats import count
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph

if TYPE_CHECKING:
    import numpy as np

NAMES = ("webgpu", "cpu", "interpreter")


class Storage(Protocol):
    """Data on a device; `spent`, not empty, once the memory was given away; `shared` while what
    else may read it is not known, so that it is never given away."""

    spent: Sequence[Any]
    shared: bool


class Donation:
    """Which inputs of one call may be overwritten, `taken` by position, and how far it has come.

    `log` is empty until that happens, and is what the storages then have as `spent`: so they are
    all usable or none, whenever an interrupt comes. `finish`, once there: the call's results, for
    who was interrupted after that.
    """

    __slots__ = ("finish", "log", "taken")

    def __init__(self, taken: frozenset[int]) -> None:
        self.taken = taken
        self.log: list[Any] = []
        self.finish: Callable[[], list[Any]] | None = None

    def begin(self, inputs: Sequence[Any]) -> list[Any]:
        """The log, of which the inputs' storages know from here on."""
        for i in self.taken:
            inputs[i].spent = self.log
        return self.log


class Executable(Protocol):
    """A compiled structure: storages of a graph's inputs to storages of its outputs. Profiles say
    `lines`, the caller's graph's: another one of the structure may have been compiled."""

    def __call__(self, inputs: Sequence[Any], donation: Donation | None = None,
                 lines: Lines | None = None) -> list[Any]: ...  # fmt: skip


class Run(Protocol):
    """An Executable for one graph."""

    def __call__(self, inputs: Sequence[Any], donation: Donation | None = None) -> list[Any]: ...


class Device(Protocol):
    """A place where graphs run."""

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def driver(self) -> str: ...

    def holds(self, dtype: DType) -> bool: ...

    def upload(self, data: np.ndarray[Any, Any]) -> Any: ...

    def read(self, storage: Any) -> np.ndarray[Any, Any]: ...

    def copy(self, storage: Any) -> Any: ...

    def compile(self, graph: Graph, donate: frozenset[int], limits: Limits,
                beam: int = 0) -> Executable: ...  # fmt: skip


class DeviceError(errors.AnnealError, RuntimeError):
    """No such device, or it is not there."""


class HostStorage:
    """Data on the host: a NumPy array that nothing writes to. `address`: where it begins, once
    native code asked."""

    __slots__ = ("__weakref__", "address", "data", "shared", "spent")

    def __init__(self, data: np.ndarray[Any, Any]) -> None:
        base: Any = data.base
        while base is not None and hasattr(base, "flags"):
            base.flags.writeable = False  # a view of what may be written could be made writable
            base = base.base
        if base is not None and not getattr(base, "readonly", True):
            data = data.copy()  # as could one of a buffer that is no array
        self.data = data
        data.setflags(write=False)
        self.shared = False
        self.address = 0
        self.spent: Sequence[Any] = ()


class Interpreter:
    """The definition of every op in NumPy, as a device."""

    name = driver = "interpreter"
    limits = Limits()

    def holds(self, dtype: DType) -> bool:
        """Whether arrays can have the dtype."""
        return True

    def upload(self, data: np.ndarray[Any, Any]) -> HostStorage:
        return HostStorage(data)

    def read(self, storage: HostStorage) -> np.ndarray[Any, Any]:
        return storage.data.view()

    def copy(self, storage: HostStorage) -> HostStorage:
        return HostStorage(storage.data)

    def compile(self, graph: Graph, donate: frozenset[int], limits: Limits,
                beam: int = 0) -> Executable:  # fmt: skip
        from anneal.interpret import evaluate
        from anneal.uop.symbolic import simplify

        outputs = simplify(graph.outputs)
        params = graph.inputs  # what is kept for every graph of the structure: not its lines
        position = {p: i for i, p in enumerate(params)}

        def run(inputs: Sequence[Any], donation: Donation | None = None,
                lines: Lines | None = None) -> list[HostStorage]:  # fmt: skip
            inputs = [s if type(s) is HostStorage else HostStorage(read(s)) for s in inputs]
            start = time.perf_counter()
            values = {
                p: s.data.reshape(tuple(d for d in p.shape if isinstance(d, int)))
                for p, s in zip(params, inputs, strict=True)
            }
            made = iter(evaluate([u for u in outputs if u not in position], values))
            if profiled():
                origins = lines.whole() if lines is not None else ()
                record("interpreted graph", 0, 0, origins, time.perf_counter() - start)
            # Nothing is written in place: results may have the data of inputs.
            results = [HostStorage(inputs[position[u]].data if u in position else next(made))
                       for u in outputs]  # fmt: skip
            if donation is not None:
                donation.finish = lambda: results
                donation.begin(inputs).append(None)
            return results

        return run


_MOST_EXECUTABLES = 512  # a compiled kernel is some 0.3 MB

_devices: dict[str, Device] = {}
_opening = threading.RLock()
_compiled: Memo[tuple[str, str, frozenset[int], Limits, int], Executable] = Memo(_MOST_EXECUTABLES)


def get(name: str) -> Device:
    """The device called `name`; DeviceError where it is unknown or not there."""
    if name not in NAMES:
        raise DeviceError(f"unknown device {name!r}: expected one of {', '.join(NAMES)}")
    known = _devices.get(name)
    if known is not None:
        return known
    with _opening:
        known = _devices.get(name)
        if known is None:
            if name == "webgpu":
                from anneal.wgsl.device import open_device

                known = open_device()
            elif name == "cpu":
                from anneal.llvm.device import open_cpu

                known = open_cpu()
            else:
                known = Interpreter()
            _devices[name] = known
        return known


def current() -> Device:
    """The device in force: `default_device`, else `ANNEAL_DEVICE`, else a GPU, else the CPU, or the
    interpreter without llvmlite (which one line on stderr says)."""
    entered = _entered.get() or _process
    name = entered[-1].name if entered else config.device_name()
    if name is None:
        name, why = _automatic()
        if name == "interpreter" and name not in _devices:
            print(f"anneal: {why}, and llvmlite is missing; running on the interpreter (NumPy)",
                  file=sys.stderr)
    return get(name)


_found: list[tuple[str, str]] = []


def _automatic() -> tuple[str, str]:
    with _opening:
        if not _found:
            from anneal.wgsl.device import hardware_adapter

            gpu = hardware_adapter()
            host = "cpu" if importlib.util.find_spec("llvmlite") else "interpreter"
            _found.append(("webgpu", f"GPU adapter {gpu}") if gpu else
                          (host, "no GPU adapter answers"))
        return _found[0]


class default_device:  # noqa: N801  (a function to its users, and a context manager)
    """Sets the device by name: called, for the process; in a `with`, for the block, in this
    thread and context alone.

    >>> import anneal
    >>> with anneal.default_device("interpreter"):
    ...     anneal.device.current().name
    'interpreter'
    """

    def __init__(self, name: str) -> None:
        get(name)
        self.name = name
        with _opening:
            _process[:] = [*_process[-_MOST_ENTERING:], self]

    def __enter__(self) -> None:
        with _opening:
            if self in _process:  # it was no call
                _process.remove(self)
        _entered.set((*_entered.get(), self))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        # Not always the innermost, nor even in here: blocks of generators end in any order, and
        # those that are collected in any thread.
        entered = _entered.get()
        last = max((i for i, d in enumerate(entered) if d is self), default=len(entered))
        _entered.set((*entered[:last], *entered[last + 1 :]))


def within(name: str) -> default_device:
    """`default_device(name)` for a `with`: not in force for the process until it is entered."""
    get(name)
    out = default_device.__new__(default_device)
    out.name = name
    return out


# What was entered in this thread and context, the innermost last.
_entered: ContextVar[tuple[default_device, ...]] = ContextVar("default_device", default=())
# What was called, the last one in force. One that is then entered leaves again, so as many stay as
# threads may be between the two.
_process: list[default_device] = []
_MOST_ENTERING = 64


def devices() -> list[str]:
    """The devices that answer here."""
    from anneal.wgsl.device import adapters

    native = ["cpu"] if importlib.util.find_spec("llvmlite") is not None else []
    return [*(["webgpu"] if adapters() else []), *native, "interpreter"]


def forget_forked() -> None:
    """In a child process: WebGPU's device is the parent's."""
    _devices.pop("webgpu", None)


def limits(opts: tuple[tuple[str, str], ...] = ()) -> Limits:
    """The limits of the device in force, lowered by `ANNEAL_MAX_BUFFERS` and `ANNEAL_FUSE`; with
    Opts by hand for a program."""
    own = current().limits
    most = config.max_buffers() or own.max_buffers
    return replace(own, max_buffers=min(most, own.max_buffers), fuse=config.fuse(), opts=opts)


def known_limits(opts: tuple[tuple[str, str], ...] = ()) -> Limits:
    """`limits` with what searches found for the device: what lowering goes by."""
    return replace(limits(opts), found=searches.found(current().driver))


def target() -> tuple[object, ...]:
    """What a graph is compiled for: a key that costs a microsecond or two."""
    return (current().name, *config.schedule_settings())


def upload(data: np.ndarray[Any, Any]) -> Any:
    return current().upload(data)


def copy(storage: Any) -> Any:
    """A storage of its own with the same elements."""
    return _home(storage).copy(storage)


def _home(storage: Any) -> Device:
    return get("interpreter" if isinstance(storage, HostStorage) else "webgpu")


def read(storage: Any) -> np.ndarray[Any, Any]:
    """A storage's elements, flat or shaped, on whichever device it is."""
    return _home(storage).read(storage)


def compile(graph: Graph, donate: frozenset[int],
            opts: tuple[tuple[str, str], ...] = (), beam: int = 0) -> Run:  # fmt: skip
    """Compiles `graph` for the device in force, once for every structure and Opts by hand; `beam`,
    if it is not 0, is how wide it searches for those that nobody knows."""
    device = current()
    bounds = limits(opts)
    key = (device.name, graph.key(), donate, bounds, beam)
    known = _compiled.find(key)
    if known is None:
        known = _compiled.keep(key, device.compile(graph, donate, bounds, beam))
        count("graphs_compiled")
    return functools.partial(known, lines=Lines(graph))


def report() -> dict[str, Any]:
    """What is there, what is chosen and why, and what to install: for `anneal doctor`."""
    from anneal.wgsl.device import adapters, describe

    found = [describe(a) for a in adapters()]
    why = ("default_device" if _entered.get() or _process else
           f"ANNEAL_DEVICE={config.device_name()}" if config.device_name() else _automatic()[1])
    try:
        chosen: str = current().name
    except DeviceError as e:
        chosen, why = "none", str(e)
    advice = []
    if importlib.util.find_spec("llvmlite") is None:
        advice.append("llvmlite, for the CPU: pip install llvmlite")
    if importlib.util.find_spec("wgpu") is None:
        advice.append("wgpu: pip install wgpu")
    if not found:
        advice.append("a Vulkan driver: on Debian, apt-get install mesa-vulkan-drivers")
    return {"device": chosen, "why": why, "adapters": found, "install": advice}


def doctor() -> dict[str, Any]:
    """See `report`."""
    return report()
