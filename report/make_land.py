"""Makes `assets/land.txt`, the land behind the report's map, out of Natural Earth's land at 1:110 million (public domain).

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m report.make_land package/land-110m.json

That package has the land of Natural Earth 4.1.0 as TopoJSON: lines of whole numbers, each point told by its distance from the one
before, and rings that are made of such lines. Here they are thinned out and rounded to tenths of a degree. Nothing else calls this.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

Point = tuple[float, float]
"""Degrees east and north."""

TOLERANCE = 0.1  # degrees that a point may lie beside the line that is drawn without it
LAND = Path(__file__).parent / "assets" / "land.txt"
_HEAD = """\
# The land of the earth, for the map of the report. Source: Natural Earth 1:110m land, version 4.1.0, which is in the public domain
# (naturalearthdata.com). Made by report/make_land.py. A line is a ring, in tenths of a degree east and south: its first
# point, then the way from each point to the next.
"""


def rings(topology: dict[str, Any]) -> Iterator[list[Point]]:
    """The rings of all land of a TopoJSON, closed: the first point is the last one too."""
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]
    lines = []
    for arc in topology["arcs"]:
        x, y, line = 0, 0, []
        for east, north in arc:
            x, y = x + east, y + north
            line.append((x * scale[0] + shift[0], y * scale[1] + shift[1]))
        lines.append(line)
    for land in topology["objects"]["land"]["geometries"]:
        for polygon in land["arcs"]:
            for numbers in polygon:
                ring: list[Point] = []
                for number in numbers:  # below 0: the line number ~n, backwards
                    ring += (lines[number] if number >= 0 else lines[~number][::-1])[bool(ring) :]
                yield ring


def unrolled(ring: Sequence[Point]) -> list[list[Point]]:
    """For a flat map: a ring across the 180th meridian goes on beyond it, on either side of the map; one around a pole has its edge."""
    turned, turn = [ring[0]], 0
    for (before, _), (east, north) in pairwise(ring):
        turn += 360 * ((before - east > 180) - (east - before > 180))
        turned.append((east + turn, north))
    if turn:  # all around a pole
        pole = 90.0 if ring[0][1] > 0 else -90.0
        turned += [(turned[-1][0], pole), (turned[0][0], pole), turned[0]]
    west, east = min(x for x, _ in turned), max(x for x, _ in turned)
    turns = [turn for turn in (-360, 0, 360) if west + turn < 180 and east + turn > -180]
    return [[(x + turn, y) for x, y in turned] for turn in turns]


def thinned(line: Sequence[Point], tolerance: float) -> list[Point]:
    """The line without points that lie within `tolerance` of it: Ramer, Douglas and Peucker's way."""
    (x, y), (to_x, to_y) = line[0], line[-1]
    far, place = 0.0, 0
    length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
    for at, (px, py) in enumerate(line[1:-1], 1):
        if length:
            off = abs((to_x - x) * (py - y) - (to_y - y) * (px - x)) / length
        else:
            off = ((px - x) ** 2 + (py - y) ** 2) ** 0.5
        if off > far:
            far, place = off, at
    if far <= tolerance:
        return [line[0], line[-1]]
    return thinned(line[: place + 1], tolerance)[:-1] + thinned(line[place:], tolerance)


def text_of(topology: dict[str, Any]) -> str:
    """The file's text."""
    lines = []
    for ring in rings(topology):
        for whole in unrolled(ring):
            points = [(round(10 * x), round(-10 * y)) for x, y in thinned(whole, TOLERANCE)]
            steps = [(x - px, y - py) for (px, py), (x, y) in pairwise(points)]
            told = [points[0], *(step for step in steps[:-1] if step != (0, 0))]  # the last one only closes the ring
            if len(told) > 2:
                lines.append(" ".join(f"{x} {y}" for x, y in told))
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    LAND.write_text(text_of(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
