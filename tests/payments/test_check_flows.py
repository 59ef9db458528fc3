"""What stages wrote and somebody changed afterwards: every number, account and time that the log itself contradicts."""

from collections.abc import Callable
from typing import Any

import pytest

from payments import topics
from payments.checkers import check_all, check_causes, check_decodable, check_flows
from schemas.payments import LedgerEntry, LedgerLeg, Money, PaymentConfirmed, PaymentInitiated, PaymentStatus
from schemas.rails import Record, Tick
from tests.payments.tampering import CASES, tampered
from tests.payments.world import START, World

STAGES = (topics.INFLIGHT, topics.JOURNAL, topics.STATUS, topics.CONFIRMED)


@pytest.fixture(scope="module")
def sound() -> World:
    return World(CASES)


def change(kind: type, which: Callable[[Any], bool], /, **fields: Any) -> Callable[[Record, Any], Any]:
    def changed(record: Record, event: Any) -> Any:
        if type(event) is kind and record.origin is not None and which(event):
            return [(record, event._replace(**fields))]
        return None

    return changed


def items(world: World, topic: Any, kind: type) -> list[tuple[Record, Any]]:
    return [
        (record, event)
        for held in world.logs[topic.name].values()
        for record, event in held
        if type(event) is kind and record.origin is not None
    ]


def test_a_sound_run_has_no_violation(sound):
    for check in (check_decodable, check_causes, check_flows):
        assert check(sound.logs) == []


# --- undecodable ---


@pytest.mark.parametrize("topic", [*STAGES, topics.BALANCES])
def test_each_record_of_a_stage_that_cannot_be_decoded_is_found(sound, topic):
    kinds = (LedgerLeg, LedgerEntry, PaymentStatus, PaymentConfirmed)
    count = 0
    for number, held in sound.logs[topic.name].items():
        for n, (record, event) in enumerate(held):
            if topic is topics.BALANCES or (type(event) in kinds and record.origin is not None):
                logs = {**sound.logs, topic.name: {**sound.logs[topic.name], number: list(held)}}
                logs[topic.name][number][n] = record, None
                where = f"{topic.name}/{number}/{record.offset}"
                assert check_decodable(logs) == [f"{where}: cannot be decoded"]
                count += 1
    assert count > 5


def test_what_clients_write_may_be_anything(sound):
    junk = [(Record(10**6, START, b"k", b"junk", None, ()), None)]
    logs = {**sound.logs}
    for topic in (topics.INCOMING, topics.INFLIGHT):
        logs[topic.name] = {number: [*held, *junk] for number, held in sound.logs[topic.name].items()}
    assert check_decodable(logs) == []
    logs[topics.STATUS.name] = {0: junk}  # nobody but the stages writes there
    assert len(check_decodable(logs)) == 1


# --- amounts and accounts ---


@pytest.mark.parametrize(
    ("topic", "kind"),
    [(topics.INFLIGHT, LedgerLeg), (topics.STATUS, PaymentStatus), (topics.CONFIRMED, PaymentConfirmed)],
)
@pytest.mark.parametrize("money", [Money(999_999, "EUR"), Money(1, "JPY")])
def test_each_other_amount_is_found(sound, topic, kind, money):
    for record, event in items(sound, topic, kind):
        logs = tampered(
            sound.logs, topic, lambda r, e, it=record, money=money: [(r, e._replace(amount=money))] if r is it else None
        )
        assert check_flows(logs), (record, event)


def test_each_other_amount_of_an_entry_is_found(sound):
    for record, event in items(sound, topics.JOURNAL, LedgerEntry):
        logs = tampered(
            sound.logs,
            topics.JOURNAL,
            lambda r, e, it=record: [(r, e._replace(amount=Money(777, "EUR")))] if r is it else None,
        )
        assert check_all(logs), event
        if event.leg != "RELEASE":
            (line,) = check_causes(logs)
            assert f"no leg asked for a {event.leg} of 777 EUR on {event.account_id} for {event.payment_id}" in line


@pytest.mark.parametrize(
    "fields",
    [
        {"debtor_account": "mallory"},
        {"creditor_account": "mallory"},
        {"kind": "HOLD"},
        {"reference": "other"},
        {"admitted_at": 1},
    ],
)
def test_a_confirmation_of_another_payment_is_found(sound, fields):
    for payment in ("d1", "t1", "w1", "r1", "c1"):
        logs = tampered(
            sound.logs, topics.CONFIRMED, change(PaymentConfirmed, lambda e, p=payment: e.payment_id == p, **fields)
        )
        (line,) = check_flows(logs)
        assert line.startswith("payments.confirmed/")
        assert line.endswith(f": {payment} is not confirmed as it was admitted")


@pytest.mark.parametrize(
    "fields", [{"account_id": "mallory"}, {"counterparty": "mallory"}, {"pending_id": "other"}, {"kind": "VOID"}]
)
@pytest.mark.parametrize("hop", [1, 2, 3])
def test_a_leg_of_other_accounts_is_found(sound, fields, hop):
    for payment in ("t1", "g0", "g1", "c1", "c3"):
        which = (payment, hop)
        if which in {(e.payment_id, e.hop) for _, e in items(sound, topics.INFLIGHT, LedgerLeg)}:
            logs = tampered(
                sound.logs, topics.INFLIGHT, change(LedgerLeg, lambda e, w=which: (e.payment_id, e.hop) == w, **fields)
            )
            assert any(line.startswith("payments.inflight/") for line in check_flows(logs))


def test_a_leg_that_is_another_step_is_found(sound):
    logs = tampered(
        sound.logs, topics.INFLIGHT, change(LedgerLeg, lambda e: (e.payment_id, e.leg) == ("t1", "CREDIT"), leg="DEBIT")
    )
    assert check_flows(logs)


def test_a_leg_without_a_first_leg_is_found(sound):
    logs = tampered(
        sound.logs,
        topics.INFLIGHT,
        lambda r, e: [] if type(e) is LedgerLeg and (e.payment_id, e.hop) == ("t1", 1) else None,
    )
    assert any("not as the first leg of t1 has it" in line for line in check_flows(logs))


def test_the_first_leg_is_compared_with_what_came_in(sound):
    def other(record: Record, event: Any) -> Any:
        if type(event) is PaymentInitiated and event.payment_id == "d1":
            return [(record, event._replace(amount=Money(1, "EUR")))]
        return None

    found = check_flows(tampered(sound.logs, topics.INCOMING, other))
    assert any(line.endswith("not as d1 came in") for line in found)
    assert any("DEPOSIT d1 ACTC says 1000 EUR, but the payment does not" in line for line in found)


def test_legs_that_outsiders_sent_say_nothing_of_payments(sound):
    outsider = next(event for _, event in items(sound, topics.INFLIGHT, LedgerLeg))._replace(amount=Money(5, "EUR"))
    logs = tampered(
        sound.logs,
        topics.INFLIGHT,
        lambda r, e: [(r, e), (r._replace(offset=10**6, origin=None), outsider)] if r.offset == 0 else None,
    )
    assert check_flows(logs) == []


def test_other_events_are_passed_by(sound):
    tick = Record(10**6, START, b"k", b"", None, ()), Tick(START)
    logs = {topic: {number: [*held, tick] for number, held in found.items()} for topic, found in sound.logs.items()}
    for check in (check_decodable, check_causes, check_flows):
        assert check(logs) == []


def test_what_did_not_come_in_is_left_to_the_books(sound):
    lost = {**sound.logs, topics.INCOMING.name: {}}
    assert check_flows(lost) == []
    assert any(line.startswith("incoming 0 != ") for line in check_all(lost))


# --- times and causes ---


@pytest.mark.parametrize(
    ("topic", "kind", "field"),
    [
        (topics.JOURNAL, LedgerEntry, "at"),
        (topics.STATUS, PaymentStatus, "at"),
        (topics.CONFIRMED, PaymentConfirmed, "confirmed_at"),
    ],
)
def test_each_other_time_is_found(sound, topic, kind, field):
    for record, event in items(sound, topic, kind):
        at = getattr(event, field)
        logs = tampered(
            sound.logs, topic, lambda r, e, it=record, at=at: [(r, e._replace(**{field: at + 1}))] if r is it else None
        )
        (line,) = check_causes(logs)
        assert line.endswith(f"says {at + 1} ms, but what caused it came at {at} ms")


@pytest.mark.parametrize("topic", [topics.JOURNAL, topics.STATUS, topics.CONFIRMED])
def test_what_no_stage_wrote_is_found(sound, topic):
    record, _ = next(pair for held in sound.logs[topic.name].values() for pair in held if pair[0].origin is not None)
    logs = tampered(sound.logs, topic, lambda r, e: [(r._replace(origin=None), e)] if r is record else None)
    assert [line for line in check_causes(logs) if line.endswith(": no stage wrote it")]


def test_an_entry_whose_cause_is_not_there_is_found(sound):
    logs = tampered(
        sound.logs,
        topics.INFLIGHT,
        lambda r, e: [] if type(e) is LedgerLeg and (e.payment_id, e.leg) == ("w1", "DEBIT") else None,
    )
    found = check_causes(logs)
    assert sum(line.endswith(": what caused it is not there") for line in found) == 3  # entry, status and confirmation
    assert sum("no leg asked for a DEBIT of 100 EUR on b for w1" in line for line in found) == 1


def test_a_hold_may_run_out_with_a_repeat_that_is_in_no_effective_log(sound):
    logs = tampered(sound.logs, topics.INFLIGHT, lambda r, e: [] if type(e) is Tick and r.at >= START + 2_000 else None)
    assert any(e.payment_id == "h2" and e.leg == "RELEASE" for _, e in items(sound, topics.JOURNAL, LedgerEntry))
    assert check_causes(logs) == []


def test_a_debit_behind_the_gate_must_have_come_before_it_opened(sound):
    """g1 to g4 wait for g0: their entries are caused by what opens the gate."""
    waited = [
        (record, event)
        for record, event in items(sound, topics.JOURNAL, LedgerEntry)
        if event.payment_id in ("g1", "g2") and event.leg == "DEBIT"
    ]
    assert len(waited) == 2
    late = tampered(
        sound.logs,
        topics.INFLIGHT,
        lambda r, e: (
            [(r._replace(offset=10**6), e)]
            if type(e) is LedgerLeg and (e.payment_id, e.leg) == ("g1", "DEBIT")
            else None
        ),
    )
    assert any("no leg asked for a DEBIT of 100 EUR on g for g1" in line for line in check_causes(late))
