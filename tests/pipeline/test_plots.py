"""What `dvc plots show` and `dvc metrics show` make of a study: real dvc, real templates."""

import json
import re

import pytest

from tests.support.repo import PROJECT

pytestmark = pytest.mark.slow
TEMPLATES = sorted((PROJECT / ".dvc" / "plots").glob("*.json"))


@pytest.fixture(scope="module")
def specs(smoke, tmp_path_factory):
    """The Vega-Lite specification of every plot in the page that dvc writes, in the order of its title."""
    out = tmp_path_factory.mktemp("plots")
    smoke.dvc("plots", "show", "--out", str(out))
    page = (out / "index.html").read_text(encoding="utf-8")
    decoder = json.JSONDecoder()
    found = [decoder.raw_decode(page, match.end())[0] for match in re.finditer(r"var spec = ", page)]
    return {str(spec["title"]): spec for spec in found}


def test_every_template_is_drawn_and_nothing_is_left_to_fill_in(specs):
    assert len(specs) == len(TEMPLATES) == 3
    for title, spec in specs.items():
        assert "<DVC_METRIC" not in json.dumps(spec), title
        assert len(spec["data"]["values"]) > 0


def test_every_field_that_a_template_draws_is_in_its_table(specs):
    made = {"reached"}  # by the template's own transform
    for title, spec in specs.items():
        fields = set(re.findall(r'"field": "([^"]+)"', json.dumps({**spec, "data": None})))
        for row in spec["data"]["values"]:
            assert fields - made <= set(row), title


def test_paths_show_every_configuration_at_every_rung_that_it_reached(specs, smoke):
    rows = next(spec for title, spec in specs.items() if title.startswith("Promotion paths"))["data"]["values"]
    decided = [json.loads(line) for line in (smoke.root / "ledger" / "decisions.jsonl").read_bytes().splitlines()]
    assert {(row["rung"], row["config"]) for row in rows} == {
        (made["rung"], one["config"]) for made in decided for one in made["ranking"]
    }


def test_a_plot_of_two_revisions_keeps_them_apart(study):
    table = study.root / "artifacts" / "summary" / "paths.csv"
    text = table.read_text(encoding="utf-8")
    table.unlink()
    table.write_bytes(text.replace("winner", "last rung").encode("utf-8"))
    out = study.root / "scratch" / "plots"
    study.dvc("plots", "diff", "HEAD", "workspace", "--out", str(out))
    page = (out / "index.html").read_text(encoding="utf-8")
    assert {"workspace", "HEAD"} <= set(re.findall(r'"rev": "([^"]+)"', page))
