"""What `promotion dispatch` starts listens on the loopback alone, and answers nobody without the cluster's certificates."""

from __future__ import annotations

import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from stages.commands import dispatch as command
from stages.hosts import cluster as clusters
from stages.hosts import workers
from stages.hosts.cluster import Cluster, is_loopback
from stages.hosts.dispatch import StartedCluster, start_cluster
from tests.hosts.conftest import PATIENCE
from tests.support.repo import PROJECT

SECONDS = 10.0


def list_listening(*processes: psutil.Process) -> set[tuple[str, int]]:
    """Where these processes and all that they have started listen."""
    everyone = {one for process in processes for one in (process, *process.children(recursive=True))}
    sockets = [one for process in everyone for one in process.net_connections("all")]
    return {(one.laddr.ip, one.laddr.port) for one in sockets if one.status == psutil.CONN_LISTEN}


def talk_tls(address: tuple[str, int], mine: Cluster | None) -> bytes:
    """What is answered to a TLS client with the certificate of `mine`, or with none; raises OSError where refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if mine is not None:
        context.load_cert_chain(mine.folder / clusters.CERTIFICATE, mine.folder / clusters.KEY)
    with socket.create_connection(address, SECONDS) as plain, context.wrap_socket(plain) as connection:
        return connection.recv(1)  # since TLS 1.3 a certificate is refused after the handshake


def talk_plain(address: tuple[str, int]) -> bytes:
    """What is answered to a client of Dask that speaks no TLS."""
    with socket.create_connection(address, SECONDS) as connection:
        connection.sendall(
            b"\x01\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"
        )
        return connection.recv(1)


def is_http(address: tuple[str, int]) -> bool:
    """Whether HTTP is spoken there; it must have no page at all."""
    for path in ("/", "/health", "/info/main/workers.html", "/json/identity.json", "/metrics", "/status"):
        url = f"http://{address[0]}:{address[1]}{path}"
        try:
            urllib.request.urlopen(url, timeout=SECONDS)
        except urllib.error.HTTPError as answer:
            assert answer.code == 404, url
        except (OSError, ValueError):
            return False
        else:
            pytest.fail(f"{url} is served")
    return True


def assert_refused(address: tuple[str, int], other: Cluster) -> None:
    """Nobody without a certificate of the cluster gets a word out of what listens there."""
    for mine in (None, other):
        with pytest.raises(OSError):
            assert talk_tls(address, mine) != b"", "the connection was closed, and nothing said"
            pytest.fail(f"{address} answers a client with {'no' if mine is None else 'a foreign'} certificate")
    try:
        assert talk_plain(address) in (b"", b"\x15"), "an alert of TLS at most"
    except OSError:
        pass


@pytest.fixture
def started(judged, monkeypatch) -> Iterator[StartedCluster]:
    """A dispatcher's scheduler with one worker of this machine, by the defaults of `promotion dispatch`."""
    assert list_listening(psutil.Process()) == set(), "nothing else that these tests started listens"
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    with start_cluster(judged, command.LISTEN, None, [], 1) as cluster:
        cluster.client.wait_for_workers(1, timeout=PATIENCE)
        yield cluster


@pytest.mark.slow
def test_all_that_dispatch_starts_listens_on_the_loopback_and_to_its_own_certificates_alone(started, files):
    listening = list_listening(psutil.Process())
    assert {is_loopback(host) for host, _ in listening} == {True}, listening
    http = {address for address in listening if is_http(address)}
    assert len(http) == 2, "of the scheduler, and of the worker"
    closed = listening - http
    assert len(closed) == 3, "scheduler, nanny, worker"
    for address in closed:
        assert_refused(address, files)
    assert started.client.submit(sum, [1, 2]).result(timeout=PATIENCE) == 3, "who has the certificates is served"


@pytest.mark.slow
def test_a_worker_of_another_cluster_is_not_let_in(started, files, tmp_path):
    address = started.client.scheduler_info()["address"]
    before = set(started.client.scheduler_info()["workers"])
    slot = started.processes[0].slot
    foreign = workers.start_workers([slot], address, files)
    try:
        end = time.monotonic() + PATIENCE
        while "certificate verify failed" not in foreign[0].log.read_text(encoding="utf-8", errors="replace"):
            assert time.monotonic() < end, foreign[0].log.read_text(encoding="utf-8", errors="replace")
            time.sleep(0.2)
    finally:
        workers.stop_workers(foreign)
    assert set(started.client.scheduler_info()["workers"]) == before
