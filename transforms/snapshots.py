"""Snapshots: a shard as bytes, and files of them (contract lines 8 and 9).

A file is a magic word, the SHA-256 of the body, and the body, the Avro encoding of rails.Snapshot. A torn or damaged file is passed over,
as is one of an older form: the one before it and a longer piece of the log give the same shard.
"""

import contextlib
import hashlib
import posixpath
import uuid
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from schemas import load_schema, rails
from schemas.rails import Deadline, Entity, Mark, Position, Snapshot, Target
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import ContractError, Counts, Shard

# The number rises with every change of what a snapshot, or the state of a stage in it, is made of: bytes of before are never misread.
_MAGIC = b"RAILS-SNAPSHOT-2"
_MAX_BYTES = 1 << 31  # a snapshot is ours, so the bound on hostile messages does not apply
_CODEC = compile_codec(load_schema("rails.Snapshot"), rails.RECORDS, max_bytes=_MAX_BYTES, max_items=1 << 31)


class TornSnapshot(Exception):
    """The file is not a whole snapshot of this form."""


class WrongSnapshot(ContractError):
    """The snapshot belongs to another stage, topic or partition count."""


def encode_shard(shard: Shard) -> bytes:
    """The shard as a snapshot; shards that folded the same records give the same bytes, however they came by their state."""
    processor, source = shard.processor, shard.source
    entity_codec, shared_codec = processor.entity_codec, processor.shared_codec
    if (shard.entities and entity_codec is None) or (shard.shared is not None and shared_codec is None):
        raise TypeError(f"{processor.stage}: a snapshot needs an entity_codec, and a shared_codec for shared state")
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
        deadlines=tuple(Deadline(*d) for d in sorted(_deadlines(shard))),
        entities=tuple(Entity(key, entity_codec.encode(entity)) for key, entity in shard.entities.items()),
        shared=None if shared_codec is None else shared_codec.encode(shard.shared),
    )
    body = _CODEC.encode(snapshot)
    return _MAGIC + hashlib.sha256(body).digest() + body


def _deadlines(shard: Shard) -> Iterator[tuple[int, str, str]]:
    for key, names in shard.deadlines.items():
        for name, at in names.items():
            yield at, key, name


def restore_shard(shard: Shard, data: bytes) -> None:
    """Puts what `encode_shard` wrote into `shard`, a new one of the same stage, topic and partition.

    Raises TornSnapshot for a damaged file or one of an older form, WrongSnapshot for one of another shard, or of rules that this code does
    not know.
    """
    head = len(_MAGIC) + 32
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        raise TornSnapshot(f"{len(data)} bytes, not of this form, or its checksum does not match")
    try:
        snapshot: Snapshot = _CODEC.decode(body)
    except BadRecord as error:
        raise TornSnapshot(error.code) from error
    processor = shard.processor
    found = (snapshot.stage, snapshot.topic, snapshot.partition, snapshot.partitions)
    wanted = (*shard.source, shard.partitions)
    if found != wanted:
        raise WrongSnapshot(f"snapshot of (stage, topic, partition, partitions) {found}, wanted {wanted}")
    if snapshot.version not in processor.versions:
        raise WrongSnapshot(
            f"snapshot of {snapshot.stage} needs rules {snapshot.version}, this code knows {processor.versions}"
        )
    shard.offset, shard.checksum = snapshot.offset, snapshot.checksum
    shard.clock, shard.version, shard.counts = snapshot.clock, snapshot.version, Counts(**snapshot.counts)
    shard.marks = {mark.source: mark.position for mark in snapshot.marks}
    shard.prevs = {(target.topic, target.partition): target.position for target in snapshot.targets}
    shard.entities = {entity.key: processor.entity_codec.decode(entity.state) for entity in snapshot.entities}
    for deadline in snapshot.deadlines:
        shard.set_deadline(deadline.key, deadline.name, deadline.at)
    if snapshot.shared is not None:
        shard.shared = processor.shared_codec.decode(snapshot.shared)
    shard.renew_context()


class SnapshotStore:
    """Snapshots of shards as files below `root`, on any Beam file system: `<root>/<stage>/<topic>-<partition>/<offset>.snapshot`."""

    def __init__(self, root: str, keep: int = 4) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.root, self.keep = root.rstrip("/"), keep

    def _folder(self, stage: str, topic: str, partition: int) -> str:
        return posixpath.join(self.root, stage, f"{topic}-{partition}")

    def write(self, shard: Shard) -> str:
        """Writes a snapshot whole (by rename) and prunes those before it. Take it only when the outputs before it are flushed."""
        return self.put(*shard.source, shard.offset, encode_shard(shard))

    def put(self, stage: str, topic: str, partition: int, offset: int, data: bytes) -> str:
        """`write` for a shard that is encoded already."""
        folder = self._folder(stage, topic, partition)
        if not FileSystems.exists(folder):
            FileSystems.mkdirs(folder)
        path = posixpath.join(folder, f"{offset:020d}.snapshot")
        partial = posixpath.join(folder, f".{uuid.uuid4().hex}.partial")
        try:
            with FileSystems.create(partial, "application/octet-stream", "uncompressed") as file:
                file.write(data)
            FileSystems.rename([partial], [path])
        except BaseException:  # on a full disk a part would take room from the next one
            with contextlib.suppress(OSError, BeamIOError):
                FileSystems.delete([partial])
            raise
        self.prune(stage, topic, partition, offset)
        return path

    def offsets(self, stage: str, topic: str, partition: int) -> list[int]:
        """Offsets of the snapshots there are, oldest first; whether they are whole is seen on loading."""
        pattern = posixpath.join(self._folder(stage, topic, partition), "*.snapshot")
        found = FileSystems.match([pattern])[0].metadata_list
        return sorted(int(posixpath.basename(m.path).split(".")[0]) for m in found)

    def restore(self, shard: Shard) -> bool:
        """Puts the newest whole snapshot into `shard`, a new one; False if there is none."""
        folder = self._folder(*shard.source)
        for offset in reversed(self.offsets(*shard.source)):
            path = posixpath.join(folder, f"{offset:020d}.snapshot")
            with FileSystems.open(path, compression_type="uncompressed") as file:
                data = file.read()
            try:
                restore_shard(shard, data)
                return True
            except TornSnapshot:
                continue
        return False

    def prune(self, stage: str, topic: str, partition: int, offset: int) -> None:
        """Deletes all but the newest `keep` snapshots up to `offset`.

        Those beyond stay, and do not count: where a shard begins anew, because they are damaged or of an older form, they would outlive
        every one that it takes.
        """
        folder = self._folder(stage, topic, partition)
        old = [each for each in self.offsets(stage, topic, partition) if each <= offset][: -self.keep]
        if old:
            FileSystems.delete([posixpath.join(folder, f"{each:020d}.snapshot") for each in old])
