"""Snapshots: bytes of a shard, and files of them. That they are exact is line 4 and 9 of test_contract.py."""

import errno
import io
from pathlib import Path
from typing import Any

import pytest
from apache_beam.io.filesystems import FileSystems

from schemas.rails import Rule
from tests.transforms import toys
from tests.transforms.toys import A, B, do, make_shard, records, written
from transforms.errors import BadRecord
from transforms.event_types import codec_of
from transforms.fold import Topic, fold
from transforms.snapshots import _MAGIC, SnapshotStore, TornSnapshot, WrongSnapshot, encode_shard, restore_shard


def full_shard() -> Any:
    """A shard with everything in it."""
    shard = make_shard()
    log = records(do(A, "add", 1), do(B, "add", 2), do(A, "alarm", 9000), do(B, "x", 10), (None, b""), do(B, "late"))
    fold(shard, [written(log[0], 5), *log[1:]])
    return shard


def test_equal_shards_give_equal_bytes_and_a_restored_one_is_equal() -> None:
    shard, again, restored = full_shard(), full_shard(), make_shard()
    assert encode_shard(shard) == encode_shard(again)
    restore_shard(restored, encode_shard(shard))
    assert encode_shard(restored) == encode_shard(shard)
    for name in ("offset", "clock", "version", "counts", "entities", "deadlines", "marks", "prevs"):
        assert getattr(restored, name) == getattr(shard, name), name
    assert list(restored.entities) == list(shard.entities)
    assert restored.next_deadline == shard.next_deadline == 10020


def test_deadlines_set_in_another_order_give_the_same_bytes() -> None:
    one, other = make_shard(), make_shard()
    for shard, names in ((one, "xyz"), (other, "zyx")):
        for name in names:
            shard.set_deadline(A, name, 5)
    assert encode_shard(one) == encode_shard(other)


class Shared(toys.Toy):
    """Counts broadcasts in shared state."""

    reads = (toys.Do, Rule)
    shared_codec: Any = codec_of(dict[str, int])

    def key(self, event: Any) -> str | None:
        return None if isinstance(event, Rule) else super().key(event)

    def new_shared(self) -> dict[str, int]:
        return {}

    def on_broadcast(self, event: Rule, context: Any) -> None:
        context.shared[event.name] = event.version


def test_shared_state_goes_along() -> None:
    shard, restored = make_shard(processor=Shared()), make_shard(processor=Shared())
    rules = [toys.broadcast(Rule("r", name, 1, True, {})) for name in "ab"]
    shard.step(records(rules[0])[0])
    restore_shard(restored, encode_shard(shard))
    restored.step(records(rules[1], first=1)[0])
    assert restored.shared == {"a": 1, "b": 1}


@pytest.mark.parametrize("what", ["entity_codec", "shared_codec"])
def test_state_without_a_codec_is_refused_and_not_lost(what: str) -> None:
    class NoCodec(Shared):
        pass

    setattr(NoCodec, what, None)
    shard = make_shard(processor=NoCodec())
    shard.step(records(do(A, "add"))[0])
    with pytest.raises(TypeError, match="toy: a snapshot needs"):
        encode_shard(shard)


def test_a_damaged_one_is_torn() -> None:
    data = encode_shard(full_shard())
    for i in range(0, len(data), 7):
        with pytest.raises(TornSnapshot):
            restore_shard(make_shard(), data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(TornSnapshot):
            restore_shard(make_shard(), data[:i])


def test_one_with_the_right_checksum_of_nonsense_is_torn() -> None:
    import hashlib

    body = b"nonsense"
    with pytest.raises(TornSnapshot):
        restore_shard(make_shard(), _MAGIC + hashlib.sha256(body).digest() + body)


def test_one_of_an_older_form_is_not_read() -> None:
    data = encode_shard(full_shard())
    for number in (b"1", b"3"):
        with pytest.raises(TornSnapshot, match="not of this form"):
            restore_shard(make_shard(), _MAGIC[:-1] + number + data[len(_MAGIC) :])


class Other(toys.Toy):
    stage = "other"


class OldCode(toys.Toy):
    versions = (2, 3)


@pytest.mark.parametrize(
    "other",
    [
        make_shard(processor=Other()),
        make_shard(1),
        make_shard(topic=Topic("toy.other", 2)),
        make_shard(topic=Topic("toy.in", 2, "re-created")),
        make_shard(topic=Topic("toy.in", 3)),
        make_shard(processor=OldCode()),
    ],
    ids=["stage", "partition", "topic", "topic id", "partition count", "rules"],
)
def test_a_snapshot_of_something_else_is_wrong(other: Any) -> None:
    with pytest.raises(WrongSnapshot, match="toy"):
        restore_shard(other, encode_shard(full_shard()))


class TestStore:
    def test_files_are_whole_and_pruned(self, tmp_path: Path) -> None:
        store, shard = SnapshotStore(str(tmp_path / "snapshots") + "/", keep=2), make_shard()
        for record in records(*[do(A, "add", i) for i in range(4)]):
            shard.step(record)
            path = store.write(shard)
        folder = tmp_path / "snapshots" / "toy" / "toy.in-0"
        assert [p.name for p in sorted(folder.iterdir())] == [f"{offset:020d}.snapshot" for offset in (3, 4)]
        assert path == str(folder / f"{4:020d}.snapshot")
        assert store.offsets("toy", "toy.in", 0) == [3, 4]
        assert store.offsets("toy", "toy.in", 1) == []

    def test_those_of_a_shard_that_begins_anew_stay(self, tmp_path: Path) -> None:
        """Those that it had before are of an older form, and beyond it: they neither take its place nor are they in the way."""
        store, shard, restored = SnapshotStore(str(tmp_path), keep=2), make_shard(), make_shard()
        for offset in (100, 200):
            store.put(*shard.source, offset, b"of an older form")
        for record in records(*[do(A, "add", i) for i in range(3)]):
            shard.step(record)
            store.write(shard)
        assert store.offsets("toy", "toy.in", 0) == [2, 3, 100, 200]
        assert store.restore(restored) and restored.offset == 3
        store.put(*shard.source, 300, encode_shard(shard))
        assert store.offsets("toy", "toy.in", 0) == [200, 300]

    def test_writing_again_changes_nothing(self, tmp_path: Path) -> None:
        store, shard = SnapshotStore(str(tmp_path)), full_shard()
        data = [Path(store.write(shard)).read_bytes() for _ in range(2)]
        assert data[0] == data[1] == encode_shard(shard)

    def test_restores_the_newest(self, tmp_path: Path) -> None:
        store, shard, restored = SnapshotStore(str(tmp_path)), make_shard(), make_shard()
        for record in records(*[do(A, "add", 1)] * 12):
            shard.step(record)
            store.write(shard)
        assert store.restore(restored)
        assert (restored.offset, restored.entities) == (12, {A: toys.State(12)})

    def test_nothing_is_left_of_a_torn_one(self, tmp_path: Path) -> None:
        store, shard, restored = SnapshotStore(str(tmp_path)), full_shard(), make_shard()
        Path(store.write(shard)).write_bytes(b"torn")
        assert not store.restore(restored)
        assert encode_shard(restored) == encode_shard(make_shard())

    def test_nothing_is_left_of_one_that_found_no_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full disk, as the chaos run has it: what was written of it would take the room of the next one."""
        store, shard = SnapshotStore(str(tmp_path)), full_shard()

        class Full(io.BytesIO):
            def __init__(self, path: str) -> None:
                super().__init__()
                self.path = path

            def write(self, data: Any) -> int:
                Path(self.path).write_bytes(data[:10])
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(FileSystems, "create", lambda path, *_: Full(path))
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                store.write(shard)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_keeps_at_least_one(self) -> None:
        with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
            SnapshotStore("x", keep=0)


def test_bad_records_of_a_body_are_not_let_through() -> None:
    """A snapshot that does not decode is torn: BadRecord would make a dead letter somewhere else."""
    try:
        restore_shard(make_shard(), b"")
    except BadRecord:  # pragma: no cover
        pytest.fail("BadRecord")
    except TornSnapshot:
        pass
