"""What can be checked of the facts of a command's runs: little, and that is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stages.domain.command import CommandSettings
from stages.domain.records import CommandFacts, Record
from stages.runners import FactMismatch, RunnerJson, parse_facts
from stages.runners.output import as_number


class CommandFactsCheck:
    """The score is the printed one, rounded; what is reported is what the study names."""

    #: Two seeds that end alike to so many decimals show a trainer that ignores its seed; fewer can meet by chance.
    TELLING_DECIMALS = 6

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings
        self._checked = 0

    def mismatches(self, record: Record, spec: RunnerJson, whole: bool) -> Iterator[FactMismatch]:
        """What in the record does not follow from its own printed score."""
        facts, mismatches = parse_facts(CommandFacts, record)
        yield from mismatches
        if facts is None:
            return
        self._checked += 1
        finished = record.status == "finished"
        if finished != (facts.score is not None) or finished != (facts.printed is not None):
            expected = "a score" if finished else None
            yield FactMismatch("/facts/score", facts.score, expected, "finished runs, and no others, have a score")
        elif facts.printed is not None and (should := as_number(facts.printed)) != facts.score:
            yield FactMismatch("/facts/score", facts.score, should, f"the trainer printed {facts.printed}")
        for name in sorted(facts.reported.keys() - self._settings.facts.keys()):
            yield FactMismatch(f"/facts/reported/{name}", facts.reported[name], None, "runner.facts does not name it")

    def make_fingerprint(self, facts: Mapping[str, object]) -> tuple[object, ...]:
        """The printed score, if it has enough decimals to tell two runs apart."""
        printed = facts.get("printed")
        telling = isinstance(printed, str) and len(printed.partition(".")[2]) >= self.TELLING_DECIMALS
        return (printed,) if telling else ()

    def notes(self) -> list[str]:
        """What nobody can check for a trainer that is not this project's."""
        if not self._checked:
            return []
        named = ", ".join(sorted(self._settings.facts)) or "nothing"
        return [
            f"{self._checked} scores, and what the trainer reports ({named}), follow from nothing that is recorded: "
            "only the logs in the traces (`--depth artifacts`) and training again (`promotion replay`) speak of them"
        ]
