"""All of a study that can be judged without its corpus: the file, its sections together, and the runner's own settings.

    promotion study check mine.yaml

`promotion study use`, `study show` and `plan` ask here before they do anything. What needs the corpus (whether its text
and its splits are large enough) shows `dvc repro corpus`, and `promotion freeze` asks the runner once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from stages.domain import names, yamlio
from stages.domain.contract import HostBlock
from stages.domain.errors import Invalid
from stages.domain.study import Study, parse_bytes
from stages.runners import Assignment, runner_of
from stages.runners.builtin import BuiltinRunner, realise_all

REMEDY = "run this in the root of a study, or see `promotion study list`"


def load_checked(path: Path = names.PARAMS) -> Study:
    """The study in a file, checked; `Invalid` tells every mistake, and `BadYaml` what is no YAML."""
    return check_study(yamlio.read_bytes(path, REMEDY), path.as_posix())


def check_study(data: bytes, where: str) -> Study:
    """The study that `data` says. `Invalid` names file, line and key of every mistake in it, the runner's included."""
    study = parse_bytes(data, where)
    yamlio.refuse_aliases(data, where)
    messages = list(_runner_mistakes(study, where))
    if messages:
        raise Invalid("\n".join(str(yamlio.with_lines(message, data, where)) for message in messages))
    return study


def _runner_mistakes(study: Study, where: str) -> Iterator[Invalid]:
    """What the runner refuses, each mistake once: knobs, settings, host blocks and budgets, by name, type and range."""
    runner = runner_of(study.runner)
    seen: set[str] = set()
    for assignment in _assignments(study):
        try:
            runner.make_spec(assignment, where)
        except Invalid as error:
            if str(error) not in seen:
                seen.add(str(error))
                yield error
    if not seen and isinstance(runner, BuiltinRunner):
        try:  # the vocabulary has the size that was asked for, or there is no corpus
            realise_all(study, study.data.vocab_size, where)
        except Invalid as error:
            yield error


def _assignments(study: Study) -> Iterator[Assignment]:
    """Every configuration once, and every host at every budget once: a mistake in either shows without all pairs."""
    rungs, hosts = list(study.rungs), list(study.hosts)
    first = next(iter(study.configs))
    yield from (_assignment(study, rungs[0], hosts[0], config) for config in study.configs)
    yield from (_assignment(study, rung, host, first) for rung in rungs for host in hosts)


def _assignment(study: Study, rung: str, host: str, config: str) -> Assignment:
    return Assignment(
        rung=rung,
        config=config,
        host=host,
        seed=next(iter(study.rungs[rung].seeds)),
        settings=study.runner,
        knobs=study.configs[config],
        block=cast("HostBlock", study.hosts[host].model_dump()),
        clock=study.clock.kind,
        seconds=study.rungs[rung].budget_seconds,
        last=rung == study.last_rung,
        options=study.rungs[rung].with_,
    )
