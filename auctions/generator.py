"""The generator of auctions: a seeded stream of clients' records as a house would get them, with what must become of it.

A market (`auctions.market`: items, honest people, and people who cheat, with the truth about them) is made whole: everyone gets an
account with money, some too little; some items get a reserve, a buy-now price, or want money behind bids; a few are taken back. Bids
come just before, at and just after the bell, and records that are wrong are mixed in. Equal settings give equal records.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from auctions.geography import CITIES, network_of
from auctions.intake import client_key
from auctions.market import DAY, HOUR, MINUTE, Cheat, Market, Planned
from payments.intake import client_key as payment_key
from schemas.auctions import Address, BidPlaced, BidRetracted, ItemCancelled, ItemListed
from schemas.payments import AccountOpened, Money, PaymentInitiated
from schemas.rails import Record, Tick
from transforms.registry import Registry

STRENGTHS = {"weak": 0.4, "medium": 0.7, "strong": 1.0}  # how often a cheat acts as one
PREFIX = "bad-"  # of the ids of bids that are wrong
RICH, POOR = 10**9, 2_000  # minor units in the accounts at the start
_REGISTRY = Registry.of("rails", "payments", "auctions")
_TOP = 10**8  # more than anyone else bids, minor units


@dataclass(frozen=True)
class Settings:
    """What is generated. Shares are of the auctions: `backed` want money behind bids, `bell` get bids at the bell; `poor` is a share of the
    people; `bad` is the share of wrong records. `strength` is one of STRENGTHS. With the defaults one bidder in twenty cheats.
    """

    auctions: int = 500
    sellers: int = 40
    bidders: int = 800
    seed: int = 1
    cheats: int = 6  # of each kind
    strength: str = "strong"
    backed: float = 0.3
    reserve: float = 0.15
    buy_now: float = 0.1
    cancelled: float = 0.01
    bell: float = 0.05
    poor: float = 0.05
    bad: float = 0.02
    start_ms: int = 1_767_225_600_000  # 1 January 2026, 00:00 UTC

    def __post_init__(self) -> None:
        for name, least, most in (
            ("auctions", 1, 10**6),
            ("sellers", 1, 10**5),
            ("bidders", 10, 10**6),
            ("seed", 0, 10**9),
            ("cheats", 0, self.sellers),
            ("start_ms", 2 * DAY, 1 << 46),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least:,} to {most:,}, got {value:,}")
        for name in ("backed", "reserve", "buy_now", "cancelled", "bell", "poor", "bad"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must lie within 0 and 1, got {share}")
        if self.strength not in STRENGTHS:
            raise ValueError(f"strength must be one of {', '.join(STRENGTHS)}, got {self.strength!r}")


class _Later(NamedTuple):
    """A record to come."""

    at: int
    key: str | None
    value: bytes | None


class Generation:
    """Iterating gives the records in the order of `at`, numbered from 0; `truth()` says what was planted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._draw = Random(f"auctions/{settings.seed}")
        self.market = Market(
            seed=settings.seed,
            auctions=settings.auctions,
            sellers=settings.sellers,
            bidders=settings.bidders,
            per_kind=settings.cheats,
            strength=STRENGTHS[settings.strength],
            start=settings.start_ms + HOUR * 2,
        )
        self._counts: Counter[str] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._bell: Counter[str] = Counter()
        self._guests: set[str] = set()  # bidders that the market does not know
        self._records = self._make()

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def truth(self) -> dict[str, Any]:
        """What the stream holds; plain JSON.

        cheats: who, and how. bell: bids at the bell that came in time, and too late. faults: by name, what must become of each (the code of
        a dead letter, or the status of the bid) and how many there are; the ids of bids among them begin with `bad-` and the name.
        """
        return {
            "records": len(self._records),
            **{name: self._counts[name] for name in ("accounts", "items", "bids", "retractions", "cancelled")},
            "strength": self.settings.strength,
            "cheats": [{"signal": cheat.kind, "persons": list(cheat.persons)} for cheat in self._cheats()],
            "bell": {"in_time": self._bell["in_time"], "too_late": self._bell["too_late"]},
            "faults": {
                name: {"expected": expected, "count": count} for (name, expected), count in sorted(self._faults.items())
            },
        }

    def _cheats(self) -> list[Cheat]:
        return self.market.cheats()

    # --- the stream ---

    def _make(self) -> list[Record]:
        plan = self.market.plan()
        items = {p.event.auction_id: self._furnish(p.event) for p in plan if isinstance(p.event, ItemListed)}
        later = [self._planned(one, items) for one in plan]
        later += self._purchases(items)
        gone = dict(self._cancellations(items))
        later += gone.values()
        # Where an auction takes bids to its end, what becomes of them is known beforehand.
        steady = {name: item for name, item in items.items() if item.buy_now is None and name not in gone}
        later += self._bells(steady)
        bids = [p for p in plan if isinstance(p.event, BidPlaced) and p.event.auction_id in steady]
        later += self._wrong(bids, items, int(self.settings.bad * len(plan)))
        later.sort(key=lambda one: one.at)
        people = {p.event.bidder_id for p in plan if isinstance(p.event, BidPlaced)}
        people |= {item.seller_id for item in items.values()}
        start = self.settings.start_ms
        first = [one for person in sorted(people | self._guests) for one in self._open(person, start)]
        last = max(one.at for one in later)
        end = max(last, *(item.ends_at for item in items.values())) + HOUR
        # Ends are reached, answers come, and what was late is over: a tick at each.
        ticks = [self._later(at, Tick(at)) for at in (end, end + MINUTE, end + 2 * MINUTE)]
        return [
            Record(n, one.at, None if one.key is None else one.key.encode(), one.value, None, ())
            for n, one in enumerate([*first, *later, *ticks])
        ]

    def _later(self, at: int, event: Any, key: str | None = None) -> _Later:
        return _Later(at, key or client_key(event) or payment_key(event), _REGISTRY.encode(event))

    def _planned(self, one: Planned, items: dict[str, ItemListed]) -> _Later:
        event = one.event
        if isinstance(event, ItemListed):
            self._counts["items"] += 1
            return self._later(one.at, items[event.auction_id])
        self._counts["retractions" if isinstance(event, BidRetracted) else "bids"] += 1
        return self._later(one.at, event)

    def _open(self, person: str, at: int) -> Iterator[_Later]:
        self._counts["accounts"] += 1
        yield self._later(at, AccountOpened(f"open-{person}", person, 0, "EUR", 0, None, False, at))
        minor = POOR if self._draw.random() < self.settings.poor else RICH
        amount = Money(minor, "EUR")
        deposit = PaymentInitiated(
            f"deposit-{person}", "DEPOSIT", None, person, amount, None, None, None, None, "bank", at
        )
        yield self._later(at, deposit)

    # --- items ---

    def _furnish(self, item: ItemListed) -> ItemListed:
        """The item with what the market left open."""
        draw, settings, start = self._draw.random, self.settings, item.start_price
        reserve = start * (2 + int(draw() * 2)) if draw() < settings.reserve else None
        buy_now = start * (4 + int(draw() * 8)) if draw() < settings.buy_now else None
        return item._replace(reserve=reserve, buy_now=buy_now, funds_required=draw() < settings.backed)

    def _cancellations(self, items: dict[str, ItemListed]) -> Iterator[tuple[str, _Later]]:
        for item in items.values():
            if self._draw.random() < self.settings.cancelled:
                self._counts["cancelled"] += 1
                at = item.starts_at + (item.ends_at - item.starts_at) // 2
                yield item.auction_id, self._later(at, ItemCancelled(item.auction_id, "broken"))

    def _purchases(self, items: dict[str, ItemListed]) -> Iterator[_Later]:
        """Some buy at the buy-now price before anyone bids."""
        for number, item in enumerate(items.values()):
            if item.buy_now is not None and self._draw.random() < 0.3:
                bidder, at = f"buyer-{number}", item.starts_at
                self._guests.add(bidder)
                maximum = Money(item.buy_now, item.currency)
                yield self._later(at, BidPlaced(bidder, item.auction_id, bidder, None, maximum, None, None, at))

    # --- the bell ---

    def _bells(self, items: dict[str, ItemListed]) -> Iterator[_Later]:
        """Bids a millisecond before the end, at it, and a millisecond after, where the end stands still and a bid is decided at once."""
        for number, item in enumerate(items.values()):
            if item.soft_close_ms is not None or item.funds_required:
                continue
            if self._draw.random() >= self.settings.bell:
                continue
            for late, who in ((-1, 0), (0, 1), (1, 2)):
                self._bell["in_time" if late < 0 else "too_late"] += 1
                bidder, at = f"bell-{number}", item.ends_at + late
                self._guests.add(bidder)
                maximum = Money(_TOP + who, item.currency)
                bid = BidPlaced(f"bell-{number}-{who}", item.auction_id, bidder, None, maximum, None, None, at)
                yield self._later(at, bid)

    # --- what is wrong ---

    def _wrong(self, bids: list[Planned], items: dict[str, ItemListed], count: int) -> Iterator[_Later]:
        """`count` records, each kind as often: made of a bid that is right, at its time."""
        names = list(_EXPECTED)
        for n in range(count if bids else 0):
            name = names[n % len(names)]
            planned = bids[int(self._draw.random() * len(bids))]
            assert isinstance(planned.event, BidPlaced)
            bid = planned.event._replace(bid_id=f"{PREFIX}{name}-{n}")
            item = items[bid.auction_id]
            self._faults[name, _EXPECTED[name]] += 1
            yield self._spoil(name, planned.at, planned.event, bid, item)

    def _spoil(self, name: str, at: int, right: BidPlaced, bid: BidPlaced, item: ItemListed) -> _Later:
        city = network_of(int(self._draw.random() * len(CITIES)))
        if name == "junk":
            return _Later(at, bid.auction_id, b"\x07" + _REGISTRY.encode(bid)[1:])
        if name == "cut":
            return _Later(at, bid.auction_id, _REGISTRY.encode(bid)[:-3])
        if name == "wrong_key":
            return self._later(at, bid, "another")
        if name == "backwards":
            listed = item._replace(auction_id=bid.bid_id, ends_at=item.starts_at)
            return self._later(at, listed)
        if name == "early":
            return self._later(item.starts_at - MINUTE, bid)
        spoiled = {
            "country": bid._replace(address=Address("XX")),
            "postcode": bid._replace(address=Address("DE", postcode="1")),
            "amount": bid._replace(maximum=Money(0, item.currency)),
            "currency": bid._replace(maximum=Money(1000, "EUX")),
            "ip": bid._replace(ip=f"{city.network_address}.9"),
            "no_id": bid._replace(bid_id=""),
            "unknown": bid._replace(auction_id=f"no-{bid.auction_id}"),
            "again": right,
            "seller": bid._replace(bidder_id=item.seller_id),
            "foreign": bid._replace(maximum=Money(right.maximum.minor, "USD")),
        }
        return self._later(at, spoiled[name])


_EXPECTED = {
    "junk": "BAD_MAGIC",
    "cut": "TRUNCATED",
    "wrong_key": "WRONG_KEY",
    "backwards": "BAD_TIME",
    "country": "BAD_ADDRESS",
    "postcode": "BAD_ADDRESS",
    "amount": "BAD_AMOUNT",
    "currency": "BAD_CURRENCY",
    "ip": "BAD_IP",
    "no_id": "BAD_ID",
    "early": "NOT_STARTED",
    "unknown": "UNKNOWN_ITEM",
    "again": "DUPLICATE",
    "seller": "SELLER_BID",
    "foreign": "CURRENCY_MISMATCH",
}
"""What must become of each wrong record: the code of its dead letter, or its status."""
