"""Spreads by hand."""

import pytest

from auctions.analytics_topics import SPREADS
from auctions.spread import Mean, Spreads, basis_points, mean_spread, quote_at, spread_at
from schemas.auctions import Quote, Spread
from tests.auctions.analysis import HOUR, START, Bench, bid, ending, item, outcome

# --- quotes ---


@pytest.mark.parametrize(
    ("fields", "price", "ask"),
    [
        ({}, None, 1000),  # nobody has bid: the start price
        ({}, 1000, 1050),  # increment of the default table under 20.00
        ({}, 20_000, 20_500),
        ({"reserve": 5000}, None, 5000),
        ({"reserve": 5000}, 4999, 5000),
        ({"reserve": 5000}, 5000, 5100),  # met: the next minimum bid
        ({"buy_now": 9000}, None, 9000),
        ({"buy_now": 9000}, 1000, 1050),  # no longer offered
        ({"buy_now": 9000, "reserve": 5000}, None, 5000),
        ({"buy_now": 9000, "reserve": 5000}, 3000, 5000),
        ({"buy_now": 9000, "reserve": 5000}, 6000, 6100),
    ],
)
def test_the_ask(fields, price, ask):
    assert quote_at(item(**fields), 7, price) == Quote(7, ask, price)


@pytest.mark.parametrize(
    ("ask", "bid", "points"),
    [
        (1050, 1000, 488),
        (1000, 1000, 0),
        (300, 100, 10_000),
        (1000, 0, 20_000),
        (0, 0, 0),
        (100_001, 99_999, 0),
        (100_002, 99_996, 1),
    ],
)
def test_basis_points(ask, bid, points):
    """50 of 1025 is 4.878 %."""
    assert basis_points(ask, bid) == points


QUOTES = (Quote(0, 1000, None), Quote(200, 1050, 1000), Quote(600, 1300, 1200))


@pytest.mark.parametrize(
    ("at", "ask", "bid"),
    [(0, 1000, None), (200, 1000, None), (201, 1050, 1000), (600, 1050, 1000), (601, 1300, 1200), (9999, 1300, 1200)],
)
def test_a_spread_is_that_just_before(at, ask, bid):
    spread = spread_at(QUOTES, "CLOSE", at)
    assert spread[:4] == ("CLOSE", at, ask, bid)
    assert spread[4:] == ((None, None) if bid is None else (ask - bid, basis_points(ask, bid)))


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        # 50 for 400 ms and 100 for 400 ms; 488 and 800 points
        (1000, Mean(75, 644, 800)),
        (700, Mean(60, 550, 500)),  # 50·400 + 100·100 = 30,000 / 500; 488·400 + 800·100 = 275,200 / 500
        (600, Mean(50, 488, 400)),
        (300, Mean(50, 488, 100)),
        (200, Mean(None, None, 0)),
        (0, Mean(None, None, 0)),
    ],
)
def test_means_are_weighted_by_time(end, wanted):
    assert mean_spread(QUOTES, end) == wanted


def test_means_round_to_the_nearest():
    quotes = (Quote(0, 10, 0), Quote(1, 11, 0))
    assert mean_spread(quotes, 2).absolute == 11  # 10.5
    assert mean_spread(quotes, 3).absolute == 11  # 10.67
    assert mean_spread((Quote(0, 10, 0), Quote(2, 11, 0)), 3).absolute == 10  # 10.33


# --- over the history ---


def test_an_auction():
    """One hour: 1000 from minute 6, 1500 from minute 30 on the dot, 2000 from minute 59:30; the end."""
    bench = Bench(Spreads())
    bench.feed(item(), 0)
    minute = HOUR // 60
    bench.feed(bid("a", 1000, 6 * minute))
    bench.feed(bid("b", 900, 7 * minute, price=1000, leader="a", status="TOO_LOW"))
    bench.feed(bid("b", 1500, 30 * minute))
    bench.feed(ending(("a", "b"), "b"))
    bench.feed(bid("c", 2000, 59 * minute + 30_000))
    (whole,) = bench.feed(outcome("c", 2000, ("a", "b")))
    assert whole.marks == (
        Spread("REMAINING_50", START + 30 * minute, 1050, 1000, 50, 488),
        Spread("REMAINING_10", START + 54 * minute, 1550, 1500, 50, 328),
        Spread("REMAINING_1", START + HOUR - 36_000, 1550, 1500, 50, 328),
        Spread("CLOSE", START + HOUR, 2100, 2000, 100, 488),
    )
    assert whole.mean_absolute == round((53.5 * 50 + 0.5 * 100) / 54)
    assert whole.mean_basis_points == round((24 * 488 + 29.5 * 328 + 0.5 * 488) / 54)
    assert (whole.quoted_ms, whole.duration_ms, whole.quotes) == (54 * minute, HOUR, 4)
    assert (whole.seller_id, whole.category, whole.currency, whole.outcome) == ("seller", "watches", "EUR", "SOLD")
    assert (bench.outputs[0].topic, bench.outputs[0].key) == (SPREADS.name, b"x")
    assert bench.shard.entities == {}


def test_the_marks_are_of_the_effective_end():
    bench = Bench(Spreads())
    bench.feed(item(), 0)
    bench.feed(bid("a", 1000, 0))
    (whole,) = bench.feed(outcome("a", 1000, at=2 * HOUR))
    assert [spread.at - START for spread in whole.marks] == [HOUR, 2 * HOUR * 9 // 10, 2 * HOUR * 99 // 100, 2 * HOUR]


def test_of_several_changes_at_once_the_last_one_stands():
    bench = Bench(Spreads())
    bench.feed(item(), 0)
    bench.feed(bid("a", 1000, 10))
    bench.feed(bid("b", 1500, 10))
    bench.feed(bid("b", 2500, 20, price=1500))
    assert bench.shard.entities["x"].quotes == (Quote(START, 1000, None), Quote(START + 10, 1550, 1500))


def test_a_retraction_may_leave_no_bid():
    bench = Bench(Spreads())
    bench.feed(item(), 0)
    bench.feed(bid("a", 1000, 10))
    bench.feed(bid("a", 1000, 20, status="RETRACTED", leader=None))
    assert bench.shard.entities["x"].quotes[-1] == Quote(START + 20, 1000, None)
    (whole,) = bench.feed(outcome())
    assert whole.marks[-1][2:] == (1000, None, None, None) and whole.quoted_ms == 10


def test_without_bids_and_without_an_item():
    bench = Bench(Spreads())
    assert bench.feed(outcome()) == [] and bench.feed(bid("a", 1, 1)) == []
    bench.feed(item(), 0)
    bench.feed(item(start_price=7), 0)
    (whole,) = bench.feed(outcome())
    assert whole.mean_absolute is None and whole.mean_basis_points is None and whole.quoted_ms == 0
    assert [spread.bid for spread in whole.marks] == [None] * 4 and whole.marks[0].ask == 1000


def test_a_cancelled_auction_has_no_close():
    bench = Bench(Spreads())
    bench.feed(item(), 0)
    assert bench.feed(outcome(outcome="CANCELLED")) == [] and bench.shard.entities == {}
