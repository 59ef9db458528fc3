"""Parts of the engine that no line of the contract names; the contract itself is in test_contract.py."""

import random
from heapq import heapify, heappop, heappush

import pytest

from tests.transforms import toys
from tests.transforms.toys import A, do, make_shard, records
from transforms.errors import BadRecord
from transforms.fold import Context, Counts, Processor, Topic, WrongState, fold, record_checksum


def test_a_topic_has_partitions_and_an_id() -> None:
    assert Topic("name").topic_id == "name"
    assert Topic("name", id="f00d").topic_id == "f00d"
    assert Topic("name").partition_of(None) == 0
    with pytest.raises(ValueError, match="topic name: partitions must be at least 1, got 0"):
        Topic("name", 0)


def test_counts_are_a_dictionary_in_fixed_order() -> None:
    assert list(Counts(1, 2, 3, 4, 5).as_dict().items()) == [
        ("applied", 1),
        ("dead_lettered", 2),
        ("duplicate", 3),
        ("late", 4),
        ("ticks", 5),
    ]


def test_the_base_processor_takes_no_broadcasts_and_has_no_shared_state() -> None:
    processor = Processor()
    assert processor.new_shared() is None
    with pytest.raises(BadRecord, match="NO_KEY"):
        processor.on_broadcast(None, Context(make_shard()))


class Looks(toys.Toy):
    """Says what it can see."""

    def key(self, event: toys.Do) -> str | None:
        return None if event.what == "broadcast" else super().key(event)

    def on_event(self, key, entity, event, context):  # type: ignore[no-untyped-def]
        self.saw = (context.partition, context.place, context.at, context.clock, context.offset, context.value)
        if event.what == "clear":
            context.clear_deadline("never set")
        elif event.n:
            context.set_deadline("alarm", context.clock + event.n)
        return toys.State(0)

    def on_deadline(self, key, entity, deadline, context):  # type: ignore[no-untyped-def]
        self.saw = (context.partition, context.place, context.at, context.clock, context.offset, context.value)
        return entity

    def on_broadcast(self, event: toys.Do, context: Context) -> None:
        if event.n == 1:
            context.set_deadline("alarm", 0)
        context.clear_deadline("alarm")


def test_what_a_processor_sees() -> None:
    looks = Looks()
    shard = make_shard(processor=looks)
    first, second = records(do(A, "x"), do(A, "y"))
    shard.step(first)
    assert looks.saw == (0, "toy.in/0/0", 1000, 1000, 0, first.value)
    shard.step(second._replace(at=400))
    assert looks.saw == (0, "toy.in/0/1", 400, 1000, 1, second.value)


def test_a_deadline_sees_the_record_that_moved_the_clock() -> None:
    looks = Looks()
    log = records(do(A, "x", 5), (None, b"junk"))
    fold(make_shard(processor=looks), log)
    assert looks.saw == (0, "toy.in/0/1", 1010, 1010, 1, b"junk")


def test_a_broadcast_has_no_deadlines() -> None:
    shard = make_shard(processor=Looks())
    fold(shard, records(do(A, "x", 100), do(A, "clear"), (None, toys.EVENTS.encode(toys.Do("", "broadcast", 0)))))
    assert shard.next_deadline == 1100
    with pytest.raises(WrongState, match="a broadcast has no entity"):
        fold(shard, records((None, toys.EVENTS.encode(toys.Do("", "broadcast", 1))), first=3))


def test_an_entity_may_be_replaced_by_none_only_to_forget_it() -> None:
    shard = make_shard()
    fold(shard, records(do(A, "add", 5), do(A, "forget"), do(A, "forget"), do(A, "add", 2)))
    assert shard.entities == {A: toys.State(2)}


def test_checksums_tell_records_apart() -> None:
    (record,) = records((b"ab", b"c"))
    others = [record._replace(key=b"a", value=b"bc"), record._replace(key=None), record._replace(at=1)]
    assert len({record_checksum(other) for other in [record, *others]}) == 4
    assert record_checksum(record) == record_checksum(record._replace(offset=9))


@pytest.mark.parametrize("crowded", [4, 1_000])
def test_deadlines_fire_like_those_of_a_plain_heap(monkeypatch: pytest.MonkeyPatch, crowded: int) -> None:
    """Against a model that keeps every deadline ever set, over random sets, moves and clears."""
    monkeypatch.setattr("transforms.fold._CROWDED", crowded)
    rng = random.Random(3)
    for _ in range(50):
        shard = make_shard(processor=Looks())
        model: dict[tuple[str, str], int] = {}
        for clock in range(200):
            key, name = rng.choice("ab"), rng.choice("xyz")
            if rng.random() < 0.2:
                if key in shard.deadlines:
                    shard.clear_deadline(key, name)
                model.pop((key, name), None)
            else:
                at = clock + rng.randrange(1, 30)
                shard.set_deadline(key, name, at)
                model[key, name] = at
            heap = [(at, *place) for place, at in model.items()]
            heapify(heap)
            while heap and heap[0][0] <= clock:
                at, key, name = heappop(heap)
                assert shard.next_deadline == at
                assert shard._heap[0] == (at, key, name)
                heappop(shard._heap)
                shard.clear_deadline(key, name)
                del model[key, name]
            assert shard.next_deadline == (heap[0][0] if heap else None)
            assert {(k, n): at for k, names in shard.deadlines.items() for n, at in names.items()} == model
        heappush(heap, (0, "", ""))


def test_a_deadline_that_moves_on_and_on_leaves_nothing_behind() -> None:
    shard = make_shard()
    fold(shard, records(do(A, "add"), *[do(A, "alarm", 10_000)] * 1000))
    assert len(shard._heap) == 1


def test_deadlines_that_are_cleared_long_before_their_time_leave_little_behind() -> None:
    shard = make_shard()
    for number in range(50_000):
        shard.set_deadline(f"k{number}", "x", 10**12 + number)
        if number % 10:
            shard.clear_deadline(f"k{number}", "x")
    assert len(shard._heap) < 2 * 5_000 + 2
    assert shard.next_deadline == 10**12
