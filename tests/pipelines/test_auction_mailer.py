"""The mailer as a job: over recorded topics, over SMTP, and live."""

from collections.abc import Iterator
from contextlib import ExitStack
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from auctions import topics
from auctions.mailer import Delivery, MailDelayed
from auctions.smtp import SmtpSender
from pipelines import auction_mailer
from pipelines.auction_mailer import Post, counts_of, deliver, describe, follow
from pipelines.common import UsageError
from pipelines.registry import REGISTRY
from schemas.auctions import Notice
from schemas.payments import Money
from schemas.rails import DeadLetter, Record, Tick
from tests.pipelines.runs import files
from transforms.chunks import pack_chunks
from transforms.topic_files import write_topics


def record(offset: int, person: str = "anna", number: str | None = None, **fields: Any) -> Record:
    told = Notice(
        *(number or f"{offset:032x}", person, "LOST", "x", "A watch", Money(1000, "EUR"), False),
        *(2_000_000_000_000, f"auction.bids.history/0/{offset}", 1_000),
    )
    return Record(offset, 1_000, person.encode(), REGISTRY.encode(told._replace(**fields)), None, ())


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Three notices, one of them to a name that no mail address can have, and one of them twice."""
    records = [record(0), record(1, "bert"), record(2, "no one"), record(3, number=f"{0:032x}")]
    tick = Record(4, 1_000, None, REGISTRY.encode(Tick(1_000)), None, ())
    chunks = pack_chunks(topics.NOTICES.name, 3, [*records, tick])
    write_topics(tmp_path / "topics", {topics.NOTICES.name: 16}, chunks)
    return tmp_path


def test_notices_become_mail_files_once(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = [f"--input={recorded}/topics", f"--outbox={recorded}/outbox"]
    assert auction_mailer.run(argv) == 0
    assert "mails: lost 2; not sent: refused 1" in capfd.readouterr().out
    mails = files(recorded / "outbox" / "mails")
    assert sorted(mails) == [f"{n:032x}.eml" for n in (0, 1)]
    mail = message_from_bytes(mails[f"{1:032x}.eml"])
    assert "bert@example.org" in mail["To"] and mail["Message-ID"] == f"<{1:032x}@example.org>"
    assert auction_mailer.run(argv) == 0
    assert files(recorded / "outbox" / "mails") == mails


def test_addresses_from_a_file(recorded: Path) -> None:
    (recorded / "people.csv").write_text("person,address,name\nanna,anna@example.net,Anna\n", encoding="utf-8")
    argv = [f"--input={recorded}/topics", f"--outbox={recorded}/outbox", f"--addresses={recorded}/people.csv"]
    assert auction_mailer.run(argv) == 0
    assert counts_of(recorded / "outbox") == {("LOST", "REFUSED"): 2, ("LOST", "SENT"): 1}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--smtp_host=mail.example.org", "need --addresses"),
        ("--mail_from=nobody", "not a mail address"),
        ("--site=ftp://x", "site must be"),
        ("--addresses=nosuch.csv", "no such file"),
        ("--smtp_security=some", "invalid choice"),
    ],
)
def test_bad_flags(flag: str, message: str, recorded: Path) -> None:
    with pytest.raises(UsageError, match=message):
        auction_mailer.run([f"--input={recorded}/topics", f"--outbox={recorded}/outbox", flag])


def test_a_server_gets_its_password_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "secret")
    post = Post(str(tmp_path), host="mail.example.org", port=587, user="auctions", ca_file="ca.pem")
    settings = post.smtp()
    assert (settings.password, settings.ca_file) == ("secret", Path("ca.pem")) and "secret" not in repr(post)
    with ExitStack() as stack:
        assert isinstance(post.mailer(stack)._sender, SmtpSender)
    with pytest.raises(ValueError, match="login needs"):
        Post(str(tmp_path), host="mail.example.org", security="none", user="auctions").smtp()


class Mailing:
    """A mailer that is delayed twice, then refuses `bert`."""

    def __init__(self) -> None:
        self.delays, self.told = 2, []
        self.done: list[str] = []

    def deliver(self, notice: Notice, now: int | None = None) -> Delivery:
        if self.delays:
            self.delays -= 1
            raise MailDelayed("not there")
        self.told.append((notice.person, now))
        self.done.append(notice.person)
        return Delivery("REFUSED", "NO_ADDRESS") if notice.person == "bert" else Delivery("SENT")

    def flush(self) -> None:
        self.done.append("on record")


class Given:
    """A reader of these records, which come in batches of so many."""

    def __init__(self, mailer: Mailing, records: list[Record], batch: int) -> None:
        self.more, self._done, self._records, self._batch = False, mailer.done, records, batch

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        for number, each in enumerate(self._records, 1):
            self.more = bool(number % self._batch) and number < len(self._records)
            yield 3, each

    def save(self) -> None:
        self._done.append("saved")


def test_live_nothing_overtakes_what_is_delayed(capsys: pytest.CaptureFixture[str]) -> None:
    mailer, waits = Mailing(), []
    buried: list[tuple[Record, DeadLetter]] = []
    given = Given(mailer, [record(0), record(1, "bert")], 1)
    follow(given, mailer, lambda *one: buried.append(one), waits.append, lambda: 1.5)  # type: ignore[arg-type]
    assert mailer.told == [("anna", 1500), ("bert", 1500)] and len(waits) == 2
    # What was done is kept before the next is looked at, as no more had come.
    assert mailer.done == ["anna", "on record", "saved", "bert", "on record", "saved"]
    ((_, letter),) = buried
    assert (letter.code, letter.topic, letter.partition, letter.offset) == ("NO_ADDRESS", "auction.notices", 3, 1)
    assert "delayed: not there" in capsys.readouterr().err


def test_live_the_place_is_saved_once_for_what_came_together() -> None:
    """And a dead letter is written before it stands on record that its mail was refused."""
    mailer = Mailing()
    mailer.delays = 0
    given = Given(mailer, [record(0), record(1, "bert"), record(2), record(3), record(4)], 3)
    follow(given, mailer, lambda *_: mailer.done.append("buried"))  # type: ignore[arg-type]
    assert mailer.done == [
        *("anna", "bert", "buried", "anna", "on record", "saved"),
        *("anna", "anna", "on record", "saved"),
    ]


def test_the_live_mailer_reads_its_topic_and_buries_on_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []

    class Writer:
        def __init__(self, settings: Any) -> None: ...
        def write(self, lines: Any) -> None:
            written.extend(lines)

        def flush(self) -> None: ...
        def close(self) -> None: ...

    class Reader:
        def __init__(self, settings: Any, topic: str, marks: Any) -> None:
            assert topic == topics.NOTICES.name

        def __iter__(self) -> Iterator[tuple[int, Record]]:
            return iter([(0, record(0)), (0, record(1, "no one"))])

        more = False

        def save(self) -> None: ...

    monkeypatch.setattr(auction_mailer, "LiveWriter", Writer)
    monkeypatch.setattr(auction_mailer, "OutsideReader", Reader)
    assert auction_mailer.run([f"--outbox={tmp_path}/outbox"]) == 0
    assert counts_of(tmp_path / "outbox") == {("LOST", "REFUSED"): 1, ("LOST", "SENT"): 1}
    ((topic, _, key, value),) = written
    assert (topic, key, REGISTRY.decode(value).code) == ("rails.deadletters", b"no one", "NO_ADDRESS")


def test_what_is_no_notice_is_passed_over() -> None:
    tick = Record(0, 1, None, REGISTRY.encode(Tick(1)), None, ())
    assert deliver(Mailing(), tick, 0) is None  # type: ignore[arg-type]
    assert describe({}) == "mails: none"
