"""Checkers of holds: what has become of reserved money, by the journal (see `payments.checkers`)."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from payments import topics
from payments.logs import Logs, by_offset, partitions
from schemas.payments import LedgerEntry, LedgerLeg
from schemas.rails import Record

_KINDS = ("HOLD", "CAPTURE", "RELEASE")


def _hold_entries(logs: Logs) -> Iterator[tuple[str, LedgerEntry, str]]:
    """(where, entry, hold_id) of the entries that make or end a hold, in the order of each partition.

    A payment id may come again once admission has forgotten it, so a capture or void names its hold by the very leg that caused the entry,
    not by its id. A release without such a leg, or by the record with which the hold of that name runs out, is an expiry.
    """
    inflight = by_offset(logs, topics.INFLIGHT.name)
    for partition, items in partitions(logs, topics.JOURNAL.name):
        legs = inflight.get(partition, {})
        captures: dict[tuple[str, str], list[tuple[int, LedgerLeg]]] = defaultdict(list)
        for offset, (_, leg) in legs.items():
            if type(leg) is LedgerLeg and leg.leg == "CAPTURE":
                captures[leg.account_id, leg.payment_id].append((offset, leg))
        until: dict[tuple[str, str], int | None] = {}  # open hold → when it runs out, None for never
        captured: tuple[int, str, str, str] | None = None  # the capture just before: offset, account, payment, hold
        for record, entry in items:
            if type(entry) is not LedgerEntry or entry.leg not in _KINDS or record.origin is None:
                captured = None
                continue
            account, payment, offset = entry.account_id, entry.payment_id, record.origin.offset
            cause: Record | None
            event: Any
            cause, event = legs.get(offset, (None, None))
            own = type(event) is LedgerLeg and (event.account_id, event.payment_id) == (account, payment)
            before, captured, hold = captured, None, payment
            if entry.leg == "CAPTURE":
                if own and event.leg == "CAPTURE":
                    hold = event.pending_id or payment
                else:  # it has waited behind the gate
                    came = [leg for n, leg in captures[account, payment] if n < offset and leg.amount == entry.amount]
                    names = [leg.pending_id for leg in came if (account, leg.pending_id) in until]
                    hold = names[-1] if names and names[-1] else payment
                captured = offset, account, payment, hold
            elif entry.leg == "RELEASE" and before is not None and before[:3] == (offset, account, payment):
                hold = before[3]  # the rest of what was captured in part
            elif entry.leg == "RELEASE" and own and event.leg in ("CAPTURE", "RELEASE"):
                end = until.get((account, payment))
                if end is None or cause is None or cause.at < end:
                    hold = event.pending_id or payment
            if entry.leg != "HOLD":
                until.pop((account, hold), None)
            else:
                timeout = event.hold_timeout_ms if own else None
                until[account, hold] = None if timeout is None else entry.at + timeout
            yield f"{topics.JOURNAL.name}/{partition}/{record.offset}", entry, hold


def check_holds(logs: Logs) -> list[str]:
    """Captured and released is never more than held; a hold ends once."""
    held: dict[tuple[str, str], int] = {}
    enders: dict[tuple[str, str], str] = {}
    found = []
    for where, entry, hold_id in _hold_entries(logs):
        hold = entry.account_id, hold_id
        if entry.leg == "HOLD":
            if hold in enders and held[hold] > 0:
                found.append(f"{where}: {enders[hold]} ended the hold {hold_id}, and left {held[hold]} of it held")
            elif held.get(hold, 0) > 0:
                found.append(f"{where}: another hold {hold_id}, and {held[hold]} of the one before are held")
            held[hold] = entry.amount.minor
            enders.pop(hold, None)
            continue
        if hold not in held:
            found.append(f"{where}: a {entry.leg} of the hold {hold_id}, which is not there")
            continue
        if enders.setdefault(hold, entry.payment_id) != entry.payment_id:
            found.append(f"{where}: {entry.payment_id} ends the hold {hold_id}, which {enders[hold]} has ended")
        held[hold] -= entry.amount.minor
        if held[hold] < 0:
            found.append(f"{where}: {-held[hold]} more captured and released than held by {hold_id}")
    for (account, hold_id), ender in sorted(enders.items()):
        if held[account, hold_id] > 0:
            found.append(f"{account}: {ender} ended the hold {hold_id}, and left {held[account, hold_id]} of it held")
    return found


def open_holds(logs: Logs) -> int:
    """Holds that no capture, void or expiry has ended, by the journal."""
    holds: set[tuple[str, str]] = set()
    for _, entry, hold_id in _hold_entries(logs):
        if entry.leg == "HOLD":
            holds.add((entry.account_id, hold_id))
        else:
            holds.discard((entry.account_id, hold_id))
    return len(holds)
