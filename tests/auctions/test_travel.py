"""Distances and speeds."""

import h3
import pytest

from auctions.geography import CITIES
from auctions.travel import EARTH_KM, Sight, distance_km, needed_kmh

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (0, 90), EARTH_KM * 3.141592653589793 / 2),
        ((90, 0), (-90, 77), EARTH_KM * 3.141592653589793),
        ((0, 0), (0, 180), EARTH_KM * 3.141592653589793),
        ((0, 179.5), (0, -179.5), EARTH_KM * 3.141592653589793 / 180),
    ],
)
def test_distances(one, other, km):
    assert distance_km(*one, *other) == pytest.approx(km, abs=1e-6)
    assert distance_km(*other, *one) == pytest.approx(km, abs=1e-6)


def test_distances_are_those_of_the_grids_library():
    places = [(place.lat, place.lon) for _, place in CITIES]
    for one in places:
        for other in places:
            assert distance_km(*one, *other) == pytest.approx(h3.great_circle_distance(one, other, unit="km"), rel=1e-6)


def test_needed_speed():
    here, there = Sight(0, 0.0, 0.0, "b1"), Sight(2 * HOUR, 0.0, 10.0, "b2")
    km = distance_km(0, 0, 0, 10)
    assert needed_kmh(here, there) == needed_kmh(there, here) == pytest.approx(km / 2)
    assert needed_kmh(here, there, blur_km=km - 100) == pytest.approx(50)
    assert needed_kmh(here, there, blur_km=km) == 0.0
    assert needed_kmh(here, here._replace(at=HOUR)) == 0.0
    assert needed_kmh(here, here) == 0.0
    assert needed_kmh(here, there._replace(at=0)) == float("inf")
