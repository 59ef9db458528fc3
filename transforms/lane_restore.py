"""How a lane comes by its shards: from their newest snapshots, folded on, without writing, to what is claimed (contract lines 8 and 9)."""

import posixpath
import time
from collections.abc import Iterable, Sequence

from apache_beam.io.filesystems import FileSystems

from transforms.fold import Gap, Shard
from transforms.fold_bounded import Engine
from transforms.lane_types import Claim, LaneStalled, Place
from transforms.log_reader import Bounds, LogReader, WrongTopic, check_within
from transforms.snapshots import SnapshotStore


def restore_shards(
    engine: Engine,
    partitions: Sequence[int],
    claim: Claim,
    reader: LogReader,
    store: SnapshotStore,
    step_records: int,
    stall_s: float,
) -> tuple[dict[int, Shard], int]:
    """The shards by partition, and how many records were folded to bring them to the claim.

    Snapshots beyond the claim are taken as they are: what was written before them is flushed. `engine` knows the topic's id.
    Gap if the log is not the one that was folded, or does not go back far enough; LaneStalled if nothing comes for `stall_s`.
    """
    _refuse_other_topics(engine, store)
    claimed = {place.partition: place for place in claim.places}
    bounds = reader.bounds(partitions)
    shards: dict[int, Shard] = {}
    start: dict[int, int] = {}
    for number in partitions:
        shard, place, low = engine.shard(number), claimed.get(number), bounds[number].low
        restored = store.restore(shard)
        _check_start(engine, shard, restored, bounds[number], place)
        if shard.offset > low:
            start[number] = shard.offset - 1  # the record before it proves that this is the log
        elif place is not None and shard.offset < place.offset:
            start[number] = shard.offset
        shards[number] = shard
    refolded, unread, moved_at = 0, dict(start), time.monotonic()
    while unread:
        reader.seek(unread)
        found = reader.read(step_records, 0.1)
        for fetched in found:
            number = fetched.partition
            shard, place = shards[number], claimed.get(number)
            before = shard.offset
            for record in fetched.records():
                if record.offset < shard.offset:
                    shard.check_before(record)
                elif place is not None and record.offset < place.offset:
                    shard.step(record)
            refolded += shard.offset - before
            if place is None or shard.offset >= place.offset:
                _check_place(shard, place)
                unread.pop(number, None)
            else:
                unread[number] = shard.offset
        now = time.monotonic()
        if found:
            moved_at = now
        elif now - moved_at > stall_s:
            raise LaneStalled(
                f"{engine.stage.topic.name}: nothing comes at {unread} (partition: offset) for {stall_s:g} s"
            )
    return shards, refolded


def _check_start(engine: Engine, shard: Shard, restored: bool, bounds: Bounds, place: Place | None) -> None:
    stage, name, number = engine.stage.processor.stage, engine.stage.topic.name, shard.source.partition
    if not restored and bounds.low > 0:
        raise Gap(
            f"{name}/{number}/0: the log begins at {bounds.low} and {stage} has no snapshot of it: a start above 0 needs one"
        )
    check_within(name, number, shard.offset, bounds)
    if place is not None and place.offset > bounds.end:
        check_within(name, number, place.offset, bounds)


def _check_place(shard: Shard, place: Place | None) -> None:
    if place is not None and shard.offset == place.offset and shard.position_checksum() != place.checksum:
        raise Gap(
            f"{'/'.join(map(str, shard.source))}/{shard.offset}: the record before it is another one than when it was claimed: "
            "the topic was re-created or cut"
        )


def _refuse_other_topics(engine: Engine, store: SnapshotStore) -> None:
    """A stage has one input topic for ever: snapshots of another one mean that this is not the log that was folded."""
    stage, topic = engine.stage.processor.stage, engine.stage.topic
    for other in _topics_with_snapshots(store, stage):
        if other != topic.topic_id:
            raise WrongTopic(
                f"{topic.name}: its id is {topic.topic_id}, but {stage} has snapshots of {other}: the topic was re-created; "
                "if the stage is to begin anew, move these away"
            )


def _topics_with_snapshots(store: SnapshotStore, stage: str) -> Iterable[str]:
    found = FileSystems.match([posixpath.join(store.root, stage, "*", "*.snapshot")])[0].metadata_list
    return {posixpath.basename(posixpath.dirname(file.path)).rpartition("-")[0] for file in found}
