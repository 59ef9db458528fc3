"""Commands of an administrator of auctions as records: they count from where they stand, and a repeat changes nothing."""

from typing import Any

import pytest

from auctions.administration import cancel_lines, threshold_lines
from auctions.analytics_topics import TRACES
from auctions.fraud_people import FraudPeople
from auctions.fraud_rules import BUILT_IN
from auctions.house import AuctionHouse
from auctions.items import ItemValidation
from auctions.topics import LOG
from payments.administration import version_lines
from payments.live_stages import StageKind
from schemas.auctions import Alert, BidderTrace, ItemCancelled
from schemas.rails import Record, Rule
from tests.auctions.analysis import HOUR, REGISTRY, START
from transforms.fold import Shard, UnknownVersion, fold

SNIPING = ("fraud.sniping", 1, True, {"min_auctions": 2})


def shard() -> Shard:
    return Shard(FraudPeople(), TRACES.name, 0, 1, REGISTRY.decode)


def snipes(count: int, bidder: str) -> list[tuple[bytes | None, bytes]]:
    """Key and value of traces of first bids at the last moment."""
    traces = [BidderTrace(bidder, f"x{n}", f"s{n}", True, 1, False, 1, 0, 0, ()) for n in range(count)]
    return [(trace.bidder_id.encode(), REGISTRY.encode(trace)) for trace in traces]


def alerts(values: list[tuple[bytes | None, bytes]]) -> list[tuple[int, str, int]]:
    """(offset that raised it, first person, version of the rule), folded on a new shard."""
    found = []
    into = shard()
    for offset, (key, value) in enumerate(values):
        for output in into.step(Record(offset, START + offset, key, value, None, ())):
            assert isinstance(output.event, Alert)
            found.append((offset, output.event.persons[0], output.event.rule_version))
    return found


def of_traces(lines: list[Any]) -> list[tuple[bytes | None, bytes]]:
    return [(key, value) for topic, partition, key, value in lines if (topic, partition) == (TRACES.name, 0)]


def test_thresholds_stand_on_every_partition_of_both_topics() -> None:
    lines = threshold_lines("r1", *SNIPING, REGISTRY.encode)
    assert {(topic, number) for topic, number, _, _ in lines} == {
        (topic, number) for topic in ("auction.bids.history", "auction.traces") for number in range(16)
    }
    assert len(lines) == 32 and {key for _, _, key, _ in lines} == {None}
    assert REGISTRY.decode(lines[0][3]) == Rule("r1", "fraud.sniping", 1, True, {"min_auctions": 2})


def test_a_threshold_counts_from_where_it_stands_and_in_a_replay_from_there_too() -> None:
    """Built in are four auctions; the rule says two. Before it stands nobody with three is told, after it everybody with two."""
    rule = of_traces(threshold_lines("r1", *SNIPING, REGISTRY.encode))
    before, after = snipes(3, "early"), snipes(3, "late")
    assert alerts([*before, *after]) == []
    log = [*before, *rule, *after]
    assert alerts(log) == [(5, "late", 1)]
    assert alerts(log) == alerts(log), "a replay"
    assert alerts([*rule, *before, *after]) == [(2, "early", 1), (5, "late", 1)]
    assert alerts([*log, *rule, *snipes(1, "early")]) == [(5, "late", 1), (8, "early", 1)]


def test_a_repeat_and_an_older_version_change_nothing() -> None:
    def rule(*words: Any) -> list[Record]:
        return [
            Record(0, START, key, value, None, ())
            for key, value in of_traces(threshold_lines("r", "fraud.sniping", *words, REGISTRY.encode))
        ]

    into = shard()
    given = [*rule(2, True, {}), *rule(2, True, {}), *rule(1, False, {})]
    fold(into, [record._replace(offset=offset) for offset, record in enumerate(given)])
    assert into.counts.duplicate == 2 and into.shared.rules["fraud.sniping"].active


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_the_command_writes_no_stage_refuses(name: str) -> None:
    lines = threshold_lines("r1", name, 1, True, BUILT_IN[name], REGISTRY.encode)
    into = shard()
    ((key, value),) = of_traces(lines)
    assert into.step(Record(0, START, key, value, None, ())) == []
    assert into.counts.applied == 1 and into.shared.rules[name].parameters == BUILT_IN[name]


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("fraud.nobody", {}, r"must be one of fraud\.shill, .*, got 'fraud\.nobody'"),
        ("velocity", {}, "must be one of"),
        ("fraud.travel", {"min_score": 1}, "has max_kmh, blur_km, none of them negative"),
        ("fraud.travel", {"max_kmh": -1}, "none of them negative"),
        ("fraud.overlap", {"min_auctions": 200, "min_share": 4_000}, "^fraud.overlap: min_share must be at most 100$"),
    ],
)
def test_what_a_stage_would_refuse_is_not_written(name: str, parameters: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        threshold_lines("r1", name, 1, True, parameters, REGISTRY.encode)


def test_an_auction_is_taken_off_by_an_event_that_validation_hands_on() -> None:
    ((topic, partition, key, value),) = cancel_lines("x", "forged", REGISTRY.encode)
    assert (topic, key) == ("auction.items", b"x")
    into = Shard(ItemValidation(), topic, partition, 16, REGISTRY.decode)
    (output,) = into.step(Record(0, START, key, value, None, ()))
    assert output.topic == "auction.log" and output.event == ItemCancelled("x", "forged")


@pytest.mark.parametrize(("auction", "reason"), [("", "why"), ("a/b", "why"), ("x", "y" * 501)])
def test_no_auction_is_taken_off_that_cannot_be(auction: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"no id|at most 500"):
        cancel_lines(auction, reason, REGISTRY.encode)


def test_a_version_stops_the_house_that_does_not_know_it_whatever_its_clock() -> None:
    """auction.log carries the clock of another topic; a version moves it nowhere."""
    kind = StageKind(AuctionHouse.stage, LOG, ())
    lines = version_lines("v1", [kind], AuctionHouse.stage, 2, REGISTRY.encode)
    assert [(topic, number) for topic, number, _, _ in lines] == [("auction.log", number) for number in range(16)]
    house = Shard(AuctionHouse(), "auction.log", 0, 16, REGISTRY.decode)
    with pytest.raises(UnknownVersion, match="needs rules 2"):
        house.step(Record(0, START + HOUR, None, lines[0][3], None, ()))
    assert house.clock == -1
