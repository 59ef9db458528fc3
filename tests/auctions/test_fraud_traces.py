"""Traces of an auction that is over, by hand; shields; rules that change a running stage."""

import pytest

from auctions.analytics_topics import TRACES
from auctions.fraud_rules import BUILT_IN, thresholds
from auctions.fraud_shill import parts_of
from auctions.fraud_traces import FraudTraces, bidder_traces, shields
from auctions.geography import cell_of
from auctions.stories import Offer, Story
from schemas.auctions import (
    Alert,
    BidderTrace,
    Evidence,
    FraudRules,
    Rival,
    SellerTrace,
    ShillPart,
    Sighting,
    TracedRetraction,
)
from tests.auctions.analysis import HOUR, MINUTE, START, Bench, bid, ending, item, outcome

CELL = cell_of(48.1, 11.5)


@pytest.fixture
def bench():
    made = Bench(FraudTraces())
    made.feed(item(), 0)
    return made


def story(who, times, winner=None):
    offers = [Offer(bidder, at, 0, 0) for bidder, at in zip(who, times, strict=True)]
    return Story("x", "s", 0, 10_000, 100, tuple(offers), winner)


def test_bidder_traces_by_hand():
    """a leads, b answers after 500 ms, a after 1,000 ms, a raises, c answers after 10 ms, b after 999 ms."""
    told = story("abaacb", [1000, 1500, 2500, 2600, 2610, 3609], "b")
    assert bidder_traces(told, True, 1000) == [
        BidderTrace("a", "x", "s", True, 3, False, 9000, 1, 0, (Rival("b", 2), Rival("c", 1))),
        BidderTrace("b", "x", "s", True, 2, True, 8500, 2, 2, (Rival("a", 2), Rival("c", 1))),
        BidderTrace("c", "x", "s", True, 1, False, 7390, 1, 1, (Rival("a", 1), Rival("b", 1))),
    ]
    assert bidder_traces(story("a", [20_000]), False, 1000) == [
        BidderTrace("a", "x", "s", False, 1, False, 0, 0, 0, ())
    ]
    assert bidder_traces(story("", []), False, 1000) == []


def test_the_end_sends_a_trace_to_the_seller_and_to_each_bidder(bench):
    bench.feed(bid("a", 1000, 10 * MINUTE))
    bench.feed(bid("b", 900, 11 * MINUTE, price=1000, leader="a", status="TOO_LOW"))
    bench.feed(bid("b", 5000, 20 * MINUTE, price=1050, outbid="a"))
    bench.feed(bid("a", 3000, 30 * MINUTE, price=3050, leader="b"))
    bench.feed(bid("b", 5000, 30 * MINUTE, price=3050, automatic=True))
    assert bench.feed(ending(("a", "b"), "b")) == []
    traces = bench.feed(outcome("b", 3050, ("a",)))
    offers = (
        Offer("a", START + 10 * MINUTE, 1000, 1000),
        Offer("b", START + 20 * MINUTE, 5000, 1000),
        Offer("a", START + 30 * MINUTE, 3000, 1050),
    )
    told = Story("x", "seller", START, START + HOUR, 1000, offers, "b")
    assert traces == [
        SellerTrace("seller", "x", tuple(ShillPart(*part) for part in parts_of(told))),
        *bidder_traces(told, True, 1000),
    ]
    assert {output.topic for output in bench.outputs} == {TRACES.name}
    assert [output.key for output in bench.outputs] == [b"seller", b"a", b"b"]
    assert bench.shard.entities == {}


@pytest.mark.parametrize(
    ("fields", "hard"),
    [
        ({}, True),
        ({"soft_close_ms": 0}, True),
        ({"soft_close_ms": 1}, False),
        ({"soft_close_ms": 1, "max_extensions": 0}, True),
    ],
)
def test_a_hard_close(fields, hard):
    bench = Bench(FraudTraces())
    bench.feed(item(**fields), 0)
    bench.feed(bid("a", 1000, 1))
    assert bench.feed(outcome("a", 1000))[1].hard_close is hard


def test_who_bids_from_somewhere_is_seen_there(bench):
    assert bench.feed(bid("a", 1000, 1, cell=CELL)) == [Sighting("a", START + 1, CELL, "x")]
    assert bench.outputs[0].key == b"a"
    assert bench.feed(bid("a", 1000, 2, cell=CELL, automatic=True)) == []
    assert bench.feed(bid("a", 1000, 3, cell=CELL, status="RETRACTED", leader=None)) == []
    assert bench.feed(bid("b", 1, 4, cell=CELL, status="TOO_LOW")) == [Sighting("b", START + 4, CELL, "x")]


def test_cancelled_and_unknown_auctions_leave_no_trace(bench):
    bench.feed(bid("a", 1000, 1))
    bench.feed(item(title="again"), 2)
    assert len(bench.shard.entities["x"].offers) == 1
    assert bench.feed(outcome(losers=("a",), outcome="CANCELLED")) == [] and bench.shard.entities == {}
    assert bench.feed(bid("a", 1000, HOUR)) == [] and bench.feed(outcome()) == []
    assert bench.shard.entities == {}


# --- shields ---


def shield(bench, at=50 * MINUTE, winner="w"):
    bench.feed(bid("w", 2000, MINUTE, price=1000))
    bench.feed(bid("h", 90_000, 2 * MINUTE, price=2050, outbid="w"))
    bench.feed(bid("o", 50_000, 3 * MINUTE, price=51_000, leader="h"))
    bench.feed(bid("h", 90_000, at, price=2000, leader=winner, status="RETRACTED"))
    return [event for event in bench.feed(outcome(winner, 2000, ("o",))) if isinstance(event, Alert)]


def test_a_shield_is_told_with_its_evidence(bench):
    (alert,) = shield(bench)
    assert (alert.signal, alert.persons, alert.rule_version) == ("SHIELDING", ("h", "w"), 0)
    assert alert.score == pytest.approx(49_000 / 51_000)
    assert alert.evidence == (
        Evidence("maximum taken back", 90_000, "x"),
        Evidence("price before", 51_000, "x"),
        Evidence("price after", 2000, "x"),
        Evidence("part of the duration elapsed", 50 / 60, "x"),
    )
    assert (bench.outputs[-1].topic, bench.outputs[-1].key) == ("auction.alerts", b"h")
    assert len(alert.alert_id) == 32 and alert.at == START + HOUR


@pytest.mark.parametrize(("at", "n"), [(29 * MINUTE, 0), (30 * MINUTE, 1)])
def test_an_early_retraction_is_none(bench, at, n):
    assert len(shield(bench, at)) == n


def gone(before=1000, after=700, bidder="h", at=9000):
    return TracedRetraction(bidder, at, 5000, before, after)


@pytest.mark.parametrize(
    ("what", "winner", "n"),
    [
        (gone(), "w", 1),
        (gone(after=701), "w", 0),
        (gone(bidder="w"), "w", 0),
        (gone(), "late", 0),
        (gone(), None, 0),
        (gone(at=4999), "w", 0),
        (gone(before=0, after=0), "w", 0),
    ],
)
def test_what_is_a_shield(what, winner, n):
    told = story(["w", "h", "late"], [100, 200, 9500], winner)
    assert len(shields(told, (what,), 30, 50)) == n


# --- rules ---


def test_rules_change_a_running_stage(bench):
    assert bench.rule("fraud.shielding", 2, min_drop=97) == []
    assert shield(bench) == []
    assert thresholds(bench.shard.shared, "fraud.shielding").parameters == {"min_drop": 97, "min_elapsed": 50}
    bench.rule("fraud.shielding", 2, min_drop=1)
    assert bench.shard.counts.duplicate == 1
    bench.feed(item(), 0)
    bench.rule("fraud.shielding", 3, min_drop=10)
    (alert,) = shield(bench)
    assert alert.rule_version == 3
    bench.feed(item(), 0)
    bench.rule("fraud.shielding", 4, active=False)
    assert shield(bench) == []


def test_the_reaction_time_is_a_rule(bench):
    def quick():
        bench.feed(bid("a", 1000, 0))
        bench.feed(bid("b", 1100, 1500))
        return bench.feed(outcome("b", 1100, ("a",)))[2].quick

    assert quick() == 0
    bench.feed(item(), 0)
    bench.rule("fraud.hammer", reaction_ms=1501)
    assert quick() == 1
    bench.feed(item(), 0)
    bench.rule("fraud.hammer", 2, active=False)
    assert quick() == 0


@pytest.mark.parametrize("parameters", [{"min_drop": -1}, {"max_drop": 1}, {"min_drop": 101}, {"min_elapsed": 4_000}])
def test_bad_rules_are_dead_letters(bench, parameters):
    (letter,) = bench.rule("fraud.shielding", **parameters)
    assert letter.code == "BAD_RULE" and bench.shard.shared == FraudRules({})


@pytest.mark.parametrize(
    ("name", "threshold", "most"),
    [
        ("shill", "min_score", 10_000),
        *((signal, "min_share", 100) for signal in ("sniping", "hammer", "collusion", "overlap")),
        ("shielding", "min_drop", 100),
        ("shielding", "min_elapsed", 100),
        ("overlap", "max_wins", 100),
    ],
)
def test_a_threshold_of_what_has_an_end_ends_there(bench, name, threshold, most):
    assert bench.rule(f"fraud.{name}", 1, **{threshold: most}) == []
    (letter,) = bench.rule(f"fraud.{name}", 2, **{threshold: most + 1})
    assert (letter.code, letter.detail) == ("BAD_RULE", f"fraud.{name}: {threshold} must be at most {most}")
    in_force = thresholds(bench.shard.shared, f"fraud.{name}")
    assert in_force.version == 1 and in_force.parameters[threshold] == most
    assert bench.rule(f"fraud.{name}", 2, **{threshold: 0}) == [], "its number is not used up"


@pytest.mark.parametrize(
    ("name", "threshold"), [("hammer", "min_quick"), ("collusion", "min_alternations"), ("travel", "max_kmh")]
)
def test_a_threshold_of_what_has_no_end_has_none(bench, name, threshold):
    assert bench.rule(f"fraud.{name}", 1, **{threshold: 1_000_000}) == []
    assert thresholds(bench.shard.shared, f"fraud.{name}").parameters[threshold] == 1_000_000


def test_rules_of_others_are_left_alone(bench):
    assert bench.rule("velocity", interval_ms=1) == [] and bench.shard.shared == FraudRules({})
    assert all(value >= 0 for values in BUILT_IN.values() for value in values.values())
