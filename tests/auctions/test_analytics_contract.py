"""Every stage of analytics, fraud and notices over the history of a real house: any snapshot, any prefix, the same outputs.

Also what only whole histories can show: everyone is told what became of their auctions, and the shown places fit people.
"""

from collections import Counter

import pytest

from auctions import topics
from auctions.analytics_topics import REQUESTS, SALES, TRACES
from auctions.fraud_people import FraudPeople
from auctions.fraud_quality import fold_all, histories
from auctions.fraud_traces import FraudTraces
from auctions.market import Market
from auctions.notices import Notices
from auctions.placement import AdPlacer, AdRequests
from auctions.placement_backtest import back_test
from auctions.price_ranges import PriceRanges, Sales
from auctions.spread import Spreads
from schemas.auctions import AuctionOutcome, BidDecision, ItemListed, Sale
from schemas.rails import DeadLetter, Record, Rule, Tick
from tests.auctions.analysis import REGISTRY
from transforms.fold import Shard, Topic
from transforms.snapshots import encode_shard, restore_shard

HISTORY = histories(Market(seed=5, auctions=60, per_kind=1).plan())
ONE = Topic(REQUESTS.name, 1)


def written(processor, read, wanted):
    return [(at, event) for at, topic, event in fold_all(processor, "before", read) if topic == wanted]


STAGES = {
    "notices": (Notices, topics.HISTORY, None),
    "spreads": (Spreads, topics.HISTORY, None),
    "sales": (Sales, topics.HISTORY, None),
    "traces": (FraudTraces, topics.HISTORY, None),
    "requests": (lambda: AdRequests(ONE), topics.HISTORY, None),
    "prices": (PriceRanges, SALES, Sales),
    "people": (FraudPeople, TRACES, FraudTraces),
    "placer": (AdPlacer, ONE, lambda: AdRequests(ONE)),
}


def records(stage):
    """What the stage reads, as records of one partition: with ticks, a rule in the middle, and one record that is refused."""
    _, topic, before = STAGES[stage]
    read = HISTORY if before is None else written(before(), HISTORY, topic.name)
    events = []
    for number, (at, event) in enumerate(read):
        if number % 50 == 7:
            events.append((at, Tick(at)))
        if number == len(read) // 2:
            events += [
                (at, Rule("r", "fraud.travel", 1, True, {"max_kmh": 300})),
                (at, Rule("v", "velocity", 1, False, {})),
            ]
        events.append((at, event))
    processor = STAGES[stage][0]()
    made = []
    for at, event in events:
        key = processor.key(event) if type(event) in processor.reads else None
        made.append(Record(len(made), at, None if key is None else key.encode(), REGISTRY.encode(event), None, ()))
    return [*made, Record(len(made), made[-1].at, b"x", b"nothing", None, ())]


def shard(stage):
    make, topic, _ = STAGES[stage]
    return Shard(make(), topic.name, 0, 1, REGISTRY.decode)


@pytest.mark.parametrize("stage", STAGES)
def test_snapshots_change_nothing(stage):
    read = records(stage)
    whole = shard(stage)
    wanted = [output for record in read for output in whole.step(record)]
    assert wanted and whole.counts.dead_lettered == 1 == sum(isinstance(output.event, DeadLetter) for output in wanted)
    got, current = [], shard(stage)
    for number, record in enumerate(read):
        if number % 97 == 0:
            restored = shard(stage)
            restore_shard(restored, encode_shard(current))
            current = restored
        got += current.step(record)
    assert got == wanted
    assert encode_shard(current) == encode_shard(whole)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_kept_of_what_is_over(stage):
    """Stages that are keyed by auction forget it with its outcome."""
    folded = shard(stage)
    for record in records(stage):
        folded.step(record)
    if STAGES[stage][2] is None:
        assert folded.entities == {} and folded.deadlines == {}
    assert all(
        output.origin is not None or output.version is not None
        for output in folded.step(records(stage)[-1]._replace(offset=folded.offset))
    )


def test_everyone_is_told_how_it_ended_once():
    notices = [event for _, event in written(Notices(), HISTORY, topics.NOTICES.name)]
    told = Counter((notice.auction_id, notice.person, notice.kind) for notice in notices if notice.kind != "OUTBID")
    assert set(told.values()) == {1} and len({notice.notice_id for notice in notices}) == len(notices)
    ends = [event for _, event in HISTORY if isinstance(event, AuctionOutcome)]
    for end in ends:
        kinds = {
            (person, kind) for auction, person, kind in told if auction == end.auction_id and kind != "ENDING_SOON"
        }
        wanted = {(person, "LOST") for person in end.losers} | {(end.seller_id, "SOLD" if end.winner else "UNSOLD")}
        assert kinds == (wanted | {(end.winner, "PURCHASED")} if end.winner else wanted)
    bidders = {(e.auction_id, e.bidder_id) for _, e in HISTORY if isinstance(e, BidDecision)}
    assert {(n.auction_id, n.person) for n in notices if n.kind == "OUTBID"} <= bidders


def test_a_bidding_war_of_two_bots_sends_no_flood():
    """Between two notices to a person about being outbid lies a quiet period."""
    quiet_ms, last = 300_000, {}
    for at, notice in written(Notices(quiet_ms), HISTORY, topics.NOTICES.name):
        if notice.kind == "OUTBID":
            key = notice.auction_id, notice.person
            assert at - last.get(key, 0) >= quiet_ms
            last[key] = at


def test_each_spread_and_each_sale_is_that_of_its_auction():
    ends = {e.auction_id: e for _, e in HISTORY if isinstance(e, AuctionOutcome)}
    items = {e.auction_id: e for _, e in HISTORY if isinstance(e, ItemListed)}
    spreads = [event for _, event in written(Spreads(), HISTORY, "auction.spreads")]
    assert {spread.auction_id for spread in spreads} == set(ends)
    for spread in spreads:
        close = spread.marks[-1]
        assert close.bid == (ends[spread.auction_id].price and ends[spread.auction_id].price.minor)
        assert spread.quoted_ms <= spread.duration_ms and close.ask >= items[spread.auction_id].start_price
    sales = [event for _, event in written(Sales(), HISTORY, SALES.name) if isinstance(event, Sale)]
    assert Counter(sale.auction_id for sale in sales) == {name: 3 for name, end in ends.items() if end.winner}


def test_places_fit_people_better_than_chance():
    history = histories(Market(seed=6, auctions=300, bidders=100, per_kind=0).plan())
    since = history[len(history) // 2][0]
    found = back_test(history, since)
    assert found.wrong == []
    assert found.lift("random") > 1.3, found.results
