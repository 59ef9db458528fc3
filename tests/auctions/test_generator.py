"""The generator of auctions: the same every time, and what it says becomes true in the whole system."""

import json
from collections import Counter
from typing import Any

import pytest

from auctions import live_stages, topics
from auctions.checkers import check_all
from auctions.generator import PREFIX, RICH, STRENGTHS, Generation, Settings
from auctions.market import KINDS
from payments import topics as payment_topics
from payments.accounts import AccountProcessor
from payments.logs import events
from schemas.auctions import AuctionOutcome, BidDecision, BidPlaced
from schemas.rails import DeadLetter
from tests.auctions.system import REGISTRY, run_auctions

SMALL = Settings(auctions=60, bidders=100, sellers=8, cheats=1, bad=0.08, bell=0.5, cancelled=0.05)


@pytest.fixture(scope="module")
def played() -> Any:
    generation = Generation(SMALL)
    logs, shards = run_auctions(list(generation), tick_ms=600_000)
    return generation, logs, shards


def test_equal_settings_give_equal_records() -> None:
    one, same, other = (Generation(Settings(auctions=20, bidders=30, sellers=7, seed=seed)) for seed in (1, 1, 2))
    assert list(one) == list(same) and one.truth() == same.truth()
    assert list(one) != list(other)
    times = [record.at for record in one]
    assert times == sorted(times) and [record.offset for record in one] == list(range(len(times)))


def test_what_is_wrong_becomes_what_the_truth_says(played: Any) -> None:
    generation, logs, _ = played
    faults = generation.truth()["faults"]
    codes = Counter(letter.code for _, _, letter in events(logs, "rails.deadletters", DeadLetter))
    statuses = Counter(
        (decision.bid_id.split("-")[1], decision.status)
        for _, _, decision in events(logs, topics.HISTORY.name, BidDecision)
        if decision.bid_id.startswith(PREFIX)
    )
    wanted: Counter[str] = Counter()
    for name, fault in faults.items():
        assert fault["count"] > 0
        if (name, fault["expected"]) in statuses:
            assert statuses[name, fault["expected"]] == fault["count"]
        elif fault["expected"] != "DUPLICATE":
            wanted[fault["expected"]] += fault["count"]
    assert codes == wanted
    assert len(statuses) == 4
    duplicates = [e for _, _, e in events(logs, topics.HISTORY.name, BidDecision) if e.status == "DUPLICATE"]
    assert len(duplicates) == faults["again"]["count"]


def test_bids_at_the_bell(played: Any) -> None:
    generation, logs, _ = played
    said = Counter(
        decision.status
        for _, _, decision in events(logs, topics.HISTORY.name, BidDecision)
        if decision.bid_id.startswith("bell-") and not decision.automatic
    )
    bell = generation.truth()["bell"]
    assert bell["in_time"] > 3 and bell["too_late"] == 2 * bell["in_time"]
    in_time = sum(said[status] for status in ("ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE"))
    assert (in_time, said["FINISHED"]) == (bell["in_time"], bell["too_late"])


def test_the_whole_system_holds_its_invariants_and_everyone_is_settled(played: Any) -> None:
    generation, logs, shards = played
    truth = generation.truth()
    assert check_all(logs) == []
    outcomes = Counter(e.outcome for _, _, e in events(logs, topics.OUTCOMES.name, AuctionOutcome))
    assert sum(outcomes.values()) == truth["items"] == 60
    assert outcomes["CANCELLED"] == truth["cancelled"] > 0 and outcomes["SOLD"] > 30
    money = transit = 0
    for shard in shards:
        if shard.source.stage == AccountProcessor.stage:
            money += sum(account.balance for account in shard.entities.values())
            assert not any(account.debits_pending for account in shard.entities.values()), "nothing stays held"
            transit += sum(minor for name, minor in shard.shared.contra.items() if name.startswith("~transit"))
    deposits = sum(
        event.amount.minor
        for items in logs[payment_topics.INCOMING.name].values()
        for _, event in items
        if event.kind == "DEPOSIT"
    )
    assert (money, transit) == (deposits, 0)


def test_every_kind_of_decision_is_reached(played: Any) -> None:
    _, logs, _ = played
    said = {decision.status for _, _, decision in events(logs, topics.HISTORY.name, BidDecision)}
    assert said >= {"ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE", "BUY_NOW", "TOO_LOW", "INSUFFICIENT_FUNDS"}
    assert said >= {"RETRACTED", "CANCELLED", "FINISHED"}


def test_stages_write_what_they_are_said_to_write(played: Any) -> None:
    _, logs, _ = played
    written: dict[str, set[str]] = {kind.stage: set() for kind in live_stages.KINDS}
    for topic, held in logs.items():
        for items in held.values():
            for record, _ in items:
                if record.origin is not None and record.origin.source.stage in written:
                    written[record.origin.source.stage].add(topic)
    for kind in live_stages.KINDS:
        said = {topic.name for topic in kind.writes}
        assert written[kind.stage] <= said and said - written[kind.stage] <= {"rails.deadletters"}
    assert [topic.name for topic in live_stages.TICKED] == ["auction.bids"]


def test_the_truth_names_the_cheats_and_is_json() -> None:
    generation = Generation(Settings(auctions=40, bidders=60, sellers=7, strength="weak", bad=0))
    truth = json.loads(json.dumps(generation.truth()))
    assert truth["strength"] == "weak" and list(STRENGTHS) == ["weak", "medium", "strong"]
    assert Counter(cheat["signal"] for cheat in truth["cheats"]) == dict.fromkeys(KINDS, 6)
    placed = [REGISTRY.decode(r.value) for r in generation if r.value and r.value[:5] == REGISTRY.frame(BidPlaced)]
    assert {bid.bidder_id for bid in placed} & {p for cheat in truth["cheats"] for p in cheat["persons"]}
    assert RICH > 0


def test_without_anything_wrong() -> None:
    settings = Settings(auctions=10, bidders=20, sellers=3, cheats=0, bad=0, bell=0, cancelled=0, poor=0, backed=0)
    truth = Generation(settings).truth()
    assert (truth["faults"], truth["cheats"], truth["bell"]) == ({}, [], {"in_time": 0, "too_late": 0})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"auctions": 0}, "auctions must be from 1"),
        ({"cheats": 41}, "cheats must be from 0 to 40"),
        ({"bad": 1.5}, "bad must lie"),
        ({"strength": "brutal"}, "strength must be one of weak, medium, strong"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Settings(**changes)
