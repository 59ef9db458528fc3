"""The land of the map: what is bundled is the earth, and how it is made."""

from itertools import accumulate

import pytest

from report.land import LAND, Frame, land_path
from report.make_land import rings, text_of, thinned, unrolled

WORLD = Frame(-180, 90, 360, 180)


def polygons() -> list[list[tuple[int, int]]]:
    """The rings of the file, in tenths of a degree."""
    lines = [line for line in LAND.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    numbers = [[int(n) for n in line.split()] for line in lines]
    return [list(zip(accumulate(ring[::2]), accumulate(ring[1::2]), strict=True)) for ring in numbers]


def on_land(lat: float, lon: float) -> bool:
    """By the number of borders south of it."""
    x, y = 10 * lon, -10 * lat
    crossed = 0
    for ring in polygons():
        for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (ax > x) != (bx > x) and ay + (by - ay) * (x - ax) / (bx - ax) > y:
                crossed += 1
    return crossed % 2 == 1


def test_the_file_is_small_and_says_where_it_is_from() -> None:
    assert LAND.stat().st_size <= 40_000
    head = LAND.read_text(encoding="utf-8")[:200]
    assert "Natural Earth" in head and "public domain" in head


@pytest.mark.parametrize(
    ("lat", "lon", "land"),
    [
        *((52.5, 13.4, True), (40.5, -3.7, True), (0, 20, True), (-25, 135, True), (40, -100, True), (-10, -55, True)),
        *((68, 178, True), (66, -177, True), (-85, 0, True), (-89, 179, True), (72, -40, True)),
        *((30, -40, False), (0, -150, False), (-40, 90, False), (50, -170, False), (88, 0, False), (58, 20, False)),
    ],
)
def test_land_is_land(lat: float, lon: float, land: bool) -> None:
    assert on_land(lat, lon) is land


def test_a_frame_has_the_rings_that_it_may_show() -> None:
    whole = land_path(WORLD)
    assert whole.count("M") == whole.count("z") == len(polygons())
    europe = land_path(Frame(-5, 58, 30, 15))
    assert 0 < europe.count("M") < 12 and europe.count("z") == europe.count("M")
    assert land_path(Frame(80, -55, 10, 5)) == "", "the Indian Ocean"
    assert Frame(-5, 58, 30, 15).box == "-50 -580 300 150"


SQUARE = {
    "transform": {"scale": [0.5, 0.5], "translate": [-10, -10]},
    "arcs": [[[0, 0], [20, 0], [0, 20]], [[0, 0], [0, 20], [20, 0]]],
    "objects": {"land": {"geometries": [{"arcs": [[[0, ~1]]]}]}},
}


def test_lines_are_joined_to_rings() -> None:
    assert list(rings(SQUARE)) == [[(-10, -10), (0, -10), (0, 0), (-10, 0), (-10, -10)]]
    assert text_of(SQUARE).splitlines()[-1] == "-100 100 100 0 0 -100 -100 0"


def test_a_ring_across_the_180th_meridian_is_there_on_both_sides() -> None:
    west, east = unrolled([(179, 0), (-179, 0), (-179, 5), (179, 5), (179, 0)])
    assert west == [(-181, 0), (-179, 0), (-179, 5), (-181, 5), (-181, 0)]
    assert east == [(179, 0), (181, 0), (181, 5), (179, 5), (179, 0)]
    assert unrolled([(1, 0), (2, 0), (2, 1), (1, 0)]) == [[(1, 0), (2, 0), (2, 1), (1, 0)]]


def test_a_ring_around_a_pole_has_the_edge_of_the_map() -> None:
    ring = [(-180, -80), (-60, -80), (60, -80), (179, -80), (-180, -80)]
    pole = max(unrolled(ring), key=lambda found: sum(-180 <= x <= 180 for x, _ in found))
    assert pole == [*ring[:4], (180, -80), (180, -90), (-180, -90), (-180, -80)]


def test_points_near_the_line_go() -> None:
    line = [(0, 0), (1, 0.05), (2, 0), (3, 2), (4, 0)]
    assert thinned(line, 0.1) == [(0, 0), (2, 0), (3, 2), (4, 0)]
    assert thinned(line, 0.01) == line and thinned(line, 5) == [(0, 0), (4, 0)]
    assert thinned([(0, 0), (3, 0), (0, 4), (0, 0)], 1) == [(0, 0), (3, 0), (0, 4), (0, 0)], "a ring"
