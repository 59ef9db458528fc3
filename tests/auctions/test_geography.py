"""Networks to places, places to cells."""

from ipaddress import ip_network

import h3
import pytest

from auctions.geography import (
    CITIES,
    RESOLUTION,
    GeoIp,
    Place,
    cell_of,
    center_of,
    network_of,
    read_geo_ip,
    write_geo_ip,
)
from transforms.errors import InputError

A, B, C = Place(1.0, 1.0, "AA"), Place(2.0, 2.0, "BB"), Place(3.0, 3.0)


def test_lookups_at_the_borders():
    found = GeoIp([(ip_network("10.0.1.0/24"), A), (ip_network("10.0.2.0/24"), B), (ip_network("10.0.4.0/24"), C)])
    wanted = {
        "10.0.0.255": None,
        "10.0.1.0": A,
        "10.0.1.255": A,
        "10.0.2.0": B,
        "10.0.2.255": B,
        "10.0.3.0": None,
        "10.0.3.255": None,
        "10.0.4.77": C,
        "10.0.5.0": None,
        "0.0.0.0": None,
        "255.255.255.255": None,
    }
    assert {address: found.find(address) for address in wanted} == wanted


def test_the_narrowest_network_counts():
    found = GeoIp(
        [
            (ip_network("10.0.0.0/8"), A),
            (ip_network("10.1.0.0/16"), B),
            (ip_network("10.1.255.0/24"), C),
            (ip_network("10.2.0.0/16"), C),
        ]
    )
    wanted = {
        "10.0.9.9": A,
        "10.1.0.0": B,
        "10.1.254.255": B,
        "10.1.255.3": C,
        "10.2.0.0": C,
        "10.3.0.0": A,
        "11.0.0.0": None,
    }
    assert {address: found.find(address) for address in wanted} == wanted


def test_a_network_that_shares_both_ends_with_others():
    found = GeoIp([(ip_network("10.0.0.0/8"), A), (ip_network("10.0.0.0/24"), B), (ip_network("10.255.255.0/24"), C)])
    assert [found.find(ip) for ip in ("10.0.0.1", "10.9.9.9", "10.255.255.255", "11.0.0.0")] == [B, A, C, None]


def test_every_address_of_a_small_space_as_a_plain_search_finds_it():
    networks = [("10.0.0.0/25", A), ("10.0.0.0/28", B), ("10.0.0.64/26", C), ("10.0.0.72/29", A), ("10.0.0.200/30", B)]
    rows = [(ip_network(network), place) for network, place in networks]
    found = GeoIp(reversed(rows))
    for address in ip_network("10.0.0.0/24"):
        holding = [(network.prefixlen, place) for network, place in rows if address in network]
        assert found.find(str(address)) == (max(holding, key=lambda held: held[0])[1] if holding else None), address


def test_both_families_and_what_is_no_address():
    found = GeoIp([(ip_network("10.0.0.0/8"), A), (ip_network("2001:db8::/32"), B)])
    assert found.find("2001:db8::7") == B and found.find("2001:db9::") is None
    assert found.find("::ffff:10.1.2.3") == A
    for bad in ("", "10.0.0", "10.0.0.0/8", "nobody", "1" * 5000):
        assert found.find(bad) is None
    assert GeoIp([]).find("10.0.0.1") is None


def test_a_table_as_maxmind_publishes_it(tmp_path):
    blocks, locations = tmp_path / "blocks.csv", tmp_path / "locations.csv"
    blocks.write_text(
        "network,geoname_id,registered_country_geoname_id,postal_code,latitude,longitude,accuracy_radius\n"
        "1.0.0.0/24,7,7,,48.2,16.37,100\n1.0.1.0/24,8,8,,,,\n1.0.2.0/24,9,9,,-33.8,151.2,5\n"
    )
    locations.write_text("geoname_id,locale_code,country_iso_code,country_name\n7,en,AT,Austria\n8,en,,\n")
    found = read_geo_ip(blocks, locations)
    assert found.find("1.0.0.200") == Place(48.2, 16.37, "AT")
    assert found.find("1.0.1.1") is None, "a network without a place"
    assert found.find("1.0.2.1") == Place(-33.8, 151.2, None)
    assert read_geo_ip(blocks).find("1.0.0.200") == Place(48.2, 16.37, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network,latitude\n", "there is no column longitude"),
        ("", "there is no column network"),
        ("network,latitude,longitude\n1.0.0.0/24,1,2\nx,1,2\n", ":3: 'x' does not appear"),
        ("network,latitude,longitude\n1.0.0.1/24,1,2\n", ":2: 1.0.0.1/24 has host bits set"),
        ("network,latitude,longitude\n1.0.0.0/24,north,2\n", ":2: could not convert"),
        ("network,latitude,longitude\n1.0.0.0/24,90.5,2\n", ":2: the place is not on the earth"),
        ("network,latitude,longitude\n1.0.0.0/24,nan,2\n", ":2: the place is not on the earth"),
    ],
)
def test_a_bad_table_is_refused_and_the_line_named(tmp_path, text, says):
    path = tmp_path / "blocks.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_geo_ip(path)


def test_a_short_line_leaves_the_place_out_and_a_missing_file_is_named(tmp_path):
    path = tmp_path / "blocks.csv"
    path.write_text("network,latitude,longitude\n1.0.0.0/24,1\n")
    assert read_geo_ip(path).find("1.0.0.1") is None
    with pytest.raises(InputError, match=r"no\.csv: No such file"):
        read_geo_ip(tmp_path / "no.csv")


def test_the_generated_table(tmp_path):
    path = tmp_path / "geo.csv"
    write_geo_ip(path)
    found = read_geo_ip(path)
    for number, (_, place) in enumerate(CITIES):
        assert found.find(str(network_of(number)[77])) == place
        assert found.find(f"2001:db8:{number:x}::1") == place
    assert len({cell_of(place.lat, place.lon) for _, place in CITIES}) == len(CITIES)


def test_cells():
    cell = cell_of(48.137, 11.575)
    assert h3.is_valid_cell(cell) and h3.get_resolution(cell) == RESOLUTION
    assert cell_of(48.137, 11.575, 7) != cell
    lat, lon, country = center_of(cell)
    assert abs(lat - 48.137) < 0.3 and abs(lon - 11.575) < 0.4 and country is None
    for lat, lon in ((91, 0), (0, 181), (float("nan"), 0), (0, float("nan"))):
        with pytest.raises(ValueError, match="latitude must lie"):
            cell_of(lat, lon)
    with pytest.raises(ValueError, match="not a cell"):
        center_of("nowhere")
