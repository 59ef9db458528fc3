"""Rows of the auction views, event by event."""

import json
from typing import Any

import pytest

from auctions.geo_cells import CellRow, Suppressed
from auctions.geography import cell_of
from auctions.view_tables import TABLES
from auctions.views import VIEWS, AlertView, PlacementView, PriceView, SpreadView, StoryView, cell_rows
from payments.views import View
from schemas.auctions import (
    AdPlacement,
    Alert,
    AuctionSpread,
    Evidence,
    PriceRange,
    RangeServed,
    SaleUnpaid,
    Spread,
    TriedLevel,
)
from schemas.payments import Money
from schemas.rails import Tick
from tests.auctions.analysis import START, bid, ending, item, outcome


def rows(view: type[View], *events: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows of a view by table, each by column; the events stand on partition 3, from offset 10."""
    made = view(3)
    found: dict[str, list[dict[str, Any]]] = {}
    for part in (made.add(view.topics[0], list(enumerate(events, 10))), made.finish()):
        for table, lines in part:
            found.setdefault(table.name, []).extend(dict(zip(table.names, line, strict=True)) for line in lines)
    return found


def test_an_auction_is_what_it_was_listed_as_and_how_it_ended() -> None:
    listed = item(reserve=2_000, funds_required=True)
    found = rows(
        StoryView, listed, bid("anna", 1_500, 5), Tick(1), ending(("anna",), "anna"), outcome("anna", 1_500, ("bert",))
    )
    (auction,) = found["auctions"]
    assert auction["winner"] == "anna" and auction["price"] == 1_500 and auction["outcome"] == "SOLD"
    assert (auction["unpaid"], auction["unpaid_reason"]) == (0, None)
    assert auction["reserve"] == 2_000 and auction["backed"] is True and auction["position"] == 14
    (decision,) = found["decisions"]
    assert (decision["shard"], decision["position"], decision["bidder"]) == (3, 11, "anna")
    assert (decision["maximum"], decision["received_at"]) == (1_500, START + 5)


def test_a_sale_that_is_not_paid() -> None:
    told = [SaleUnpaid("x", b, "seller", "anna", "A watch", Money(5, "EUR"), f"AC0{b}", START) for b in "46"]
    (auction,) = rows(StoryView, item(), outcome("anna", 1_500), *told)["auctions"]
    assert (auction["outcome"], auction["price"], auction["unpaid"], auction["unpaid_reason"]) == ("SOLD", 1_500, 10, "AC06")
    assert auction["position"] == 13, "newer than the row before it was told"


def test_an_auction_that_is_open_has_no_outcome() -> None:
    (auction,) = rows(StoryView, item(), item()._replace(title="another"))["auctions"]
    assert (auction["outcome"], auction["position"], auction["title"]) == (None, -1, "A watch")
    (auction,) = rows(StoryView, item(), outcome())["auctions"]
    assert (auction["outcome"], auction["price"]) == ("UNSOLD", None)


def test_a_decision_without_an_item_has_no_price() -> None:
    unknown = bid("anna", 5, 0, status="UNKNOWN_ITEM")._replace(price=None, leader=None, effective_end=None)
    (decision,) = rows(StoryView, unknown)["decisions"]
    assert decision["price"] is None


def test_spreads_prices_placements_and_findings() -> None:
    marks = (Spread("REMAINING_50", 5, 20, None, None, None), Spread("CLOSE", 9, 20, 10, 10, 6_667))
    spread = AuctionSpread("x", "s", "watches", "EUR", "SOLD", marks, 10, 6_667, 5, 10, 2, 9)
    found = rows(SpreadView, spread, Tick(1))["spreads"]
    assert [(row["mark"], row["bid"], row["points"]) for row in found] == [
        ("REMAINING_50", None, None),
        ("CLOSE", 10, 6_667),
    ]
    prices = PriceRange("EUR", "ALL", "EUR", 4, 1, 2, 3, 4, 5, 0.01, 90, 7, 9)
    (row,) = rows(PriceView, prices)["price_ranges"]
    assert (row["n"], row["p50"], row["revision"]) == (4, 3, 7)
    tried = (TriedLevel("CATEGORY", 2), TriedLevel("ALL", 4))
    first, second = rows(StoryView, RangeServed("x", None, tried[:1], 5), RangeServed("x", prices, tried, 6))["auction_ranges"]
    assert (first["level"], first["p90"], first["asked_at"]) == (None, None, 5)
    assert (second["level"], second["p50"], json.loads(second["tried"])) == ("ALL", 3, [["CATEGORY", 2], ["ALL", 4]])
    (row,) = rows(PlacementView, AdPlacement("p", "anna", "y", "x", 0.5, "same category", "t/0/1", 9))["placements"]
    assert (row["because_of"], row["reason"]) == ("x", "same category")
    alert = Alert(
        "a", ("anna", "bert"), "SHILL", 7.654321, (Evidence("lost", 3.0), Evidence("auction", None, "x")), 2, 9
    )
    (row,) = rows(AlertView, alert, Tick(1))["alerts"]
    assert (row["persons"], row["score"], json.loads(row["evidence"])[1]) == (
        "anna bert",
        "7.654",
        ["auction", None, "x"],
    )


@pytest.mark.parametrize(
    ("score", "text"), [(46_012.3456, "46012.346"), (1e9, "1000000000"), (0.75, "0.75"), (10.0, "10"), (0.0, "0")]
)
def test_a_score_is_a_plain_number(score: float, text: str) -> None:
    (row,) = rows(AlertView, Alert("a", ("anna",), "IMPOSSIBLE_TRAVEL", score, (), 0, 9))["alerts"]
    assert row["score"] == text


def test_cells_have_places_and_what_is_suppressed_has_none() -> None:
    cell = cell_of(52.5, 13.4)
    shown, hidden = cell_rows([CellRow(0, cell, 9, 5, {"EUR": 7}), Suppressed(0, 3)])
    assert shown[:2] == (0, cell) and shown[4:] == (9, 5, '{"EUR": 7}')
    assert abs(float(shown[2]) - 52.5) < 0.5 and hidden == (0, "", "", "", 3, 0, None)
    assert cell_rows([CellRow(0, cell, 9, 5, None)])[0][6] is None


def test_each_table_has_a_view_or_is_of_all_partitions() -> None:
    assert len({table.name for table in TABLES}) == len(TABLES) == len(VIEWS) + 3
