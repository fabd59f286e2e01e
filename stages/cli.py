"""`promotion`: the command for people. The pipeline itself is `dvc repro`.

    promotion --help
    promotion freeze gate3

Only the module of the subcommand that is asked for is imported, so that `promotion status` never pays for what
`promotion verify` needs. Exit status: 0 done (or verified), 1 a check failed, 2 could not run.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from types import ModuleType

from stages.domain.errors import main_guard

#: Subcommand -> what it does, in the order in which a person meets them.
COMMANDS = {
    "plan": "what the study will cost, before anything runs",
    "study": "switch params.yaml to another study",
    "candidates": "make configurations of a table of commits",
    "try": "run a trainer three times, before anything is frozen",
    "freeze": "write the rules of params.yaml into locks",
    "status": "the ladder: cells done, who was promoted, what blocks",
    "dag": "the pipeline with one node a rung and the counts on it",
    "host": "what this machine is, and which host block it matches",
    "pending": "what a host can run now, and what waits for whom",
    "work": "pull, run what this host can run, push, until nothing is left",
    "dispatch": "hand pending runs to several workers",
    "what-if": "which outcomes other rules would have given the recorded evidence",
    "replay": "train recorded runs again and compare",
    "train": "train one specification by hand with the built-in runner",
    "verify": "recompute every decision, from git alone",
    "attest": "export a decision as an in-toto statement, or check one",
    "site": "build the audit site, or compare two commits",
    "serve": "open the audit site on localhost",
    "backtest": "replay frozen rules on learning curves of others",
    "simulate": "what rung sizes and thresholds trade, on a fitted model",
    "screen": "design a screening study, and see the effects of its factors",
    "design": "propose rungs, seeds and thresholds for a cost",
    "heal": "remove what a killed process left half-written",
}
#: Subcommands whose name no module can have.
MODULES = {"try": "trial"}
#: Subcommands that begin with what `promotion heal` does. The others only read, or heal by themselves.
HEALING = ("study", "freeze", "status", "pending", "replay", "site")


def _module(command: str) -> ModuleType:
    module = MODULES.get(command, command.replace("-", "_"))
    return importlib.import_module(f"stages.commands.{module}")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser, with the arguments of one subcommand filled in."""
    parser = argparse.ArgumentParser(
        prog="promotion",
        description="Staged promotion: frozen rules decide which configurations earn the next budget.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            module = _module(name)
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
            sub.epilog = module.__doc__
            module.add_arguments(sub)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run one subcommand and leave with its exit status."""
    main_guard(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(words: list[str]) -> int:
    command = next((word for word in words if word in COMMANDS), None)
    arguments = build_parser(command).parse_args(words)
    if arguments.command in HEALING:
        _module("heal").heal_workspace()
    return int(_module(arguments.command).run(arguments) or 0)


if __name__ == "__main__":
    main()
