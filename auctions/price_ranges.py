"""What similar items were sold for (A7): quantiles over a sliding horizon, per similarity key, with back-off.

    Sales        auction.bids.history (auction_id) → auction.sales, a Sale per similarity key of an item that was sold
                 and a RangeAsked for one that is listed or near its end
    PriceRanges  auction.sales (similarity key)    → auction.prices, upserts; answers: auction.log, a RangeServed (auction_id)

Prices are counted in the bins of a DDSketch, whose counts are integers: merging is exact and its order does not matter, so a range is the
same however the sales were spread. A day's sales are one sketch, days are dropped as a whole.

**Served while bidding.** An auction sees its own partition of auction.log alone, so it cannot look a range up: it asks, and the answer
comes to it as a record, as answers about money do. The question is a record on the partition of the narrowest key; a key with too few
sales hands it on to the next wider one, and says how many it had. So the back-off is a chain of records that any replay finds again, and
no shard reads another's state. It is asked when the item is listed, and once more when its end is near: pushed with every sale, a range
of ALL would go to every open auction each time.
"""

from auctions import topics
from auctions.analytics_topics import SALES
from auctions.stories import HISTORY_EVENTS, HistoryEvent
from schemas import load_schema
from schemas.auctions import (
    RECORDS,
    AuctionOutcome,
    EndingSoon,
    ItemListed,
    PriceBin,
    PriceDay,
    PriceHistory,
    PriceRange,
    RangeAsked,
    RangeServed,
    Sale,
    SaleItem,
    SimilarKey,
    TriedLevel,
)
from schemas.payments import RECORDS as PAYMENTS
from transforms.aggregates import Quantiles
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import Context, Processor
from transforms.topic_settings import DAY_MS

SHARES = (0.10, 0.25, 0.50, 0.75, 0.90)

_TYPES = {**RECORDS, **PAYMENTS}
_NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}  # entities are ours


def similarity_keys(category: str, tags: tuple[str, ...], currency: str) -> tuple[SimilarKey, ...]:
    """The keys of an item, the narrowest first; without tags there is no key of tags. The order of tags does not matter.

    Parts are told apart by a control character, which the intake does not let into categories and tags.
    """
    keys = [SimilarKey("ALL", currency), SimilarKey("CATEGORY", f"{currency}\x1f{category}")]
    if tags:
        keys.append(SimilarKey("TAGS", "\x1f".join((currency, category, *sorted(set(tags))))))
    return tuple(reversed(keys))


class Sales(Processor):
    """Sends the price of what was sold to the similarity keys of the item, and asks for their range while bidders need it. Keeps what the
    items of auctions that are not over are like."""

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
            if entity is None:
                _ask(key, event.category, event.tags, event.currency, context)
            return SaleItem(event.category, event.tags)
        if isinstance(event, EndingSoon):
            _ask(key, event.category, event.tags, event.price.currency, context)
            return entity
        if not isinstance(event, AuctionOutcome):
            return entity
        if entity is not None and event.outcome == "SOLD" and event.price is not None and event.price.minor > 0:
            for level, similar in similarity_keys(entity.category, entity.tags, event.price.currency):
                context.emit(SALES, similar, Sale(similar, level, key, event.price, event.effective_end))
        return None


def _ask(auction_id: str, category: str, tags: tuple[str, ...], currency: str, context: Context) -> None:
    (level, key), *wider = similarity_keys(category, tags, currency)
    context.emit(SALES, key, RangeAsked(key, level, auction_id, tuple(wider), (), context.clock))


class PriceRanges(Processor):
    """Keeps the sales of the horizon, day by day; upserts the range after each sale, and answers who asks for it."""

    stage = "auction.prices"
    reads = (Sale, RangeAsked)
    entity_codec = compile_codec(load_schema("auctions.PriceHistory"), _TYPES, **_NO_BOUNDS)

    def __init__(self, horizon_days: int = 90, relative_error: float = 0.01, least: int = 10) -> None:
        """A range is served with at least `least` sales behind it; with fewer the next wider key is asked."""
        if min(horizon_days, least) < 1:
            raise ValueError(f"horizon_days and least must be positive, got {horizon_days} and {least}")
        self.horizon_days, self.least = horizon_days, least
        self._sketch = Quantiles(SHARES, relative_error)  # checks the error

    def key(self, event: Sale | RangeAsked) -> str:
        return event.key

    def on_event(
        self, key: str, entity: PriceHistory | None, event: Sale | RangeAsked, context: Context
    ) -> PriceHistory | None:
        if isinstance(event, RangeAsked):
            self._answer(entity, event, context)
            return entity
        return self._count(key, entity, event, context)

    def _answer(self, entity: PriceHistory | None, event: RangeAsked, context: Context) -> None:
        """The range of the sales within the horizon of the question, or the question handed on to the next wider key."""
        since = event.asked_at // DAY_MS - self.horizon_days
        days = () if entity is None else tuple(day for day in entity.days if day.day > since)
        n = sum(held.n for day in days for held in day.bins)
        tried = (*event.tried, TriedLevel(event.level, n))
        found = None
        if n >= self.least:
            assert entity is not None
            found = self.range_of(event.key, entity._replace(days=days), context.clock)
        elif event.wider:
            (level, key), *wider = event.wider
            context.emit(SALES, key, RangeAsked(key, level, event.auction_id, tuple(wider), tried, event.asked_at))
            return
        context.emit(topics.LOG, event.auction_id, RangeServed(event.auction_id, found, tried, event.asked_at))

    def _count(self, key: str, entity: PriceHistory | None, event: Sale, context: Context) -> PriceHistory:
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
