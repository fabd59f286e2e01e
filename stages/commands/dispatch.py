"""Hand the runs of the study to several workers, here and on other machines.

    promotion dispatch                      a worker for every GPU (or group of GPUs) and CPU slot of this machine
    promotion dispatch --new-cluster DIR    make the certificates without which no other machine may join
    promotion dispatch --listen 10.0.0.5:8786 --cluster DIR         let other machines join
    promotion dispatch --join tls://10.0.0.5:8786 --cluster DIR     on such a machine, in its clone of the same commit
                                                                    with its corpus

A worker takes runs of the host blocks that its machine is (`promotion host`), one at a time, on GPUs of its own. A run
whose worker dies is given to another one and goes on from its checkpoint if that one works in the same clone. Needs
the extra `staged-promotion[dispatch]`. Whoever can connect runs code on the workers: scheduler and workers listen on
the loopback unless --listen says otherwise, and accept only what has the certificates of the cluster. Keep DIR like an
SSH key.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from stages.domain.errors import Refused
from stages.domain.formatting import count
from stages.domain.study import load

LISTEN = "127.0.0.1:0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion dispatch`."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--listen", metavar="ADDRESS:PORT", default=LISTEN, help="where workers may join (default: the loopback)"
    )
    mode.add_argument("--join", metavar="ADDRESS", help="be a worker of the dispatcher at this address")
    mode.add_argument("--new-cluster", metavar="DIR", type=Path, help="write certificates into this new folder")
    parser.add_argument("--cluster", metavar="DIR", type=Path, help="the certificates; needed beyond the loopback")
    parser.add_argument("--host", action="append", default=[], help="only this host block on this machine; repeatable")
    parser.add_argument("--slots", type=int, help="CPU runs at a time on this machine; 0: none of its own")


def run(arguments: argparse.Namespace) -> int:
    """Dispatch, join, or make certificates."""
    if importlib.util.find_spec("distributed") is None or importlib.util.find_spec("cryptography") is None:
        raise Refused("Dask or cryptography is not installed; `pip install 'staged-promotion[dispatch]'`")
    if arguments.new_cluster is not None:
        return _create_cluster(arguments.new_cluster)
    if arguments.slots is not None and arguments.slots < (1 if arguments.join else 0):
        least = "1 or more: a machine that joins brings slots" if arguments.join else "0 or more"
        raise Refused(f"--slots: found {arguments.slots}, expected {least}")
    return _join(arguments) if arguments.join else _dispatch(arguments)


def _create_cluster(folder: Path) -> int:
    from stages.hosts.cluster import create_cluster

    create_cluster(folder)
    print(
        f"{folder.as_posix()}: certificates of a new cluster, valid for a year\n"
        "Carry the folder to every machine of the cluster over a connection that you trust (scp -rp), then\n"
        f"  promotion dispatch --listen ADDRESS:PORT --cluster {folder.as_posix()}      on one of them\n"
        f"  promotion dispatch --join tls://ADDRESS:PORT --cluster {folder.as_posix()}  on the others"
    )
    return 0


def _join(arguments: argparse.Namespace) -> int:
    from stages.hosts import workers
    from stages.hosts.cluster import read_cluster

    workers.parse_scheduler(arguments.join)
    if arguments.cluster is None:
        raise Refused(f"--join {arguments.join}: needs --cluster DIR, the certificates that the dispatcher uses")
    cluster = read_cluster(arguments.cluster)
    study = load()
    slots = workers.find_slots(study, arguments.host, arguments.slots)
    mismatches = workers.explain_mismatches(study, arguments.host)
    if not slots:
        reasons = "".join(f"\n  {mismatch}" for mismatch in mismatches)
        raise Refused(f"no host block of params.yaml fits this machine; see `promotion host`{reasons}")
    for mismatch in mismatches:
        _say(mismatch)
    workers.wait_for_scheduler(arguments.join)
    hosts = ", ".join(dict.fromkeys(host for slot in slots for host in slot.hosts))
    _say(f"joins {arguments.join} with {count(len(slots), 'slot')} for {hosts}")
    workers.wait_for_workers(workers.start_workers(slots, arguments.join, cluster), _say)
    _say("the dispatcher is done, or gone")
    return 0


def _say(text: str) -> None:
    print(f"dispatch: {text}", flush=True)


def _dispatch(arguments: argparse.Namespace) -> int:
    from stages.hosts.dispatch import Dispatcher, start_cluster
    from stages.hosts.dispatch_view import DispatchView
    from stages.hosts.workers import explain_mismatches
    from stages.terminal import console

    study = load()
    with start_cluster(study, arguments.listen, arguments.cluster, arguments.host, arguments.slots) as cluster:
        view = DispatchView(console(sys.stderr))
        view.say(f"workers may join: `{cluster.join}`")
        for mismatch in [] if arguments.slots == 0 else explain_mismatches(study, arguments.host):
            view.say(mismatch)
        return Dispatcher(study, cluster, view).dispatch()
