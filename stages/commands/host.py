"""What this machine is, and which host block of params.yaml it may make evidence for.

    promotion host
    promotion host --json

Ends with 0 if a block fits, with 1 if none does. A run in the name of a block that does not fit is refused.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from stages.domain.study import load
from stages.hosts.machine import describe_machine, find_mismatches, format_block, format_machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion host`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the machine, and what keeps it from being each host block."""
    machine, blocks = describe_machine(), load().hosts
    problems = {name: find_mismatches(block, machine) for name, block in blocks.items()}
    status = 0 if any(not mismatches for mismatches in problems.values()) else 1
    if arguments.json:
        rows = {name: {"says": format_block(blocks[name]), "mismatches": problems[name]} for name in blocks}
        print(json.dumps({"machine": asdict(machine), "blocks": rows}, indent=1, sort_keys=True))
        return status
    print(f"this machine: {format_machine(machine)}")
    for name, mismatches in problems.items():
        print(f"{'differs' if mismatches else 'fits   '}  {name}: {format_block(blocks[name])}")
        for mismatch in mismatches:
            print(f"           {mismatch}")
    return status
