"""The dvc.yaml files of older commits are read as they were written then, to the word."""

from __future__ import annotations

import pytest

from stages.domain.hindsight import FOLDER
from stages.earlier_layout import dump_tickets, earlier_file, tickets_path
from tests.pipeline.pipeline_texts import STUDIES, describe_files
from tests.support.snapshots import check_snapshots


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_the_earlier_files_of_a_study_are_those_of_their_snapshots(name: str) -> None:
    study = STUDIES[name]()
    texts = {}
    for rung in (*study.rungs, FOLDER):
        texts[f"{rung}.txt"] = describe_files([earlier_file(study, rung)])
        texts[f"{rung}-variables.txt"] = describe_files([earlier_file(study, rung, variables=True)])
    check_snapshots(f"earlier_layout/{name}", texts)


def test_tickets_were_lines_of_yaml_sorted_by_name() -> None:
    assert tickets_path("gate3") == "artifacts/gates/gate3/promotions.yaml"
    assert dump_tickets({"b": "what-if", "a": "true", "c": "false"}) == b"a: true\nb: what-if\nc: false\n"
    assert dump_tickets({}) == b""
