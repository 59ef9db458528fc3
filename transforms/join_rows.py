"""What joins give, and how they are told what to give: the elements of `transforms.joins` with their coders, and the
modes."""

from enum import Enum
from typing import Any, NamedTuple

from apache_beam import coders

from transforms.plain import PlainTupleCoder, decode_plain


class JoinMode(Enum):
    """Whose rows without a partner are results, with None on the other side: nobody's, the left rows', those of both
    sides."""

    INNER = "INNER"
    LEFT = "LEFT"
    OUTER = "OUTER"


class Keep(Enum):
    """Which of several partners a row keeps: all, the first or the last in the order of (time, topic, partition,
    offset)."""

    ALL = "ALL"
    FIRST = "FIRST"
    LAST = "LAST"


LEFT, RIGHT = 0, 1
SIDES = ("LEFT", "RIGHT")


class SideRow(NamedTuple):
    """A row of one side: where its record stands, its time (ms) and its value."""

    topic: str
    partition: int
    offset: int
    time: int
    value: Any


class JoinedRow(NamedTuple):
    """A result. Its identity is that of the two records: an upsert by (key, origin of left, origin of right)."""

    key: Any
    left: SideRow | None
    right: SideRow | None


class UnmatchedRow(NamedTuple):
    """A row of `side` (LEFT or RIGHT) that has no partner and is no result in the join's mode. Exactly once."""

    side: str
    topic: str
    partition: int
    offset: int
    key: Any
    time: int
    value: Any


class LateJoinRow(NamedTuple):
    """A row of `side` that came later than the grace allows: `time + grace_ms < clock`, the clock (ms) of its partition
    before it. Exactly once."""

    side: str
    topic: str
    partition: int
    offset: int
    key: Any
    time: int
    clock: int
    value: Any


class JoinedRowCoder(PlainTupleCoder):
    kind = JoinedRow

    def decode(self, encoded: bytes) -> JoinedRow:
        key, left, right = decode_plain(encoded)
        return JoinedRow(key, left and SideRow(*left), right and SideRow(*right))


class UnmatchedRowCoder(PlainTupleCoder):
    kind = UnmatchedRow


class LateJoinRowCoder(PlainTupleCoder):
    kind = LateJoinRow


coders.registry.register_coder(JoinedRow, JoinedRowCoder)
coders.registry.register_coder(UnmatchedRow, UnmatchedRowCoder)
coders.registry.register_coder(LateJoinRow, LateJoinRowCoder)
