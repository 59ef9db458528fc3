"""The ground truth of a generated stream: what was planted, and whether that is what came out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from payments.planted import PREFIX, Expected
from schemas.payments import PaymentStatus
from schemas.rails import DeadLetter


def faults_of(planted: Mapping[str, int], expected: Mapping[str, Expected]) -> dict[str, Any]:
    """Parts of the truth as plain JSON: `planted`, of each fault its count and outcome; `dead_letters`, how many of each code."""
    faults: dict[str, Any] = {}
    letters: Counter[str] = Counter()
    for name, outcome in expected.items():
        if not planted.get(name):
            continue
        if outcome.dead_letter is None:
            faults[name] = {"count": planted[name], "status": outcome.status, "reason": outcome.reason}
        else:
            faults[name] = {"count": planted[name], "dead_letter": outcome.dead_letter}
            letters[outcome.dead_letter] += planted[name] * outcome.letters
    return {"planted": faults, "dead_letters": dict(sorted(letters.items()))}


def outcomes(events: Iterable[PaymentStatus | DeadLetter]) -> tuple[Counter[tuple[str, str, str]], Counter[str], int]:
    """What `differences` compares, out of the events of payments.status and rails.deadletters."""
    statuses: Counter[tuple[str, str, str]] = Counter()
    dead_letters: Counter[str] = Counter()
    duplicates = 0
    for event in events:
        if isinstance(event, DeadLetter):
            dead_letters[event.code] += 1
        else:
            statuses[event.reference or "", event.status, event.reason or ""] += 1
            duplicates += event.status == "DUPL"
    return statuses, dead_letters, duplicates


def differences(
    truth: Mapping[str, Any],
    statuses: Mapping[tuple[str, str, str], int],
    dead_letters: Mapping[str, int],
    duplicates: int,
) -> list[str]:
    """What came out otherwise than was planted, one line each; empty when all is as it should be.

    statuses: how many records of payments.status have this (reference, status, reason); dead_letters: how many have this code; duplicates:
    how many statuses are DUPL.
    """
    found = []
    for name, fault in truth["planted"].items():
        if "status" in fault:
            seen = statuses.get((PREFIX + name, fault["status"], fault["reason"]), 0)
            if seen != fault["count"]:
                found.append(f"{name}: {fault['count']} planted, {seen} are {fault['status']} {fault['reason']}")
    for code in sorted({*truth["dead_letters"], *dead_letters}):
        wanted, seen = truth["dead_letters"].get(code, 0), dead_letters.get(code, 0)
        if wanted != seen:
            found.append(f"dead letters {code}: {wanted} planted, {seen} found")
    if duplicates != truth["duplicates"]:
        found.append(f"duplicates: {truth['duplicates']} planted, {duplicates} are DUPL")
    return found
