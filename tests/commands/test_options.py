"""What every command takes: its options with their defaults, kept word by word, and helps that name the real defaults."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from stages import cli
from tests.support.snapshots import check_snapshots

#: A default as helps say it: "(default: 100)", "default: rated", "(default 60)", "one of its own (8000)".
STATED = re.compile(r"(?:\bdefault:? |\()((?!default)[^()]+)\)?$")
#: What stands in a help for a value of another name.
WORDS = {"127.0.0.1:0": "the loopback", ".": "this folder"}


def parsers_of(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A parser by its name, and those of its own subcommands."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub, inner in action.choices.items():
                yield from parsers_of(inner, f"{name} {sub}")


def parsers_of_command(command: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    parser = cli.build_parser(command)
    action = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    yield from parsers_of(action.choices[command], command)


def plain(value: object) -> str:
    """A value as its snapshot has it, on every system alike."""
    if isinstance(value, Path):
        return f"Path({value.as_posix()!r})"
    return getattr(value, "__name__", None) or repr(value)


def describe(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A line for every attribute of every option, and what goes with what not."""
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        yield f"{' '.join(action.option_strings) or action.dest} -> {action.dest}: {type(action).__name__.strip('_')}"
        if isinstance(action, argparse._SubParsersAction):
            choices: object = [(choice.dest, choice.help) for choice in action._choices_actions]
        else:
            choices = action.choices
        values = {
            "type": action.type,
            "nargs": action.nargs,
            "const": action.const,
            "default": action.default,
            "choices": choices,
            "metavar": action.metavar,
            "required": action.required or None,
            "help": action.help,
        }
        yield from (f"    {key}: {plain(value)}" for key, value in values.items() if value is not None)
    for group in parser._mutually_exclusive_groups:
        names = [" ".join(action.option_strings) or action.dest for action in group._group_actions]
        yield f"one of {names}" + (", required" if group.required else "")


def test_options_of_every_command_are_those_of_their_snapshot() -> None:
    texts = {}
    for command in cli.COMMANDS:
        for name, parser in parsers_of_command(command):
            texts[f"{name.replace(' ', '-')}.txt"] = "".join(f"{line}\n" for line in describe(parser))
    check_snapshots("options", texts)


def test_a_help_that_states_a_default_states_that_of_the_parser() -> None:
    stated = {}
    for command in cli.COMMANDS:
        for name, parser in parsers_of_command(command):
            for action in parser._actions:
                default, text = action.default, (action.help or "") % {"default": action.default}
                if default not in (None, False, "", [], argparse.SUPPRESS) and (match := STATED.search(text)):
                    real = f"{default:.15g}" if isinstance(default, float) else str(default)
                    stated[f"{name} {action.option_strings[0]}"] = (match[1], WORDS.get(real, real))
    assert {option: pair for option, pair in stated.items() if pair[0] != pair[1]} == {}
    assert len(stated) == 21, sorted(stated)
