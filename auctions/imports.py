"""The import of foreign bids: what bid, and what item, a row of a CSV becomes under a mapping.

Pure rules. Nothing passes through a float: amounts and times are decimal digits.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from auctions.backing import is_id
from auctions.items import check_item
from auctions.mapping import SINCE_START, BidMapping
from payments.admission import is_account_id
from payments.imports import minor_units, parse_ms
from schemas.auctions import BidPlaced, ItemListed
from schemas.payments import Money
from schemas.rails import Tick
from transforms.errors import BadRecord
from transforms.topic_settings import DAY_MS

LISTED_MS = 60_000  # items are listed this long before the first start
_DECIMAL = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,12})?")


class Imported(NamedTuple):
    """A row: its item, and its bid with the time (ms) at which it was received."""

    item: ItemListed
    at: int
    bid: BidPlaced


def map_row(mapping: BidMapping, line: int, row: Mapping[str, str]) -> Imported:
    """The bid and item of a row; `line` is its number in its file, from 1.

    Raises:
        BadRecord: the row cannot be mapped. Codes: BAD_ID, BAD_AMOUNT, TOO_MANY_DECIMALS, AMOUNT_TOO_LARGE, BAD_TIME, UNMAPPED_DURATION,
            and those of `items.check_item`. What the auction judges (too low, after the end) passes.
    """
    auction, bidder = mapping.auction_id.fill(row), mapping.bidder_id.fill(row)
    bid_id = str(line) if mapping.bid_id is None else mapping.bid_id.fill(row)
    for name, text in (("auction_id", auction), ("bid_id", bid_id)):
        if not is_id(text):
            raise BadRecord("BAD_ID", name)
    if not is_account_id(bidder):
        raise BadRecord("BAD_ID", "bidder_id")
    at = _time(mapping, row)
    starts_at, length = mapping.start_ms, _duration(mapping, row)
    item = ItemListed(
        auction,
        auction,
        mapping.seller_id.fill(row),
        mapping.title.fill(row),
        "",
        mapping.category.fill(row),
        (),
        mapping.currency,
        _minor(mapping, mapping.start_price.fill(row)),
        None,
        None,
        mapping.increments,
        starts_at,
        starts_at + length,
        None,
        None,
        False,
    )
    check_item(item, -1)
    maximum = Money(_minor(mapping, mapping.maximum.fill(row)), mapping.currency)
    return Imported(item, at, BidPlaced(bid_id, auction, bidder, None, maximum, None, None, at))


def _minor(mapping: BidMapping, text: str) -> int:
    return minor_units(text, mapping.currency, mapping.decimal_mark, mapping.group_mark)


def _time(mapping: BidMapping, row: Mapping[str, str]) -> int:
    text = mapping.time.fill(row).strip()
    unit = SINCE_START.get(mapping.time_format)
    return parse_ms(text, mapping.time_format) if unit is None else mapping.start_ms + _span(text, unit, "BAD_TIME")


def _duration(mapping: BidMapping, row: Mapping[str, str]) -> int:
    text = mapping.duration_days.fill(row).strip()
    if mapping.durations is not None:
        if text not in mapping.durations:
            raise BadRecord("UNMAPPED_DURATION", "duration_days")
        text = mapping.durations[text]
    return _span(text, DAY_MS, "UNMAPPED_DURATION")


def _span(text: str, unit: int, code: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise BadRecord(code, "not a decimal number")
    return int(Decimal(text) * unit)


def order_events(rows: Iterable[Imported]) -> Iterable[tuple[int, ItemListed | BidPlaced | Tick]]:
    """(append time, event) of everything, in the order of a log: items before the first start, bids by (time, place in the file), and one
    tick past the last end, so that all auctions close. Where rows of one auction say different things about its item, its earliest bid's
    row counts.
    """
    ordered = sorted(rows, key=lambda row: row.at)
    items: dict[str, ItemListed] = {}
    for row in ordered:
        items.setdefault(row.item.auction_id, row.item)
    if not ordered:
        return
    first = min(ordered[0].at, *(item.starts_at for item in items.values())) - LISTED_MS
    yield from ((max(0, first), item) for item in items.values())
    yield from ((row.at, row.bid) for row in ordered)
    last = max(ordered[-1].at, *(item.ends_at for item in items.values()))
    yield last + 1, Tick(last)
