"""The ground truth of a generated stream of auctions: what was planted, and whether that is what came out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from auctions.generator import PREFIX
from schemas.auctions import BidDecision
from schemas.rails import DeadLetter

_IN_TIME = ("ACCEPTED", "ACCEPTED_OUTBID", "ACCEPTED_BELOW_RESERVE")


def differences(truth: Mapping[str, Any], events: Iterable[BidDecision | DeadLetter]) -> list[str]:
    """What came out otherwise than was planted, one line each; empty when all is as it should be.

    events: every decision, and the dead letters of the stages of auctions.
    """
    said: Counter[tuple[str, str]] = Counter()
    found: list[str] = []
    letters: Counter[str] = Counter()
    for event in events:
        if isinstance(event, DeadLetter):
            letters[event.code] += 1
        elif not event.automatic:
            name = event.bid_id.removeprefix(PREFIX).rpartition("-")[0] if event.bid_id.startswith(PREFIX) else ""
            name = "bell" if event.bid_id.startswith("bell-") else name
            said[name, event.status] += 1
            said["again", event.status] += event.status == "DUPLICATE"
    wanted: Counter[str] = Counter()
    for name, fault in truth["faults"].items():
        expected, count = fault["expected"], fault["count"]
        if said[name, expected] == count:
            continue
        if any(said[name, status] for _, status in list(said)):
            found.append(f"{name}: {count} planted, {said[name, expected]} are {expected}")
        else:
            wanted[expected] += count
    for code in sorted({*wanted, *letters}):
        if wanted[code] != letters[code]:
            found.append(f"dead letters {code}: {wanted[code]} planted, {letters[code]} found")
    bell = truth["bell"]
    in_time = sum(said["bell", status] for status in _IN_TIME)
    if (in_time, said["bell", "FINISHED"]) != (bell["in_time"], bell["too_late"]):
        found.append(f"bids at the bell: {bell}, but {in_time} were accepted and {said['bell', 'FINISHED']} too late")
    return found
