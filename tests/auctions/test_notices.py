"""Who is told what, and that a bidding war sends no flood."""

import pytest

from auctions import topics
from auctions.notices import QUIET_MS, Notices, notice_id
from schemas.auctions import PriceRange, RangeServed, TriedLevel
from tests.auctions.analysis import HOUR, MINUTE, START, Bench, bid, ending, eur, item, outcome


@pytest.fixture
def bench():
    made = Bench(Notices(5 * MINUTE))
    made.feed(item(), 0)
    return made


def told(notices):
    return [(notice.kind, notice.person) for notice in notices]


def test_who_loses_the_lead_is_told_at_once(bench):
    assert bench.feed(bid("a", 1000, 10)) == []
    (notice,) = bench.feed(bid("b", 1500, 20, price=1050, outbid="a"))
    cause = "auction.bids.history/0/2"
    wanted = (
        notice_id(cause, "OUTBID", "a"),
        "a",
        "OUTBID",
        "x",
        "A watch",
        eur(1050),
        False,
        START + HOUR,
        cause,
        START + 20,
        None,
    )
    assert notice == wanted
    assert (bench.outputs[0].topic, bench.outputs[0].key) == (topics.NOTICES.name, b"a")


def test_a_bid_that_does_not_take_the_lead_is_told_to_its_bidder(bench):
    bench.feed(bid("a", 5000, 10, price=1000))
    assert told(bench.feed(bid("b", 1500, 20, price=1550, leader="a"))) == [("OUTBID", "b")]
    answer = bid("a", 5000, 20, price=1550, automatic=True)
    assert bench.feed(answer) == []


def test_refused_bids_and_own_raises_tell_nobody(bench):
    bench.feed(bid("a", 1000, 10))
    assert bench.feed(bid("b", 900, 20, price=1000, leader="a", status="TOO_LOW")) == []
    assert bench.feed(bid("a", 2000, 30, price=1000)) == []
    assert bench.feed(bid("a", 2000, 40, price=1000, outbid="a")) == []


def test_a_bidding_war_is_told_once_per_quiet_period(bench):
    bench.feed(bid("a", 1000, 0))
    told_in_all = []
    for turn in range(1, 601):  # ten minutes, a bid each second
        one, other = ("b", "a") if turn % 2 else ("a", "b")
        told_in_all += bench.feed(bid(one, 1000 + 50 * turn, turn * 1000, outbid=other))
    # a is told at second 1, b at second 2; again after 5 minutes, and after another 5 the 601st second has not come
    times = [(notice.person, (notice.at - START) // 1000) for notice in told_in_all]
    assert times == [("a", 1), ("b", 2), ("a", 301), ("b", 302)]
    assert len({notice.notice_id for notice in told_in_all}) == 4


def test_after_the_quiet_period_who_leads_again_is_left_alone(bench):
    bench.feed(bid("a", 1000, 0))
    assert told(bench.feed(bid("b", 1100, 1000, outbid="a"))) == [("OUTBID", "a")]
    assert told(bench.feed(bid("a", 1200, 2000, outbid="b"))) == [("OUTBID", "b")]
    assert bench.feed(bid("b", 1300, 3000, outbid="a")) == []
    assert bench.feed(bid("a", 1400, 4000, outbid="b")) == []
    assert bench.tick(1000 + 5 * MINUTE - 1) == []
    assert bench.tick(1000 + 5 * MINUTE) == [], "a was outbid meanwhile, but leads"
    (notice,) = bench.tick(2000 + 5 * MINUTE)
    assert (notice.kind, notice.person, notice.price) == ("OUTBID", "b", eur(1400))
    assert notice.cause == "auction.bids.history/0/5", "the newest bid that overtook b"
    assert notice.notice_id == notice_id(notice.cause, "OUTBID", "b")


def test_a_quiet_period_without_another_bid_ends_in_silence_and_begins_anew(bench):
    bench.feed(bid("a", 1000, 0))
    bench.feed(bid("b", 1100, 1000, outbid="a"))
    assert bench.tick(10 * MINUTE) == []
    assert bench.shard.entities["x"].quiet == {}
    bench.feed(bid("a", 1200, 11 * MINUTE, outbid="b"))
    assert told(bench.feed(bid("b", 1300, 12 * MINUTE, outbid="a"))) == [("OUTBID", "a")]


def test_without_a_quiet_period_everyone_is_told_each_time():
    bench = Bench(Notices(0))
    bench.feed(item(), 0)
    for turn in range(6):
        one, other = ("b", "a") if turn % 2 else ("a", "b")
        assert told(bench.feed(bid(one, 1000 + turn, turn, outbid=other))) == [("OUTBID", other)]
    assert bench.shard.deadlines == {}


def test_ending_soon_goes_to_all_who_have_bid(bench):
    notices = bench.feed(ending(("a", "b"), "b", 1100))
    assert [(n.kind, n.person, n.leads, n.price) for n in notices] == [
        ("ENDING_SOON", "a", False, eur(1100)),
        ("ENDING_SOON", "b", True, eur(1100)),
    ]
    assert notices[0].ends_at == START + HOUR


def test_sold(bench):
    bench.feed(bid("a", 1000, 10))
    bench.feed(bid("b", 1100, 20, outbid="a"))
    notices = bench.feed(outcome("b", 1100, ("a", "c")))
    assert told(notices) == [("PURCHASED", "b"), ("SOLD", "seller"), ("LOST", "a"), ("LOST", "c")]
    assert [notice.leads for notice in notices] == [True, False, False, False]
    assert all(notice.price == eur(1100) for notice in notices)
    assert bench.shard.entities == {} and bench.shard.deadlines == {}, "an auction that is over is forgotten"
    assert bench.tick(2 * HOUR) == []


@pytest.mark.parametrize("how", ["UNSOLD", "RESERVE_NOT_MET"])
def test_unsold(bench, how):
    losers = ("a",) if how == "RESERVE_NOT_MET" else ()
    notices = bench.feed(outcome(losers=losers, outcome=how))
    assert told(notices) == [("UNSOLD", "seller")] + [("LOST", "a")] * len(losers)


def test_cancelled(bench):
    bench.feed(bid("a", 1000, 10))
    assert told(bench.feed(outcome(losers=("a",), outcome="CANCELLED"))) == [("CANCELLED", "a")]


def test_bids_on_what_is_unknown_or_over_tell_nobody(bench):
    bench.feed(outcome())
    late = bid("a", 1000, HOUR + 1, status="FINISHED", effective_end=None)
    assert bench.feed(late) == [] and bench.shard.entities == {}


def test_a_soft_close_moves_the_end_that_is_told(bench):
    bench.feed(bid("a", 1000, 10))
    (notice,) = bench.feed(bid("b", 1100, 20, outbid="a", effective_end=START + 2 * HOUR))
    assert notice.ends_at == START + 2 * HOUR
    assert bench.feed(item(title="Another"), 30) == [] and bench.shard.entities["x"].title == "A watch"


def test_who_takes_a_bid_back_knows(bench):
    bench.feed(bid("a", 1000, 10))
    bench.feed(bid("b", 1100, 20, outbid="a"))
    assert bench.feed(bid("b", 1100, 30, price=1000, leader="a", outbid="b", status="RETRACTED")) == []
    assert bench.shard.entities["x"].leader == "a"
    assert bench.tick(20 * MINUTE) == []


def test_ids_differ_by_cause_kind_and_person():
    ids = {
        notice_id(*what)
        for what in (("t/0/1", "LOST", "a"), ("t/0/2", "LOST", "a"), ("t/0/1", "SOLD", "a"), ("t/0/1", "LOST", "b"))
    }
    assert len(ids) == 4 and all(len(number) == 32 for number in ids)


def test_the_quiet_period_is_checked():
    assert Notices().quiet_ms == QUIET_MS
    with pytest.raises(ValueError, match="quiet_ms must not be negative, got -1"):
        Notices(-1)


# --- price ranges ---


def served(n, asked_at=0):
    found = PriceRange("EUR", "ALL", "EUR", n, 1, 2, 3, 4, 5, 0.01, 90 * 24 * HOUR, n, START) if n else None
    return RangeServed("x", found, (TriedLevel("ALL", n),), START + asked_at)


def test_outbid_and_ending_soon_name_the_range_that_bidders_see(bench):
    bench.feed(bid("a", 1000, 10))
    (first,) = bench.feed(bid("b", 1500, 20, price=1050, outbid="a"))
    assert first.range is None, "nobody has answered yet"
    bench.feed(served(12), 30)
    (second,) = bench.feed(bid("a", 2000, 40, price=1550, outbid="b"))
    assert second.range == served(12).range
    (late,) = bench.tick(20 + 5 * MINUTE) or bench.feed(bid("b", 2500, 6 * MINUTE, price=2050, outbid="a"))
    assert late.range == served(12).range
    for notice in bench.feed(ending(("a", "b"), "b")):
        assert (notice.kind, notice.range) == ("ENDING_SOON", served(12).range)
    bench.feed(served(0, 50))
    (third,) = bench.feed(bid("a", 3000, HOUR - 5 * MINUTE, price=2550, outbid="b"))
    assert third.range is None, "the newest answer counts, though it found nothing"
    assert {notice.range for notice in bench.feed(outcome("a", 2550, ("b",)))} == {None}
