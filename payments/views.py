"""Payment views as pure rules: the rows that one partition of the payment topics makes (P6, P7).

A view is a plain class that is given the records of its topics' partition in order and gives rows of tables of `payments.view_tables`. The
rows depend on that partition alone and come out the same at every attempt, so upserting them by key and version is idempotent.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from payments import topics
from payments.admission import MAX_MINOR
from payments.view_tables import (
    ACCOUNTS,
    ATTEMPTS,
    CONFIRMED,
    CONTRA,
    DEAD_LETTERS,
    FLOWS,
    INCOMING,
    JOURNAL,
    MINUTE_MS,
    OVERDUE,
    PAYMENTS,
    STATUS_COUNTS,
)
from schemas.payments import AccountBalance, LedgerEntry, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter
from transforms import fold
from transforms.tables import Row, Table

Events = Sequence[tuple[int, Any]]
"""(position, event) of consecutive records of one partition."""

Rows = tuple[Table, list[Row]]


class View:
    """Base of the views of one partition. `add` gives the rows that are ready, `finish` the rest; the topics are read one after another."""

    topics: tuple[str, ...]
    decodes = True

    def __init__(self, shard: int) -> None:
        self.shard = shard

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        raise NotImplementedError

    def finish(self) -> Iterator[Rows]:
        return iter(())


class AccountView(View):
    """Accounts: the journal line by line, each account's state and statistics, contra accounts, and money that departed and arrived."""

    topics = (topics.JOURNAL.name, topics.BALANCES.name)

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self._journals: dict[str, Statistics] = {}
        self._states: dict[str, AccountBalance] = {}
        self._contra: dict[str, Row] = {}
        self._flows = Flows(shard, topics.JOURNAL.name)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        if topic == topics.BALANCES.name:
            for _, state in events:
                held = self._states.get(state.account_id)
                if held is None or held.revision < state.revision:
                    self._states[state.account_id] = state
            return
        shard = self.shard
        yield JOURNAL, [journal_row(shard, position, entry) for position, entry in events]
        for position, entry in events:
            statistics = self._journals.get(entry.account_id)
            if statistics is None:
                statistics = self._journals[entry.account_id] = Statistics()
            statistics.add(entry)
            contra = entry.contra
            if contra is not None:
                side = contra[1:].split("/", 1)[0]
                self._contra[contra] = contra, side, shard, entry.amount.currency, entry.contra_balance, position
                if side == "transit":
                    flow = "departed" if entry.leg in ("DEBIT", "CAPTURE") else "arrived"
                    self._flows.add(position, flow, entry.amount.currency, entry.at, entry.amount.minor)

    def finish(self) -> Iterator[Rows]:
        states, journals = self._states, self._journals
        accounts = sorted(journals.keys() | states.keys())
        yield ACCOUNTS, [account_row(a, self.shard, states.get(a), journals.get(a)) for a in accounts]
        yield CONTRA, [row for _, row in sorted(self._contra.items())]
        yield self._flows.rows()


class StatusView(View):
    """Payments: each one's own state, the repeated attempts at an id, how often each status was said, and what was admitted and rejected.

    A payment's own state is the status of its highest hop, whatever the order of arrival.
    """

    topics = (topics.STATUS.name,)

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self._payments: dict[tuple[str, int], Row] = {}
        self._counts: dict[tuple[str, bool, str, str, str, str], tuple[int, int, int]] = {}
        self._flows = Flows(shard, topics.STATUS.name)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        attempts = []
        for position, status in events:
            if not isinstance(status, PaymentStatus):  # a tick
                continue
            minor, currency = status.amount
            if not 0 <= minor <= MAX_MINOR:
                minor = 0  # refused for its amount: no money
            key = (status.stage, status.attempt, status.kind, status.status, status.reason or "", currency)
            count, amount, _ = self._counts.get(key, (0, 0, 0))
            self._counts[key] = count + 1, amount + minor, position
            if status.attempt:
                attempts.append(attempt_row(self.shard, position, status))
                continue
            row = payment_row(status)
            held = self._payments.get(row[:2])
            if held is None or row[-1] > held[-1]:
                self._payments[row[:2]] = row
            if status.status in ("ACTC", "RJCT"):
                flow = "admitted" if status.status == "ACTC" else "rejected"
                self._flows.add(position, flow, currency, status.at, minor)
        yield ATTEMPTS, attempts

    def finish(self) -> Iterator[Rows]:
        yield PAYMENTS, [row for _, row in sorted(self._payments.items())]
        yield STATUS_COUNTS, [(self.shard, *key, *counted) for key, counted in sorted(self._counts.items())]
        yield self._flows.rows()


class ConfirmedView(View):
    """Confirmed payments, line by line, and their money."""

    topics = (topics.CONFIRMED.name,)

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self._flows = Flows(shard, topics.CONFIRMED.name)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield CONFIRMED, [confirmed_row(payment) for _, payment in events]
        for position, payment in events:
            self._flows.add(position, "confirmed", payment.amount.currency, payment.confirmed_at, payment.amount.minor)

    def finish(self) -> Iterator[Rows]:
        yield self._flows.rows()


class DeadLetterView(View):
    """Dead letters, line by line."""

    topics = (fold.DEAD_LETTERS.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield DEAD_LETTERS, [dead_letter_row(letter) for _, letter in events]


class OverdueView(View):
    """What the watchdog has reported."""

    topics = (topics.OVERDUE.name,)

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        yield OVERDUE, [(event.payment_id, event.since, event.status, event.sla_ms, event.at) for _, event in events]


class IncomingView(View):
    """How many records clients have sent. It does not look into them, for anything may stand there."""

    topics = (topics.INCOMING.name,)
    decodes = False

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self._records = 0

    def add(self, topic: str, events: Events) -> Iterator[Rows]:
        self._records += len(events)
        return iter(())

    def finish(self) -> Iterator[Rows]:
        yield INCOMING, [(self.shard, self._records)]


VIEWS: tuple[type[View], ...] = (AccountView, StatusView, ConfirmedView, DeadLetterView, OverdueView, IncomingView)


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


# --- money per minute ---


class Flows:
    """Money that flows per minute and currency, in one partition of a topic."""

    def __init__(self, shard: int, topic: str) -> None:
        self._shard, self._topic = shard, topic
        self._sums: dict[tuple[int, str, str], tuple[int, int, int]] = {}

    def add(self, position: int, flow: str, currency: str, at: int, minor: int) -> None:
        key = at - at % MINUTE_MS, currency, flow
        count, amount, _ = self._sums.get(key, (0, 0, 0))
        self._sums[key] = count + 1, amount + minor, position

    def rows(self) -> Rows:
        return FLOWS, [(self._shard, self._topic, *key, *sums) for key, sums in sorted(self._sums.items())]


# --- accounts ---


_SIGN = {"CREDIT": 1, "UNWIND": 1, "DEBIT": -1, "CAPTURE": -1}


class Statistics:
    """What an account's journal says. They are over its postings: entries that change the balance, so not holds and releases.

    postings, total: number and sum of the balances after each posting; lowest, highest: of these; entries: lines, holds and releases
    too; posted: sum of the signed amounts; newest: the last line.
    """

    __slots__ = ("entries", "highest", "lowest", "newest", "posted", "postings", "total")

    def __init__(self) -> None:
        self.postings = self.total = self.entries = self.posted = 0
        self.lowest: int | None = None
        self.highest: int | None = None
        self.newest: LedgerEntry

    def add(self, entry: LedgerEntry) -> None:
        self.newest = entry
        self.entries += 1
        sign = _SIGN.get(entry.leg)
        if sign is None:
            return
        balance = entry.balance
        if self.lowest is None or balance < self.lowest:
            self.lowest = balance
        if self.highest is None or balance > self.highest:
            self.highest = balance
        self.postings += 1
        self.total += balance
        self.posted += sign * entry.amount.minor


def average(total: int, count: int) -> int | None:
    """total / count in whole minor units, exact halves to the even one; None of nothing. Integers all the way."""
    if count == 0:
        return None
    quotient, rest = divmod(total, count)
    return quotient + (2 * rest > count or (2 * rest == count and quotient % 2 == 1))


def account_row(account_id: str, shard: int, state: AccountBalance | None, journal: Statistics | None) -> Row:
    """An account, of its newest published state and of its whole journal; one of them may be missing (no entry yet; not published yet)."""
    held: Row
    said: Row
    if journal is None:
        said, as_of = (None, None, 0, 0, None, 0, 0, 0, None, None), 0
    else:
        newest, as_of = journal.newest, journal.newest.at
        said = (
            *(
                journal.lowest,
                journal.highest,
                journal.total,
                journal.postings,
                average(journal.total, journal.postings),
            ),
            *(journal.entries, journal.posted, newest.balance, newest.payment_id, newest.at),
        )
    if state is not None:
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
        return account_id, shard, *held, *said, state.revision, state.as_of
    assert journal is not None  # one of them is there
    held = (newest.amount.currency, newest.balance, newest.available, newest.pending, *(None,) * 7)
    return account_id, shard, *held, *said, 0, as_of
