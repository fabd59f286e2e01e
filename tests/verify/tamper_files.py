"""Manipulations of pipelines, dvc.lock files, locks' text, and files that Python would import. See `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.domain import yamlio
from tests.verify.forger import METRICS, Forger
from tests.verify.tamper import caught

#: Of the runs of the reference, which has A/A runs, and of the gate.
RUNG, GATE = "stages/ladder/rung3/d2-a/dvc.yaml", "stages/ladder/rung3/dvc.yaml"


# Pipelines


def rung_lock(change: Callable[[dict[str, Any]], Any]) -> Callable[[Forger], None]:
    return lambda f: f.rung("rung3", change)


def runs_of(stages: dict[str, Any]) -> list[dict[str, Any]]:
    return [stage for name, stage in stages.items() if name.startswith("run@")]


@caught("parameters", "another program in the dvc.yaml and the dvc.lock of a rung")
def other_program(f: Forger) -> None:
    f.replace(RUNG, "python -m stages.run rung3 d2-a", "python cheat.py rung3 d2-a")
    old, new = "python -m stages.run", "python cheat.py"
    rung_lock(lambda stages: [one.update(cmd=one["cmd"].replace(old, new)) for one in runs_of(stages)])(f)


@caught("parameters", "the tickets dropped from the dvc.yaml and the dvc.lock of a rung")
def no_tickets(f: Forger) -> None:
    tickets = "artifacts/gates/gate2/promotions.json"
    f.replace(RUNG, f"      - {tickets}:\n          - tickets.d2-a\n", "")
    rung_lock(lambda stages: [one["params"].pop(tickets) for one in runs_of(stages)])(f)


@caught("parameters", "another program for the ledger, at the root")
def other_ledger(f: Forger) -> None:
    f.replace("dvc.yaml", "python -m stages.ledger", "python cheat.py")
    f.dvc("dvc.lock", lambda stages: stages["ledger"].update(cmd="python cheat.py"))


@caught("dvc-locks", "a rung more than the study has, with evidence of its own")
def foreign_rung(f: Forger) -> None:
    for name in ("dvc.yaml", "dvc.lock", "d1-a/dvc.yaml", "d1-a/dvc.lock"):
        rung3 = f.read(f"stages/ladder/rung3/{name}")
        f.write(f"stages/ladder/rung4/{name}", rung3.replace(b"rung3", b"rung4"))


@caught("dvc-locks", "a configuration more than the study has, with evidence of its own")
def foreign_config(f: Forger) -> None:
    for name in ("dvc.yaml", "dvc.lock"):
        own = f.read(f"stages/ladder/rung3/d1-a/{name}")
        f.write(f"stages/ladder/rung3/d9-z/{name}", own.replace(b"d1-a", b"d9-z"))


@caught("dvc-locks", "a rung as an earlier version laid it out, beside those of this one")
def earlier_rung(f: Forger) -> None:
    f.write("stages/rung3/dvc.lock", f.read("stages/ladder/rung3/d1-a/dvc.lock"))


def pipeline(text: str, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Register a dvc.yaml of a shape that no program expects."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read(RUNG), RUNG)
        change(value["stages"]["run"])
        f.yaml(RUNG, value)

    make.__name__ = name
    caught("dvc-locks", text)(make)


pipeline("a number as the deps of a dvc.yaml", "deps_number", lambda run: run.update(deps=5))
pipeline("a number as the params of a dvc.yaml", "params_number", lambda run: run.update(params=5))
pipeline("a number as the keys of a file", "keys_number", lambda run: run.update(params=[{"params.yaml": 5}]))
pipeline("a list as a path", "path_list", lambda run: run.update(outs=[[1]]))
pipeline(
    "a matrix of forty thousand million stages",
    "matrix_explosion",
    lambda run: run.update(matrix={axis: list(range(60)) for axis in "abcdef"}),
)


def root_pipeline(text: str, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Register a stage at the root that says what would give its paths another meaning."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read("dvc.yaml"), "dvc.yaml")
        change(value["stages"])
        f.yaml("dvc.yaml", value)

    make.__name__ = name
    caught("dvc-locks", text)(make)


root_pipeline("a folder in which the ledger's stage is to run", "root_wdir", lambda s: s["ledger"].update(wdir="other"))
root_pipeline("a matrix in a stage at the root", "root_matrix", lambda s: s["site"].update(matrix={"a": "${hosts}"}))
root_pipeline("a stage at the root for each of a list", "root_foreach", lambda s: s["winner"].update(foreach=[1, 2]))
root_pipeline("a stage at the root that is a text", "root_text", lambda s: s.update(protocol="python cheat.py"))


# What dvc.lock records


def every_out(f: Forger, change: Callable[[dict[str, Any]], Any]) -> None:
    rung_lock(lambda stages: [change(out) for stage in stages.values() for out in stage["outs"]])(f)


@caught("digests", "the sizes of outputs in dvc.lock")
def sizes(f: Forger) -> None:
    every_out(f, lambda out: out.update(size=1))


@caught("digests", "the number of files of a folder in dvc.lock")
def counts(f: Forger) -> None:
    rung_lock(lambda stages: stages["gate"]["deps"][1].update(nfiles=77))(f)


@caught("dvc-locks", "another kind of digest in dvc.lock")
def other_hash(f: Forger) -> None:
    every_out(f, lambda out: out.update(hash="sha256"))


@caught("dvc-locks", "a key in dvc.lock that DVC does not write")
def unknown_key(f: Forger) -> None:
    every_out(f, lambda out: out.update(cloud={"a": 1}))


@caught("digests", "the digests of all traces taken out of dvc.lock")
def no_digests(f: Forger) -> None:
    every_out(f, lambda out: out.pop("md5") if "traces" in out["path"] else None)


def dependency(path: str) -> Callable[[Forger], None]:
    def change(stages: dict[str, Any]) -> None:
        for stage in stages.values():
            for dep in stage.get("deps", []):
                dep.update(md5="a" * 32 + ".dir" if dep["path"] == path else dep["md5"])

    return lambda f: f.dvc("dvc.lock", change)


@caught("digests", "a digest of locks that nobody committed, in dvc.lock")
def made_up_locks(f: Forger) -> None:
    dependency("locks")(f)


@caught("digests", "a digest of a runner that nobody has, in dvc.lock")
def made_up_trainer(f: Forger) -> None:
    dependency("trainer")(f)


@caught("one-corpus", "another text in params.yaml and in every dvc.lock, the corpus kept")
def other_text(f: Forger) -> None:
    f.everywhere(lambda value: value["data"]["source"].update(package="shakespeare", version="9"))


# Text that a parser passes over


@caught("lock-digests", "a comment in a lock that reads like a rule")
def comment_in_lock(f: Forger) -> None:
    f.write("locks/gate3.yaml", b"# R2 was relaxed by agreement\n" + f.read("locks/gate3.yaml"))


@caught("lock-digests", "a second document in the file of a lock")
def second_document(f: Forger) -> None:
    f.write("locks/gate3.yaml", f.read("locks/gate3.yaml") + b"---\nfrozen: {}\n")


@caught("summary", "metrics that are no JSON")
def metrics_garbage(f: Forger) -> None:
    f.write(METRICS, b"{{{\n")


@caught("summary", "metrics that are a list")
def metrics_list(f: Forger) -> None:
    f.write(METRICS, b"[1]\n")


@caught("ledger-lines", "a decision that is a list, and one that names a list as its gate")
def decision_list(f: Forger) -> None:
    f.decision(2, lambda value: value.update(gate=["gate2"]))


# What Python would import


def stranger(text: str, name: str, path: str) -> None:
    """Register a file that Python could run in the place of what is hashed."""

    def make(f: Forger) -> None:
        f.write(path, b"x = 1\n")
        f.git("add", "-f", path)

    make.__name__ = name
    caught("plain-files", text)(make)


stranger("a compiled module beside the runner's own", "compiled_module", "trainer/loop.abi3.so")
stranger("byte code beside the runner's source", "byte_code", "trainer/evil.pyc")
stranger("byte code in a __pycache__ that is committed", "committed_cache", "stages/__pycache__/run.cpython-311.pyc")
stranger("a file of data in the runner", "data_in_runner", "trainer/weights.bin")
stranger("a torch of its own at the root of the study", "own_torch", "torch.py")
stranger("a sitecustomize.py at the root of the study", "sitecustomize", "sitecustomize.py")
stranger("a numpy of its own at the root of the study", "own_numpy", "numpy/__init__.py")


# What Python takes up at the root, beside modules


stranger("metadata of a package with an entry point at the root", "dist_info", "evil-1.0.dist-info/entry_points.txt")
stranger(
    "an egg-info folder at the root, under a name that git ignores", "egg_info", "torch_evil.egg-info/entry_points.txt"
)
stranger("an egg-info that is a file", "egg_info_file", "evil.egg-info")
stranger("a file of paths at the root", "path_file", "evil.pth")
stranger("a usercustomize.py at the root of the study", "usercustomize", "usercustomize.py")


# Names that are the study's own on another file system, or look like them


stranger("the runner's folder with a capital", "capital_trainer", "Trainer/clock.py")
stranger("params.yaml with a capital", "capital_params", "Params.yaml")
stranger("locks/ with a Cyrillic letter", "cyrillic_locks", "l\u043ecks/gate1.yaml")
stranger("locks/ with a digit for a letter", "digit_locks", "1ocks/gate1.yaml")
stranger("the ledger with wide letters", "wide_ledger", "\uff4cedger/runs.jsonl")
stranger("stages/ with a long s", "long_s", "\u017ftages/run.py")
stranger("the runner with a space that nobody sees", "invisible", "train\u200ber/clock.py")
stranger("the runner with a dot that Windows leaves out", "dot", "trainer./clock.py")
stranger("the root's dvc.lock in capitals", "capital_lock", "DVC.lock")
stranger("a module of the runner twice, once with a capital", "capital_module", "trainer/Clock.py")
stranger("a rung's folder twice, once with a capital", "capital_rung", "stages/ladder/Rung1/dvc.yaml")


# What the workspace holds under names that are ignored at the root alone


def hidden(text: str, name: str, path: str) -> None:
    """Register a file that lies in the workspace and in no commit."""

    def make(f: Forger) -> None:
        f.write(path, b"x = 1\n")

    make.__name__ = name
    caught("plain-files", text, committed=False)(make)


hidden("a site/ inside the runner", "site_in_trainer", "trainer/site/data.bin")
hidden("an artifacts/ inside locks/", "artifacts_in_locks", "locks/artifacts/gate1.yaml")
hidden("a node_modules/ inside the ledger", "modules_in_ledger", "ledger/node_modules/runs.jsonl")
hidden("a .dvc/ inside the ledger", "dvc_in_ledger", "ledger/.dvc/config")
hidden("a .venv/ inside the runner", "venv_in_trainer", "trainer/.venv/pyvenv.cfg")
hidden("a source that hides among compiled modules", "source_in_cache", "trainer/__pycache__/clock.py")
hidden("metadata of a package that no commit holds", "uncommitted_metadata", "evil-1.0.dist-info/entry_points.txt")


# Names that no eye, or no file system, tells from the study's own


stranger(
    "locks/ with a lunate sigma, which Unicode composes to another letter", "lunate_locks", "lo\u03f2ks/gate1.yaml"
)
stranger("locks/ with a letter of Lisu", "lisu_locks", "\ua4e1OCKS/gate1.yaml")
stranger("locks/ with a letter of Cherokee", "cherokee_locks", "\uabaeocks/gate1.yaml")
stranger("report/ with a letter of Lisu", "lisu_report", "\ua4e3eport/x.html")
stranger("locks/ with a Hangul filler", "filler_locks", "lo\u3164cks/gate1.yaml")
stranger("locks/ with another Hangul filler", "filler_locks_2", "lo\u115fcks/gate1.yaml")
stranger("locks/ behind a blank", "blank_locks", " locks/gate1.yaml")
stranger("locks/ behind a tab", "tab_locks", "\tlocks/gate1.yaml")
stranger("locks/ before a control character", "control_locks", "locks\x7f/gate1.yaml")
stranger("locks/ with a stroke", "stroke_locks", "\u0142ocks/gate1.yaml")
stranger("locks/ with a retroflex hook", "hook_locks", "\u026docks/gate1.yaml")
stranger("locks/ with a middle dot", "dot_locks", "\u0140ocks/gate1.yaml")
stranger("locks/ with a kra", "kra_locks", "loc\u0138s/gate1.yaml")
stranger("the short name of params.yaml", "short_params", "PARAMS~1.YAM")
stranger("the short name of artifacts/", "short_artifacts", "artifa~1/corpus")
stranger("the short name of params.yaml among many", "hashed_params", "PA1B2C~1.YAM")
stranger("metadata whose name Windows shortens", "dist_info_blank", "evil-1.0.dist-info /entry_points.txt")
stranger("a torch of its own that Windows imports", "pyw", "torch.pyw")


# Files that tell DVC what to leave out, below the root


def below(text: str, name: str, path: str, data: bytes) -> None:
    """Register a file of DVC in a folder of the study."""

    def make(f: Forger) -> None:
        f.write(path, data)
        f.git("add", "-f", path)

    make.__name__ = name
    caught("dvc-locks", text)(make)


below("a repository of DVC in the ladder", "dvc_in_ladder", "stages/ladder/.dvc/config", b"")
below("a repository of DVC in report/", "dvc_in_report", "report/.dvc/config", b"")
below("a .dvcignore among the stages", "ignore_stages", "stages/.dvcignore", b"*\n")
below("a .dvcignore in report/", "ignore_report", "report/.dvcignore", b"*\n")
below("a .dvcignore in a rung, in capitals", "ignore_rung", "stages/ladder/rung1/.DVCIGNORE", b"*\n")
below("a dvc.yaml among the stages, in capitals", "capital_pipeline", "stages/DVC.YAML", b"stages: {}\n")
