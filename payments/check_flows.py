"""Checkers of how records follow from records: what a stage wrote agrees with what it read (see `payments.checkers`)."""

from collections import defaultdict
from typing import Any

from payments import topics
from payments.admission import FIRST_LEG, Admission
from payments.logs import Item, Logs, by_offset, partitions
from schemas.payments import LedgerEntry, LedgerLeg, Money, PaymentConfirmed, PaymentInitiated, PaymentStatus
from schemas.rails import Record

_NO_ITEM: Item = (None, None)  # type: ignore[assignment]


def check_decodable(logs: Logs) -> list[str]:
    """What only stages write can be decoded: all but payments.incoming, and on payments.inflight what has an origin."""
    return [
        f"{topic}/{partition}/{record.offset}: cannot be decoded"
        for topic in sorted(logs)
        if topic != topics.INCOMING.name
        for partition, items in partitions(logs, topic)
        for record, event in items
        if event is None and (record.origin is not None or topic != topics.INFLIGHT.name)
    ]


class _Inputs:
    """What the stages have read, to be looked up by origin."""

    def __init__(self, logs: Logs) -> None:
        self._items = {topic.name: by_offset(logs, topic.name) for topic in (topics.INCOMING, topics.INFLIGHT)}

    def cause(self, record: Record) -> Item:
        """The item that the record's origin names. A deadline may also be fired by a repeat, which is in no effective log."""
        if record.origin is None:
            return _NO_ITEM
        source, offset, _, _ = record.origin
        return self._items.get(source.topic, {}).get(source.partition, {}).get(offset, _NO_ITEM)


# --- when and why ---


def check_causes(logs: Logs) -> list[str]:
    """Journal entries, statuses and confirmations are as old as the record that their origin names; each entry posts a leg that came."""
    inputs, found = _Inputs(logs), []
    for partition, items in partitions(logs, topics.JOURNAL.name):
        came: dict[tuple[str, str, str], list[tuple[int, Money]]] | None = None
        for record, entry in items:
            if type(entry) is not LedgerEntry:
                continue
            cause, leg = inputs.cause(record)
            what = _time_fault(record, cause, entry.at, entry.leg == "RELEASE")
            if what:
                found.append(f"{topics.JOURNAL.name}/{partition}/{record.offset}: {what}")
            if entry.leg == "RELEASE" or record.origin is None:
                continue  # how much a hold frees is a matter of the hold
            key = entry.payment_id, entry.leg, entry.account_id
            if type(leg) is LedgerLeg and (leg.payment_id, leg.leg, leg.account_id) == key:
                right = leg.amount == entry.amount
            else:  # it has waited behind the gate, and this record has opened it
                came = _legs(logs, partition) if came is None else came
                offset = record.origin.offset
                right = any(n < offset and amount == entry.amount for n, amount in came.get(key, ()))
            if not right:
                found.append(
                    f"{topics.JOURNAL.name}/{partition}/{record.offset}: no leg asked for a {entry.leg} of "
                    f"{entry.amount.minor} {entry.amount.currency} on {entry.account_id} for {entry.payment_id}"
                )
    for topic in (topics.STATUS.name, topics.CONFIRMED.name):
        for partition, items in partitions(logs, topic):
            for record, event in items:
                if type(event) is PaymentStatus:
                    what = _time_fault(record, inputs.cause(record)[0], event.at, event.status == "CANC")
                elif type(event) is PaymentConfirmed:
                    what = _time_fault(record, inputs.cause(record)[0], event.confirmed_at, False)
                else:
                    continue
                if what:
                    found.append(f"{topic}/{partition}/{record.offset}: {what}")
    return found


def _time_fault(record: Record, cause: Record | None, at: int, by_deadline: bool) -> str | None:
    if cause is not None:
        return None if cause.at == at else f"says {at} ms, but what caused it came at {cause.at} ms"
    if record.origin is None:
        return "no stage wrote it"
    return None if by_deadline else "what caused it is not there"


def _legs(logs: Logs, partition: int) -> dict[tuple[str, str, str], list[tuple[int, Money]]]:
    """(payment, leg, account) → (offset, amount) of each such leg of a partition."""
    legs: dict[tuple[str, str, str], list[tuple[int, Money]]] = defaultdict(list)
    for record, leg in logs.get(topics.INFLIGHT.name, {}).get(partition, ()):
        if type(leg) is LedgerLeg:
            legs[leg.payment_id, leg.leg, leg.account_id].append((record.offset, leg.amount))
    return legs


# --- what is said of a payment ---


def check_flows(logs: Logs) -> list[str]:
    """The legs, statuses and confirmation of a payment are about the same money and accounts as the payment that came in.

    A status of a hold that has ended, and of the void that ended it, tells what was captured or freed, as the journal does.
    """
    inputs, found = _Inputs(logs), []
    first: dict[tuple[str, int], LedgerLeg] = {}
    later: list[tuple[int, Record, LedgerLeg]] = []
    for partition, items in partitions(logs, topics.INFLIGHT.name):
        for record, leg in items:
            if type(leg) is not LedgerLeg or record.origin is None:
                continue
            if record.origin.source.stage == Admission.stage:
                first[leg.payment_id, leg.admitted_at] = leg
                if not _is_first_leg_of(leg, *inputs.cause(record)):
                    found.append(f"{topics.INFLIGHT.name}/{partition}/{record.offset}: not as {leg.payment_id} came in")
            else:
                later.append((partition, record, leg))
    for partition, record, leg in later:
        if not _follows(leg, first.get((leg.payment_id, leg.admitted_at))):
            found.append(
                f"{topics.INFLIGHT.name}/{partition}/{record.offset}: not as the first leg of {leg.payment_id} has it"
            )
    resolved = _resolved(logs)
    for partition, items in partitions(logs, topics.STATUS.name):
        for record, status in items:
            if type(status) is not PaymentStatus or record.origin is None:
                continue
            if status.stage == Admission.stage:
                event = inputs.cause(record)[1]
                right = type(event) is not PaymentInitiated or (
                    (event.payment_id, event.kind, event.amount) == (status.payment_id, status.kind, status.amount)
                )
            elif (status.kind, status.status) in (("HOLD", "ACCC"), ("HOLD", "CANC"), ("VOID", "ACCC")):
                right = status.amount in resolved.get((record.origin.source.partition, record.origin.offset), ())
            else:
                leg = first.get((status.payment_id, status.at - status.elapsed_ms))
                right = leg is None or (leg.kind, leg.amount) == (status.kind, status.amount)
            if not right:
                found.append(
                    f"{topics.STATUS.name}/{partition}/{record.offset}: {status.kind} {status.payment_id} {status.status} "
                    f"says {status.amount.minor} {status.amount.currency}, but the payment does not"
                )
    for partition, items in partitions(logs, topics.CONFIRMED.name):
        for record, payment in items:
            if type(payment) is not PaymentConfirmed:
                continue
            leg = first.get((payment.payment_id, payment.admitted_at))
            if leg is None or _parties(leg) != _parties_confirmed(payment):
                found.append(
                    f"{topics.CONFIRMED.name}/{partition}/{record.offset}: {payment.payment_id} is not confirmed as it was admitted"
                )
    return found


def _is_first_leg_of(leg: LedgerLeg, record: Record | None, event: Any) -> bool:
    """True for what was not found too: the books miss it."""
    if type(event) is not PaymentInitiated or record is None:
        return True
    deposit = event.kind == "DEPOSIT"
    return (
        leg.payment_id,
        leg.kind,
        leg.leg,
        leg.amount,
        leg.account_id,
        leg.counterparty,
        leg.pending_id,
        leg.admitted_at,
    ) == (
        event.payment_id,
        event.kind,
        FIRST_LEG[event.kind],
        event.amount,
        event.creditor_account if deposit else event.debtor_account,
        None if deposit else event.creditor_account,
        event.pending_id,
        record.at,
    )


def _follows(leg: LedgerLeg, first: LedgerLeg | None) -> bool:
    """A credit is on the other account of the first leg; an unwind or completion comes back to its own."""
    if first is None or (leg.kind, leg.amount, leg.pending_id) != (first.kind, first.amount, first.pending_id):
        return False
    parties = (first.counterparty, first.account_id) if leg.leg == "CREDIT" else (first.account_id, first.counterparty)
    return (leg.account_id, leg.counterparty) == parties and leg.leg in ("CREDIT", "UNWIND", "COMPLETE")


def _parties(leg: LedgerLeg) -> tuple[Any, ...]:
    pair = (None, leg.account_id) if leg.kind == "DEPOSIT" else (leg.account_id, leg.counterparty)
    return (leg.kind, leg.amount, *pair, leg.reference)


def _parties_confirmed(payment: PaymentConfirmed) -> tuple[Any, ...]:
    return payment.kind, payment.amount, payment.debtor_account, payment.creditor_account, payment.reference


def _resolved(logs: Logs) -> dict[tuple[int, int], list[Money]]:
    """(partition, offset on payments.inflight) → amounts captured and released by that record."""
    amounts: dict[tuple[int, int], list[Money]] = defaultdict(list)
    for partition, items in partitions(logs, topics.JOURNAL.name):
        for record, entry in items:
            if type(entry) is LedgerEntry and entry.leg in ("CAPTURE", "RELEASE") and record.origin is not None:
                amounts[partition, record.origin.offset].append(entry.amount)
    return amounts
