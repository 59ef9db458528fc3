"""Bids decided on one core: validation and decision, by Fold and by idiomatic Beam, over the same topics in the same run.

Both read items and bids from disk (Avro containers of log records), check each bid, decide it in the order in which it was
received, close each auction at its end, and encode every decision and outcome. Ours is three `Fold`s with the log between them,
ids, origins and all. Theirs is ReadFromAvro, fastavro, and a DoFn with a bag state per auction and an event-time timer at its
end, which sorts and decides by the same rules. Both run on Beam's FnApiRunner in this process, and give the same decisions.
`python -m bench.auctions` prints the rows.
"""

import io
import json
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.coders import FastPrimitivesCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue

from auctions import topics
from auctions.bidding import Auction, accept, end_of, is_too_low, open_auction
from bench.side_by_side import keep, medians, print_rows
from payments.currencies import EXPONENTS
from pipelines.auction_stages import Rules, engine_maker
from pipelines.registry import REGISTRY
from schemas.auctions import AuctionOutcome, BidDecision, BidPlaced, ItemListed
from schemas.payments import Money
from schemas.rails import Record, Tick
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.fold import Topic
from transforms.fold_bounded import AppendOutputs, Fold
from transforms.topic_files import ReadTopic, write_topics

AUCTIONS = 1_000
RECORDS = 100_000
START = 1_767_225_600_000
LENGTH = 3_600_000


def write_input(directory: Path, records: int) -> None:
    """The topics of items and bids on disk, with a tick past the end; the same bytes for the same number."""
    rng = random.Random(4)
    names = [f"auction-{number:05d}" for number in range(max(1, min(AUCTIONS, records // 10)))]
    where = START, START + LENGTH
    items = [
        (
            START - 1,
            name,
            ItemListed(
                *(name, name, f"s-{name}", "A thing", "", "things", (), "EUR", 100), None, None, None, *where, None, None, False
            ),
        )
        for name in names
    ]
    reached = dict.fromkeys(names, 100)
    bids = []
    for number in range(records):
        name = rng.choice(names)
        maximum = int(reached[name] * (0.97 + rng.random() * 0.15))
        reached[name] = max(reached[name], maximum)
        bidder, at = f"bidder-{rng.randrange(5_000)}", START + number * (LENGTH - 1) // records
        bid = BidPlaced(f"bid-{number}", name, bidder, None, Money(max(1, maximum), "EUR"), None, None, at)
        bids.append((at, name, bid))
    _write(directory, topics.ITEMS, items, None)
    _write(directory, topics.BIDS, bids, START + LENGTH)


def _write(directory: Path, topic: Topic, events: list[tuple[int, str, Any]], tick: int | None) -> None:
    held: dict[int, list[Record]] = {number: [] for number in range(topic.partitions)}
    for at, key, event in events:
        records = held[topic.partition_of(key.encode())]
        records.append(Record(len(records), at, key.encode(), REGISTRY.encode(event), None, ()))
    chunks: list[Chunk] = []
    for number, records in held.items():
        if tick is not None:
            records.append(Record(len(records), tick, None, REGISTRY.encode(Tick(tick)), None, ()))
        chunks += pack_chunks(topic.name, number, records)
    write_topics(directory, {topic.name: topic.partitions}, chunks)


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


# --- ours ---


def run_ours(directory: Path, results: Path | None = None) -> None:
    rules, log, history = Rules(), topics.LOG.name, topics.HISTORY.name
    with _pipeline() as p:
        items = (
            p | "ReadItems" >> ReadTopic(directory, topics.ITEMS.name) | "Items" >> Fold(engine_maker("Items", rules))
        )
        bids = p | "ReadBids" >> ReadTopic(directory, topics.BIDS.name) | "Bids" >> Fold(engine_maker("Bids", rules))
        decided = (
            (items.outputs, bids.outputs)
            | "Together" >> beam.Flatten()
            | "ToLog" >> beam.Filter(lambda chunk: chunk.topic == log)
            | "Log" >> AppendOutputs()
            | "House" >> Fold(engine_maker("House", rules))
        )
        if results is not None:
            said = decided.outputs | "History" >> beam.Filter(lambda chunk: chunk.topic == history)
            keep(said | "Values" >> beam.FlatMap(_values).with_output_types(bytes), results, _line)


def _values(chunk: Chunk) -> Iterator[bytes]:
    for record in unpack_chunk(chunk):
        if record.value and record.value[:5] in _TOLD:
            yield record.value


_TOLD = {REGISTRY.frame(BidDecision), REGISTRY.frame(AuctionOutcome)}


def _line(value: bytes) -> str:
    """What both must agree on; the rest of a decision is where and when it was made."""
    event = REGISTRY.decode(value)
    if isinstance(event, AuctionOutcome):
        return json.dumps([event.auction_id, event.outcome, event.winner, event.price, event.bids, event.bidders])
    return json.dumps([event.auction_id, event.bid_id, event.status, event.price, event.leader, event.automatic])


# --- theirs ---


class DecodeValue(beam.DoFn):
    """A log record as ReadFromAvro gives it → (auction, (time, event as fastavro gives it)), with its time as timestamp."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(REGISTRY.schema(self.kind))
        self._frame = REGISTRY.frame(self.kind)

    def process(self, element: dict[str, Any]) -> Iterator[Any]:
        if element["value"][:5] != self._frame:  # a tick
            return
        event = fastavro.schemaless_reader(io.BytesIO(element["value"][5:]), self._schema, None)
        if self.kind is BidPlaced and not _valid(event):
            return
        at = _ms(element["at"])
        yield TimestampedValue((event["auction_id"], (at, event)), at / 1000)


def _ms(at: datetime) -> int:
    """fastavro gives times of the log as datetimes."""
    return round(at.timestamp() * 1000)


def _valid(bid: dict[str, Any]) -> bool:
    maximum = bid["maximum"]
    return bool(bid["bid_id"] and bid["bidder_id"] and maximum["currency"] in EXPONENTS and maximum["minor"] > 0)


class Decide(beam.DoFn):
    """Keeps an auction's bids until its end, then decides them in the order in which they were received."""

    HELD = BagStateSpec("held", FastPrimitivesCoder())
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def setup(self) -> None:
        self._decision, self._outcome = (
            fastavro.parse_schema(REGISTRY.schema(k)) for k in (BidDecision, AuctionOutcome)
        )

    def process(
        self,
        element: tuple[str, Any],
        held: Any = beam.DoFn.StateParam(HELD),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> None:
        held.add(element[1])
        if "ends_at" in element[1][1]:
            end.set(_ms(element[1][1]["ends_at"]) / 1000)

    @on_timer(END)
    def close(self, held: Any = beam.DoFn.StateParam(HELD)) -> Iterator[bytes]:
        events = sorted(held.read(), key=lambda one: one[0])
        held.clear()
        auction: Auction | None = None
        for at, event in events:
            if "ends_at" in event:
                auction = open_auction(_item(event), at)
                auction.phase = "OPEN"
            elif auction is not None:
                yield from self._decide(auction, at, event)
        if auction is not None:
            yield self._outcome_of(auction)

    def _decide(self, auction: Auction, at: int, bid: dict[str, Any]) -> Iterator[bytes]:
        minor, bidder = bid["maximum"]["minor"], bid["bidder_id"]
        if is_too_low(auction, bidder, minor):
            yield self._encode(auction, bid["bid_id"], bidder, "TOO_LOW", minor, None, False, at)
            return
        made = accept(auction, bid["bid_id"], bidder, minor, at)
        yield self._encode(auction, bid["bid_id"], bidder, made.status, minor, made.outbid, False, at)
        if made.answered:
            leader = auction.leader or ""
            yield self._encode(auction, auction.leading_bid, leader, "ACCEPTED", auction.top, None, True, at)

    def _encode(
        self,
        auction: Auction,
        bid: str,
        bidder: str,
        status: str,
        minor: int,
        outbid: str | None,
        automatic: bool,
        at: int,
    ) -> bytes:
        decision: dict[str, Any] = {
            "auction_id": auction.item.auction_id,
            "bid_id": bid,
            "bidder_id": bidder,
            "status": status,
            "maximum": {"minor": minor, "currency": "EUR"},
            "price": {"minor": auction.price, "currency": "EUR"},
            "leader": auction.leader,
            "outbid": outbid,
            "automatic": automatic,
            "effective_end": auction.effective_end,
            "extensions": 0,
            "received_at": at,
            "cell": None,
            "country": None,
            "ip": None,
            "flags": [],
            "at": at,
        }
        return _framed(BidDecision, self._decision, decision)

    def _outcome_of(self, auction: Auction) -> bytes:
        end, item = end_of(auction), auction.item
        price = None if end.winner is None else {"minor": auction.price, "currency": "EUR"}
        outcome = {
            "auction_id": item.auction_id,
            "outcome": end.outcome,
            "seller_id": item.seller_id,
            "title": item.title,
            "currency": item.currency,
            "winner": end.winner,
            "price": price,
            "runner_up": end.runner_up,
            "bids": auction.count,
            "bidders": len(auction.bidders),
            "losers": list(end.losers),
            "extensions": 0,
            "effective_end": auction.effective_end,
            "at": auction.effective_end,
        }
        return _framed(AuctionOutcome, self._outcome, outcome)


def _framed(kind: type, schema: Any, event: dict[str, Any]) -> bytes:
    value = io.BytesIO()
    fastavro.schemaless_writer(value, schema, event)
    return REGISTRY.frame(kind) + value.getvalue()


def _item(event: dict[str, Any]) -> ItemListed:
    times = {name: _ms(event[name]) for name in ("starts_at", "ends_at")}
    return ItemListed(
        **{**event, **times, "tags": tuple(event["tags"]), "increments": None, "geo": None, "address": None}
    )


def run_idiomatic(directory: Path, results: Path | None = None) -> None:
    keyed = tuple[str, Any]
    with _pipeline() as p:
        read = []
        for topic, kind in ((topics.ITEMS, ItemListed), (topics.BIDS, BidPlaced)):
            records = p | f"Read{kind.__name__}" >> beam.io.ReadFromAvro(str(directory / topic.name / "*.avro"))
            read.append(records | f"Decode{kind.__name__}" >> beam.ParDo(DecodeValue(kind)).with_output_types(keyed))
        decided = read | beam.Flatten() | beam.ParDo(Decide()).with_output_types(bytes)
        keep(decided, results, _line)


def measure(repeats: int = 5, records: int = RECORDS) -> list[dict[str, Any]]:
    """The row of this benchmark: medians of `repeats` runs, in turns, in bids per second."""
    ours, theirs = medians(write_input, run_ours, run_idiomatic, repeats, records)
    value, baseline = (records / seconds for seconds in (ours, theirs))
    row = {"unit": "bids/s", "value": round(value), "baseline": round(baseline), "ratio": round(value / baseline, 1)}
    return [
        {
            "name": "bids validated and decided, bounded, one core",
            **row,
            "floor": 20_000,
            "aim": 50_000,
            "floor_is": "value",
        },
        {"name": "the same against keyed state and timers", **row, "floor": 10, "aim": None, "floor_is": "ratio"},
    ]


if __name__ == "__main__":
    print_rows(measure, __doc__, RECORDS)
