"""The map of bids by cell: land, a grid of degrees, and a circle for each cell. Nothing is fetched."""

from collections.abc import Sequence

from report import svg, texts
from report.auction_data import CellLine
from report.html import Child, Html, tag
from report.land import Frame, land_path
from report.parts import Cell, plural, section, table

STEPS = (60, 30, 15, 10, 5)
"""Degrees between the lines of the grid; the widest of which three fit in. So at most six do, whose names have room on a phone."""
CLOSE = 48.0
"""Width of the close-up, degrees; there is none where it would show little more."""


def map_section(cells: Sequence[CellLine]) -> Html:
    """All cells, and a closer look at where most bids come from; cells with too few bidders are counted only."""
    shown = [cell for cell in cells if cell.cell]
    hidden = sum(cell.bids for cell in cells if not cell.cell)
    if not shown:
        return section("map", "Map", tag("p", "No cell has enough bidders to be shown.", class_="note"))
    frames = [(frame_of(shown), "All cells")]
    if frames[0][0].width >= 1.5 * CLOSE:
        frames.append((busiest(shown), "Where most bids come from"))
    few = f"{texts.count(hidden)} {plural(hidden, 'bid')} of cells with too few bidders are not shown."
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
    return section(
        "map",
        "Map",
        tag("p", f"A circle is a cell of the H3 grid, as large as its bids are many. {few}", class_="lead"),
        tag("div", [_map(shown, frame, title) for frame, title in frames], class_="charts"),
        tag("p", "Land: Natural Earth, public domain.", class_="note"),
        tag("details", tag("summary", "Figures"), table("Cells", heads, rows, "wide", tall=True)),
    )


def _map(cells: Sequence[CellLine], frame: Frame, title: str) -> Html:
    shapes: list[Child] = [svg.outline(land_path(frame), "land", frame.box), *_grid(frame)]
    most = max(cell.bids for cell in cells) or 1
    inside = [cell for cell in cells if frame.holds(*_place(cell))]
    for cell in inside:
        radius = 2.5 + 7 * (cell.bids / most) ** 0.5
        said = f"{cell.cell}: {texts.count(cell.bids)} {plural(cell.bids, 'bid')}"
        shapes.append(svg.dot(*frame.at(*_place(cell)), radius, "cell", said))
    said = f"Map of {texts.count(len(inside))} {plural(len(inside), 'cell')} by their bids: {title.lower()}"
    return tag("figure", tag("figcaption", tag("h3", title)), svg.picture(said, "map", *shapes))


def _grid(frame: Frame) -> list[Html]:
    """Lines of degrees, and their names where there is room for them."""
    step = next((step for step in STEPS if frame.width >= 3 * step), STEPS[-1])
    drawn = []
    for degrees in range(-180, 181, step):
        at, _ = frame.at(0, degrees)
        if 0 < at < 1:
            drawn.append(svg.line("grid", at=at))
        if 0 <= at < 0.85:
            drawn.append(svg.label(_degrees(degrees, "EW"), at, 1, 3, -4))
    for degrees in range(-180, 181, step):
        _, down = frame.at(degrees, 0)
        if 0 < down < 1:
            drawn.append(svg.line("grid", down=down))
        if 0.14 < down < 0.88:  # at the bottom stand the others' names
            drawn.append(svg.label(_degrees(degrees, "NS"), 0, down, 3, -4))
    return drawn


def _degrees(degrees: int, sides: str) -> str:
    return f"{abs(degrees)}°{sides[degrees < 0] if degrees else ''}"


def _place(cell: CellLine) -> tuple[float, float]:
    return float(cell.lat), float(cell.lon)


def frame_of(cells: Sequence[CellLine]) -> Frame:
    """What holds all cells, twice as wide as high, and at least 30 degrees wide."""
    lats, lons = zip(*map(_place, cells), strict=True)
    width = min(360.0, max(30.0, max(lons) - min(lons) + 8, 2 * (max(lats) - min(lats) + 8)))
    return _around((max(lats) + min(lats)) / 2, (max(lons) + min(lons)) / 2, width)


def busiest(cells: Sequence[CellLine]) -> Frame:
    """The close-up with most bids; around the middle of those in it."""
    places = {cell: _place(cell) for cell in cells}

    def inside(frame: Frame) -> list[CellLine]:
        return [cell for cell, place in places.items() if frame.holds(*place)]

    frames = [_around(*place, CLOSE) for place in places.values()]
    best = max(frames, key=lambda frame: sum(cell.bids for cell in inside(frame)))  # the first of equal ones
    lats, lons = zip(*(places[cell] for cell in inside(best)), strict=True)
    return _around((max(lats) + min(lats)) / 2, (max(lons) + min(lons)) / 2, CLOSE)


def _around(lat: float, lon: float, width: float) -> Frame:
    """So wide, half as high, around a place, moved on to the earth, in whole degrees."""
    west = min(max(-180.0, lon - width / 2), 180 - width)
    north = max(min(90.0, lat + width / 4), width / 2 - 90)
    return Frame(float(round(west)), float(round(north)), float(round(width)), float(round(width / 2)))
