"""The page's sections about auctions, out of a database that the views made."""

import re
from pathlib import Path

import pytest

from auctions.view_tables import ALERTS
from payments.view_tables import DERIVED, TABLES
from report.auction_data import MAX_ALERTS, AuctionFigures, CellLine, read_auctions
from report.auction_map import CLOSE, busiest, frame_of, map_section
from report.auction_stories import ticks
from report.auctions import SECTIONS, auction_sections
from report.facts import AuctionFacts, RunFacts
from report.page import write_report
from report.views import NoViews, open_views
from tests.report.auction_rows import AT, CELL, EVIL, database, rows
from transforms.sql_views import upsert_rows
from transforms.tables import Row


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
    first, second = found.stories
    assert (first.auction.auction_id, second.auction.auction_id) == ("x", "it's") and len(first.steps) == 6
    assert [(seen.level, seen.low, seen.high) for seen in first.seen] == [("CATEGORY", 1_111, 1_333), ("TAGS", 1_150, 1_400)]
    assert second.seen == [], "where there was none, there is none to show"
    (close,) = found.spreads
    assert (close.mark, close.auctions, close.median, close.widest) == ("CLOSE", 2, 900, 900)
    assert [(cell.cell, cell.bids) for cell in found.cells] == [(CELL, 7), ("", 3)]
    assert found.placements == 1 and [line.name for line in found.notices] == ["LOST", "PURCHASED"]


def test_what_the_sections_say(views: Path) -> None:
    mails = {("LOST", "SENT"): 1, ("PURCHASED", "REFUSED"): 1}
    sections = auction_sections(figures(views), AuctionFacts(mails))
    assert [f'id="{name}"' in html for (name, _), html in zip(SECTIONS, sections, strict=True)] == [True] * 8
    text = "".join(sections)
    for words in (
        *("Sold to anna for EUR\u00a020.50.", ">Open. ", "3 bids, start 10.00", "1 extension by 500", "reserve 15.00"),
        *("buy now 90.00", "accepted (automatic)", "9.00 %", "12.34", "watches", "1 time in this run"),
        *("841f1d5ffffffff", "3 bids of cells with too few bidders", "lost 5; seen at 2026-01-01 00:00:00"),
        *("thresholds of version 2", "bert s", "price before EUR\u00a012,345.67 (x)", "Auctions: x, y<"),
    ):
        assert words in text, words
    assert EVIL not in text and text.count("<svg") == 2 * 3 and "<script" not in text
    row = text[text.index(">lost<") :]
    assert row.index(">1<") < row.index("</tr>")


def test_the_prices_of_similar_items_that_bidders_saw(views: Path) -> None:
    seen, unseen = auction_sections(figures(views), AuctionFacts())[1].split("</figure>")[:2]
    rows = seen[seen.index(">Prices of similar items<") :].split("<tr>")[2:4]
    told = [[part.rpartition(">")[2] for part in row.replace("</th>", "</td>").split("</td>")[:-1]] for row in rows]
    assert told == [
        ["2025-12-31 23:59:59", "11.11", "12.22", "13.33", "1,041", "same category"],
        ["2026-01-01 00:00:00", "11.50", "12.50", "14.00", "10", "same tags"],
    ]
    assert "Prices in EUR" in seen and "what half of similar items were sold for" in seen
    # A band for each, from when it was asked to the next, the last to the end; a price at the floor would be at 97 %.
    boxes = [dict(re.findall(r'(\w+)="([0-9.]+)%"', box)) for box in re.findall("<rect [^>]*>", seen)]
    assert [(float(box["x"]), float(box["width"])) for box in boxes] == [(1.2, 45.55), (46.75, 52.05)]
    assert all(0 < float(box["y"]) < float(box["y"]) + float(box["height"]) < 97 for box in boxes)
    assert "<rect" not in unseen and "similar" not in unseen


def cells_at(places: list[tuple[int, int]]) -> list[CellLine]:
    return [CellLine(f"c{n}", f"{lat}", f"{lon}", n + 1, 5) for n, (lat, lon) in enumerate(places)]


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
    cells = cells_at(places)
    found = frame_of(cells)
    assert all(found.holds(lat, lon) for lat, lon in places)
    assert -180 <= found.west <= 180 - found.width and found.width / 2 - 90 <= found.north <= 90
    assert found.height * 2 == found.width and found == frame
    whole, *_ = map_section(cells).split("</svg></figure>")
    assert whole.count("<circle") == len(places) and 'class="land"' in whole


def test_the_close_up_is_where_most_bids_come_from() -> None:
    europe, america = [(50, 10), (52, 0), (40, -4)], [(40, -74), (41, -88)]
    assert busiest(cells_at([*america, *europe])) == (-21, 58, CLOSE, CLOSE / 2)
    assert busiest(cells_at([*europe, *america])) == (-105, 52, CLOSE, CLOSE / 2)
    whole, close, _ = map_section(cells_at([*america, *europe])).split("</figure>")
    assert (whole.count("<circle"), close.count("<circle")) == (5, 3)
    assert "Where most bids come from" not in map_section(cells_at(europe))


def test_each_degree_is_named_at_most_once() -> None:
    text = map_section(cells_at([(0, -170), (0, 170)])).split("</figure>")[0]
    names = [part.partition("</text>")[0].rpartition(">")[2] for part in text.split("<text")[1:]]
    assert names == ["120°W", "60°W", "0°", "60°E", "120°E", "60°S", "0°", "60°N"]


@pytest.mark.parametrize(
    ("top", "found"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (10, [5, 10]),
        (42, [10, 20, 30, 40]),
        (999, [200, 400, 600, 800]),
        (10**6, [500_000, 10**6]),
    ],
)
def test_prices_are_named_at_round_figures(top: int, found: list[int]) -> None:
    assert ticks(top) == found


# --- cheats and ads ---


def alert(name: str, signal: str, score: str, evidence: str = "[]") -> Row:
    return (name, signal, "bert s", score, 0, AT, evidence)


def cheats(path: Path, alerts: list[Row], facts: AuctionFacts = AuctionFacts()) -> str:
    return str(auction_sections(figures(database(path, {ALERTS: alerts})), facts)[6])


@pytest.mark.parametrize("name", ["v.duckdb", "v.sqlite"])
def test_the_highest_scores_of_each_signal_are_shown_as_plain_numbers(name: str, tmp_path: Path) -> None:
    scores = ("46012.34", "9.5", "1000", "999.7", "1e9")
    many = [alert(f"t{n}", "IMPOSSIBLE_TRAVEL", score) for n, score in enumerate(scores)]
    text = cheats(tmp_path / name, [*many, alert("s", "SHILL", "7.9")])
    shown = [part.partition("<")[0] for part in text.split("<b>")[1:]]
    assert shown == ["1,000,000,000 km/h", "46,012 km/h", "1,000 km/h", "7.9"] and MAX_ALERTS == 3
    row = text[text.index(">impossible travel<") :]
    assert row.index(">5<") < row.index("</tr>"), "all are counted"


def test_an_auction_that_all_evidence_is_of_is_named_once(tmp_path: Path) -> None:
    evidence = '[["price before", 1424.0, "x"], ["part of the duration elapsed", 0.817, "x"]]'
    text = cheats(tmp_path / "v.duckdb", [alert("s", "SHIELDING", "0.9", evidence)])
    assert "<p>price before 1,424; part of the duration elapsed 0.82</p><p>Auctions: x</p>" in text


def test_how_well_each_signal_did_is_told_where_the_truth_is_known(tmp_path: Path) -> None:
    found = [alert("s", "SHILL", "7.9")]
    assert "Recall" not in cheats(tmp_path / "a.duckdb", found)
    known = AuctionFacts(signals=[("SHILL", 8, 6, 5, 1), ("OVERLAP", 3, 0, 0, 0)])
    text = cheats(tmp_path / "b.duckdb", found, known)
    cells = [part.partition("<")[0] for part in text.split('<td class="num">')[1:]]
    assert cells == ["1", "8", "6", "75.0\u00a0%", "5", "1", "80.0\u00a0%", "0", "3", "0", "0.0\u00a0%", "0", "0", "–"]
    assert "Nobody behaves" not in cheats(tmp_path / "c.duckdb", [], known), "what was not found is told too"


@pytest.mark.parametrize(
    "evidence", ["no json", "7", '[["what", 1.0]]', "[null]", '[["what", "1", null]]', '[["seen at", 1e999, null]]']
)
def test_evidence_that_is_none_is_refused(evidence: str, tmp_path: Path) -> None:
    path = database(tmp_path / "v.sqlite", {ALERTS: [alert("s", "SHILL", "7.9", evidence)]})
    with pytest.raises(NoViews, match="has evidence that is no list"):
        figures(path)


def test_the_back_test_of_ads(tmp_path: Path) -> None:
    path = database(tmp_path / "v.duckdb", rows())
    tried = AuctionFacts(ads=[("similar", 100, 12), ("most popular", 50, 3), ("random", 80, 0)])
    cells = [p.partition("<")[0] for p in auction_sections(figures(path), tried)[4].split('<td class="num">')[1:]]
    assert cells[:4] == ["100", "12", "12.0\u00a0%", "–"]
    assert cells[4:] == ["50", "3", "6.0\u00a0%", "2", "80", "0", "0.0\u00a0%", "–"]
    assert "<table" not in auction_sections(figures(path), AuctionFacts())[4]


def test_nothing_happened(tmp_path: Path) -> None:
    text = "".join(auction_sections(figures(database(tmp_path / "v.duckdb", {})), AuctionFacts()))
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
    write_report(database(tmp_path / "v.duckdb", rows()), tmp_path / "page.html", RunFacts(title="Auctions"), [])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index('href="#auctions"') < page.index('href="#statuses"')
    assert page.index('id="mails"') < page.index('id="statuses"') and EVIL not in page


def test_a_database_of_payments_alone_has_none(tmp_path: Path) -> None:
    upsert_rows(tmp_path / "v.duckdb", TABLES, [], DERIVED)
    with open_views(tmp_path / "v.duckdb") as db:
        assert read_auctions(db) is None
