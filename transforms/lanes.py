"""A lane: the shards of one stage on a group of partitions, in the memory of one process, driven in turns of bounded length.

A turn reads, folds, writes and flushes, and gives back where the lane stands. Whoever drives it keeps that claim and hands it to the next
turn, here or in another process. What a claim says is flushed, what memory and snapshots say is flushed too (they are only kept when it
is), so the lane goes on from whichever is furthest, memory, snapshot or claim; a claim beyond the others is reached by folding without
writing (contract line 9). What is written twice, by a restored lane, by a zombie or by a job launched twice, readers drop (6).
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apache_beam.io.filesystem import BeamIOError

from transforms.fold_bounded import Engine
from transforms.kafka_headers import Headings
from transforms.lane_desk import Desk
from transforms.lane_restore import restore_shards
from transforms.lane_types import Claim, LaneKnobs, LaneStalled, Place, Summary
from transforms.latencies import Latencies
from transforms.log_reader import Bounds, LogReader, ReadFailed, TopicInfo, WrongTopic, check_within
from transforms.log_writer import LogWriter
from transforms.snapshots import SnapshotStore

_LOG = logging.getLogger(__name__)
_HOST = socket.gethostname()


@dataclass(frozen=True)
class Connections:
    """What a lane opens: one each per lane and process."""

    reader: Callable[[], LogReader]
    writer: Callable[[], LogWriter]
    topic: Callable[[], TopicInfo]


class Lane:
    """The shards of `engine`'s stage on `partitions`. `until`: end offsets by partition, for a bounded run."""

    def __init__(
        self,
        engine: Engine,
        number: int,
        partitions: Sequence[int],
        connections: Connections,
        store: SnapshotStore,
        knobs: LaneKnobs = LaneKnobs(),
        headings: Headings = Headings(),
        until: Mapping[int, int] | None = None,
    ) -> None:
        self.engine, self.number, self.partitions = engine, number, tuple(partitions)
        self.knobs = knobs
        self._connections, self._store, self._headings = connections, store, headings
        self._until = None if until is None else dict(until)
        self._lock = threading.Lock()
        self._desks: dict[int, Desk] | None = None  # None: memory is not valid
        self._reader: LogReader | None = None
        self._writer: LogWriter | None = None
        self._topic: TopicInfo | None = None
        self._topic_id = ""
        self._checked_at = self._committed_at = 0.0
        self._committed: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self.used_at = time.monotonic()
        self._ended_at: float | None = None

    # --- a turn ---

    def turn(self, claim: Claim) -> tuple[Claim, Summary]:
        """Goes on from `claim` for `stay_ms`: where the lane stands then, all flushed, and what it did.

        After an exception the memory is thrown away; the next turn restores it.
        """
        with self._lock:
            began = time.monotonic()
            try:
                refolded = self._stand_at(claim)
                desks = self._desks
                assert desks is not None
                summary = self._work(desks, refolded, began)
            except BaseException:
                self.drop()
                raise
            self.used_at = self._ended_at = time.monotonic()
            return self._claim(desks), summary

    def drop(self) -> None:
        """Throws the memory away, and the producer with what it has not written."""
        self._desks = None
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        self._topic = None

    def _claim(self, desks: Mapping[int, Desk]) -> Claim:
        shards = [desk.shard for desk in desks.values()]
        places = (Place(shard.source.partition, shard.offset, shard.position_checksum()) for shard in shards)
        return Claim(self._topic_id, tuple(places))

    def _work(self, desks: Mapping[int, Desk], refolded: int, called: float) -> Summary:
        knobs, reader, writer, latencies = self.knobs, self._reader, self._writer, Latencies()
        assert reader is not None and writer is not None
        records = outputs = 0
        began = now = time.monotonic()
        waited, end = 0.0, began + knobs.stay_ms / 1000
        while True:
            reader.seek(self._offsets(desks))
            found = reader.read(knobs.step_records, max(0.0, end - now))
            after = time.monotonic()
            waited += after - now
            if found:
                for fetched in found:
                    one = fetched if self._until is None else fetched.before(self._until[fetched.partition])
                    if one is not None:
                        made = desks[one.partition].fold(one)
                        writer.write(made)
                        records += len(one)
                        outputs += len(made)
                if knobs.flush == "step":
                    writer.flush()
                else:
                    writer.poll()
                wall = time.time() * 1000
                for fetched in found:
                    latencies.add(wall, fetched.times)
            now = time.monotonic()
            if now >= end or not self._offsets(desks):
                break
        writer.flush()
        snapshots, unsaved = self._save(desks)
        self._commit(desks)
        lag = self._look_at_ends(desks)
        shards = [desk.shard for desk in desks.values()]
        counts: dict[str, int] = {}
        for shard in shards:
            for name, count in shard.counts.as_dict().items():
                counts[name] = counts.get(name, 0) + count
        p50, p99, most = latencies.figures()
        return Summary(
            stage=self.engine.stage.processor.stage,
            lane=self.number,
            worker=_worker(),
            records=records,
            outputs=outputs,
            refolded=refolded,
            counts=counts,
            entities=sum(len(shard.entities) for shard in shards),
            lag=lag,
            p50=p50,
            p99=p99,
            most=most,
            away=0 if self._ended_at is None else round((called - self._ended_at) * 1000),
            busy=round((time.monotonic() - began - waited) * 1000),
            snapshots=snapshots,
            unsaved=unsaved,
            clock=min(shard.clock for shard in shards),
            partitions=self.partitions,
            offsets=tuple(shard.offset for shard in shards),
        )

    def _offsets(self, desks: Mapping[int, Desk]) -> dict[int, int]:
        """Where there is something to read."""
        until = self._until
        if until is None:
            return {number: desk.shard.offset for number, desk in desks.items()}
        return {number: desk.shard.offset for number, desk in desks.items() if desk.shard.offset < until[number]}

    # --- after the flush ---

    def _save(self, desks: Mapping[int, Desk]) -> tuple[int, int]:
        """Writes the snapshot that is most due, one in a turn, so that turns stay short; at the end of a bounded run all.

        A snapshot that cannot be written, as on a full disk, is tried again later: the one before it and a longer piece of the log will do.
        """
        now, knobs = time.monotonic(), self.knobs
        moved = [desk for desk in desks.values() if desk.shard.offset > desk.saved]
        if self._until is None or self._offsets(desks):
            due = [
                desk
                for desk in moved
                if desk.shard.offset - desk.saved >= knobs.snapshot_records or now - desk.saved_at >= knobs.snapshot_s
            ]
            moved = sorted(due, key=lambda desk: (desk.saved_at, desk.shard.source.partition))[:1]
        unsaved = 0
        for desk in moved:
            try:
                self._store.write(desk.shard)
                desk.saved = desk.shard.offset
            except (OSError, BeamIOError) as error:
                _LOG.warning(
                    "%s: no snapshot at %d: %s", "/".join(map(str, desk.shard.source)), desk.shard.offset, error
                )
                unsaved += 1
            desk.saved_at = time.monotonic()
        return len(moved) - unsaved, unsaved

    def _commit(self, desks: Mapping[int, Desk]) -> None:
        offsets = {number: desk.shard.offset for number, desk in desks.items()}
        now = time.monotonic()
        if offsets != self._committed and now - self._committed_at >= self.knobs.commit_s:
            assert self._reader is not None
            self._reader.commit(offsets)
            self._committed, self._committed_at = offsets, now

    def _look_at_ends(self, desks: Mapping[int, Desk]) -> int:
        """The lag. Now and then the broker is asked: then the lane must have moved, and the topic be the one that it was."""
        reader, now, topic = self._reader, time.monotonic(), self._topic
        assert reader is not None and topic is not None
        try:
            if topic.answered:
                self._check_topic(*topic.answer())
            if now - self._checked_at >= self.knobs.stall_s / 2:
                self._checked_at = now
                topic.ask()
                self._check_ends(desks, reader.bounds(desks))
        except ReadFailed as error:  # a broker that is away for a while; what the lane holds is as good as before
            _LOG.warning("%s: %s", self.engine.stage.processor.stage, error)
        lag = 0
        for number, desk in desks.items():
            lag += max(0, max(self._ends.get(number, 0), reader.end_seen(number)) - desk.shard.offset)
        return lag

    def _check_ends(self, desks: Mapping[int, Desk], ends: Mapping[int, Bounds]) -> None:
        for number, bounds in ends.items():
            shard, desk = desks[number].shard, desks[number]
            check_within(self.engine.stage.topic.name, number, shard.offset, bounds)
            wanted = bounds.end if self._until is None else min(bounds.end, self._until[number])
            if shard.offset == desk.at_check < wanted:
                raise LaneStalled(
                    f"{'/'.join(map(str, shard.source))}/{shard.offset}: nothing read for {self.knobs.stall_s / 2:g} s, "
                    f"but the log goes on to {bounds.end}"
                )
            desk.at_check = shard.offset if shard.offset < wanted else -1
            self._ends[number] = bounds.end

    # --- restoring ---

    def _stand_at(self, claim: Claim) -> int:
        """Makes the memory valid; the number of records that had to be folded again."""
        if self._topic is None:
            self._topic = self._connections.topic()
            self._topic.ask()
            self._check_topic(*self._topic.answer())
        if claim.topic and claim.topic != self._topic_id:
            raise WrongTopic(
                f"{self.engine.stage.topic.name}: was re-created: its id is {self._topic_id}, the claim is for {claim.topic}"
            )
        if self._reader is None:
            self._reader = self._connections.reader()
        if self._writer is None:
            self._writer = self._connections.writer()
        desks, knobs = self._desks, self.knobs
        if desks is not None and all(desks[place.partition].shard.offset >= place.offset for place in claim.places):
            return 0
        self._desks = None
        shards, refolded = restore_shards(
            self.engine, self.partitions, claim, self._reader, self._store, knobs.step_records, knobs.stall_s
        )
        registry = self.engine.registry
        self._desks = {number: Desk(shard, registry, self._headings) for number, shard in shards.items()}
        self._checked_at = time.monotonic()
        return refolded

    def _check_topic(self, found: str, partitions: int) -> None:
        topic = self.engine.stage.topic
        if partitions != topic.partitions:
            raise WrongTopic(f"{topic.name}: has {partitions} partitions, expected {topic.partitions}")
        if found == self._topic_id:
            return
        if self._topic_id or topic.id not in ("", found):
            raise WrongTopic(f"{topic.name}: was re-created: its id is {found}, expected {self._topic_id or topic.id}")
        self._topic_id = found
        stage = self.engine.stage
        self.engine = replace(self.engine, stage=replace(stage, topic=replace(topic, id=found)))


def _worker() -> str:
    return f"{_HOST}:{os.getpid()}"


# --- the lanes of this process ---

_IDLE_S = 600  # a lane that nobody drives any more has moved to another process

_lanes: dict[Any, Lane] = {}
_lanes_lock = threading.Lock()


def shared_lane(name: Any, make: Callable[[], Lane]) -> Lane:
    """The lane of that name in this process, whoever asks; `make` makes it. Lanes that moved away are closed."""
    with _lanes_lock:
        lane = _lanes.get(name)
        if lane is None:
            lane = _lanes[name] = make()
        lane.used_at = now = time.monotonic()
        for other, idle in list(_lanes.items()):
            if now - idle.used_at > _IDLE_S:
                del _lanes[other]
                idle.drop()
        return lane
