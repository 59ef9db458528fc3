"""A real mail server on loopback that can refuse, delay and drop; it counts what it has taken by Message-ID."""

import asyncio
import socket
import ssl
from collections import Counter
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    """`taken`: mails by Message-ID. The lists say what to do with the next mails: an entry is used up by one."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.mails: list[bytes] = []
        self.rcpt_answers: list[str] = []
        self.data: list[
            str
        ] = []  # an answer, "drop" (before it is taken), "lose" (it is taken, the OK is lost), or a delay in s
        self.connections = 0

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 nobody@ is not here"
        if self.rcpt_answers:
            return self.rcpt_answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        what = self.data.pop(0) if self.data else ""
        if what == "drop":
            server.transport.close()
            return "451 gone"
        if what[:1].isdigit() and len(what) < 3:
            await asyncio.sleep(float(what))
        elif what and what != "lose":
            return what
        self.mails.append(envelope.original_content)
        self.taken[message_from_bytes(envelope.original_content)["Message-ID"]] += 1
        if what == "lose":
            server.transport.close()
        return "250 OK"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class MailServer:
    """Listens on a free port until `stop`."""

    def __init__(self, **options) -> None:
        self.handler = Handler()
        self.port = free_port()
        self._controller = Controller(self.handler, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()


def authenticator(server, session, envelope, mechanism, data):
    right = mechanism in ("LOGIN", "PLAIN") and (data.login, data.password) == (b"rails", b"secret")
    return AuthResult(success=right, handled=right)


def certificate(folder: Path, host: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """A certificate of our own for that address: the file to trust, and the server's context."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, both = folder / "trusted.pem", folder / "server.pem"
    trusted.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(private + trusted.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return trusted, context
