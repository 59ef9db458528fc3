"""What the report says, read from the views database by SQL that DuckDB and SQLite both know."""

from payments.view_tables import BOOK_EQUATIONS, MINUTE_MS
from report.figures import (
    AccountLine,
    Bucket,
    CurrencyFigures,
    DeadLetterGroup,
    Figures,
    Holding,
    InFlight,
    Latency,
    Minute,
    Movement,
    Span,
    StatusTotal,
    Trial,
)
from report.views import Connection, NoViews, query_by_currency, query_lines, query_rows

_BUCKETS_OF_THIS_WORLD = (
    (1_000, "second"),
    (2_000, "2 seconds"),
    (5_000, "5 seconds"),
    (10_000, "10 seconds"),
    (30_000, "30 seconds"),
    (MINUTE_MS, "minute"),
    (300_000, "5 minutes"),
    (900_000, "15 minutes"),
    (3_600_000, "hour"),
    (4 * 3_600_000, "4 hours"),
    (86_400_000, "day"),
    (7 * 86_400_000, "week"),
    (28 * 86_400_000, "4 weeks"),
    (364 * 86_400_000, "52 weeks"),
)
# Times that no payment should have: the widest gives at most MAX_BUCKETS for all that 64 bits can hold.
BUCKETS = _BUCKETS_OF_THIS_WORLD + tuple(
    (364 * factor * 10**power * 86_400_000, f"{52 * factor * 10**power:,} weeks")
    for power in range(7)
    for factor in (2, 5, 10)
)
MAX_BUCKETS = 90  # bars that a phone can still show
TOP = 10


def bucket_of(span_ms: int) -> tuple[int, str]:
    """The narrowest bucket that cuts a span of less than 2^64 ms into at most MAX_BUCKETS."""
    # Both ends may be cut by a border.
    return next((width, name) for width, name in BUCKETS if span_ms // width + 2 <= MAX_BUCKETS)


def read_figures(db: Connection) -> Figures:
    """All figures of the page."""
    first, last = query_lines(db, _FIRST_AND_LAST, Span)[0]
    begin, end = query_lines(db, _ALL_TIMES, Span)[0]
    width, name = bucket_of(0 if begin is None or end is None else end - begin)
    return Figures(
        first,
        last,
        width,
        name,
        read_books(db),
        query_rows(db, "SELECT COUNT(*) FROM journal")[0][0],
        _totals(db, _STATUSES),
        _totals(db, _ATTEMPTS),
        query_lines(db, _TRIAL, Trial),
        query_lines(db, _LATENCY, Latency),
        _currencies(db, width),
        query_lines(db, _DEAD_LETTERS, DeadLetterGroup),
    )


def read_books(db: Connection) -> dict[str, int]:
    """The counts that BOOK_EQUATIONS relate, by name."""
    names = list(dict.fromkeys(name for equation in BOOK_EQUATIONS for name in (equation.left, *equation.parts)))
    rows = query_rows(db, f"SELECT {', '.join(names)} FROM books")
    if len(rows) != 1 or any(type(value) is not int for value in rows[0]):
        raise NoViews("has a view books that is not one row of counts")
    return dict(zip(names, rows[0], strict=True))


def _totals(db: Connection, query: str) -> list[StatusTotal]:
    """Ordered here: the databases disagree where NULL stands."""
    return sorted(
        query_lines(db, query, StatusTotal),
        key=lambda t: (-t.number, t.status, t.reason or "", t.detail or "", t.stage),
    )


def _currencies(db: Connection, width: int) -> list[CurrencyFigures]:
    buckets = query_by_currency(db, _BUCKETS.format(width=width), Bucket)
    in_flight = query_by_currency(db, _IN_FLIGHT.format(width=width), InFlight)
    busiest = query_by_currency(db, _BUSIEST, Minute)
    balances = query_by_currency(db, _BALANCES, Holding)
    accounts = query_by_currency(db, _ACCOUNTS, AccountLine)
    movements = query_by_currency(db, _MOVEMENTS, Movement)
    starts = [line.start for lines in buckets.values() for line in lines]
    starts += [line.start for lines in in_flight.values() for line in lines]
    span = range(min(starts), max(starts) + 1, width) if starts else range(0)
    found = []
    for currency in balances.keys() | in_flight.keys() | movements.keys():
        full = _every_bucket(buckets.get(currency, []), span)
        found.append(
            CurrencyFigures(
                currency,
                sum(bucket.confirmed for bucket in full),
                sum(bucket.amount for bucket in full),
                full,
                _every_level(in_flight.get(currency, []), span),
                next(iter(busiest.get(currency, [])), None),
                balances.get(currency, []),
                accounts.get(currency, []),
                movements.get(currency, []),
            )
        )
    return sorted(found, key=lambda figures: (-figures.confirmed, figures.currency))


def _every_bucket(buckets: list[Bucket], span: range) -> list[Bucket]:
    held = {bucket.start: bucket for bucket in buckets}
    return [held.get(start) or Bucket(start, 0, 0, 0) for start in span]


def _every_level(levels: list[InFlight], span: range) -> list[InFlight]:
    """A level lasts until it changes, so a bucket's most is also what its predecessor left."""
    held = {level.start: level for level in levels}
    full: list[InFlight] = []
    end = end_amount = 0
    for start in span if levels else ():
        level = held.get(start)
        peak, peak_amount = end, end_amount
        if level is not None:
            peak, peak_amount = max(peak, level.peak), max(peak_amount, level.peak_amount)
            end, end_amount = level.end, level.end_amount
        full.append(InFlight(start, end, end_amount, peak, peak_amount))
    return full


_FIRST_AND_LAST = "SELECT MIN(admitted_at), MAX(at_ms) FROM payments"
_ALL_TIMES = """
    SELECT MIN(first), MAX(last) FROM (
        SELECT MIN(admitted_at) AS first, MAX(at_ms) AS last FROM payments
        UNION ALL SELECT MIN(at_ms), MAX(admitted_at) FROM payments
        UNION ALL SELECT MIN(confirmed_at), MAX(confirmed_at) FROM confirmed
        UNION ALL SELECT MIN(at_ms), MAX(at_ms) FROM journal
    ) AS times"""
_STATUSES = """
    SELECT status, reason, CASE WHEN reason = 'NARR' THEN detail END, stage, COUNT(*) FROM payments
    GROUP BY 1, 2, 3, 4"""
_ATTEMPTS = """
    SELECT status, reason, NULL, 'payments.admission', COUNT(*) FROM attempts GROUP BY status, reason"""
_TRIAL = """
    SELECT currency, SUM(accounts), SUM(in_transit), SUM(outside), SUM(total), COUNT(*), SUM(CASE WHEN total = 0 THEN 0 ELSE 1 END)
    FROM trial_balance GROUP BY currency ORDER BY currency"""
_BUCKETS = """
    SELECT currency, start, SUM(confirmed), SUM(amount), SUM(rejected) FROM (
        SELECT confirmed_at - confirmed_at % {width} AS start, currency, 1 AS confirmed, amount, 0 AS rejected FROM confirmed
        UNION ALL
        SELECT at_ms - at_ms % {width}, currency, 0, 0, 1 FROM payments WHERE status = 'RJCT'
    ) AS ends GROUP BY currency, start ORDER BY currency, start"""
_IN_FLIGHT = """
    WITH changes AS (
        SELECT currency, at_ms, SUM(CASE WHEN leg IN ('DEBIT', 'CAPTURE') THEN 1 ELSE -1 END) AS n,
               SUM(CASE WHEN leg IN ('DEBIT', 'CAPTURE') THEN amount ELSE -amount END) AS minor
        FROM journal WHERE contra LIKE '~transit/%' GROUP BY currency, at_ms
    ), levels AS (
        SELECT currency, at_ms - at_ms % {width} AS start,
               SUM(n) OVER (PARTITION BY currency ORDER BY at_ms) AS n, SUM(minor) OVER (PARTITION BY currency ORDER BY at_ms) AS minor,
               ROW_NUMBER() OVER (PARTITION BY currency, at_ms - at_ms % {width} ORDER BY at_ms DESC) AS from_end
        FROM changes
    )
    SELECT currency, start, SUM(CASE WHEN from_end = 1 THEN n END), SUM(CASE WHEN from_end = 1 THEN minor END), MAX(n), MAX(minor)
    FROM levels GROUP BY currency, start ORDER BY currency, start"""
_BUSIEST = """
    SELECT currency, start, confirmed, confirmed_amount FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY confirmed_amount DESC, start) AS place FROM minutes WHERE confirmed > 0
    ) AS ranked WHERE place = 1 ORDER BY currency"""
_BALANCES = "SELECT currency, balance, account_id FROM accounts ORDER BY currency, balance, account_id"
_ACCOUNTS = f"""
    SELECT currency, account_id, balance, available, pending, min_balance, max_balance, average_balance, postings FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY balance DESC, account_id) AS place FROM accounts
    ) AS ranked WHERE place <= {TOP} ORDER BY currency, place"""
_MOVEMENTS = f"""
    SELECT currency, confirmed_at, amount, kind, debtor_account, creditor_account, payment_id FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY amount DESC, confirmed_at, payment_id) AS place FROM confirmed
    ) AS ranked WHERE place <= {TOP} ORDER BY currency, place"""
_LATENCY = "SELECT elapsed_ms, hops, COUNT(*) FROM confirmed GROUP BY elapsed_ms, hops ORDER BY elapsed_ms, hops"
_DEAD_LETTERS = """
    SELECT code, stage, number, detail, topic, shard, position, key, value FROM (
        SELECT *, COUNT(*) OVER (PARTITION BY code, stage) AS number,
               ROW_NUMBER() OVER (PARTITION BY code, stage ORDER BY at_ms, id) AS place FROM dead_letters
    ) AS ranked WHERE place = 1 ORDER BY number DESC, code, stage"""
