"""Who may connect to the scheduler and the workers of `promotion dispatch`: the certificates of a cluster.

    promotion dispatch --new-cluster DIR

Whoever can speak to a Dask worker runs code on it. So every connection is TLS in both directions, and accepts only the
certificates of one cluster: an authority that signs a single certificate and is forgotten. A dispatcher that listens on
the loopback makes certificates of its own, for its own lifetime; one that other machines reach needs `--cluster DIR`,
because the folder has to be carried to them. Needs the extra `staged-promotion[dispatch]`.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stages.domain.errors import Refused
from stages.hosts.job import LOGS

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed import Security

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "cluster.pem", "cluster.key"
VALID = datetime.timedelta(days=365)
#: Clocks of machines differ: a certificate counts from this long before it was made.
CLOCK_DIFFERENCE = datetime.timedelta(days=1)
_KEY_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Cluster:
    """The certificate files of one cluster."""

    folder: Path

    def make_security(self) -> Security:
        """Dask's settings: TLS for every connection, both ends with a certificate of this cluster."""
        from distributed import Security

        certificate, key = str(self.folder / CERTIFICATE), str(self.folder / KEY)
        return Security(
            require_encryption=True,
            tls_ca_file=str(self.folder / AUTHORITY),
            **{f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")},
            **{f"tls_{role}_key": key for role in ("client", "scheduler", "worker")},
        )

    def make_arguments(self) -> list[str]:
        """The same for the command line of `dask worker`."""
        files = {"ca-file": AUTHORITY, "cert": CERTIFICATE, "key": KEY}
        options = [word for option, name in files.items() for word in (f"--tls-{option}", str(self.folder / name))]
        return ["--protocol", "tls", *options]


def create_cluster(folder: Path) -> Cluster:
    """Make the certificates of a new cluster in `folder`, which must be new or empty; only this user may read them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder}: exists; a new cluster needs a new folder, so that no certificate in use is lost")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _sign("staged-promotion authority", authority_key.public_key(), authority_key, None)
    certificate = _sign("staged-promotion cluster", key.public_key(), authority_key, authority)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    contents = {AUTHORITY: authority.public_bytes(pem), CERTIFICATE: certificate.public_bytes(pem), KEY: private}
    contents[".gitignore"] = b"*\n"  # a key that is committed is everybody's
    for name, data in contents.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    return Cluster(folder)


def _sign(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
) -> x509.Certificate:
    """A certificate for `public_key`: that of the authority itself where `authority` is None."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    is_authority = authority is None
    now = datetime.datetime.now(datetime.UTC)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    usage = dict.fromkeys(_KEY_USES, False) | {"key_cert_sign" if is_authority else "digital_signature": True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_DIFFERENCE)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.KeyUsage(**usage), critical=True)
    )
    if not is_authority:
        both_ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(both_ends, critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def read_cluster(folder: Path) -> Cluster:
    """The cluster whose certificates lie in `folder`; `Refused` where a file is missing, open to others or too old."""
    from cryptography import x509

    for name in (AUTHORITY, CERTIFICATE, KEY):
        if not (folder / name).is_file():
            raise Refused(
                f"--cluster {folder}: {name} is missing; `promotion dispatch --new-cluster DIR` makes a cluster's "
                "certificates once, and every machine of the cluster needs a copy of that folder"
            )
    key = folder / KEY
    if os.name == "posix" and key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"{key}: others may read this key, and with it run code on every worker; `chmod 600 {key}`")
    try:
        end = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).not_valid_after_utc
    except ValueError as error:
        raise Refused(f"{folder / CERTIFICATE}: found no certificate ({error}); copy the folder anew") from None
    if end < datetime.datetime.now(datetime.UTC):
        raise Refused(
            f"{folder / CERTIFICATE}: valid until {end:%Y-%m-%d}; make new ones: `promotion dispatch --new-cluster DIR`"
        )
    return Cluster(folder)


@contextmanager
def use_cluster(listen: str, folder: Path | None) -> Iterator[Cluster]:
    """The cluster of a dispatcher that listens at `listen` (ADDRESS:PORT); `Refused` where that needs a `folder`."""
    if folder is not None:
        yield read_cluster(folder)
        return
    host, _ = parse_address(listen)
    if not is_loopback(host):
        raise Refused(
            f"--listen {listen}: other machines reach this address, and whoever connects runs code here, so it needs "
            "certificates: `promotion dispatch --new-cluster DIR` makes them; carry DIR to every machine of the "
            f"cluster over a connection that you trust, then `promotion dispatch --listen {listen} --cluster DIR`"
        )
    LOGS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="cluster-", dir=LOGS) as temporary:
        yield create_cluster(Path(temporary).resolve())


def parse_address(listen: str) -> tuple[str, int]:
    """Address and port of ADDRESS:PORT; an IPv6 address stands in brackets, which are kept."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Refused(f"--listen: found {listen!r}, expected ADDRESS:PORT, such as 127.0.0.1:8786")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether all that a host name or address stands for is reached from this machine alone."""
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), None)
    except OSError as error:
        raise Refused(f"--listen: {host}: {error}; give an address of this machine") from None
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in addresses)


def find_own_address(host: str, port: int) -> str:
    """The address of this machine from which it would reach `host`; sends nothing."""
    family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
