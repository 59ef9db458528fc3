"""Columns of the UCI shill bidding data, computed by hand."""

import pytest

from auctions.fraud_columns import Columns, successive_outbidding, uci_columns
from auctions.stories import Offer, Story, elapsed


def story(name, seller, who, winner=None, start=100, times=None, begin=0, end=1000):
    """Offers of these bidders (a letter each), at these times, each 10 above the one before."""
    times = times or range(begin + 100, begin + 100 * (len(who) + 1), 100)
    offers = [
        Offer(bidder, at, start + 10 * n + 10, start + 10 * n)
        for n, (bidder, at) in enumerate(zip(who, times, strict=True))
    ]
    return Story(name, seller, begin, end, start, tuple(offers), winner)


@pytest.mark.parametrize(
    ("who", "wanted"),
    [
        ("a", 0),
        ("aa", 0),
        ("aaa", 0.5),
        ("aaaa", 1),
        ("aaaaaa", 1),
        ("aabaa", 0),
        ("baaab", 0.5),
        ("aabaaaa", 1),
        ("b", 0),
    ],
)
def test_successive_outbidding(who, wanted):
    assert successive_outbidding(who, "a") == wanted


def test_a_table_by_hand():
    """Two auctions of s (4 and 1 offers, starts 100 and 50), one of t (1 offer, start 150) and one of t without any (start 100).

    6 offers in 4 auctions: 1.5 on average; mean start 100.
    """
    rows = uci_columns(
        [
            story("x", "s", "aaab", winner="b"),
            story("y", "s", "a", start=50, times=[1000]),
            story("z", "t", "b", winner="b", start=150, times=[250]),
            story("nobody", "t", ""),
        ]
    )
    assert rows == [
        # a: 4 of 4 offers are in auctions of s; 3 of 4 here; three in a row; first at 100, last at 300; won 0 of 2
        Columns("x", "a", 1.0, 0.75, 0.5, 0.3, 1 - 1.5 / 4, 0.0, 0.1, 1.0, 1000),
        Columns("x", "b", 0.5, 0.25, 0.0, 0.4, 1 - 1.5 / 4, 0.0, 0.4, 0.0, 1000),
        Columns("y", "a", 1.0, 1.0, 0.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1000),
        Columns("z", "b", 0.5, 1.0, 0.0, 0.25, 0.0, 0.0, 0.25, 0.0, 1000),
    ]


def test_winning_ratio_of_who_hardly_bids_is_nothing():
    rows = {
        row.bidder_id: row
        for row in uci_columns([story("x", "s", "a" + "bc" * 5, times=range(100, 1200, 100), end=2000)])
    }
    assert rows["a"].bidding_ratio == 1 / 11 and rows["a"].winning_ratio == 0.0
    assert rows["b"].winning_ratio == 1.0
    exactly = {row.bidder_id: row for row in uci_columns([story("x", "s", "abcbcbcbcb", times=range(100, 1100, 100))])}
    assert exactly["a"].winning_ratio == 1.0


def test_nothing_gives_nothing_and_free_starts_divide_by_nothing():
    assert uci_columns([]) == []
    assert uci_columns([story("x", "s", "a", start=0)])[0].starting_price_average == 0.0


def test_elapsed_is_clipped():
    told = story("x", "s", "a", begin=1000, end=2000)
    assert [elapsed(told, at) for at in (500, 1000, 1250, 2000, 9000)] == [0, 0, 0.25, 1, 1]
    assert elapsed(told._replace(ends_at=1000), 1000) == 1.0
