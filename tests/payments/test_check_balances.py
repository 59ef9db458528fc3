"""Balances that say something else than the journal and the settings."""

from typing import Any

import pytest

from payments import topics
from payments.checkers import check_all, check_balances
from schemas.payments import AccountBalance, AccountFrozen, AccountLimited
from tests.payments.tampering import CASES, tampered
from tests.payments.world import START, World, closed, frozen, limited, opened, payment


@pytest.fixture(scope="module")
def sound() -> World:
    return World(CASES)


@pytest.mark.parametrize("account", ["a", "e", "x", "u", "y"])
@pytest.mark.parametrize(
    "field", [name for name in AccountBalance._fields if name not in ("account_id", "revision", "currency")]
)
def test_each_field_of_a_balance_that_was_changed_is_found(sound, account, field):
    def change(record: Any, event: Any) -> Any:
        if event.account_id != account:
            return None
        value = getattr(event, field)
        if isinstance(value, bool):
            return [(record, event._replace(**{field: not value}))]
        other = "other" if isinstance(value, str) else (value or 0) + 1
        return [(record, event._replace(**{field: other}))]

    (line,) = check_balances(tampered(sound.logs, topics.BALANCES, change))
    assert line.startswith("payments.balances/")
    assert f": {account} has {field} " in line


def test_a_balance_in_another_currency_is_found(sound):
    logs = tampered(
        sound.logs, topics.BALANCES, lambda r, e: [(r, e._replace(currency="JPY"))] if e.account_id == "a" else None
    )
    (line,) = check_balances(logs)
    assert line.endswith("a has currency JPY, expected EUR")


def test_the_newest_balance_counts_and_older_ones_do_not(sound):
    def older(record: Any, event: Any) -> Any:
        return [(record, event), (record, event._replace(balance=5, revision=event.revision - 1))]

    def newer(record: Any, event: Any) -> Any:
        return [(record, event), (record, event._replace(revision=event.revision + 1))]

    assert check_balances(tampered(sound.logs, topics.BALANCES, older)) == []
    assert all(" has revision " in line for line in check_balances(tampered(sound.logs, topics.BALANCES, newer)))


def test_a_balance_that_is_missing_or_of_nobody_is_found(sound):
    lost = tampered(sound.logs, topics.BALANCES, lambda r, e: [] if e.account_id == "a" else None)
    assert check_balances(lost) == ["a: no balance"]
    other = tampered(
        sound.logs,
        topics.BALANCES,
        lambda r, e: [(r, e), (r, e._replace(account_id="m"))] if e.account_id == "a" else None,
    )
    (line,) = check_balances(other)
    assert line.endswith("a balance of m, which was not open")
    assert check_balances({**sound.logs, topics.BALANCES.name: {}}) == []


def test_the_settings_of_a_balance_are_those_of_all_changes_that_were_applied():
    world = World(
        [
            (0, opened("a", overdraft=5)),
            (0, opened("b")),
            (1, limited("a", 7, 9)),
            (2, frozen("a", expected=2)),
            (3, frozen("a", expected=2)),  # a repeat
            (4, limited("a", 99, expected=1)),  # refused
            (5, AccountLimited("freeze-a-2", "a", 3, 50, None, START)),  # refused: another change under the last id
            (6, AccountFrozen("m", "a", 3, False, START)),
            (7, closed("a", expected=4)),
            (8, frozen("nobody")),
            (9, payment("d", "DEPOSIT", 10, creditor_account="b")),
        ]
    )
    (balance,) = [e for e in world.events(topics.BALANCES) if e.account_id == "a"]
    assert (balance.overdraft_limit, balance.daily_limit, balance.closed, balance.frozen) == (7, 9, True, False)
    assert (balance.revision, balance.as_of) == (5, START + 7)
    assert check_all(world.logs, world.shards) == []


def test_a_change_that_was_lost_is_found():
    """As when another change under the last admin_id was taken for a repeat."""
    world = World([(0, opened("a")), (1, limited("a", 7))])
    logs = tampered(
        world.logs,
        topics.BALANCES,
        lambda r, e: [(r, e._replace(overdraft_limit=0, available=0, revision=1, as_of=START))],
    )
    assert sum("a has " in line for line in check_balances(logs)) == 4


def test_a_balance_is_as_old_as_the_last_change_of_its_account_repeats_not_counted():
    deposit = payment("d", "DEPOSIT", 10, creditor_account="a")
    world = World([(0, opened("a")), (10, deposit), (100, limited("a", 7)), (200, limited("a", 7)), (200, opened("b"))])
    (balance,) = [e for e in world.events(topics.BALANCES) if e.account_id == "a"]
    assert (balance.as_of, balance.version, balance.revision) == (START + 100, 1, 3)
    assert check_all(world.logs, world.shards) == []
