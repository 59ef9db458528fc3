"""A sender of mails over SMTP, with TLS and login. One connection, kept while it works, and renewed when it does not."""

import contextlib
import re
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

from auctions.mailer import MailDelayed, MailRefused
from transforms.errors import InputError

Security = Literal["none", "starttls", "tls"]


@dataclass(frozen=True)
class SmtpSettings:
    """Where the server is and how to speak to it. A password is never sent without TLS; certificates are always verified."""

    host: str
    port: int = 25
    security: Security = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None  # certificates to trust instead of the machine's
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("host must not be empty")
        if not 0 < self.port < 65536:
            raise ValueError(f"port must lie between 1 and 65535, got {self.port}")
        if self.security not in ("none", "starttls", "tls"):
            raise ValueError(f"security must be none, starttls or tls, got {self.security!r}")
        if self.user and self.security == "none":
            raise ValueError("a login needs security starttls or tls: the password would be read by others")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {self.timeout_s}")


class SmtpSender:
    """Sends mails to one server. What its answers mean is said in `auctions.mailer`."""

    def __init__(self, settings: SmtpSettings) -> None:
        self.settings = settings
        self._server: smtplib.SMTP | None = None

    def send(self, mail: EmailMessage, notice_id: str) -> None:
        try:
            if self._server is None:
                self._server = self._connect()
            self._server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            self._reject("ADDRESS_REFUSED", code, words)
        except smtplib.SMTPSenderRefused as error:
            self._fail("sender", error.smtp_code)
        except smtplib.SMTPDataError as error:
            self._reject("MAIL_REFUSED", error.smtp_code, error.smtp_error)
        except smtplib.SMTPAuthenticationError as error:
            self._fail("login", error.smtp_code)
        except smtplib.SMTPNotSupportedError:
            self._fail("STARTTLS or login, which it does not offer,", 502)
        except ssl.SSLCertVerificationError as error:
            self._drop()
            raise InputError(f"{self._here}: its certificate is not trusted: {error.verify_message}") from None
        except (OSError, smtplib.SMTPException) as error:  # not there, silent, gone, or not speaking SMTP
            self._drop()
            raise MailDelayed(f"{self._here}: {type(error).__name__}") from None

    def close(self) -> None:
        """Says goodbye, if the server still listens."""
        if self._server is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._server.quit()
        self._server = None

    @property
    def _here(self) -> str:
        return f"mail server {self.settings.host}:{self.settings.port}"

    def _connect(self) -> smtplib.SMTP:
        said = self.settings
        context = None if said.security == "none" else ssl.create_default_context(cafile=said.ca_file)
        server: smtplib.SMTP
        if said.security == "tls":
            server = smtplib.SMTP_SSL(said.host, said.port, timeout=said.timeout_s, context=context)
        else:
            server = smtplib.SMTP(said.host, said.port, timeout=said.timeout_s)
        try:
            if said.security == "starttls":
                server.starttls(context=context)
            if said.user:
                server.login(said.user, said.password)
        except BaseException:
            server.close()
            raise
        return server

    def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None

    def _reject(self, what: str, code: int, words: bytes | str) -> None:
        """5xx is for good; 4xx may go by."""
        if code < 500:
            self._drop()
            raise MailDelayed(f"{self._here}: {code}") from None
        text = words.decode("ascii", "replace") if isinstance(words, bytes) else words
        enhanced = re.match(r"\d\.\d{1,3}\.\d{1,3}\b", text)  # RFC 3463, such as 5.1.1
        raise MailRefused(what, f"{code} {enhanced[0]}" if enhanced else str(code)) from None

    def _fail(self, what: str, code: int) -> None:
        self._drop()
        if code < 500:
            raise MailDelayed(f"{self._here}: {code}") from None
        raise InputError(f"{self._here} refuses the {what} with {code}") from None
