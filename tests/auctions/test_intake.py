"""Validation of items and bids, and how clients' events come in."""

from typing import Any

import pytest

from auctions import topics
from auctions.addresses import COUNTRIES, address_error
from auctions.bids import GEO_MISMATCH, NO_GEO, BidValidation
from auctions.geography import GeoIp, Place, cell_of
from auctions.increments import Increments, default_table
from auctions.intake import client_key, client_places, client_topic
from auctions.items import EXTENSIONS, ItemValidation
from schemas.auctions import Address, BidPlaced, BidRetracted, BidsClock, Geo, Increment, ItemCancelled, ItemListed
from schemas.payments import Money
from schemas.rails import DeadLetter, Record, Tick, Version
from tests.auctions.world import REGISTRY, START, item
from transforms.fold import Processor, Shard

BERLIN, VIENNA = Place(52.52, 13.405, "DE"), Place(48.208, 16.374, "AT")


class Desk:
    """One shard of a validation, fed event by event."""

    def __init__(self, processor: Processor, topic: str, partition: int = 0, partitions: int = 1) -> None:
        self.shard = Shard(processor, topic, partition, partitions, REGISTRY.decode)
        self.outputs: list[Any] = []

    def feed(self, event: Any, at: int = START) -> list[Any]:
        key = client_key(event)
        raw = None if key is None else key.encode()
        self.outputs = self.shard.step(Record(self.shard.offset, at, raw, REGISTRY.encode(event), None, ()))
        return [output.event for output in self.outputs]

    def code(self, event: Any) -> str:
        (letter,) = self.feed(event)
        assert isinstance(letter, DeadLetter), letter
        return letter.code


def geo_ip() -> GeoIp:
    from ipaddress import ip_network

    return GeoIp([(ip_network("100.64.0.0/24"), BERLIN), (ip_network("100.64.1.0/24"), VIENNA)])


def bids(**settings: Any) -> Desk:
    return Desk(BidValidation(**settings), topics.BIDS.name)


def bid(**fields: Any) -> BidPlaced:
    values = {"account_id": None, "maximum": Money(500, "EUR"), "ip": None, "address": None, "sent_at": 5, **fields}
    return BidPlaced(**{"bid_id": "b1", "auction_id": "x", "bidder_id": "anna", **values})


# --- bids ---


def test_a_bid_is_handed_on_with_the_time_that_decides() -> None:
    (received,) = bids().feed(bid(), START + 7)
    assert received._asdict() == {
        "bid_id": "b1",
        "auction_id": "x",
        "bidder_id": "anna",
        "account_id": "anna",
        "maximum": Money(500, "EUR"),
        "received_at": START + 7,
        "cell": None,
        "country": None,
        "ip": None,
        "flags": (),
    }


def test_the_time_never_falls() -> None:
    """Another broker leads the partition, and its clock is behind."""
    desk = bids()
    times = [desk.feed(event, START + at)[0] for event, at in ((bid(), 7), (bid(), 3), (Tick(0), 5), (bid(), 9))]
    assert [getattr(event, "received_at", None) or event.at for event in times] == [START + n for n in (7, 7, 7, 9)]


def test_ticks_go_beside_to_the_same_partition() -> None:
    desk = Desk(BidValidation(), topics.BIDS.name, 5, 16)
    assert desk.feed(Tick(99), START) == [BidsClock(START)]
    (output,) = desk.outputs
    assert (output.topic, output.partition, output.key) == (topics.LOG.name, 5, None)


def test_a_retraction_is_handed_on() -> None:
    (received,) = bids().feed(BidRetracted("b1", "x", "anna", "a slip"), START)
    assert tuple(received) == ("b1", "x", "anna", "a slip", START)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"auction_id": ""}, "BAD_ID"),
        ({"auction_id": "a/b"}, "BAD_ID"),
        ({"auction_id": "a" * 57}, "BAD_ID"),
        ({"bid_id": ""}, "BAD_ID"),
        ({"bid_id": "a/b"}, "BAD_ID"),
        ({"bidder_id": ""}, "BAD_ID"),
        ({"bidder_id": "~transit"}, "BAD_ID"),
        ({"account_id": "~transit"}, "BAD_ID"),
        ({"maximum": Money(0, "EUR")}, "BAD_AMOUNT"),
        ({"maximum": Money(-5, "EUR")}, "BAD_AMOUNT"),
        ({"maximum": Money(10**15 + 1, "EUR")}, "BAD_AMOUNT"),
        ({"maximum": Money(5, "EURO")}, "BAD_CURRENCY"),
        ({"ip": "100.64.0"}, "BAD_IP"),
        ({"address": Address("XX")}, "BAD_ADDRESS"),
        ({"address": Address("DE", postcode="1011")}, "BAD_ADDRESS"),
    ],
)
def test_bids_that_cannot_be_right(fields: dict[str, Any], code: str) -> None:
    assert bids().code(bid(**fields)) == code


def test_retractions_that_cannot_be_right() -> None:
    assert bids().code(BidRetracted("", "x", "anna", "")) == "BAD_ID"
    assert bids().code(BidRetracted("b1", "x", "anna", "r" * 501)) == "TOO_LONG"


def test_what_clients_may_not_write() -> None:
    assert bids().code(Version("auctions.house", 2, "v")) == "UNEXPECTED_TYPE"


@pytest.mark.parametrize(
    ("ip", "country", "wanted"),
    [
        ("100.64.0.9", None, ("DE", cell_of(52.52, 13.405), ())),
        ("100.64.0.9", "DE", ("DE", cell_of(52.52, 13.405), ())),
        ("100.64.1.9", "DE", ("DE", cell_of(48.208, 16.374), (GEO_MISMATCH,))),
        ("10.0.0.1", "DE", ("DE", None, (NO_GEO,))),
        (None, "DE", ("DE", None, ())),
    ],
)
def test_where_a_bid_comes_from(ip: str | None, country: str | None, wanted: tuple[Any, ...]) -> None:
    address = None if country is None else Address(country)
    (received,) = bids(geo=geo_ip()).feed(bid(ip=ip, address=address))
    assert (received.country, received.cell, received.flags) == wanted


def test_without_a_table_the_network_address_is_only_checked() -> None:
    (received,) = bids().feed(bid(ip="100.64.1.9", address=Address("DE")))
    assert (received.cell, received.flags, received.ip) == (None, (), "100.64.1.9")


def test_a_mismatch_is_refused_where_the_rule_says_so() -> None:
    desk = bids(geo=geo_ip(), refuse_mismatch=True)
    assert desk.code(bid(ip="100.64.1.9", address=Address("DE"))) == GEO_MISMATCH


# --- items ---


def items() -> Desk:
    return Desk(ItemValidation(), topics.ITEMS.name)


def test_an_item_is_made_whole() -> None:
    listed = item(
        title=" A watch ",
        category=" watches ",
        tags=("Old", "watch", "old "),
        soft_close_ms=60_000,
        geo=Geo(52.52, 13.405, "anything"),
        address=Address("DE", None, "Berlin", "10115"),
    )
    (taken,) = items().feed(listed)
    assert taken == listed._replace(
        title="A watch",
        category="watches",
        tags=("old", "watch"),
        increments=default_table("EUR"),
        max_extensions=EXTENSIONS,
        geo=Geo(52.52, 13.405, cell_of(52.52, 13.405)),
    )


def test_what_an_item_says_itself_stays() -> None:
    own = item(increments=(Increment(None, 5),), soft_close_ms=60_000, max_extensions=0, reserve=1000, buy_now=1000)
    assert items().feed(own) == [own]
    assert items().feed(item()) == [item(increments=default_table("EUR"))]


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"auction_id": "a/b"}, "BAD_ID", "auction_id"),
        ({"seller_id": ""}, "BAD_ID", "seller_id"),
        ({"title": "t" * 201}, "TOO_LONG", "title"),
        ({"description": "t" * 20_001}, "TOO_LONG", "description"),
        ({"title": "  "}, "EMPTY_FIELD", "title"),
        ({"category": ""}, "EMPTY_FIELD", "category"),
        ({"tags": ("",)}, "BAD_TAGS", "tags"),
        ({"tags": ("t" * 51,)}, "BAD_TAGS", "tags"),
        ({"tags": ("t",) * 33}, "BAD_TAGS", "tags"),
        ({"currency": "EURO"}, "BAD_CURRENCY", "currency"),
        ({"start_price": 0}, "BAD_AMOUNT", "start_price"),
        ({"reserve": 999}, "BAD_AMOUNT", "reserve is from start_price on"),
        ({"buy_now": 999}, "BAD_AMOUNT", "buy_now is from start_price and reserve on"),
        ({"reserve": 3000, "buy_now": 2999}, "BAD_AMOUNT", "buy_now is from start_price and reserve on"),
        ({"increments": ()}, "BAD_INCREMENTS", "a table has 1 to 64 rows"),
        ({"ends_at": START}, "BAD_TIME", "ends_at is after starts_at, by 400 days at most"),
        ({"ends_at": START + 401 * 86_400_000}, "BAD_TIME", "ends_at is after starts_at, by 400 days at most"),
        ({"starts_at": START - 2000, "ends_at": START - 1000}, "BAD_TIME", "ends_at has passed"),
        ({"soft_close_ms": 0}, "BAD_TIME", "soft_close_ms"),
        ({"max_extensions": 2}, "BAD_TIME", "max_extensions without soft_close_ms"),
        ({"soft_close_ms": 5, "max_extensions": -1}, "BAD_TIME", "max_extensions"),
        ({"geo": Geo(91.0, 0.0)}, "BAD_PLACE", "geo"),
        ({"geo": Geo(float("nan"), 0.0)}, "BAD_PLACE", "geo"),
        ({"address": Address("XX")}, "BAD_ADDRESS", "country"),
    ],
)
def test_items_that_cannot_be_auctioned(fields: dict[str, Any], code: str, detail: str) -> None:
    (letter,) = items().feed(item(**fields))
    assert (letter.code, letter.detail) == (code, detail)


def test_a_cancellation_is_handed_on() -> None:
    assert items().feed(ItemCancelled("x", "gone")) == [ItemCancelled("x", "gone")]
    assert items().code(ItemCancelled("x", "r" * 501)) == "TOO_LONG"


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([Increment(5, 1)], "last row"),
        ([Increment(None, 1), Increment(None, 1)], "last row"),
        ([Increment(5, 1), Increment(5, 1), Increment(None, 1)], "must rise"),
        ([Increment(0, 1), Increment(None, 1)], "must rise"),
        ([Increment(5, 0), Increment(None, 1)], "positive"),
        ([Increment(n + 1, 1) for n in range(64)] + [Increment(None, 1)], "1 to 64"),
    ],
)
def test_tables_that_are_none(rows: list[Increment], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Increments(rows)


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        (Address("DE", "Berlin", "Berlin", "10115"), None),
        (Address("GB", postcode="SW1A 1AA"), None),
        (Address("NL", postcode="1011 AB"), None),
        (Address("CA", postcode="K1A 0B1"), None),
        (Address("US", postcode="10001-1234"), None),
        (Address("AG", postcode="whatever"), None),
        (Address("de"), "country"),
        (Address("EU"), "country"),
        (Address("US", postcode="1000"), "postcode"),
        (Address("GB", postcode="10115"), "postcode"),
        (Address("DE", postcode=""), "postcode"),
        (Address("DE", region=""), "region"),
        (Address("DE", city="c" * 101), "city"),
    ],
)
def test_addresses(address: Address, wrong: str | None) -> None:
    assert address_error(address) == wrong


def test_all_countries() -> None:
    assert len(COUNTRIES) == 249


# --- how events come in ---


def test_where_clients_events_go() -> None:
    assert client_topic(item()) is topics.ITEMS and client_topic(ItemCancelled("x", "")) is topics.ITEMS
    assert client_topic(bid()) is topics.BIDS and client_topic(Tick(1)) is topics.BIDS
    assert client_topic(BidsClock(1)) is None
    assert list(client_places(Tick(1), None)) == [(topics.BIDS.name, number) for number in range(16)]
    assert list(client_places(bid(), b"x")) == [(topics.BIDS.name, topics.BIDS.partition_of(b"x"))]
    assert list(client_places(None, None)) == [(topics.BIDS.name, 0)]
    assert isinstance(item(), ItemListed)
