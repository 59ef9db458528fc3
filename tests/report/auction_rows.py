"""Rows of the auction views by hand, and a database of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auctions.view_tables import ADS, ALERTS, AUCTIONS, CELLS, DECISIONS, NOTICES, PRICES, RANGES, SPREADS
from auctions.view_tables import TABLES as OF_AUCTIONS
from payments.view_tables import DERIVED, TABLES
from transforms.row_batches import RowBatch, pack_rows
from transforms.sql_views import upsert_rows
from transforms.tables import Row, Table

AT = 1_767_225_600_000
CELL = "841f1d5ffffffff"
EVIL = "<script>alert('x')</script>"
EVIDENCE = (
    '[["lost", 5.0, null], ["seen at", 1767225600000.0, "x"], ["price before", 1234567.0, "x"], '
    '["auction", null, "x"], ["auction", null, "y"]]'
)


def auction(name: str, *, title: str = "A watch", outcome: str | None = "SOLD", **fields: Any) -> Row:
    values: dict[str, Any] = dict.fromkeys(AUCTIONS.names) | {
        "auction_id": name,
        "shard": 0,
        "title": title,
        "category": "watches",
        "seller": "s",
        "currency": "EUR",
        "start_price": 1_000,
        "backed": True,
        "starts_at": AT,
        "ends_at": AT + 1_000,
        "effective_end": AT + 1_500,
        "extensions": 1,
        "outcome": outcome,
        "winner": "anna",
        "price": 2_050,
        "unpaid": 0,
        "bids": 2,
        "bidders": 2,
        "position": 9,
    }
    return tuple((values | fields).values())


def decision(
    position: int, name: str, bidder: str, status: str, maximum: int | None, price: int, leader: str | None
) -> Row:
    end = (AT + 1_500, 1, AT + 100 * position, None)
    return (0, position, name, f"b{position}", bidder, status, maximum, price, leader, position == 3, *end)


def rows() -> dict[Table, list[Row]]:
    return {
        AUCTIONS: [
            auction("x", reserve=1_500, buy_now=9_000),
            auction("it's", title=EVIL, outcome=None, winner=None, price=None, bidders=0, bids=0, extensions=0),
        ],
        DECISIONS: [
            decision(1, "x", "bert", "ACCEPTED_BELOW_RESERVE", 1_200, 1_200, "bert"),
            decision(2, "x", "anna", "ACCEPTED", 3_000, 1_500, "anna"),
            decision(3, "x", "anna", "ACCEPTED", 3_000, 2_050, "anna"),
            decision(4, "x", EVIL, "TOO_LOW", 1, 2_050, "anna"),
            decision(5, "x", "bert", "RETRACTED", 1_200, 2_050, "anna"),
            decision(6, "x", "carl", "RETRACTION_REFUSED", None, 2_050, "anna"),
        ],
        SPREADS: [
            ("x", "CLOSE", "EUR", "watches", AT, 2_150, 2_050, 100, 476),
            ("y", "CLOSE", "EUR", "watches", AT, 2_150, 2_050, 100, 900),
            ("x", "REMAINING_50", "EUR", "watches", AT, 1_000, None, None, None),
        ],
        PRICES: [
            ("EUR", "ALL", "EUR", 12, 100, 200, 1_234, 400, 500, 3),
            ("EUR\x1fwatches", "CATEGORY", "EUR", 12, 100, 200, 300, 400, 500, 3),
        ],
        RANGES: [
            ("x", AT - 5_000, *[None] * 8, '[["ALL", 3]]'),
            ("x", AT - 1_000, "CATEGORY", "EUR", 1_041, 900, 1_111, 1_222, 1_333, 123_456, '[["TAGS", 3], ["CATEGORY", 1041]]'),
            ("x", AT + 700, "TAGS", "EUR", 10, 900, 1_150, 1_250, 1_400, 1_500, '[["TAGS", 10]]'),
        ],
        ADS: [("p", "bert", "y", "x", "same category", AT)],
        ALERTS: [("a", "SHILL", "bert s", "7.9", 2, AT, EVIDENCE)],
        NOTICES: [("n1", "anna", "PURCHASED", "x", AT), ("n2", "bert", "LOST", "x", AT)],
        CELLS: [(AT, CELL, "52.500", "13.400", 7, 5, None), (AT, "", "", "", 3, 0, None)],
    }


def database(path: Path, held: dict[Table, list[Row]]) -> Path:
    batches: Iterator[RowBatch] = (pack_rows(table, lines) for table, lines in held.items())
    upsert_rows(path, TABLES, [], DERIVED)
    upsert_rows(path, OF_AUCTIONS, batches)
    return path


def full_rows() -> dict[Table, list[Row]]:
    """The same, and what is long or far away: names without a space, large sums, cells on two continents, every signal."""
    held, long = rows(), "a-bidder-with-a-name-that-is-very-long-indeed-0123456789"
    evidence = f'[["maximum taken back", 123456789012.0, "x"], ["alpha", 0.123456, null], ["auction", null, "{long}"]]'
    signals = ("SHILL", "SNIPING", "HAMMER_SNIPE", "SHIELDING", "COLLUSION", "OVERLAP", "IMPOSSIBLE_TRAVEL")
    places = {"52.5": "13.4", "48.857": "2.352", "40.4": "-3.7", "40.7": "-74.0", "-33.9": "151.2"}
    return held | {
        AUCTIONS: [
            auction("x", title="A watch " * 12, reserve=100_000_000, buy_now=10**12, winner=long, price=98_765_432_101),
            auction("y", outcome="RESERVE_NOT_MET", winner=None, price=None, extensions=0, effective_end=AT + 1_000),
        ],
        DECISIONS: [
            *held[DECISIONS],
            decision(7, "x", long, "ACCEPTED", 98_765_432_102, 98_765_432_101, long),
            decision(8, "y", "bert", "ACCEPTED_BELOW_RESERVE", 1_200, 1_200, "bert"),
        ],
        ALERTS: [(signal, signal, f"{long} seller", "46012.345", 0, AT, evidence) for signal in signals],
        CELLS: [(AT, f"cell{n}", lat, lon, 10 ** (4 - n), 5, None) for n, (lat, lon) in enumerate(places.items())],
    }
