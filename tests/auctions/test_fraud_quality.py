"""The fraud signals on a market with cheats: floors of precision and recall that they must reach; and the market itself."""

import pytest

from auctions.fraud_quality import STRENGTHS, Quality, alerts_of, histories, main, measure, quality
from auctions.market import KINDS, Cheat, Market
from schemas.auctions import Alert, BidPlaced, BidRetracted, ItemListed
from schemas.rails import Rule

SEED = 11  # not one that thresholds were chosen on

FLOORS = {  # strength → signal → (recall, precision); of one market with six cheats of each kind, so below the means of docs/fraud.md
    1.0: {
        "SHILL": (0.8, 0.8),
        "SNIPING": (0.3, 0.9),
        "HAMMER_SNIPE": (0.6, 0.9),
        "SHIELDING": (0.8, 0.8),
        "COLLUSION": (0.8, 0.9),
        "OVERLAP": (0.8, 0.8),
        "IMPOSSIBLE_TRAVEL": (0.8, 0.9),
    },
    0.75: {"SHILL": (0.6, 0.8), "SHIELDING": (0.5, 0.8), "COLLUSION": (0.3, 0.9), "OVERLAP": (0.6, 0.8)},
    0.5: {"SHILL": (0.6, 0.8), "SHIELDING": (0.4, 0.7), "OVERLAP": (0.6, 0.8), "IMPOSSIBLE_TRAVEL": (0.4, 0.9)},
}


@pytest.mark.parametrize("strength", FLOORS)
def test_every_signal_reaches_its_floors(strength):
    rows = {row.signal: row for row in measure(strength, SEED)}
    for signal, (recall, precision) in FLOORS[strength].items():
        row = rows[signal]
        assert row.recall >= recall and row.precision >= precision, (row, row.recall, row.precision)


def test_a_market_without_cheats_has_few_alerts():
    market = Market(seed=SEED, auctions=200, per_kind=0)
    persons = {alert.persons[0] for alert in alerts_of(histories(market.plan()))}
    assert len(persons) <= 8, "of 800 bidders"


def test_a_market_is_the_same_for_a_seed_and_in_the_order_of_time():
    market = Market(seed=3, auctions=40)
    plan = market.plan()
    assert plan == market.plan() != Market(seed=4, auctions=40).plan()
    assert [p.at for p in plan] == sorted(p.at for p in plan)
    assert {type(p.event) for p in plan} == {ItemListed, BidPlaced, BidRetracted}
    assert sum(isinstance(p.event, ItemListed) for p in plan) == 40


def test_the_house_takes_nearly_all_bids_of_a_market():
    history = histories(Market(seed=3, auctions=40).plan())
    statuses = [event.status for _, event in history if hasattr(event, "status")]
    taken = sum(status.startswith("ACCEPTED") or status == "RETRACTED" for status in statuses)
    assert taken / len(statuses) > 0.99


def test_one_bidder_in_twenty_cheats():
    market = Market()
    cheats = {person for cheat in market.cheats() for person in cheat.persons}
    assert 0.04 < len(cheats) / (market.bidders + len(cheats)) < 0.08
    assert [cheat.kind for cheat in market.cheats()] == [kind for kind in KINDS for _ in range(market.per_kind)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"strength": 1.1}, "got 1.1"), ({"auctions": 0}, "must be positive"), ({"per_kind": 41}, "at most the sellers")],
)
def test_markets_are_checked(fields, says):
    with pytest.raises(ValueError, match=says):
        Market(**fields)


def alert(signal, *persons):
    return Alert("n", persons, signal, 1.0, (), 0, 0)


def test_quality_by_hand():
    truth = [Cheat("SHILL", ("s1",)), Cheat("SHILL", ("s2",)), Cheat("COLLUSION", ("a", "b"))]
    alerts = [
        *(
            alert("SHILL", "s1", "seller"),
            alert("SHILL", "s1", "other"),
            alert("SHILL", "honest", "seller"),
            alert("SHILL", "a", "s"),
        ),
        *(alert("COLLUSION", "b", "a"), alert("OVERLAP", "s2", "seller")),
    ]
    rows = {row.signal: row for row in quality(alerts, truth)}
    assert rows["SHILL"] == Quality("SHILL", 2, 1, 3, 1)
    assert (rows["SHILL"].recall, rows["SHILL"].precision) == (0.5, pytest.approx(2 / 3))
    assert rows["COLLUSION"] == Quality("COLLUSION", 1, 1, 1, 0)
    assert rows["OVERLAP"] == Quality("OVERLAP", 2, 1, 1, 0)
    assert (rows["SNIPING"].recall, rows["SNIPING"].precision) == (1.0, 1.0)


def test_rules_change_what_is_found():
    history = histories(Market(seed=SEED, auctions=60).plan())
    off = [
        Rule(f"off-{n}", f"fraud.{name}", 1, False, {})
        for n, name in enumerate(("shielding", "collusion", "travel", "overlap"))
    ]
    assert {alert.signal for alert in alerts_of(history)} > {alert.signal for alert in alerts_of(history, off)}
    loose = [Rule("loose", "fraud.shielding", 1, True, {"min_drop": 1, "min_elapsed": 0})]
    assert len(alerts_of(history, loose)) > len(alerts_of(history))


def test_the_table(capsys, monkeypatch):
    monkeypatch.setattr(
        "auctions.fraud_quality.Market", lambda **said: Market(**{**said, "auctions": 20, "per_kind": 1})
    )
    main(["1", "2"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 7 * len(STRENGTHS)
    assert printed[2].startswith("| SHILL | 1.0 | 2 |"), "one in each of two markets"
