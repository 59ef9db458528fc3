"""The mailer (A5): notices become mails, once each; twice only if the process dies between the server's OK and its record.

For each notice: is it in the outbox? Then it was sent. Else the mail is sent, and the outbox records it. A server that drops the line
before it says OK has not taken the mail (RFC 5321, 4.1.1.4), so it is sent again; whoever got it nevertheless sees the same Message-ID.

An OK cannot be taken back, so a mail's record is on disk before the next mail is begun: a death leaves one mail at most that was taken and
is not on record. Several mails to a record would be sent again together. What was *not* sent needs no such care: lost, it is decided anew.

    the server takes it                     → SENT
    it is in the outbox                     → REPEAT
    news that the end has overtaken         → STALE, not sent
    no address, or the server refuses it    → REFUSED: a dead letter with the reason
    server not there, 4xx                   → tried again, then MailDelayed: the notice stays where it is, and so do all behind it
    login, certificate or sender refused    → InputError: no mail would get through
"""

import csv
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from auctions.mails import Letterhead, mail_of, parse_address
from schemas.auctions import Notice
from schemas.rails import DeadLetter, Record, Source
from transforms.errors import BadRecord, InputError
from transforms.fold import dead_letter

STAGE = "auction.mailer"

OVERTAKEN = ("OUTBID", "ENDING_SOON")  # news that is none once the auction is over

Status = Literal["SENT", "REPEAT", "STALE", "REFUSED"]


class MailDelayed(Exception):
    """The mail could not be sent now, and may be later."""


class MailRefused(Exception):
    """The mail will never be taken. code: short constant; detail: the server's numbers, never its words, which may repeat the address."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


class Delivery(NamedTuple):
    """What became of a notice."""

    status: Status
    code: str = ""
    detail: str = ""


class Sender(Protocol):
    """Hands a mail over; returns when it is taken, else raises MailDelayed, MailRefused or InputError."""

    def send(self, mail: EmailMessage, notice_id: str) -> None: ...


class MailFolder:
    """A sender that writes each mail into a folder, as <notice id>.eml, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def send(self, mail: EmailMessage, notice_id: str) -> None:
        part = self.folder / f".{notice_id}.part"
        part.write_bytes(bytes(mail))
        os.replace(part, self.folder / f"{notice_id}.eml")


class Outbox:
    """What was done about each notice, in an SQLite file. That a mail was sent is on disk when `record` returns; that it was not, with
    the next one that was, or `flush`."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, timeout=30)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS mails (notice_id TEXT PRIMARY KEY, person TEXT, kind TEXT, auction_id TEXT, "
                "status TEXT, code TEXT, notice_at INTEGER) WITHOUT ROWID"
            )

    def holds(self, notice_id: str) -> bool:
        found = self._database.execute("SELECT 1 FROM mails WHERE notice_id = ?", (notice_id,)).fetchone()
        return found is not None

    def record(self, notice: Notice, delivery: Delivery) -> None:
        row = (
            notice.notice_id,
            notice.person,
            notice.kind,
            notice.auction_id,
            delivery.status,
            delivery.code,
            notice.at,
        )
        self._database.execute("INSERT OR IGNORE INTO mails VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if delivery.status == "SENT":
            self.flush()

    def flush(self) -> None:
        """Returns when all that was recorded is on disk."""
        self._database.commit()

    def forget(self, before: int) -> int:
        """Drops what is about notices from before that time (ms): the topic must not hold them any more. Gives how many."""
        with self._database:
            return self._database.execute("DELETE FROM mails WHERE notice_at < ?", (before,)).rowcount

    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, status) → mails."""
        rows = self._database.execute("SELECT kind, status, COUNT(*) FROM mails GROUP BY 1, 2 ORDER BY 1, 2")
        return {(kind, status): n for kind, status, n in rows}

    def close(self) -> None:
        self.flush()
        self._database.close()


class Mailer:
    """Delivers notices one after another."""

    def __init__(
        self,
        addresses: Mapping[str, Address] | Callable[[str], Address | None],
        sender: Sender,
        outbox: Outbox,
        letterhead: Letterhead,
        attempts: int = 5,
        wait_s: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`addresses` gives a person's address, or None. `attempts` of a mail that is delayed, with waits that double from `wait_s`."""
        if attempts < 1 or wait_s < 0:
            raise ValueError(f"attempts must be positive and wait_s not negative, got {attempts} and {wait_s}")
        self._address = addresses.get if isinstance(addresses, Mapping) else addresses
        self._sender, self._outbox, self._letterhead = sender, outbox, letterhead
        self._attempts, self._wait_s, self._sleep = attempts, wait_s, sleep

    def deliver(self, notice: Notice, now: int | None = None) -> Delivery:
        """Sends the notice's mail unless it was sent. `now` (ms) is the time by which news gets stale; None: nothing does."""
        if self._outbox.holds(notice.notice_id):
            return Delivery("REPEAT")
        stale = notice.kind in OVERTAKEN and None not in (now, notice.ends_at) and now >= notice.ends_at  # type: ignore[operator]
        delivery = Delivery("STALE") if stale else self._send(notice)
        self._outbox.record(notice, delivery)
        return delivery

    def flush(self) -> None:
        """Returns when all that was done is on record."""
        self._outbox.flush()

    def _send(self, notice: Notice) -> Delivery:
        address = self._address(notice.person)
        if address is None:
            return Delivery("REFUSED", "NO_ADDRESS")
        mail = mail_of(notice, address, self._letterhead)
        for attempt in range(1, self._attempts + 1):
            try:
                self._sender.send(mail, notice.notice_id)
            except MailRefused as error:
                return Delivery("REFUSED", error.code, error.detail)
            except MailDelayed:
                if attempt == self._attempts:
                    raise
                self._sleep(self._wait_s * 2 ** (attempt - 1))
            else:
                break
        return Delivery("SENT")


def bury(record: Record, topic: str, partition: int, delivery: Delivery) -> DeadLetter:
    """The dead letter of a notice that stands at `record` and was refused."""
    return dead_letter(Source(STAGE, topic, partition), record, BadRecord(delivery.code, delivery.detail))


def read_addresses(path: Path) -> dict[str, Address]:
    """Person → address, from a CSV file with the columns person, address and, if you like, name."""
    addresses: dict[str, Address] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restval="")
            for name in ("person", "address"):
                if name not in (reader.fieldnames or ()):
                    raise InputError(f"{path}: there is no column {name}")
            for row in reader:
                try:
                    addresses[row["person"]] = parse_address(row["address"].strip(), row.get("name", ""))
                except ValueError as error:
                    raise InputError(f"{path}:{reader.line_num}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    return addresses
