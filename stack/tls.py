"""Keys and certificates of the secure listener: an authority of our own, made by openssl, for loopback names."""

import subprocess
from pathlib import Path

from stack.errors import Missing, StackError

DAYS = "3650"


class Files:
    """Where everything lies: all PEM, keys readable by their owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        """The authority's certificate: ssl.ca.location of clients."""
        self.ca_key = folder / "ca.key"
        self.server_keystore = folder / "server.pem"
        """Key and chain in one file, as Kafka wants them."""
        self.client_certificate = folder / "client.pem"
        """ssl.certificate.location of a client under mTLS."""
        self.client_key = folder / "client.key"
        """ssl.key.location of a client under mTLS."""


def make(files: Files) -> None:
    """Makes what is missing."""
    if files.server_keystore.exists():
        return
    files.folder.mkdir(parents=True, exist_ok=True)
    authority: list[str | Path] = [
        "-keyout",
        files.ca_key,
        "-out",
        files.ca,
        "-subj",
        "/CN=beam-on-rails local authority",
    ]
    _openssl("req", "-x509", *KEY, "-days", DAYS, *authority)
    _signed(files, "client", files.client_key, files.client_certificate, "/CN=client")
    key, certificate = files.folder / "server.key", files.folder / "server.crt"
    _signed(files, "server", key, certificate, "/CN=localhost")
    files.server_keystore.touch(mode=0o600)
    files.server_keystore.write_bytes(key.read_bytes() + certificate.read_bytes())


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _signed(files: Files, name: str, key: Path, certificate: Path, subject: str) -> None:
    request, names = files.folder / f"{name}.csr", files.folder / f"{name}.ext"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="utf-8")
    _openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", subject)
    signing: list[str | Path] = [
        "-CA",
        files.ca,
        "-CAkey",
        files.ca_key,
        "-CAcreateserial",
        "-days",
        DAYS,
        "-extfile",
        names,
    ]
    _openssl("x509", "-req", "-in", request, *signing, "-out", certificate)
    request.unlink()
    names.unlink()


def _openssl(*arguments: str | Path) -> None:
    try:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Missing("needs openssl for the secure listener: install it (Debian: apt-get install openssl)") from None
    if done.returncode:
        raise StackError(f"openssl {arguments[0]}: {' '.join(done.stderr.split())[:300]}")
