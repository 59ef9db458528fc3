"""What the report says, read from the views database by SQL that DuckDB and SQLite both know. Money is integer minor units, times are ms."""

from typing import Any, NamedTuple, Protocol

from payments.views import BOOK_EQUATIONS

BUCKETS = (
    (1_000, "second"),
    (2_000, "2 seconds"),
    (5_000, "5 seconds"),
    (10_000, "10 seconds"),
    (30_000, "30 seconds"),
    (60_000, "minute"),
    (300_000, "5 minutes"),
    (900_000, "15 minutes"),
    (3_600_000, "hour"),
    (4 * 3_600_000, "4 hours"),
    (86_400_000, "day"),
    (7 * 86_400_000, "week"),
    (28 * 86_400_000, "4 weeks"),
    (364 * 86_400_000, "52 weeks"),
)
MAX_BUCKETS = 90  # bars that a phone can still show
TOP = 10


class Connection(Protocol):
    """What duckdb.DuckDBPyConnection and sqlite3.Connection have in common."""

    def execute(self, query: str, parameters: Any = ..., /) -> Any: ...


class StatusTotal(NamedTuple):
    """Payments in one state. `stage` is the one that said so."""

    status: str
    reason: str | None
    stage: str
    count: int


class Trial(NamedTuple):
    """One partition's postings in one currency; total must be 0."""

    currency: str
    shard: int
    accounts: int
    in_transit: int
    outside: int
    total: int


class Bucket(NamedTuple):
    """Payments that came to an end in [start, start + width), by currency."""

    start: int
    currency: str
    confirmed: int
    amount: int
    rejected: int


class InFlight(NamedTuple):
    """Money between two accounts: at the end of the bucket, and the most that there was at any millisecond in it."""

    start: int
    currency: str
    end: int
    end_amount: int
    peak: int
    peak_amount: int


class Latency(NamedTuple):
    """How many confirmed payments took `elapsed_ms` of log time from admission to confirmation, in `hops` hops."""

    elapsed_ms: int
    hops: int
    count: int


class AccountLine(NamedTuple):
    account_id: str
    currency: str
    balance: int
    available: int
    pending: int
    lowest: int | None
    highest: int | None
    average: int | None
    postings: int


class Movement(NamedTuple):
    at: int
    currency: str
    amount: int
    kind: str
    debtor: str | None
    creditor: str | None
    payment_id: str


class DeadLetterGroup(NamedTuple):
    """Dead letters of one code, and the first of them in the order of the log."""

    code: str
    stage: str
    count: int
    detail: str
    topic: str
    shard: int
    position: int
    key: bytes | None
    value: bytes | None


class Check(NamedTuple):
    """An invariant: what it says, and whether it holds."""

    name: str
    holds: bool


class Facts(NamedTuple):
    """Everything on the page."""

    first: int | None
    last: int | None
    bucket_ms: int
    bucket_name: str
    books: dict[str, int]
    checks: list[Check]
    statuses: list[StatusTotal]
    attempts: list[StatusTotal]
    trial: list[Trial]
    buckets: list[Bucket]
    in_flight: list[InFlight]
    latencies: list[Latency]
    balances: dict[str, list[int]]
    accounts: list[AccountLine]
    movements: list[Movement]
    dead_letters: list[DeadLetterGroup]
    minutes: list[tuple[int, str, int, int, int, int]]
    journal_entries: int
    confirmed: int


def bucket_of(span_ms: int) -> tuple[int, str]:
    """The narrowest bucket that cuts a span into at most MAX_BUCKETS."""
    for width, name in BUCKETS:
        if span_ms // width < MAX_BUCKETS:
            return width, name
    return BUCKETS[-1]


def read_facts(db: Connection) -> Facts:
    """All figures of the page."""
    first, last = db.execute("SELECT MIN(admitted_at), MAX(at_ms) FROM payments").fetchone()
    width, name = bucket_of(0 if first is None else last - first)
    trial = [Trial(*row) for row in db.execute("SELECT * FROM trial_balance ORDER BY currency, shard").fetchall()]
    books = _books(db)
    return Facts(
        first,
        last,
        width,
        name,
        books,
        _checks(db, books, trial),
        _status_totals(db, "SELECT status, reason, stage, COUNT(*) FROM payments GROUP BY 1, 2, 3"),
        _status_totals(db, "SELECT status, reason, 'payments.admission', COUNT(*) FROM attempts GROUP BY 1, 2, 3"),
        trial,
        _buckets(db, width),
        _in_flight(db, width),
        [Latency(*row) for row in db.execute(_LATENCY).fetchall()],
        _balances(db),
        _top_accounts(db),
        _movements(db),
        [DeadLetterGroup(*row) for row in db.execute(_DEAD_LETTERS).fetchall()],
        [tuple(row) for row in db.execute(_MINUTES).fetchall()],
        _one(db, "SELECT COUNT(*) FROM journal"),
        _one(db, "SELECT COUNT(*) FROM confirmed"),
    )


def _one(db: Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _books(db: Connection) -> dict[str, int]:
    names = list(dict.fromkeys(name for equation in BOOK_EQUATIONS for name in (equation.left, *equation.parts)))
    row = db.execute(f"SELECT {', '.join(names)} FROM books").fetchone()
    return {name: int(value) for name, value in zip(names, row, strict=True)}


def _checks(db: Connection, books: dict[str, int], trial: list[Trial]) -> list[Check]:
    wrong = "SELECT COUNT(*) FROM accounts WHERE "
    return [
        Check("Every incoming record is accounted for", BOOK_EQUATIONS[0].holds(books)),
        Check("Every admitted payment is accounted for", BOOK_EQUATIONS[1].holds(books)),
        Check("The trial balance is zero in every partition", all(line.total == 0 for line in trial)),
        Check("Every journal adds up to its balance, without a gap", _one(db, wrong + _JOURNAL_IS_WRONG) == 0),
        Check("Published balances agree with the journal", _one(db, wrong + _STATE_IS_WRONG) == 0),
        Check("No account is below its limit", _one(db, wrong + "available < 0 AND overdraft_limit = 0") == 0),
    ]


_JOURNAL_IS_WRONG = (
    "journal_balance <> posted OR entries <> (SELECT COUNT(*) FROM journal j WHERE j.account_id = accounts.account_id)"
)
_STATE_IS_WRONG = "balance <> COALESCE(journal_balance, 0)"


def _status_totals(db: Connection, query: str) -> list[StatusTotal]:
    return sorted(
        (StatusTotal(*row) for row in db.execute(query).fetchall()), key=lambda s: (-s.count, s.status, s.reason or "")
    )


def _buckets(db: Connection, width: int) -> list[Bucket]:
    query = f"""
        SELECT start, currency, SUM(confirmed), SUM(amount), SUM(rejected) FROM (
            SELECT confirmed_at - confirmed_at % {width} AS start, currency, 1 AS confirmed, amount, 0 AS rejected FROM confirmed
            UNION ALL
            SELECT at_ms - at_ms % {width}, currency, 0, 0, 1 FROM payments WHERE status = 'RJCT'
        ) AS ends GROUP BY start, currency ORDER BY start, currency"""
    return [Bucket(*map(_plain, row)) for row in db.execute(query).fetchall()]


def _in_flight(db: Connection, width: int) -> list[InFlight]:
    query = f"""
        WITH changes AS (
            SELECT currency, at_ms, SUM(CASE WHEN leg IN ('DEBIT', 'CAPTURE') THEN 1 ELSE -1 END) AS n,
                   SUM(CASE WHEN leg IN ('DEBIT', 'CAPTURE') THEN amount ELSE -amount END) AS minor
            FROM journal WHERE contra LIKE '~transit/%' GROUP BY currency, at_ms
        ), levels AS (
            SELECT currency, at_ms, at_ms - at_ms % {width} AS start,
                   SUM(n) OVER (PARTITION BY currency ORDER BY at_ms) AS n, SUM(minor) OVER (PARTITION BY currency ORDER BY at_ms) AS minor,
                   ROW_NUMBER() OVER (PARTITION BY currency, at_ms - at_ms % {width} ORDER BY at_ms DESC) AS from_end
            FROM changes
        )
        SELECT start, currency, SUM(CASE WHEN from_end = 1 THEN n END), SUM(CASE WHEN from_end = 1 THEN minor END), MAX(n), MAX(minor)
        FROM levels GROUP BY start, currency ORDER BY start, currency"""
    return [InFlight(*map(_plain, row)) for row in db.execute(query).fetchall()]


def _plain(value: Any) -> Any:
    """DuckDB's sums are HUGEINT, which Python gets as int; its SUM of nothing is a NULL."""
    return value


def _balances(db: Connection) -> dict[str, list[int]]:
    balances: dict[str, list[int]] = {}
    for currency, balance in db.execute("SELECT currency, balance FROM accounts ORDER BY currency, balance").fetchall():
        balances.setdefault(currency, []).append(balance)
    return balances


def _top_accounts(db: Connection) -> list[AccountLine]:
    query = f"""
        SELECT account_id, currency, balance, available, pending, min_balance, max_balance, average_balance, postings FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY balance DESC, account_id) AS place FROM accounts
        ) AS ranked WHERE place <= {TOP} ORDER BY currency, place"""
    return [AccountLine(*row) for row in db.execute(query).fetchall()]


def _movements(db: Connection) -> list[Movement]:
    query = f"""
        SELECT confirmed_at, currency, amount, kind, debtor_account, creditor_account, payment_id FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY amount DESC, confirmed_at, payment_id) AS place FROM confirmed
        ) AS ranked WHERE place <= {TOP} ORDER BY currency, place"""
    return [Movement(*row) for row in db.execute(query).fetchall()]


_LATENCY = "SELECT elapsed_ms, hops, COUNT(*) FROM confirmed GROUP BY elapsed_ms, hops ORDER BY elapsed_ms, hops"
_DEAD_LETTERS = """
    SELECT code, stage, count, detail, topic, shard, position, key, value FROM (
        SELECT *, COUNT(*) OVER (PARTITION BY code, stage) AS count,
               ROW_NUMBER() OVER (PARTITION BY code, stage ORDER BY at_ms, id) AS place FROM dead_letters
    ) AS ranked WHERE place = 1 ORDER BY count DESC, code, stage"""
_MINUTES = """
    SELECT start, currency, confirmed, confirmed_amount, in_flight, in_flight_amount FROM minutes ORDER BY start DESC, currency LIMIT 120"""
