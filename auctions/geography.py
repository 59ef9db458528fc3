"""Where an address of the network lies: a table of networks, and cells of the H3 grid (A10).

The table is a CSV file as MaxMind publishes them (GeoLite2-City-Blocks-IPv4.csv, or IPv6): of its columns `network`, `latitude` and
`longitude` are needed; the country is its column `country_iso_code`, or that of the row of `geoname_id` in a second file of locations
(GeoLite2-City-Locations-en.csv). Networks may lie within each other: the narrowest counts.
"""

import csv
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple, TypeVar

import h3

from transforms.errors import InputError

RESOLUTION = 4  # hexagons of about 26 km an edge, 1,770 km²: about a city with its surroundings


class Place(NamedTuple):
    """A place on the earth: degrees north and east; ISO 3166-1 alpha-2 code of its country where it is known."""

    lat: float
    lon: float
    country: str | None = None


def cell_of(lat: float, lon: float, resolution: int = RESOLUTION) -> str:
    """The H3 cell of a place; ValueError for a place that is not on the earth."""
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):  # NaN too
        raise ValueError("latitude must lie within -90 and 90, longitude within -180 and 180")
    return str(h3.latlng_to_cell(lat, lon, resolution))


def center_of(cell: str) -> Place:
    """The middle of a cell; ValueError if it is none."""
    if not h3.is_valid_cell(cell):
        raise ValueError("not a cell of the H3 grid")
    lat, lon = h3.cell_to_latlng(cell)
    return Place(lat, lon)


Network = IPv4Network | IPv6Network


class GeoIp:
    """A table of networks. Looking up takes a binary search: the networks are kept as ranges that do not overlap."""

    def __init__(self, networks: Iterable[tuple[Network, Place]]) -> None:
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._places: dict[int, list[Place | None]] = {4: [], 6: []}
        ordered = sorted(networks, key=lambda row: (row[0].version, int(row[0].network_address), row[0].prefixlen))
        for version in (4, 6):
            starts, places = self._starts[version], self._places[version]
            for start, place in _ranges([row for row in ordered if row[0].version == version]):
                if starts and starts[-1] == start:  # nothing lies between two borders
                    places[-1] = place
                else:
                    starts.append(start)
                    places.append(place)

    def find(self, address: str) -> Place | None:
        """The place of an address, IPv4 or IPv6; None if it is in no network or is no address."""
        try:
            ip = ip_address(address)
        except ValueError:
            return None
        mapped = getattr(ip, "ipv4_mapped", None)  # ::ffff:1.2.3.4
        ip = ip if mapped is None else mapped
        found = bisect_right(self._starts[ip.version], int(ip)) - 1
        return self._places[ip.version][found] if found >= 0 else None


def _ranges(networks: list[tuple[Network, Place]]) -> Iterator[tuple[int, Place | None]]:
    """(first address, place from there on), in order; `networks` by first address, the wider first."""
    around: list[tuple[int, Place | None]] = []  # (first address after it, place) of the networks that we are inside of
    for network, place in networks:
        start, end = int(network.network_address), int(network.broadcast_address) + 1
        while around and around[-1][0] <= start:
            after, _ = around.pop()
            yield after, around[-1][1] if around else None
        yield start, place
        around.append((end, place))
    while around:
        after, _ = around.pop()
        yield after, around[-1][1] if around else None


def read_geo_ip(blocks: Path, locations: Path | None = None) -> GeoIp:
    """The table in `blocks`. Rows without a place are left out; anything else that is wrong is an InputError that names the line."""
    countries = {} if locations is None else dict(_rows(locations, ("geoname_id", "country_iso_code"), _country))
    table = []
    for network, place, geoname in _rows(blocks, ("network", "latitude", "longitude"), _block):
        if place is not None:
            table.append((network, place if place.country else place._replace(country=countries.get(geoname))))
    return GeoIp(table)


_Row = TypeVar("_Row")


def _rows(path: Path, needed: Iterable[str], parse: Callable[[dict[str, str]], _Row]) -> Iterator[_Row]:
    """Every row of a CSV file, parsed; `parse` raises ValueError for a bad one. A field that a line does not have is empty."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restval="")
            for name in needed:
                if name not in (reader.fieldnames or ()):
                    raise InputError(f"{path}: there is no column {name}")
            for row in reader:
                try:
                    yield parse(row)
                except ValueError as error:
                    raise InputError(f"{path}:{reader.line_num}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _block(row: dict[str, str]) -> tuple[Network, Place | None, str]:
    network = ip_network(row["network"].strip())
    if not row["latitude"] or not row["longitude"]:
        return network, None, ""
    lat, lon = float(row["latitude"]), float(row["longitude"])
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError("the place is not on the earth")
    return network, Place(lat, lon, row.get("country_iso_code") or None), row.get("geoname_id") or ""


def _country(row: dict[str, str]) -> tuple[str, str | None]:
    return row["geoname_id"].strip(), row["country_iso_code"].strip() or None


# --- a generated table ---


CITIES: tuple[tuple[str, Place], ...] = (
    ("Berlin", Place(52.52, 13.405, "DE")),
    ("Munich", Place(48.137, 11.575, "DE")),
    ("Hamburg", Place(53.551, 9.994, "DE")),
    ("Vienna", Place(48.208, 16.374, "AT")),
    ("Zurich", Place(47.377, 8.541, "CH")),
    ("Paris", Place(48.857, 2.352, "FR")),
    ("Lyon", Place(45.764, 4.836, "FR")),
    ("London", Place(51.507, -0.128, "GB")),
    ("Manchester", Place(53.481, -2.243, "GB")),
    ("Dublin", Place(53.350, -6.260, "IE")),
    ("Madrid", Place(40.417, -3.704, "ES")),
    ("Lisbon", Place(38.722, -9.139, "PT")),
    ("Rome", Place(41.903, 12.496, "IT")),
    ("Milan", Place(45.464, 9.190, "IT")),
    ("Warsaw", Place(52.230, 21.012, "PL")),
    ("Stockholm", Place(59.329, 18.069, "SE")),
    ("New York", Place(40.713, -74.006, "US")),
    ("Chicago", Place(41.878, -87.630, "US")),
    ("San Francisco", Place(37.775, -122.419, "US")),
    ("Toronto", Place(43.653, -79.383, "CA")),
    ("São Paulo", Place(-23.551, -46.633, "BR")),
    ("Nairobi", Place(-1.292, 36.822, "KE")),
    ("Mumbai", Place(19.076, 72.878, "IN")),
    ("Tokyo", Place(35.676, 139.650, "JP")),
    ("Sydney", Place(-33.869, 151.209, "AU")),
)
"""Cities of the generated table, with their places."""


def network_of(city: int) -> IPv4Network:
    """The network of the n-th city in the generated table: 100.64.n.0/24, of the block that nobody on the internet has (RFC 6598)."""
    return IPv4Network(f"100.64.{city}.0/24")


def write_geo_ip(path: Path) -> None:
    """Writes the generated table: a network for each of `CITIES`, and 2001:db8:n::/48 of the block for documentation (RFC 3849)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("network", "latitude", "longitude", "country_iso_code"))
        for number, (_, place) in enumerate(CITIES):
            writer.writerow((network_of(number), *place))
        for number, (_, place) in enumerate(CITIES):
            writer.writerow((f"2001:db8:{number:x}::/48", *place))
