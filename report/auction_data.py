"""What the report says of auctions, read from the views database by SQL that DuckDB and SQLite both know."""

import json
from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

from report.views import Connection, NoViews, query_lines, query_rows

STORIES = 3
MAX_ALERTS = 3  # of each signal
MAX_CELLS = 400


class Totals(NamedTuple):
    """How auctions of a currency ended; money is what was paid, minor units."""

    currency: str
    outcome: str
    auctions: int
    bids: int
    extensions: int
    paid: int | None


class Auction(NamedTuple):
    """One auction."""

    auction_id: str
    title: str
    currency: str
    start_price: int
    reserve: int | None
    buy_now: int | None
    backed: bool | int
    starts_at: int
    effective_end: int
    ends_at: int
    extensions: int
    outcome: str | None
    winner: str | None
    price: int | None


class Step(NamedTuple):
    """A decision that moved price or leader, or refused a bid."""

    received_at: int
    bidder: str
    status: str
    maximum: int | None
    price: int | None
    leader: str | None
    automatic: bool | int


class Seen(NamedTuple):
    """What bidders saw of the prices of similar items, from when it was asked until it was asked again: half of the sales were for `low` to
    `high`, minor units."""

    asked_at: int
    until: int | None
    level: str
    n: int
    low: int
    median: int
    high: int


class Story(NamedTuple):
    """An auction with what happened in it."""

    auction: Auction
    steps: list[Step]
    seen: list[Seen]


class SpreadLine(NamedTuple):
    """The spreads of all auctions at a mark, in basis points."""

    mark: str
    auctions: int
    median: int
    widest: int


class PriceLine(NamedTuple):
    """A range of prices, minor units."""

    key: str
    level: str
    currency: str
    n: int
    p10: int
    p25: int
    p50: int
    p75: int
    p90: int


class CellLine(NamedTuple):
    """A cell over all windows; the one without a place is what was suppressed."""

    cell: str
    lat: str
    lon: str
    bids: int
    bidders: int


class AlertLine(NamedTuple):
    """A finding."""

    signal: str
    persons: str
    score: float
    rule_version: int
    at_ms: int
    evidence: str


class Evidence(NamedTuple):
    """A part of a finding's evidence: a figure (None: the auction alone), and the auction that it was seen in."""

    what: str
    figure: float | None
    auction: str | None


class Counted(NamedTuple):
    """How many there are of a name."""

    name: str
    number: int


class AuctionFigures(NamedTuple):
    """All figures of the sections about auctions."""

    totals: list[Totals]
    statuses: list[Counted]
    stories: list[Story]
    spreads: list[SpreadLine]
    prices: list[PriceLine]
    cells: list[CellLine]
    signals: list[Counted]
    alerts: list[AlertLine]  # the highest scores of each signal
    currencies: dict[str, str]  # of the auctions in their evidence
    notices: list[Counted]
    placements: int


def read_auctions(db: Connection) -> AuctionFigures | None:
    """All figures; None for a database without tables of auctions."""
    try:
        query_rows(db, "SELECT auction_id FROM auctions LIMIT 0")
    except NoViews:
        return None
    told = query_lines(db, _TOLD, Auction)
    stories = [_story(db, auction) for auction in told]
    alerts = query_lines(db, _ALERTS, AlertLine)
    return AuctionFigures(
        query_lines(db, _TOTALS, Totals),
        query_lines(
            db, "SELECT status, COUNT(*) FROM decisions WHERE NOT automatic GROUP BY 1 ORDER BY 2 DESC, 1", Counted
        ),
        stories,
        _spreads(db),
        query_lines(db, _PRICES, PriceLine),
        query_lines(db, _CELLS, CellLine),
        query_lines(db, "SELECT signal, COUNT(*) FROM alerts GROUP BY 1 ORDER BY 2 DESC, 1", Counted),
        alerts,
        _currencies(db, alerts),
        query_lines(db, "SELECT kind, COUNT(*) FROM notices GROUP BY 1 ORDER BY 2 DESC, 1", Counted),
        query_rows(db, "SELECT COUNT(*) FROM placements")[0][0],
    )


def _story(db: Connection, auction: Auction) -> Story:
    name = _quoted(auction.auction_id)
    return Story(auction, query_lines(db, _STEPS.format(name), Step), query_lines(db, _SEEN.format(name), Seen))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def evidence_of(alert: AlertLine) -> list[Evidence]:
    """In its order. Raises NoViews for what auction_views never write."""
    try:
        found = [Evidence(*part) for part in json.loads(alert.evidence)]
    except (ValueError, TypeError):
        found = [Evidence("", float("nan"), None)]
    for what, value, auction in found:
        whole = isinstance(what, str) and (auction is None or isinstance(auction, str))
        if not whole or not (value is None or (isinstance(value, int | float) and isfinite(value))):
            raise NoViews("has evidence that is no list of [what, figure, auction], which auction_views never write")
    return found


def _currencies(db: Connection, alerts: Iterable[AlertLine]) -> dict[str, str]:
    """Of the auctions that evidence names."""
    named = {part.auction for alert in alerts for part in evidence_of(alert) if part.auction is not None}
    wanted = ", ".join(map(_quoted, sorted(named))) or "NULL"
    return dict(query_rows(db, f"SELECT auction_id, currency FROM auctions WHERE auction_id IN ({wanted})"))


def _spreads(db: Connection) -> list[SpreadLine]:
    """Medians in Python: SQLite has none."""
    rows = query_rows(db, "SELECT mark, points FROM spreads WHERE points IS NOT NULL ORDER BY mark, points")
    by_mark: dict[str, list[int]] = {}
    for mark, points in rows:
        by_mark.setdefault(mark, []).append(points)
    order = ("REMAINING_50", "REMAINING_10", "REMAINING_1", "CLOSE")
    return [
        SpreadLine(mark, len(held), held[len(held) // 2], held[-1]) for mark in order if (held := by_mark.get(mark))
    ]


_TOTALS = """
    SELECT currency, COALESCE(outcome, 'OPEN'), COUNT(*), CAST(SUM(bids) AS BIGINT), CAST(SUM(extensions) AS BIGINT),
        CAST(SUM(price - unpaid) AS BIGINT)
    FROM auctions GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2"""
_TOLD = f"""
    SELECT auction_id, title, currency, start_price, reserve, buy_now, backed, starts_at, effective_end, ends_at, extensions, outcome,
        winner, price
    FROM auctions ORDER BY extensions > 0 DESC, bidders DESC, bids DESC, auction_id LIMIT {STORIES}"""
_STEPS = """
    SELECT received_at, bidder, status, maximum, price, leader, automatic FROM decisions
    WHERE auction_id = {} ORDER BY shard, position"""
_SEEN = """
    SELECT asked_at, until, level, n, p25, p50, p75 FROM (
        SELECT *, LEAD(asked_at) OVER (ORDER BY asked_at) AS until FROM auction_ranges WHERE auction_id = {}
    ) AS seen WHERE level IS NOT NULL ORDER BY asked_at"""
_PRICES = """
    SELECT key, level, currency, n, p10, p25, p50, p75, p90 FROM price_ranges
    WHERE level <> 'TAGS' ORDER BY level, n DESC, key LIMIT 20"""
_CELLS = f"""
    SELECT cell, lat, lon, CAST(SUM(bids) AS BIGINT), CAST(MAX(bidders) AS BIGINT) FROM cells
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1 LIMIT {MAX_CELLS}"""
_ALERTS = f"""
    SELECT signal, persons, CAST(score AS DOUBLE), rule_version, at_ms, evidence FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY signal ORDER BY CAST(score AS DOUBLE) DESC, alert_id) AS place FROM alerts
    ) AS placed WHERE place <= {MAX_ALERTS} ORDER BY signal, place"""
