"""Which fault comes when: a pure function of the seed."""

import random
from collections.abc import Sequence
from typing import NamedTuple


class Planned(NamedTuple):
    """A fault to come. wait_s: under load before it; dice: from 0 to 1, for what the fault itself has to choose."""

    number: int
    kind: str
    wait_s: float
    dice: float


def plan(seed: int, faults: int, kinds: Sequence[str], least_s: float = 2.0, most_s: float = 6.0) -> list[Planned]:
    """`faults` of these kinds in rounds: each kind comes once before any comes again, in an order of the seed.

    ValueError for no kinds, kinds that stand twice, or a negative number of faults.
    """
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError(f"kinds must be names, each once, got {list(kinds)}")
    if faults < 0 or not 0 <= least_s <= most_s:
        raise ValueError(f"faults must be >= 0 and 0 <= least_s <= most_s, got {faults}, {least_s}, {most_s}")
    rng = random.Random(seed)
    found: list[Planned] = []
    while len(found) < faults:
        for kind in rng.sample(sorted(kinds), len(kinds)):
            found.append(Planned(len(found) + 1, kind, round(rng.uniform(least_s, most_s), 2), rng.random()))
    return found[:faults]
