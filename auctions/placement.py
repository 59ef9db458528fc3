"""Places for ads (A8): who is about to lose an auction is shown similar ones that are open.

    AdRequests  auction.bids.history (auction_id)  → auction.ads.requests: who leads, who is about to lose, and what is open
    AdPlacer    auction.ads.requests (person)      → auction.ads

What is open must reach every person, so it stands on every partition of auction.ads.requests, under keys that lie there (`copy_keys`).

Never shown: a person's own items, auctions that they lead, the one that they are about to lose, one that is not open or is about to end,
the same auction twice within `again_ms`. Never more than `most` placements per person within `window_ms`, nor more than `budget` per
partition and day of the clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from auctions import topics
from auctions.analytics_topics import REQUESTS
from auctions.stories import HISTORY_EVENTS, MOVES, OFFERS, HistoryEvent
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    AdAuction,
    AdLead,
    AdPerson,
    AdPlacement,
    AdRequest,
    AdShelf,
    AdShown,
    BidDecision,
    EndingSoon,
    ItemListed,
    OpenAuction,
    RangeServed,
    SaleUnpaid,
)
from schemas.payments import RECORDS as PAYMENTS
from transforms.avro import compile_codec
from transforms.fold import Context, Processor, Topic
from transforms.topic_settings import DAY_MS

_TYPES = {**RECORDS, **PAYMENTS}
_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


@cache
def copy_keys(topic: Topic) -> tuple[str, ...]:
    """A key for each partition of the topic, in their order."""
    found: dict[int, str] = {}
    numbers = count()
    while len(found) < topic.partitions:
        key = f"~{next(numbers)}"
        found.setdefault(topic.partition_of(key.encode()), key)
    return tuple(key for _, key in sorted(found.items()))


class AdRequests(Processor):
    """Tells the placer what it must know, as it changes."""

    stage = "auction.ads.requests"
    reads = HISTORY_EVENTS
    entity_codec = compile_codec(load_schema("auctions.AdAuction"), _TYPES, **_NO_BOUNDS)

    def __init__(self, topic: Topic = REQUESTS) -> None:
        self.topic = topic

    def key(self, event: HistoryEvent) -> str:
        return event.auction_id

    def on_event(
        self,
        key: str,
        entity: AdAuction | None,
        event: HistoryEvent,
        context: Context,
    ) -> AdAuction | None:
        if isinstance(event, ItemListed):
            if entity is not None:
                return entity
            what = event.seller_id, event.category, event.tags, event.currency, event.start_price
            auction = OpenAuction("", key, *what, 0, event.starts_at, event.ends_at, True)
            self._tell_all(auction, context)
            return AdAuction(auction, None, 0)
        if entity is None:
            return None
        if isinstance(event, BidDecision):
            return self._after_bid(key, entity, event, context)
        if isinstance(event, EndingSoon):
            for person in event.bidders:
                if person != event.leader:
                    asked = AdRequest(person, key, event.category, event.tags, event.price)
                    context.emit(self.topic, person, asked)
            return entity
        if isinstance(event, RangeServed | SaleUnpaid):
            return entity
        self._tell_all(entity.auction._replace(open=False), context)
        if entity.leader is not None:
            context.emit(self.topic, entity.leader, AdLead(entity.leader, key, False))
        return None

    def _after_bid(self, key: str, entity: AdAuction, event: BidDecision, context: Context) -> AdAuction:
        if event.status not in MOVES:
            return entity
        if event.leader != entity.leader:
            for person, leads in ((entity.leader, False), (event.leader, True)):
                if person is not None:
                    context.emit(self.topic, person, AdLead(person, key, leads))
        bids = entity.bids + (event.status in OFFERS and not event.automatic)
        auction = entity.auction
        if bids != entity.bids and bids & (bids - 1) == 0:  # a power of two: few copies, and never far from the truth
            price = auction.price if event.price is None else event.price.minor
            auction = auction._replace(price=price, bids=bids, ends_at=event.effective_end or auction.ends_at)
            self._tell_all(auction, context)
        return AdAuction(auction, event.leader, bids)

    def _tell_all(self, auction: OpenAuction, context: Context) -> None:
        for copy in copy_keys(self.topic):
            context.emit(self.topic, copy, auction._replace(copy=copy))


@dataclass(frozen=True)
class Caps:
    """What the placer never exceeds."""

    per_request: int = 3  # placements for one request
    most: int = 6  # placements per person within window_ms
    window_ms: int = DAY_MS
    again_ms: int = 7 * DAY_MS  # until the same auction may be shown to the same person again
    budget: int = 100_000  # placements per partition and day of the clock
    least_left_ms: int = 60_000  # time that an auction must have left

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")


class Chooser(NamedTuple):
    """How open auctions are chosen. `score` is a pure function of request, auction and the request's place, and gives (0 to 1, reason)."""

    score: Callable[[AdRequest, OpenAuction, str], tuple[float, str]]
    same_category: bool  # only auctions of the request's category


def _similar(request: AdRequest, auction: OpenAuction, place: str) -> tuple[float, str]:
    """Half of the score for the category, 0.3 for the share of tags in common (Jaccard), 0.2 for how near the prices are."""
    one, other = set(request.tags), set(auction.tags)
    common = sorted(one & other)
    tags = len(common) / len(one | other) if one | other else 0.0
    low, high = sorted((request.price.minor, auction.price))
    near = low / high if high > 0 else 1.0
    reason = f"same category, {len(common)} tags in common, price {100 * near:.0f} % alike"
    return 0.5 + 0.3 * tags + 0.2 * near, reason


def _popular(request: AdRequest, auction: OpenAuction, place: str) -> tuple[float, str]:
    return 1 - 1 / (1 + auction.bids), f"{auction.bids} bids"


def _by_chance(request: AdRequest, auction: OpenAuction, place: str) -> tuple[float, str]:
    """A hash of request and auction."""
    digest = blake2b(f"{place}\0{request.person}\0{auction.auction_id}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56, "by chance"


SIMILAR = Chooser(_similar, True)
MOST_POPULAR = Chooser(_popular, False)  # what the back-test compares with
AT_RANDOM = Chooser(_by_chance, False)  # the other one


@dataclass
class Shelf:
    """What may be shown, by category, and what the budget's day has spent."""

    categories: dict[str, dict[str, OpenAuction]] = field(default_factory=dict)
    day: int = 0
    spent: int = 0

    def put(self, auction: OpenAuction) -> None:
        """An auction as it is now; one that is over is taken away."""
        held = self.categories.setdefault(auction.category, {})
        if auction.open:
            held[auction.auction_id] = auction
        else:
            held.pop(auction.auction_id, None)
            if not held:
                del self.categories[auction.category]

    def candidates(self, category: str | None) -> Iterable[OpenAuction]:
        """The auctions of a category; None: all."""
        if category is not None:
            return self.categories.get(category, {}).values()
        return (auction for held in self.categories.values() for auction in held.values())

    def left(self, budget: int, day: int) -> int:
        """What the day may still spend."""
        if day != self.day:
            self.day, self.spent = day, 0
        return budget - self.spent


class ShelfCodec:
    """Writes the shelf into snapshots."""

    _codec = compile_codec(load_schema("auctions.AdShelf"), _TYPES, **_NO_BOUNDS)

    def encode(self, shelf: Shelf) -> bytes:
        auctions = {auction.auction_id: auction for auction in shelf.candidates(None)}
        return self._codec.encode(AdShelf(auctions, shelf.day, shelf.spent))

    def decode(self, data: bytes) -> Shelf:
        stored: AdShelf = self._codec.decode(data)
        shelf = Shelf({}, stored.day, stored.spent)
        for auction in stored.auctions.values():
            shelf.put(auction)
        return shelf


def may_be_shown(auction: OpenAuction, request: AdRequest, person: AdPerson, caps: Caps, clock: int) -> bool:
    """The exclusions. Prices of other currencies cannot be compared, so they are left out as well."""
    return (
        auction.seller_id != request.person
        and auction.auction_id != request.auction_id
        and auction.currency == request.price.currency
        and auction.starts_at <= clock
        and auction.ends_at - clock >= caps.least_left_ms
        and auction.auction_id not in person.leads
        and all(shown.auction_id != auction.auction_id or clock - shown.at >= caps.again_ms for shown in person.shown)
    )


class AdPlacer(Processor):
    """Keeps what is open, whom each person leads and what they were shown, and answers requests."""

    stage = "auction.ads"
    reads = (OpenAuction, AdLead, AdRequest)
    entity_codec = compile_codec(load_schema("auctions.AdPerson"), _TYPES, **_NO_BOUNDS)
    shared_codec = ShelfCodec()

    def __init__(self, caps: Caps | None = None, chooser: Chooser = SIMILAR) -> None:
        self.caps = caps or Caps()
        self._chooser = chooser

    def new_shared(self) -> Shelf:
        return Shelf()

    def key(self, event: OpenAuction | AdLead | AdRequest) -> str:
        return event.copy if isinstance(event, OpenAuction) else event.person

    def on_event(
        self, key: str, entity: AdPerson | None, event: OpenAuction | AdLead | AdRequest, context: Context
    ) -> AdPerson | None:
        if isinstance(event, OpenAuction):
            context.shared.put(event)
            return entity
        person = AdPerson((), ()) if entity is None else entity
        if isinstance(event, AdLead):
            others = tuple(led for led in person.leads if led != event.auction_id)
            person = person._replace(leads=(*others, event.auction_id) if event.leads else others)
        else:
            person = self._place(person, event, context)
        return person if person.leads or person.shown else None

    def _place(self, person: AdPerson, request: AdRequest, context: Context) -> AdPerson:
        caps, shelf, clock = self.caps, context.shared, context.clock
        keep = max(caps.window_ms, caps.again_ms)
        person = person._replace(shown=tuple(shown for shown in person.shown if clock - shown.at < keep))
        lately = sum(clock - shown.at < caps.window_ms for shown in person.shown)
        room = min(caps.per_request, caps.most - lately, shelf.left(caps.budget, clock // DAY_MS))
        if room <= 0:
            return person
        fitting = []
        for auction in shelf.candidates(request.category if self._chooser.same_category else None):
            if may_be_shown(auction, request, person, caps, clock):
                score, reason = self._chooser.score(request, auction, context.place)
                fitting.append((-score, auction.auction_id, reason))
        for score, auction_id, reason in sorted(fitting)[:room]:
            number = blake2b(f"{context.place}\0{auction_id}".encode(), digest_size=16).hexdigest()
            placed = AdPlacement(
                number, request.person, auction_id, request.auction_id, -score, reason, context.place, clock
            )
            context.emit(topics.ADS, request.person, placed)
            person = person._replace(shown=(*person.shown, AdShown(auction_id, clock)))
            shelf.spent += 1
        return person
