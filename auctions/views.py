"""Auction views as pure rules: the rows that one partition of the auction topics makes, and the cells of all of them together.

A view is given the records of its topic's partition in order and gives rows of tables of `auctions.view_tables`; upserting them by key is
idempotent. Ticks and thresholds, which stand between the events, say nothing here.
"""

import json
from collections.abc import Iterable, Iterator

from auctions import topics
from auctions.analytics_topics import SPREADS as SPREAD_TOPIC
from auctions.geo_cells import CellRow, Suppressed
from auctions.geography import center_of
from auctions.view_tables import ADS, ALERTS, AUCTIONS, DECISIONS, NOTICES, PRICES, RANGES, SPREADS
from payments.views import Events, Rows, View
from schemas.auctions import (
    AdPlacement,
    Alert,
    AuctionOutcome,
    AuctionSpread,
    BidDecision,
    ItemListed,
    Notice,
    PriceRange,
    RangeServed,
    SaleUnpaid,
)
from transforms.tables import Row


class StoryView(View):
    """Auctions as they ended, or as they stand, what of their prices was not paid, every decision about a bid, and the price ranges that
    bidders saw; `tried`: the levels that were asked for one, as JSON, a list of [level, n]."""

    topics = (topics.HISTORY.name,)

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self._items: dict[str, ItemListed] = {}
        self._ends: dict[str, tuple[int, AuctionOutcome]] = {}
        self._unpaid: dict[str, list[tuple[int, SaleUnpaid]]] = {}

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        decided, shown = [], []
        for position, event in events:
            if isinstance(event, ItemListed):
                self._items.setdefault(event.auction_id, event)
            elif isinstance(event, AuctionOutcome):
                self._ends.setdefault(event.auction_id, (position, event))
            elif isinstance(event, SaleUnpaid):
                self._unpaid.setdefault(event.auction_id, []).append((position, event))
            elif isinstance(event, BidDecision):
                decided.append(_decision_row(self.shard, position, event))
            elif isinstance(event, RangeServed):
                shown.append(_range_row(event))
        yield DECISIONS, decided
        yield RANGES, shown

    def finish(self) -> Iterator[Rows]:
        yield (
            AUCTIONS,
            [
                _auction_row(self.shard, item, self._ends.get(name), self._unpaid.get(name, []))
                for name, item in self._items.items()
            ],
        )


def _auction_row(
    shard: int, item: ItemListed, ended: tuple[int, AuctionOutcome] | None, unpaid: list[tuple[int, SaleUnpaid]]
) -> Row:
    listed = (
        *(item.auction_id, shard, item.title, item.category, item.seller_id, item.currency, item.start_price),
        *(item.reserve, item.buy_now, item.funds_required, item.starts_at, item.ends_at),
    )
    if ended is None:
        return (*listed, item.ends_at, 0, None, None, None, 0, None, 0, 0, -1)
    position, end = ended
    price = None if end.price is None else end.price.minor
    return (
        *(*listed, end.effective_end, end.extensions, end.outcome, end.winner, price),
        *(sum(event.amount.minor for _, event in unpaid), unpaid[-1][1].reason if unpaid else None),
        *(end.bids, end.bidders, unpaid[-1][0] if unpaid else position),
    )


def _decision_row(shard: int, position: int, event: BidDecision) -> Row:
    maximum, price = (None if money is None else money.minor for money in (event.maximum, event.price))
    return (
        *(shard, position, event.auction_id, event.bid_id, event.bidder_id, event.status, maximum, price, event.leader),
        *(event.automatic, event.effective_end, event.extensions, event.received_at, event.cell),
    )


def _range_row(served: RangeServed) -> Row:
    tried, r = json.dumps([list(level) for level in served.tried]), served.range
    found: Row = (None,) * 8 if r is None else (r.level, r.currency, r.n, r.p10, r.p25, r.p50, r.p75, r.p90)
    return (served.auction_id, served.asked_at, *found, tried)


class SpreadView(View):
    """The spread of each auction that is over, at its marks."""

    topics = (SPREAD_TOPIC.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield (
            SPREADS,
            [
                (
                    event.auction_id,
                    s.mark,
                    event.currency,
                    event.category,
                    s.at,
                    s.ask,
                    s.bid,
                    s.absolute,
                    s.basis_points,
                )
                for _, event in events
                if isinstance(event, AuctionSpread)
                for s in event.marks
            ],
        )


class PriceView(View):
    """The newest price range of each similarity key."""

    topics = (topics.PRICES.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield (
            PRICES,
            [
                (r.key, r.level, r.currency, r.n, r.p10, r.p25, r.p50, r.p75, r.p90, r.revision)
                for _, r in events
                if isinstance(r, PriceRange)
            ],
        )


class PlacementView(View):
    """What people were shown near a close."""

    topics = (topics.ADS.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield (
            ADS,
            [
                (ad.placement_id, ad.person, ad.auction_id, ad.because_of, ad.reason, ad.at)
                for _, ad in events
                if isinstance(ad, AdPlacement)
            ],
        )


class AlertView(View):
    """Findings about cheats, with the evidence as JSON: a list of [what, figure, auction]."""

    topics = (topics.ALERTS.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield ALERTS, [_alert_row(event) for _, event in events if isinstance(event, Alert)]


def _alert_row(alert: Alert) -> Row:
    evidence = json.dumps([list(part) for part in alert.evidence])
    persons = " ".join(alert.persons)
    score = f"{alert.score:.3f}".rstrip("0").rstrip(".")  # 46012.3, never with an exponent
    return alert.alert_id, alert.signal, persons, score, alert.rule_version, alert.at, evidence


class NoticeView(View):
    """Who was told what."""

    topics = (topics.NOTICES.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield (
            NOTICES,
            [(n.notice_id, n.person, n.kind, n.auction_id, n.at) for _, n in events if isinstance(n, Notice)],
        )


VIEWS: tuple[type[View], ...] = (StoryView, SpreadView, PriceView, PlacementView, AlertView, NoticeView)


def cell_rows(rows: Iterable[CellRow | Suppressed]) -> list[Row]:
    """Rows of CELLS; what was suppressed has the cell "" and no place."""
    found: list[Row] = []
    for row in rows:
        if isinstance(row, Suppressed):
            found.append((row.window, "", "", "", row.bids, 0, None))
            continue
        lat, lon, _ = center_of(row.cell)
        spend = None if row.spend is None else json.dumps(row.spend)
        found.append((row.window, row.cell, f"{lat:.3f}", f"{lon:.3f}", row.bids, row.bidders, spend))
    return found
