"""Admission: which leg each kind begins with, every refusal, duplicates, claimed times."""

import pytest

from payments import codes, topics
from payments.admission import CLOCK_TOLERANCE_MS, MAX_HOLD_MS, MAX_ID_CHARS, MAX_MINOR, Admission, is_account_id
from payments.memory import Memory
from schemas.payments import LedgerLeg, Money, PaymentStatus
from schemas.rails import DeadLetter
from tests.payments.world import REGISTRY, START, Bench, of, payment
from transforms.fold import Topic

DAY = 86_400_000
LONG = "x" * (MAX_ID_CHARS + 1)


@pytest.fixture
def bench():
    return Bench(Admission(), topics.INCOMING.name)


FULL = {
    "DEPOSIT": ("CREDIT", "b", None),
    "WITHDRAWAL": ("DEBIT", "a", None),
    "TRANSFER": ("DEBIT", "a", "b"),
    "HOLD": ("HOLD", "a", None),
    "CAPTURE": ("CAPTURE", "a", "b"),
    "VOID": ("RELEASE", "a", None),
    "REVERSAL": ("DEBIT", "a", "b"),
}


@pytest.mark.parametrize("kind", FULL)
def test_the_first_leg_of_each_kind(bench, kind):
    what, account, other = FULL[kind]
    timeout = 60_000 if kind == "HOLD" else None
    event = payment("p", kind, 70, reference="ref", requested_at=START - 5, hold_timeout_ms=timeout)
    bench.feed(payment("earlier"), 0)
    leg, status = bench.feed(event, 9)
    assert leg == LedgerLeg(
        payment_id="p",
        kind=kind,
        leg=what,
        account_id=account,
        counterparty=other,
        amount=Money(70, "EUR"),
        pending_id=event.pending_id,
        hold_timeout_ms=timeout,
        original_payment_id=event.original_payment_id,
        reference="ref",
        reason=None,
        gated=False,
        requested_at=START - 5,
        admitted_at=START + 9,
        hops=(),
        hop=1,
    )
    assert status == PaymentStatus(
        payment_id="p",
        kind=kind,
        status="ACTC",
        reason=None,
        detail=None,
        reference="ref",
        original=None,
        amount=Money(70, "EUR"),
        stage="payments.admission",
        attempt=False,
        terminal=False,
        hop=0,
        at=START + 9,
        elapsed_ms=0,
    )
    first, second = bench.outputs
    assert (first.topic, first.key) == ("payments.inflight", account.encode())
    assert (second.topic, second.key) == ("payments.status", b"p")
    assert bench.shard.counts.applied == 2


REFUSALS = [
    ("TRANSFER", {"requested_at": START - DAY - 1}, "TM01", None),
    ("TRANSFER", {"requested_at": START + CLOCK_TOLERANCE_MS + 1}, "DT04", "requested_at"),
    *[
        (kind, {"debtor_account": bad}, "AC01", None)
        for kind in FULL
        if kind != "DEPOSIT"
        for bad in (None, "~transit/0/EUR")
    ],
    ("TRANSFER", {"debtor_account": ""}, "AC01", None),
    ("TRANSFER", {"debtor_account": LONG}, "AC01", None),
    *[
        (kind, {"creditor_account": bad}, "AC03", None)
        for kind in ("DEPOSIT", "TRANSFER", "CAPTURE", "REVERSAL")
        for bad in (None, "~outside/0/EUR")
    ],
    ("DEPOSIT", {"debtor_account": "a"}, "CH17", "debtor_account"),
    ("WITHDRAWAL", {"creditor_account": "b"}, "CH17", "creditor_account"),
    ("HOLD", {"creditor_account": "b"}, "CH17", "creditor_account"),
    ("VOID", {"creditor_account": "b"}, "CH17", "creditor_account"),
    *[
        (kind, {"creditor_account": "a"}, "AG01", "debtor and creditor are the same account")
        for kind in ("TRANSFER", "CAPTURE", "REVERSAL")
    ],
    ("TRANSFER", {"currency": "XXX"}, "AM03", None),
    ("TRANSFER", {"currency": "eur"}, "AM03", None),
    *[(kind, {"minor": 0}, "AM01", None) for kind in FULL if kind != "VOID"],
    *[(kind, {"minor": -1}, "AM02", None) for kind in FULL],
    *[(kind, {"minor": MAX_MINOR + 1}, "AM02", None) for kind in FULL],
    ("TRANSFER", {"minor": 2**63 - 1}, "AM02", None),
    ("CAPTURE", {"pending_id": None}, "CH21", "pending_id"),
    ("VOID", {"pending_id": ""}, "CH21", "pending_id"),
    ("TRANSFER", {"pending_id": "h"}, "CH17", "pending_id"),
    ("REVERSAL", {"original_payment_id": None}, "CH21", "original_payment_id"),
    ("CAPTURE", {"original_payment_id": "o"}, "CH17", "original_payment_id"),
    ("HOLD", {"hold_timeout_ms": 0}, "CH16", "hold_timeout_ms"),
    ("HOLD", {"hold_timeout_ms": -5}, "CH16", "hold_timeout_ms"),
    ("HOLD", {"hold_timeout_ms": MAX_HOLD_MS + 1}, "CH16", "hold_timeout_ms"),
    ("TRANSFER", {"hold_timeout_ms": 5}, "CH17", "hold_timeout_ms"),
]


@pytest.mark.parametrize(("kind", "fields", "reason", "detail"), REFUSALS)
def test_refusals(bench, kind, fields, reason, detail):
    event = payment("p", kind, reference="ref", **fields)
    (status,) = bench.feed(event)
    assert status == PaymentStatus(
        payment_id="p",
        kind=kind,
        status="RJCT",
        reason=reason,
        detail=detail,
        reference="ref",
        original=None,
        amount=event.amount,
        stage="payments.admission",
        attempt=False,
        terminal=True,
        hop=0,
        at=START,
        elapsed_ms=0,
    )
    assert bench.shard.counts.late == (reason == codes.TOO_OLD)
    assert bench.shard.counts.applied == (reason != codes.TOO_OLD)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("TRANSFER", {"requested_at": START - DAY}),
        ("TRANSFER", {"requested_at": START + CLOCK_TOLERANCE_MS}),
        ("TRANSFER", {"minor": 1}),
        ("TRANSFER", {"minor": MAX_MINOR}),
        ("TRANSFER", {"debtor_account": "x" * MAX_ID_CHARS}),
        ("VOID", {"minor": 0}),
        ("VOID", {"minor": MAX_MINOR}),
        ("HOLD", {"hold_timeout_ms": 1}),
        ("HOLD", {"hold_timeout_ms": MAX_HOLD_MS}),
        ("HOLD", {}),
        ("TRANSFER", {"reference": "r" * MAX_ID_CHARS}),
        ("CAPTURE", {"pending_id": "r" * MAX_ID_CHARS}),
        ("REVERSAL", {"original_payment_id": "r" * MAX_ID_CHARS}),
    ],
)
def test_what_is_just_allowed(bench, kind, fields):
    assert bench.feed(payment("p", kind, **fields))[-1].status == "ACTC"


@pytest.mark.parametrize(
    ("payment_id", "fields", "code"),
    [
        ("", {}, "BAD_ID"),
        (LONG, {}, "BAD_ID"),
        ("p", {"currency": "EURO"}, "BAD_CURRENCY"),
        ("p", {"currency": ""}, "BAD_CURRENCY"),
        ("p", {"reference": LONG}, "TOO_LONG"),
        ("p", {"kind": "VOID", "pending_id": LONG}, "TOO_LONG"),
        ("p", {"kind": "REVERSAL", "original_payment_id": LONG}, "TOO_LONG"),
    ],
)
def test_what_no_status_could_answer_is_a_dead_letter(bench, payment_id, fields, code):
    (letter,) = bench.feed(payment(payment_id, **fields), key=payment_id)
    assert type(letter) is DeadLetter
    assert letter.code == code
    assert letter.detail
    assert bench.shard.counts.dead_lettered == 1
    assert len(bench.shard.shared) == 0  # and the id is still free


def test_the_longest_id_is_allowed(bench):
    assert bench.feed(payment("x" * MAX_ID_CHARS))[-1].status == "ACTC"


def test_a_repeat_is_a_duplicate_that_refers_to_the_original(bench):
    bench.feed(payment("other"))
    bench.feed(payment("p", reference="ref"), 10)
    (status,) = bench.feed(payment("p", reference="ref"), 5_000)
    assert status == PaymentStatus(
        payment_id="p",
        kind="TRANSFER",
        status="DUPL",
        reason=None,
        detail=None,
        reference="ref",
        original="payments.incoming/0/1",
        amount=Money(100, "EUR"),
        stage="payments.admission",
        attempt=True,
        terminal=False,
        hop=0,
        at=START + 5_000,
        elapsed_ms=0,
    )
    assert bench.shard.counts.duplicate == 1


@pytest.mark.parametrize(
    "other",
    [
        payment("p", minor=101),
        payment("p", debtor_account="c"),
        payment("p", "WITHDRAWAL"),
        payment("p", requested_at=START + 1),
        payment("p", source="elsewhere"),
    ],
)
def test_the_same_id_with_another_body_is_refused_whatever_differs(bench, other):
    bench.feed(payment("p"))
    (status,) = bench.feed(other)
    assert (status.status, status.reason, status.attempt, status.terminal) == ("RJCT", "AM05", True, False)
    assert status.original == "payments.incoming/0/0"
    assert bench.shard.counts.as_dict() == {
        "applied": 1,
        "dead_lettered": 0,
        "duplicate": 1,
        "late": 0,
        "ticks": 0,
    }


def test_an_id_that_failed_stays_failed(bench):
    assert bench.feed(payment("p", minor=0))[0].reason == "AM01"
    assert bench.feed(payment("p", minor=0))[0].status == "DUPL"
    assert bench.feed(payment("p", minor=5))[0].reason == "AM05"
    assert bench.feed(payment("old", requested_at=START - 2 * DAY))[0].reason == "TM01"
    assert bench.feed(payment("old"))[0].reason == "AM05"
    assert not of(LedgerLeg, bench.outputs)


def test_an_id_is_never_applied_twice_within_its_claimed_time(bench):
    """The latest moment at which a repeat of an early claimed time may still come is inside the memory; after it, it is too old."""
    event = payment("p", requested_at=START + CLOCK_TOLERANCE_MS)
    assert bench.feed(event, 0)[-1].status == "ACTC"
    assert bench.feed(event, DAY + CLOCK_TOLERANCE_MS)[-1].status == "DUPL"
    last = Bench(Admission(), topics.INCOMING.name)
    last.feed(event, 0)
    for ms in range(DAY, 3 * DAY, DAY // 7):
        (status,) = last.feed(event, ms)
        assert status.status == "DUPL" or status.reason == "TM01"


def test_the_ttl_is_configurable(bench):
    assert Admission().ttl_ms == DAY
    short = Bench(Admission(ttl_ms=1000), topics.INCOMING.name)
    assert short.feed(payment("p", requested_at=START - 1000))[-1].status == "ACTC"
    assert short.feed(payment("q", requested_at=START - 1001))[-1].reason == "TM01"
    assert short.shard.shared.keep_ms == 1000 + CLOCK_TOLERANCE_MS
    assert Admission(ttl_ms=1).ttl_ms == 1
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"ttl_ms must be positive, got {bad}"):
            Admission(bad)


def test_after_the_memory_an_id_is_new_again(bench):
    bench.feed(payment("p"), 0)
    later = 3 * DAY
    assert bench.feed(payment("p", requested_at=START + later), later)[-1].status == "ACTC"


def test_a_wrong_key_is_a_dead_letter(bench):
    (letter,) = bench.feed(payment("p"), key="q")
    assert letter.code == "WRONG_KEY"


def test_origins_of_clients_prove_nothing():
    assert Admission.from_clients
    assert Admission.reads[0].__name__ == "PaymentInitiated"


@pytest.mark.parametrize(
    ("account", "good"),
    [("a", True), ("~a", False), ("a~", True), ("", False), (None, False), ("x" * 128, True), ("x" * 129, False)],
)
def test_account_ids(account, good):
    assert is_account_id(account) is good


def test_the_memory_travels_in_snapshots(bench):
    bench.feed(payment("p"))
    codec = bench.shard.processor.shared_codec
    again = codec.decode(codec.encode(bench.shard.shared))
    assert isinstance(again, Memory)
    value = REGISTRY.encode(payment("p"))
    assert again.recall("p", value, 5, START) == (0, True)


def test_statuses_go_to_the_partition_of_the_payment():
    assert Topic("payments.status") == topics.STATUS
    bench = Bench(Admission(), topics.INCOMING.name)
    bench.feed(payment("p"))
    assert [o.partition for o in bench.outputs] == [
        topics.INFLIGHT.partition_of(b"a"),
        topics.STATUS.partition_of(b"p"),
    ]
