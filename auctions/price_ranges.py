"""What similar items were sold for (A7): quantiles over a sliding horizon, per similarity key, with back-off.

    Sales        auction.bids.history (auction_id) → auction.sales, a Sale per similarity key of an item that was sold
    PriceRanges  auction.sales (similarity key)    → auction.prices, upserts
    serve        ranges by key, an item            → the narrowest range with enough sales behind it, and what was tried

Prices are counted in the bins of a DDSketch, whose counts are integers: merging is exact and its order does not matter, so a range is the
same however the sales were spread. A day's sales are one sketch, days are dropped as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

from auctions import topics
from auctions.analytics_topics import SALES
from auctions.stories import HISTORY_EVENTS, HistoryEvent
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    AuctionOutcome,
    ItemListed,
    PriceBin,
    PriceDay,
    PriceHistory,
    PriceRange,
    Sale,
    SaleItem,
    SimilarityLevel,
)
from schemas.payments import RECORDS as PAYMENTS
from transforms.aggregates import Quantiles
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import Context, Processor

DAY_MS = 86_400_000
SHARES = (0.10, 0.25, 0.50, 0.75, 0.90)
LEVELS: tuple[SimilarityLevel, ...] = ("TAGS", "CATEGORY", "ALL")  # from the narrowest

_TYPES = {**RECORDS, **PAYMENTS}
_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


class Similar(NamedTuple):
    """A similarity key of an item."""

    level: SimilarityLevel
    key: str


def similarity_keys(category: str, tags: tuple[str, ...], currency: str) -> tuple[Similar, ...]:
    """The keys of an item, the narrowest first; without tags there is no key of tags. The order of tags does not matter.

    Parts are told apart by a control character, which the intake does not let into categories and tags.
    """
    keys = [Similar("ALL", currency), Similar("CATEGORY", f"{currency}\x1f{category}")]
    if tags:
        keys.append(Similar("TAGS", "\x1f".join((currency, category, *sorted(set(tags))))))
    return tuple(reversed(keys))


class Sales(Processor):
    """Sends the price of what was sold to the similarity keys of the item. Keeps what the items of auctions that are not over are like."""

    stage = "auction.sales"
    reads = HISTORY_EVENTS
    entity_codec = compile_codec(load_schema("auctions.SaleItem"), _TYPES, **_NO_BOUNDS)

    def key(self, event: HistoryEvent) -> str:
        return event.auction_id

    def on_event(
        self,
        key: str,
        entity: SaleItem | None,
        event: HistoryEvent,
        context: Context,
    ) -> SaleItem | None:
        if isinstance(event, ItemListed):
            return SaleItem(event.category, event.tags)
        if not isinstance(event, AuctionOutcome):
            return entity
        if entity is not None and event.outcome == "SOLD" and event.price is not None and event.price.minor > 0:
            for level, similar in similarity_keys(entity.category, entity.tags, event.price.currency):
                context.emit(SALES, similar, Sale(similar, level, key, event.price, event.effective_end))
        return None


class PriceRanges(Processor):
    """Keeps the sales of the horizon, day by day, and upserts the range after each sale."""

    stage = "auction.prices"
    reads = (Sale,)
    entity_codec = compile_codec(load_schema("auctions.PriceHistory"), _TYPES, **_NO_BOUNDS)

    def __init__(self, horizon_days: int = 90, relative_error: float = 0.01) -> None:
        if horizon_days < 1:
            raise ValueError(f"horizon_days must be positive, got {horizon_days}")
        self.horizon_days = horizon_days
        self._sketch = Quantiles(SHARES, relative_error)  # checks the error

    def key(self, event: Sale) -> str:
        return event.key

    def on_event(self, key: str, entity: PriceHistory | None, event: Sale, context: Context) -> PriceHistory:
        if event.price.minor <= 0:
            raise BadRecord("BAD_PRICE", "price is not positive")
        currency, day = event.price.currency, event.sold_at // DAY_MS
        if entity is not None and entity.currency != currency:
            raise BadRecord("CURRENCY_MISMATCH", "the key has sales in another currency")
        newest = day if entity is None else max(day, entity.newest)
        days = (
            {} if entity is None else {held.day: held for held in entity.days if held.day > newest - self.horizon_days}
        )
        if day <= newest - self.horizon_days:
            context.count_as_late()
            assert entity is not None  # its newest sale is what this one is late for
            return entity
        ((_, number),) = self._sketch.lift((event.price.minor,))
        bins = {held.number: held.n for held in days[day].bins} if day in days else {}
        bins[number] = bins.get(number, 0) + 1
        days[day] = PriceDay(day, tuple(PriceBin(*held) for held in sorted(bins.items())))
        revision = 1 if entity is None else entity.revision + 1
        after = PriceHistory(event.level, currency, tuple(days[held] for held in sorted(days)), newest, revision)
        context.upsert(topics.PRICES, key, self.range_of(key, after, context.clock), revision)
        return after

    def range_of(self, key: str, history: PriceHistory, as_of: int) -> PriceRange:
        """The range of all sales that are kept, prices rounded to whole minor units."""
        merged = self._sketch.merge({(1, held.number): held.n for held in day.bins} for day in history.days)
        found = self._sketch.result(merged)
        assert found is not None  # at least one sale is kept
        p10, p25, p50, p75, p90 = (round(price) for price in found)
        return PriceRange(
            key,
            history.level,
            history.currency,
            sum(merged.values()),
            p10,
            p25,
            p50,
            p75,
            p90,
            self._sketch.relative_error,
            self.horizon_days * DAY_MS,
            history.revision,
            as_of,
        )


class Tried(NamedTuple):
    """A level that was asked for a range, and how many sales it had."""

    level: SimilarityLevel
    n: int


class Served(NamedTuple):
    """The range that a bidder sees, and the levels that were tried for it, in order; the last is that of the range."""

    range: PriceRange | None
    tried: tuple[Tried, ...]


def serve(
    ranges: Callable[[str], PriceRange | None], category: str, tags: tuple[str, ...], currency: str, least: int = 10
) -> Served:
    """The narrowest range with at least `least` sales: tags, then category, then all; None if not even all have so many."""
    tried = []
    for level, key in similarity_keys(category, tags, currency):
        found = ranges(key)
        tried.append(Tried(level, 0 if found is None else found.n))
        if found is not None and found.n >= least:
            return Served(found, tuple(tried))
    return Served(None, tuple(tried))
