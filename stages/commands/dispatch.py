"""Hand the runs of the study to several workers, here and on other machines.

    promotion dispatch                                a worker for every GPU, or for every CPU slot, of this machine
    promotion dispatch --listen 10.0.0.5:8786         and let other machines join
    promotion dispatch --join tcp://10.0.0.5:8786     on such a machine, in its clone of the same commit with its corpus

A worker takes runs of the host blocks that its machine is (`promotion host`), one at a time, one GPU each. A run whose
worker dies is given to another one and goes on from its checkpoint if that one works in the same clone. Needs the extra
`staged-promotion[dispatch]`. Whoever reaches the port can run code on the workers: listen on a network you trust, or
through a tunnel.
"""

from __future__ import annotations

import argparse
import importlib.util

from stages.domain.fail import Refused
from stages.domain.study import load

LISTEN = "127.0.0.1:0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion dispatch`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--listen", metavar="ADDRESS:PORT", default=LISTEN, help="where workers may join (default: here)"
    )
    where.add_argument("--join", metavar="ADDRESS", help="be a worker of the dispatcher at this address")
    parser.add_argument("--host", action="append", default=[], help="only this host block on this machine; repeatable")
    parser.add_argument("--slots", type=int, help="CPU runs at a time on this machine; 0: none of its own")


def run(arguments: argparse.Namespace) -> int:
    """Dispatch, or join."""
    if importlib.util.find_spec("distributed") is None:
        raise Refused("Dask is not installed; `pip install 'staged-promotion[dispatch]'`")
    study = load()
    from stages.hosts import slots

    if arguments.join:
        started = slots.start(slots.slots_of(study, arguments.host, arguments.slots), arguments.join)
        if not started:
            raise Refused("no host block of params.yaml fits this machine; see `promotion host`")
        try:
            return max(worker.wait() for worker in started)
        finally:
            slots.stop(started)
    from rich.console import Console

    from stages.hosts.dispatch import Dispatcher, cluster
    from stages.hosts.view import View

    with cluster(study, arguments.listen, arguments.host, arguments.slots) as client:
        view = View(Console(stderr=True))
        view.say(f"workers may join at {client.scheduler_info()['address']}")
        return Dispatcher(study, client, view).dispatch()
