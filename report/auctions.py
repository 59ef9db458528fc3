"""The page's sections about auctions: stories, spreads, prices, ads, a map of cells, findings about cheats, mails. SVG, no scripts."""

from collections.abc import Mapping

from report import texts
from report.auction_cheats import cheats_section
from report.auction_data import AuctionFigures
from report.auction_map import map_section
from report.auction_stories import stories_section
from report.facts import AuctionFacts
from report.html import Html, tag
from report.parts import Cell, plural, section, table
from report.words import spoken

SECTIONS = (
    ("auctions", "Auctions"),
    ("stories", "Stories"),
    ("spreads", "Spreads"),
    ("prices", "Prices"),
    ("ads", "Ads"),
    ("map", "Map"),
    ("cheats", "Cheats"),
    ("mails", "Mails"),
)
_MARKS = {"REMAINING_50": "50 % of the time left", "REMAINING_10": "10 %", "REMAINING_1": "1 %", "CLOSE": "close"}


def auction_sections(figures: AuctionFigures, facts: AuctionFacts) -> list[Html]:
    """One for each of SECTIONS, in that order."""
    return [
        totals_section(figures),
        stories_section(figures.stories),
        spread_section(figures),
        price_section(figures),
        ads_section(figures, facts),
        map_section(figures.cells),
        cheats_section(figures, facts.signals),
        mails_section(figures, facts.mails),
    ]


def _none(what: str) -> Html:
    return tag("p", f"There is no {what}.", class_="note")


def totals_section(figures: AuctionFigures) -> Html:
    heads = (("", "Outcome"), ("", "Currency"), *(("num", name) for name in ("Auctions", "Bids", "Extensions", "Paid")))
    rows: list[list[Cell]] = [
        [
            ("", spoken(line.outcome)),
            ("", line.currency),
            *(("num", texts.count(n)) for n in (line.auctions, line.bids, line.extensions)),
            ("num", "–" if line.paid is None else texts.money(line.paid, line.currency)),
        ]
        for line in figures.totals
    ]
    decided = [[("", spoken(line.name)), ("num", texts.count(line.number))] for line in figures.statuses]
    return section(
        "auctions",
        "Auctions",
        table("Auctions by outcome", heads, rows, "wide"),
        tag("div", table("Decisions about bids", (("", "Decision"), ("num", "Bids")), decided, "wide"), class_="block"),
    )


def spread_section(figures: AuctionFigures) -> Html:
    heads = (("", "When"), ("num", "Auctions with a bid"), ("num", "Median"), ("num", "Widest"))
    rows: list[list[Cell]] = [
        [
            ("", _MARKS.get(line.mark, line.mark)),
            ("num", texts.count(line.auctions)),
            ("num", _percent(line.median)),
            ("num", _percent(line.widest)),
        ]
        for line in figures.spreads
    ]
    lead = tag("p", "What would settle an auction against what is bid, of the middle of both.", class_="lead")
    return section(
        "spreads", "Spreads", lead, table("Spread by time left", heads, rows, "wide") if rows else _none("spread")
    )


def _percent(points: int) -> str:
    return f"{points / 100:.2f} %"


def price_section(figures: AuctionFigures) -> Html:
    heads = (
        ("", "Similar items"),
        ("", "Currency"),
        ("num", "Sold"),
        *(("num", name) for name in ("p10", "p25", "Median", "p75", "p90")),
    )
    rows: list[list[Cell]] = [
        [
            ("", "all" if line.level == "ALL" else line.key.rpartition("\x1f")[2]),
            ("", line.currency),
            ("num", texts.count(line.n)),
            *(
                ("num", texts.money(minor, line.currency))
                for minor in (line.p10, line.p25, line.p50, line.p75, line.p90)
            ),
        ]
        for line in figures.prices
    ]
    return section("prices", "Prices", table("Prices of what was sold", heads, rows, "wide") if rows else _none("sale"))


def ads_section(figures: AuctionFigures, facts: AuctionFacts) -> Html:
    """How many places were given, and the back-test: whether they do better than other ways to choose."""
    lead = (
        f"Who is about to lose an auction is shown similar ones that are open: {texts.count(figures.placements)} "
        f"{plural(figures.placements, 'time')} in this run."
    )
    if not facts.ads:
        return section("ads", "Ads", tag("p", lead, class_="lead"))
    heads = (("", "Chosen"), *(("num", name) for name in ("Shown", "Bid there", "Rate", "Lift of the first")))
    (_, shown, hits), *_ = facts.ads
    rows: list[list[Cell]] = [
        [
            ("", way),
            *(("num", text) for text in (texts.count(n), texts.count(bid), texts.share(bid, n))),
            ("num", texts.number(hits * n / (shown * bid)) if place and shown and bid else "–"),
        ]
        for place, (way, n, bid) in enumerate(facts.ads)
    ]
    note = (
        "A back-test on this run's history, its first half left out: how many of those who were shown an auction went on to bid there, "
        "had it been chosen in each of these ways, under the same caps. Lift: the first rate over this one."
    )
    return section(
        "ads",
        "Ads",
        tag("p", lead, class_="lead"),
        table("Back-test of ads", heads, rows, "wide"),
        tag("p", note, class_="note"),
    )


def mails_section(figures: AuctionFigures, mails: Mapping[tuple[str, str], int] | None) -> Html:
    heads = (("", "Notice"), ("num", "Written"), ("num", "Sent"), ("num", "Not sent"))
    sent: dict[str, int] = {}
    other: dict[str, int] = {}
    for (kind, status), number in (mails or {}).items():
        into = sent if status == "SENT" else other
        into[kind] = into.get(kind, 0) + number
    rows: list[list[Cell]] = [
        [
            ("", spoken(line.name)),
            ("num", texts.count(line.number)),
            *(("num", "–" if mails is None else texts.count(held.get(line.name, 0))) for held in (sent, other)),
        ]
        for line in figures.notices
    ]
    shown = table("Notices and mails", heads, rows, "wide") if rows else _none("notice")
    return section("mails", "Mails", shown)
