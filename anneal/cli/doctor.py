"""`anneal doctor`: what is there, what runs and why, what to install."""

from __future__ import annotations

import argparse

from anneal import device


def doctor(args: argparse.Namespace) -> None:
    """Prints the device in force, every adapter, and advice."""
    if args.device:
        device.default_device(args.device)
    report = device.report()
    print(f"device    {report['device']} ({report['why']})")
    for adapter in report["adapters"]:
        print(f"adapter   {adapter['name']}, {adapter['backend']}, {adapter['type']}")
        print(f"          driver    {adapter['driver']}")
        print(f"          features  {', '.join(adapter['features']) or 'none of those that help'}")
        for name, value in adapter["limits"].items():
            print(f"          {name} = {value}")
    if not report["adapters"]:
        print("adapter   none answers")
    for advice in report["install"]:
        print(f"install   {advice}")
