"""The stages of the payment system by name, and which topics get ticks: what live jobs, replays and the ticker agree on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from payments import topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.watchdog import Watchdog
from schemas.rails import Tick
from transforms.fold import DEAD_LETTERS, Topic

TICKED = (topics.INFLIGHT, topics.STATUS)
"""Topics whose stages have deadlines. Clients write payments.incoming; what admission remembers goes with its records' clock."""


class StageKind(NamedTuple):
    """What a stage reads, what it writes to the log, and its upserts."""

    stage: str
    topic: Topic
    writes: tuple[Topic, ...]
    upserts: tuple[Topic, ...] = ()


ADMISSION = StageKind(Admission.stage, topics.INCOMING, (topics.INFLIGHT, topics.STATUS, DEAD_LETTERS))
ACCOUNTS = StageKind(
    AccountProcessor.stage,
    topics.INFLIGHT,
    (topics.INFLIGHT, topics.JOURNAL, topics.STATUS, topics.CONFIRMED, DEAD_LETTERS),
    (topics.BALANCES,),
)
WATCHDOG = StageKind(Watchdog.stage, topics.STATUS, (topics.OVERDUE, DEAD_LETTERS))
KINDS = (ADMISSION, ACCOUNTS, WATCHDOG)


def tick_values(
    at_ms: int, encode: Callable[[Any], bytes], ticked: Sequence[Topic] = TICKED
) -> list[tuple[str, int, bytes]]:
    """(topic, partition, value) of one round of ticks: one for every partition, so that deadlines fire on quiet ones too (contract line 3).

    A tick has no identity and moves nothing but the clock, so rounds may be missing, doubled or written by two tickers at once.
    """
    value = encode(Tick(at_ms))
    return [(topic.name, partition, value) for topic in ticked for partition in range(topic.partitions)]
