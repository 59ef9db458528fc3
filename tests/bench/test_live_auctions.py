"""What the live benchmark of auctions sends, how it judges what came of it, and its rows; the figures themselves are no tests."""

from argparse import Namespace
from typing import Any

import pytest

from auctions import topics
from bench import auction_load, live_auctions
from bench.auction_load import Decided, Once, accepted_share
from bench.live_auctions import MEASURES, backlogs_of, merged, rows_of
from bench.run import reached
from schemas.auctions import AuctionOutcome, BidDecision, BidPlaced
from schemas.payments import Money
from schemas.rails import Origin, Position, Record, Source, Tick
from tests.auctions.system import REGISTRY, run_auctions
from transforms.fold import MissingRecord

NOW = 1_767_225_600_000
NAMES = [f"x{number}" for number in range(10)]
SOURCE = Source("auctions.house", "topic", 0)


def decision(bid: str, status: Any = "ACCEPTED", automatic: bool = False) -> BidDecision:
    money = Money(100, "EUR")
    return BidDecision(
        "x", bid, "anna", status, money, money, None, None, automatic, None, 0, 5, None, None, None, (), 5
    )


def record(offset: int, event: Any, at: int = 7, origin: Origin | None = None) -> Record:
    return Record(offset, at, b"x", REGISTRY.encode(event), origin, ())


def origin(offset: int, prev: int | None) -> Origin:
    return Origin(SOURCE, offset, 0, None if prev is None else Position(prev, 0))


@pytest.mark.parametrize("backed", [False, True])
def test_every_bid_of_the_load_has_one_decision_and_most_are_accepted(backed: bool) -> None:
    people = auction_load.people(20)
    load = auction_load.bids(NAMES, people, 50, NOW, 1)
    lines = [auction_load.items(NAMES, NOW - 1, NOW + 1_000_000, backed)]
    if backed:
        lines = [auction_load.accounts(people, NOW), auction_load.deposits(people, NOW), *lines]
    lines += [[bid] for bid in load.values()]
    records = [
        Record(0, NOW + 100 * n, key, value, None, ()) for n, some in enumerate(lines) for _, _, key, value in some
    ]
    records.append(Record(0, NOW + 60_000, None, REGISTRY.encode(Tick(0)), None, ()))
    logs, _ = run_auctions(records)
    history = [one for held in logs[topics.HISTORY.name].values() for one, _ in held]
    found = auction_load.decisions(history)
    assert accepted_share(load.keys(), found) > 0.8
    assert len({one.status for one in found}) > 1, "all ways to decide a bid occur"
    assert len({name for name, _, _, _ in load.values()}) == 1 and load.keys().isdisjoint(
        auction_load.bids(NAMES, people, 50, NOW, 2)
    )


def test_what_was_written_twice_counts_once() -> None:
    once = Once(topics.HISTORY)
    first, second = record(0, decision("a"), origin=origin(3, None)), record(2, decision("b"), origin=origin(4, 3))
    again = record(1, decision("a"), at=9, origin=origin(3, None))
    assert auction_load.decisions(once.new([(0, first), (0, again)])) == [Decided("a", "ACCEPTED", 7)]
    assert once.starts[0] == 2
    assert [one.offset for one in once.new([(0, second)])] == [2]
    with pytest.raises(MissingRecord):
        once.new([(0, record(3, decision("d"), origin=origin(9, 5)))])


def test_an_automatic_bid_is_no_decision_about_a_bid() -> None:
    records = [record(0, decision("a")), record(1, decision("a", automatic=True)), record(2, Tick(5))]
    assert [one.bid_id for one in auction_load.decisions(records)] == ["a"]


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ({"a": ["ACCEPTED"]}, "1 of 2 bids without a decision, 0 with several, 0 "),
        ({"a": ["ACCEPTED", "TOO_LOW"], "b": ["ACCEPTED"]}, "0 of 2 bids without a decision, 1 with several, 0 "),
        ({"a": ["ACCEPTED"], "b": ["ACCEPTED"], "c": ["ACCEPTED"]}, " 1 decisions about other bids"),
        ({"a": ["ACCEPTED"], "b": ["TOO_LOW"]}, "only 50% of 2 bids were accepted: {'ACCEPTED': 1, 'TOO_LOW': 1}"),
    ],
)
def test_what_is_wrong_with_decisions_is_said(statuses: dict[str, list[str]], words: str) -> None:
    found = [Decided(name, status, 0) for name, those in statuses.items() for status in those]
    with pytest.raises(ValueError, match="bids") as raised:
        accepted_share(["a", "b"], found)
    assert words in str(raised.value)


def test_times_are_those_of_bids_outcomes_and_the_first_tick_past_the_end() -> None:
    bid = BidPlaced("a", "x", "anna", None, Money(1, "EUR"), None, None, NOW)
    values = [(at, b"", REGISTRY.encode(event)) for at, event in ((5, bid), (6, Tick(1)), (8, Tick(1)), (7, Tick(1)))]
    assert auction_load.times_of(values, BidPlaced) == {"a": 5}
    assert auction_load.first_tick(values, 7) == 7
    with pytest.raises(ValueError, match="no tick at or after 9"):
        auction_load.first_tick(values, 9)
    over = AuctionOutcome("x", "UNSOLD", "s", "", "EUR", None, None, None, 0, 0, (), 0, 5, 5)
    assert auction_load.outcomes([record(0, decision("a")), record(1, over, at=12)]) == {"x": 12}


def test_backlogs_are_known_beforehand() -> None:
    own = Namespace(
        measure=["rate", "latency_money"], warm=500, runs=2, variant=["", "a.b=1"], bids=900, backed_bids=90
    )
    assert backlogs_of(own) == ([(False, 500), (True, 100)], [(False, 900)] * 4)
    own.warm, own.measure = 0, ["rate_money"]
    assert backlogs_of(own) == ([], [(True, 90)] * 4)


def run(measure: str, **figures: Any) -> dict[str, Any]:
    return {"measure": measure, "run": 0, "lanes": 1, "variant": "", "accepted": 0.9, "cpu": {"kafka": 0.5}, **figures}


def test_rows_have_medians_floors_and_runs() -> None:
    rates = [run("rate", per_s=value, whole_per_s=value - 1000) for value in (14_000, 16_000, 15_500)]
    times = [run("latency_money", rate=1000, p50=140, p95=300, p99=501, **{"p99.9": 900})]
    rows = rows_of([*rates, *times, run("end", ending=10_000, seconds=4.5)])
    found = {row["name"]: (row["value"], row["floor"], reached(row)) for row in rows}
    what = "decision of a bid live, 1,000 a second, money behind them"
    assert found == {
        "bids decided live, no money behind them": (15_500, 15_000, "floor"),
        "bids decided live, no money behind them, from the first that is validated": (14_500, None, ""),
        f"{what}, p50, at most": (140, 150, "floor"),
        f"{what}, p95, at most": (300, None, ""),
        f"{what}, p99, at most": (501, 500, "MISSED"),
        "10,000 auctions that end at once, until all outcomes are appended, at most": (4.5, 5, "floor"),
    }
    assert rows[0]["runs"] == rates


def test_floors_are_for_the_usual_numbers() -> None:
    rows = rows_of([run("end", ending=20, seconds=0.5), run("latency", rate=50, p50=1, p95=2, p99=3)])
    assert {row["floor"] for row in rows} == {None}


def test_variants_have_rows_of_their_own_and_a_new_run_replaces_the_old() -> None:
    runs = [run("end", ending=9, seconds=1), run("end", ending=9, seconds=2) | {"variant": "write.linger_ms=1"}]
    plain, turned = rows_of(runs)
    assert turned["name"] == f"{plain['name']} [write.linger_ms=1]"
    assert merged([plain, turned], [plain | {"value": 9}]) == [plain | {"value": 9}, turned]


def test_money_takes_all_stages_of_payments() -> None:
    assert set(MEASURES["rate_money"].stages) == {*live_auctions.BIDDING, "Admission", "Accounts", "Watchdog", "Funds"}
    assert MEASURES["rate"].stages == ("Items", "Bids", "House")
