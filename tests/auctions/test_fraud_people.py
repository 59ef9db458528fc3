"""What people do over all auctions, at the thresholds and just under them."""

import pytest

from auctions.analytics_topics import TRACES
from auctions.fraud_people import MAX_OTHERS, MAX_RECENT, MAX_SIGHTS, FraudPeople
from auctions.geography import CITIES, cell_of
from schemas.auctions import BidderTrace, Rival, SellerTrace, ShillPart, Sighting
from tests.auctions.analysis import HOUR, MINUTE, START, Bench

CELLS = {name: cell_of(place.lat, place.lon) for name, place in CITIES}


@pytest.fixture
def bench():
    return Bench(FraudPeople(), TRACES.name)


def trace(number=0, bidder="i", seller="s", offers=1, won=False, left=HOUR, hard=True, reactions=0, quick=0, rivals=()):
    rivals = tuple(Rival(*rival) for rival in rivals)
    return BidderTrace(bidder, f"x{number}", f"{seller}", hard, offers, won, left, reactions, quick, rivals)


def feed(bench, traces):
    """All alerts, as (signal, persons, number of the trace)."""
    found = []
    for number, each in enumerate(traces):
        found += [(alert.signal, alert.persons, number) for alert in bench.feed(each)]
    return found


# --- sniping ---


def test_a_sniper(bench):
    """Four hard closes, three of them in the last minute: 75 %."""
    lefts = [60_000, 1, 61_000, 0]
    assert feed(bench, [trace(n, seller=n, left=left) for n, left in enumerate(lefts)]) == [("SNIPING", ("i",), 3)]
    (output,) = bench.outputs
    assert (output.topic, output.key) == ("auction.alerts", b"i")
    alert = output.event
    figures = {each.what: each.value for each in alert.evidence if each.value is not None}
    assert alert.score == 0.75
    assert figures == {"hard closes": 4, "first bids in the last 60 s": 3, "in the last 5 min": 4}
    assert [each.auction_id for each in alert.evidence if each.what == "auction"] == [f"x{n}" for n in range(4)]


@pytest.mark.parametrize("traces", [[1, 1, 1], [1, 1, 61_000, 61_000, 1]])
def test_no_sniper(bench, traces):
    assert feed(bench, [trace(n, seller=n, left=left) for n, left in enumerate(traces)]) == []


def test_soft_closes_cannot_be_sniped(bench):
    assert feed(bench, [trace(n, seller=n, left=1, hard=False) for n in range(9)]) == []


def test_an_alert_stands_until_the_figures_are_below_again(bench):
    sniped = [trace(n, seller=n, left=1) for n in range(7)]
    assert feed(bench, sniped) == [("SNIPING", ("i",), 3)]
    assert feed(bench, [trace(n, seller=n) for n in range(10, 13)]) == [] and bench.shard.entities["i"].raised == ()
    again = [trace(n, seller=n, left=1) for n in range(20, 40)]
    assert feed(bench, again) == [("SNIPING", ("i",), 1)], "9 of 12"


# --- HammerSnipe ---


@pytest.mark.parametrize(
    ("traces", "wanted"),
    [
        ([(4, 2), (4, 2), (2, 1)], [("HAMMER_SNIPE", ("i",), 2)]),
        ([(4, 2), (4, 2), (3, 1)], []),
        ([(4, 4)], []),
        ([(5, 5)], [("HAMMER_SNIPE", ("i",), 0)]),
        ([(0, 0)], []),
    ],
)
def test_a_hammer(bench, traces, wanted):
    assert feed(bench, [trace(n, seller=n, reactions=r, quick=q) for n, (r, q) in enumerate(traces)]) == wanted


# --- collusion and overlap ---


@pytest.mark.parametrize(
    ("together", "apart", "alternations", "wanted"),
    [
        (5, 2, 2, [("COLLUSION", ("i", "j"), 6)]),
        (5, 3, 2, []),
        (4, 0, 9, []),
        (5, 0, 1, []),
        (7, 3, 2, [("COLLUSION", ("i", "j"), 9)]),
    ],
)
def test_collusion(bench, together, apart, alternations, wanted):
    alone = [trace(n, seller=n) for n in range(apart)]
    met = [trace(n, seller=n, rivals=[("j", alternations), (f"other{n}", 5)]) for n in range(10, 10 + together)]
    assert feed(bench, alone + met) == wanted


@pytest.mark.parametrize(
    ("there", "elsewhere", "wins", "offers", "n"),
    [
        (5, 0, 0, 2, 1),
        (4, 0, 0, 9, 0),
        (8, 2, 0, 2, 1),
        (7, 3, 0, 2, 0),
        (10, 0, 1, 2, 1),
        (9, 0, 1, 2, 0),
        (5, 0, 0, 1, 0),
    ],
)
def test_overlap(bench, there, elsewhere, wins, offers, n):
    others = [trace(k, seller=f"t{k}", offers=offers) for k in range(elsewhere)]
    here = [trace(10 + k, won=k < wins, offers=offers) for k in range(there)]
    found = [each for each in feed(bench, others + here) if each[0] == "OVERLAP"]
    assert [each[1] for each in found] == [("i", "s")] * n


# --- shill score ---


def lost(number, bidders=("i",), won=None):
    parts = tuple(ShillPart(name, 3, name == won, 1.0, 1.0, 1.0, 1.0) for name in bidders)
    return SellerTrace("s", f"x{number}", parts)


def test_a_shill_is_told_under_the_bidders_name(bench):
    """Lost all: with four losses 10 (9 + 2 + 5·0.75 + 6) / 22 = 9.4."""
    assert feed(bench, [lost(n, ("i", "w"), "w") for n in range(4)]) == [("SHILL", ("i", "s"), 3)]
    (output,) = bench.outputs
    assert output.key == b"i"
    alert = output.event
    assert alert.score == pytest.approx(10 * (9 + 2 + 5 * 0.75 + 6) / 22)
    figures = {each.what: each.value for each in alert.evidence if each.value is not None}
    assert figures["alpha"] == 1 and figures["gamma"] == 0.75 and figures["lost"] == 4 and figures["won"] == 0
    assert feed(bench, [lost(9)]) == []


def test_the_seller_s_other_auctions_count_against_a_shill(bench):
    assert feed(bench, [lost(n, ()) for n in range(12)] + [lost(n) for n in range(20, 24)]) == []
    assert bench.shard.entities["s"].held == 16


# --- travel ---


def seen(city, at, person="i"):
    return Sighting(person, START + at, CELLS[city], f"x{at}")


def test_impossible_travel(bench):
    assert feed(bench, [seen("Berlin", 0), seen("New York", 2 * HOUR)]) == [("IMPOSSIBLE_TRAVEL", ("i",), 1)]
    alert = bench.outputs[0].event
    assert 3000 < alert.score < 3300, "6,385 km, less the blur, in two hours"
    assert [each.auction_id for each in alert.evidence] == ["x0", f"x{2 * HOUR}"]
    assert feed(bench, [seen("New York", 3 * HOUR)]) == []
    assert feed(bench, [seen("Berlin", 4 * HOUR)]) == [("IMPOSSIBLE_TRAVEL", ("i",), 0)], (
        "each journey is one of its own"
    )


def test_possible_travel(bench):
    assert feed(bench, [seen("Berlin", 0), seen("New York", 8 * HOUR), seen("Berlin", 16 * HOUR)]) == []
    assert feed(bench, [seen("Berlin", 0, "j"), seen("Berlin", 0, "j"), seen("Berlin", 1, "j")]) == []


def test_sights_that_come_late_are_put_in_their_place(bench):
    """Berlin at 0, Berlin at 20 h, then comes New York at 8 h, possible, and Tokyo at 1 h, which is not."""
    assert feed(bench, [seen("Berlin", 0), seen("Berlin", 20 * HOUR), seen("New York", 8 * HOUR)]) == []
    assert feed(bench, [seen("Tokyo", HOUR)]) == [("IMPOSSIBLE_TRAVEL", ("i",), 0)]
    assert [sight.at - START for sight in bench.shard.entities["i"].sights] == [0, HOUR, 8 * HOUR, 20 * HOUR]


def test_two_places_at_once_and_the_speed_as_a_rule(bench):
    feed(bench, [seen("Berlin", 0)])
    (alert,) = bench.feed(seen("Munich", 0))
    assert alert.score == 1e9
    bench.rule("fraud.travel", active=False)
    assert feed(bench, [seen("Tokyo", 1)]) == []
    bench.rule("fraud.travel", 2, max_kmh=10)
    assert feed(bench, [seen("Hamburg", 0, "j"), seen("Berlin", HOUR, "j")]) == [("IMPOSSIBLE_TRAVEL", ("j",), 1)]


def test_a_cell_that_is_none_is_a_dead_letter(bench):
    (letter,) = bench.feed(Sighting("i", START, "nowhere", "x"))
    assert letter.code == "BAD_CELL" and bench.shard.entities == {}


# --- rules, bounds ---


def test_every_signal_can_be_switched_off_and_on(bench):
    for name in ("sniping", "hammer", "collusion", "overlap", "shill"):
        bench.rule(f"fraud.{name}", active=False)
    loud = [trace(n, offers=2, left=1, reactions=5, quick=5, rivals=[("j", 9)]) for n in range(6)]
    assert feed(bench, loud + [lost(n) for n in range(6)]) == []
    for name in ("sniping", "hammer", "collusion", "overlap", "shill"):
        bench.rule(f"fraud.{name}", 2)
    assert [signal for signal, _, _ in feed(bench, [loud[0], lost(9)])] == [
        *("SNIPING", "HAMMER_SNIPE", "COLLUSION", "OVERLAP", "SHILL")
    ]
    assert bench.outputs[0].event.rule_version == 2
    bench.rule("fraud.shill", 2)
    assert bench.shard.counts.duplicate == 1


def test_a_looser_rule_finds_more(bench):
    traces = [trace(n, seller=n, left=90_000 if n else 1) for n in range(5)]
    assert feed(bench, traces) == []
    bench.rule("fraud.sniping", min_share=15)
    assert feed(bench, [trace(9, seller=9)]) == [("SNIPING", ("i",), 0)]


def test_state_is_bounded(bench):
    for number in range(MAX_OTHERS + 5):
        rivals = [(f"j{number}", 1), ("always", 1)]
        bench.feed(trace(number, seller=f"s{number}", rivals=rivals))
    person = bench.shard.entities["i"]
    assert len(person.sellers) == len(person.rivals) == MAX_OTHERS
    assert "always" in person.rivals and "j1" not in person.rivals and len(person.recent) == MAX_RECENT
    many = tuple(f"b{n}" for n in range(MAX_OTHERS + 5))
    bench.feed(lost(0, ("b0",)))
    bench.feed(lost(1, many))
    assert len(bench.shard.entities["s"].bidders) == MAX_OTHERS and "b0" in bench.shard.entities["s"].bidders
    for minute in range(MAX_SIGHTS + 3):
        bench.feed(seen("Berlin", minute * MINUTE))
    sights = bench.shard.entities["i"].sights
    assert len(sights) == MAX_SIGHTS and sights[-1].at == START + (MAX_SIGHTS + 2) * MINUTE
