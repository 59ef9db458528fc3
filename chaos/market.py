"""The load of a chaos run with auctions: one listed every two seconds, every second with money behind bids, and bids on all that are open.

Whoever bids sends again what was not acknowledged, as a client would: the ids are the same.
"""

import threading
import time
from pathlib import Path
from random import Random
from typing import Any

from auctions import topics
from auctions.intake import client_key as auction_key
from chaos.canaries import SECRET
from chaos.reading import read_all
from payments.intake import client_key as payment_key
from pipelines import auction_mailer, auctions_live, auctions_verify
from pipelines.auctions import entry
from pipelines.common import parse_options
from pipelines.live_writer import Line, LiveWriter, WriteFailed
from pipelines.registry import REGISTRY
from schemas.auctions import AuctionOutcome, BidPlaced, ItemListed
from schemas.payments import AccountOpened, Money, PaymentInitiated
from schemas.rails import Record
from stack.services import wait_until
from transforms.errors import BadRecord
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics

REPLAYED = ("Items", "Bids", "House", "Funds", "Notices", "Sales", "Prices")
STAGES = ("Admission", "Accounts", "Watchdog", *REPLAYED)
BACKING_KEY = f"--backing_key=env:{SECRET}"
RULES = ("--soon_ms=4000", BACKING_KEY)
FLAGS = (*RULES, f"--only={','.join(STAGES)}")

PEOPLE, MONEY = 24, 10_000_000
EVERY_S, LEAD_MS, LASTS_MS = 2.0, 4_000, 20_000
BIDS_S = 0.1  # between two bids
_OVER_S, _REST_S = 180.0, 8.0


def line(event: Any) -> Line:
    """The record of a client's event that has a key."""
    key, value = (auction_key(event) or payment_key(event) or "").encode(), REGISTRY.encode(event)
    ((topic, partition),) = entry(Record(0, 0, key, value, None, ()))
    return topic, partition, key, value


class Market:
    """Lists and bids from `start` to `finish`."""

    def __init__(self, settings: KafkaSettings, seed: int) -> None:
        self.bids = self._tried = 0
        self._settings, self._random = settings, Random(seed)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="market", daemon=True)
        self._ends: dict[str, tuple[int, int]] = {}
        self._writer = LiveWriter(settings, linger_ms=2)

    @property
    def auctions(self) -> int:
        """How many were listed in time."""
        return len(self._ends)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> str:
        """Lists no more, and waits until every auction is over; why not, or nothing."""
        self.close()
        left = set(self._ends)

        def is_over() -> bool:
            left.difference_update(self._over())
            return not left

        if not wait_until(is_over, _OVER_S, 1.0):
            return f"{len(left)} of {self.auctions} auctions not over after {_OVER_S:g} s: {', '.join(sorted(left)[:5])}"
        return ""

    def close(self) -> None:
        """Stops at once, whatever was reached."""
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        now = int(time.time() * 1000)
        for number in range(PEOPLE):
            person = f"person-{number}"
            self._send(AccountOpened(f"o-{person}", person, 0, "EUR", 0, None, False, now))
            money = Money(MONEY, "EUR")
            paid = PaymentInitiated(f"d-{person}", "DEPOSIT", None, person, money, None, None, None, None, "bank", now)
            self._send(paid)
        listed = 0.0
        while not self._halt.wait(BIDS_S):
            if time.monotonic() > listed + EVERY_S:
                listed = time.monotonic()
                self._list()
            self._bid()

    def _list(self) -> None:
        name, backed, now = f"x{self._tried}", self._tried % 2 == 0, int(time.time() * 1000)
        self._tried += 1
        starts, ends = now + LEAD_MS, now + LEAD_MS + LASTS_MS
        described = (name, name, f"person-{self._random.randrange(4)}", "A thing", "", "things", ("old",), "EUR", 100)
        self._send(ItemListed(*described, None, None, None, starts, ends, None, None, backed))
        # One that reached the broker after its end is refused: a fault may take longer than an auction.
        if time.time() * 1000 < ends:
            self._ends[name] = starts, ends

    def _bid(self) -> None:
        now = int(time.time() * 1000)
        open_now = [name for name, (starts, ends) in self._ends.items() if starts - 500 < now < ends + 500]
        if not open_now:
            return
        name, bidder = self._random.choice(open_now), f"person-{self._random.randrange(4, PEOPLE)}"
        self.bids += 1
        amount = Money(100 + 7 * self._random.randrange(1 + self.bids % 997), "EUR")
        self._send(BidPlaced(f"b{self.bids}", name, bidder, None, amount, None, None, now))

    def _send(self, event: Any) -> None:
        """Until it is acknowledged, or the market is closed."""
        while not self._halt.is_set():
            try:
                self._writer.write([line(event)])
                self._writer.flush()
                return
            except WriteFailed:
                self._halt.wait(0.5)

    def _over(self) -> set[str]:
        found = set()
        for record in read_all(self._settings, topics.OUTCOMES.name, topics.OUTCOMES.partitions):
            try:
                event = REGISTRY.decode(record.value or b"")
            except BadRecord:
                continue
            if type(event) is AuctionOutcome:
                found.add(event.auction_id)
        return found


def rest(settings: KafkaSettings, quiet_s: float = _REST_S, patience_s: float = _OVER_S) -> bool:
    """Waits until nothing has been appended to the topics of auctions and payments for `quiet_s`; there must be no ticks any more."""
    kafka, last, since = KafkaTopics(settings), -1, time.monotonic()
    end = since + patience_s
    try:
        while time.monotonic() < min(since + quiet_s, end):
            now = sum(high for topic in auctions_verify.ALL for _, high in kafka.watermarks(topic.name))
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(1)
        return time.monotonic() < end
    finally:
        kafka.close()


def judge(settings: KafkaSettings, folder: Path) -> list[str]:
    """Every checker of auctions over the topics; the stages folded again byte for byte; and the mails, each with an id of its own."""
    found = auctions_verify.verify_topics(
        parse_options(["--from_topics", BACKING_KEY], auctions_verify.VerifyOptions), settings, folder
    )
    kept = f"--input={folder / 'topics'}"
    if auctions_live.run([kept, *RULES, f"--only={','.join(REPLAYED)}"]):
        found.append("a replay of auctions differs: see above")
    outbox = folder / "outbox"
    for again in range(2):
        if auction_mailer.run([kept, f"--outbox={outbox}"]):
            found.append("mails were not sent")
        sent = sum(count for (_, state), count in auction_mailer.counts_of(outbox).items() if state == "SENT")
        mails = len(list(outbox.rglob("*.eml")))
        if sent != mails or not mails:
            found.append(f"{sent} mails are on record, {mails} in the outbox, the {again + 1}. time")
    return found
