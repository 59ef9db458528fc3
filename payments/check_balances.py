"""Checkers of the published balances: they say what journal and settings of the accounts say (see `payments.checkers`)."""

from collections import defaultdict
from typing import NamedTuple

from payments import topics
from payments.logs import Logs, events, partitions, refused_changes
from schemas.payments import AccountBalance, AccountClosed, AccountFrozen, AccountLimited, AccountOpened, LedgerEntry
from schemas.rails import Record

_ADMINISTRATIVE = AccountOpened | AccountLimited | AccountFrozen | AccountClosed
_CREDITS = ("CREDIT", "UNWIND")
_DEBITS = ("DEBIT", "CAPTURE")


class _Settings(NamedTuple):
    """What administration has made of an account."""

    overdraft_limit: int
    daily_limit: int | None
    one_in_flight: bool
    closed: bool
    frozen: bool
    settings: int  # version
    admin_id: str
    offset: int  # of the last change on payments.inflight
    at: int


def _settings(logs: Logs) -> dict[str, _Settings]:
    """Settings of every account after all changes; refused ones and repeats are left out."""
    refused, states = refused_changes(logs), dict[str, _Settings]()
    for partition, items in partitions(logs, topics.INFLIGHT.name):
        for record, event in items:
            if not isinstance(event, _ADMINISTRATIVE) or (partition, record.offset) in refused:
                continue
            state = states.get(event.account_id)
            if state is not None and state.admin_id == event.admin_id:
                continue
            if isinstance(event, AccountOpened):
                state = _Settings(
                    event.overdraft_limit, event.daily_limit, event.one_in_flight, False, False, 0, "", 0, 0
                )
            elif state is None:
                continue  # the checker of limits says so when there is an entry
            elif isinstance(event, AccountLimited):
                state = state._replace(overdraft_limit=event.overdraft_limit, daily_limit=event.daily_limit)
            elif isinstance(event, AccountFrozen):
                state = state._replace(frozen=event.frozen)
            else:
                state = state._replace(closed=True)
            states[event.account_id] = state._replace(
                settings=event.expected + 1, admin_id=event.admin_id, offset=record.offset, at=record.at
            )
    return states


def check_balances(logs: Logs) -> list[str]:
    """The newest balance of each account says what its journal and its settings say.

    Without a single balance nothing is checked: where they are upserts in a store they are not in the logs.
    """
    newest: dict[str, tuple[str, AccountBalance]] = {}
    for where, _, balance in events(logs, topics.BALANCES.name, AccountBalance):
        held = newest.get(balance.account_id)
        if held is None or balance.revision >= held[1].revision:
            newest[balance.account_id] = where, balance
    if not newest:
        return []
    posted: dict[tuple[str, bool], int] = defaultdict(int)  # (account, whether credits) → minor units
    last: dict[str, tuple[Record, LedgerEntry]] = {}
    for _, items in partitions(logs, topics.JOURNAL.name):
        for record, entry in items:
            if type(entry) is LedgerEntry:
                if entry.leg in _CREDITS or entry.leg in _DEBITS:
                    posted[entry.account_id, entry.leg in _CREDITS] += entry.amount.minor
                last[entry.account_id] = record, entry
    settings, found = _settings(logs), []
    for account in sorted(set(last) | set(settings) | set(newest)):
        if account not in newest:
            found.append(f"{account}: no balance")
            continue
        where, balance = newest[account]
        if account not in settings:
            found.append(f"{where}: a balance of {account}, which was not open")
            continue
        expected = _expected_balance(balance, settings[account], posted, *last.get(account, (None, None)))
        found += [
            f"{where}: {account} has {name} {said}, expected {right}"
            for name, said, right in zip(balance._fields, balance, expected, strict=True)
            if said != right
        ]
    return found


def _expected_balance(
    said: AccountBalance,
    settings: _Settings,
    posted: dict[tuple[str, bool], int],
    record: Record | None,
    entry: LedgerEntry | None,
) -> AccountBalance:
    account = said.account_id
    credits, debits = posted[account, True], posted[account, False]
    pending, version, payment, at = 0, 0, "", settings.at
    if entry is not None:
        pending, version, payment = entry.pending, entry.version, entry.payment_id
        if record is not None and record.origin is not None and record.origin.offset > settings.offset:
            at = entry.at
    return AccountBalance(
        account,
        said.currency if entry is None else entry.amount.currency,
        pending,
        debits,
        credits,
        settings.overdraft_limit,
        settings.daily_limit,
        settings.one_in_flight,
        settings.closed,
        settings.frozen,
        credits - debits,
        credits - debits - pending + settings.overdraft_limit,
        version,
        version + settings.settings,
        payment,
        at,
    )
