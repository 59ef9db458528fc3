"""Administration of accounts and rules."""

import pytest

from payments import topics
from payments.account import MAX_COUNTER, Account
from payments.accounts import AccountProcessor
from payments.settings import change_account, change_rules
from schemas.payments import AccountBalance, VelocityRule
from schemas.rails import DeadLetter, Rule, Tick
from tests.payments.world import REGISTRY, START, Bench, accounts, closed, frozen, leg, limited, opened
from transforms.errors import BadRecord


def test_an_account_opens_with_its_settings_and_is_published():
    bench = Bench(AccountProcessor(), topics.INFLIGHT.name)
    (balance,) = bench.feed(opened("a", overdraft=50, daily=70, gate=True, currency="JPY"), 3)
    assert balance == AccountBalance(
        account_id="a",
        currency="JPY",
        debits_pending=0,
        debits_posted=0,
        credits_posted=0,
        overdraft_limit=50,
        daily_limit=70,
        one_in_flight=True,
        closed=False,
        frozen=False,
        balance=0,
        available=50,
        version=0,
        revision=1,
        last_payment_id="",
        as_of=START + 3,
    )
    assert bench.outputs[0].version == 1
    assert bench.outputs[0].topic == "payments.balances"
    assert bench.account() == Account(
        "JPY",
        overdraft_limit=50,
        daily_limit=70,
        one_in_flight=True,
        settings=1,
        admin_id="open-a",
        admin_digest=bench.account().admin_digest,
    )
    assert len(bench.account().admin_digest) == 16


def test_every_change_raises_the_settings_version():
    bench = accounts(a=100)
    (balance,) = bench.feed(limited("a", 30, 40, expected=1), 7)
    assert (balance.overdraft_limit, balance.daily_limit, balance.available) == (30, 40, 130)
    assert (balance.revision, balance.version, balance.as_of) == (3, 1, START + 7)
    (balance,) = bench.feed(frozen("a", expected=2))
    assert (balance.frozen, balance.closed, balance.revision) == (True, False, 4)
    (balance,) = bench.feed(frozen("a", False, expected=3))
    assert (balance.frozen, balance.revision) == (False, 5)
    (balance,) = bench.feed(closed("a", expected=4))
    assert (balance.frozen, balance.closed, balance.revision) == (False, True, 6)
    assert bench.account().settings == 5
    assert bench.account().admin_id == "close-a-4"


def test_an_open_account_cannot_be_opened_again():
    """It would lose its money."""
    bench = accounts(a=100)
    (letter,) = bench.feed(opened("a")._replace(admin_id="again", expected=1))
    assert letter.code == "ALREADY_OPEN"
    assert bench.account().balance == 100


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (limited("a", 1, expected=0), "STALE_SETTINGS"),
        (limited("a", 1, expected=2), "STALE_SETTINGS"),
        (frozen("b"), "STALE_SETTINGS"),
        (frozen("b", expected=0), "UNKNOWN_ACCOUNT"),
        (limited("b", 1, expected=0), "UNKNOWN_ACCOUNT"),
        (closed("b", expected=0), "UNKNOWN_ACCOUNT"),
        (opened("b")._replace(expected=1), "STALE_SETTINGS"),
        (opened("~b"), "BAD_ACCOUNT"),
        (opened("b", currency="XXX"), "BAD_ACCOUNT"),
        (opened("b", overdraft=-1), "BAD_LIMIT"),
        (opened("b", daily=-1), "BAD_LIMIT"),
        (opened("b", overdraft=MAX_COUNTER + 1), "BAD_LIMIT"),
        (limited("a", 0, MAX_COUNTER + 1), "BAD_LIMIT"),
        (limited("a", -1), "BAD_LIMIT"),
        (limited("a", 0, -1), "BAD_LIMIT"),
        (closed("a")._replace(admin_id=""), "BAD_ID"),
        (closed("a")._replace(admin_id="x" * 129), "BAD_ID"),
    ],
)
def test_what_cannot_be_applied_is_a_dead_letter(event, code):
    bench = accounts(a=100)
    before = repr(bench.shard.entities)
    (letter,) = bench.feed(event)
    assert type(letter) is DeadLetter
    assert letter.code == code
    assert letter.detail
    assert repr(bench.shard.entities) == before


@pytest.mark.parametrize(
    "event",
    [
        opened("b", overdraft=MAX_COUNTER, daily=MAX_COUNTER),
        opened("b")._replace(admin_id="x" * 128),
        opened("b")._replace(admin_id="x"),
        opened("b", daily=0),
    ],
)
def test_what_is_just_allowed(event):
    bench = accounts(a=100)
    (balance,) = bench.feed(event)
    assert (balance.overdraft_limit, balance.daily_limit) == (event.overdraft_limit, event.daily_limit)


def test_the_same_event_again_is_a_duplicate():
    bench = accounts(a=100)
    bench.feed(limited("a", 30))
    for _ in range(2):
        assert bench.feed(limited("a", 30)) == []
    assert bench.shard.counts.duplicate == 2
    assert bench.account().settings == 2
    assert change_account("a", bench.account(), limited("a", 30), REGISTRY.encode(limited("a", 30))) is None


@pytest.mark.parametrize(
    "event",
    [
        limited("a", 500)._replace(admin_id="open-a"),
        limited("a", 500, expected=0)._replace(admin_id="open-a"),
        opened("a", overdraft=500),
        opened("a")._replace(requested_at=START + 1),
    ],
)
def test_another_change_under_the_last_admin_id_is_not_lost_silently(event):
    bench = accounts(a=100)
    (letter,) = bench.feed(event)
    assert (type(letter), letter.code) == (DeadLetter, "ADMIN_ID_REUSED")
    assert bench.shard.counts.duplicate == 0
    assert bench.feed(limited("a", 500))[0].overdraft_limit == 500
    assert bench.feed(event)[0].code == "STALE_SETTINGS"


def test_the_last_change_is_known_after_a_restart():
    bench = accounts(a=100)
    codec = AccountProcessor.entity_codec
    again = codec.decode(codec.encode(bench.account()))
    assert again == bench.account()
    assert change_account("a", again, opened("a"), REGISTRY.encode(opened("a"))) is None


def velocity(version=1, active=True, name="velocity", **parameters):
    return Rule("r", name, version, active, parameters)


def test_a_rule_reaches_every_account_of_the_shard():
    bench = accounts(a=100, c=100)
    bench.feed(velocity(interval_ms=1000, max_count=1), 10)
    assert bench.shard.shared.rules == {"velocity": VelocityRule(1, True, 1000, 1, None)}
    assert bench.feed(leg("p1"), 20)[-1].status == "ACSP"
    assert bench.feed(leg("p2"), 30)[-1].reason == "FRAD"
    assert bench.feed(leg("p3", account="c"), 40)[-1].status == "ACSP"
    assert bench.feed(leg("p4", minor=1), 1000)[-1].reason == "AM04"  # another interval
    bench.feed(velocity(2, False), 1000)
    assert bench.shard.shared.rules == {"velocity": VelocityRule(2, False, 0, None, None)}


def test_a_refused_debit_does_not_count_in_a_rule():
    bench = accounts(a=100)
    bench.feed(velocity(interval_ms=1000, max_count=1))
    assert bench.feed(leg("p1", minor=101))[-1].reason == "AM04"
    assert bench.feed(leg("p2", minor=100))[-1].status == "ACSP"


@pytest.mark.parametrize(("held", "new", "counted"), [(3, 4, False), (3, 3, True), (3, 2, True)])
def test_only_newer_rules_replace(held, new, counted):
    bench = accounts()
    bench.feed(velocity(held, interval_ms=1000, max_count=1))
    bench.feed(velocity(new, interval_ms=2000, max_minor=5))
    assert bench.shard.counts.duplicate == counted
    expected = VelocityRule(held, True, 1000, 1, None) if counted else VelocityRule(new, True, 2000, None, 5)
    assert bench.shard.shared.rules == {"velocity": expected}


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_count": 1},
        {"interval_ms": 0, "max_count": 1},
        {"interval_ms": -1, "max_count": 1},
        {"interval_ms": 1},
        {"interval_ms": 1, "max_count": -1},
        {"interval_ms": 1, "max_minor": -1},
        {"interval_ms": 1, "max_counts": 1},
    ],
)
def test_a_rule_that_says_nothing_is_a_dead_letter(parameters):
    rules: dict = {}
    with pytest.raises(BadRecord) as raised:
        change_rules(rules, velocity(**parameters))
    assert raised.value.code == "BAD_RULE"
    assert raised.value.detail
    assert not rules


@pytest.mark.parametrize(
    "parameters",
    [
        {"interval_ms": 1, "max_count": 0},
        {"interval_ms": 1, "max_minor": 0},
        {"interval_ms": 9, "max_count": 1, "max_minor": 2},
    ],
)
def test_the_smallest_rules(parameters):
    rules: dict = {}
    assert change_rules(rules, velocity(name="velocity:x", **parameters)) is True
    assert rules == {
        "velocity:x": VelocityRule(
            1, True, parameters["interval_ms"], parameters.get("max_count"), parameters.get("max_minor")
        )
    }


@pytest.mark.parametrize("name", ["velocities", "Velocity", "other", "velocity2"])
def test_rules_of_other_names_belong_to_others(name):
    rules: dict = {}
    assert change_rules(rules, velocity(name=name)) is True
    assert not rules


def test_ticks_are_counted_and_change_nothing():
    bench = accounts(a=1)
    assert bench.feed(Tick(START)) == []
    assert bench.shard.counts.ticks == 1
