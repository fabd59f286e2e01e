"""Who is there for what waits: `promotion dispatch` says for whom it waits, and which of its own workers ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stages.hosts.block import count
from stages.hosts.crew import Member
from stages.hosts.runs import Run

LOOK_SECONDS = 2.0
REMIND_SECONDS = 600.0


class Attendance:
    """Compares the hosts of the runs that wait with those that a worker of the scheduler offers.

    `client` is Dask's, `crew` the workers of this machine, `say` takes one line that stays.
    """

    def __init__(self, client: Any, crew: Sequence[Member], say: Callable[[str], None]) -> None:
        self._client, self._crew, self._say = client, crew, say
        self._missing: dict[str, int] = {}
        self._said_at = 0.0
        self._ended: set[int] = set()

    @contextmanager
    def during(self, rung: str, waiting: Callable[[], Sequence[Run]]) -> Iterator[None]:
        """Look now and then while the body waits for runs of a rung."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_SECONDS):
                self.look(rung, waiting())

        thread = threading.Thread(target=look, name="attendance", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def look(self, rung: str, waiting: Sequence[Run]) -> None:
        """Say what has changed: which hosts no worker is there for, and which worker of this machine ended."""
        for member in self._crew:
            if not member.works() and member.process.pid not in self._ended:
                self._ended.add(member.process.pid)
                self._say(f"a worker of this machine ended: {member.told()}")
        offered = self._offered()
        missing = {host: runs for host, runs in Counter(run.host for run in waiting).items() if host not in offered}
        now = time.monotonic()
        if missing and (missing != self._missing or now - self._said_at >= REMIND_SECONDS):
            whom = ", ".join(f"{host} ({count(runs, 'run')})" for host, runs in missing.items())
            address = self._client.scheduler_info()["address"]
            self._say(f"{rung} waits for a worker of {whom}: `promotion dispatch --join {address}` on such a machine")
            self._said_at = now
        self._missing = missing

    def _offered(self) -> set[str]:
        """The hosts for which a worker is there, or is just being started here."""
        workers = self._client.scheduler_info()["workers"].values()
        there = {host for worker in workers for host in worker["resources"]}
        return there | {host for member in self._crew if member.works() for host in member.slot.hosts}
