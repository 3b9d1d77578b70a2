"""`anneal cache`: the folder of compiled plans, of machine code, and of what searches found."""

from __future__ import annotations

import argparse
from pathlib import Path

from anneal import errors
from anneal.llvm.objects import OBJECTS
from anneal.lowering import cache as plans
from anneal.lowering import searches
from anneal.lowering.limits import called

# Results that are shown, the best.
_SHOWN = 10


def cache(args: argparse.Namespace) -> None:
    """Prints what the folder holds; forgets it, or moves results of searches, as asked."""
    asked = [args.model, args.export, args.imported]
    if sum(bool(a) for a in asked) > 1:
        raise errors.AnnealError("cache: expected one of clear, clear-searches, --export, --import")
    if args.export:
        from anneal.io.files import write_whole

        count, text = searches.exported()
        write_whole(args.export, text.encode())
        print(f"exported {_results(count)} to {args.export}")
    elif args.imported:
        print(f"imported {_results(_import(args.imported))} from {args.imported}")
    elif args.model == "clear":
        print(plans.clear())
        print(OBJECTS.clear())
    elif args.model == "clear-searches":
        print(searches.clear())
    elif args.model:
        raise errors.AnnealError(f"cache: unknown argument {args.model!r}: expected clear or "
                                 "clear-searches")  # fmt: skip
    else:
        _show()


def _import(name: str) -> int:
    try:
        text = Path(name).read_text("utf-8")
    except UnicodeDecodeError as e:
        raise searches.FormatError(f"{name}: no text at byte {e.start}") from None
    return searches.imported(text, name)


def _show() -> None:
    found = plans.describe()
    results = searches.every()
    print(f"folder    {found['folder']}")
    print(f"plans     {found['plans']}, {found['bytes'] / 1e6:.1f} MB")
    entries, nbytes = OBJECTS.totals()
    print(f"objects   {entries}, {nbytes / 1e6:.1f} MB")
    print(f"searches  {len(results)}")
    for r in results[:_SHOWN]:
        if r.gain > 1:
            print(f"  {called(r.kernel)}  {r.gain:5.2f} times the heuristic's speed, "
                  f"{r.seconds * 1e3:.3f} ms, on {r.device}: {r.opts}")  # fmt: skip


def _results(count: int) -> str:
    return f"{count} result{'s' if count != 1 else ''} of searches"
