"""Auctions live between real topics of Kafka: bids with money behind them, closes by the ticker, replays byte for byte, mails."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from auctions import topics
from auctions.intake import client_topic
from payments import topics as payment_topics
from pipelines import auction_mailer, auctions_live, auctions_verify
from pipelines.auction_stages import TICKED as OF_AUCTIONS
from pipelines.live_writer import LiveWriter
from pipelines.payments_ticker import TICKED, run_ticker
from pipelines.registry import REGISTRY
from pipelines.topics import PLATFORM, make_topics
from schemas.auctions import AuctionOutcome, BidPlaced, ItemListed
from schemas.payments import AccountOpened, Money, PaymentInitiated
from stack.kafka import Broker
from stack.services import wait_until
from tests.pipelines.auction_runs import events
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import KafkaTopics

PEOPLE = ("anna", "bert", "carl", "sally")
AUCTIONS, LASTS_MS = 6, 12_000
STAGES = ("Admission", "Accounts", "Items", "Bids", "House", "Funds", "Notices")


def lines(event: Any, key: str) -> tuple[str, int, bytes, bytes]:
    kind = payment_topics.INCOMING if isinstance(event, PaymentInitiated) else payment_topics.INFLIGHT
    topic = client_topic(event) or kind
    return topic.name, topic.partition_of(key.encode()), key.encode(), REGISTRY.encode(event)


def test_bids_are_decided_backed_and_settled(broker: Broker, tmp_path: Path) -> None:
    settings = kafka_settings(broker.bootstrap, environment={})
    assert make_topics(settings, table=PLATFORM)[1] == []
    stop = threading.Event()
    ticker = threading.Thread(target=run_ticker, args=(settings, 0.5, stop, print, (*TICKED, *OF_AUCTIONS)))
    log = (tmp_path / "job.log").open("wb")
    command = [
        sys.executable,
        "-m",
        "pipelines.auctions_live",
        "--runner=DirectRunner",
        "--streaming",
        "--soon_ms=4000",
    ]
    flags = ["--soon_ms=4000", f"--bootstrap={broker.bootstrap}", f"--snapshots={tmp_path}/snapshots", "--no_metrics"]
    job = subprocess.Popen([*command, *flags], stdout=log, stderr=log)
    writer = LiveWriter(settings)
    try:
        ticker.start()
        now = int(time.time() * 1000)
        for person in PEOPLE:
            writer.write([lines(AccountOpened(f"o-{person}", person, 0, "EUR", 0, None, False, now), person)])
        writer.flush()
        for person in PEOPLE[:3]:
            paid = PaymentInitiated(
                f"d-{person}", "DEPOSIT", None, person, Money(50_000, "EUR"), *[None] * 4, "bank", now
            )
            writer.write([lines(paid, paid.payment_id)])
        starts, ends = now + 25_000, now + 25_000 + LASTS_MS
        for number in range(AUCTIONS):
            name = f"x{number}"
            item = (
                name,
                name,
                "sally",
                "A thing",
                "",
                "things",
                ("old",),
                "EUR",
                100,
                *[None] * 3,
                starts,
                ends,
                None,
                None,
            )
            writer.write([lines(ItemListed(*item, number % 2 == 0), name)])
        writer.flush()
        assert wait_until(lambda: time.time() * 1000 > starts + 1_500, 60)
        for number in range(AUCTIONS * 9):
            name, bidder = f"x{number % AUCTIONS}", PEOPLE[number // AUCTIONS % 3]
            bid = BidPlaced(f"b{number}", name, bidder, None, Money(200 + 90 * number, "EUR"), None, None, now)
            writer.write([lines(bid, name)])
            time.sleep(0.05)
        writer.flush()
        assert wait_until(lambda: done(settings) or job.poll() is not None, 120) and job.poll() is None, tail(tmp_path)
        stop.set()
        ticker.join()
        at_rest(settings)
    finally:
        stop.set()
        ticker.join()
        writer.close()
        job.terminate()
        job.wait(20)
        log.close()
    place = f"--bootstrap={broker.bootstrap}"
    assert auctions_verify.run([place, "--from_topics", f"--output={tmp_path}/kept"]) == 0
    outcomes = events(tmp_path / "kept", topics.OUTCOMES.name, AuctionOutcome)
    assert len(outcomes) == AUCTIONS and {end.outcome for end in outcomes} == {"SOLD"}
    # With money behind them bids are decided in the order of the answers, and may be too low by then.
    assert {end.bids for end in outcomes if int(end.auction_id[1:]) % 2} == {9} and min(
        end.bids for end in outcomes
    ) > 1
    only = ",".join(STAGES[2:])
    assert auctions_live.run([f"--input={tmp_path}/kept/topics", "--soon_ms=4000", f"--only={only}"]) == 0
    assert auction_mailer.run([f"--input={tmp_path}/kept/topics", f"--outbox={tmp_path}/outbox"]) == 0
    counts = auction_mailer.counts_of(tmp_path / "outbox")
    assert counts["SOLD", "SENT"] == counts["PURCHASED", "SENT"] == AUCTIONS


def done(settings: Any) -> bool:
    """All auctions are over: each has an outcome, and EndingSoon before it."""
    kafka = KafkaTopics(settings)
    try:
        return sum(high for _, high in kafka.watermarks(topics.OUTCOMES.name)) >= 2 * AUCTIONS
    finally:
        kafka.close()


def at_rest(settings: Any, seconds: float = 20) -> None:
    """Waits until nothing has been appended for so long."""
    kafka, last, since = KafkaTopics(settings), -1, time.monotonic()
    try:
        while time.monotonic() < since + seconds:
            now = sum(high for topic in PLATFORM for _, high in kafka.watermarks(topic.name))
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(1)
    finally:
        kafka.close()


def tail(folder: Path) -> str:
    return (folder / "job.log").read_text(encoding="utf-8", errors="replace")[-3_000:]
