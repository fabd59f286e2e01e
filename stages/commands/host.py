"""What this machine is, and which host block of params.yaml it may make evidence for.

    promotion host
    promotion host --json

Ends with 0 if a block fits, with 1 if none does. A run in the name of a block that does not fit is refused.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from stages.domain.study import load
from stages.hosts.machine import describe, mismatches, say, say_block


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion host`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def survey() -> dict[str, Any]:
    """This machine, and what keeps it from being each host block."""
    machine = describe()
    blocks = {}
    for name, declared in load().hosts.items():
        value = declared.model_dump()
        blocks[name] = {"says": say_block(value), "mismatches": mismatches(value, machine)}
    return {"machine": machine, "blocks": blocks}


def run(arguments: argparse.Namespace) -> int:
    """Print the machine and the blocks."""
    found = survey()
    fits = [name for name, told in found["blocks"].items() if not told["mismatches"]]
    if arguments.json:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0 if fits else 1
    print(f"this machine: {say(found['machine'])}")
    for name, told in found["blocks"].items():
        print(f"{'fits   ' if name in fits else 'differs'}  {name}: {told['says']}")
        for mismatch in told["mismatches"]:
            print(f"           {mismatch}")
    return 0 if fits else 1
