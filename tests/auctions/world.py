"""What the tests of the auction rules stand on: one shard of the auction house, played by short sentences.

A step is one record of auction.log, a sentence about it what the house wrote for it:

    a 5000            bidder `a` bids at most 5,000: bids are named a1, a2 …; `a 5000 USD`, `a 5000 #b1` say currency and bid id
    take a1           a1 is retracted by its bidder; `take a1 by b` by another
    held a1           the hold for a1 is there; `held a1 4000` another amount than was asked for
    refused a1        the hold for a1 was refused; `unpaid a1` its capture
    clock             the clock of the bids moves; `tick` is one of auction.log itself, which moves nothing
    cancel            the item is taken back; `list` it is listed again

Each ends with `@ when` or happens a second after the one before: start, end, both with + or − and a span (ms, s, m, h).
"""

import re
from typing import Any

from auctions import topics
from auctions.backing import Backing
from auctions.bidding import Auction
from auctions.house import AuctionHouse
from schemas.auctions import (
    AuctionOutcome,
    BidDecision,
    BidReceived,
    BidsClock,
    EndingSoon,
    FundsHeld,
    FundsRefused,
    ItemCancelled,
    ItemListed,
    RetractionReceived,
    SaleUnpaid,
)
from schemas.payments import Money, PaymentInitiated
from schemas.rails import DeadLetter, Record, Tick
from transforms.fold import Output, Shard
from transforms.registry import Registry
from transforms.snapshots import encode_shard, restore_shard

REGISTRY = Registry.of("rails", "payments", "auctions")
START = 1_700_000_000_000 - 1_700_000_000_000 % 86_400_000  # midnight UTC
HOUR = 3_600_000
END = START + 48 * HOUR
_SPANS = {"ms": 1, "s": 1000, "m": 60_000, "h": HOUR}
_WHEN = re.compile(r"(start|end)(?:([+-])([0-9]+)(ms|s|m|h))?")


def item(auction_id: str = "x", **fields: Any) -> ItemListed:
    values: dict[str, Any] = {
        "item_id": "i-" + auction_id,
        "seller_id": "seller",
        "title": "A watch",
        "description": "It works.",
        "category": "watches",
        "tags": ("old", "watch"),
        "currency": "EUR",
        "start_price": 1000,
        "reserve": None,
        "buy_now": None,
        "increments": None,
        "starts_at": START,
        "ends_at": END,
        "soft_close_ms": None,
        "max_extensions": None,
        "funds_required": False,
        **fields,
    }
    return ItemListed(auction_id=auction_id, **values)


def moment(text: str) -> int:
    match = _WHEN.fullmatch(text)
    assert match, text
    base = START if match[1] == "start" else END
    return base + (int((match[2] or "+") + (match[3] or "0")) * _SPANS[match[4]] if match[4] else 0)


class House:
    """One auction, `x`, on a shard of its own, listed a day before it starts. What is written goes through its codec."""

    def __init__(
        self,
        listed_at: int = START - 24 * HOUR,
        listed: bool = True,
        clocked: bool = True,
        key: bytes = b"",
        **fields: Any,
    ) -> None:
        self.item, self.backing = item(**fields), Backing(key)
        self.shard = self._new_shard()
        self.now, self.appended = listed_at, END * 2  # the append time of auction.log decides nothing
        self.outputs: list[Output] = []
        self.bids: dict[str, Any] = {}
        self.asked: dict[str, int] = {}
        if clocked:
            self.feed(BidsClock(listed_at), None)
        if listed:
            self.feed(self.item)
        self.now = max(self.now, START + HOUR)

    def _new_shard(self) -> Shard:
        return Shard(AuctionHouse(backing=self.backing), topics.LOG.name, 0, 1, REGISTRY.decode)

    @property
    def auction(self) -> Auction:
        held: Auction = self.shard.entities["x"]
        return held

    def feed(self, event: Any, key: str | None = "x") -> list[Any]:
        """Appends an event to auction.log, after the shard went through a snapshot; gives the events that it causes."""
        renewed = self._new_shard()
        restore_shard(renewed, encode_shard(self.shard))
        self.shard, self.appended = renewed, self.appended + 7
        raw = None if key is None else key.encode()
        record = Record(self.shard.offset, self.appended, raw, REGISTRY.encode(event), None, ())
        self.outputs = self.shard.step(record)
        for output in self.outputs:
            assert REGISTRY.decode(REGISTRY.encode(output.event)) == output.event
            if isinstance(output.event, PaymentInitiated) and output.event.kind == "HOLD":
                assert output.event.reference
                self.asked[output.event.reference.split("/")[1]] = output.event.amount.minor
        return [output.event for output in self.outputs]

    def play(self, step: str) -> list[str]:
        """What one step makes the house say."""
        words, _, when = step.partition("@")
        self.now = moment(when.strip()) if when else self.now + 1000
        return sentences(self.feed(*self._event(words.split())))

    def _event(self, words: list[str]) -> tuple[Any, str | None]:
        what, rest = words[0], words[1:]
        if what in ("clock", "tick"):
            return (BidsClock(self.now) if what == "clock" else Tick(self.now)), None
        if what in ("cancel", "list"):
            return (ItemCancelled("x", "changed my mind") if what == "cancel" else self.item), "x"
        if what == "take":
            bidder = rest[2] if len(rest) > 1 else rest[0].rstrip("0123456789")
            return RetractionReceived(rest[0], "x", bidder, "a slip", self.now), "x"
        if what == "held":
            minor = int(rest[1]) if len(rest) > 1 else self.asked[rest[0]]
            hold = self.backing.payment_id("x", rest[0], "HOLD")
            return FundsHeld("x", rest[0], hold, Money(minor, self.item.currency)), "x"
        if what in ("refused", "unpaid"):
            asked = self.backing.payment_id("x", rest[0], "HOLD" if what == "refused" else "CAPTURE")
            return FundsRefused("x", rest[0], asked, "AM04"), "x"
        return self._bid(what, rest), "x"

    def _bid(self, bidder: str, words: list[str]) -> BidReceived:
        named = [word[1:] for word in words if word[0] == "#"]
        currency = [word for word in words if word.isalpha()] or [self.item.currency]
        number = sum(bid.bidder_id == bidder for bid in self.bids.values()) + 1
        bid_id = named[0] if named else f"{bidder}{number}"
        bid = BidReceived(
            bid_id,
            "x",
            bidder,
            bidder,
            Money(int(words[0]), currency[0]),
            self.now,
            "84be0e3ffffffff",
            "DE",
            "10.0.0.1",
            (),
        )
        if not named:
            self.bids[bid_id] = bid
        return bid


def sentences(events: list[Any]) -> list[str]:
    """Decisions, payments asked for, outcomes, as short texts; what stands on two topics once."""
    said = []
    for event in events:
        if isinstance(event, BidDecision):
            text = f"{event.bid_id} {event.status}"
            if event.price is not None:
                text += f" {event.price.minor} {event.leader or '-'}"
            said.append(text + (" auto" if event.automatic else ""))
        elif isinstance(event, PaymentInitiated):
            said.append(f"{event.kind} {(event.reference or '/').split('/')[1]} {event.amount.minor}")
        elif isinstance(event, AuctionOutcome):
            price = "" if event.price is None else f" {event.price.minor}"
            said.append(f"{event.outcome}{'' if event.winner is None else ' to ' + event.winner}{price}")
        elif isinstance(event, SaleUnpaid):
            said.append(f"UNPAID {event.bid_id} {event.amount.minor} by {event.winner}, {event.reason}")
        elif isinstance(event, EndingSoon):
            said.append("SOON")
        elif isinstance(event, DeadLetter):
            said.append(f"dead: {event.code}")
    return list(dict.fromkeys(said))


Script = list[tuple[str, list[str]]]


def check(fields: dict[str, Any], script: Script) -> House:
    """Plays a script and compares what is said at each step."""
    house = House(**fields)
    for number, (step, wanted) in enumerate(script):
        assert house.play(step) == wanted, f"step {number}: {step}"
    return house
