"""Writes the files of a site; the pages of runs, where they are many, in several processes.

No page depends on another one, and the manifest is sorted, so the bytes do not depend on the number of processes.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path

from report import tables
from report.page import Page
from report.pages import count_pages, main_pages, run_pages
from report.render import environment, render
from report.views import StudyView
from stages.domain.errors import Refused
from stages.domain.files import naming
from stages.domain.metric import metric_of

#: So many runs are written before their files are reported.
SHARE = 100
#: Fewer runs than this for each process are written sooner than another process is started.
RUNS_A_PROCESS = 250
MOST_PROCESSES = 8

Progress = Callable[[int, int], None]
#: The digest and the size of each file, by name.
Written = dict[str, dict[str, str | int]]


class SiteWriter:
    """Writes the files of a site under a folder. `common` is what every page is told."""

    def __init__(self, folder: Path, view: StudyView, common: dict[str, object]) -> None:
        self.files: Written = {}
        self._folder, self._view, self._common = folder, view, common
        self._environment = environment()
        self._metric = metric_of(view.study.runner)
        self._made: set[str] = set()

    def write(self, name: str, data: bytes) -> None:
        """Write one file; the same name twice is a mistake of the generator."""
        if name in self.files:
            raise AssertionError(f"{name} was written twice")
        path, parent = Path(f"{self._folder}/{name}"), name.rpartition("/")[0]
        with naming(path):
            if parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(parent)
            path.write_bytes(data)
        self.files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def write_named(self, name: str, data: bytes) -> None:
        """Write a file that speaks of the metric. Pages say val_bpb; a command's study has a name of its own for it."""
        self.write(name, self._metric.rename(data.decode("utf-8")).encode("utf-8"))

    def write_pages(self, more: Sequence[Page], progress: Progress) -> None:
        """Write every page of the study, and `more`; one at a time, so memory does not hold the site."""
        runs = len(self._view.executed)
        total, done = count_pages(self._view) + len(more), 0
        with share_work(self, count_processes(runs)) as each:
            shares = each(range(0, runs, SHARE))
            for done, page in enumerate(chain(main_pages(self._view), more), start=1):
                self._write_page(page)
                progress(done, total)
            for number, share in enumerate(shares, start=1):
                self.files |= share
                progress(done + min(number * SHARE, runs), total)

    def write_runs(self, first: int) -> Written:
        """Write the pages of `SHARE` runs from the `first` on; their files."""
        before = len(self.files)
        for page in run_pages(self._view, self._view.executed[first : first + SHARE]):
            self._write_page(page)
        return dict(islice(self.files.items(), before, None))

    def _write_page(self, page: Page) -> None:
        by_id = {table.id: table for table in page.tables}
        context = {"figures": [], **self._common, **page.context, "title": page.title, "tables": by_id}
        self.write_named(page.path, render(self._environment, page.template, page.path, context))
        stem, study = page.path.removesuffix(".html"), self._view.study.study.name
        for table in page.tables:
            self.write_named(f"{stem}.{table.id}.csv", tables.as_csv(table))
            self.write_named(f"{stem}.{table.id}.json", tables.as_json(table, study, str(self._common["clock"])))
        for name, data in page.extra.items():
            self.write(name, data)


def count_processes(runs: int) -> int:
    """How many processes write the pages of so many runs; one where the system does not fork as Linux does."""
    if sys.platform != "linux":
        return 1
    return max(1, min(len(os.sched_getaffinity(0)), runs // RUNS_A_PROCESS, MOST_PROCESSES))


@contextmanager
def share_work(writer: SiteWriter, processes: int) -> Iterator[Callable[[Sequence[int]], Iterator[Written]]]:
    """Maps `writer.write_runs`, in this process or in so many forks of it, which begin at once."""
    if processes == 1:
        yield partial(map, writer.write_runs)
        return
    gc.freeze()  # a collection in a fork would copy all memory that it looks at
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _take_writer, (writer,))
    try:
        yield partial(pool.map, _write_runs)
    except BrokenProcessPool:
        raise Refused(
            "site: a process that wrote pages was killed, perhaps for want of memory; nothing was replaced; "
            "build it again: `promotion site`"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()


#: Of a fork alone, which writes for it.
_writer: SiteWriter | None = None


def _take_writer(writer: SiteWriter) -> None:
    global _writer
    _writer = writer


def _write_runs(first: int) -> Written:
    assert _writer is not None
    return _writer.write_runs(first)
