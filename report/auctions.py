"""The page's sections about auctions: stories, spreads, prices, a map of cells, findings about cheats, mails. SVG, no scripts."""

import json
from collections.abc import Mapping, Sequence

from report import texts
from report.auction_data import AlertLine, Auction, AuctionFigures, CellLine, Step
from report.html import Child, Html, join, tag
from report.parts import Cell, plural, section, table

SECTIONS = (
    ("auctions", "Auctions"),
    ("stories", "Stories"),
    ("spreads", "Spreads"),
    ("prices", "Prices"),
    ("map", "Map"),
    ("cheats", "Cheats"),
    ("mails", "Mails"),
)
_MOVES = frozenset(("ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE", "BUY_NOW", "RETRACTED"))
_WIDTH, _HEIGHT = 720, 200
_MARKS = {"REMAINING_50": "50 % of the time left", "REMAINING_10": "10 %", "REMAINING_1": "1 %", "CLOSE": "close"}

_LEGEND = "Line: the price. Dots: maxima of bids that took the lead (green), did not (pale), were taken back (red)."

Mails = Mapping[tuple[str, str], int]
"""(kind, status) → mails."""


def auction_sections(figures: AuctionFigures, mails: Mails | None = None) -> list[Html]:
    """One for each of SECTIONS, in that order."""
    return [
        totals_section(figures),
        section(
            "stories", "Stories", [story(auction, steps) for auction, steps in figures.stories] or _none("auction")
        ),
        spread_section(figures),
        price_section(figures),
        map_section(figures.cells),
        cheats_section(figures),
        mails_section(figures, mails),
    ]


def _none(what: str) -> Html:
    return tag("p", f"There is no {what}.", class_="note")


def totals_section(figures: AuctionFigures) -> Html:
    heads = (("", "Outcome"), ("", "Currency"), *(("num", name) for name in ("Auctions", "Bids", "Extensions", "Paid")))
    rows: list[list[Cell]] = [
        [
            ("", line.outcome.replace("_", " ").lower()),
            ("", line.currency),
            *(("num", texts.count(n)) for n in (line.auctions, line.bids, line.extensions)),
            ("num", "–" if line.paid is None else texts.money(line.paid, line.currency)),
        ]
        for line in figures.totals
    ]
    decided = [[("", _words(line.name)), ("num", texts.count(line.number))] for line in figures.statuses]
    return section(
        "auctions",
        "Auctions",
        table("Auctions by outcome", heads, rows, "wide"),
        tag("div", table("Decisions about bids", (("", "Decision"), ("num", "Bids")), decided, "wide"), class_="block"),
    )


def _words(name: str) -> str:
    return name.replace("_", " ").lower()


# --- stories ---


def story(auction: Auction, steps: Sequence[Step]) -> Html:
    """An auction from its start to its close: a picture of price and maxima, and its decisions as a table."""
    money = lambda minor: "–" if minor is None else texts.money(minor, auction.currency)  # noqa: E731
    end = "is open" if auction.outcome is None else _words(auction.outcome)
    lead = f"{end}" + (f" to {auction.winner} for {money(auction.price)} {auction.currency}" if auction.winner else "")
    facts = [f"{len(steps)} decisions", f"start {money(auction.start_price)}"]
    facts += [f"reserve {money(auction.reserve)}"] if auction.reserve is not None else []
    facts += [f"buy now {money(auction.buy_now)}"] if auction.buy_now is not None else []
    facts += ["money behind bids"] if auction.backed else []
    if auction.extensions:
        moved = texts.duration(auction.effective_end - auction.ends_at)
        facts.append(f"{auction.extensions} {plural(auction.extensions, 'extension')} by {moved}")
    heads = (("", "Received"), ("", "Bidder"), ("", "Decision"), ("num", "Maximum"), ("num", "Price"), ("", "Leader"))
    rows: list[list[Cell]] = [
        [
            ("when", texts.moment(step.received_at)),
            ("", step.bidder),
            ("", _words(step.status) + (" (automatic)" if step.automatic else "")),
            ("num", money(step.maximum)),
            ("num", money(step.price)),
            ("", step.leader or "–"),
        ]
        for step in steps
    ]
    return tag(
        "figure",
        tag("figcaption", tag("h3", f"{auction.title} ({auction.auction_id})"), tag("p", lead, class_="lead")),
        _picture(auction, [step for step in steps if step.status in _MOVES]),
        tag("p", f"{', '.join(facts)}. {_LEGEND}", class_="note"),
        tag("details", tag("summary", "Decisions"), table("Decisions", heads, rows, "wide", tall=True)),
        class_="block",
    )


def _picture(auction: Auction, steps: Sequence[Step]) -> Html:
    """Price as a line of steps, bids as dots at their maxima; what is above one and a half of the highest price is drawn at the top."""
    begin, end = auction.starts_at, max(auction.effective_end, auction.starts_at + 1)
    prices = [step.price for step in steps if step.price is not None]
    top = max([auction.start_price, auction.reserve or 0, *prices]) * 3 // 2 or 1

    def x(at: int) -> str:
        return f"{8 + (_WIDTH - 16) * min(1.0, max(0.0, (at - begin) / (end - begin))):.1f}"

    def y(minor: int) -> str:
        return f"{_HEIGHT - 18 - (_HEIGHT - 28) * min(minor, top) / top:.1f}"

    line = [f"M{x(begin)} {y(auction.start_price)}"]
    for step in steps:
        if step.price is not None:
            line.append(f"H{x(step.received_at)}V{y(step.price)}")
    line.append(f"H{x(end)}")
    shapes: list[Child] = [_rule(y(0), "axis")]
    if auction.reserve is not None:
        shapes.append(_rule(y(auction.reserve), "red", "4 4"))
    if auction.extensions:
        at = x(auction.ends_at)
        shapes.append(
            tag("line", x1=at, x2=at, y1="8", y2=str(_HEIGHT - 18), style="stroke:var(--axis);stroke-dasharray:2 3")
        )
    shapes.append(tag("path", d="".join(line), style="fill:none;stroke:var(--blue);stroke-width:2"))
    for step in steps:
        if step.maximum is not None and not step.automatic:
            color = "green" if step.leader == step.bidder else "red" if step.status == "RETRACTED" else "pale"
            dot = {"cx": x(step.received_at), "cy": y(step.maximum), "r": "3.5", "style": f"fill:var(--{color})"}
            shapes.append(tag("circle", tag("title", f"{step.bidder}: {_words(step.status)}"), **dot))
    said = f"Price of {auction.title} over its time, with the maxima of bids"
    return _svg(said, _WIDTH, _HEIGHT, shapes)


def _rule(at: str, color: str, dashes: str | None = None) -> Html:
    style = f"stroke:var(--{color})" + (f";stroke-dasharray:{dashes}" if dashes else "")
    return tag("line", x1="8", x2=str(_WIDTH - 8), y1=at, y2=at, style=style)


def _svg(said: str, width: int, height: int, shapes: Sequence[Child]) -> Html:
    box = {"viewBox": f"0 0 {width} {height}", "style": "width:100%;height:auto;display:block"}
    return tag("svg", tag("title", said), list(shapes), role="img", aria_label=said, **box)


# --- analytics ---


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
        ("num", "Sold"),
        *(("num", name) for name in ("p10", "p25", "Median", "p75", "p90")),
    )
    rows: list[list[Cell]] = [
        [
            ("", "all" if line.level == "ALL" else line.key.rpartition("\x1f")[2]),
            ("num", texts.count(line.n)),
            *(
                ("num", f"{texts.money(minor, line.currency)} {line.currency}")
                for minor in (line.p10, line.p25, line.p50, line.p75, line.p90)
            ),
        ]
        for line in figures.prices
    ]
    note = f"{texts.count(figures.placements)} {plural(figures.placements, 'place')} for ads were given near a close."
    shown = table("Prices of what was sold", heads, rows, "wide") if rows else _none("sale")
    return section("prices", "Prices", shown, tag("p", note, class_="note"))


def map_section(cells: Sequence[CellLine]) -> Html:
    """Bids by cell, the world as a plain grid of degrees; nothing is fetched."""
    shown = [cell for cell in cells if cell.cell]
    hidden = sum(cell.bids for cell in cells if not cell.cell)
    if not shown:
        return section("map", "Map", tag("p", "No cell has enough bidders to be shown.", class_="note"))
    west, north, width, height = _frame(shown)
    shapes: list[Child] = []
    step = next(step for step in (30, 15, 10, 5, 1) if width >= 3 * step or step == 1)
    for degrees in range(-180, 181, step):
        at = f"{degrees - west:.1f}"
        if 0 <= degrees - west <= width:
            shapes.append(_degree(degrees, "EW", x1=at, x2=at, y1="0", y2=f"{height:.1f}", size=width / 90))
    for degrees in range(-90, 91, step):
        at = f"{north - degrees:.1f}"
        if 0 <= north - degrees <= height:
            shapes.append(_degree(degrees, "NS", x1="0", x2=f"{width:.1f}", y1=at, y2=at, size=width / 90))
    most = max(cell.bids for cell in shown) or 1
    for cell in shown:
        size = f"{width * (0.004 + 0.016 * (cell.bids / most) ** 0.5):.3f}"
        place = {"cx": f"{float(cell.lon) - west:.2f}", "cy": f"{north - float(cell.lat):.2f}", "r": size}
        said = f"{cell.cell}: {cell.bids} bids"
        shapes.append(tag("circle", tag("title", said), style="fill:var(--blue);fill-opacity:.6", **place))
    heads = (("", "Cell"), ("num", "Latitude"), ("num", "Longitude"), ("num", "Bids"), ("num", "Bidders, most at once"))
    rows: list[list[Cell]] = [
        [
            ("mono", c.cell),
            ("num", c.lat),
            ("num", c.lon),
            ("num", texts.count(c.bids)),
            ("num", texts.count(c.bidders)),
        ]
        for c in shown
    ]
    note = f"Circles are H3 cells, by their bids. {texts.count(hidden)} bids are in cells with too few bidders to be shown."
    return section(
        "map",
        "Map",
        _svg("Map of bids by cell", round(width), round(height), shapes),
        tag("p", note, class_="note"),
        tag("details", tag("summary", "Figures"), table("Cells", heads, rows, "wide", tall=True)),
    )


def _frame(cells: Sequence[CellLine]) -> tuple[float, float, float, float]:
    """(west, north, width, height) in degrees of what holds all cells, twice as wide as high, and at least 30 degrees wide."""
    lats, lons = [float(cell.lat) for cell in cells], [float(cell.lon) for cell in cells]
    width = min(360.0, max(30.0, max(lons) - min(lons) + 8, 2 * (max(lats) - min(lats) + 8)))
    west = min(max(-180.0, (max(lons) + min(lons) - width) / 2), 180 - width)
    north = max(min(90.0, (max(lats) + min(lats) + width / 2) / 2), width / 2 - 90)
    return float(round(west)), float(round(north)), float(round(width)), float(round(width / 2))


def _degree(degrees: int, sides: str, size: float, **line: str) -> Html:
    """A line of the grid and its name."""
    drawn = tag("line", style=f"stroke:var(--grid);stroke-width:{size / 8:.2f}", **line)
    name = f"{abs(degrees)}°{sides[degrees < 0] if degrees else ''}"
    left, down = float(line["x1"]) + size / 4, float(line["y1"]) + size * 1.1
    style = f"fill:var(--muted);font-size:{size * 1.1:.2f}px"
    return join(drawn, tag("text", name, x=f"{left:.2f}", y=f"{down:.2f}", style=style))


# --- cheats and mails ---


def cheats_section(figures: AuctionFigures) -> Html:
    if not figures.alerts:
        return section("cheats", "Cheats", tag("p", "Nobody behaves as a cheat does.", class_="lead"))
    counts = [[("", _words(line.name)), ("num", texts.count(line.number))] for line in figures.signals]
    lead = (
        "Figures that pass the thresholds, with the evidence. They say where to look; they prove nothing by themselves."
    )
    return section(
        "cheats",
        "Cheats",
        tag("p", lead, class_="lead"),
        table("Findings by signal", (("", "Signal"), ("num", "Findings")), counts, "wide"),
        tag("ol", [_finding(alert) for alert in figures.alerts], class_="letters"),
    )


def _finding(alert: AlertLine) -> Html:
    head = tag("span", _words(alert.signal), class_="code"), tag("i", alert.persons), tag("b", alert.score)
    parts = []
    for what, value, auction in json.loads(alert.evidence):
        at = value is not None and what.endswith(" at")
        figure = "" if value is None else f" {texts.moment(int(value)) if at else f'{value:.6g}'}"
        parts.append(f"{what}{figure}{f' {auction}' if auction else ''}")
    rule = "built-in thresholds" if not alert.rule_version else f"thresholds of version {alert.rule_version}"
    return tag(
        "li",
        tag("h3", head),
        tag("p", "; ".join(parts)),
        tag("p", f"{texts.moment(alert.at_ms)}, {rule}", class_="note"),
    )


def mails_section(figures: AuctionFigures, mails: Mails | None) -> Html:
    heads = (("", "Notice"), ("num", "Written"), ("num", "Sent"), ("num", "Not sent"))
    sent: dict[str, int] = {}
    other: dict[str, int] = {}
    for (kind, status), number in (mails or {}).items():
        into = sent if status == "SENT" else other
        into[kind] = into.get(kind, 0) + number
    rows: list[list[Cell]] = [
        [
            ("", _words(line.name)),
            ("num", texts.count(line.number)),
            *(("num", "–" if mails is None else texts.count(held.get(line.name, 0))) for held in (sent, other)),
        ]
        for line in figures.notices
    ]
    shown = table("Notices and mails", heads, rows, "wide") if rows else _none("notice")
    return section("mails", "Mails", shown, join())
