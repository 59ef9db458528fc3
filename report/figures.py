"""The page's figures. Money is integer minor units, times are append times of the log, ms."""

from typing import NamedTuple


class Span(NamedTuple):
    """From the first time to the last; None of nothing."""

    first: int | None
    last: int | None


class StatusTotal(NamedTuple):
    """Payments in one state. `stage` is the one that said so."""

    status: str
    reason: str | None
    detail: str | None
    stage: str
    number: int


class Trial(NamedTuple):
    """All partitions' postings in one currency. total must be 0; `wrong` is the number of partitions in which it is not."""

    currency: str
    accounts: int
    in_transit: int
    outside: int
    total: int
    shards: int
    wrong: int


class Bucket(NamedTuple):
    """Payments that came to an end in [start, start + width), of one currency. rejected: after admission and at it."""

    start: int
    confirmed: int
    amount: int
    rejected: int


class InFlight(NamedTuple):
    """Money between two accounts: at the end of the bucket, and the most that there was at any moment of it."""

    start: int
    end: int
    end_amount: int
    peak: int
    peak_amount: int


class Minute(NamedTuple):
    """The minute in which most money was confirmed."""

    start: int
    confirmed: int
    amount: int


class Latency(NamedTuple):
    """How many confirmed payments took `elapsed_ms` of log time from admission to confirmation, in `hops` hops."""

    elapsed_ms: int
    hops: int
    number: int


class Holding(NamedTuple):
    """What is in an account."""

    balance: int
    account_id: str


class AccountLine(NamedTuple):
    account_id: str
    balance: int
    available: int
    pending: int
    lowest: int | None
    highest: int | None
    average: int | None
    postings: int


class Movement(NamedTuple):
    at: int
    amount: int
    kind: str
    debtor: str | None
    creditor: str | None
    payment_id: str


class DeadLetterGroup(NamedTuple):
    """Dead letters of one code, and the first of them in the order of the log."""

    code: str
    stage: str
    number: int
    detail: str
    topic: str
    shard: int
    position: int
    key: bytes | None
    value: bytes | None


class CurrencyFigures(NamedTuple):
    """What is said of one currency that an account has (a rejected payment may name any other).

    Buckets follow one another without a gap; `in_flight` is empty when nothing ever was.
    """

    currency: str
    confirmed: int
    amount: int
    buckets: list[Bucket]
    in_flight: list[InFlight]
    busiest: Minute | None
    balances: list[Holding]
    accounts: list[AccountLine]
    movements: list[Movement]


class Figures(NamedTuple):
    """Everything on the page but the checks.

    first, last: log time of the first admission and of the last status; currencies: the busiest first.
    """

    first: int | None
    last: int | None
    width: int
    width_name: str
    books: dict[str, int]
    journal_entries: int
    statuses: list[StatusTotal]
    attempts: list[StatusTotal]
    trial: list[Trial]
    latencies: list[Latency]
    currencies: list[CurrencyFigures]
    dead_letters: list[DeadLetterGroup]
