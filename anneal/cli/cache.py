"""`anneal cache`: the folder of compiled plans."""

from __future__ import annotations

import argparse

from anneal import errors
from anneal.lowering import cache as plans


def cache(args: argparse.Namespace) -> None:
    """Prints what the folder holds; with `clear`, forgets it."""
    if args.model == "clear":
        print(plans.clear())
        return
    if args.model:
        raise errors.AnnealError(f"cache: unknown argument {args.model!r}: expected clear")
    found = plans.describe()
    print(f"folder  {found['folder']}")
    print(f"plans   {found['plans']}, {found['bytes'] / 1e6:.1f} MB")
