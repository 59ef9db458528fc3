"""The rules that judge one account, at their edges."""

import pytest

from payments.account import MAX_COUNTER, Account
from schemas.payments import Spending, VelocityRule
from transforms.topic_settings import DAY_MS

NOON = 20_000 * DAY_MS + DAY_MS // 2


def account(**fields):
    return Account("EUR", **fields)


def test_the_counters_make_balance_and_available():
    one = account(credits_posted=1000, debits_posted=300, debits_pending=50, overdraft_limit=20, version=7, settings=3)
    assert (one.balance, one.available, one.revision) == (700, 670, 10)


@pytest.mark.parametrize(
    ("fields", "minor", "currency", "reason"),
    [
        ({"credits_posted": 100}, 100, "EUR", None),
        ({"credits_posted": 100}, 101, "EUR", "AM04"),
        ({}, 1, "EUR", "AM04"),
        ({"overdraft_limit": 10}, 10, "EUR", None),
        ({"overdraft_limit": 10}, 11, "EUR", "AM04"),
        ({"credits_posted": 100, "debits_pending": 60}, 40, "EUR", None),
        ({"credits_posted": 100, "debits_pending": 60}, 41, "EUR", "AM04"),
        ({"credits_posted": 100, "debits_posted": 60, "overdraft_limit": 5}, 45, "EUR", None),
        ({"credits_posted": 100, "debits_posted": 60, "overdraft_limit": 5}, 46, "EUR", "AM04"),
        ({"credits_posted": 100}, 1, "USD", "AM03"),
        ({"credits_posted": 100, "closed": True}, 1, "EUR", "AC04"),
        ({"credits_posted": 100, "frozen": True}, 1, "EUR", "AC06"),
        ({"credits_posted": 100, "frozen": True, "closed": True}, 1, "EUR", "AC04"),
        ({"credits_posted": 100, "frozen": True}, 1, "USD", "AC06"),
        ({"credits_posted": 100, "daily_limit": 50}, 50, "EUR", None),
        ({"credits_posted": 100, "daily_limit": 50}, 51, "EUR", "AM14"),
        ({"credits_posted": 100, "daily_limit": 50, "day": 20_000, "spent": 30}, 20, "EUR", None),
        ({"credits_posted": 100, "daily_limit": 50, "day": 20_000, "spent": 30}, 21, "EUR", "AM14"),
        ({"credits_posted": 100, "daily_limit": 50, "day": 19_999, "spent": 30}, 50, "EUR", None),
        ({"credits_posted": 100, "daily_limit": 0}, 1, "EUR", "AM14"),
        ({"daily_limit": 50}, 51, "EUR", "AM14"),
        ({"overdraft_limit": MAX_COUNTER}, MAX_COUNTER, "EUR", None),
        ({"overdraft_limit": MAX_COUNTER, "credits_posted": 99, "debits_posted": 1}, MAX_COUNTER, "EUR", "AM02"),
        ({"overdraft_limit": MAX_COUNTER, "credits_posted": 99, "debits_pending": 1}, MAX_COUNTER, "EUR", "AM02"),
        ({"overdraft_limit": MAX_COUNTER, "credits_posted": 9, "debits_posted": 1}, MAX_COUNTER - 1, "EUR", None),
    ],
)
def test_judge_debit(fields, minor, currency, reason):
    one = account(**fields)
    before = repr(one)
    assert one.judge_debit(minor, currency, NOON, {}) == reason
    assert repr(one) == before


@pytest.mark.parametrize(
    ("fields", "minor", "currency", "reason"),
    [
        ({}, 1, "EUR", None),
        ({}, 1, "USD", "AM03"),
        ({"closed": True}, 1, "EUR", "AC04"),
        ({"closed": True}, 1, "USD", "AC04"),
        ({"frozen": True}, 1, "EUR", None),
        ({}, MAX_COUNTER, "EUR", None),
        ({"credits_posted": 1}, MAX_COUNTER - 1, "EUR", None),
        ({"credits_posted": 1}, MAX_COUNTER, "EUR", "AM02"),
    ],
)
def test_judge_credit(fields, minor, currency, reason):
    assert account(**fields).judge_credit(minor, currency) == reason


def rule(interval=60_000, count=None, minor=None, active=True):
    return VelocityRule(1, active, interval, count, minor)


@pytest.mark.parametrize(
    ("held", "in_force", "minor", "refused"),
    [
        (None, rule(count=1), 1, False),
        (None, rule(count=0), 1, True),
        (Spending(NOON // 60_000, 2, 50), rule(count=3), 1, False),
        (Spending(NOON // 60_000, 3, 50), rule(count=3), 1, True),
        (Spending(NOON // 60_000 - 1, 3, 50), rule(count=3), 1, False),
        (Spending(NOON // 60_000, 3, 50), rule(count=3, active=False), 1, False),
        (Spending(NOON // 60_000, 3, 50), rule(minor=60), 10, False),
        (Spending(NOON // 60_000, 3, 50), rule(minor=60), 11, True),
        (Spending(NOON // 60_000 - 1, 3, 50), rule(minor=60), 60, False),
        (Spending(NOON // 60_000 - 1, 3, 50), rule(minor=60), 61, True),
        (Spending(NOON // 60_000, 3, 50), rule(count=9, minor=60), 11, True),
        (Spending(NOON // 60_000, 9, 0), rule(count=9, minor=60), 11, True),
        (None, rule(minor=60), 60, False),
    ],
)
def test_velocity_rules_count_in_intervals_of_the_clock(held, in_force, minor, refused):
    one = account(credits_posted=1_000)
    if held is not None:
        one.spending["velocity"] = held
    assert one.judge_debit(minor, "EUR", NOON, {"velocity": in_force}) == ("FRAD" if refused else None)


def test_each_velocity_rule_counts_by_itself():
    one = account(credits_posted=1_000)
    rules = {"velocity:a": rule(count=5), "velocity:b": rule(60_000, minor=100), "velocity:c": rule(active=False)}
    one.spending["velocity:a"] = Spending(NOON // 60_000, 2, 40)
    one.spending["velocity:b"] = Spending(NOON // 60_000 - 1, 2, 40)
    one.count_debit(7, NOON, rules)
    assert one.spending == {
        "velocity:a": Spending(NOON // 60_000, 3, 47),
        "velocity:b": Spending(NOON // 60_000, 1, 7),
    }
    assert one.judge_debit(94, "EUR", NOON, rules) == "FRAD"
    assert one.judge_debit(93, "EUR", NOON, rules) is None


def test_a_velocity_count_never_leaves_its_counter():
    one = account()
    one.spending["velocity"] = Spending(NOON // 60_000, 2, MAX_COUNTER - 3)
    one.count_debit(7, NOON, {"velocity": rule(count=5)})
    assert one.spending["velocity"].minor == MAX_COUNTER


def test_the_day_of_the_clock_counts_with_or_without_a_limit():
    one = account()
    one.count_debit(30, NOON, {})
    one.count_debit(12, NOON + 1, {})
    assert (one.day, one.spent) == (20_000, 42)
    one.count_debit(5, NOON + DAY_MS // 2, {})
    assert (one.day, one.spent) == (20_001, 5)


@pytest.mark.parametrize(
    ("minor", "day", "spent"), [(10, 20_000, 20), (30, 20_000, 0), (31, 20_000, 0), (10, 19_999, 30), (10, 20_001, 30)]
)
def test_what_is_given_back_counts_no_longer_on_its_own_day(minor, day, spent):
    one = account(day=20_000, spent=30)
    one.give_back(minor, day)
    assert one.spent == spent
