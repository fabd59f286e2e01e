"""Who may connect to what `promotion dispatch` starts: only this machine, or only who has the cluster's certificates."""

from __future__ import annotations

import argparse
import datetime
import os
import socket
import stat
from pathlib import Path

import pytest

from stages.commands import dispatch as command
from stages.domain.errors import Refused
from stages.hosts import cluster as clusters
from stages.hosts import workers
from stages.hosts.cluster import Cluster, create_cluster, find_own_address, is_loopback, read_cluster, use_cluster

SECONDS = 10.0


def test_every_connection_of_dask_has_the_certificates_of_the_cluster():
    security = Cluster(Path("c")).make_security()
    assert security.require_encryption is True
    for role in ("client", "scheduler", "worker"):
        config = security.get_tls_config_for_role(role)
        assert {name: config[name] for name in ("ca_file", "cert", "key")} == {
            "ca_file": str(Path("c/authority.pem")),
            "cert": str(Path("c/cluster.pem")),
            "key": str(Path("c/cluster.key")),
        }
    assert Cluster(Path("c")).make_arguments() == [
        *("--protocol", "tls", "--tls-ca-file", str(Path("c/authority.pem"))),
        *("--tls-cert", str(Path("c/cluster.pem")), "--tls-key", str(Path("c/cluster.key"))),
    ]


def test_certificates_are_signed_by_the_authority_for_a_year_and_for_both_ends(files):
    from cryptography import x509

    authority, member = (
        x509.load_pem_x509_certificate((files.folder / name).read_bytes())
        for name in (clusters.AUTHORITY, clusters.CERTIFICATE)
    )
    subjects = [certificate.subject.rfc4514_string() for certificate in (authority, member)]
    assert subjects == ["CN=staged-promotion authority", "CN=staged-promotion cluster"]
    for certificate in (authority, member):
        certificate.verify_directly_issued_by(authority)
        valid = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert valid == datetime.timedelta(days=366)
        age = datetime.datetime.now(datetime.UTC) - certificate.not_valid_before_utc
        assert datetime.timedelta(days=1) <= age < datetime.timedelta(days=1, hours=1)
        key = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        assert (key.critical, issuer.critical) == (False, False)
        assert key.value == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
        assert issuer.value == x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    use = member.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert ([entry.dotted_string for entry in use.value], use.critical) == (
        ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
        False,
    ), "server and client, by RFC 5280"
    with pytest.raises(x509.ExtensionNotFound):
        authority.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert len({authority.serial_number, member.serial_number}) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_worker_listens_at_the_address_from_which_it_reaches_the_scheduler(host):
    try:
        assert find_own_address(host, 8786) == host.strip("[]")
    except OSError:
        pytest.skip(f"this machine has no {host}")


def test_a_certificate_may_be_used_for_what_it_is_made_for_and_nothing_else(files):
    """The authority signs certificates, a member signs what it says; no client may take one for the other."""
    from cryptography import x509

    for name, use, is_authority in (
        (clusters.AUTHORITY, "key_cert_sign", True),
        (clusters.CERTIFICATE, "digital_signature", False),
    ):
        certificate = x509.load_pem_x509_certificate((files.folder / name).read_bytes())
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        others = {"key_agreement", "key_encipherment", "data_encipherment", "content_commitment", "crl_sign"}
        given = {name for name in others | {"key_cert_sign", "digital_signature"} if getattr(usage.value, name)}
        assert (given, usage.critical, constraints.critical) == ({use}, True, True)
        assert (constraints.value.ca, constraints.value.path_length) == (is_authority, 0 if is_authority else None)
        assert certificate.version is x509.Version.v3


@pytest.mark.parametrize("listen", ["0.0.0.0:8786", "10.0.0.5:8786", "[::]:8786"])
def test_what_other_machines_reach_needs_certificates_and_is_told_how_to_get_them(judged, listen):
    with pytest.raises(Refused) as refused, use_cluster(listen, None):
        pytest.fail("it would listen")
    assert str(refused.value).startswith(f"--listen {listen}: other machines reach this address")
    assert "`promotion dispatch --new-cluster DIR`" in str(refused.value)
    assert f"`promotion dispatch --listen {listen} --cluster DIR`" in str(refused.value)


@pytest.mark.parametrize("listen", ["127.0.0.1", "localhost:", ":8786", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_what_is_no_address_to_listen_at_is_refused(judged, listen):
    with pytest.raises(Refused, match=r"--listen: found '.*', expected ADDRESS:PORT, such as 127\.0\.0\.1:8786"):
        clusters.parse_address(listen)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "[::1]"])
def test_the_loopback_needs_none_and_a_dispatcher_makes_its_own(judged, host):
    assert is_loopback(host)
    with use_cluster(f"{host}:0", None) as cluster:
        folder = read_cluster(cluster.folder).folder
    assert not folder.exists(), "they are gone with the dispatcher"


def test_only_the_user_may_read_the_key_and_git_ignores_it(files):
    if os.name == "posix":
        assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in files.folder.iterdir()} == {0o600}
    assert (files.folder / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_a_new_cluster_overwrites_nothing(files):
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    for folder in (files.folder, files.folder / clusters.KEY):
        with pytest.raises(Refused) as refused:
            create_cluster(folder)
        message = "exists; a new cluster needs a new folder, so that no certificate in use is lost"
        assert str(refused.value) == f"{folder}: {message}"
    assert {path.name: path.read_bytes() for path in files.folder.iterdir()} == before


def test_a_new_cluster_may_lie_in_an_empty_folder_and_below_folders_that_are_not_there_yet(tmp_path):
    for folder in (tmp_path, tmp_path / "a" / "b"):
        assert create_cluster(folder) == Cluster(folder)
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
            ".gitignore", "authority.pem", "cluster.key", "cluster.pem"
        ]  # fmt: skip


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def test_promotion_dispatch_makes_certificates_and_says_what_to_do_with_them(tmp_path, capsys):
    folder = tmp_path / "new"
    assert command.run(parse("--new-cluster", str(folder))) == 0
    assert read_cluster(folder) == Cluster(folder)
    reported = capsys.readouterr().out
    assert f"promotion dispatch --listen ADDRESS:PORT --cluster {folder.as_posix()}" in reported
    assert f"promotion dispatch --join tls://ADDRESS:PORT --cluster {folder.as_posix()}" in reported


@pytest.mark.parametrize("name", [clusters.AUTHORITY, clusters.CERTIFICATE, clusters.KEY])
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path, name):
    folder = create_cluster(tmp_path / "new").folder
    (folder / name).unlink()
    with pytest.raises(Refused) as refused:
        read_cluster(folder)
    assert str(refused.value) == (
        f"--cluster {folder}: {name} is missing; `promotion dispatch --new-cluster DIR` makes a cluster's certificates "
        "once, and every machine of the cluster needs a copy of that folder"
    )


@pytest.mark.skipif(os.name != "posix", reason="files have no such modes there")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    folder = create_cluster(tmp_path / "new").folder
    (folder / clusters.KEY).chmod(mode)
    with pytest.raises(Refused) as refused:
        read_cluster(folder)
    key = folder / clusters.KEY
    message = "others may read this key, and with it run code on every worker"
    assert str(refused.value) == f"{key}: {message}; `chmod 600 {key}`"
    key.chmod(0o700)
    assert read_cluster(folder) == Cluster(folder)


def test_certificates_that_are_too_old_or_none_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "VALID", -clusters.CLOCK_DIFFERENCE / 2)
    folder = create_cluster(tmp_path / "old").folder
    with pytest.raises(Refused, match=r"valid until \d{4}-\d\d-\d\d; make new ones"):
        read_cluster(folder)
    (folder / clusters.CERTIFICATE).write_text("nothing", encoding="utf-8")
    with pytest.raises(Refused, match="found no certificate"):
        read_cluster(folder)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--join", "tcp://10.0.0.5:8786"],
            "a dispatcher accepts TLS alone; expected tls://10.0.0.5:8786, and --cluster",
        ),
        (["--join", "tls://10.0.0.5:8786"], "--join tls://10.0.0.5:8786: needs --cluster DIR"),
        (["--join", "tls://10.0.0.5:8786", "--cluster", "nowhere"], "--cluster nowhere: authority.pem is missing"),
    ],
)
def test_a_machine_joins_with_certificates_or_not_at_all(judged, monkeypatch, words, told):
    monkeypatch.setattr(workers, "start_workers", lambda *_: pytest.fail("it started workers"))
    with pytest.raises(Refused) as refused:
        command.run(parse(*words))
    assert told in str(refused.value)


@pytest.mark.parametrize("listen", ["0.0.0.0:8786", "127.0.0.1:0"])
def test_a_folder_of_certificates_is_used_wherever_a_dispatcher_listens_and_stays(judged, files, listen):
    with use_cluster(listen, files.folder) as cluster:
        assert cluster == files
    assert files.folder.exists()
    assert not clusters.LOGS.exists(), "nothing of its own is made"


def test_certificates_of_its_own_lie_in_the_clone_by_their_whole_path(judged):
    for _ in range(2):
        with use_cluster("127.0.0.1:0", None) as cluster:
            assert cluster.folder.parent == clusters.LOGS.resolve()
            assert cluster.folder.name.startswith("cluster-")


@pytest.mark.parametrize(
    ("listen", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:65535", ("[::1]", 65535)), ("host:8786", ("host", 8786))],
)
def test_an_address_to_listen_at_is_host_and_port(listen, address):
    assert clusters.parse_address(listen) == address


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[tuple]:
    """Let every host name stand for these addresses; what is asked for."""
    asked: list[tuple] = []
    infos = [(0, 0, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(clusters.socket, "getaddrinfo", lambda *words: asked.append(words) or infos)
    return asked


@pytest.mark.parametrize(
    ("addresses", "loopback"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.1", "::1%lo"], True),
        (["127.0.0.1", "10.0.0.5"], False),
        (["10.0.0.5", "127.0.0.1"], False),
        (["fe80::1%eth0"], False),
    ],
)
def test_a_name_is_the_loopback_if_all_that_it_stands_for_is(monkeypatch, addresses, loopback):
    asked = resolve(monkeypatch, *addresses)
    assert is_loopback("[name]") is loopback
    assert asked == [("name", None)]


def test_a_name_that_stands_for_nothing_is_refused(monkeypatch):
    def fail(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(clusters.socket, "getaddrinfo", fail)
    with pytest.raises(Refused) as refused:
        is_loopback("nowhere")
    message = "[Errno -2] Name or service not known"
    assert str(refused.value) == f"--listen: nowhere: {message}; give an address of this machine"


def test_the_own_address_is_that_of_a_probe_which_sends_nothing(monkeypatch):
    asked: list[object] = []

    class Probe:
        def __init__(self, *kind: object) -> None:
            asked.append(kind)

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("closed")

        def connect(self, target: object) -> None:
            asked.append(target)

        def getsockname(self) -> tuple[str, int]:
            return "10.0.0.7", 4711

    def resolve(*words: object, **options: object) -> list[tuple]:
        asked.append((words, options))
        return [("family", "kind", 0, "", ("10.0.0.5", 8786)), ("other", "other", 0, "", ("::1", 8786))]

    monkeypatch.setattr(clusters.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(clusters.socket, "socket", Probe)
    assert find_own_address("[host]", 8786) == "10.0.0.7"
    lookup = (("host", 8786), {"type": socket.SOCK_DGRAM})
    assert asked == [lookup, ("family", "kind"), ("10.0.0.5", 8786), "closed"]
