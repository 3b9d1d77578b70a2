"""The command line: `anneal train`, `anneal doctor`, `anneal cache`.

Bad input is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from anneal import errors

T = TypeVar("T")


class _Parser(argparse.ArgumentParser):
    """Whose complaints are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    if sys.stdout is None:  # `>&-`: whoever started this can be told nothing else
        return _refused("standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be what a terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            _run(_parser().parse_intermixed_args(argv))
        finally:
            sys.stdout.flush()  # while a failure can still be one line
    except BrokenPipeError:  # who read the output has enough; nothing is left to say it to
        _drop_output()
        return 1
    except (errors.AnnealError, OSError) as e:
        _drop_output()
        return _refused(str(e))
    except KeyboardInterrupt:
        return 130
    return 0


def _run(args: argparse.Namespace) -> None:
    if args.command == "train":
        from anneal.cli.train import train

        train(args)
    elif args.command == "doctor":
        if args.model:
            raise errors.AnnealError(f"doctor: unexpected argument {args.model!r}")
        from anneal.cli.doctor import doctor

        doctor(args)
    elif args.command == "cache":
        from anneal.cli.cache import cache

        cache(args)
    else:
        raise errors.AnnealError(
            f"unknown command {args.command!r}: expected train, doctor or cache"
        )


def _refused(why: str) -> int:
    if sys.stderr is not None:  # print would take stdout for it
        with contextlib.suppress(OSError):
            print(f"anneal: {' '.join(why.split())}", file=sys.stderr, flush=True)
    return 2


def _drop_output() -> None:
    """What cannot be written is not tried again, with a traceback, when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _number(text: str, of: Callable[[str], T]) -> T:
    try:
        return of(text)
    except ValueError:
        what = "a whole number" if of is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}") from None


def _positive(text: str) -> int:
    n = _number(text, int)
    if n < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return n


def _seed(text: str) -> int:
    return _number(text, int)


def _rate(text: str) -> float:
    x = _number(text, float)
    if not 0 < x < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return x


def _given(text: str) -> str:
    """Not the nothing of a shell's unset variable."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got nothing")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="anneal",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Functional transformations of numerical programs, compiled for any GPU.",
        epilog="commands:\n"
        "  train mlp      train a network of three dense layers on handwritten digits\n"
        "  train conv     train a small convolutional network on them\n"
        "  doctor         what is installed, which device runs and why\n"
        "  cache          where plans, machine code and results of searches are kept\n"
        "  cache clear    forget plans and machine code\n"
        "  cache clear-searches\n"
        "                 forget the results\n"
        "  cache --export FILE.json, cache --import FILE.json\n"
        "                 results of searches as a file, for other machines of the kind\n\n"
        "examples:\n"
        "  anneal train mlp --steps 500\n"
        "  anneal train --device webgpu conv --out digits.safetensors\n",
    )
    parser.add_argument("command", help="train, doctor or cache")
    parser.add_argument("model", nargs="?",
                        help="train: mlp or conv; cache: clear or clear-searches")  # fmt: skip
    parser.add_argument("--steps", type=_positive, help="training steps (mlp 1500, conv 400)")
    parser.add_argument("--batch", type=_positive, default=64, help="images a step (64)")
    parser.add_argument("--lr", type=_rate, default=2e-3, help="Adam's learning rate (0.002)")
    parser.add_argument("--seed", type=_seed, default=0, help="of parameters and batches (0)")
    parser.add_argument("--device", type=_given,
                        help="webgpu, cpu or interpreter; else by what is there")  # fmt: skip
    parser.add_argument("--data", type=_given, metavar="FILE.npz",
                        help="images (n, 8, 8) and labels (n,)")  # fmt: skip
    parser.add_argument("--out", type=_given, metavar="FILE.safetensors",
                        help="where to save the parameters")  # fmt: skip
    parser.add_argument("--export", type=_given, metavar="FILE.json",
                        help="cache: where to write results of searches")  # fmt: skip
    parser.add_argument("--import", type=_given, metavar="FILE.json", dest="imported",
                        help="cache: where to read them from")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="lines of text, no progress bar")
    return parser
