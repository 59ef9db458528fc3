"""A lane: the shards of one stage on a group of partitions, in the memory of one process, driven in turns of bounded length.

A turn reads, folds, writes and flushes, and gives back where the lane stands. Whoever drives it keeps that claim and hands it to the next
turn, here or in another process. What a claim says is flushed, what snapshots say is flushed too, and what memory says is flushed before
it is claimed, or thrown away; so the lane goes on from whichever is furthest, memory, snapshot or claim. A claim beyond the others is
reached by folding without writing (contract line 9). What is written twice, by a restored lane, by a zombie or by a job launched twice,
readers drop (6).
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
from transforms.lane_types import Claim, LaneKnobs, Place, Summary
from transforms.lane_watch import TopicIdentity, Watch
from transforms.latencies import Latencies
from transforms.log_reader import LogReader, TopicLookup
from transforms.log_writer import LogWriter
from transforms.snapshots import SnapshotStore

_LOG = logging.getLogger(__name__)
_HOST = socket.gethostname()

LEASED_POLL_S = 0.01  # between turns: how soon the lane notices that the next one wants to begin


@dataclass(frozen=True)
class Connections:
    """What a lane opens: one each per lane and process."""

    reader: Callable[[], LogReader]
    writer: Callable[[], LogWriter]
    topic: Callable[[], TopicLookup]


class _Tally:
    """What was done since the last summary."""

    def __init__(self) -> None:
        self.records = self.outputs = 0
        self.busy = 0.0  # seconds
        self.latencies = Latencies()


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
        self.number, self.partitions, self.knobs = number, tuple(partitions), knobs
        self._engine, self._connections, self._store, self._headings = engine, connections, store, headings
        self._until = None if until is None else dict(until)
        self._lock = threading.Lock()
        self._wanted = threading.Event()  # a turn waits for the lane
        topic = engine.stage.topic
        self._identity = TopicIdentity(topic.name, topic.partitions, topic.id)
        self._watch = Watch(self._identity, knobs.stall_s)
        self._desks: dict[int, Desk] | None = None  # None: memory is not valid
        self._reader: LogReader | None = None
        self._writer: LogWriter | None = None
        self._topic: TopicLookup | None = None
        self._error: BaseException | None = None  # that ended what was done between turns
        self._tally = _Tally()
        self._committed: dict[int, int] = {}
        self._committed_at = 0.0
        self._ended_at: float | None = None
        self.used_at = time.monotonic()

    def turn(self, claim: Claim) -> tuple[Claim, Summary]:
        """Goes on from `claim` for `stay_ms`: where the lane stands then, all flushed, and what it did since the last summary.

        After an exception the memory is thrown away; the next turn restores it.
        """
        self._wanted.set()
        with self._lock:
            self._wanted.clear()
            began = time.monotonic()
            try:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                refolded = self._stand_at(claim)
                desks, writer = self._desks, self._writer
                assert desks is not None and writer is not None
                self._fold(began + self.knobs.stay_ms / 1000)
                writer.flush()
                summary = self._summary(desks, refolded, began)
            except BaseException:
                self.drop()
                raise
            reached = self._claim(desks)
            self.used_at = self._ended_at = time.monotonic()
        if self.knobs.lease_ms:
            threading.Thread(target=self._fold_on, name=f"lane-{self.number}", daemon=True).start()
        return reached, summary

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

    # --- folding ---

    def _fold_on(self) -> None:
        """Between turns, until the next one wants to begin or the lease is over: what is folded is claimed by the next turn.

        If no turn comes any more, because the runner has given the lane to another process, this is a zombie for the length of the
        lease, which harms nothing.
        """
        with self._lock:
            if self._desks is None:
                return
            writer = self._writer
            assert writer is not None
            try:
                self._fold(time.monotonic() + self.knobs.lease_ms / 1000, LEASED_POLL_S)
                writer.release()  # the next turn may be far away
            except BaseException as error:  # the next turn raises it
                self._error = error
                self.drop()

    def _fold(self, end: float, poll_s: float | None = None) -> None:
        """Steps until `end`, or to the end of a bounded run; with `poll_s` until a turn wants the lane, which is looked at so often."""
        knobs, reader, writer, desks, until = self.knobs, self._reader, self._writer, self._desks, self._until
        assert reader is not None and writer is not None and desks is not None
        tally, now = self._tally, time.monotonic()
        while True:
            reader.seek(self._offsets(desks))
            left = min(max(0.0, end - now), writer.due_s)  # what the writer keeps back leaves on time, though nothing comes
            found = reader.read(knobs.step_records, left if poll_s is None else min(left, poll_s))
            came = time.monotonic()
            if found:
                for fetched in found:
                    one = fetched if until is None else fetched.before(until[fetched.partition])
                    if one is not None:
                        made = desks[one.partition].fold(one)
                        writer.write(made)
                        tally.records += len(one)
                        tally.outputs += len(made)
                if knobs.flush == "step":
                    writer.flush()
                wall = time.time() * 1000
                for fetched in found:
                    tally.latencies.add(wall, fetched.times)
            writer.poll()
            now = time.monotonic()
            tally.busy += now - came
            if now >= end or not self._offsets(desks) or (poll_s is not None and self._wanted.is_set()):
                break

    def _offsets(self, desks: Mapping[int, Desk]) -> dict[int, int]:
        """Where there is something to read."""
        until = self._until
        if until is None:
            return {number: desk.shard.offset for number, desk in desks.items()}
        return {number: desk.shard.offset for number, desk in desks.items() if desk.shard.offset < until[number]}

    # --- after the flush ---

    def _claim(self, desks: Mapping[int, Desk]) -> Claim:
        shards = [desk.shard for desk in desks.values()]
        places = (Place(shard.source.partition, shard.offset, shard.position_checksum()) for shard in shards)
        return Claim(self._identity.found, tuple(places))

    def _summary(self, desks: Mapping[int, Desk], refolded: int, began: float) -> Summary:
        """Saves, tells the group, looks at the log's end, and says what was done."""
        snapshots, unsaved = self._save(desks)
        self._commit(desks)
        assert self._reader is not None and self._topic is not None
        lag = self._watch.look(desks, self._reader, self._topic, self._until)
        shards = [desk.shard for desk in desks.values()]
        counts: dict[str, int] = {}
        for shard in shards:
            for name, count in shard.counts.as_dict().items():
                counts[name] = counts.get(name, 0) + count
        tally, self._tally = self._tally, _Tally()
        p50, p99, most = tally.latencies.figures()
        return Summary(
            stage=self._engine.stage.processor.stage,
            lane=self.number,
            worker=f"{_HOST}:{os.getpid()}",
            records=tally.records,
            outputs=tally.outputs,
            refolded=refolded,
            counts=counts,
            entities=sum(len(shard.entities) for shard in shards),
            lag=lag,
            p50=p50,
            p99=p99,
            most=most,
            busy=round(tally.busy * 1000),
            away=0 if self._ended_at is None else round((began - self._ended_at) * 1000),
            snapshots=snapshots,
            unsaved=unsaved,
            clock=min(shard.clock for shard in shards),
            partitions=self.partitions,
            offsets=tuple(shard.offset for shard in shards),
        )

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
                if (desk.shard.offset - desk.saved >= knobs.snapshot_records or now - desk.saved_at >= knobs.snapshot_s)
                and now - desk.saved_at >= desk.rest_s
            ]
            moved = sorted(due, key=lambda desk: (desk.saved_at, desk.shard.source.partition))[:1]
        unsaved = 0
        for desk in moved:
            began = time.monotonic()
            try:
                self._store.write(desk.shard)
                desk.saved = desk.shard.offset
            except (OSError, BeamIOError) as error:
                place = "/".join(map(str, desk.shard.source))
                _LOG.warning("%s: no snapshot at %d: %s", place, desk.shard.offset, error)
                unsaved += 1
            desk.saved_at = time.monotonic()
            desk.rest_s = (desk.saved_at - began) * len(desks) * (1 / knobs.snapshot_share - 1)
        return len(moved) - unsaved, unsaved

    def _commit(self, desks: Mapping[int, Desk]) -> None:
        offsets = {number: desk.shard.offset for number, desk in desks.items()}
        now = time.monotonic()
        if offsets != self._committed and now - self._committed_at >= self.knobs.commit_s:
            assert self._reader is not None
            self._reader.commit(offsets)
            self._committed, self._committed_at = offsets, now

    # --- restoring ---

    def _stand_at(self, claim: Claim) -> int:
        """Makes the memory valid; the number of records that had to be folded again."""
        if self._topic is None:
            self._topic = self._connections.topic()
            self._topic.ask()
            self._identity.check(*self._topic.answer())
        self._identity.check_claim(claim.topic)
        if self._reader is None:
            self._reader = self._connections.reader()
        if self._writer is None:
            self._writer = self._connections.writer()
        desks, knobs = self._desks, self.knobs
        if desks is not None and all(desks[place.partition].shard.offset >= place.offset for place in claim.places):
            return 0
        self._desks = None
        stage = self._engine.stage
        engine = replace(self._engine, stage=replace(stage, topic=replace(stage.topic, id=self._identity.found)))
        shards, refolded = restore_shards(
            engine, self.partitions, claim, self._reader, self._store, knobs.step_records, knobs.stall_s
        )
        self._desks = {number: Desk(shard, engine.registry, self._headings) for number, shard in shards.items()}
        self._watch = Watch(self._identity, knobs.stall_s)
        return refolded


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
