"""Checkers of the journal and of the balances: the money that accounts and contra accounts have (see `payments.checkers`)."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from payments import topics
from payments.accounts import AccountProcessor
from payments.logs import Logs, by_offset, events, partitions
from schemas.payments import (
    AccountBalance,
    AccountClosed,
    AccountFrozen,
    AccountLimited,
    AccountOpened,
    LedgerEntry,
    LedgerLeg,
)
from schemas.rails import DeadLetter, Record
from transforms.fold import DEAD_LETTERS

_SIGN = {"CREDIT": 1, "UNWIND": 1, "DEBIT": -1, "CAPTURE": -1, "HOLD": 0, "RELEASE": 0}
_PENDING = {"HOLD": 1, "RELEASE": -1, "CAPTURE": -1}
_ADMINISTRATIVE = AccountOpened | AccountLimited | AccountFrozen | AccountClosed


# --- 1: postings ---


def check_postings(logs: Logs) -> list[str]:
    """Σ postings per currency = 0 in every prefix of every partition of the journal, in integers, each side of a pair checked by itself."""
    found = []
    for partition, items in partitions(logs, topics.JOURNAL.name):
        balances: dict[str, int] = {}  # as the journal states them, accounts and contra accounts
        totals: dict[str, int] = defaultdict(int)  # of what it states, per currency
        for record, entry in items:
            if type(entry) is not LedgerEntry:
                continue
            where = f"{topics.JOURNAL.name}/{partition}/{record.offset} {entry.account_id} v{entry.version}"
            numbers = (entry.amount.minor, entry.balance, entry.available, entry.pending, entry.contra_balance)
            if any(type(number) is not int for number in numbers):
                found.append(f"{where}: not an integer")
                continue
            minor, currency = entry.amount
            sign = _SIGN.get(entry.leg)
            if sign is None:
                found.append(f"{where}: a leg {entry.leg} posts nothing")
                continue
            if minor <= 0:
                found.append(f"{where}: amount {minor} is not positive")
            expected = balances.get(entry.account_id, 0) + sign * minor
            if entry.balance != expected:
                found.append(f"{where}: balance {entry.balance}, expected {expected}")
            totals[currency] += entry.balance - balances.get(entry.account_id, 0)
            balances[entry.account_id] = entry.balance
            if sign == 0:
                if entry.contra is not None:
                    found.append(f"{where}: a {entry.leg} moves no money, but has the contra account {entry.contra}")
            elif entry.contra not in (f"~transit/{partition}/{currency}", f"~outside/{partition}/{currency}"):
                found.append(f"{where}: {entry.contra} is no contra account of this partition and currency")
            else:
                expected = balances.get(entry.contra, 0) - sign * minor
                if entry.contra_balance != expected:
                    found.append(f"{where}: {entry.contra} has {entry.contra_balance}, expected {expected}")
                totals[currency] += entry.contra_balance - balances.get(entry.contra, 0)
                balances[entry.contra] = entry.contra_balance
            if totals[currency]:
                found.append(f"{where}: postings in {currency} add up to {totals[currency]}")
                totals[currency] = 0  # each fault is told once
    return found


def check_transit(logs: Logs) -> list[str]:
    """The in-transit balances, as the journal states them, sum up to the money in flight: on its way to a creditor, or back."""
    stated: dict[str, tuple[str, int]] = {}  # contra account → (currency, newest balance)
    travels: dict[tuple[str, str], int] = defaultdict(int)  # (payment, currency) → departed − arrived
    for _, _, entry in events(logs, topics.JOURNAL.name, LedgerEntry):
        if entry.contra is not None and entry.contra.startswith("~transit/"):
            minor, currency = entry.amount
            stated[entry.contra] = currency, entry.contra_balance
            travels[entry.payment_id, currency] -= _SIGN[entry.leg] * minor
    found = [
        f"payment {payment}: {-minor} {currency} more arrived than departed"
        for (payment, currency), minor in sorted(travels.items())
        if minor < 0
    ]
    in_transit: dict[str, int] = defaultdict(int)
    for currency, balance in stated.values():
        in_transit[currency] += balance
    in_flight: dict[str, int] = defaultdict(int)
    for (_, currency), minor in travels.items():
        in_flight[currency] += minor
    for currency in sorted(in_transit):
        if in_transit[currency] != in_flight[currency]:
            found.append(f"{currency}: {in_transit[currency]} in transit, but {in_flight[currency]} in flight")
    return found


# --- 4: limits ---


def _refused(logs: Logs) -> set[tuple[int, int]]:
    """(partition, offset) of the records of payments.inflight that are dead letters."""
    return {
        (letter.partition, letter.offset)
        for _, _, letter in events(logs, DEAD_LETTERS.name, DeadLetter)
        if letter.stage == AccountProcessor.stage
    }


def _overdrafts(logs: Logs) -> dict[str, list[tuple[int, int]]]:
    """Of each account its (offset on payments.inflight, overdraft limit from there on); refused changes are left out."""
    refused = _refused(logs)
    limits: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for partition, items in partitions(logs, topics.INFLIGHT.name):
        for record, event in items:
            if isinstance(event, AccountOpened | AccountLimited) and (partition, record.offset) not in refused:
                limits[event.account_id].append((record.offset, event.overdraft_limit))
    return limits


def check_limits(logs: Logs) -> list[str]:
    """No account is below its limit after a debit or a hold, by the limit in force at that offset; available is what the counters say."""
    limits, found = _overdrafts(logs), []
    pending: dict[str, int] = defaultdict(int)
    for where, record, entry in events(logs, topics.JOURNAL.name, LedgerEntry):
        account = entry.account_id
        if record.origin is None:
            found.append(f"{where}: an entry without origin")
            continue
        overdraft = None
        for offset, limit in limits.get(account, ()):
            if offset < record.origin.offset:
                overdraft = limit
        if overdraft is None:
            found.append(f"{where}: an entry of {account}, which was not open")
            continue
        pending[account] += _PENDING.get(entry.leg, 0) * entry.amount.minor
        if entry.pending != pending[account] or entry.pending < 0:
            found.append(f"{where}: {account} has {entry.pending} pending, expected {pending[account]}")
        available = entry.balance - entry.pending + overdraft
        if entry.available != available:
            found.append(f"{where}: {account} has {entry.available} available, expected {available}")
        if entry.leg in ("DEBIT", "HOLD") and available < 0:
            found.append(f"{where}: {account} is {-available} below its limit after a {entry.leg}")
    return found


def _hold_entries(logs: Logs) -> Iterator[tuple[str, LedgerEntry, str]]:
    """(where, entry, hold_id) of the entries that make or end a hold, in the order of each partition.

    A payment id may come again once admission has forgotten it, so a capture or void names its hold by the very leg that caused the entry,
    not by its id. A release without such a leg, or by the record with which the hold of that name runs out, is an expiry.
    """
    inflight = by_offset(logs, topics.INFLIGHT.name)
    for partition, items in partitions(logs, topics.JOURNAL.name):
        legs = inflight.get(partition, {})
        captures: dict[tuple[str, str], list[tuple[int, LedgerLeg]]] = defaultdict(list)
        for offset, (_, leg) in legs.items():
            if type(leg) is LedgerLeg and leg.leg == "CAPTURE":
                captures[leg.account_id, leg.payment_id].append((offset, leg))
        until: dict[tuple[str, str], int | None] = {}  # open hold → when it runs out, None for never
        captured: tuple[int, str, str, str] | None = None  # the capture just before: offset, account, payment, hold
        for record, entry in items:
            if type(entry) is not LedgerEntry or entry.leg not in _PENDING or record.origin is None:
                captured = None
                continue
            account, payment, offset = entry.account_id, entry.payment_id, record.origin.offset
            cause: Record | None
            event: Any
            cause, event = legs.get(offset, (None, None))
            own = type(event) is LedgerLeg and (event.account_id, event.payment_id) == (account, payment)
            before, captured, hold = captured, None, payment
            if entry.leg == "CAPTURE":
                if own and event.leg == "CAPTURE":
                    hold = event.pending_id or payment
                else:  # it has waited behind the gate
                    came = [leg for n, leg in captures[account, payment] if n < offset and leg.amount == entry.amount]
                    names = [leg.pending_id for leg in came if (account, leg.pending_id) in until]
                    hold = names[-1] if names and names[-1] else payment
                captured = offset, account, payment, hold
            elif entry.leg == "RELEASE" and before is not None and before[:3] == (offset, account, payment):
                hold = before[3]  # the rest of what was captured in part
            elif entry.leg == "RELEASE" and own and event.leg in ("CAPTURE", "RELEASE"):
                end = until.get((account, payment))
                if end is None or cause is None or cause.at < end:
                    hold = event.pending_id or payment
            if entry.leg != "HOLD":
                until.pop((account, hold), None)
            else:
                timeout = event.hold_timeout_ms if own else None
                until[account, hold] = None if timeout is None else entry.at + timeout
            yield f"{topics.JOURNAL.name}/{partition}/{record.offset}", entry, hold


def check_holds(logs: Logs) -> list[str]:
    """Captured and released is never more than held; a hold ends once."""
    held: dict[tuple[str, str], int] = {}
    enders: dict[tuple[str, str], str] = {}
    found = []
    for where, entry, hold_id in _hold_entries(logs):
        hold = entry.account_id, hold_id
        if entry.leg == "HOLD":
            if hold in enders and held[hold] > 0:
                found.append(f"{where}: {enders[hold]} ended the hold {hold_id}, and left {held[hold]} of it held")
            elif held.get(hold, 0) > 0:
                found.append(f"{where}: another hold {hold_id}, and {held[hold]} of the one before are held")
            held[hold] = entry.amount.minor
            enders.pop(hold, None)
            continue
        if hold not in held:
            found.append(f"{where}: a {entry.leg} of the hold {hold_id}, which is not there")
            continue
        if enders.setdefault(hold, entry.payment_id) != entry.payment_id:
            found.append(f"{where}: {entry.payment_id} ends the hold {hold_id}, which {enders[hold]} has ended")
        held[hold] -= entry.amount.minor
        if held[hold] < 0:
            found.append(f"{where}: {-held[hold]} more captured and released than held by {hold_id}")
    for (account, hold_id), ender in sorted(enders.items()):
        if held[account, hold_id] > 0:
            found.append(f"{account}: {ender} ended the hold {hold_id}, and left {held[account, hold_id]} of it held")
    return found


def open_holds(logs: Logs) -> int:
    """Holds that no capture, void or expiry has ended, by the journal."""
    holds: set[tuple[str, str]] = set()
    for _, entry, hold_id in _hold_entries(logs):
        if entry.leg == "HOLD":
            holds.add((entry.account_id, hold_id))
        else:
            holds.discard((entry.account_id, hold_id))
    return len(holds)


# --- 5: order ---


def check_journal_order(logs: Logs) -> list[str]:
    """The journal of an account is numbered 1, 2, 3 … in the order of its partition."""
    versions: dict[str, int] = defaultdict(int)
    found = []
    for where, _, entry in events(logs, topics.JOURNAL.name, LedgerEntry):
        if entry.version != versions[entry.account_id] + 1:
            found.append(f"{where}: {entry.account_id} has v{entry.version} after v{versions[entry.account_id]}")
        versions[entry.account_id] = entry.version
    return found


# --- 4: balances ---


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
    refused, states = _refused(logs), dict[str, _Settings]()
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
                sign = _SIGN.get(entry.leg)
                if sign:
                    posted[entry.account_id, sign > 0] += entry.amount.minor
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
