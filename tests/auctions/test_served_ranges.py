"""Price ranges in the live auction: what bidders see is what was asked for last, as long as they may bid; and it changes no decision."""

from typing import Any

import pytest

from auctions import topics
from auctions.analytics_topics import SALES
from auctions.checkers import check_all, check_ranges
from auctions.fraud_traces import FraudTraces
from auctions.notices import Notices
from auctions.placement import AdRequests
from auctions.price_ranges import PriceRanges, Sales
from auctions.spread import Spreads
from schemas.auctions import BidPlaced, ItemListed, PriceRange, RangeAsked, RangeServed, TriedLevel
from schemas.payments import Money
from schemas.rails import Record
from tests.auctions import analysis
from tests.auctions.analysis import DAY, HOUR, MINUTE
from tests.auctions.system import record_of, run_auctions
from tests.auctions.world import END, REGISTRY, START, House, item
from transforms.fold import Shard
from transforms.loop import Stage

RANGE = PriceRange("EUR", "ALL", "EUR", 12, 1, 2, 3, 4, 5, 0.01, 90 * DAY, 12, START)
TRIED = (TriedLevel("CATEGORY", 3), TriedLevel("ALL", 12))


def served(asked_at: int, found: PriceRange | None = RANGE) -> RangeServed:
    return RangeServed("x", found, TRIED, asked_at)


# --- the house ---


def test_an_answer_is_shown_to_the_bidders_and_moves_nothing() -> None:
    house = House()
    clock, before = house.shard.clock, house.auction.revision
    assert house.feed(served(START)) == [served(START)] * 2
    told, shown = house.outputs
    assert (told.topic, told.key, told.version) == ("auction.bids.history", b"x", None) and told.origin is not None
    assert (shown.topic, shown.key, shown.version, shown.origin) == ("auction.ranges", b"x", START, None)
    assert (house.shard.clock, house.auction.revision) == (clock, before)
    assert house.feed(served(START + 1, None)) == [served(START + 1, None)] * 2, "nothing was found, and bidders see that"


@pytest.mark.parametrize("asked_at", [START + 5, START + 4])
def test_an_answer_that_was_overtaken_is_late(asked_at: int) -> None:
    """Two questions go by other partitions, so the second may be answered first."""
    house = House()
    house.feed(served(START + 5))
    late = house.shard.counts.late
    assert house.feed(served(asked_at)) == [] and house.shard.counts.late == late + 1
    assert house.feed(served(START + 6)) == [served(START + 6)] * 2


@pytest.mark.parametrize("over", [("cancel",), ("clock @ end",)])
def test_after_the_end_there_is_nobody_to_see_it(over: tuple[str, ...]) -> None:
    house = House()
    for step in over:
        house.play(step)
    late = house.shard.counts.late
    assert house.feed(served(END)) == [] and house.shard.counts.late == late + 1


def test_an_answer_to_nobody_is_late() -> None:
    house = House(listed=False)
    assert house.feed(served(START)) == [] and house.shard.counts.late == 1


def test_decisions_are_the_same_with_and_without_ranges() -> None:
    told = []
    for shown in (False, True):
        house = House(reserve=5_000, soft_close_ms=60_000, max_extensions=2)
        said = []
        for number, step in enumerate(("a 3000", "b 6000", "a 5500 @ end-30s", "take b1", "clock @ end+1h")):
            said.append(house.play(step))
            if shown:
                house.feed(served(START + number))
        told.append(said)
    assert told[0] == told[1] and told[0][-1] == ["SOLD to b 5600"]


# --- the other readers of the history ---


@pytest.mark.parametrize("reader", [Notices, Spreads, Sales, AdRequests, FraudTraces], ids=lambda kind: kind.__name__)
def test_every_reader_of_the_history_knows_it(reader: type) -> None:
    """Before, during and after the auction it makes nobody write anything; the notices alone keep it."""
    bench = analysis.Bench(reader())
    assert bench.feed(served(START), 0) == [] and bench.shard.entities == {}
    bench.feed(analysis.item(), 0)
    before = dict(bench.shard.entities)
    assert bench.feed(served(START), 1) == []
    kept = {"x": before["x"]._replace(range=RANGE)} if reader is Notices else before
    assert bench.shard.entities == kept
    bench.feed(analysis.outcome("anna", 5), 2)
    assert bench.feed(served(START + 1), 3) == [] and bench.shard.entities == {}


# --- the whole way ---


def listed(name: str, tags: tuple[str, ...], starts: int, category: str = "watches") -> ItemListed:
    return item(name, category=category, tags=tags, starts_at=starts, ends_at=starts + HOUR)


@pytest.fixture(scope="module")
def logs() -> dict[str, dict[int, list[Any]]]:
    """Five watches and one lamp are sold on the first day; on the next one a watch is listed with tags that nobody had, another with
    those of the five, and a vase. A range needs five sales."""
    events: list[tuple[int, Any]] = []
    sold = [(f"w{n}", ("old",), "watches") for n in range(5)] + [("l0", (), "lamps")]
    for name, tags, category in sold:
        events.append((START, listed(name, tags, START + MINUTE, category)))
        bid = BidPlaced(f"b-{name}", name, "anna", None, Money(2_000, "EUR"), None, None, START)
        events.append((START + 2 * MINUTE, bid))
    later = START + DAY
    for name, tags, category in (("new", ("new",), "watches"), ("old", ("old",), "watches"), ("vase", (), "vases")):
        events.append((later, listed(name, tags, later + MINUTE, category)))
    events.append((later + 3 * HOUR, BidPlaced("end", "nobody", "anna", None, Money(1, "EUR"), None, None, later)))
    in_order = sorted(events, key=lambda event: event[0])
    stages = [Stage(Sales(), topics.HISTORY), Stage(PriceRanges(least=5), SALES)]
    found: dict[str, dict[int, list[Any]]] = run_auctions([record_of(at, event) for at, event in in_order], more=stages)[0]
    return found


def answers(logs: Any, topic: str) -> dict[str, list[RangeServed]]:
    found: dict[str, list[RangeServed]] = {}
    for _, items in sorted(logs[topic].items()):
        for _, event in items:
            if isinstance(event, RangeServed):
                found.setdefault(event.auction_id, []).append(event)
    return found


def test_bidders_see_the_narrowest_range_and_what_was_tried_for_it(logs: Any) -> None:
    given = answers(logs, topics.LOG.name)
    newest = {name: each[-1:] for name, each in given.items()}
    assert answers(logs, topics.RANGES.name) == newest, "of an upsert the loop keeps the newest"
    assert answers(logs, topics.HISTORY.name) == given, "the history tells all that bidders saw"
    first = {name: each[0] for name, each in given.items()}
    assert first["w0"].range is None and first["w0"].tried == tuple(
        TriedLevel(level, 0) for level in ("TAGS", "CATEGORY", "ALL")
    )
    tried = {name: first[name].tried for name in ("old", "new", "vase")}
    assert tried == {
        "old": (TriedLevel("TAGS", 5),),
        "new": (TriedLevel("TAGS", 0), TriedLevel("CATEGORY", 5)),
        "vase": (TriedLevel("CATEGORY", 0), TriedLevel("ALL", 6)),
    }
    for name, levels in tried.items():
        found = first[name].range
        assert found is not None and (found.level, found.n) == levels[-1]
        assert found.p10 == found.p90 == pytest.approx(1_000, 0.01)
    # The end was near once, and it was asked again.
    assert [len(given[name]) for name in ("new", "old", "vase", "w0")] == [2, 2, 2, 2]
    asked = [each.asked_at for each in given["vase"]]
    assert asked[0] - (START + DAY) < MINUTE and 49 * MINUTE <= asked[1] - asked[0] <= 53 * MINUTE


def test_a_replay_of_each_partition_is_the_same_byte_for_byte(logs: Any) -> None:
    """The house, and the stage that answers, are folded again from what stands on their topics."""
    written = {topic: [record for items in held.values() for record, _ in items] for topic, held in logs.items()}
    for make, topic, targets in (
        (lambda: PriceRanges(least=5), SALES, (SALES.name, topics.LOG.name)),
        (Sales, topics.HISTORY, (SALES.name,)),
    ):
        stage = make().stage
        again = set()
        for number, items in logs[topic.name].items():
            shard = Shard(make(), topic.name, number, topic.partitions, REGISTRY.decode)
            for record, _ in items:
                for output in shard.step(record):
                    if output.origin is not None:
                        again.add((output.topic, output.key, REGISTRY.encode(output.event), output.origin))
        recorded = {
            (target, record.key, record.value, record.origin)
            for target in targets
            for record in written[target]
            if record.origin is not None and record.origin.source.stage == stage
        }
        assert again == recorded and len(recorded) >= 18


def test_no_question_waits_for_ever(logs: Any) -> None:
    """Each is answered once, whatever partitions it went through."""
    questions = [
        event.auction_id
        for items in logs[SALES.name].values()
        for _, event in items
        if isinstance(event, RangeAsked) and not event.tried
    ]
    assert sorted(questions) == sorted(name for name, each in answers(logs, topics.LOG.name).items() for _ in each)


def answer_of(name: str, logs: Any) -> tuple[list[Any], int]:
    """(items of the partition of auction.log, index) of the first answer to that auction."""
    return next(
        (items, n)
        for items in logs[topics.LOG.name].values()
        for n, (_, event) in enumerate(items)
        if isinstance(event, RangeServed) and event.auction_id == name
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda items, n: items.pop(n), "answered 0 times"),
        (lambda items, n: items.append(items[n]), "answered 2 times"),
        (lambda items, n: items.append((items[n][0], items[n][1]._replace(asked_at=5))), "asked 0 times at 5 "),
    ],
    ids=["lost", "twice", "to nobody"],
)
def test_the_checker_sees_an_answer(change: Any, complaint: str, logs: Any) -> None:
    assert check_ranges(logs) == [] and check_ranges({}) == []
    tampered = {topic: {number: list(items) for number, items in held.items()} for topic, held in logs.items()}
    change(*answer_of("vase", tampered))
    (found,) = check_ranges(tampered)
    assert found.startswith("vase: ") and complaint in found
    assert found in check_all(tampered) and found not in check_all(tampered, drained=False)


def test_a_shard_of_the_house_sees_only_its_own_partition() -> None:
    """An answer on another partition than that of its auction is a dead letter, as any other record is (contract line 1)."""
    house = House()
    shard = Shard(house.shard.processor, topics.LOG.name, 0, 16, REGISTRY.decode)
    wrong = next(name for name in map(str, range(99)) if topics.LOG.partition_of(name.encode()) != 0)
    value = REGISTRY.encode(served(START)._replace(auction_id=wrong))
    (output,) = shard.step(Record(0, START, wrong.encode(), value, None, ()))
    assert output.event.code == "WRONG_PARTITION"
