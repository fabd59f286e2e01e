"""Manipulations of what lies in the workspace, digests in dvc.lock mended. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable

from stages.domain import canonical
from stages.dvcfiles.cache import md5_path
from tests.verify.forger import Forger
from tests.verify.tamper import caught

MANIFEST = "artifacts/corpus/manifest.json"
MODEL, WEIGHTS = "artifacts/winner/model.json", "artifacts/winner/model.safetensors"


def put(f: Forger, path: str, data: bytes) -> None:
    """Write a file that DVC may have linked or protected."""
    f.path(path).unlink(missing_ok=True)
    f.write(path, data)


def mend(f: Forger, out: str, lock: str = "dvc.lock") -> None:
    """Let dvc.lock note the digest that an output has now."""
    md5 = md5_path(f.path(out))
    f.dvc(lock, lambda stages: [o.update(md5=md5) for s in stages.values() for o in s["outs"] if o["path"] == out])


def here(check: str, text: str) -> Callable[[Callable[[Forger], None]], Callable[[Forger], None]]:
    return caught(check, text, depth="artifacts", committed=False)


@here("winner", "other weights for the winner, their digest mended")
def other_weights(f: Forger) -> None:
    put(f, WEIGHTS, b"junk")
    mend(f, "artifacts/winner")


@here("winner", "another configuration as the winner, its digest mended")
def other_winner(f: Forger) -> None:
    value = canonical.loads(f.read(MODEL))
    put(f, MODEL, canonical.dumps({**value, "config": "d9-z"}))
    mend(f, "artifacts/winner")


@here("winner", "a description of the winner that is no JSON, its digest mended")
def winner_garbage(f: Forger) -> None:
    put(f, MODEL, b"{{{\n")
    mend(f, "artifacts/winner")


@here("winner", "a file beside the winning weights, its digest mended")
def winner_grew(f: Forger) -> None:
    put(f, "artifacts/winner/other.safetensors", b"junk")
    mend(f, "artifacts/winner")


@here("winner", "the winning weights taken away, the digest mended")
def no_weights(f: Forger) -> None:
    f.delete(WEIGHTS)
    mend(f, "artifacts/winner")


@here("winner", "other curves of the last rung, their digest mended")
def other_curves(f: Forger) -> None:
    put(f, "artifacts/curves.csv", b"config,host\n")
    mend(f, "artifacts/curves.csv")


@here("dvc-locks", "dvc.lock taken away, the winner and the site exchanged")
def nothing_noted(f: Forger) -> None:
    f.delete("dvc.lock")
    put(f, WEIGHTS, b"junk")
    put(f, "site/index.html", b"lies")


@here("artifacts", "a record that no run of the study writes")
def stranger_record(f: Forger) -> None:
    put(f, "artifacts/records/rung3/d9-z/cpu-fp32/3.json", b"{}\n")


@here("artifacts", "a decision of a gate that the study does not have")
def stranger_gate(f: Forger) -> None:
    put(f, "artifacts/gates/gate9/decision.json", b"{}\n")


def manifest(text: str, name: str, data: bytes) -> None:
    """Register a corpus manifest that is none."""

    def make(f: Forger) -> None:
        put(f, MANIFEST, data)

    make.__name__ = name
    here("corpus", f"{text} as the manifest of the corpus")(make)


manifest("an empty object", "manifest_empty", b"{}\n")
manifest("a list", "manifest_list", b"[]\n")
manifest("what is no JSON", "manifest_garbage", b"{{{\n")
manifest("an object of wrong parts", "manifest_parts", b'{"source":1,"splits":[],"token_bytes":{},"tokenizer":{}}\n')


@here("corpus", "another text in params.yaml and in every dvc.lock, beside the corpus that was built")
def other_text_beside_corpus(f: Forger) -> None:
    f.everywhere(lambda value: value["data"]["source"].update(package="shakespeare", version="9"))


@here("site", "a curve that nobody can draw, its digest mended")
def curve_garbage(f: Forger) -> None:
    path = sorted(f.root.glob("artifacts/traces/rung3/*/*/*/curve.csv"))[0].relative_to(f.root).as_posix()
    put(f, path, b"\xff\xfe,,,\nabc\n")
    mend(f, path.rpartition("/")[0], f.lock_of("rung3", path.split("/")[3]))
