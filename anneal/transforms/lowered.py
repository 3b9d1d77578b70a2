"""What `jit(f).lower(*args)` gives: a program to look at before it runs."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anneal.provenance import Lines
from anneal.uop.uop import Graph, Origin

if TYPE_CHECKING:
    from anneal.lowering.limits import Limits
    from anneal.lowering.passes import Step


class Lowered:
    """A traced graph, and the kernels that it becomes on the device that was in force."""

    def __init__(self, graph: Graph, donated: frozenset[int], name: str,
                 opts: tuple[tuple[str, str], ...] = ()) -> None:  # fmt: skip
        self.graph = graph
        self.name = name
        self._donated = donated
        self._opts = opts
        self._context = contextvars.copy_context()  # a device is opened when it is asked for

    def __repr__(self) -> str:
        return f"<{self.name} lowered to {len(self.kernels)} kernels>"

    @functools.cached_property
    def _limits(self) -> Limits:
        from anneal import device

        return self._context.copy().run(device.known_limits, self._opts)

    @functools.cached_property
    def plan(self) -> Any:
        """Buffers and launches of one call."""
        from anneal.lowering.plan import lower

        return lower(self.graph, self._limits, self._donated)

    def _steps(self, limits: Limits) -> list[Step]:
        """The passes that lower it."""
        from anneal.lowering.plan import lower

        steps: list[Step] = []
        lower(self.graph, limits, self._donated, steps.append)
        return steps

    @property
    def kernels(self) -> tuple[Any, ...]:
        """The kernels in order of launch, each with `.name`, `.outputs`, `.inputs`, `.grid` (in
        workgroups), `.workgroup` (in invocations), `.flops`, `.bytes` and `.source`."""
        return tuple([launch.kernel for launch in self.plan.launches])

    def cost_analysis(self) -> dict[str, Any]:
        """FLOPs and bytes moved of a call: "flops", "bytes accessed", and for each of "kernels"
        the same with its name. Counted, not run.

        >>> import anneal.numpy as anp
        >>> import anneal
        >>> x = anp.ones((4, 8))
        >>> anneal.jit(lambda a, b: a @ b).lower(x, x.T).cost_analysis()["flops"]
        256
        """
        from anneal.lowering.analysis import cost_analysis

        return cost_analysis(self.plan)

    def memory_analysis(self) -> dict[str, int]:
        """Bytes of a call: arguments, results, what of the results lies in donated arguments,
        temporaries, and the most at once. Counted, not run.

        >>> import anneal
        >>> import anneal.numpy as anp
        >>> step = anneal.jit(lambda w, g: w - g, donate_argnums=0)
        >>> step.lower(anp.ones(8), anp.ones(8)).memory_analysis()["alias_size_in_bytes"]
        32
        """
        from anneal.lowering.analysis import memory_analysis

        return memory_analysis(self.plan)

    def as_text(self, what: str = "graph") -> str:
        """The program as text: its "graph"; the "passes" that lower it, with the nodes that each
        leaves, the rules that fired and milliseconds; its "nests", the loops of kernels before any
        Opt, whose names and ranges `jit`'s `opts` go by; its "kernels", each with the lines of
        Python that it computes, the reason for every buffer that it writes, its loops by name, and
        the Opts that shaped them with their reasons; or their "source"."""
        if what == "graph":
            return repr(self.graph)
        if what == "kernels":
            lines = Lines(self.graph)
            return "\n".join([_kernel_text(x, lines.of(x.made)) for x in self.plan.launches])
        if what == "passes":
            from anneal.lowering.passes import table

            return table(self._steps(self._limits))
        if what == "nests":
            steps = self._steps(replace(self._limits, opts=()))
            nests = [nest for step in steps if step.name == "nest" for nest in step.after]
            return "\n".join(dict.fromkeys(map(str, nests)))
        if what == "source":
            return "\n\n".join([k.source for k in self.kernels])
        raise ValueError(f'as_text knows "graph", "passes", "nests", "kernels" and "source", '
                         f"not {what!r}")  # fmt: skip


def _kernel_text(launch: Any, origins: Sequence[Origin]) -> str:
    k = launch.kernel
    given = ", ".join([f"{p.access} {p.dtype}[{p.size}]" for p in k.params])
    lines = [f"{k.name}({given}) grid {k.grid} workgroup {k.workgroup} "
             f"{k.flops} FLOPs {k.bytes} bytes"]  # fmt: skip
    written = [slot for slot, p in zip(launch.args, k.params, strict=True) if p in k.outputs]
    lines += [f"    writes buffer {slot}: {why}"
              for slot, why in zip(written, launch.reasons, strict=False)]  # fmt: skip
    lines += [f"    {phase}: {places}" for phase, places in _by_phase(origins)]
    for nest in k.nests:
        lines += [f"    {line}" for line in nest.text.splitlines()]
        lines += [f"    {opts}: {why}" for opts, why in nest.reasons]
    return "\n".join(lines)


def _by_phase(origins: Sequence[Origin]) -> list[tuple[str, str]]:
    """For each phase the lines, as `file:1, 2, 5`."""
    found: dict[str, dict[str, list[int]]] = {}
    for o in sorted(set(origins), key=lambda o: (o.phase != "forward", o.phase, o.file, o.line)):
        lines = found.setdefault(o.phase, {}).setdefault(o.file, [])
        if o.line not in lines:
            lines.append(o.line)
    return [(phase, "; ".join(f"{file}:{', '.join(map(str, lines))}"
                              for file, lines in files.items()))
            for phase, files in found.items()]  # fmt: skip
