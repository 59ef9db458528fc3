"""The spread between what would settle an auction and what is bid (A6). Over auction.bids.history, keyed by auction_id.

Ask: the reserve while it is not met, else the buy-now price while it is offered, else the next minimum bid. Bid: the best bid, which is the
price. Absolute, and in basis points of the middle of both. Looked at with 50 %, 10 % and 1 % of the time remaining (of the whole time up to
the effective end) and at the close, and as a mean over the time with a bid, each spread weighted by how long it stood.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from auctions.analytics_topics import SPREADS
from auctions.increments import increments_of
from auctions.stories import HISTORY_EVENTS, MOVES, HistoryEvent
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    AuctionOutcome,
    AuctionSpread,
    BidDecision,
    EndingSoon,
    ItemListed,
    Quote,
    RangeServed,
    SaleUnpaid,
    Spread,
    SpreadMark,
    SpreadState,
)
from schemas.payments import RECORDS as PAYMENTS
from transforms.avro import compile_codec
from transforms.fold import Context, Processor

MARKS: tuple[tuple[SpreadMark, int], ...] = (("REMAINING_50", 50), ("REMAINING_10", 10), ("REMAINING_1", 1))

_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


def quote_at(item: ItemListed, at: int, price: int | None) -> Quote:
    """Ask and bid of an auction whose price is `price` since `at` (ms); None: nobody has bid."""
    if item.reserve is not None and (price is None or price < item.reserve):
        ask = item.reserve
    elif item.buy_now is not None and (price is None or (item.reserve is not None and price < item.reserve)):
        ask = item.buy_now
    elif price is None:
        ask = item.start_price
    else:
        ask = price + increments_of(item.increments, item.currency).of(price)
    return Quote(at, ask, price)


def basis_points(ask: int, bid: int) -> int:
    """(ask - bid) of the middle of both, in units of 1/10,000, rounded half up; 0 if both are 0."""
    both = ask + bid
    return (2 * 20_000 * (ask - bid) + both) // (2 * both) if both else 0


def spread_at(quotes: Sequence[Quote], mark: SpreadMark, at: int) -> Spread:
    """The spread as it stands just before `at`: a change at `at` itself is after it. The first quote stands from the start."""
    before = [quote for quote in quotes if quote.at < at] or list(quotes[:1])
    _, ask, bid = before[-1]
    if bid is None:
        return Spread(mark, at, ask, None, None, None)
    return Spread(mark, at, ask, bid, ask - bid, basis_points(ask, bid))


class Mean(NamedTuple):
    """Time-weighted means, rounded to whole units (exact halves up), and the time (ms) that they are over."""

    absolute: int | None
    basis_points: int | None
    quoted_ms: int


def mean_spread(quotes: Sequence[Quote], end: int) -> Mean:
    """Each quote stands until the next, the last until `end` (ms). Those without a bid have no spread and no weight."""
    absolute = points = weight = 0
    for (at, ask, bid), after in pairwise((*quotes, Quote(end, 0, None))):
        stood = min(after.at, end) - at
        if bid is None or stood <= 0:
            continue
        weight += stood
        absolute += stood * (ask - bid)
        points += stood * basis_points(ask, bid)
    if not weight:
        return Mean(None, None, 0)
    return Mean((2 * absolute + weight) // (2 * weight), (2 * points + weight) // (2 * weight), weight)


class Spreads(Processor):
    """Keeps the quotes of each auction that is not over, and says at its end how the spread went. A cancelled one has no end to look at."""

    stage = "auction.spreads"
    reads = HISTORY_EVENTS
    entity_codec = compile_codec(load_schema("auctions.SpreadState"), {**RECORDS, **PAYMENTS}, **_NO_BOUNDS)

    def key(self, event: HistoryEvent) -> str:
        return event.auction_id

    def on_event(
        self,
        key: str,
        entity: SpreadState | None,
        event: HistoryEvent,
        context: Context,
    ) -> SpreadState | None:
        if isinstance(event, ItemListed):
            return SpreadState(event, (quote_at(event, event.starts_at, None),)) if entity is None else entity
        if entity is None or isinstance(event, RangeServed | EndingSoon | SaleUnpaid):
            return entity
        if isinstance(event, BidDecision):
            return self._after_bid(entity, event) if event.status in MOVES else entity
        if event.outcome != "CANCELLED":
            context.emit(SPREADS, key, self._whole(entity, event))
        return None

    def _after_bid(self, entity: SpreadState, event: BidDecision) -> SpreadState:
        """Only a change of ask or bid makes a quote; of several at the same time the last one stands."""
        price = None if event.leader is None or event.price is None else event.price.minor
        quote = quote_at(entity.item, event.at, price)
        last = entity.quotes[-1]
        if (quote.ask, quote.bid) == (last.ask, last.bid):
            return entity
        kept = entity.quotes[:-1] if last.at == quote.at else entity.quotes
        return entity._replace(quotes=(*kept, quote))

    def _whole(self, entity: SpreadState, event: AuctionOutcome) -> AuctionSpread:
        item, quotes = entity.item, entity.quotes
        start, end = item.starts_at, event.effective_end
        marks = [spread_at(quotes, mark, end - (end - start) * left // 100) for mark, left in MARKS]
        mean = mean_spread(quotes, end)
        return AuctionSpread(
            event.auction_id,
            event.seller_id,
            item.category,
            item.currency,
            event.outcome,
            (*marks, spread_at(quotes, "CLOSE", end)),
            mean.absolute,
            mean.basis_points,
            mean.quoted_ms,
            max(0, end - start),
            len(quotes),
            event.at,
        )
