"""Who is shown what: requests, scores, exclusions, caps; the checker and bugs planted for it; the back-test."""

import random

import pytest

from auctions.analytics_topics import REQUESTS
from auctions.check_placements import check_placements
from auctions.placement import AT_RANDOM, MOST_POPULAR, SIMILAR, AdPlacer, AdRequests, Caps, Shelf, copy_keys
from auctions.placement_backtest import BackTest, Result, back_test
from schemas.auctions import AdLead, AdPlacement, AdRequest, OpenAuction
from schemas.payments import Money
from tests.auctions.analysis import DAY, HOUR, MINUTE, START, Bench, bid, ending, item, outcome
from transforms.fold import Topic

ONE = Topic(REQUESTS.name, 1)
(KEY,) = copy_keys(ONE)

# --- requests ---


def test_copies_reach_every_partition():
    keys = copy_keys(REQUESTS)
    assert [REQUESTS.partition_of(key.encode()) for key in keys] == list(range(16))


@pytest.fixture
def requests():
    bench = Bench(AdRequests(ONE))
    bench.feed(item(), 0)
    return bench


def test_an_auction_that_opens_is_told_to_all_partitions():
    bench = Bench(AdRequests())
    told = bench.feed(item(), 0)
    assert [output.partition for output in bench.outputs] == list(range(16))
    what = ("seller", "watches", ("gold", "old"), "EUR", 1000, 0, START, START + HOUR, True)
    assert told == [OpenAuction(key, "x", *what) for key in copy_keys(REQUESTS)]
    assert bench.feed(item(), 0) == []


def test_leads_and_popularity(requests):
    assert requests.feed(bid("a", 1000, 1)) == [
        AdLead("a", "x", True),
        OpenAuction(KEY, "x", "seller", "watches", ("gold", "old"), "EUR", 1000, 1, START, START + HOUR, True),
    ]
    assert requests.feed(bid("b", 900, 2, price=1000, leader="a", status="TOO_LOW")) == []
    told = requests.feed(bid("b", 2000, 3, price=1050))
    assert told[:2] == [AdLead("a", "x", False), AdLead("b", "x", True)] and (told[2].price, told[2].bids) == (1050, 2)
    assert requests.feed(bid("a", 1500, 4, price=1550, leader="b")) == [], "three bids: no copies"
    assert requests.feed(bid("b", 2000, 4, price=1550, automatic=True)) == []
    (told,) = requests.feed(bid("a", 1800, 5, price=1850, leader="b", effective_end=START + 2 * HOUR))
    assert (told.bids, told.price, told.ends_at) == (4, 1850, START + 2 * HOUR)
    assert requests.feed(bid("b", 2000, 6, price=1000, leader="a", status="RETRACTED")) == [
        AdLead("b", "x", False),
        AdLead("a", "x", True),
    ]


def test_who_is_about_to_lose_is_asked_for(requests):
    assert requests.feed(ending(("a", "b", "c"), "b", 1500)) == [
        AdRequest(person, "x", "watches", ("gold", "old"), Money(1500, "EUR")) for person in "ac"
    ]
    assert [output.key for output in requests.outputs] == [b"a", b"c"]


def test_an_auction_that_is_over_is_taken_away(requests):
    requests.feed(bid("a", 1000, 1))
    gone, lead = requests.feed(outcome("a", 1000))
    assert gone.open is False and lead == AdLead("a", "x", False) and requests.shard.entities == {}
    assert requests.feed(bid("a", 1000, 2)) == requests.feed(outcome()) == []
    requests.feed(item(), 0)
    assert len(requests.feed(outcome())) == 1


# --- placing ---


def auction(number, seller="s", category="watches", tags=("gold", "old"), price=1000, bids=0, **fields):
    values = {"currency": "EUR", "starts_at": START, "ends_at": START + DAY, "open": True, **fields}
    return OpenAuction(
        KEY,
        f"x{number}",
        seller,
        category,
        tags,
        values["currency"],
        price,
        bids,
        values["starts_at"],
        values["ends_at"],
        values["open"],
    )


def request(person="i", about="lost", price=1000, tags=("gold", "old")):
    return AdRequest(person, about, "watches", tags, Money(price, "EUR"))


def placer(*auctions, chooser=SIMILAR, **caps):
    bench = Bench(AdPlacer(Caps(**caps), chooser), ONE.name)
    for each in auctions:
        bench.feed(each, 0)
    return bench


def shown(placements):
    return [placed.auction_id for placed in placements]


def test_the_most_similar_come_first():
    bench = placer(
        auction(1, price=500),  # 0.5 + 0.3 + 0.1
        auction(2, tags=("gold",)),  # 0.5 + 0.15 + 0.2
        auction(3, price=2000),  # 0.9 too: the lower id goes first
        auction(4),  # 1.0
        auction(5, category="chairs"),
        auction(6, tags=(), price=0),  # 0.5
    )
    placements = bench.feed(request(), 5)
    assert shown(placements) == ["x4", "x1", "x3"]
    assert [round(placed.score, 9) for placed in placements] == [1.0, 0.9, 0.9]
    first = placements[0]
    assert first.reason == "same category, 2 tags in common, price 100 % alike"
    assert (first.person, first.because_of, first.at, first.cause) == (
        "i",
        "lost",
        START + 5,
        "auction.ads.requests/0/6",
    )
    assert (bench.outputs[0].topic, bench.outputs[0].key) == ("auction.ads", b"i")
    assert len({placed.placement_id for placed in placements}) == 3
    assert SIMILAR.score(request(tags=(), price=0), auction(9, tags=(), price=0), "")[0] == 0.7
    assert [round(p.score, 2) for p in placer(auction(6, tags=(), price=0)).feed(request(), 5)] == [0.5]


@pytest.mark.parametrize(
    "other",
    [
        auction(1, seller="i"),
        auction("lost")._replace(auction_id="lost"),
        auction(1, currency="USD"),
        auction(1, starts_at=START + 6),
        auction(1, ends_at=START + 5 + 59_999),
        auction(1, open=False),
        auction(1, category="chairs"),
    ],
)
def test_never_shown(other):
    assert placer(other).feed(request(), 5) == []


def test_what_a_person_leads_is_not_shown():
    bench = placer(auction(1), auction(2))
    bench.feed(AdLead("i", "x1", True), 1)
    bench.feed(AdLead("i", "x1", True), 1)
    assert shown(bench.feed(request(), 5)) == ["x2"]
    bench.feed(AdLead("i", "x1", False), 6)
    assert shown(bench.feed(request(), 7)) == ["x1"]
    assert shown(bench.feed(request("other"), 8)) == ["x1", "x2"]
    bench.feed(AdLead("nobody", "x1", True), 9)
    assert "nobody" in bench.shard.entities
    bench.feed(AdLead("nobody", "x1", False), 9)
    assert "nobody" not in bench.shard.entities, "nothing is kept of whom nothing is known"


def test_an_auction_is_not_shown_again_for_a_while():
    bench = placer(auction(1, ends_at=START + 30 * DAY), again_ms=2 * DAY)
    assert shown(bench.feed(request(), 0)) == ["x1"]
    assert shown(bench.feed(request(), 2 * DAY - 1)) == []
    assert shown(bench.feed(request(), 2 * DAY)) == ["x1"]


def test_the_cap_of_a_person():
    bench = placer(*(auction(n, ends_at=START + 30 * DAY) for n in range(20)), per_request=3, most=5, window_ms=HOUR)
    assert [len(bench.feed(request(about=f"l{n}"), n)) for n in range(4)] == [3, 2, 0, 0]
    assert len(bench.feed(request("other"), 4)) == 3
    assert len(bench.feed(request(), HOUR - 1)) == 0
    assert len(bench.feed(request(), HOUR)) == 3
    assert len(bench.feed(request(), HOUR + 1)) == 2


def test_the_budget_of_a_day():
    bench = placer(*(auction(n, ends_at=START + 30 * DAY) for n in range(9)), budget=4)
    assert [len(bench.feed(request(f"p{n}"), n)) for n in range(4)] == [3, 1, 0, 0]
    assert len(bench.feed(request("p9"), DAY)) == 3


def test_other_ways_to_choose():
    popular = placer(
        auction(1, bids=1, category="chairs"), auction(2, bids=8), auction(3), chooser=MOST_POPULAR, per_request=2
    )
    placements = popular.feed(request(), 1)
    assert shown(placements) == ["x2", "x1"] and placements[0].reason == "8 bids"
    chosen = set()
    for _ in range(2):
        bench = placer(*(auction(n) for n in range(10)), chooser=AT_RANDOM)
        chosen.add(tuple(shown(p)[0] for p in (bench.feed(request(f"p{n}"), n) for n in range(10))))
    (chosen,) = chosen
    assert len(set(chosen)) > 3, "by chance, and the same each time"


def test_the_shelf_is_empty_when_all_is_over():
    bench = placer(auction(1), auction(1, open=False), auction(2, open=False))
    assert bench.shard.shared == Shelf()


@pytest.mark.parametrize("name", ["per_request", "most", "window_ms", "again_ms", "budget", "least_left_ms"])
def test_caps_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        Caps(**{name: -1})


# --- the checker ---


def run(seed, caps, processor=None):
    """A random log of one partition: (read, placements)."""
    source = random.Random(seed)
    bench = Bench(processor or AdPlacer(caps), ONE.name)
    read, placements = [], []
    now = 0
    for _ in range(300):
        now += source.choice((1, 1000, 10 * MINUTE))
        what, number, person = source.random(), source.randrange(12), f"p{source.randrange(4)}"
        if what < 0.4:
            ends = START + now + source.choice((10_000, HOUR, DAY))
            event = auction(number, f"p{source.randrange(9)}", ends_at=ends, open=source.random() < 0.9)
        elif what < 0.6:
            event = AdLead(person, f"x{number}", source.random() < 0.6)
        else:
            event = request(person, f"x{number}")
        read.append((bench.shard.offset, START + now, event))
        placements += bench.feed(event, now)
    return read, placements


CAPS = Caps(most=4, window_ms=HOUR, again_ms=3 * HOUR, budget=30)


@pytest.mark.parametrize("seed", range(5))
def test_the_placer_never_breaks_a_rule(seed):
    read, placements = run(seed, CAPS)
    assert len(placements) > 20
    assert check_placements(read, placements, CAPS) == []


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        (Caps(most=5, window_ms=HOUR, again_ms=3 * HOUR, budget=30), "one too many"),
        (Caps(most=4, window_ms=HOUR, again_ms=HOUR, budget=30), "was shown already"),
        (Caps(most=4, window_ms=HOUR, again_ms=3 * HOUR, budget=99), "more than the budget"),
        (Caps(most=4, window_ms=HOUR, again_ms=3 * HOUR, budget=30, per_request=4), "placements for one request"),
        (Caps(most=4, window_ms=HOUR, again_ms=3 * HOUR, budget=30, least_left_ms=0), "is not open"),
    ],
)
def test_the_checker_sees_a_cap_that_is_not_kept(planted, says):
    wrong = [line for seed in range(5) for line in check_placements(*run(seed, planted), CAPS)]
    assert any(says in line for line in wrong), wrong


def test_the_checker_sees_each_exclusion():
    read = [
        (0, START, auction(1, seller="i")),
        (1, START, auction(2)),
        (2, START, AdLead("i", "x2", True)),
        (3, START, auction(3)),
        (4, START, request("i", "x3")),
    ]

    def placed(auction_id, offset=4, person="i", about="x3"):
        return AdPlacement("n", person, auction_id, about, 1.0, "", f"t/0/{offset}", START)

    def says(*placements):
        return check_placements(read, placements, Caps())

    assert says() == []
    assert says(placed("x1")) == ["4: x1 is the person's own"]
    assert says(placed("x2")) == ["4: x2 is led by the person"]
    assert says(placed("x3")) == ["4: x3 is the one that is about to be lost"]
    assert says(placed("x9")) == ["4: x9 is not open"]
    assert says(placed("x1", person="k")) == ["4: x1 is not what was asked for"]
    assert says(placed("x1", 3)) == ["3: placements without a request"]
    assert says(placed("x1", 7)) == ["7: placements of a record that was not read"]


# --- the back-test ---


def history(seed=1, people=60, auctions=240):
    """People like one category each, and bid in an auction of it now and then, more often after they have lost one."""
    source = random.Random(seed)
    kinds = [f"kind{n}" for n in range(6)]
    told = []
    likes = {f"p{n}": source.choice(kinds) for n in range(people)}
    open_now = []
    for number in range(auctions):
        begin = number * 10 * MINUTE
        category = source.choice(kinds)
        listed = item(
            f"x{number}",
            f"s{number % 7}",
            4 * HOUR + begin,
            category=category,
            tags=(category,),
            starts_at=START + begin,
        )
        told.append((START + begin, listed))
        fans = [person for person, liked in likes.items() if liked == category]
        leader, price, seen = None, 1000, []
        for at in sorted(source.randrange(begin + MINUTE, begin + 4 * HOUR) for _ in range(6)):
            bidder = source.choice(fans)
            price += 50
            told.append((START + at, bid(bidder, price, at, outbid=leader, auction_id=f"x{number}")))
            if at < begin + 4 * HOUR - 10 * MINUTE:
                leader, seen = bidder, [*dict.fromkeys([*seen, bidder])]
        soon = begin + 4 * HOUR - 10 * MINUTE
        about = {"auction_id": f"x{number}", "category": category, "tags": (category,)}
        told.append((START + soon, ending(tuple(seen), leader, price, at=soon, **about)))
        told.append((START + begin + 4 * HOUR, outcome("p0", price, at=begin + 4 * HOUR, auction_id=f"x{number}")))
        open_now.append(number)
    return sorted(told, key=lambda each: each[0])


def test_the_back_test_reports_lift_on_held_back_history():
    told = history()
    since = told[len(told) // 2][0]
    found = back_test(told, since)
    assert found.wrong == []
    assert set(found.results) == {"similar", "most popular", "random"}
    assert all(result.placements > 0 for result in found.results.values())
    assert found.lift("random") > 1.5 and found.lift("most popular") > 1.5
    assert found == back_test(told, since)
    whole = back_test(told, 0)
    assert all(whole.results[name].placements > result.placements for name, result in found.results.items())


def test_a_hit_is_a_first_bid_after_the_placement():
    def told(at, bidder="i"):
        auctions = [(START, item("lost", "s")), (START, item("other", "s", ends=2 * HOUR))]
        soon = 50 * MINUTE
        bids = [
            bid("i", 1000, 1, auction_id="lost"),
            bid("w", 2000, 2, auction_id="lost"),
            bid(bidder, 1000, at, auction_id="other"),
        ]
        events = [(START + int(each.at - START), each) for each in bids]
        return sorted(
            [*auctions, *events, (START + soon, ending(("i", "w"), "w", auction_id="lost"))], key=lambda each: each[0]
        )

    assert back_test(told(55 * MINUTE), 0).results["similar"] == Result(1, 1)
    assert back_test(told(55 * MINUTE, "k"), 0).results["similar"] == Result(1, 0)
    assert back_test(told(55 * MINUTE), START + HOUR).results["similar"] == Result(0, 0)
    early = told(10)
    early.insert(4, (START + 20, bid("w", 1500, 20, auction_id="other")))
    assert back_test(sorted(early, key=lambda each: each[0]), 0).results["similar"] == Result(0, 0), (
        "had bid there before"
    )


def test_lift_where_nothing_was_hit():
    assert BackTest({"similar": Result(4, 2), "random": Result(4, 0)}, []).lift("random") is None
    assert BackTest({"similar": Result(4, 2), "random": Result(8, 2)}, []).lift("random") == 2
    assert Result(0, 0).rate == 0
