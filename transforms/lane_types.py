"""What goes in and out of a turn of a lane, and how a lane works: plain values, with the coder of the summaries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from apache_beam import coders

from transforms.errors import BadRecord
from transforms.event_types import codec_of


class LaneStalled(RuntimeError):
    """The log goes on but the lane reads nothing of it: better a restart than green checkpoints."""


class Place(NamedTuple):
    """Where a shard stands: all before `offset` is folded and flushed; `checksum` is that of the record before it."""

    partition: int
    offset: int
    checksum: int


class Claim(NamedTuple):
    """Where a lane stands: topic id and the place of each partition, in order; empty before the first turn."""

    topic: str
    places: tuple[Place, ...]

    def reaches(self, until: Mapping[int, int] | None) -> bool:
        """Whether a lane that ends at these offsets, by partition, has nothing more to do."""
        if until is None or not self.places:
            return False
        return all(place.offset >= until[place.partition] for place in self.places)


class Summary(NamedTuple):
    """One turn of a lane.

    stage, lane: whose; worker: host and process. records, outputs: since the summary before; refolded: records folded without writing.
    counts: where all records of the shards went since offset 0 (applied, dead_lettered, duplicate, late, ticks); entities: that they hold.
    lag: records that the log holds and the lane has not folded. p50, p99, most: of the time (ms) from the append of a record to when its
    outputs were given to the broker, by this machine's clock; 0 without records. busy: ms not spent waiting for records; away: ms since
    the turn before in this process, which the runner took; 0 in the first.
    snapshots, unsaved: that were written, and that could not be. clock: the smallest of the shards, ms, -1 if one has none.
    partitions, offsets: where the shards stand.
    """

    stage: str
    lane: int
    worker: str
    records: int
    outputs: int
    refolded: int
    counts: dict[str, int]
    entities: int
    lag: int
    p50: int
    p99: int
    most: int
    busy: int
    away: int
    snapshots: int
    unsaved: int
    clock: int
    partitions: tuple[int, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class LaneKnobs:
    """How a lane works.

    stay_ms: length of a turn; a checkpoint waits for it. step_records: most records of a step. flush: wait for the broker after each
    "step", or only at the end of a "turn" (outputs leave at once either way). snapshot_records, snapshot_s: a shard gets a snapshot after
    so many records, or after so many seconds if it has moved; later where the snapshots of all shards would take more than
    snapshot_share of the lane's time, so that a large state does not stop the lane: what a restore folds again then grows with it.
    stall_s: how long the lane may stand still before records. commit_s: how often the consumer group is told. lease_ms: the lane folds
    on between turns, for at most so long: records that come while the runner is busy do not wait for the next turn; 0: it does not.
    """

    stay_ms: int = 500
    step_records: int = 2000
    flush: str = "turn"
    snapshot_records: int = 500_000
    snapshot_s: float = 60
    snapshot_share: float = 0.03
    stall_s: float = 30
    commit_s: float = 1
    lease_ms: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.stay_ms <= 10_000:
            raise ValueError(f"stay_ms must be from 0 to 10000, got {self.stay_ms}")
        if not 0 <= self.lease_ms <= 60_000:
            raise ValueError(f"lease_ms must be from 0 to 60000, got {self.lease_ms}")
        if self.step_records < 1 or self.snapshot_records < 1:
            raise ValueError(
                f"step_records and snapshot_records must be >= 1, got {self.step_records}, {self.snapshot_records}"
            )
        if min(self.snapshot_s, self.stall_s, self.commit_s) <= 0:
            raise ValueError(
                f"snapshot_s, stall_s and commit_s must be > 0, got {self.snapshot_s}, {self.stall_s}, {self.commit_s}"
            )
        if not 0 < self.snapshot_share <= 1:
            raise ValueError(f"snapshot_share must be above 0 and at most 1, got {self.snapshot_share}")
        if self.flush not in ("step", "turn"):
            raise ValueError(f"flush must be step or turn, got {self.flush!r}")


class TupleCoder(coders.Coder):
    """A NamedTuple as Avro; subclasses name its type."""

    kind: Any

    def __init__(self) -> None:
        self._codec = codec_of(self.kind)

    def encode(self, value: Any) -> bytes:
        return self._codec.encode(value)

    def decode(self, encoded: bytes) -> Any:
        try:
            return self._codec.decode(encoded)
        except BadRecord as error:
            raise ValueError(f"{self.kind.__name__}: {error.code}") from error

    def is_deterministic(self) -> bool:
        return True

    def __reduce__(self) -> Any:
        return type(self), ()


class SummaryCoder(TupleCoder):
    """Compact and deterministic."""

    kind = Summary


coders.registry.register_coder(Summary, SummaryCoder)
