"""`promotion`: which module a subcommand is, what heals before it, and the status it ends with."""

from __future__ import annotations

import argparse
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from stages import cli


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every module that is asked for, in the place of the real one: it notes what it does."""
    asked: list[Any] = []

    def load(name: str) -> SimpleNamespace:
        def run(arguments: argparse.Namespace) -> int | None:
            asked.append(("run", name, arguments.number))
            return arguments.number

        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("number", type=int, nargs="?")

        return SimpleNamespace(
            __doc__=f"About\n    {name}.",
            add_arguments=add_arguments,
            run=run,
            heal_workspace=lambda: asked.append("heal"),
        )

    monkeypatch.setattr(cli.importlib, "import_module", load)
    return asked


def status_of(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    return end.value.code


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_subcommand_is_the_module_of_its_name_and_some_heal_first(command: str, modules: list[Any]) -> None:
    assert status_of(command) == 0
    name = f"stages.commands.{'trial' if command == 'try' else command.replace('-', '_')}"
    heals = command in ("study", "freeze", "status", "pending", "replay", "site")
    assert modules == [*(["heal"] if heals else []), ("run", name, None)]


@pytest.mark.parametrize("status", [0, 1, 2])
def test_it_ends_with_the_status_of_the_subcommand(status: int, modules: list[Any]) -> None:
    assert status_of("plan", str(status)) == status


def test_words_are_those_of_the_process_unless_they_are_given(
    modules: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["promotion", "verify", "1"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert modules == [("run", "stages.commands.verify", 1)]


@pytest.mark.parametrize("words", [(), ("nothing",), ("plan", "x"), ("plan", "1", "2")])
def test_other_words_end_with_2_and_run_nothing(
    words: tuple[str, ...], modules: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*words) == 2
    assert modules == []
    assert capsys.readouterr().err.startswith("usage: promotion ")


def test_the_help_of_a_subcommand_is_its_line_and_its_module_as_it_is_written(
    modules: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("serve", "--help") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: promotion serve [-h] [number]\n\nOpen the audit site on localhost.\n")
    assert printed.endswith("\nAbout\n    stages.commands.serve.\n")


def test_the_help_lists_every_subcommand_in_order(
    modules: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert status_of("--help") == 0
    printed = " ".join(capsys.readouterr().out.split())
    listed = " ".join(f"{name} {text}" for name, text in cli.COMMANDS.items())
    assert f" COMMAND {listed} options: " in printed
