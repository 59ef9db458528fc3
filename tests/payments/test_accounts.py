"""The account processor, leg by leg on one shard: what is posted, what is said, what follows."""

import pytest

from payments import topics
from payments.account import MAX_COUNTER, MEMORY_MS
from payments.accounts import MAX_WAITING, AccountProcessor
from payments.credits import Credits
from schemas.payments import (
    AccountBalance,
    Hold,
    LedgerEntry,
    LedgerLeg,
    Money,
    PaymentConfirmed,
    PaymentStatus,
)
from schemas.rails import DeadLetter
from tests.payments.world import START, Bench, accounts, closed, frozen, leg, limited, of, opened
from transforms.snapshots import encode_shard, restore_shard
from transforms.topic_settings import DAY_MS

EUR = "EUR"


def entry(
    account, version, payment_id, what, minor, balance, available, pending=0, contra=None, contra_balance=0, at=0
):
    return LedgerEntry(
        account_id=account,
        version=version,
        payment_id=payment_id,
        leg=what,
        contra=contra,
        amount=Money(minor, EUR),
        balance=balance,
        available=available,
        pending=pending,
        contra_balance=contra_balance,
        at=START + at,
    )


def status(payment_id, kind, what, minor, hop, at=0, reason=None, detail=None, reference=None):
    return PaymentStatus(
        payment_id=payment_id,
        kind=kind,
        status=what,
        reason=reason,
        detail=detail,
        reference=reference,
        original=None,
        amount=Money(minor, EUR),
        stage="payments.accounts",
        attempt=False,
        terminal=what in ("ACCC", "CANC", "RJCT"),
        hop=hop,
        at=START + at,
        elapsed_ms=at,
    )


def remembered(bench, account, payment_id):
    """(debtor, left, when it was posted) of a credit that may be reversed, or None; the debtor is `a` or another."""
    credit = bench.shard.shared.credits.get(account, payment_id)
    return credit and ("a" if credit.was_paid_by("a") else "another", credit.left, credit.at)


def without_balances(events):
    return [event for event in events if type(event) is not AccountBalance]


def said(events):
    return [(s.status, s.reason, s.detail) for s in of(PaymentStatus, events)]


# --- each leg, whole ---


def test_a_deposit_is_credited_against_the_outside():
    bench = accounts(a=0)
    events = bench.feed(leg("p", "CREDIT", "a", 70, kind="DEPOSIT", reference="ref", admitted_at=START - 4), 9)
    assert without_balances(events) == [
        entry("a", 1, "p", "CREDIT", 70, 70, 70, contra="~outside/0/EUR", contra_balance=-70, at=9),
        PaymentConfirmed("p", "DEPOSIT", None, "a", Money(70, EUR), "ref", START - 4, START + 9, (13,)),
        status("p", "DEPOSIT", "ACCC", 70, 1, 9, reference="ref")._replace(elapsed_ms=13),
    ]
    (balance,) = of(AccountBalance, events)
    assert balance == AccountBalance(
        account_id="a",
        currency=EUR,
        debits_pending=0,
        debits_posted=0,
        credits_posted=70,
        overdraft_limit=0,
        daily_limit=None,
        one_in_flight=False,
        closed=False,
        frozen=False,
        balance=70,
        available=70,
        version=1,
        revision=2,
        last_payment_id="p",
        as_of=START + 9,
    )
    assert [(o.topic, o.key) for o in bench.outputs] == [
        ("payments.journal", b"a"),
        ("payments.balances", b"a"),
        ("payments.confirmed", b"p"),
        ("payments.status", b"p"),
    ]
    assert bench.outputs[1].version == 2
    assert len(bench.shard.shared.credits) == 0  # nobody to give it back to


def test_a_withdrawal_is_debited_against_the_outside():
    bench = accounts(a=100)
    events = bench.feed(leg("p", minor=70, kind="WITHDRAWAL", counterparty=None), 9)
    assert without_balances(events) == [
        entry("a", 2, "p", "DEBIT", 70, 30, 30, contra="~outside/0/EUR", contra_balance=-30, at=9),
        PaymentConfirmed("p", "WITHDRAWAL", "a", None, Money(70, EUR), None, START, START + 9, (9,)),
        status("p", "WITHDRAWAL", "ACCC", 70, 1, 9),
    ]


def test_a_transfer_is_debited_first_and_only_then_sent_on():
    bench = accounts(a=100)
    asked = leg("p", minor=70, reference="ref", requested_at=START - 9)
    events = bench.feed(asked, 9)
    credit = LedgerLeg(
        payment_id="p",
        kind="TRANSFER",
        leg="CREDIT",
        account_id="b",
        counterparty="a",
        amount=Money(70, EUR),
        pending_id=None,
        hold_timeout_ms=None,
        original_payment_id=None,
        reference="ref",
        reason=None,
        gated=False,
        requested_at=START - 9,
        admitted_at=START,
        hops=(START + 9,),
        hop=2,
    )
    assert without_balances(events) == [
        entry("a", 2, "p", "DEBIT", 70, 30, 30, contra="~transit/0/EUR", contra_balance=70, at=9),
        credit,
        status("p", "TRANSFER", "ACSP", 70, 1, 9, reference="ref"),
    ]
    assert bench.outputs[2].key == b"b"
    assert bench.outputs[2].topic == "payments.inflight"
    bench.feed(opened("b"))
    events = bench.feed(credit, 30)
    assert without_balances(events) == [
        entry("b", 1, "p", "CREDIT", 70, 70, 70, contra="~transit/0/EUR", contra_balance=0, at=30),
        PaymentConfirmed("p", "TRANSFER", "a", "b", Money(70, EUR), "ref", START, START + 30, (9, 21)),
        status("p", "TRANSFER", "ACCC", 70, 2, 30, reference="ref"),
    ]
    assert remembered(bench, "b", "p") == ("a", 70, START + 30)
    assert bench.shard.shared.contra == {"~outside/0/EUR": -100, "~transit/0/EUR": 0}


def test_a_refused_credit_goes_back_and_the_payment_is_refused_for_its_reason():
    bench = accounts(a=100)
    (credit,) = of(LedgerLeg, bench.feed(leg("p", minor=70, reference="ref"), 9))
    (unwind,) = bench.feed(credit, 20)
    assert unwind == credit._replace(
        leg="UNWIND", account_id="a", counterparty="b", reason="AC03", hops=(START + 9, START + 20), hop=3
    )
    assert bench.outputs[0].key == b"a"
    events = bench.feed(unwind, 31)
    assert without_balances(events) == [
        entry("a", 3, "p", "UNWIND", 70, 100, 100, contra="~transit/0/EUR", contra_balance=0, at=31),
        status("p", "TRANSFER", "RJCT", 70, 3, 31, "AC03", reference="ref"),
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda bench: bench.feed(opened("b", currency="USD")), "AM03"),
        (lambda bench: (bench.feed(opened("b")), bench.feed(closed("b"))), "AC04"),
        (lambda bench: None, "AC03"),
    ],
)
def test_why_a_credit_is_refused(make, reason):
    bench = accounts(a=100)
    make(bench)
    (credit,) = of(LedgerLeg, bench.feed(leg("p")))
    (unwind,) = bench.feed(credit)
    assert (unwind.leg, unwind.reason) == ("UNWIND", reason)
    deposit = bench.feed(leg("d", "CREDIT", "b", kind="DEPOSIT"))
    assert deposit == [status("d", "DEPOSIT", "RJCT", 100, 1, reason=reason)]


def test_a_frozen_account_still_receives_and_takes_money_back():
    bench = accounts(a=100, b=0)
    bench.feed(frozen("b"))
    (credit,) = of(LedgerLeg, bench.feed(leg("p")))
    assert said(bench.feed(credit)) == [("ACCC", None, None)]
    bench = accounts(a=100)
    (credit,) = of(LedgerLeg, bench.feed(leg("p")))
    bench.feed(frozen("a"))
    assert said(bench.feed(bench.feed(credit)[0])) == [("RJCT", "AC03", None)]
    assert bench.account().balance == 100


def test_an_unwind_posts_on_a_closed_account():
    bench = accounts(a=100)
    (credit,) = of(LedgerLeg, bench.feed(leg("p")))
    bench.feed(closed("a"))
    assert said(bench.feed(bench.feed(credit)[0])) == [("RJCT", "AC03", None)]
    assert bench.account().balance == 100


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda bench: bench.feed(frozen("a")), "AC06"),
        (lambda bench: bench.feed(closed("a")), "AC04"),
        (lambda bench: bench.feed(limited("a", 0, 99)), "AM14"),
        (lambda bench: bench.feed(leg("x", minor=1)), "AM04"),
    ],
)
@pytest.mark.parametrize("what", ["DEBIT", "HOLD"])
def test_why_a_debit_or_a_hold_is_refused(prepare, reason, what):
    bench = accounts(a=100)
    prepare(bench)
    before = repr(bench.account())
    kind = "TRANSFER" if what == "DEBIT" else "HOLD"
    assert bench.feed(leg("p", what)) == [status("p", kind, "RJCT", 100, 1, reason=reason)]
    assert repr(bench.account()) == before


@pytest.mark.parametrize("what", ["DEBIT", "HOLD", "CAPTURE", "RELEASE"])
def test_an_unknown_debtor(what):
    bench = accounts()
    assert said(bench.feed(leg("p", what))) == [("RJCT", "AC01", None)]
    assert not bench.shard.entities


@pytest.mark.parametrize("what", ["DEBIT", "HOLD"])
def test_a_foreign_currency(what):
    bench = accounts(a=100)
    assert said(bench.feed(leg("p", what, currency="USD"))) == [("RJCT", "AM03", None)]


# --- holds ---


def hold(bench, minor=60, timeout=None, at=0, payment_id="h"):
    return bench.feed(leg(payment_id, "HOLD", minor=minor, hold_timeout_ms=timeout, reference="hold ref"), at)


def test_a_hold_reserves():
    bench = accounts(a=100)
    events = hold(bench, timeout=1000, at=5)
    assert without_balances(events) == [
        entry("a", 2, "h", "HOLD", 60, 100, 40, 60, at=5),
        status("h", "HOLD", "PDNG", 60, 1, 5, reference="hold ref"),
    ]
    assert bench.account().holds == {"h": Hold(60, START // DAY_MS, "OPEN", START + 1005, "hold ref", START)}
    assert said(bench.feed(leg("p", minor=41))) == [("RJCT", "AM04", None)]
    assert said(bench.feed(leg("p2", minor=40))) == [("ACSP", None, None)]


def test_a_capture_posts_a_part_and_releases_the_rest():
    bench = accounts(a=100)
    hold(bench)
    events = bench.feed(leg("c", "CAPTURE", minor=45), 9)
    assert without_balances(events) == [
        entry("a", 3, "c", "CAPTURE", 45, 55, 40, 15, "~transit/0/EUR", 45, at=9),
        entry("a", 4, "c", "RELEASE", 15, 55, 55, 0, at=9),
        status("h", "HOLD", "ACCC", 45, 2, 9, reference="hold ref"),
        leg("c", "CREDIT", "b", 45, kind="CAPTURE", counterparty="a", pending_id="h", hops=(START + 9,), hop=2),
        status("c", "CAPTURE", "ACSP", 45, 1, 9),
    ]
    (credit,) = of(LedgerLeg, events)
    bench.feed(opened("b"))
    events = bench.feed(credit, 20)
    assert said(events) == [("ACCC", None, None)]
    assert bench.account("b").balance == 45
    assert remembered(bench, "b", "c") == ("a", 45, START + 20)


def test_a_whole_capture_leaves_nothing_to_release():
    bench = accounts(a=100)
    hold(bench)
    events = bench.feed(leg("c", "CAPTURE", minor=60))
    assert [e.leg for e in of(LedgerEntry, events)] == ["CAPTURE"]
    assert (bench.account().balance, bench.account().debits_pending) == (40, 0)


def test_more_than_held_is_refused_and_the_hold_stays_open():
    bench = accounts(a=100)
    hold(bench)
    assert said(bench.feed(leg("c", "CAPTURE", minor=61))) == [("RJCT", "AM02", "more than held")]
    assert bench.account().holds["h"].outcome == "OPEN"
    assert said(bench.feed(leg("c2", "CAPTURE", minor=60)))[-1] == ("ACSP", None, None)


def test_a_capture_in_another_currency_is_refused():
    bench = accounts(a=100)
    hold(bench)
    assert said(bench.feed(leg("c", "CAPTURE", minor=1, currency="USD"))) == [("RJCT", "AM03", None)]


def test_a_frozen_accounts_earlier_hold_is_captured_a_closed_ones_is_not():
    bench = accounts(a=100)
    hold(bench)
    bench.feed(frozen("a"))
    assert said(bench.feed(leg("c", "CAPTURE", minor=60)))[-1] == ("ACSP", None, None)
    bench = accounts(a=100)
    hold(bench)
    bench.feed(closed("a"))
    assert said(bench.feed(leg("c", "CAPTURE", minor=60))) == [("RJCT", "AC04", None)]
    assert said(bench.feed(leg("v", "RELEASE"))) == [("CANC", None, None), ("ACCC", None, None)]
    assert bench.account().debits_pending == 0


def test_a_void_releases_all_whatever_it_names_itself():
    bench = accounts(a=100)
    hold(bench)
    events = bench.feed(leg("v", "RELEASE", minor=7, currency="USD", reference="void ref"), 9)
    assert without_balances(events) == [
        entry("a", 3, "v", "RELEASE", 60, 100, 100, 0, at=9),
        status("h", "HOLD", "CANC", 60, 2, 9, reference="hold ref"),
        status("v", "VOID", "ACCC", 60, 1, 9, reference="void ref"),
    ]


@pytest.mark.parametrize(
    ("end", "reason", "detail"),
    [
        (leg("x", "CAPTURE", minor=1), "NARR", "already_captured"),
        (leg("x", "RELEASE", minor=0), "NARR", "already_voided"),
        (None, "DS24", "expired"),
    ],
)
@pytest.mark.parametrize("what", ["CAPTURE", "RELEASE"])
def test_a_hold_resolves_once(end, reason, detail, what):
    bench = accounts(a=100)
    hold(bench, timeout=1000)
    if end is None:
        bench.tick(1000)
    else:
        bench.feed(end)
    before = repr(bench.account())
    assert said(bench.feed(leg("y", what, minor=1))) == [("RJCT", reason, detail)]
    assert repr(bench.account()) == before


def test_a_hold_that_never_was():
    bench = accounts(a=100)
    assert said(bench.feed(leg("y", "CAPTURE"))) == [("RJCT", "NARR", "not_found")]
    assert said(bench.feed(leg("y", "RELEASE"))) == [("RJCT", "NARR", "not_found")]
    assert said(bench.feed(leg("y", "RELEASE", pending_id=None))) == [("RJCT", "NARR", "not_found")]


def test_a_hold_expires_at_its_time_and_never_before():
    bench = accounts(a=100)
    hold(bench, timeout=1000, at=5)
    assert bench.tick(1004) == []
    events = bench.tick(1005)
    assert without_balances(events) == [
        entry("a", 3, "h", "RELEASE", 60, 100, 100, 0, at=1005),
        status("h", "HOLD", "CANC", 60, 2, 1005, "DS24", reference="hold ref"),
    ]
    assert bench.tick(9999) == []


def test_a_capture_at_the_very_time_of_expiry_comes_too_late():
    bench = accounts(a=100)
    hold(bench, timeout=1000)
    assert said(bench.feed(leg("c", "CAPTURE", minor=60), 1000)) == [
        ("CANC", "DS24", None),
        ("RJCT", "DS24", "expired"),
    ]


def test_a_hold_without_timeout_stays():
    bench = accounts(a=100)
    hold(bench)
    assert bench.shard.deadlines == {}
    assert bench.tick(1000 * DAY_MS) == []
    assert bench.account().debits_pending == 60


def test_a_captured_hold_does_not_expire():
    bench = accounts(a=100)
    hold(bench, timeout=1000)
    bench.feed(leg("c", "CAPTURE", minor=60), 500)
    assert bench.tick(2000) == []
    assert bench.account().holds["h"] == Hold(
        60, START // DAY_MS, "CAPTURED", START + 500 + MEMORY_MS, "hold ref", START
    )


@pytest.mark.parametrize("end", ["CAPTURE", "RELEASE", None])
def test_an_ended_hold_is_forgotten_after_90_days(end):
    bench = accounts(a=100)
    hold(bench, timeout=1000)
    if end:
        bench.feed(leg("c", end, minor=60), 1000 - 1)
    ended = 1000 if end is None else 999
    bench.tick(ended)
    bench.tick(ended + MEMORY_MS - 1)
    assert "h" in bench.account().holds
    assert bench.tick(ended + MEMORY_MS) == []
    assert bench.account().holds == {}
    assert bench.shard.deadlines == {}
    assert said(bench.feed(leg("y", "RELEASE"))) == [("RJCT", "NARR", "not_found")]


def test_an_id_that_admission_has_forgotten_cannot_name_a_second_hold():
    bench = accounts(a=100)
    hold(bench, 10)
    assert said(hold(bench, 10)) == [("RJCT", "AM05", None)]
    assert bench.account().debits_pending == 10


def test_a_refused_capture_credit_gives_the_money_back_and_the_hold_stays_spent():
    bench = accounts(a=100)
    hold(bench)
    (credit,) = of(LedgerLeg, bench.feed(leg("c", "CAPTURE", minor=60), 3))
    (unwind,) = bench.feed(credit)
    assert said(bench.feed(unwind)) == [("RJCT", "AC03", None)]
    assert (bench.account().balance, bench.account().debits_pending) == (100, 0)
    assert bench.account().holds["h"].outcome == "CAPTURED"
    assert said(bench.feed(leg("c2", "CAPTURE", minor=60))) == [("RJCT", "NARR", "already_captured")]


def test_a_capture_unwinds_even_when_its_hold_is_forgotten():
    bench = accounts(a=100)
    hold(bench)
    (credit,) = of(LedgerLeg, bench.feed(leg("c", "CAPTURE", minor=60)))
    bench.account().holds.clear()
    assert said(bench.feed(bench.feed(credit)[0])) == [("RJCT", "AC03", None)]
    assert bench.account().balance == 100
    assert bench.account().spent == 60


# --- the daily limit ---


def test_the_daily_limit_is_of_debits_and_holds_and_starts_anew_each_utc_day():
    bench = accounts(a=1000)
    bench.feed(limited("a", 0, 100))
    assert said(bench.feed(leg("p1", minor=60), 10)) == [("ACSP", None, None)]
    assert said(hold(bench, 30)) == [("PDNG", None, None)]
    assert said(bench.feed(leg("p2", minor=11))) == [("RJCT", "AM14", None)]
    assert said(bench.feed(leg("p3", minor=11), DAY_MS - 1)) == [("RJCT", "AM14", None)]
    assert said(bench.feed(leg("p4", minor=100), DAY_MS)) == [("ACSP", None, None)]


def test_a_limit_set_at_noon_counts_the_morning():
    bench = accounts(a=1000)
    bench.feed(leg("p1", minor=60), 10)
    bench.feed(limited("a", 0, 100))
    assert said(bench.feed(leg("p2", minor=41))) == [("RJCT", "AM14", None)]
    assert said(bench.feed(leg("p3", minor=40))) == [("ACSP", None, None)]


@pytest.mark.parametrize(("released_at", "spent"), [(100, 0), (DAY_MS, 0)])
def test_a_released_hold_is_given_back_on_its_own_day(released_at, spent):
    bench = accounts(a=1000)
    bench.feed(limited("a", 0, 100))
    hold(bench, 60)
    bench.feed(leg("p", minor=40), released_at - 1)
    bench.feed(leg("v", "RELEASE"), released_at)
    left = 60 if released_at < DAY_MS else 100
    assert said(bench.feed(leg("p2", minor=left + 1))) == [("RJCT", "AM14", None)]
    assert said(bench.feed(leg("p3", minor=left))) == [("ACSP", None, None)]


def test_the_rest_of_a_capture_is_given_back_and_the_capture_itself_counts_once():
    bench = accounts(a=1000)
    bench.feed(limited("a", 0, 100))
    hold(bench, 60)
    bench.feed(leg("c", "CAPTURE", minor=45))
    assert bench.account().spent == 45
    (credit,) = of(LedgerLeg, bench.feed(leg("p", minor=55)))
    assert bench.account().spent == 100
    bench.feed(bench.feed(credit)[0])
    assert bench.account().spent == 45


@pytest.mark.parametrize(("days", "spent"), [(0, 0), (1, 45)])
def test_an_unwound_capture_is_given_back_on_the_day_of_its_hold(days, spent):
    bench = accounts(a=1000)
    hold(bench, 45)
    (credit,) = of(LedgerLeg, bench.feed(leg("c", "CAPTURE", minor=45), days * DAY_MS))
    bench.feed(leg("p", minor=45, kind="WITHDRAWAL", counterparty=None))
    before = bench.account().spent
    bench.feed(bench.feed(credit)[0])
    assert before - bench.account().spent == (45 if days == 0 else 0)


@pytest.mark.parametrize("days", [0, 1])
def test_an_unwound_debit_is_given_back_on_its_own_day(days):
    bench = accounts(a=1000)
    (credit,) = of(LedgerLeg, bench.feed(leg("p", minor=45), 10))
    bench.feed(leg("w", minor=50, kind="WITHDRAWAL", counterparty=None), 10 + days * DAY_MS)
    bench.feed(bench.feed(credit)[0])
    assert bench.account().spent == 50


# --- reversals ---


@pytest.fixture
def paid():
    return paying(accounts(a=100, b=0))


def paying(bench):
    """`a` has paid 70 to `b` as payment o, on the same shard."""
    (credit,) = of(LedgerLeg, bench.feed(leg("o", minor=70)))
    bench.feed(credit)
    return bench


def reversal(payment_id, minor, original="o", debtor="b", creditor="a"):
    return leg(payment_id, "DEBIT", debtor, minor, kind="REVERSAL", counterparty=creditor, original_payment_id=original)


def test_a_reversal_gives_back_from_the_creditor(paid):
    events = paid.feed(reversal("r", 30), 50)
    assert without_balances(events)[0] == entry(
        "b", 2, "r", "DEBIT", 30, 40, 40, contra="~transit/0/EUR", contra_balance=30, at=50
    )
    (credit,) = of(LedgerLeg, events)
    assert (credit.leg, credit.account_id, credit.original_payment_id) == ("CREDIT", "a", "o")
    assert remembered(paid, "b", "o") == ("a", 40, START)
    events = paid.feed(credit, 60)
    assert of(PaymentConfirmed, events) == [
        PaymentConfirmed("r", "REVERSAL", "b", "a", Money(30, EUR), None, START, START + 60, (50, 10))
    ]
    assert paid.account("a").balance == 60
    assert remembered(paid, "a", "r") is None  # a reversal cannot be reversed


def test_not_more_is_reversed_than_is_left(paid):
    paid.feed(reversal("r1", 30))
    paid.feed(leg("d0", "CREDIT", "b", 1, kind="DEPOSIT"))
    assert said(paid.feed(reversal("r2", 41))) == [("RJCT", "AM02", "more than is left to reverse")]
    assert said(paid.feed(reversal("r3", 40))) == [("ACSP", None, None)]
    assert said(paid.feed(reversal("r4", 1))) == [("RJCT", "AM02", "more than is left to reverse")]


def test_a_refused_reversal_restores_what_is_left(paid):
    paid.feed(closed("a"))
    (credit,) = of(LedgerLeg, paid.feed(reversal("r1", 70)))
    assert remembered(paid, "b", "o") == ("a", 0, START)
    (unwind,) = paid.feed(credit)
    assert said(paid.feed(unwind)) == [("RJCT", "AC04", None)]
    assert remembered(paid, "b", "o") == ("a", 70, START)
    assert paid.account("b").balance == 70


def test_a_reversal_unwinds_even_when_its_original_is_forgotten(paid):
    (credit,) = of(LedgerLeg, paid.feed(reversal("r1", 70)))
    paid.shard.shared.credits = Credits()
    paid.feed(closed("a"))
    assert said(paid.feed(paid.feed(credit)[0])) == [("RJCT", "AC04", None)]
    assert len(paid.shard.shared.credits) == 0


@pytest.mark.parametrize(
    ("event", "reason", "detail"),
    [
        (reversal("r", 30, original="other"), "NARR", "original_not_found"),
        (reversal("r", 30)._replace(original_payment_id=None), "NARR", "original_not_found"),
        (reversal("r", 30, creditor="c"), "AC03", "the original was paid by another account"),
    ],
)
def test_a_reversal_must_name_what_was_paid(paid, event, reason, detail):
    assert said(paid.feed(event)) == [("RJCT", reason, detail)]
    assert paid.account("b").balance == 70


@pytest.mark.parametrize(("ms", "expected"), [(-1, ("ACSP", None, None)), (0, ("RJCT", "NARR", "original_not_found"))])
def test_a_credit_can_be_reversed_for_90_days(paid, ms, expected):
    assert said(paid.feed(reversal("r", 30), MEMORY_MS + ms)) == [expected]


@pytest.mark.parametrize(
    ("ms", "expected"), [(999_999, ("ACSP", None, None)), (1_000_000, ("RJCT", "NARR", "original_not_found"))]
)
def test_or_for_as_long_as_it_is_told(ms, expected):
    bench = paying(accounts(AccountProcessor(reversal_ms=1_000_000), a=100, b=0))
    assert said(bench.feed(reversal("r", 30), ms)) == [expected]


def test_credits_that_are_too_old_leave_the_ledger():
    bench, most = accounts(AccountProcessor(reversal_ms=1_000_000), b=0), 0
    for number in range(100):
        bench.feed(leg(f"p{number}", "CREDIT", "b", 1, counterparty="a"), number * 100_000)
        most = max(most, len(bench.shard.shared.credits))
    assert 10 <= most <= 10 + 1 + 3  # those of that time, and at most a quarter more


def test_a_restored_shard_forgets_credits_at_the_same_time():
    processor = AccountProcessor(reversal_ms=1_000_000)
    ledger = processor.new_shared()
    ledger.credits.remember("b", "p", "a", 1, 0)
    restored = processor.shared_codec.decode(processor.shared_codec.encode(ledger))
    for held in (ledger, restored):
        held.credits.remember("b", "q", "a", 1, 1_250_000)
        assert held.credits.get("b", "p") is None


def test_the_time_of_reversals_must_be_positive():
    with pytest.raises(ValueError, match="reversal_ms must be positive, got 0"):
        AccountProcessor(reversal_ms=0)


def test_a_deposit_cannot_be_reversed():
    bench = accounts(b=70)
    assert said(bench.feed(reversal("r", 30, original="seed-b"))) == [("RJCT", "NARR", "original_not_found")]


def test_a_reversal_needs_funds_and_an_account_that_may_pay(paid):
    paid.feed(frozen("b"))
    assert said(paid.feed(reversal("r", 30))) == [("RJCT", "AC06", None)]


# --- the gate ---


@pytest.fixture
def gated():
    bench = Bench(AccountProcessor(), topics.INFLIGHT.name)
    bench.feed(opened("a", gate=True))
    bench.feed(opened("b"))
    bench.feed(leg("seed", "CREDIT", "a", 1000, kind="DEPOSIT"))
    return bench


def test_debits_wait_until_the_one_in_flight_is_complete(gated):
    (first,) = of(LedgerLeg, gated.feed(leg("p1"), 10))
    assert first.gated
    assert gated.account().in_flight == "p1"
    assert gated.feed(leg("p2", minor=20), 11) == []
    assert gated.feed(leg("p3", minor=30), 12) == []
    assert [waiting.payment_id for waiting in gated.account().waiting] == ["p2", "p3"]
    complete = gated.feed(first, 20)[-1]
    assert complete == first._replace(
        leg="COMPLETE", account_id="a", counterparty="b", hops=(START + 10, START + 20), hop=3
    )
    assert gated.outputs[-1].key == b"a"
    events = gated.feed(complete, 30)
    assert without_balances(events) == [
        entry("a", 3, "p2", "DEBIT", 20, 880, 880, contra="~transit/0/EUR", contra_balance=20, at=30),
        leg("p2", "CREDIT", "b", 20, counterparty="a", gated=True, hops=(START + 30,), hop=2),
        status("p2", "TRANSFER", "ACSP", 20, 1, 30),
    ]
    assert gated.account().in_flight == "p2"
    assert [waiting.payment_id for waiting in gated.account().waiting] == ["p3"]


def test_an_unwind_opens_the_gate_too(gated):
    (first,) = of(LedgerLeg, gated.feed(leg("p1", counterparty="nobody")))
    assert gated.feed(leg("p2")) == []
    (unwind,) = gated.feed(first)
    assert unwind.gated
    assert said(gated.feed(unwind)) == [("RJCT", "AC03", None), ("ACSP", None, None)]
    assert gated.account().in_flight == "p2"


def test_what_waits_is_judged_when_its_turn_comes_and_refusals_do_not_hold_the_gate(gated):
    (first,) = of(LedgerLeg, gated.feed(leg("p1", minor=900)))
    for payment in (
        leg("p2", minor=101),
        leg("p3", minor=40, kind="WITHDRAWAL", counterparty=None),
        leg("p4", minor=60),
    ):
        assert gated.feed(payment) == []
    events = gated.feed(gated.feed(first)[-1])
    assert said(events) == [("RJCT", "AM04", None), ("ACCC", None, None), ("ACSP", None, None)]
    assert gated.account().in_flight == "p4"
    assert gated.account().waiting == ()
    gated.feed(frozen("a"))
    (credit,) = of(LedgerLeg, events)
    gated.feed(leg("p5", minor=1))
    assert said(gated.feed(gated.feed(credit)[-1])) == [("RJCT", "AC06", None)]
    assert gated.account().in_flight is None


def test_the_queue_is_bounded(gated):
    gated.feed(leg("p"))
    for n in range(MAX_WAITING):
        assert gated.feed(leg(f"w{n}", minor=1)) == []
    assert said(gated.feed(leg("late", minor=1))) == [("RJCT", "NARR", "queue_full")]
    assert said(gated.feed(leg("c", "CAPTURE"))) == [("RJCT", "NARR", "queue_full")]
    assert len(gated.account().waiting) == MAX_WAITING == 64


def test_captures_wait_holds_releases_and_credits_do_not(gated):
    hold(gated, 60)
    hold(gated, 10, payment_id="h2")
    (first,) = of(LedgerLeg, gated.feed(leg("p1")))
    assert gated.feed(leg("c", "CAPTURE", minor=60)) == []
    assert said(hold(gated, 5, payment_id="h3")) == [("PDNG", None, None)]
    assert said(gated.feed(leg("v", "RELEASE", pending_id="h2"))) == [("CANC", None, None), ("ACCC", None, None)]
    assert said(gated.feed(leg("d", "CREDIT", "a", 5, kind="DEPOSIT"))) == [("ACCC", None, None)]
    assert said(gated.feed(gated.feed(first)[-1])) == [("ACCC", None, None), ("ACSP", None, None)]
    assert gated.account().in_flight == "c"


def test_a_withdrawal_is_done_at_once_and_does_not_hold_the_gate(gated):
    gated.feed(leg("w", kind="WITHDRAWAL", counterparty=None))
    assert gated.account().in_flight is None


def test_an_account_without_the_gate_lets_all_go():
    bench = accounts(a=100)
    (credit,) = of(LedgerLeg, bench.feed(leg("p1", minor=1)))
    assert not credit.gated
    assert bench.account().in_flight is None
    bench.feed(opened("b"))
    assert not of(LedgerLeg, bench.feed(credit))
    assert said(bench.feed(leg("p2", minor=1))) == [("ACSP", None, None)]


@pytest.mark.parametrize("what", ["COMPLETE", "UNWIND"])
def test_an_unwind_of_another_payment_leaves_the_gate_closed(gated, what):
    gated.feed(leg("p1"))
    events = gated.feed(leg("other", what, "a", counterparty="b", reason="AC03"))
    assert gated.account().in_flight == "p1"
    if what == "COMPLETE":
        (letter,) = events
        assert letter.code == "BAD_LEG"
        assert letter.detail == "COMPLETE for a payment that does not hold the gate"


# --- what must never happen, and is a dead letter if it does ---


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (leg("p", minor=0), "BAD_LEG"),
        (leg("p", minor=-1), "BAD_LEG"),
        (leg("p", "CREDIT", minor=0), "BAD_LEG"),
        (leg("p", "COMPLETE", "nobody"), "BAD_LEG"),
        (leg("p", "COMPLETE", "a"), "BAD_LEG"),
        (leg("p", "UNWIND", "nobody"), "UNKNOWN_ACCOUNT"),
    ],
)
def test_impossible_legs(event, code):
    bench = accounts(a=100)
    (letter,) = bench.feed(event)
    assert type(letter) is DeadLetter
    assert letter.code == code
    assert letter.detail


# --- the limits of counters ---


def test_a_contra_account_cannot_leave_its_counter():
    bench = accounts(a=100, b=0)
    contra = bench.shard.shared.contra
    contra["~transit/0/EUR"] = MAX_COUNTER - 10
    contra["~outside/0/EUR"] = -MAX_COUNTER + 10
    assert said(bench.feed(leg("p1", minor=11))) == [("RJCT", "AM02", None)]
    assert said(bench.feed(leg("d1", "CREDIT", "b", 11, kind="DEPOSIT"))) == [("RJCT", "AM02", None)]
    hold(bench, 11)
    assert said(bench.feed(leg("c1", "CAPTURE", minor=11))) == [("RJCT", "AM02", None)]
    assert said(bench.feed(leg("p2", minor=10))) == [("ACSP", None, None)]
    assert said(bench.feed(leg("d2", "CREDIT", "b", 10, kind="DEPOSIT"))) == [("ACCC", None, None)]
    contra["~transit/0/EUR"] = -MAX_COUNTER
    (unwind,) = bench.feed(leg("p3", "CREDIT", "b", 1, counterparty="z"))
    assert (unwind.leg, unwind.reason) == ("UNWIND", "AM02")


def test_the_largest_posting_that_a_contra_account_takes():
    bench = accounts(a=0)
    bench.feed(limited("a", MAX_COUNTER))
    assert said(bench.feed(leg("p", minor=MAX_COUNTER))) == [("ACSP", None, None)]


def test_unwinds_have_room_above_the_counters():
    bench = accounts(a=1)
    account = bench.account()
    account.credits_posted = account.debits_posted = MAX_COUNTER
    bench.feed(leg("p", "UNWIND", "a", MAX_COUNTER, reason="AC03"))
    assert bench.account().credits_posted == 2 * MAX_COUNTER < 2**63


# --- state ---


def test_very_many_credits_and_holds_survive_a_snapshot():
    bench = accounts(a=0)
    for n in range(12_000):
        bench.shard.shared.credits.remember("a", f"payment-{n:040d}", "debtor", 1, START)
        bench.account().holds[f"hold-{n}"] = Hold(1, 0, "OPEN", -1, None, START)
    again = Bench(AccountProcessor(), topics.INFLIGHT.name).shard
    restore_shard(again, encode_shard(bench.shard))
    assert encode_shard(again) == encode_shard(bench.shard)
    assert again.entities == bench.shard.entities
    assert again.shared.credits.get("a", f"payment-{11_999:040d}").left == 1


def test_a_restored_shard_answers_reversals_as_before(paid):
    paid.feed(leg("d0", "CREDIT", "b", 50, kind="DEPOSIT"))
    paid.feed(reversal("r1", 30))
    again = Bench(AccountProcessor(), topics.INFLIGHT.name)
    restore_shard(again.shard, encode_shard(paid.shard))
    for event, answer in (
        (reversal("r2", 41), ("RJCT", "AM02", "more than is left to reverse")),
        (reversal("r3", 10, creditor="c"), ("RJCT", "AC03", "the original was paid by another account")),
        (reversal("r4", 40), ("ACSP", None, None)),
    ):
        assert said(paid.feed(event)) == said(again.feed(event)) == [answer]
    assert encode_shard(again.shard) == encode_shard(paid.shard)


def test_state_survives_its_codec(gated):
    hold(gated, 60, timeout=1000)
    gated.feed(leg("p1"))
    gated.feed(leg("p2", minor=20))
    gated.feed(limited("a", 7, 900))
    processor = gated.shard.processor
    again = processor.entity_codec.decode(processor.entity_codec.encode(gated.account()))
    assert again == gated.account()
    data = processor.shared_codec.encode(gated.shard.shared)
    shared = processor.shared_codec.decode(data)
    assert (shared.contra, shared.rules) == (gated.shard.shared.contra, gated.shard.shared.rules)
    assert processor.shared_codec.encode(shared) == data


def test_the_stage_and_what_it_reads_are_constants():
    assert AccountProcessor.stage == "payments.accounts"
    assert not AccountProcessor.from_clients
    assert [kind.__name__ for kind in AccountProcessor.reads] == [
        "LedgerLeg",
        "AccountOpened",
        "AccountLimited",
        "AccountFrozen",
        "AccountClosed",
        "Rule",
    ]
