"""Checkers of the journal: the money of accounts and contra accounts, limits, order (see `payments.checkers`)."""

from collections import defaultdict

from payments import topics
from payments.logs import Logs, events, partitions, refused_changes
from schemas.payments import AccountLimited, AccountOpened, LedgerEntry

_SIGN = {"CREDIT": 1, "UNWIND": 1, "DEBIT": -1, "CAPTURE": -1, "HOLD": 0, "RELEASE": 0}
_PENDING = {"HOLD": 1, "RELEASE": -1, "CAPTURE": -1}


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


def _overdrafts(logs: Logs) -> dict[str, list[tuple[int, int]]]:
    """Of each account its (offset on payments.inflight, overdraft limit from there on); refused changes are left out."""
    refused = refused_changes(logs)
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
