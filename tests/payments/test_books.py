"""The running books are those of the logs, whatever a run holds."""

from pathlib import Path

import pytest

from payments import topics
from payments.books import Balance, Books
from schemas.payments import LedgerEntry, Money, PaymentConfirmed, PaymentStatus
from schemas.rails import Tick
from tests.pipelines.runs import events, generate, run_payments


def status(
    payment: str, said: str, stage: str = "payments.accounts", attempt: bool = False, **others: object
) -> PaymentStatus:
    values = dict.fromkeys(PaymentStatus._fields)
    values |= {"payment_id": payment, "status": said, "stage": stage, "attempt": attempt, "at": 10, "elapsed_ms": 5}
    values |= {"terminal": said in ("ACCC", "RJCT", "CANC"), "kind": "TRANSFER", "hop": 1, **others}
    return PaymentStatus(**values)  # type: ignore[arg-type]


def entry(account: str, balance: int, contra: str | None, contra_balance: int, currency: str = "EUR") -> LedgerEntry:
    values = dict.fromkeys(LedgerEntry._fields)
    values |= {"account_id": account, "balance": balance, "contra": contra, "contra_balance": contra_balance}
    return LedgerEntry(**{**values, "amount": Money(1, currency)})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    return run_payments(generate(folder / "raw.avro"), folder / "run")


def test_the_books_of_a_run_close(run: Path) -> None:
    books, incoming = Books(), 0
    for topic in topics.ALL:
        if topic is topics.INCOMING:
            from transforms.topic_files import read_topic

            incoming = sum(chunk.count for chunk in read_topic(run / "topics", topic.name))
            continue
        for _, event in events(run, topic.name):
            books.add(0, event)
    assert books.decided == incoming > 200
    assert books.in_flight == 0 and books.admitted > 100 and books.refused > 0 and books.repeated > 0
    assert books.dead_letters >= books.refused_records > 0
    balances = books.trial_balance()
    assert [balance.currency for balance in balances] == ["EUR", "JPY", "KWD"]
    assert all(balance.total == 0 and balance.accounts > 0 and balance.in_transit == 0 for balance in balances)


def test_a_payment_on_its_way_is_in_flight_until_it_ends() -> None:
    books = Books()
    books.add(1, status("p", "ACTC", "payments.admission"))
    assert (books.in_flight, books.decided) == (1, 1)
    books.add(1, status("p", "ACSP"))
    assert books.in_flight == 1
    books.add(1, status("p", "ACCC"))
    assert (books.in_flight, books.ended["ACCC"]) == (0, 1)


def test_an_open_hold_is_not_in_flight_and_ends_once() -> None:
    books = Books()
    books.add(1, status("h", "ACTC", "payments.admission"))
    books.add(1, status("h", "PDNG"))
    assert (books.in_flight, books.held) == (0, {("h", 5)})
    books.add(1, status("h", "CANC"))
    assert (books.in_flight, books.held, books.ended["CANC"]) == (0, set(), 1)


def test_attempts_and_refusals_are_decided_and_never_in_flight() -> None:
    books = Books()
    books.add(1, status("p", "RJCT", "payments.admission"))
    books.add(1, status("p", "DUPL", "payments.admission", attempt=True))
    assert (books.decided, books.refused, books.repeated, books.in_flight) == (2, 1, 1, 0)


def test_balances_are_the_newest_of_each_account_and_contra_account() -> None:
    books = Books()
    books.add(1, entry("a", 100, "~outside/0/EUR", -100))
    books.add(2, entry("a", 70, "~transit/0/EUR", 30))
    books.add(3, entry("a", 70, None, 0))
    books.add(4, entry("b", 5, "~outside/1/JPY", -5, "JPY"))
    assert books.trial_balance() == [Balance("EUR", 70, 30, -100), Balance("JPY", 5, 0, -5)]
    assert [balance.total for balance in books.trial_balance()] == [0, 0]


def test_latencies_are_from_append_to_append() -> None:
    books = Books()
    assert books.quantiles() == [0, 0, 0]
    values = dict.fromkeys(PaymentConfirmed._fields)
    for number in range(1, 101):
        books.add(1_000 + number, PaymentConfirmed(**{**values, "admitted_at": 1_000}))  # type: ignore[arg-type]
    assert books.quantiles() == [51, 96, 100] and books.confirmed == 100
    books.add(1_050, status("r", "RJCT"))
    books.begin(1_060)
    assert (books.quantiles(), books.confirmed, books.rejected, books.ended["RJCT"]) == ([0, 0, 0], 0, 0, 1)
    for at in (1_059, 1_060):  # what was appended before, but is read only now
        books.add(at, PaymentConfirmed(**{**values, "admitted_at": 1_000}))  # type: ignore[arg-type]
        books.add(at, status(f"s{at}", "RJCT"))
    assert (books.quantiles([0.5]), books.confirmed, books.rejected, books.ended["RJCT"]) == ([60], 1, 1, 3)


def test_other_events_are_passed_by() -> None:
    books = Books()
    books.add(1, Tick(1))
    assert (books.decided, books.in_flight, books.trial_balance()) == (0, 0, [])
