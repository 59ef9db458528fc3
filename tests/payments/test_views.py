"""The views: rows of single records, sums of a partition, and what the tables say together in SQL."""

import sqlite3
from typing import Any

import pytest

from payments import topics, views
from payments.admission import MAX_MINOR
from payments.view_tables import (
    ACCOUNTS,
    ATTEMPTS,
    BALANCE_AT,
    BOOK_EQUATIONS,
    CONFIRMED,
    CONTRA,
    DEAD_LETTERS,
    DERIVED,
    FLOWS,
    INCOMING,
    JOURNAL,
    MINUTE_MS,
    PAYMENTS,
    STATUS_COUNTS,
    TABLES,
)
from payments.views import (
    VIEWS,
    AccountView,
    ConfirmedView,
    DeadLetterView,
    IncomingView,
    OverdueView,
    StatusView,
    View,
    average,
)
from schemas.payments import AccountBalance, LedgerEntry, Money, PaymentConfirmed, PaymentOverdue, PaymentStatus
from schemas.rails import DeadLetter, Header, Tick
from tests.payments.world import START, World, limited, opened, payment
from transforms.topic_settings import DAY_MS


def entry(account="a", version=1, what="CREDIT", minor=100, balance=100, at=0, contra="~transit/3/EUR", **fields: Any):
    values = {"available": balance, "pending": 0, "contra_balance": -balance, "payment_id": f"p{version}", **fields}
    return LedgerEntry(
        account_id=account,
        version=version,
        leg=what,
        contra=contra,
        amount=Money(minor, "EUR"),
        balance=balance,
        at=at,
        **values,
    )


def state(account="a", revision=1, **fields: Any):
    values = {
        "currency": "EUR",
        "debits_pending": 1,
        "debits_posted": 2,
        "credits_posted": 3,
        "overdraft_limit": 4,
        "daily_limit": 5,
        "one_in_flight": True,
        "closed": False,
        "frozen": True,
        "balance": 6,
        "available": 7,
        "version": 8,
        "last_payment_id": "last",
        "as_of": 9,
        **fields,
    }
    return AccountBalance(account_id=account, revision=revision, **values)


def status(payment_id="p", what="ACTC", hop=0, at=10, elapsed=3, minor=5, **fields: Any):
    values = {
        "kind": "TRANSFER",
        "reason": None,
        "detail": None,
        "reference": None,
        "original": None,
        "stage": "payments.admission",
        "attempt": False,
        "terminal": False,
        **fields,
    }
    return PaymentStatus(
        payment_id=payment_id, status=what, hop=hop, at=at, elapsed_ms=elapsed, amount=Money(minor, "EUR"), **values
    )


def made(view: View, *parts: tuple[str, list[tuple[int, Any]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows by table; each as long as its table has columns, and no key twice in one go."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for table, found in [*(pair for topic, events in parts for pair in view.add(topic, events)), *view.finish()]:
        assert all(len(row) == len(table.names) for row in found)
        keys = [tuple(row[table.names.index(name)] for name in table.key) for row in found]
        assert len(keys) == len(set(keys))
        rows.setdefault(table.name, []).extend(found)
    return rows


def named(table: Any, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(table.names, row, strict=True))


# --- accounts ---


def test_a_line_of_the_journal():
    line = entry("a", 3, "DEBIT", 7, 93, 11, available=90, pending=3, contra_balance=8, payment_id="pay")
    rows = made(AccountView(3), (JOURNAL_TOPIC, [(41, line)]))
    assert named(JOURNAL, rows["journal"][0]) == {
        "account_id": "a",
        "version": 3,
        "payment_id": "pay",
        "leg": "DEBIT",
        "contra": "~transit/3/EUR",
        "currency": "EUR",
        "amount": 7,
        "balance": 93,
        "available": 90,
        "pending": 3,
        "contra_balance": 8,
        "at_ms": 11,
        "shard": 3,
        "position": 41,
    }


JOURNAL_TOPIC, BALANCES_TOPIC = topics.JOURNAL.name, topics.BALANCES.name


def test_an_account_has_its_state_and_statistics_of_its_postings():
    lines = [
        entry("a", 1, "CREDIT", 100, 100, 1),
        entry("a", 2, "HOLD", 30, 100, 2, contra=None, pending=30, available=70, contra_balance=0),
        entry("a", 3, "DEBIT", 120, -20, 3),
        entry("a", 4, "UNWIND", 120, 100, 4),
        entry("a", 5, "CAPTURE", 10, 90, 5),
        entry("a", 6, "RELEASE", 20, 90, 6, contra=None, contra_balance=0),
    ]
    rows = made(
        AccountView(3),
        (JOURNAL_TOPIC, list(enumerate(lines[:3]))),
        (JOURNAL_TOPIC, list(enumerate(lines[3:], 3))),
        (BALANCES_TOPIC, [(0, state(revision=4, balance=60)), (1, state(revision=7)), (2, state(revision=5))]),
    )
    (row,) = rows["accounts"]
    assert named(ACCOUNTS, row) == {
        "account_id": "a",
        "shard": 3,
        "currency": "EUR",
        "balance": 6,
        "available": 7,
        "pending": 1,
        "debits_posted": 2,
        "credits_posted": 3,
        "overdraft_limit": 4,
        "daily_limit": 5,
        "one_in_flight": True,
        "closed": False,
        "frozen": True,
        "min_balance": -20,
        "max_balance": 100,
        "balance_sum": 270,
        "postings": 4,
        "average_balance": 68,
        "entries": 6,
        "posted": 90,
        "journal_balance": 90,
        "last_payment_id": "p6",
        "last_payment_at": 6,
        "revision": 7,
        "as_of": 9,
    }
    assert len(rows["journal"]) == 6


def test_an_account_without_entries_and_one_that_is_not_published_yet():
    rows = made(
        AccountView(3),
        (JOURNAL_TOPIC, [(0, entry("b", 1, "HOLD", 5, 0, 8, contra=None, pending=5, available=-5))]),
        (BALANCES_TOPIC, [(0, state())]),
    )
    a, b = (named(ACCOUNTS, row) for row in rows["accounts"])
    assert (a["account_id"], a["balance"], a["revision"], a["as_of"]) == ("a", 6, 1, 9)
    assert [
        a[name] for name in ("min_balance", "max_balance", "average_balance", "last_payment_id", "last_payment_at")
    ] == [None] * 5
    assert [a[name] for name in ("balance_sum", "postings", "entries", "posted", "journal_balance")] == [0] * 5
    assert (b["currency"], b["balance"], b["available"], b["pending"]) == ("EUR", 0, -5, 5)
    assert [
        b[n]
        for n in (
            "debits_posted",
            "credits_posted",
            "overdraft_limit",
            "daily_limit",
            "one_in_flight",
            "closed",
            "frozen",
        )
    ] == [None] * 7
    assert (b["entries"], b["postings"], b["min_balance"], b["revision"], b["as_of"]) == (1, 0, None, 0, 8)
    assert (b["last_payment_id"], b["last_payment_at"]) == ("p1", 8)


def test_contra_accounts_have_their_newest_balance():
    lines = [
        entry(contra="~transit/3/EUR", contra_balance=-1),
        entry(version=2, contra="~outside/3/EUR", contra_balance=-2),
        entry(version=3, contra="~transit/3/EUR", contra_balance=-3),
        entry(version=4, what="HOLD", contra=None),
    ]
    rows = made(AccountView(3), (JOURNAL_TOPIC, list(enumerate(lines, 10))))
    assert rows["contra"] == [
        ("~outside/3/EUR", "outside", 3, "EUR", -2, 11),
        ("~transit/3/EUR", "transit", 3, "EUR", -3, 12),
    ]
    assert CONTRA.names == ("name", "side", "shard", "currency", "balance", "position")


def test_money_departs_and_arrives_by_the_minute():
    lines = [
        entry(version=1, what="DEBIT", minor=1, at=0),
        entry(version=2, what="CAPTURE", minor=2, at=59_999),
        entry(version=3, what="CREDIT", minor=4, at=59_999),
        entry(version=4, what="UNWIND", minor=8, at=60_000),
        entry(version=5, what="CREDIT", minor=16, at=60_000, contra="~outside/3/EUR"),
        entry(version=6, what="HOLD", minor=32, at=60_000, contra=None),
    ]
    rows = made(AccountView(3), (JOURNAL_TOPIC, list(enumerate(lines))))
    assert rows["flows"] == [
        (3, "payments.journal", 0, "EUR", "arrived", 1, 4, 2),
        (3, "payments.journal", 0, "EUR", "departed", 2, 3, 1),
        (3, "payments.journal", 60_000, "EUR", "arrived", 1, 8, 3),
    ]
    assert FLOWS.version == "position"


# --- payments ---


def test_a_payments_state_is_that_of_the_highest_hop_whatever_the_order():
    said = [
        status(what="ACCC", hop=2, at=30, elapsed=23),
        status(hop=0, at=7, elapsed=0),
        status(what="ACSP", hop=1, at=20, elapsed=13),
    ]
    for order in (said, said[::-1], [said[1], said[0], said[2]]):
        rows = made(StatusView(1), (topics.STATUS.name, list(enumerate(order))))
        (row,) = rows["payments"]
        assert named(PAYMENTS, row)["status"] == "ACCC"


def test_the_columns_of_a_payment():
    one = status("p", "RJCT", 3, 30, 23, 5, reason="AM04", detail="why", reference="ref", stage="s", terminal=True)
    (row,) = made(StatusView(1), (topics.STATUS.name, [(0, one)]))["payments"]
    assert named(PAYMENTS, row) == {
        "payment_id": "p",
        "admitted_at": 7,
        "kind": "TRANSFER",
        "status": "RJCT",
        "reason": "AM04",
        "detail": "why",
        "reference": "ref",
        "currency": "EUR",
        "amount": 5,
        "stage": "s",
        "terminal": True,
        "at_ms": 30,
        "elapsed_ms": 23,
        "hop": 3,
    }


def test_an_id_that_is_used_again_is_another_payment():
    rows = made(StatusView(1), (topics.STATUS.name, [(0, status(at=10, elapsed=0)), (1, status(at=99, elapsed=0))]))
    assert [row[:2] for row in rows["payments"]] == [("p", 10), ("p", 99)]


def test_attempts_are_kept_apart_from_the_payment():
    repeat = status("p", "DUPL", 0, 12, 0, attempt=True, original="payments.incoming/1/2", reason="X")
    rows = made(StatusView(1), (topics.STATUS.name, [(0, status(at=7, elapsed=0)), (5, repeat), (6, Tick(1))]))
    assert len(rows["payments"]) == 1
    (row,) = rows["attempts"]
    assert named(ATTEMPTS, row) == {
        "shard": 1,
        "position": 5,
        "payment_id": "p",
        "status": "DUPL",
        "reason": "X",
        "original": "payments.incoming/1/2",
        "currency": "EUR",
        "amount": 5,
        "at_ms": 12,
    }


def test_statuses_are_counted_and_their_money_too():
    said = [
        status("p", minor=5),
        status("q", minor=6),
        status("r", "RJCT", minor=7, reason="AM04", terminal=True),
        status("p", "RJCT", minor=8, reason="AM05", attempt=True),
        status("s", "RJCT", minor=-9, reason="AM02", terminal=True),
        status("t", "RJCT", minor=2**63 - 1, reason="AM02", terminal=True),
        status("u", "RJCT", minor=MAX_MINOR, reason="AM02", terminal=True),
        status("v", "PDNG", minor=1, hop=1),
    ]
    rows = made(StatusView(1), (topics.STATUS.name, list(enumerate(said))))
    assert rows["status_counts"] == [
        (1, "payments.admission", False, "TRANSFER", "ACTC", "", "EUR", 2, 11, 1),
        (1, "payments.admission", False, "TRANSFER", "PDNG", "", "EUR", 1, 1, 7),
        (1, "payments.admission", False, "TRANSFER", "RJCT", "AM02", "EUR", 3, MAX_MINOR, 6),
        (1, "payments.admission", False, "TRANSFER", "RJCT", "AM04", "EUR", 1, 7, 2),
        (1, "payments.admission", True, "TRANSFER", "RJCT", "AM05", "EUR", 1, 8, 3),
    ]
    assert rows["flows"] == [
        (1, "payments.status", 0, "EUR", "admitted", 2, 11, 1),
        (1, "payments.status", 0, "EUR", "rejected", 4, MAX_MINOR + 7, 6),
    ]
    assert STATUS_COUNTS.version == "position"


def test_confirmed_payments():
    one = PaymentConfirmed("p", "TRANSFER", "a", "b", Money(5, "EUR"), "ref", 60_001, 60_030, (9, 20))
    rows = made(ConfirmedView(2), (topics.CONFIRMED.name, [(4, one), (5, one._replace(payment_id="q"))]))
    assert named(CONFIRMED, rows["confirmed"][0]) == {
        "payment_id": "p",
        "admitted_at": 60_001,
        "kind": "TRANSFER",
        "debtor_account": "a",
        "creditor_account": "b",
        "currency": "EUR",
        "amount": 5,
        "reference": "ref",
        "confirmed_at": 60_030,
        "elapsed_ms": 29,
        "hops": 2,
    }
    assert rows["flows"] == [(2, "payments.confirmed", 60_000, "EUR", "confirmed", 2, 10, 5)]


def test_dead_letters():
    letter = DeadLetter("s/t/1/2", "s", "t", 1, 2, 3, "CODE", "detail", 4, b"k", b"v", (Header("h", b""),))
    (row,) = made(DeadLetterView(0), ("rails.deadletters", [(9, letter)]))["dead_letters"]
    assert named(DEAD_LETTERS, row) == {
        "id": "s/t/1/2",
        "stage": "s",
        "topic": "t",
        "shard": 1,
        "position": 2,
        "at_ms": 3,
        "code": "CODE",
        "detail": "detail",
        "attempt": 4,
        "key": b"k",
        "value": b"v",
    }


def test_overdue_payments():
    event = PaymentOverdue("p1", "ACSP", 1_000, 10_000, 11_500)
    assert made(OverdueView(3), ("payments.overdue", [(0, event)])) == {
        "overdue": [("p1", 1_000, "ACSP", 10_000, 11_500)]
    }


def test_incoming_records_are_counted_unseen():
    assert not IncomingView.decodes
    assert all(view.decodes for view in VIEWS if view is not IncomingView)
    rows = made(IncomingView(6), (topics.INCOMING.name, [(0, None), (1, b"?")]), (topics.INCOMING.name, [(2, None)]))
    assert rows == {"incoming": [(6, 3)]}
    assert INCOMING.key == ("shard",)
    with pytest.raises(NotImplementedError):
        View(0).add("t", [])


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (0, 0, None),
        (9, 3, 3),
        (10, 4, 2),
        (14, 4, 4),
        (11, 4, 3),
        (9, 4, 2),
        (-10, 4, -2),
        (-14, 4, -4),
        (-9, 4, -2),
        (-11, 4, -3),
        (1, 2, 0),
        (3, 2, 2),
    ],
)
def test_averages_are_integers_with_halves_to_the_even(total, count, expected):
    assert average(total, count) == expected


# --- in SQL ---


@pytest.fixture(scope="module")
def world() -> World:
    return World(
        [
            *[(0, opened(name, overdraft=100 if name == "a" else 0)) for name in "abc"],
            (1, limited("a", 50)),
            (5, payment("d1", "DEPOSIT", 1_000, creditor_account="a")),
            (50, payment("t1", minor=900)),
            (51, payment("t1", minor=900)),
            (60, payment("t2", minor=151)),
            (61, payment("t3", creditor_account="nobody")),
            (62, payment("t4", minor=2**63 - 1)),
            (63, payment("t5", minor=2**63 - 1)),
            (90, payment("h", "HOLD", 100, hold_timeout_ms=500)),
            (91, payment("h2", "HOLD", 20)),
            (MINUTE_MS + 5, payment("t6", "TRANSFER", 30, debtor_account="b", creditor_account="c")),
            (2 * MINUTE_MS, payment("d2", "DEPOSIT", 1, creditor_account="a")),
        ]
    )


@pytest.fixture(scope="module")
def database(world: World) -> sqlite3.Connection:
    """All views in SQLite; every row is upserted twice, in two orders, as a retried bundle would."""
    base = sqlite3.connect(":memory:")
    for table in TABLES:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in table.columns)
        base.execute(f"CREATE TABLE {table.name} ({columns}, PRIMARY KEY ({', '.join(table.key)}))")
    for name, query in DERIVED.items():
        base.execute(f"CREATE VIEW {name} AS {query}")
    made_rows = []
    for view in VIEWS:
        for shard in range(topics.INFLIGHT.partitions):
            one = view(shard)
            for topic in view.topics:
                events = [(record.offset, event) for record, event in world.logs.get(topic, {}).get(shard, [])]
                made_rows += list(one.add(topic, events))
            made_rows += list(one.finish())
    for table, rows in [*made_rows, *made_rows[::-1]]:
        marks = ", ".join("?" * len(table.names))
        newer = f" WHERE excluded.{table.version} >= {table.name}.{table.version}" if table.version else ""
        sets = ", ".join(f'"{name}" = excluded."{name}"' for name in table.names)
        base.executemany(
            f"INSERT INTO {table.name} VALUES ({marks}) ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {sets}{newer}",
            rows,
        )
    return base


def ask(database: sqlite3.Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    cursor = database.execute(query, parameters)
    return [dict(zip([name for name, *_ in cursor.description], row, strict=True)) for row in cursor]


def test_the_books_close(world, database):
    (books,) = ask(database, "SELECT * FROM books")
    assert books == {
        "incoming": 11,
        "admitted": 8,
        "rejected_at_admission": 2,
        "duplicates": 1,
        "dead_letters": 0,
        "confirmed": 4,
        "rejected_after_admission": 2,
        "cancelled": 1,
        "open_holds": 1,
        "in_flight": 0,
    }
    assert all(equation.holds(books) for equation in BOOK_EQUATIONS)
    for name in books:
        assert not all(equation.holds({**books, name: books[name] + 1}) for equation in BOOK_EQUATIONS)


def test_the_trial_balance_is_zero_from_both_sides(database):
    rows = ask(database, "SELECT * FROM trial_balance")
    assert len(rows) == 3
    assert [row["total"] for row in rows] == [0, 0, 0]
    assert sum(row["accounts"] for row in rows) == 1_001
    assert sum(row["outside"] for row in rows) == -1_001
    assert sum(row["in_transit"] for row in rows) == 0
    assert any(row["in_transit"] for row in rows)


def test_minutes_and_days_have_what_flowed_and_what_was_in_flight(database):
    minutes = ask(database, "SELECT * FROM minutes ORDER BY start")
    assert [row["start"] - START for row in minutes] == [0, MINUTE_MS, 2 * MINUTE_MS]
    first = minutes[0]
    assert (first["admitted"], first["confirmed"], first["confirmed_amount"]) == (6, 2, 1_900)
    assert (first["rejected"], first["rejected_amount"]) == (4, 251)
    assert (first["departed"], first["departed_amount"], first["arrived"]) == (2, 1_000, 2)
    assert (first["in_flight"], first["in_flight_amount"]) == (0, 0)
    (day,) = ask(database, "SELECT * FROM days")
    assert day["start"] == START == START - START % DAY_MS
    assert (day["admitted"], day["confirmed"], day["departed_amount"]) == (8, 4, 1_030)


@pytest.mark.parametrize(
    ("at", "expected"),
    [(0, None), (9, None), (10, (1, 1_000, 1_050, 0)), (500, (6, 100, 30, 120)), (10**9, (8, 101, 131, 20))],
)
def test_how_much_money_was_in_an_account_at_a_time(database, at, expected):
    found = ask(database, BALANCE_AT, "a", START + at)
    assert [(row["version"], row["balance"], row["available"], row["pending"]) for row in found] == (
        [expected] if expected else []
    )


def test_the_views_of_a_run_are_all_there(database):
    assert {view.__name__ for view in VIEWS} == {
        "AccountView",
        "StatusView",
        "ConfirmedView",
        "DeadLetterView",
        "OverdueView",
        "IncomingView",
    }
    (row,) = ask(database, "SELECT * FROM accounts WHERE account_id = 'a'")
    assert (row["balance"], row["journal_balance"], row["overdraft_limit"]) == (101, 101, 50)
    assert views.DEAD_LETTERS is DEAD_LETTERS
