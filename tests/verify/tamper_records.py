"""Records and their lines falsified: the score, the bytes, which runs there are, what a record commits to.
Registered with the suite in `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.domain import canonical
from tests.verify.forger import METRICS, RUNS, Forger
from tests.verify.tamper import caught


def score(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda run: run["facts"].update(val_bpb=value)


# The score in a record


@caught("digests", "one digit of a score")
def one_digit(f: Forger) -> None:
    f.run(lambda run: score(round(run["facts"]["val_bpb"] + 0.000001, 6))(run))


@caught("decisions", "one digit of a score, its digest in dvc.lock mended")
def one_digit_mended(f: Forger) -> None:
    one_digit(f)
    f.digests()


@caught("summary", "one digit of a score; digests, decision and tickets mended, metrics left")
def one_digit_all_but_metrics(f: Forger) -> None:
    f.run(lambda run: score(0.5)(run), rung="rung3")
    metrics = f.read(METRICS)
    f.judge()
    f.write(METRICS, metrics)
    f.digests()


@caught("digests", "scores of two cells exchanged")
def swapped_scores(f: Forger) -> None:
    runs = f.runs()
    one, two = runs[0]["facts"], runs[1]["facts"]
    one["val_bpb"], two["val_bpb"] = two["val_bpb"], one["val_bpb"]
    f.save_runs(runs)


@caught("input-of-record", "seeds of two records exchanged, everything mended")
def swapped_seeds(f: Forger) -> None:
    runs = [run for run in f.runs() if run["rung"] == "rung3" and run["purpose"] == "candidate"]
    host = [run for run in runs if (run["config"], run["host"]) == (runs[0]["config"], runs[0]["host"])]
    every = f.runs()
    for run in every:
        for one, other in ((host[0], host[1]), (host[1], host[0])):
            if run == one:
                run["seed"] = other["seed"]
                break
    f.save_runs(every)
    f.sort()
    f.judge()


@caught("digests", "minus zero as a score")
def minus_zero(f: Forger) -> None:
    f.run(score(-0.0))


@caught("ledger-lines", "NaN as a score")
def nan(f: Forger) -> None:
    f.line(b'"val_bpb":', b'"val_bpb":NaN,"x":')


@caught("ledger-lines", "infinity as a score")
def infinity(f: Forger) -> None:
    f.line(b'"val_bpb":', b'"val_bpb":1e999,"x":')


@caught("ledger-lines", "a huge score")
def huge(f: Forger) -> None:
    f.run(score(1e308))


@caught("ledger-lines", "a negative score")
def negative(f: Forger) -> None:
    f.run(score(-1.0))


@caught("ledger-lines", "seven decimals in a score")
def seven_decimals(f: Forger) -> None:
    f.run(score(1.2345678))


@caught("ledger-lines", "text as a score")
def score_as_text(f: Forger) -> None:
    f.run(score("1.0"))


@caught("ledger-lines", "true as a score")
def score_as_true(f: Forger) -> None:
    f.run(score(True))


@caught("ledger-lines", "no score in a finished run")
def no_score(f: Forger) -> None:
    f.run(lambda run: run["facts"].pop("val_bpb"))


# The bytes of the ledger


@caught("ledger-lines", "a key twice in a line")
def duplicate_key(f: Forger) -> None:
    f.line(b'"config":', b'"config":"d1-b","config":')


@caught("ledger-lines", "a space in a line")
def a_space(f: Forger) -> None:
    f.line(b'"config":', b'"config": ')


@caught("ledger-lines", "a byte order mark")
def byte_order_mark(f: Forger) -> None:
    f.write(RUNS, b"\xef\xbb\xbf" + f.read(RUNS))


@caught("plain-files", "CRLF line ends in the ledger")
def crlf(f: Forger) -> None:
    f.write(".gitattributes", b"ledger/** -text\n")
    f.write(RUNS, f.read(RUNS).replace(b"\n", b"\r\n"))


@caught("plain-files", "bytes that are not UTF-8")
def latin_1(f: Forger) -> None:
    f.write(RUNS, f.read(RUNS).replace(b"finished", b"f\xefnished", 1))


@caught("plain-files", "a ledger cut off inside a line")
def cut_in_line(f: Forger) -> None:
    f.write(RUNS, f.read(RUNS)[:-20])


@caught("ledger-complete", "a ledger cut off between lines")
def cut_between_lines(f: Forger) -> None:
    f.write(RUNS, b"".join(f.read(RUNS).splitlines(keepends=True)[:-3]))


@caught("ledger-complete", "an emptied ledger")
def emptied(f: Forger) -> None:
    f.write(RUNS, b"")


@caught("ledger-lines", "a ledger that is gone")
def ledger_gone(f: Forger) -> None:
    f.delete(RUNS)


@caught("ledger-lines", "a key that records do not have")
def extra_key(f: Forger) -> None:
    f.run(lambda run: run.update(weight=2))


@caught("ledger-lines", "a record of a newer schema")
def newer_record(f: Forger) -> None:
    f.run(lambda run: run.update(schema=2))


@caught("ledger-lines", "a line nested a thousand deep")
def deep(f: Forger) -> None:
    f.line(b'"facts":{', b'"facts":{"a":' + b"[" * 1000 + b"]" * 1000 + b",")


@caught("ledger-lines", "a line of two megabytes")
def long_line(f: Forger) -> None:
    f.run(lambda run: run["facts"].update(note="x" * (2 << 20)))


@caught("ledger-lines", "a Cyrillic look-alike in a configuration's name")
def look_alike_config(f: Forger) -> None:
    f.line(b'"config":"d1-a"', '"config":"d1-\u0430"'.encode())


@caught("plain-files", "a Cyrillic look-alike of a lock")
def look_alike_lock(f: Forger) -> None:
    f.write("locks/g\u0430te1.yaml", f.read("locks/gate1.yaml"))


@caught("plain-files", "a second ledger beside the first")
def second_ledger(f: Forger) -> None:
    f.write("ledger/runs2.jsonl", f.read(RUNS))


@caught("plain-files", "a symbolic link in the place of the ledger")
def linked_ledger(f: Forger) -> None:
    f.write("other.jsonl", f.read(RUNS))
    f.link(RUNS, "../other.jsonl")


@caught("plain-files", "a symbolic link in the place of a lock")
def linked_lock(f: Forger) -> None:
    f.write("other.yaml", f.read("locks/gate2.yaml"))
    f.link("locks/gate2.yaml", "../other.yaml")


# Which runs there are


@caught("digests", "a cell dropped from the ledger")
def dropped_cell(f: Forger) -> None:
    f.save_runs(f.runs()[1:])


@caught("ledger-complete", "a cell dropped from ledger and dvc.lock, decisions made again")
def dropped_cell_mended(f: Forger) -> None:
    gone, *rest = f.runs()
    f.save_runs(rest)
    name = f"run@{gone['config']}-{gone['host']}-{gone['seed']}"
    f.rung("rung1", lambda stages: stages.pop(name))
    f.judge()


@caught("ledger-complete", "an A/A run dropped, everything mended")
def dropped_floor(f: Forger) -> None:
    runs = f.runs()
    gone = next(run for run in runs if run["purpose"] == "floor")
    f.save_runs([run for run in runs if run != gone])
    f.rung("rung3", lambda stages: stages.pop(f"floor@{gone['host']}-{gone['seed']}"))
    f.judge()


@caught("ledger-complete", "a run twice")
def run_twice(f: Forger) -> None:
    runs = f.runs()
    f.save_runs([runs[0], *runs])


@caught("ledger-complete", "a run a second time with a better score")
def run_twice_better(f: Forger) -> None:
    runs = f.runs()
    better = canonical.loads(canonical.dumps(runs[0]))
    better["facts"]["val_bpb"] = 0.5
    f.save_runs([runs[0], better, *runs[1:]])
    f.judge()


@caught("ledger-complete", "two lines in another order")
def reordered(f: Forger) -> None:
    runs = f.runs()
    f.save_runs([runs[1], runs[0], *runs[2:]])


@caught("ledger-complete", "a run of a configuration that the study does not have")
def unknown_config(f: Forger) -> None:
    runs = f.runs()
    f.save_runs([*runs, {**runs[0], "config": "d9-z"}])
    f.sort()


@caught("ledger-complete", "a run on a host that the study does not have")
def unknown_host(f: Forger) -> None:
    runs = f.runs()
    f.save_runs([*runs, {**runs[0], "host": "gpu-h100"}])
    f.sort()


@caught("ledger-complete", "a run with a seed that nobody declared, in the place of a declared one")
def undeclared_seed(f: Forger) -> None:
    f.run(lambda run: (run.update(seed=999), run["spec"].update(seed=999)))
    f.sort()
    f.judge()


@caught("ledger-complete", "an A/A run passed off as a candidate's")
def floor_as_candidate(f: Forger) -> None:
    f.run(lambda run: run.update(purpose="candidate"), rung="rung3", purpose="floor")
    f.sort()


@caught("decisions", "a finished run passed off as diverged, digests mended")
def finished_as_diverged(f: Forger) -> None:
    f.run(lambda run: run.update(status="diverged", facts=None, reason="loss was not finite"), rung="rung2")
    f.digests()


@caught("tickets", "a run with a ticket passed off as stopped, everything mended")
def finished_as_stopped(f: Forger) -> None:
    f.run(
        lambda run: run.update(
            status="stopped", spec=None, facts=None, environment=None, reason="gate1 did not promote it"
        ),
        rung="rung2",
    )
    f.judge()


@caught("tickets", "a run without a ticket slipped in with an invented score, everything mended")
def run_without_ticket(f: Forger) -> None:
    runs = f.runs()
    like = next(run for run in runs if run["rung"] == "rung3" and run["status"] == "finished")
    run = next(run for run in runs if run["status"] == "stopped")
    run.update(status="finished", reason=None, spec=like["spec"], facts=like["facts"], environment=like["environment"])
    f.save_runs(runs)
    f.judge()


@caught("tickets", "another reason in a stopped run, everything mended")
def another_reason(f: Forger) -> None:
    f.run(lambda run: run.update(reason="it looked bad"), rung="rung3", status="stopped")
    f.judge()


@caught("tickets", "a run left unrun that had a ticket, everything mended")
def unrun(f: Forger) -> None:
    f.run(lambda run: run.update(status="unrun", spec=None, facts=None, environment=None), rung="rung2")
    f.judge()


# What a record commits to


@caught("rule-of-record", "another lock's digest in a record, digests mended")
def another_lock(f: Forger) -> None:
    f.run(lambda run: run.update(lock="0" * 64))
    f.digests()


@caught("rule-of-record", "a doubled budget, everything mended")
def doubled_budget(f: Forger) -> None:
    f.run(lambda run: run["budget"].update(seconds=run["budget"]["seconds"] * 2))
    f.judge()


@caught("rule-of-record", "wall time passed off as rated, everything mended")
def another_clock(f: Forger) -> None:
    f.run(lambda run: run["budget"].update(clock="wall"))
    f.judge()


@caught("one-runner", "a run of another runner slipped in, everything mended")
def another_runner(f: Forger) -> None:
    f.run(lambda run: run.update(runner="a" * 64))
    f.judge()


@caught("one-corpus", "a run on another corpus slipped in, everything mended")
def another_corpus(f: Forger) -> None:
    f.run(lambda run: run.update(corpus="b" * 64))
    f.judge()


@caught("one-environment", "an environment invented where none is reported, everything mended")
def invented_environment(f: Forger) -> None:
    f.run(lambda run: run.update(environment={"torch": "9.9"}))
    f.judge()


@caught("input-of-record", "another learning rate in one run, everything mended")
def another_rate(f: Forger) -> None:
    f.run(lambda run: run["spec"]["config"].update(matrix_lr=0.04))
    f.judge()


@caught("input-of-record", "another value where the study leaves the runner's default, everything mended")
def another_default(f: Forger) -> None:
    f.run(lambda run: run["spec"]["config"].update(weight_decay=0.2))
    f.judge()


@caught("input-of-record", "another seed in the specification than in the record, everything mended")
def another_seed_in_spec(f: Forger) -> None:
    f.run(lambda run: run["spec"].update(seed=77))
    f.judge()


@caught("input-of-record", "more threads than the host block has, everything mended")
def another_thread_count(f: Forger) -> None:
    f.run(lambda run: run["spec"]["host"].update(threads=8))
    f.judge()


@caught("input-of-record", "fewer validation tokens in one run, everything mended")
def fewer_tokens(f: Forger) -> None:
    f.run(lambda run: run["spec"]["runner"].update(eval_tokens=64))
    f.judge()


@caught("input-of-record", "a longer budget in the specification, everything mended")
def longer_in_spec(f: Forger) -> None:
    f.run(lambda run: run["spec"]["clock"].update(seconds=1.0))
    f.judge()
