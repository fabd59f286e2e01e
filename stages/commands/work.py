"""Do one host's share of the study.

    promotion work --host linux-l40s              until every gate has decided, looking for others' runs now and then
    promotion work --host linux-l40s --once       what can be done now, and no waiting

Restores what other hosts have pushed, trains the runs of this host, pushes them, and judges a rung as soon as the runs
of all hosts are there. Killed and started again it goes on; started twice in one clone, the second one says so. It
touches no git: commit dvc.lock, stages/ladder/ and ledger/ from one clone when the study is done.
"""

from __future__ import annotations

import argparse

from stages.domain.study import load

POLL_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion work`."""
    parser.add_argument("--host", required=True, help="the host block in whose name to run; this machine must be one")
    parser.add_argument("--remote", help="the DVC remote to exchange through; the default one unless given")
    parser.add_argument("--once", action="store_true", help="do what can be done now, then leave")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="seconds between two looks (default 60)")


def run(arguments: argparse.Namespace) -> int:
    """Work; 0 when all is done or, with --once, nothing more can be done now, 1 when a gate is not frozen."""
    from stages.hosts.work import HostWorker

    return HostWorker(load(), arguments.host, arguments.remote, arguments.once, arguments.poll).work()
