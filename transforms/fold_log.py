"""`FoldLog`: the live driver. Lanes of a stage as a splittable DoFn over Kafka; Beam carries claims and summaries, no records.

A lane is one element, some bytes that place it on the workers (`flink_keys`); its restriction is a claim: the topic id and the offset
reached on each partition. A call of `process` runs one turn of the lane (`lanes`), claims what was reached, gives one summary, and
defers the rest, so it returns within half a second and checkpoints pass.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import DoFn, RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from transforms.flink_keys import spread_keys
from transforms.fold_bounded import Engine
from transforms.garbage import collect_rarely_from_now_on
from transforms.kafka_headers import Headings, source_bytes
from transforms.lane_types import Claim, LaneKnobs, Summary, TupleCoder
from transforms.lanes import Connections, Lane, shared_lane
from transforms.log_reader import LogReader, ReadKnobs, TopicLookup
from transforms.log_writer import LogWriter, WriteKnobs
from transforms.manual_watermarks import ManualWatermarks, advance
from transforms.snapshots import SnapshotStore


class Settings(Protocol):
    """Where the broker is, and how to get in: `kafka_settings.KafkaSettings`."""

    def resolved(self) -> dict[str, str]: ...


class Work(NamedTuple):
    """The restriction of a lane: what it has reached when the work begins, and whether it ends there (the primary of a split)."""

    claim: Claim
    ended: bool


class WorkCoder(TupleCoder):
    """Compact and deterministic."""

    kind = Work


class LaneTracker(RestrictionTracker):
    """What of a lane's work is claimed; `until` has the end offsets of a bounded one. A position is a `Claim` that was reached."""

    def __init__(self, work: Work, until: Mapping[int, int] | None) -> None:
        self._work, self._until = work, until

    def current_restriction(self) -> Work:
        return self._work

    def try_claim(self, position: Claim) -> bool:
        """False if the rest was given away: what was reached is then not claimed, and who has the rest finds it in memory or repeats it."""
        if self._work.ended:
            return False
        self._work = Work(position, False)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Work, Work] | None:
        """What is claimed is done, everything after it is the rest; None if there is none."""
        claim, ended = self._work
        if ended or claim.reaches(self._until):
            return None
        self._work = Work(claim, True)
        return self._work, Work(claim, False)

    def check_done(self) -> bool:
        claim, ended = self._work
        if not ended and not claim.reaches(self._until):
            raise ValueError(f"the lane goes on after {claim}, and its rest was not deferred")
        return True

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(completed=1.0, remaining=0.0 if self._work.ended else 1.0)

    def is_bounded(self) -> bool:
        return self._until is not None


@dataclass(frozen=True)
class FoldLogKnobs:
    """All knobs of a stage; docs/operations.md has the operating points."""

    lane: LaneKnobs = field(default_factory=LaneKnobs)
    read: ReadKnobs = field(default_factory=ReadKnobs)
    write: WriteKnobs = field(default_factory=WriteKnobs)
    headings: Headings = field(default_factory=Headings)


class FoldLog(beam.PTransform):
    """PBegin → PCollection[Summary]: folds the stage's topic for ever, and writes to Kafka what the processor emits.

    make_engine: builds the stage on the worker. settings: of the Kafka client, resolved on the worker. snapshots: where, on any Beam
    file system that all workers see. lanes: how many workers fold; lane i has the partitions i, i + lanes, … first: see `spread_keys`.
    group: the consumer group that is told how far the lanes are; the stage's name by default. until: the end offsets of all partitions,
    for a bounded run (a replay, a test).

    A summary's timestamp and the watermark are the smallest clock of the lane's shards, so they move with the ticks.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        settings: Settings,
        snapshots: SnapshotStore,
        lanes: int = 1,
        knobs: FoldLogKnobs = FoldLogKnobs(),
        first: int = 0,
        group: str | None = None,
        until: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        stage = make_engine().stage
        topic, name = stage.topic, stage.processor.stage
        source_bytes((name, topic.topic_id, 0))  # type: ignore[arg-type] # the stage's name must fit into an origin
        if not 1 <= lanes <= topic.partitions:
            raise ValueError(
                f"{name}: lanes must be from 1 to the {topic.partitions} partitions of {topic.name}, got {lanes}"
            )
        if until is not None and (
            sorted(until) != list(range(topic.partitions)) or any(offset < 0 for offset in until.values())
        ):
            raise ValueError(
                f"{name}: until must have an end offset for each partition of {topic.name}, got {dict(until)}"
            )
        self._elements = spread_keys(name, lanes, first)
        self._until = None if until is None else dict(until)
        self._plan = _Plan(
            make_engine, settings, snapshots, lanes, knobs, group or name, self._until, f"{name}-{uuid.uuid4().hex}"
        )

    def expand(self, begin: Any) -> Any:
        elements = self._elements
        fold = _FoldLaneForEver if self._plan.until is None else _FoldLane
        return (
            begin
            | "Start" >> beam.Impulse()
            | "Lanes" >> beam.FlatMap(_give, elements).with_output_types(bytes)
            | "Fold" >> beam.ParDo(fold(self._plan)).with_output_types(Summary)
        )


def _give(_: bytes, elements: list[bytes]) -> list[bytes]:
    return elements


@dataclass(frozen=True)
class _Plan:
    """What a lane is made of, on any worker. `launch` tells the lanes of one launch from those of another in the same process."""

    make_engine: Callable[[], Engine]
    settings: Settings
    snapshots: SnapshotStore
    lanes: int
    knobs: FoldLogKnobs
    group: str
    until: dict[int, int] | None
    launch: str

    def lane(self, number: int) -> Lane:
        return shared_lane((self.launch, number), lambda: self._make(number))

    def _make(self, number: int) -> Lane:
        engine, knobs, settings = self.make_engine(), self.knobs, self.settings.resolved()
        topic, from_clients = engine.stage.topic, engine.stage.processor.from_clients
        connections = Connections(
            reader=lambda: LogReader(settings, topic.name, self.group, from_clients, knobs.read),
            writer=lambda: LogWriter(settings, knobs.write),
            topic=lambda: TopicLookup(settings, topic.name, knobs.read.timeout_s),
        )
        partitions = range(number, topic.partitions, self.lanes)
        return Lane(engine, number, partitions, connections, self.snapshots, knobs.lane, knobs.headings, self.until)


def lane_number(element: bytes) -> int:
    """Which lane the element is."""
    return int(element.split(b"/")[-2])


class _FoldLane(DoFn, RestrictionProvider):
    """Drives the lanes of a bounded plan; never splits one: a shard has one folder."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan

    def setup(self) -> None:
        collect_rarely_from_now_on()

    def initial_restriction(self, element: bytes) -> Work:
        return Work(Claim("", ()), False)

    def create_tracker(self, restriction: Work) -> LaneTracker:
        return LaneTracker(restriction, self._plan.until)

    def restriction_size(self, element: bytes, restriction: Work) -> float:
        return 1.0

    def restriction_coder(self) -> coders.Coder:
        return WorkCoder()

    def process(
        self,
        element: bytes,
        tracker: Any = DoFn.RestrictionParam(),
        watermark: Any = DoFn.WatermarkEstimatorParam(ManualWatermarks()),
    ) -> Iterator[TimestampedValue]:
        lane = self._plan.lane(lane_number(element))
        reached, summary = lane.turn(tracker.current_restriction().claim)
        if not tracker.try_claim(reached):
            return
        clock = _timestamp(summary.clock)
        yield TimestampedValue(summary, clock)
        advance(watermark, clock)
        tracker.defer_remainder()


class _FoldLaneForEver(_FoldLane):
    """The same without an end."""

    @DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        tracker: Any = DoFn.RestrictionParam(),
        watermark: Any = DoFn.WatermarkEstimatorParam(ManualWatermarks()),
    ) -> Iterator[TimestampedValue]:
        yield from super().process(element, tracker, watermark)


def _timestamp(clock: int) -> Timestamp:
    """Within what Beam can represent; -1 is before all times."""
    if clock < 0:
        return MIN_TIMESTAMP
    return min(Timestamp(micros=clock * 1000), MAX_TIMESTAMP)
