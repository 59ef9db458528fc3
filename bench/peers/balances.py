"""What a side has written: how fast, by the broker's append times, and whether the balances are right."""

from collections import Counter, defaultdict
from itertools import accumulate
from typing import NamedTuple

from bench.broker import rate, read
from bench.card import DEPOSITS, EVENTS


class Written(NamedTuple):
    """records; records_per_s and seconds between the first and the last tenth of them; wrong: cards whose last balance is
    not the sum of as many deposits as the card has balances."""

    records: int
    records_per_s: int
    seconds: float
    wrong: int


def expected(bootstrap: str) -> dict[bytes, list[int]]:
    """The balances of each card after each of its deposits."""
    amounts: dict[bytes, list[int]] = defaultdict(list)
    for _, key, value in read(bootstrap, DEPOSITS.name, DEPOSITS.partitions):
        amounts[key].append(EVENTS.decode(value).amount)
    return {key: list(accumulate(found)) for key, found in amounts.items()}


def judge(bootstrap: str, topic: str, right: dict[bytes, list[int]]) -> Written:
    """Reads a topic of balances to its end. Raises ValueError when it is too short for a rate."""
    times, counts, last = [], Counter[bytes](), dict[bytes, bytes]()
    for at, key, value in read(bootstrap, topic, DEPOSITS.partitions):
        times.append(at)
        counts[key] += 1
        last[key] = value
    if len(times) < 10:
        raise ValueError(f"{topic} has {len(times)} records: too few for a rate")
    per_second, seconds = rate(times)
    wrong = sum(1 for key, count in counts.items() if _balance(right, key, count) != EVENTS.decode(last[key]).balance)
    return Written(len(times), round(per_second), seconds, wrong)


def _balance(right: dict[bytes, list[int]], key: bytes, count: int) -> int | None:
    found = right.get(key, [])
    return found[count - 1] if count <= len(found) else None
