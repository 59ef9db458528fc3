"""Where a reader of a log stands: offsets of some partitions, as the restriction of a splittable DoFn."""

import struct
from typing import Any, NamedTuple

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker

OPEN = -1  # as `stop`: there is none


class Range(NamedTuple):
    """What is left of one partition.

    offset: of the next record; stop: where reading ends, OPEN if it does not; clock: largest append time (ms) before `offset`, -1 if
    unknown or none; checksum: CRC-32 of the record before `offset` in its own encoding, 0 if unknown or none.
    """

    partition: int
    offset: int
    stop: int = OPEN
    clock: int = -1
    checksum: int = 0

    @property
    def done(self) -> bool:
        return self.stop != OPEN and self.offset >= self.stop


class LogRanges(NamedTuple):
    """What is left of a group of partitions of the topic that has this id (Kafka's, not its name)."""

    topic_id: str
    ranges: tuple[Range, ...]

    @property
    def done(self) -> bool:
        return all(part.done for part in self.ranges)

    @property
    def left(self) -> int:
        """Records until the stops; 1 for each partition without one."""
        return sum(1 if part.stop == OPEN else max(0, part.stop - part.offset) for part in self.ranges)


class LogTracker(RestrictionTracker):
    """Claims ranges forwards. It can be cut where it stands, for a checkpoint, and nowhere else: ahead of it nothing is known."""

    def __init__(self, restriction: LogRanges) -> None:
        self._id = restriction.topic_id
        self._ranges = {part.partition: part for part in restriction.ranges}
        self._first = restriction.left
        self._cut = False

    def current_restriction(self) -> LogRanges:
        return LogRanges(self._id, tuple(self._ranges.values()))

    def try_claim(self, position: Range) -> bool:
        """Whether all records before `position` are ours; it is where the partition stands from now on."""
        found = self._ranges[position.partition]
        if self._cut:
            return False
        beyond = found.stop != OPEN and position.offset > found.stop
        if beyond or position.stop != found.stop or position.offset < found.offset:
            raise ValueError(f"partition {found.partition}: cannot claim up to {position.offset} of {found}")
        self._ranges[position.partition] = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[LogRanges, LogRanges] | None:
        if fraction_of_remainder != 0 or self._cut or self.current_restriction().done:
            return None
        rest = self.current_restriction()
        self._ranges = {part.partition: part._replace(stop=part.offset) for part in rest.ranges}
        self._cut = True
        return self.current_restriction(), rest

    def check_done(self) -> bool:
        if not self.current_restriction().done:
            raise ValueError(f"records are left unread: {self.current_restriction()}")
        return True

    def current_progress(self) -> RestrictionProgress:
        left = self.current_restriction().left
        return RestrictionProgress(completed=max(0, self._first - left), remaining=left)

    def is_bounded(self) -> bool:
        return all(part.stop != OPEN for part in self._ranges.values())


class LogRangesCoder(coders.Coder):
    """The topic id, then 32 bytes for each partition."""

    _RANGE = struct.Struct("<iqqqI")

    def encode(self, value: LogRanges) -> bytes:
        name = value.topic_id.encode()
        return bytes([len(name)]) + name + b"".join(self._RANGE.pack(*part) for part in value.ranges)

    def decode(self, encoded: bytes) -> LogRanges:
        start = 1 + encoded[0]
        return LogRanges(encoded[1:start].decode(), tuple(map(Range._make, self._RANGE.iter_unpack(encoded[start:]))))

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return LogRanges


coders.registry.register_coder(LogRanges, LogRangesCoder)
