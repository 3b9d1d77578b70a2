"""`anneal cache`: the folder of compiled plans, and of machine code."""

from __future__ import annotations

import argparse

from anneal import errors
from anneal.llvm.objects import OBJECTS
from anneal.lowering import cache as plans


def cache(args: argparse.Namespace) -> None:
    """Prints what the folder holds; with `clear`, forgets it."""
    if args.model == "clear":
        print(plans.clear())
        print(OBJECTS.clear())
        return
    if args.model:
        raise errors.AnnealError(f"cache: unknown argument {args.model!r}: expected clear")
    found = plans.describe()
    print(f"folder  {found['folder']}")
    print(f"plans   {found['plans']}, {found['bytes'] / 1e6:.1f} MB")
    entries, nbytes = OBJECTS.totals()
    print(f"objects {entries}, {nbytes / 1e6:.1f} MB")
