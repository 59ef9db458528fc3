"""Payment views as pure rules: what a row of each table is, and what the tables say together (P6, P7).

Rows are tuples in the order of their table's columns; money is integer minor units; times are append times of the log, ms. A row can be
computed again at any time and gives the same tuple, so upserts by key and version are idempotent.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from schemas.payments import AccountBalance, LedgerEntry, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter
from transforms.tables import Row, Table, columns

MINUTE_MS = 60_000
DAY_MS = 86_400_000

JOURNAL = Table(
    "journal",
    columns(
        "account_id TEXT, version BIGINT, payment_id TEXT, leg TEXT, contra TEXT, currency TEXT, amount BIGINT, balance BIGINT, "
        "available BIGINT, pending BIGINT, contra_balance BIGINT, at_ms BIGINT, shard BIGINT, position BIGINT"
    ),
    ("account_id", "version"),
)
ACCOUNTS = Table(
    "accounts",
    columns(
        "account_id TEXT, shard BIGINT, currency TEXT, balance BIGINT, available BIGINT, pending BIGINT, debits_posted BIGINT, "
        "credits_posted BIGINT, overdraft_limit BIGINT, daily_limit BIGINT, one_in_flight BOOLEAN, closed BOOLEAN, frozen BOOLEAN, "
        "min_balance BIGINT, max_balance BIGINT, balance_sum BIGINT, postings BIGINT, average_balance BIGINT, entries BIGINT, "
        "posted BIGINT, journal_balance BIGINT, last_payment_id TEXT, last_payment_at BIGINT, revision BIGINT, as_of BIGINT"
    ),
    ("account_id",),
    "revision",
)
CONTRA = Table(
    "contra",
    columns("name TEXT, side TEXT, shard BIGINT, currency TEXT, balance BIGINT, position BIGINT"),
    ("name",),
    "position",
)
_STATUS = (
    "payment_id TEXT, admitted_at BIGINT, kind TEXT, status TEXT, reason TEXT, detail TEXT, reference TEXT, currency TEXT, amount BIGINT, "
    "stage TEXT, terminal BOOLEAN, at_ms BIGINT, elapsed_ms BIGINT"
)
PAYMENTS = Table("payments", columns(_STATUS + ", hop BIGINT"), ("payment_id", "admitted_at"), "hop")
ATTEMPTS = Table(
    "attempts",
    columns(
        "shard BIGINT, position BIGINT, payment_id TEXT, status TEXT, reason TEXT, original TEXT, currency TEXT, amount BIGINT, at_ms BIGINT"
    ),
    ("shard", "position"),
)
CONFIRMED = Table(
    "confirmed",
    columns(
        "payment_id TEXT, admitted_at BIGINT, kind TEXT, debtor_account TEXT, creditor_account TEXT, currency TEXT, amount BIGINT, "
        "reference TEXT, confirmed_at BIGINT, elapsed_ms BIGINT, hops BIGINT"
    ),
    ("payment_id", "admitted_at"),
)
DEAD_LETTERS = Table(
    "dead_letters",
    columns(
        "id TEXT, stage TEXT, topic TEXT, shard BIGINT, position BIGINT, at_ms BIGINT, code TEXT, detail TEXT, attempt BIGINT, key BLOB, value BLOB"
    ),
    ("id",),
)
COUNTS = Table(
    "counts",
    columns(
        "stage TEXT, attempt BOOLEAN, kind TEXT, status TEXT, reason TEXT, currency TEXT, count BIGINT, amount BIGINT"
    ),
    ("stage", "attempt", "kind", "status", "reason", "currency"),
)
INCOMING = Table("incoming", columns("shard BIGINT, records BIGINT"), ("shard",), "records")

FLOWS = ("admitted", "confirmed", "rejected", "departed", "arrived")
_FLOW_COLUMNS = (
    ", ".join(f"{flow} BIGINT, {flow}_amount BIGINT" for flow in FLOWS) + ", in_flight BIGINT, in_flight_amount BIGINT"
)
MINUTES = Table("minutes", columns(f"start BIGINT, currency TEXT, {_FLOW_COLUMNS}"), ("start", "currency"))
DAYS = Table("days", MINUTES.columns, ("start", "currency"))

TABLES = (JOURNAL, ACCOUNTS, CONTRA, PAYMENTS, ATTEMPTS, CONFIRMED, DEAD_LETTERS, COUNTS, INCOMING, MINUTES, DAYS)


# --- rows of single records ---


def journal_row(shard: int, position: int, entry: LedgerEntry) -> Row:
    """A line of the journal as it stands at `position` of partition `shard` of payments.journal."""
    account, version, payment, leg, contra, (minor, currency), balance, available, pending, contra_balance, at = entry
    return (
        *(account, version, payment, leg, contra, currency, minor, balance, available, pending, contra_balance, at),
        *(shard, position),
    )


def payment_row(status: PaymentStatus) -> Row:
    """A state of a payment. Its key has the time of admission, because an id may be used again once it has been forgotten."""
    minor, currency = status.amount
    return (
        *(status.payment_id, status.at - status.elapsed_ms, status.kind, status.status, status.reason, status.detail),
        *(status.reference, currency, minor, status.stage, status.terminal, status.at, status.elapsed_ms, status.hop),
    )


def attempt_row(shard: int, position: int, status: PaymentStatus) -> Row:
    """A repeated attempt at an id: it never changes the payment's own row."""
    minor, currency = status.amount
    return shard, position, status.payment_id, status.status, status.reason, status.original, currency, minor, status.at


def confirmed_row(payment: PaymentConfirmed) -> Row:
    minor, currency = payment.amount
    return (
        *(
            payment.payment_id,
            payment.admitted_at,
            payment.kind,
            payment.debtor_account,
            payment.creditor_account,
            currency,
            minor,
        ),
        *(payment.reference, payment.confirmed_at, payment.confirmed_at - payment.admitted_at, len(payment.hop_ms)),
    )


def dead_letter_row(letter: DeadLetter) -> Row:
    return (
        *(
            letter.id,
            letter.stage,
            letter.topic,
            letter.partition,
            letter.offset,
            letter.at,
            letter.code,
            letter.detail,
        ),
        *(letter.attempt, letter.key, letter.value),
    )


def newest_payments(statuses: Iterable[PaymentStatus]) -> list[Row]:
    """The payments' own states: of each (payment, admission) the status of the highest hop, whatever the order of arrival."""
    best: dict[tuple[str, int], Row] = {}
    for status in statuses:
        if not status.attempt:
            row = payment_row(status)
            held = best.get(row[:2])
            if held is None or row[-1] > held[-1]:
                best[row[:2]] = row
    return list(best.values())


# --- sums: each is a dict of partial results that can be added up in any order ---

CountKey = tuple[str, bool, str, str, str, str]
Pair = tuple[int, int]


def add_pairs(pairs: Iterable[Pair]) -> Pair:
    """(count, amount) summed up."""
    count = amount = 0
    for n, minor in pairs:
        count += n
        amount += minor
    return count, amount


def count_statuses(statuses: Iterable[PaymentStatus]) -> dict[CountKey, Pair]:
    """How often each kind of status was said, and of how much money: (stage, attempt, kind, status, reason, currency) → (count, amount)."""
    counts: dict[CountKey, Pair] = {}
    for s in statuses:
        key = (s.stage, s.attempt, s.kind, s.status, s.reason or "", s.amount.currency)
        count, amount = counts.get(key, (0, 0))
        counts[key] = count + 1, amount + s.amount.minor
    return counts


class Flow(NamedTuple):
    """Something that happened to money: one of FLOWS, in a currency, at a time, minor units."""

    flow: str
    currency: str
    at: int
    minor: int


def status_flows(statuses: Iterable[PaymentStatus]) -> list[Flow]:
    """admitted: said ACTC by admission. rejected: said RJCT of the payment itself, at admission or after it."""
    names = {"ACTC": "admitted", "RJCT": "rejected"}
    return [
        Flow(names[s.status], s.amount.currency, s.at, s.amount.minor)
        for s in statuses
        if s.status in names and not s.attempt
    ]


def confirmed_flows(payments: Iterable[PaymentConfirmed]) -> list[Flow]:
    return [Flow("confirmed", p.amount.currency, p.confirmed_at, p.amount.minor) for p in payments]


def journal_flows(entries: Iterable[LedgerEntry]) -> list[Flow]:
    """departed: left its debtor for the way to a creditor (contra account in transit). arrived: at the creditor, or unwound to the debtor."""
    flows = []
    for e in entries:
        if e.contra is not None and e.contra.startswith("~transit/"):
            flow = "departed" if e.leg in ("DEBIT", "CAPTURE") else "arrived"
            flows.append(Flow(flow, e.amount.currency, e.at, e.amount.minor))
    return flows


FlowKey = tuple[str, int, str]


def sum_flows(flows: Iterable[Flow], window_ms: int) -> dict[FlowKey, Pair]:
    """Flows per window: (currency, start of the window, flow) → (count, amount). A window holds start <= at < start + window_ms."""
    sums: dict[FlowKey, Pair] = {}
    for flow, currency, at, minor in flows:
        key = currency, at - at % window_ms, flow
        count, amount = sums.get(key, (0, 0))
        sums[key] = count + 1, amount + minor
    return sums


def flow_rows(currency: str, sums: Iterable[tuple[int, str, int, int]]) -> list[Row]:
    """Rows of MINUTES or DAYS of one currency, from all its (start, flow, count, amount), each (start, flow) once.

    In flight at the end of a window = all that departed up to then − all that arrived: the sum of the in-transit accounts of all shards
    at that cut by the log's clock. A window in which nothing happened has no row: what was in flight before it still is.
    """
    windows: dict[int, dict[str, Pair]] = {}
    for start, flow, count, amount in sums:
        windows.setdefault(start, {})[flow] = count, amount
    rows: list[Row] = []
    in_flight = in_flight_amount = 0
    for start, found in sorted(windows.items()):
        pairs = [found.get(flow, (0, 0)) for flow in FLOWS]
        departed, arrived = found.get("departed", (0, 0)), found.get("arrived", (0, 0))
        in_flight += departed[0] - arrived[0]
        in_flight_amount += departed[1] - arrived[1]
        rows.append((start, currency, *(n for pair in pairs for n in pair), in_flight, in_flight_amount))
    return rows


# --- accounts ---


class Summary(NamedTuple):
    """What a part of an account's journal says. Statistics are over its postings: entries that change the balance, so not holds and releases.

    postings, total: number and sum of the balances after each posting; entries: lines, holds and releases too; posted: sum of the signed
    amounts; version .. at: of the newest line.
    """

    postings: int
    lowest: int
    highest: int
    total: int
    entries: int
    posted: int
    version: int
    balance: int
    available: int
    pending: int
    payment_id: str
    at: int
    currency: str
    shard: int


_SIGN = {"CREDIT": 1, "UNWIND": 1, "DEBIT": -1, "CAPTURE": -1}


def summarize(shard: int, entries: Iterable[LedgerEntry]) -> dict[str, Summary]:
    """Summaries of the accounts in a run of journal entries, which are in order per account."""
    sums: dict[str, list[int]] = {}
    newest: dict[str, LedgerEntry] = {}
    for entry in entries:
        account, sign, balance = entry.account_id, _SIGN.get(entry.leg), entry.balance
        held = sums.get(account)
        if held is None:
            held = sums[account] = [0, balance, balance, 0, 0, 0]
        newest[account] = entry
        held[4] += 1
        if sign is not None:
            if held[0] == 0:
                held[1] = held[2] = balance
            elif balance < held[1]:
                held[1] = balance
            elif balance > held[2]:
                held[2] = balance
            held[0] += 1
            held[3] += balance
            held[5] += sign * entry.amount.minor
    return {
        account: Summary(
            *sums[account],
            *(e.version, e.balance, e.available, e.pending, e.payment_id, e.at, e.amount.currency, shard),
        )
        for account, e in newest.items()
    }


def merge_summaries(parts: Sequence[Summary]) -> Summary:
    """One summary of several parts of one account's journal, in any order; there must be at least one."""
    newest = max(parts, key=lambda part: part.version)
    posted = [part for part in parts if part.postings]
    return newest._replace(
        postings=sum(part.postings for part in posted),
        lowest=min((part.lowest for part in posted), default=newest.lowest),
        highest=max((part.highest for part in posted), default=newest.highest),
        total=sum(part.total for part in posted),
        entries=sum(part.entries for part in parts),
        posted=sum(part.posted for part in posted),
    )


def average(total: int, count: int) -> int | None:
    """total / count in whole minor units, exact halves to the even one; None of nothing. Integers all the way."""
    if count == 0:
        return None
    quotient, rest = divmod(total, count)
    return quotient + (2 * rest > count or (2 * rest == count and quotient % 2 == 1))


def account_row(account_id: str, shard: int, state: AccountBalance | None, journal: Summary | None) -> Row:
    """An account, of its newest published state and of its whole journal; one of them may be missing (no entry yet; not published yet)."""
    some = journal is not None and journal.postings > 0
    assert state is not None or journal is not None
    if state is None:
        assert journal is not None
        held = (
            journal.currency,
            journal.balance,
            journal.available,
            journal.pending,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
        )
    else:
        held = (
            *(
                state.currency,
                state.balance,
                state.available,
                state.debits_pending,
                state.debits_posted,
                state.credits_posted,
            ),
            *(state.overdraft_limit, state.daily_limit, state.one_in_flight, state.closed, state.frozen),
        )
    if journal is None:
        said: Row = (None, None, 0, 0, None, 0, 0, 0, None, None)
    else:
        said = (
            *((journal.lowest, journal.highest) if some else (None, None)),
            *(
                journal.total,
                journal.postings,
                average(journal.total, journal.postings),
                journal.entries,
                journal.posted,
            ),
            *(journal.balance, journal.payment_id, journal.at),
        )
    revision, as_of = (0, journal.at if journal else 0) if state is None else (state.revision, state.as_of)
    return account_id, shard, *held, *said, revision, as_of


def contra_rows(shard: int, entries: Iterable[tuple[int, LedgerEntry]]) -> list[Row]:
    """The newest balance of each contra account among (position, entry) pairs of one partition, in order."""
    newest: dict[str, Row] = {}
    for position, entry in entries:
        if entry.contra is not None:
            side = entry.contra[1:].split("/", 1)[0]
            newest[entry.contra] = entry.contra, side, shard, entry.amount.currency, entry.contra_balance, position
    return list(newest.values())


# --- what the tables say together, in SQL that both DuckDB and SQLite know ---

TRIAL_BALANCE = """
SELECT currency, shard, SUM(accounts) AS accounts, SUM(in_transit) AS in_transit, SUM(outside) AS outside,
       SUM(accounts) + SUM(in_transit) + SUM(outside) AS total
FROM (
    SELECT currency, shard, COALESCE(journal_balance, 0) AS accounts, 0 AS in_transit, 0 AS outside FROM accounts
    UNION ALL
    SELECT currency, shard, 0, CASE WHEN side = 'transit' THEN balance ELSE 0 END, CASE WHEN side = 'outside' THEN balance ELSE 0 END
    FROM contra
) AS postings
GROUP BY currency, shard
"""
"""Per currency and partition: accounts + in transit + outside = 0, the accounts by their own side of each pair and the others by theirs."""

BOOKS = """
SELECT
    (SELECT COALESCE(SUM(records), 0) FROM incoming) AS incoming,
    (SELECT COALESCE(SUM(count), 0) FROM counts WHERE stage = 'payments.admission' AND NOT attempt AND status = 'ACTC') AS admitted,
    (SELECT COALESCE(SUM(count), 0) FROM counts WHERE stage = 'payments.admission' AND NOT attempt AND status = 'RJCT')
        AS rejected_at_admission,
    (SELECT COUNT(*) FROM attempts) AS duplicates,
    (SELECT COUNT(*) FROM dead_letters WHERE stage = 'payments.admission') AS dead_letters,
    (SELECT COUNT(*) FROM payments WHERE status = 'ACCC') AS confirmed,
    (SELECT COUNT(*) FROM payments WHERE status = 'RJCT' AND stage <> 'payments.admission') AS rejected_after_admission,
    (SELECT COUNT(*) FROM payments WHERE status = 'CANC') AS cancelled,
    (SELECT COUNT(*) FROM payments WHERE status = 'PDNG') AS open_holds,
    (SELECT COUNT(*) FROM payments WHERE status IN ('RCVD', 'ACTC', 'ACSP')) AS in_flight
"""
"""One row; the two equations are `book_equations`."""

DERIVED = {"trial_balance": TRIAL_BALANCE, "books": BOOKS}
"""SQL views by name."""


class Equation(NamedTuple):
    """left = the sum of the parts."""

    left: str
    parts: tuple[str, ...]

    def holds(self, books: dict[str, int]) -> bool:
        return books[self.left] == sum(books[part] for part in self.parts)


BOOK_EQUATIONS = (
    Equation("incoming", ("admitted", "rejected_at_admission", "duplicates", "dead_letters")),
    Equation("admitted", ("confirmed", "rejected_after_admission", "cancelled", "open_holds", "in_flight")),
)
"""The two equations of docs/pipelines/payments.md. The first is between topics, the second between the statuses said and the states reached."""

BALANCE_AT = """
SELECT version, balance, available, pending, currency, at_ms, payment_id FROM journal
WHERE account_id = ? AND at_ms <= ? ORDER BY version DESC LIMIT 1
"""
"""Parameters: account, time (ms). The account's last journal entry up to that time, if there is one."""
