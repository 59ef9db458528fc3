"""The land of the earth as a path, bundled: `assets/land.txt`, made by `report.make_land` out of Natural Earth (public domain)."""

from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

LAND = Path(__file__).parent / "assets" / "land.txt"


class Frame(NamedTuple):
    """A part of the map, degrees: its western and northern side, and how far it reaches east and south."""

    west: float
    north: float
    width: float
    height: float

    def at(self, lat: float, lon: float) -> tuple[float, float]:
        """Shares of the width and of the height at which a place lies; it is inside when both lie within 0 and 1."""
        return (lon - self.west) / self.width, (self.north - lat) / self.height

    def holds(self, lat: float, lon: float) -> bool:
        return all(0 <= share <= 1 for share in self.at(lat, lon))

    @property
    def box(self) -> str:
        """As the viewBox of `land_path`."""
        return " ".join(f"{10 * degrees:.0f}" for degrees in (self.west, -self.north, self.width, self.height))


class _Ring(NamedTuple):
    west: float
    east: float
    north: float
    south: float
    path: str


def land_path(frame: Frame) -> str:
    """The rings that may be seen in the frame, whole, as an SVG path in tenths of a degree east and south."""
    east, south = frame.west + frame.width, frame.north - frame.height
    return "".join(
        ring.path
        for ring in _rings()
        if ring.west <= east and ring.east >= frame.west and ring.south <= frame.north and ring.north >= south
    )


@cache
def _rings() -> tuple[_Ring, ...]:
    found = []
    for line in LAND.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            numbers = line.split()
            x, y = ([n / 10 for n in accumulate(map(int, numbers[first::2]))] for first in (0, 1))
            path = f"M{numbers[0]} {numbers[1]}l{' '.join(numbers[2:])}z".replace(" -", "-")
            found.append(_Ring(min(x), max(x), -min(y), -max(y), path))
    return tuple(found)
