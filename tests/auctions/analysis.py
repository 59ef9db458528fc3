"""What the tests of notices, analytics and fraud stand on: one shard fed by hand, and short ways to write the history of an auction."""

from typing import Any

from auctions import topics
from schemas.auctions import AuctionOutcome, BidDecision, EndingSoon, ItemListed
from schemas.payments import Money
from schemas.rails import Record, Rule, Tick
from transforms.fold import Output, Processor, Shard
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments", "auctions")
START = 1_700_000_000_000 - 1_700_000_000_000 % 86_400_000  # midnight UTC
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def eur(minor: int | None) -> Money | None:
    return None if minor is None else Money(minor, "EUR")


def item(auction_id: str = "x", seller: str = "seller", ends: int = HOUR, **fields: Any) -> ItemListed:
    """An auction that opens at START and ends `ends` ms later."""
    values: dict[str, Any] = {
        "item_id": "item-" + auction_id,
        "title": "A watch",
        "description": "",
        "category": "watches",
        "tags": ("gold", "old"),
        "currency": "EUR",
        "start_price": 1000,
        "reserve": None,
        "buy_now": None,
        "increments": None,
        "starts_at": START,
        "ends_at": START + ends,
        "soft_close_ms": None,
        "max_extensions": None,
        "funds_required": False,
        "geo": None,
        "address": None,
        **fields,
    }
    return ItemListed(auction_id=auction_id, seller_id=seller, **values)


def bid(
    bidder: str, maximum: int, at: int, price: int | None = None, leader: str | None = "", **fields: Any
) -> BidDecision:
    """A decision about a bid received at START + `at`; unless said otherwise it took the lead at a price of its maximum."""
    values: dict[str, Any] = {
        "auction_id": "x",
        "bid_id": f"{bidder}-{at}",
        "status": "ACCEPTED" if leader in ("", bidder) else "ACCEPTED_OUTBID",
        "outbid": None,
        "automatic": False,
        "effective_end": START + HOUR,
        "extensions": 0,
        "cell": None,
        "country": None,
        "ip": None,
        "flags": (),
        **fields,
    }
    return BidDecision(
        bidder_id=bidder,
        maximum=eur(maximum),
        price=eur(maximum if price is None else price),
        leader=bidder if leader == "" else leader,
        received_at=START + at,
        at=START + at,
        **values,
    )


def ending(
    bidders: tuple[str, ...], leader: str | None, price: int = 1000, at: int = HOUR - 10 * MINUTE, **fields: Any
) -> EndingSoon:
    values: dict[str, Any] = {
        "auction_id": "x",
        "seller_id": "seller",
        "title": "A watch",
        "category": "watches",
        "tags": ("gold", "old"),
        **fields,
    }
    return EndingSoon(
        price=Money(price, "EUR"), leader=leader, bidders=bidders, effective_end=START + HOUR, at=START + at, **values
    )


def outcome(
    winner: str | None = None, price: int | None = None, losers: tuple[str, ...] = (), at: int = HOUR, **fields: Any
) -> AuctionOutcome:
    values: dict[str, Any] = {
        "auction_id": "x",
        "outcome": "SOLD" if winner else "UNSOLD",
        "seller_id": "seller",
        "title": "A watch",
        "currency": "EUR",
        "runner_up": losers[0] if losers else None,
        "bids": 0,
        "bidders": 0,
        "extensions": 0,
        "effective_end": START + at,
        **fields,
    }
    return AuctionOutcome(winner=winner, price=eur(price), losers=losers, at=START + at, **values)


class Bench:
    """One shard, fed event by event. Every output's event goes through its codec, and the state through a snapshot, as on a real topic."""

    def __init__(self, processor: Processor, topic: str = topics.HISTORY.name, partitions: int = 1) -> None:
        self.shard = Shard(processor, topic, 0, partitions, REGISTRY.decode)
        self.now = START
        self.outputs: list[Output] = []

    def feed(self, event: Any, at: int | None = None) -> list[Any]:
        """Appends `event` at START + `at` ms (default: its own time, else that of the last one); gives the events of its outputs."""
        own = getattr(event, "at", None) if at is None else START + at
        self.now = self.now if own is None else own
        key = self.shard.processor.key(event) if type(event) in self.shard.processor.reads else None
        record = Record(
            self.shard.offset, self.now, None if key is None else key.encode(), REGISTRY.encode(event), None, ()
        )
        self.outputs = self.shard.step(record)
        for output in self.outputs:
            assert REGISTRY.decode(REGISTRY.encode(output.event)) == output.event
        self.survive()
        return [output.event for output in self.outputs]

    def survive(self) -> None:
        """State is what its codec keeps of it."""
        codec = self.shard.processor.entity_codec
        for name, entity in self.shard.entities.items():
            assert codec.decode(codec.encode(entity)) == entity, name
        shared = self.shard.processor.shared_codec
        if shared is not None:
            assert shared.decode(shared.encode(self.shard.shared)) == self.shard.shared

    def tick(self, at: int) -> list[Any]:
        return self.feed(Tick(START + at), at)

    def rule(self, name: str, version: int = 1, active: bool = True, **parameters: int) -> list[Any]:
        return self.feed(Rule(f"rule-{name}-{version}", name, version, active, parameters))
