"""Mails a second of the mailer, over SMTP to a server on loopback (aiosmtpd, a process of its own), and what a record in the outbox costs.

    python -m bench.mails --mails 300 --runs 5 --folder /var/tmp      # a folder on the disk that the outbox would have

prints one line of JSON, medians of runs that take turns: mails a second with the outbox and with none; of the live loop, mails and stale
notices a second, with its place saved behind each and behind each hundred; and the records a second that the disk takes alone. An outbox
is as slow as its disk's fsync, so a figure is of that disk. The connection is plain; the reader is a list, without a broker.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from auctions.mailer import Delivery, Mailer, Outbox
from auctions.mails import Letterhead, parse_address
from auctions.notices import notice_id
from auctions.smtp import SmtpSender, SmtpSettings
from pipelines.auction_mailer import follow
from pipelines.registry import REGISTRY
from schemas.auctions import Notice
from schemas.payments import Money
from schemas.rails import Record
from transforms.outside_reader import FileMarks

START_MS = 1_767_225_600_000
LETTERHEAD = Letterhead("auctions@example.org")
ADDRESS = parse_address("anna@example.net", "Anna")

_SERVER = """
import sys, time
from aiosmtpd.controller import Controller

class Taking:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"

server = Controller(Taking(), hostname="127.0.0.1", port=int(sys.argv[1]))
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
"""


def notice(number: int) -> Notice:
    cause = f"auction.bids.history/0/{number}"
    told = (notice_id(cause, "OUTBID", "anna"), "anna", "OUTBID", "x", "A watch", Money(1_000, "EUR"), False)
    return Notice(*told, START_MS + 3_600_000, cause, START_MS + number)  # type: ignore[arg-type]


class NoOutbox(Outbox):
    """Remembers nothing."""

    def record(self, notice: Notice, delivery: Delivery) -> None:
        pass


@contextmanager
def mail_server(port: int) -> Iterator[None]:
    """Takes all mails until the block ends."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        yield
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)


def rate(count: int, one: Callable[[int], object]) -> float:
    began = time.perf_counter()
    for number in range(count):
        one(number)
    return round(count / (time.perf_counter() - began), 1)


def mails(count: int, port: int, outbox: Outbox) -> float:
    with closing(outbox), closing(SmtpSender(SmtpSettings("127.0.0.1", port, "none"))) as sender:
        mailer = Mailer(lambda _: ADDRESS, sender, outbox, LETTERHEAD)
        mailer.deliver(notice(count))  # connects
        return rate(count, lambda number: mailer.deliver(notice(number)))


class Notices:
    """A reader of so many notices, that come in batches; its place is as long as that behind 16 partitions of as many writers."""

    def __init__(self, count: int, batch: int, marks: FileMarks) -> None:
        self.more, self._count, self._batch, self._marks = False, count, batch, marks

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        for number in range(self._count):
            self.more = bool((number + 1) % self._batch) and number + 1 < self._count
            yield 0, Record(number, START_MS, b"anna", REGISTRY.encode(notice(number)), None, ())

    def save(self) -> None:
        seen = [["auction.notices", "auction.bids.history", number, [1_000, 2]] for number in range(16)]
        places = [{"partition": number, "offset": 1_000, "began": 0, "filter": seen} for number in range(16)]
        self._marks.save(json.dumps({"topic": "auction.notices", "id": "x", "places": places}).encode())


def live(count: int, batch: int, port: int, folder: Path, now_ms: int = START_MS) -> float:
    with (
        closing(Outbox(folder / "outbox.sqlite")) as outbox,
        closing(SmtpSender(SmtpSettings("127.0.0.1", port, "none"))) as sender,
    ):
        mailer = Mailer(lambda _: ADDRESS, sender, outbox, LETTERHEAD)
        mailer.deliver(notice(count))
        reader = Notices(count, batch, FileMarks(folder / "marks"))
        began = time.perf_counter()
        follow(reader, mailer, lambda *_: None, now=lambda: now_ms / 1000)
        return round(count / (time.perf_counter() - began), 1)


def records(count: int, port: int, folder: Path) -> float:
    with closing(Outbox(folder / "outbox.sqlite")) as outbox:
        return rate(count, lambda number: outbox.record(notice(number), Delivery("SENT")))


STALE_MS = START_MS + 7_200_000
WORK: dict[str, Callable[[int, int, Path], float]] = {
    "without_outbox": lambda n, port, folder: mails(n, port, NoOutbox(folder / "outbox.sqlite")),
    "with_outbox": lambda n, port, folder: mails(n, port, Outbox(folder / "outbox.sqlite")),
    "live_saved_each": lambda n, port, folder: live(n, 1, port, folder),
    "live_saved_by_100": lambda n, port, folder: live(n, 100, port, folder),
    "stale_saved_each": lambda n, port, folder: live(n, 1, port, folder, STALE_MS),
    "stale_saved_by_100": lambda n, port, folder: live(n, 100, port, folder, STALE_MS),
    "records_alone": records,
}


def run(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", type=int, default=28_025)
    parser.add_argument("--folder", default=None, help="where the outbox lies; the folder for temporary files by default")
    said = parser.parse_args(argv)
    found: dict[str, list[float]] = {}
    for _ in range(said.runs):
        with mail_server(said.port):
            for name, measure in WORK.items():
                with tempfile.TemporaryDirectory(dir=said.folder) as place:
                    found.setdefault(name, []).append(measure(said.mails, said.port, Path(place)))
    print(json.dumps({"mails": said.mails, "runs": said.runs, **{name: median(each) for name, each in found.items()}}))


if __name__ == "__main__":
    run(sys.argv[1:])
