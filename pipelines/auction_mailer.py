"""Mailer: notices become mails, once each, over SMTP or as files in an outbox folder; what is refused is remembered.

Over recorded topics with --input: auction.notices → mails → <outbox>/outbox.sqlite and mails/. Live without it: a plain
reader of the topic with saved marks, no Beam. Flags and failures: docs/pipelines/auction_mailer.md.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.headerregistry import Address
from pathlib import Path
from typing import Protocol

import apache_beam as beam

from auctions import topics
from auctions.mailer import MailDelayed, Mailer, MailFolder, Outbox, Sender, bury, read_addresses
from auctions.mails import Letterhead, parse_address
from auctions.smtp import SmtpSender, SmtpSettings
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_apart, check_inputs, check_output_dir, check_topics
from pipelines.live_options import BrokerOptions, broker_settings
from pipelines.live_writer import LiveWriter
from pipelines.registry import REGISTRY
from schemas.auctions import Notice
from schemas.rails import DeadLetter, Record
from transforms.chunks import Chunk, together, unpack_chunk
from transforms.fold import DEAD_LETTERS
from transforms.outside_reader import FileMarks, OutsideReader
from transforms.topic_files import ReadTopic

WAIT_S = 5.0  # before what was delayed is tried again, live


@dataclass(frozen=True)
class Post:
    """How mails are sent: to whom, from whom, by which way. The password is read where it is used, from a variable of the environment."""

    outbox: str
    addresses: str = ""  # CSV of person, address, name; "": person@domain
    domain: str = "example.org"
    sender: str = "auctions@example.org"
    site: str = "https://auctions.example.org/"
    host: str = ""  # "": files
    port: int = 25
    security: str = "starttls"
    user: str = ""
    ca_file: str = ""

    def mailer(self, stack: ExitStack) -> Mailer:
        """A mailer whose outbox and connection are closed with the stack. ValueError and InputError say what is wrong."""
        folder = Path(self.outbox)
        folder.mkdir(parents=True, exist_ok=True)
        outbox = stack.enter_context(closing(Outbox(folder / "outbox.sqlite")))
        sender: Sender = MailFolder(folder / "mails")
        if self.host:
            sender = stack.enter_context(closing(SmtpSender(self.smtp())))
        people = read_addresses(Path(self.addresses)) if self.addresses else self._by_name
        return Mailer(people, sender, outbox, Letterhead(self.sender, self.site))

    def smtp(self) -> SmtpSettings:
        password = os.environ.get("SMTP_PASSWORD", "") if self.user else ""
        ca_file = Path(self.ca_file) if self.ca_file else None
        return SmtpSettings(self.host, self.port, self.security, self.user, password, ca_file)  # type: ignore[arg-type]

    def _by_name(self, person: str) -> Address | None:
        try:
            return parse_address(f"{person}@{self.domain}", person)
        except ValueError:
            return None


class MailerOptions(BrokerOptions):
    """Notices to mails: of recorded topics with --input, live without it."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", default="", help="folder with recorded topics; without it the mailer is live")
        parser.add_argument("--outbox", required=True, help="folder that remembers what was sent, and holds mail files")
        cls.add_broker(parser)
        cls.add_post(parser)

    @staticmethod
    def add_post(parser: argparse.ArgumentParser) -> None:
        """The flags of `Post` but the outbox."""
        default = Post("")
        parser.add_argument("--addresses", default="", help="CSV of person, address, name; else PERSON@--mail_domain")
        parser.add_argument("--mail_domain", default=default.domain, help="of people's addresses without --addresses")
        parser.add_argument("--mail_from", default=default.sender, help="the mails' sender")
        parser.add_argument("--site", default=default.site, help="what links in mails begin with")
        parser.add_argument("--smtp_host", default="", help="a mail server; without it mails are files in the outbox")
        parser.add_argument("--smtp_port", type=int, default=default.port, help="its port")
        parser.add_argument(
            "--smtp_security", choices=("none", "starttls", "tls"), default=default.security, help="of the connection"
        )
        parser.add_argument("--smtp_user", default="", help="login; its password is read from SMTP_PASSWORD")
        parser.add_argument("--smtp_ca", default="", help="file of certificates to trust instead of the machine's")


def post_of(options: JobOptions, outbox: str | Path) -> Post:
    """UsageError for flags that cannot be."""
    if options.addresses:
        check_inputs(options.addresses, "--addresses")
    elif options.smtp_host:
        raise UsageError("mails that are really sent need --addresses")
    post = Post(
        str(outbox),
        options.addresses,
        options.mail_domain,
        options.mail_from,
        options.site,
        options.smtp_host,
        options.smtp_port,
        options.smtp_security,
        options.smtp_user,
        options.smtp_ca,
    )
    try:
        Letterhead(post.sender, post.site)
        parse_address(f"person@{post.domain}")
        if post.host:
            post.smtp()
    except ValueError as error:
        raise UsageError(str(error)) from error
    return post


# --- over recorded topics ---


def build_pipeline(p: beam.Pipeline, folder: str | Path, post: Post) -> beam.PCollection:
    """Mails of all notices, in the order of their topic; gives (notices, mails refused). What became of each is in the outbox."""
    return (
        p
        | "Read" >> ReadTopic(folder, topics.NOTICES.name)
        | "Together" >> beam.Map(together).with_output_types(tuple[int, Chunk])
        | "Group" >> beam.GroupByKey()
        | "Deliver" >> beam.Map(deliver_all, post).with_output_types(tuple[int, int])
    )


def deliver_all(group: tuple[int, Iterable[Chunk]], post: Post) -> tuple[int, int]:
    """Delivers every notice, on one worker. What the outbox holds, of an attempt that failed or an earlier run, is not sent again."""
    notices = refused = 0
    with ExitStack() as stack:
        mailer = post.mailer(stack)
        for chunk in sorted(group[1], key=lambda chunk: (chunk.partition, chunk.offset)):
            for record in unpack_chunk(chunk):
                notices += 1
                refused += deliver(mailer, record, chunk.partition) is not None
    return notices, refused


def deliver(mailer: Mailer, record: Record, partition: int, now: int | None = None) -> DeadLetter | None:
    """Delivers a notice; the dead letter of one that was refused."""
    notice = REGISTRY.decode(record.value or b"")
    if not isinstance(notice, Notice):  # nothing else is written there but ticks and versions
        return None
    delivery = mailer.deliver(notice, now)
    return bury(record, topics.NOTICES.name, partition, delivery) if delivery.status == "REFUSED" else None


def counts_of(outbox: str | Path) -> dict[tuple[str, str], int]:
    """(kind, status) → mails of an outbox."""
    with closing(Outbox(Path(outbox) / "outbox.sqlite")) as box:
        return box.counts()


def describe(counts: dict[tuple[str, str], int]) -> str:
    """What became of the notices, in words."""
    parts = [f"{kind.lower().replace('_', ' ')} {n:,}" for (kind, status), n in counts.items() if status == "SENT"]
    others = [f"{status.lower()} {n:,}" for (_, status), n in counts.items() if status != "SENT"]
    return f"mails: {', '.join(parts) or 'none'}" + (f"; not sent: {', '.join(others)}" if others else "")


# --- live ---


class Reader(Protocol):
    """What `follow` needs of an `OutsideReader`."""

    @property
    def more(self) -> bool: ...

    def __iter__(self) -> Iterator[tuple[int, Record]]: ...

    def save(self) -> None: ...


def follow(
    reader: Reader,
    mailer: Mailer,
    bury_it: Callable[[Record, DeadLetter], None],
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> None:
    """Delivers what the reader gives; what is delayed is tried until it is done, and nothing overtakes it.

    The reader's place is saved when all that came together is done. Notices that are given again after a death are in the outbox, or
    were not sent.
    """
    for partition, record in reader:
        while True:
            try:
                letter = deliver(mailer, record, partition, int(now() * 1000))
                break
            except MailDelayed as error:
                print(f"auction_mailer: delayed: {error}", file=sys.stderr, flush=True)
                sleep(WAIT_S)
        if letter is not None:
            bury_it(record, letter)
        if not reader.more:
            mailer.flush()
            reader.save()


def _live(options: MailerOptions, post: Post) -> None:
    settings = broker_settings(options)
    with ExitStack() as stack:
        mailer = post.mailer(stack)
        writer = stack.enter_context(closing(LiveWriter(settings)))
        reader = OutsideReader(settings, topics.NOTICES.name, FileMarks(Path(post.outbox) / "marks"))

        def bury_it(record: Record, letter: DeadLetter) -> None:
            place = DEAD_LETTERS.partition_of(record.key)
            writer.write([(DEAD_LETTERS.name, place, record.key, REGISTRY.encode(letter))])
            writer.flush()

        follow(reader, mailer, bury_it)


def run(argv: list[str]) -> int:
    options = parse_options(argv, MailerOptions)
    post = post_of(options, options.outbox)
    check_output_dir(options.outbox)
    if not options.input:
        _live(options, post)
        return 0
    check_topics(options.input, [topics.NOTICES.name])
    check_apart([options.outbox], [options.input])
    run_job(options, lambda p: build_pipeline(p, options.input, post))
    print(describe(counts_of(options.outbox)))
    return 0


if __name__ == "__main__":
    main(run)
