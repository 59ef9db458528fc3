"""Auctions live between real topics of Kafka, in a process and on a cluster: money behind bids, closes by the ticker, replays, mails."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from auctions import topics
from auctions.analytics_topics import TRACES
from auctions.price_ranges import similarity_keys
from chaos.market import REPLAYED, line, rest
from chaos.reading import read_all
from pipelines import auction_admin, auction_mailer, auctions_live, auctions_verify
from pipelines.auction_jobs import NAMES
from pipelines.auction_stages import TICKED as OF_AUCTIONS
from pipelines.live_job import Launching, LiveJob
from pipelines.live_writer import LiveWriter
from pipelines.payments_ticker import TICKED, run_ticker
from pipelines.registry import REGISTRY
from pipelines.topics import PLATFORM
from schemas.auctions import (
    AuctionOutcome,
    BidderTrace,
    BidPlaced,
    ItemCancelled,
    ItemListed,
    RangeServed,
    TriedLevel,
)
from schemas.payments import AccountOpened, Money, PaymentInitiated
from stack.cluster import Stack
from stack.kafka import Broker
from stack.services import wait_until
from tests.pipelines.auction_runs import events
from tests.stack.conftest import Engines
from tests.stack.live_system import make_anew
from transforms.fold import Topic
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.kafka_topics import KafkaTopics

PEOPLE = ("anna", "bert", "carl", "sally")
AUCTIONS, ROUNDS, LASTS_MS = 10, 6, 12_000  # as many sales as a price range needs; bids in each
TAGS = ("old",)
QUIET_S, HOUR_MS = 20, 3_600_000
ALIKE = "alike"  # listed when the others are sold
BIDDING = ("Items", "Bids", "House", "Funds", "Notices")
STAGES = ("Admission", "Accounts", *BIDDING)
DOWN_S = float(os.environ.get("BEAM_ON_RAILS_DOWN_S", "3"))  # how long after the last end nothing is validated
RULES = ("--soon_ms=4000", "--answer_ms=600000")  # on a busy machine the money's answer may take a minute
FLAGS = (*RULES, "--no_metrics")

Check = Callable[[], None]  # raises when the job has ended


def until(holds: Callable[[], bool], check: Check, seconds: float) -> None:
    """Waits until it holds, as long as the job runs."""

    def looked() -> bool:
        check()
        return holds()

    assert wait_until(looked, seconds)


@contextmanager
def launched(
    stack: Stack | None, bootstrap: str, folder: Path, *only: str, engine: str = "FlinkRunner"
) -> Iterator[Check]:
    """A job of these stages, of all if none is named: on the cluster, or on another engine in a process of its own."""
    flags = [*FLAGS, f"--snapshots={folder}/snapshots", "--snapshot_s=2", f"--only={','.join(only)}"]
    job = LiveJob(stack, Launching(bootstrap, engine=engine), "pipelines.auctions_live", *flags)
    try:
        if stack:
            until(lambda: (job.found() or {}).get("state") == "RUNNING", job.check, 60)
        yield job.check
    finally:
        job.close()


@pytest.fixture
def settings(stack: Stack) -> KafkaSettings:
    """Of the cluster's broker, all topics made anew."""
    found = kafka_settings(stack.bootstrap, environment={})
    make_anew(found, PLATFORM)
    return found


@contextmanager
def ticking(settings: KafkaSettings) -> Iterator[None]:
    """Ticks on all topics that need them, for the length of a `with`."""
    stop = threading.Event()
    ticker = threading.Thread(target=run_ticker, args=(settings, 0.5, stop, print, (*TICKED, *OF_AUCTIONS)))
    ticker.start()
    try:
        yield
    finally:
        stop.set()
        ticker.join()


def thing(name: str, starts: int, ends: int, backed: bool) -> ItemListed:
    nothing: list[Any] = [None] * 3
    return ItemListed(name, name, "sally", "A thing", "", "things", TAGS, "EUR", 100, *nothing, starts, ends, None, None, backed)


def sell(settings: KafkaSettings, check: Check, before: Check = lambda: None, among: Check = lambda: None) -> int:
    """Opens accounts with money, lists the items, and bids when they are open; when the last of them ends (ms).

    `before` is called before the first bid, `among` in their middle."""
    writer = LiveWriter(settings)
    try:
        now = int(time.time() * 1000)
        for person in PEOPLE:
            writer.write([line(AccountOpened(f"o-{person}", person, 0, "EUR", 0, None, False, now))])
        writer.flush()
        for person in PEOPLE[:3]:
            money = Money(50_000, "EUR")
            paid = PaymentInitiated(f"d-{person}", "DEPOSIT", None, person, money, *[None] * 4, "bank", now)
            writer.write([line(paid)])
        starts, ends = now + 25_000, now + 25_000 + LASTS_MS
        for number in range(AUCTIONS):
            writer.write([line(thing(f"x{number}", starts, ends, number % 2 == 0))])
        writer.flush()
        until(lambda: time.time() * 1000 > starts + 1_500, check, 60)
        before()
        for number in range(AUCTIONS * ROUNDS):
            if number == AUCTIONS * ROUNDS // 2:
                among()
            name, bidder = f"x{number % AUCTIONS}", PEOPLE[number // AUCTIONS % 3]
            bid = BidPlaced(f"b{number}", name, bidder, None, Money(200 + 90 * number, "EUR"), None, None, now)
            writer.write([line(bid)])
            time.sleep(0.05)
        writer.flush()
        return ends
    finally:
        writer.close()


def settle(settings: KafkaSettings, check: Check) -> None:
    """Returns when all auctions are over."""
    until(lambda: told(settings) >= 2 * AUCTIONS, check, 240)


def upserts(settings: KafkaSettings, topic: Topic, key: str) -> list[Any]:
    """All that stands under this key of an upsert topic."""
    records = read_all(settings, topic.name, topic.partitions)
    return [REGISTRY.decode(record.value or b"") for record in records if record.key == key.encode()]


def ask(settings: KafkaSettings, check: Check) -> None:
    """Lists an item like those that were sold, and returns when its bidders see what they were sold for; takes it back then."""
    (_, key), *_ = similarity_keys("things", TAGS, "EUR")
    until(lambda: any(found.n == AUCTIONS for found in upserts(settings, topics.PRICES, key)), check, 60)
    writer, starts = LiveWriter(settings), int(time.time() * 1000) + HOUR_MS
    try:
        writer.write([line(thing(ALIKE, starts, starts + HOUR_MS, False))])
        writer.flush()
        until(lambda: bool(upserts(settings, topics.RANGES, ALIKE)), check, 60)
        writer.write([line(ItemCancelled(ALIKE, "seen enough"))])
        writer.flush()
    finally:
        writer.close()


def judge_range(folder: Path) -> None:
    """The item that was listed last was answered once, by the sales of all the others at the narrowest key; that is what bidders see."""
    sold = [end.price.minor for end in set(events(folder / "kept", topics.OUTCOMES.name, AuctionOutcome)) if end.price]
    (answer,) = {
        event for event in events(folder / "kept", topics.LOG.name, RangeServed) if event.auction_id == ALIKE
    }
    assert answer.range is not None and answer.tried == (TriedLevel("TAGS", AUCTIONS),)
    assert min(sold) * 0.98 <= answer.range.p10 <= answer.range.p50 <= answer.range.p90 <= max(sold) * 1.02
    assert answer in events(folder / "kept", topics.RANGES.name, RangeServed)


def judge(bootstrap: str, folder: Path, stages: Sequence[str] = REPLAYED) -> None:
    """Every invariant over the topics; all bids were received before the end, so all were decided by what they offer; replays are exact."""
    assert auctions_verify.run([f"--bootstrap={bootstrap}", "--from_topics", f"--output={folder}/kept"]) == 0
    outcomes = events(folder / "kept", topics.OUTCOMES.name, AuctionOutcome)
    # A job that was killed may have written one twice.
    outcomes = [end for end in set(outcomes) if end.auction_id != ALIKE]
    assert len({end.auction_id for end in outcomes}) == len(outcomes) == AUCTIONS
    assert {end.outcome for end in outcomes} == {"SOLD"}
    # With money behind them bids are decided in the order of the answers, and may be too low by then.
    assert {end.bids for end in outcomes if int(end.auction_id[1:]) % 2} == {ROUNDS}
    assert min(end.bids for end in outcomes) > 1
    assert auctions_live.run([f"--input={folder}/kept/topics", *RULES, f"--only={','.join(stages)}"]) == 0
    assert auction_mailer.run([f"--input={folder}/kept/topics", f"--outbox={folder}/outbox"]) == 0
    counts = auction_mailer.counts_of(folder / "outbox")
    assert counts["SOLD", "SENT"] == counts["PURCHASED", "SENT"] == AUCTIONS


@pytest.mark.parametrize("engine", ["DirectRunner", "PrismRunner"])
def test_bids_are_decided_backed_and_settled(
    engine: str, engines: Engines, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process stages take turns: those alone that are needed."""
    engines(engine)
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(tmp_path))
    found = kafka_settings(broker.bootstrap, environment={})
    make_anew(found, PLATFORM)
    with launched(None, broker.bootstrap, tmp_path, *STAGES, engine=engine) as check:
        with ticking(found):
            sell(found, check)
            settle(found, check)
        assert rest(found, QUIET_S)
    judge(broker.bootstrap, tmp_path, BIDDING)


def test_on_flink_the_workers_killed_among_the_bids(stack: Stack, settings: KafkaSettings, tmp_path: Path) -> None:
    killed = []

    def kill() -> None:
        killed.extend(stack.worker_pool().workers())
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    with launched(stack, stack.bootstrap, tmp_path) as check:
        with ticking(settings):
            sell(settings, check, among=kill)
            settle(settings, check)
            ask(settings, check)
        assert rest(settings, QUIET_S)
    assert killed
    judge(stack.bootstrap, tmp_path)
    judge_range(tmp_path)


def test_nothing_validated_around_the_close(stack: Stack, settings: KafkaSettings, tmp_path: Path) -> None:
    """Every bid received before the end counts, however late it is validated: the job that does it ends before the first
    bid, and comes back when all auctions should be over."""
    others = [name for name in NAMES if name != "Bids"]
    with launched(stack, stack.bootstrap, tmp_path, *others) as check, ExitStack() as later:
        with ticking(settings):
            validation = ExitStack()
            validation.enter_context(launched(stack, stack.bootstrap, tmp_path, "Bids"))
            ends = sell(settings, check, before=validation.close)
            until(lambda: time.time() * 1000 > ends + DOWN_S * 1000, check, 60 + DOWN_S)
            assert told(settings) == 0, "no auction is over before its bids are validated"
            later.enter_context(launched(stack, stack.bootstrap, tmp_path, "Bids"))
            settle(settings, check)
        assert rest(settings, QUIET_S)
    judge(stack.bootstrap, tmp_path)


def told(settings: KafkaSettings) -> int:
    """Records of auction.outcomes: of each auction EndingSoon, and how it ended; more where a job was killed."""
    kafka = KafkaTopics(settings)
    try:
        return sum(high for _, high in kafka.watermarks(topics.OUTCOMES.name))
    finally:
        kafka.close()


def test_a_threshold_changes_the_running_job(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built in are four auctions; from the rule on two are enough, and the version of the rule stands on the alert."""
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(tmp_path))
    found = kafka_settings(broker.bootstrap, environment={})
    make_anew(found, PLATFORM)
    writer = LiveWriter(found)

    def snipe(bidder: str) -> None:
        key = bidder.encode()
        for n in range(3):
            trace = BidderTrace(bidder, f"x{n}", f"s{n}", True, 1, False, 1, 0, 0, ())
            writer.write([(TRACES.name, TRACES.partition_of(key), key, REGISTRY.encode(trace))])
        writer.flush()

    def alerts() -> list[tuple[str, int]]:
        read = read_all(found, topics.ALERTS.name, topics.ALERTS.partitions)
        made = [REGISTRY.decode(record.value or b"") for record in read]
        return [(alert.persons[0], alert.rule_version) for alert in made]

    try:
        with launched(None, broker.bootstrap, tmp_path, "People", engine="DirectRunner") as check:
            snipe("early")
            rule = ["rule", "--name=fraud.sniping", "--number=1", "--set=min_auctions=2"]
            assert auction_admin.run([*rule, f"--bootstrap={broker.bootstrap}"]) == 0
            snipe("late")
            until(lambda: bool(alerts()), check, 120)
        assert alerts() == [("late", 1)]
    finally:
        writer.close()
