"""The table of checks in the documentation is written from the sequence, and nothing else on its page changes."""

from __future__ import annotations

from contextlib import chdir

import pytest

from stages.domain.errors import Refused
from stages.verify import documentation
from stages.verify.sequence import SEQUENCE

HEAD = "| id | name | depth | what it shows |\n|---|---|---|---|\n"


def test_the_table_has_a_row_for_each_check_in_its_order():
    table = documentation.checks_table()
    rows = table.removeprefix(HEAD).splitlines()
    assert table.startswith(HEAD)
    assert table.endswith(" |\n")
    assert [row.split(" | ")[0] for row in rows] == [f"| {check.id}" for check in SEQUENCE]
    assert rows[29] == "| V30 | `replay` | replay | Only training a run again shows that its score was reached. |"


def test_the_table_alone_is_replaced():
    table = documentation.checks_table()
    page = f"# Checks\n\n{HEAD}| V01 | `old` | git | x |\n\nAfter it.\n\nMore.\n"
    assert documentation.with_checks_table(page) == f"# Checks\n\n{table}\nAfter it.\n\nMore.\n"
    assert (
        documentation.with_checks_table(documentation.with_checks_table(page))
        == f"# Checks\n\n{table}\nAfter it.\n\nMore.\n"
    )


def test_a_page_without_a_table_is_refused():
    with pytest.raises(Refused) as error:
        documentation.with_checks_table("# Checks\n")
    assert str(error.value) == (
        "docs/verification.md: no table of checks, expected the line '| id | name | depth | what it shows |'"
    )


def test_the_page_is_written_where_it_stands(tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "verification.md"
    page.write_bytes(f"ä\n\n{HEAD}| V01 |\n\nAfter it.\n".encode())
    with chdir(tmp_path):
        documentation.main()
    assert page.read_bytes() == f"ä\n\n{documentation.checks_table()}\nAfter it.\n".encode()
