"""`promotion dispatch` as it is typed: dispatch, join, or make certificates; nothing starts where a word is wrong."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.cli import build_parser
from stages.commands import dispatch
from stages.domain.errors import Refused
from stages.hosts import cluster, workers
from stages.hosts import dispatch as dispatching


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the cluster, whose parts are stand-ins."""
    calls: list[Any] = []
    slots = [SimpleNamespace(hosts=("cpu", "gpu")), SimpleNamespace(hosts=("cpu",))]

    def note(name: str, value: Any = None) -> Any:
        return lambda *words: calls.append((name, *words)) or value

    @contextmanager
    def start(*words: Any) -> Any:
        calls.append(("start", *words))
        yield SimpleNamespace(join="promotion dispatch --join tcp://127.0.0.1:1")
        calls.append("end")

    class Dispatcher:
        def __init__(self, study: Any, cluster: Any, view: Any) -> None:
            calls.append(("dispatcher", study))

        def dispatch(self) -> int:
            return 3

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(dispatch, "load", lambda: "study")
    monkeypatch.setattr(cluster, "create_cluster", note("create"))
    monkeypatch.setattr(cluster, "read_cluster", note("read", "certificates"))
    monkeypatch.setattr(workers, "find_slots", note("slots", slots))
    monkeypatch.setattr(workers, "explain_mismatches", note("mismatches", ["gpu: no such GPU"]))
    monkeypatch.setattr(workers, "wait_for_scheduler", note("wait"))
    monkeypatch.setattr(workers, "start_workers", note("workers", "processes"))
    monkeypatch.setattr(workers, "wait_for_workers", note("watch"))
    monkeypatch.setattr(dispatching, "start_cluster", start)
    monkeypatch.setattr(dispatching, "Dispatcher", Dispatcher)
    return calls


def run(*words: str) -> int:
    return dispatch.run(build_parser("dispatch").parse_args(["dispatch", *words]))


@pytest.mark.parametrize("missing", ["distributed", "cryptography"])
def test_without_dask_or_its_certificates_it_says_what_to_install(calls, monkeypatch, missing: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(Refused, match=r"^Dask or cryptography is not installed; `pip install 'staged-promotion\[disp"):
        run()
    assert not calls


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--slots", "-1"], "--slots: found -1, expected 0 or more"),
        (["--slots", "0", "--join", "tls://a:1"],
         "--slots: found 0, expected 1 or more: a machine that joins brings slots"),
        (["--join", "tls://a:1"],
         "--join tls://a:1: needs --cluster DIR, the certificates that the dispatcher uses"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(calls, words: list[str], told: str) -> None:
    with pytest.raises(Refused) as refusal:
        run(*words)
    assert str(refusal.value) == told
    assert not calls


def test_a_new_cluster_is_told_with_what_to_type_on_each_machine(calls, capsys) -> None:
    assert run("--new-cluster", "keys") == 0
    assert calls == [("create", Path("keys"))]
    assert capsys.readouterr().out.splitlines() == [
        "keys: certificates of a new cluster, valid for a year",
        "Carry the folder to every machine of the cluster over a connection that you trust (scp -rp), then",
        "  promotion dispatch --listen ADDRESS:PORT --cluster keys      on one of them",
        "  promotion dispatch --join tls://ADDRESS:PORT --cluster keys  on the others",
    ]


def test_a_machine_joins_with_its_slots_and_says_what_does_not_fit(calls, capsys) -> None:
    assert run("--join", "tls://a:1", "--cluster", "keys", "--slots", "1", "--host", "cpu") == 0
    assert [call if isinstance(call, str) else call[0] for call in calls] == [
        "read", "slots", "mismatches", "wait", "workers", "watch",
    ]  # fmt: skip
    assert calls[1:4] == [("slots", "study", ["cpu"], 1), ("mismatches", "study", ["cpu"]), ("wait", "tls://a:1")]
    assert calls[4][2:] == ("tls://a:1", "certificates")
    assert calls[5][1] == "processes"
    assert capsys.readouterr().out.splitlines() == [
        "dispatch: gpu: no such GPU",
        "dispatch: joins tls://a:1 with 2 slots for cpu, gpu",
        "dispatch: the dispatcher is done, or gone",
    ]


def test_a_machine_without_slots_does_not_join(calls, monkeypatch) -> None:
    monkeypatch.setattr(workers, "find_slots", lambda *words: [])
    with pytest.raises(Refused) as refusal:
        run("--join", "tls://a:1", "--cluster", "keys")
    message = "no host block of params.yaml fits this machine; see `promotion host`\n  gpu: no such GPU"
    assert str(refusal.value) == message


def test_the_dispatcher_ends_as_the_study_does_and_says_how_to_join(calls, capsys) -> None:
    assert run("--listen", "10.0.0.5:8786", "--cluster", "keys", "--host", "cpu") == 3
    assert calls == [
        ("start", "study", "10.0.0.5:8786", Path("keys"), ["cpu"], None),
        ("mismatches", "study", ["cpu"]),
        ("dispatcher", "study"),
        "end",
    ]
    shown = capsys.readouterr().err
    assert "workers may join: `promotion dispatch --join tcp://127.0.0.1:1`" in shown
    assert "gpu: no such GPU" in shown


def test_where_it_has_no_slots_of_its_own_nobody_asks_what_does_not_fit(calls, capsys) -> None:
    assert run("--slots", "0") == 3
    assert calls == [("start", "study", "127.0.0.1:0", None, [], 0), ("dispatcher", "study"), "end"]
    assert "gpu" not in capsys.readouterr().err
