"""Impossible travel (A10): two actions of one person that need more than 900 km/h, which is about as fast as an airliner."""

from math import asin, cos, radians, sin, sqrt
from typing import NamedTuple

EARTH_KM = 6371.0088  # mean radius of the earth (IUGG)
MAX_KMH = 900.0


class Sight(NamedTuple):
    """A person was seen somewhere."""

    at: int  # ms
    lat: float
    lon: float
    what: str  # id of the action, for the evidence


def distance_km(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Great-circle distance by the haversine formula."""
    north, other_north = radians(lat), radians(other_lat)
    a = sin((other_north - north) / 2) ** 2
    a += cos(north) * cos(other_north) * sin(radians(other_lon - lon) / 2) ** 2
    return 2 * EARTH_KM * asin(min(1.0, sqrt(a)))


def needed_kmh(one: Sight, other: Sight, blur_km: float = 0.0) -> float:
    """Speed that is needed from one to the other, whichever was first. `blur_km` is how far off their places may be, together.

    A distance in no time needs infinite speed; no distance needs none.
    """
    apart = distance_km(one.lat, one.lon, other.lat, other.lon) - blur_km
    if apart <= 0:
        return 0.0
    hours = abs(other.at - one.at) / 3_600_000
    return apart / hours if hours else float("inf")
