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

from stages.domain.errors import Refused
from stages.domain.formatting import count
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
    if arguments.slots is not None and arguments.slots < (1 if arguments.join else 0):
        least = "1 or more: a machine that joins brings slots" if arguments.join else "0 or more"
        raise Refused(f"--slots: found {arguments.slots}, expected {least}")
    return _join(arguments) if arguments.join else _dispatch(arguments)


def _join(arguments: argparse.Namespace) -> int:
    from stages.hosts import workers

    slots = workers.find_slots(load(), arguments.host, arguments.slots)
    if not slots:
        raise Refused("no host block of params.yaml fits this machine; see `promotion host`")
    workers.wait_for_scheduler(arguments.join)
    hosts = ", ".join(dict.fromkeys(host for slot in slots for host in slot.hosts))
    _say(f"joins {arguments.join} with {count(len(slots), 'slot')} for {hosts}")
    workers.wait_for_workers(workers.start_workers(slots, arguments.join), _say)
    _say("the dispatcher is done, or gone")
    return 0


def _say(text: str) -> None:
    print(f"dispatch: {text}", flush=True)


def _dispatch(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from stages.hosts.dispatch import Dispatcher, start_cluster
    from stages.hosts.dispatch_view import DispatchView

    study = load()
    with start_cluster(study, arguments.listen, arguments.host, arguments.slots) as (client, workers):
        view = DispatchView(Console(stderr=True))
        view.say(f"workers may join at {client.scheduler_info()['address']}")
        return Dispatcher(study, client, view, workers).dispatch()
