"""The whole of bidding and settlement in the in-memory loop, for tests."""

from collections.abc import Iterable
from typing import Any

from auctions import topics
from auctions.backing import Backing
from auctions.bids import BidValidation
from auctions.funds import Funds
from auctions.geography import GeoIp
from auctions.house import AuctionHouse
from auctions.intake import client_key, client_places, client_topic
from auctions.items import ItemValidation
from payments import topics as payment_topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.intake import client_key as payment_key
from payments.logs import read_logs
from schemas.payments import PaymentInitiated
from schemas.rails import Record
from transforms.chunks import unpack_chunk
from transforms.errors import BadRecord
from transforms.loop import Loop, Stage
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments", "auctions")
CLIENTS = (payment_topics.INCOMING.name, topics.ITEMS.name, topics.BIDS.name)


def places(record: Record) -> Iterable[tuple[str, int]]:
    try:
        event = REGISTRY.decode(record.value or b"")
    except BadRecord:
        event = None
    if event is not None and client_topic(event) is None:
        topic = payment_topics.INCOMING if isinstance(event, PaymentInitiated) else payment_topics.INFLIGHT
        return [(topic.name, topic.partition_of(record.key))]
    return client_places(event, record.key)


def record_of(at: int, event: Any) -> Record:
    key = client_key(event) or payment_key(event)
    return Record(0, at, None if key is None else key.encode(), REGISTRY.encode(event), None, ())


def run_auctions(
    records: Iterable[Record],
    tick_ms: int = 60_000,
    geo: GeoIp | None = None,
    key: bytes = b"",
    more: Iterable[Stage] = (),
) -> tuple[Any, list[Any]]:
    """(logs, shards) after everything has come to rest. Records are in the order of their times; `more` stages run beside bidding."""
    stages = [
        Stage(Admission(), payment_topics.INCOMING),
        Stage(AccountProcessor(), payment_topics.INFLIGHT),
        Stage(ItemValidation(), topics.ITEMS),
        Stage(BidValidation(geo), topics.BIDS),
        Stage(AuctionHouse(backing=Backing(key)), topics.LOG),
        Stage(Funds(Backing(key)), payment_topics.STATUS),
        *more,
    ]
    loop = Loop(stages, REGISTRY, places, [topics.BIDS], tick_ms=tick_ms)
    chunks = list(loop.run(records))
    logs = read_logs([(c.topic, c.partition, unpack_chunk(c)) for c in chunks], REGISTRY.decode, CLIENTS)
    return logs, loop.shards
