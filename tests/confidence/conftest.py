"""A judged study without training, as `assess` takes it."""

import pytest

from tests.summary.conftest import Case, make
from tests.support import synthetic


@pytest.fixture(scope="session")
def case(tmp_path_factory) -> Case:
    """The synthetic study of twelve configurations, whose roles are all kept to the last gate."""
    value = synthetic.params()
    for gate in ("gate2", "gate3", "gate4"):
        for number, role in ((20, "comparator"), (21, "sentinel")):
            value["gates"][gate][f"R{number}"] = {"kind": "keep_role", "role": role}
    return make(tmp_path_factory.mktemp("synthetic"), value)
