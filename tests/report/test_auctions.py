"""The page's sections about auctions, out of a database that the views made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auctions.view_tables import ADS, ALERTS, AUCTIONS, CELLS, DECISIONS, NOTICES, PRICES, SPREADS
from auctions.view_tables import TABLES as OF_AUCTIONS
from payments.view_tables import DERIVED, TABLES
from report.auction_data import AuctionFigures, CellLine, read_auctions
from report.auctions import SECTIONS, _frame, auction_sections, map_section
from report.facts import RunFacts
from report.page import write_report
from report.views import open_views
from transforms.row_batches import RowBatch, pack_rows
from transforms.sql_views import upsert_rows
from transforms.tables import Row, Table

AT = 1_767_225_600_000
CELL = "841f1d5ffffffff"
EVIL = "<script>alert('x')</script>"


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
        ADS: [("p", "bert", "y", "x", "same category", AT)],
        ALERTS: [("a", "SHILL", "bert s", "7.9", 2, AT, '[["lost", 5.0, null], ["seen at", 1767225600000.0, "x"]]')],
        NOTICES: [("n1", "anna", "PURCHASED", "x", AT), ("n2", "bert", "LOST", "x", AT)],
        CELLS: [(AT, CELL, "52.500", "13.400", 7, 5, None), (AT, "", "", "", 3, 0, None)],
    }


def database(path: Path, held: dict[Table, list[Row]]) -> Path:
    batches: Iterator[RowBatch] = (pack_rows(table, lines) for table, lines in held.items())
    upsert_rows(path, TABLES, [], DERIVED)
    upsert_rows(path, OF_AUCTIONS, batches)
    return path


@pytest.fixture(scope="module", params=["views.duckdb", "views.sqlite"])
def views(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database(tmp_path_factory.mktemp("views") / request.param, rows())


def figures(path: Path) -> AuctionFigures:
    with open_views(path) as db:
        found = read_auctions(db)
    assert found is not None
    return found


def test_both_databases_say_the_same(views: Path) -> None:
    found = figures(views)
    assert [(line.outcome, line.auctions, line.paid) for line in found.totals] == [
        ("OPEN", 1, None),
        ("SOLD", 1, 2_050),
    ]
    assert [one.auction_id for one, _ in found.stories] == ["x", "it's"] and len(found.stories[0][1]) == 6
    (close,) = found.spreads
    assert (close.mark, close.auctions, close.median, close.widest) == ("CLOSE", 2, 900, 900)
    assert [(cell.cell, cell.bids) for cell in found.cells] == [(CELL, 7), ("", 3)]
    assert found.placements == 1 and [line.name for line in found.notices] == ["LOST", "PURCHASED"]


def test_what_the_sections_say(views: Path) -> None:
    mails = {("LOST", "SENT"): 1, ("PURCHASED", "REFUSED"): 1}
    sections = auction_sections(figures(views), mails)
    assert [f'id="{name}"' in html for (name, _), html in zip(SECTIONS, sections, strict=True)] == [True] * 7
    text = "".join(sections)
    for words in (
        *("sold to anna for 20.50 EUR", "is open", "1 extension by 500", "reserve 15.00", "buy now 90.00"),
        *(
            "accepted (automatic)",
            "4.76 %" if False else "9.00 %",
            "12.34 EUR",
            "watches",
            "1 place for ads",
            "841f1d5ffffffff",
        ),
        *(
            "3 bids are in cells with too few bidders",
            "lost 5; seen at 2026-01-01 00:00:00",
            "thresholds of version 2",
            "bert s",
        ),
    ):
        assert words in text, words
    assert EVIL not in text and text.count("<svg") == 3 and "<script" not in text
    row = text[text.index(">lost<") :]
    assert row.index(">1<") < row.index("</tr>")


@pytest.mark.parametrize(
    ("places", "frame"),
    [
        ([(50, 10)], (-5, 58, 30, 15)),
        ([(50, 10), (40, -70)], (-74, 67, 88, 44)),
        ([(80, 170), (-80, -170)], (-174, 87, 348, 174)),
        ([(85, 179)], (150, 90, 30, 15)),
    ],
)
def test_the_map_holds_all_its_cells(places: list[tuple[int, int]], frame: tuple[int, ...]) -> None:
    cells = [CellLine(f"c{n}", f"{lat}", f"{lon}", 1, 5) for n, (lat, lon) in enumerate(places)]
    west, north, width, height = _frame(cells)
    assert all(west <= lon <= west + width and north - height <= lat <= north for lat, lon in places)
    assert -180 <= west <= 180 - width and width / 2 - 90 <= north <= 90 and height * 2 == width
    assert (west, north, width, height) == frame
    assert map_section(cells).count("<circle") == len(places)


def test_nothing_happened(tmp_path: Path) -> None:
    text = "".join(auction_sections(figures(database(tmp_path / "v.duckdb", {}))))
    for words in (
        "There is no auction",
        "There is no spread",
        "There is no sale",
        "No cell has",
        "Nobody behaves",
        "no notice",
    ):
        assert words in text


def test_the_page_has_the_sections_before_those_of_payments(tmp_path: Path) -> None:
    write_report(database(tmp_path / "v.duckdb", rows()), tmp_path / "page.html", RunFacts(title="Auctions"), [], {})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index('href="#auctions"') < page.index('href="#statuses"')
    assert page.index('id="mails"') < page.index('id="statuses"') and EVIL not in page


def test_a_database_of_payments_alone_has_none(tmp_path: Path) -> None:
    upsert_rows(tmp_path / "v.duckdb", TABLES, [], DERIVED)
    with open_views(tmp_path / "v.duckdb") as db:
        assert read_auctions(db) is None
