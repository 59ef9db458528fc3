"""Snapshots: a shard as bytes, and files of them (contract lines 8 and 9).

A file is a magic word, the SHA-256 of the body, and the body, the Avro encoding of rails.Snapshot. A torn or damaged file is passed over:
the one before it and a longer piece of the log give the same shard.
"""

import hashlib
import posixpath
import uuid
from collections.abc import Callable
from typing import Any

from apache_beam.io.filesystems import FileSystems

from schemas import load_schema, rails
from schemas.rails import Deadline, Entity, Mark, Position, Snapshot, Target
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS, ContractError, Counts, Processor, Shard, Topic

_MAGIC = b"RAILS-SNAPSHOT-1"
_MAX_BYTES = 1 << 31  # a snapshot is ours, so the bound on hostile messages does not apply
_CODEC = compile_codec(load_schema("rails.Snapshot"), rails.RECORDS, max_bytes=_MAX_BYTES, max_items=1 << 31)


class TornSnapshot(Exception):
    """The file is not a whole snapshot."""


class WrongSnapshot(ContractError):
    """The snapshot belongs to another stage, topic or partition count."""


def encode_shard(shard: Shard) -> bytes:
    """The shard as a snapshot; equal shards give equal bytes."""
    processor, source = shard.processor, shard.source
    entity_codec = processor.entity_codec
    snapshot = Snapshot(
        stage=source.stage,
        topic=source.topic,
        partition=source.partition,
        partitions=shard.partitions,
        offset=shard.offset,
        checksum=shard.position_checksum(),
        clock=shard.clock,
        version=shard.version,
        counts=shard.counts.as_dict(),
        marks=tuple(Mark(writer, Position(*position)) for writer, position in sorted(shard.marks.items())),
        targets=tuple(
            Target(topic, partition, position) for (topic, partition), position in sorted(shard.prevs.items())
        ),
        deadlines=tuple(Deadline(*d) for d in sorted((at, key, name) for (key, name), at in shard.deadlines.items())),
        entities=tuple(Entity(key, entity_codec.encode(entity)) for key, entity in shard.entities.items()),
        shared=None if processor.shared_codec is None else processor.shared_codec.encode(shard.shared),
    )
    body = _CODEC.encode(snapshot)
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_shard(
    data: bytes, processor: Processor, decode: Callable[[bytes], Any], dead_letters: Topic = DEAD_LETTERS
) -> Shard:
    """The shard that `encode_shard` wrote. Raises TornSnapshot for a damaged file, WrongSnapshot for another stage's."""
    head = len(_MAGIC) + 32
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        raise TornSnapshot(f"{len(data)} bytes, checksum does not match")
    try:
        snapshot: Snapshot = _CODEC.decode(body)
    except BadRecord as error:
        raise TornSnapshot(error.code) from error
    if snapshot.stage != processor.stage:
        raise WrongSnapshot(f"snapshot of stage {snapshot.stage}, wanted {processor.stage}")
    if snapshot.version not in processor.versions:
        raise WrongSnapshot(
            f"snapshot of {snapshot.stage} needs rules {snapshot.version}, this code knows {processor.versions}"
        )
    shard = Shard(processor, snapshot.topic, snapshot.partition, snapshot.partitions, decode, dead_letters)
    shard.offset, shard.checksum = snapshot.offset, snapshot.checksum
    shard.clock, shard.version, shard.counts = snapshot.clock, snapshot.version, Counts(**snapshot.counts)
    shard.marks = {mark.source: tuple(mark.position) for mark in snapshot.marks}
    shard.prevs = {(target.topic, target.partition): target.position for target in snapshot.targets}
    shard.restore_deadlines({(d.key, d.name): d.at for d in snapshot.deadlines})
    shard.entities = {entity.key: processor.entity_codec.decode(entity.state) for entity in snapshot.entities}
    if snapshot.shared is not None:
        shard.shared = processor.shared_codec.decode(snapshot.shared)
    shard.renew_context()
    return shard


class SnapshotStore:
    """Snapshots of shards as files below `root`, on any Beam file system: `<root>/<stage>/<topic>-<partition>/<offset>.snapshot`."""

    def __init__(self, root: str, keep: int = 4) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.root, self.keep = root.rstrip("/"), keep

    def _folder(self, stage: str, topic: str, partition: int) -> str:
        return posixpath.join(self.root, stage, f"{topic}-{partition}")

    def write(self, shard: Shard) -> str:
        """Writes a snapshot whole (by rename) and prunes old ones. Take it only when the outputs before it are flushed."""
        folder = self._folder(*shard.source)
        if not FileSystems.exists(folder):
            FileSystems.mkdirs(folder)
        path = posixpath.join(folder, f"{shard.offset:020d}.snapshot")
        partial = posixpath.join(folder, f".{uuid.uuid4().hex}.partial")
        with FileSystems.create(partial, "application/octet-stream", "uncompressed") as file:
            file.write(encode_shard(shard))
        FileSystems.rename([partial], [path])
        self.prune(*shard.source)
        return path

    def offsets(self, stage: str, topic: str, partition: int) -> list[int]:
        """Offsets of the snapshots there are, oldest first; whether they are whole is seen on loading."""
        pattern = posixpath.join(self._folder(stage, topic, partition), "*.snapshot")
        found = FileSystems.match([pattern])[0].metadata_list
        return sorted(int(posixpath.basename(m.path).split(".")[0]) for m in found)

    def load(
        self,
        processor: Processor,
        topic: str,
        partition: int,
        decode: Callable[[bytes], Any],
        dead_letters: Topic = DEAD_LETTERS,
    ) -> Shard | None:
        """The shard of the newest snapshot that is whole, or None if there is none."""
        folder = self._folder(processor.stage, topic, partition)
        for offset in reversed(self.offsets(processor.stage, topic, partition)):
            with FileSystems.open(
                posixpath.join(folder, f"{offset:020d}.snapshot"), compression_type="uncompressed"
            ) as file:
                data = file.read()
            try:
                return decode_shard(data, processor, decode, dead_letters)
            except TornSnapshot:
                continue
        return None

    def prune(self, stage: str, topic: str, partition: int) -> None:
        """Deletes all but the newest `keep` snapshots."""
        folder = self._folder(stage, topic, partition)
        old = self.offsets(stage, topic, partition)[: -self.keep]
        if old:
            FileSystems.delete([posixpath.join(folder, f"{offset:020d}.snapshot") for offset in old])
