"""Cells show at least k bidders, whatever the bids; the checker sees rows that do not."""

import random

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auctions.geo_cells import CellRow, Suppressed, check_cells, count_cells, merge_counts, rows_of
from auctions.geography import CITIES, cell_of
from tests.auctions.analysis import DAY, HOUR, START, bid, outcome

MUNICH = cell_of(48.137, 11.575)
NEAR = next(cell for cell in sorted(h3.grid_ring(MUNICH, 1)) if h3.cell_to_parent(cell) == h3.cell_to_parent(MUNICH))
TOKYO = cell_of(35.676, 139.650)


def bids(cell, who, at=1):
    return [bid(name, 1000, at + n, cell=cell) for n, name in enumerate(who)]


def rows(events, k, window=DAY):
    return list(rows_of(count_cells(events, window), k))


def test_a_cell_with_enough_bidders_is_shown():
    events = [
        *bids(MUNICH, "abca"),
        bid("z", 1, 5, cell=MUNICH, status="TOO_LOW"),
        bid("a", 1, 6, cell=MUNICH, automatic=True),
        bid("y", 9, 9),
    ]
    assert rows(events, 3) == [CellRow(START, MUNICH, 4, 3, None)]
    assert rows(events, 4) == [Suppressed(START, 4)]


def test_cells_with_few_bidders_are_put_together():
    events = bids(MUNICH, "ab") + bids(NEAR, "cb")
    assert rows(events, 3) == [CellRow(START, h3.cell_to_parent(MUNICH), 4, 3, None)]
    assert rows(events, 2) == [CellRow(START, cell, 2, 2, None) for cell in sorted((MUNICH, NEAR))]
    far = rows([*events, *bids(TOKYO, "z")], 3)
    assert far == [CellRow(START, h3.cell_to_parent(MUNICH), 4, 3, None), Suppressed(START, 1)]


def test_a_coarse_row_is_what_the_finer_ones_leave():
    events = bids(MUNICH, "abc") + bids(NEAR, "d")
    assert rows(events, 3) == [CellRow(START, MUNICH, 3, 3, None), Suppressed(START, 1)]


def test_windows_are_apart():
    events = bids(MUNICH, "ab") + bids(MUNICH, "cd", at=HOUR)
    assert rows(events, 2, HOUR) == [CellRow(START, MUNICH, 2, 2, None), CellRow(START + HOUR, MUNICH, 2, 2, None)]
    assert rows(events, 3, HOUR) == [Suppressed(START, 2), Suppressed(START + HOUR, 2)]


def test_spend_is_shown_with_enough_buyers():
    def sold(number, winner):
        found = bids(MUNICH, "abc")
        return [each._replace(auction_id=f"x{number}") for each in found] + [
            outcome(winner, 500, at=HOUR, auction_id=f"x{number}")
        ]

    assert rows(sold(1, "a") + sold(2, "a"), 2) == [CellRow(START, MUNICH, 6, 3, None)]
    assert rows(sold(1, "a") + sold(2, "b"), 2) == [CellRow(START, MUNICH, 6, 3, {"EUR": 1000})]
    assert rows([outcome("a", 500), outcome()], 2) == [], "a buyer whose cell is not known"


def test_merging_is_in_any_order():
    source = random.Random(5)
    events = [bid(source.choice("abcdefgh"), 1, at, cell=source.choice((MUNICH, NEAR, TOKYO))) for at in range(60)]
    parts = [count_cells(events[n::3], DAY) for n in range(3)]
    whole = list(rows_of(count_cells(events, DAY), 3))
    assert list(rows_of(merge_counts(parts), 3)) == list(rows_of(merge_counts(parts[::-1]), 3)) == whole


CELLS = [cell_of(place.lat, place.lon) for _, place in CITIES[:8]] + [NEAR, MUNICH]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(CELLS), st.integers(0, 12), st.integers(0, 2)), max_size=60), st.integers(2, 6)
)
def test_no_row_ever_shows_fewer_than_k(placed, k):
    events = [bid(f"p{who}", 1000, hour * HOUR + n, cell=cell) for n, (cell, who, hour) in enumerate(placed)]
    found = rows(events, k, HOUR)
    assert all(row.bidders >= k for row in found if isinstance(row, CellRow))
    assert check_cells(found, events, HOUR, k) == []


def test_the_checker_sees_what_is_wrong():
    events = bids(MUNICH, "ab") + bids(NEAR, "cb")
    right = rows(events, 3)
    assert check_cells(right, events, DAY, 3) == []
    two = rows(events, 2)
    assert "fewer than 3" in check_cells(two, events, DAY, 3)[0], "a suppression that was left out"
    lied = [two[0]._replace(bidders=7), two[1]]
    assert "says 2 bids of 7" in check_cells(lied, events, DAY, 2)[0]
    assert check_cells(two[:1], events, DAY, 2) == [f"{START}: 2 bids are missing or too many"]
    assert check_cells([*two, Suppressed(START, 1)], events, DAY, 2) == [f"{START}: -1 bids are missing or too many"]
    assert check_cells([], bids(None, "ab"), DAY, 2) == []


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="window_ms must be positive, got 0"):
        count_cells([], 0)
    with pytest.raises(ValueError, match="k must be at least 2, or persons would be shown, got 1"):
        list(rows_of({}, 1))
