"""The determinism contract, line by line: docs/architecture.md has the lines, each class here the tests of one."""

from pathlib import Path
from typing import Any

import pytest

from schemas.rails import DeadLetter, Origin, Position, Rule, Source, Tick, Version
from tests.transforms import toys
from tests.transforms.toys import A, B, do, key_of, make_shard, records, said, written
from transforms.errors import BadRecord
from transforms.fold import (
    DEAD_LETTERS,
    ForkedWriter,
    Gap,
    MissingRecord,
    Output,
    Run,
    Shard,
    Topic,
    UnknownVersion,
    WrongState,
    fold,
)
from transforms.fold_bounded import skip_folded
from transforms.loop import Loop, Stage
from transforms.murmur2 import murmur2, partition_of
from transforms.snapshots import SnapshotStore, encode_shard, restore_shard


def letters(outputs: list[Output]) -> list[DeadLetter]:
    return [output.event for output in outputs if output.topic == DEAD_LETTERS.name]


def codes(outputs: list[Output]) -> list[str]:
    return [letter.code for letter in letters(outputs)]


class TestLine1AShardIsOnePartition:
    def test_a_key_of_another_partition_is_a_dead_letter(self) -> None:
        assert codes(fold(make_shard(0), records(do(key_of(1), "add", 1)))) == ["WRONG_PARTITION"]
        assert codes(fold(make_shard(1), records(do(key_of(1), "add", 1)))) == []

    def test_a_key_that_is_not_the_entitys_id_is_a_dead_letter(self) -> None:
        _, value = do(A, "add", 1)
        shard = make_shard()
        assert codes(fold(shard, records((B.encode(), value), (None, value)))) == ["WRONG_KEY", "WRONG_KEY"]
        assert shard.entities == {}

    def test_the_key_of_an_entity_that_exists_must_be_right_too(self) -> None:
        key, value = do(A, "add", 1)
        outputs = fold(make_shard(), records((key, value), (B.encode(), value), (key, value)))
        assert codes(outputs) == ["WRONG_KEY"]
        assert said(outputs) == [("v1", 1), ("v1", 2)]

    def test_a_broadcast_is_for_stages_that_take_it(self) -> None:
        assert codes(fold(make_shard(), records(do("", "add", 1)))) == ["NO_KEY"]

    def test_the_partitioner_is_kafkas(self) -> None:
        # From the Java client's own test of murmur2, UtilsTest.testMurmur2: 21 → -973932308, foobar → -790332482.
        assert [murmur2(key) - (1 << 32) for key in (b"21", b"foobar")] == [-973932308, -790332482]
        assert partition_of(b"foobar", 7) == (-790332482 & 0x7FFFFFFF) % 7


class TestLine2TheClockIsTheLogs:
    def test_it_is_the_largest_append_time_and_never_falls(self) -> None:
        shard = make_shard()
        clocks = []
        for record, at in zip(records(*[do(A, "add")] * 3), (500, 300, 700), strict=True):
            shard.step(record._replace(at=at))
            clocks.append(shard.clock)
        assert clocks == [500, 500, 700]

    def test_repeats_move_it_too(self) -> None:
        shard = make_shard()
        first, again = records(do(A, "add"), do(A, "add"), step=10_000)
        fold(shard, [written(first, 0), written(again, 0)])
        assert (shard.clock, shard.counts.duplicate) == (again.at, 1)

    def test_claimed_times_are_data(self) -> None:
        """A tick's own time moves nothing."""
        shard = make_shard()
        fold(shard, records(toys.broadcast(Tick(10**12))))
        assert shard.clock == 1000

    def test_a_clock_that_is_handed_on_is_that_of_the_first_topic(self) -> None:
        """`n` of an event is the time that it carries; its append time, and records that carry none, move nothing."""
        shard = make_shard(processor=_Follower())
        first, alarm, late = records(do(A, "add", 100), do(A, "alarm", 5), do(A, "add", 104), at=5000)
        assert said(fold(shard, [first, alarm])) == [("v1", 100)]
        assert (shard.clock, shard._context.at) == (100, 5010)
        others = records(toys.broadcast(Tick(0)), (A.encode(), b"\x07"), (A.encode(), b""), at=9000, first=2)
        assert codes(fold(shard, others)) == ["BAD_MAGIC", "EMPTY_VALUE"]
        assert shard.clock == 100
        assert said(shard.step(late._replace(offset=5))) == [("v1", 204)]
        assert said(shard.step(late._replace(offset=6, value=do(A, "add", 105)[1]))) == [("alarm", 105), ("v1", 309)]
        older = late._replace(offset=7, value=do(A, "add", 50)[1])
        assert said(shard.step(older)) == [("v1", 359)]
        assert shard.clock == 105

    def test_a_repeat_of_what_was_handed_on_moves_nothing(self) -> None:
        shard = make_shard(processor=_Follower())
        first, again = records(do(A, "add", 100), do(A, "add", 100), step=10_000)
        fold(shard, [written(first, 0), written(again, 0)])
        assert (shard.clock, shard.counts.duplicate) == (100, 1)

    def test_a_clock_is_handed_on_in_runs_too(self) -> None:
        events = [toys.Do(A, "add", 100), toys.Do(A, "alarm", 5), toys.Do(A, "add", 104), toys.Do(A, "add", 105)]
        values = [toys.EVENTS.encode(event) for event in events]
        shard = make_shard(processor=_Follower())
        _, emitted = shard.fold_run(Run(0, [1, 9000, 9001, 9002], [A.encode()] * 4, events, values.__getitem__))
        assert [event.text for topic, _, _, event, *_ in emitted if topic == toys.OUT.name] == [
            "v1",
            "v1",
            "alarm",
            "v1",
        ]
        assert shard.clock == 105

    def test_what_has_no_key_is_handed_on_beside(self) -> None:
        shard = make_shard(1, processor=_Follower())
        (output,) = fold(shard, records(toys.broadcast(toys.Do("", "beside", 7))))
        assert (output.topic, output.partition, output.key) == (toys.OUT.name, 1, None)
        assert output.origin == Origin(shard.source, 0, 0, None)


class _Follower(toys.Toy):
    carries_clock = True

    def carried_time(self, event: Any) -> int:
        return event.n if isinstance(event, toys.Do) and event.what == "add" else -1

    def on_broadcast(self, event: Any, context: Any) -> None:
        context.emit_beside(toys.OUT, toys.Said("", "beside", event.n))


class TestLine3DeadlinesFireByRecords:
    def test_a_record_fires_what_is_due_before_it_is_applied(self) -> None:
        outputs = fold(make_shard(), records(do(A, "add", 1), do(A, "alarm", 10), do(A, "add", 1)))
        assert said(outputs) == [("v1", 1), ("alarm", 1020), ("v1", 2)]

    def test_in_the_order_of_time_key_and_name(self) -> None:
        low, high = sorted((A, B))
        setting = [
            do(high, "b", 50),
            do(low, "z", 40),
            do(low, "a", 40),
            do(high, "a", 30),
        ]  # from 1000 on, 10 ms apart
        shard = make_shard()
        fold(shard, records(do(A, "add"), do(B, "add"), *setting, at=980))
        outputs = shard.step(records(toys.broadcast(Tick(0)), at=2000, first=6)[0])
        assert [(o.event.key, o.event.text) for o in outputs] == [(low, "z"), (high, "b"), (low, "a"), (high, "a")]

    @pytest.mark.parametrize("kind", ["event", "tick", "repeat", "dead letter", "rule"])
    def test_every_kind_of_record_fires(self, kind: str) -> None:
        shard = make_shard()
        first, alarm = records(do(A, "add"), do(A, "alarm", 5))
        fold(shard, [written(first, 7), alarm])
        last = {
            "event": do(A, "late"),
            "tick": toys.broadcast(Tick(0)),
            "repeat": do(A, "add"),
            "dead letter": (A.encode(), b"\x07"),
            "rule": toys.broadcast(Rule("r", "r", 1, True, {})),
        }[kind]
        (record,) = records(last, at=2000, first=2)
        assert said(shard.step(written(record, 7) if kind == "repeat" else record)) == [("alarm", 2000)]

    def test_until_none_is_left(self) -> None:
        """A deadline may set another that is due already."""
        outputs = fold(make_shard(), records(do(A, "add"), do(A, "again", 1), do(A, "late")))
        assert said(outputs)[1:] == [("again", 1020), ("at once", 1020)]

    def test_one_that_is_due_when_it_is_set_fires_with_the_next_record_even_at_the_same_time(self) -> None:
        shard = make_shard()
        outputs = fold(shard, records(do(A, "add"), do(A, "alarm", 0), do(A, "add", 5), step=0))
        assert said(outputs) == [("v1", 0), ("alarm", 1000), ("v1", 5)]

    def test_the_end_of_the_input_fires_nothing(self) -> None:
        loop = Loop([Stage(toys.TOY, toys.IN)], toys.EVENTS, lambda record: [(toys.IN.name, 0)])
        chunks = list(loop.run(records(do(A, "add"), do(A, "alarm", 1))))
        assert sum(chunk.count for chunk in chunks if chunk.topic == toys.OUT.name) == 1

    def test_moved_and_cleared_ones_do_not_fire(self) -> None:
        moves = [do(A, "add"), do(A, "alarm", 10), do(A, "alarm", 100), do(A, "alarm", 60), do(A, "other", 1)]
        shard = make_shard()
        assert said(fold(shard, records(*moves, step=1))) == [("v1", 0)]
        assert shard.next_deadline == 1005
        (tick,) = records(toys.broadcast(Tick(0)), at=1062, first=5)
        assert said(shard.step(tick)) == [("other", 1062)]
        assert shard.next_deadline == 1063
        fold(shard, records(do(A, "clear"), at=1062, first=6))
        assert shard.next_deadline is None
        assert said(shard.step(records(do(A, "late"), at=9000, first=7)[0])) == []

    def test_they_go_with_their_entity(self) -> None:
        shard = make_shard()
        fold(shard, records(do(A, "add"), do(A, "alarm", 100), do(A, "forget"), do(A, "add")))
        assert said(shard.step(records(do(A, "late"), at=5000, first=4)[0])) == []

    def test_an_entity_that_a_deadline_forgets_is_gone(self) -> None:
        shard = make_shard()
        fold(shard, records(do(A, "add"), do(A, "end", 15), do(A, "alarm", 500), toys.broadcast(Tick(0))))
        assert (shard.entities, shard.deadlines, shard.next_deadline) == ({}, {}, None)

    def test_an_error_of_a_deadline_stops_the_shard(self) -> None:
        with pytest.raises(WrongState, match="bad raised BAD_DEADLINE"):
            fold(make_shard(), records(do(A, "add"), do(A, "bad", 1), do(A, "late")))

    def test_a_deadline_needs_an_entity(self) -> None:
        with pytest.raises(WrongState, match="without an entity"):
            fold(make_shard(), records(do(A, "alarm", 1)))


class TestLine4OutputIsAPureFunctionOfTheRecords:
    ITEMS = (do(A, "add", 1), do(B, "say", 3), do(A, "alarm", 15), (A.encode(), b""), do(B, "add", 2), do(A, "late"))

    def test_not_of_the_chunks_or_the_number_of_attempts(self) -> None:
        log = records(*self.ITEMS)
        whole = fold(make_shard(), log)
        for cut in range(len(log)):
            shard = make_shard()
            assert fold(shard, log[:cut]) + fold(shard, log[cut:]) == whole

    def test_not_of_what_was_decoded_before(self) -> None:
        log, one, other = records(*self.ITEMS), make_shard(), make_shard()
        for record in log:
            event = toys.EVENTS.decode(record.value) if record.value else None
            assert one.step(record) == other.step(record, event)
        assert encode_shard(one) == encode_shard(other)

    def test_a_restored_shard_goes_on_as_if_nothing_had_happened(self) -> None:
        log = records(*self.ITEMS)
        whole = make_shard()
        outputs = fold(whole, log)
        for cut in range(len(log) + 1):
            first = make_shard()
            before = fold(first, log[:cut])
            second = make_shard()
            restore_shard(second, encode_shard(first))
            assert before + fold(second, log[cut:]) == outputs
            assert encode_shard(second) == encode_shard(whole)


class TestLine5AnOutputsIdentityIsWhereItCameFrom:
    def test_stage_topic_partition_offset_index(self) -> None:
        outputs = fold(make_shard(1), records(do(key_of(1), "say", 2), do(key_of(1), "say", 1)))
        source = Source("toy", "toy.in", 1)
        assert [output.origin[:3] for output in outputs if output.origin] == [
            (source, 0, 0),
            (source, 0, 1),
            (source, 1, 0),
        ]

    def test_the_topic_is_named_by_its_id(self) -> None:
        shard = make_shard(topic=Topic("toy.in", 2, id="f00d"))
        (output,) = fold(shard, records(do(A, "say", 1)))
        assert output.origin is not None
        assert output.origin.source.topic == "f00d"

    def test_prev_is_the_last_output_to_the_same_partition(self) -> None:
        last: dict[tuple[str, int], Position] = {}
        for output in fold(make_shard(), records(do(A, "say", 9), do(B, "say", 9), (A.encode(), b""), do(A, "add"))):
            if output.origin is not None:
                place = (output.topic, output.partition)
                assert output.origin.prev == last.get(place)
                last[place] = Position(output.origin.offset, output.origin.index)
        assert len(last) > 3

    def test_the_index_counts_over_all_topics_and_deadlines_and_leaves_upserts_out(self) -> None:
        outputs = fold(make_shard(), records(do(A, "add"), do(A, "alarm", 10), do(A, "add")))
        assert [(o.topic, o.origin and o.origin[1:3]) for o in outputs] == [
            ("toy.out", (0, 0)),
            ("toy.states", None),
            ("toy.out", (2, 0)),
            ("toy.out", (2, 1)),
            ("toy.states", None),
        ]

    def test_a_dead_letter_has_an_identity_too(self) -> None:
        (output,) = fold(make_shard(), records((A.encode(), b"")))
        assert output.origin == Origin(Source("toy", "toy.in", 0), 0, 0, None)
        assert output.event.id == "toy/toy.in/0/0"


class TestLine6ReadersDropRepeats:
    def test_what_is_not_above_the_mark_is_a_repeat(self) -> None:
        a, b, c, d = records(*[do(A, "add", 1)] * 4)
        shard = make_shard()
        outputs = fold(shard, [written(a, 5, 1), written(b, 5, 1), written(c, 5, 2, (5, 1)), written(d, 4, 7)])
        assert said(outputs) == [("v1", 1), ("v1", 2)]
        assert (shard.counts.applied, shard.counts.duplicate) == (2, 2)

    def test_marks_are_kept_per_writing_shard(self) -> None:
        a, b, c = (written(record, 5) for record in records(*[do(A, "add", 1)] * 3))
        others = [Source("writer", "somewhere", 4), Source("another", "somewhere", 3)]
        b, c = (r._replace(origin=r.origin._replace(source=s)) for r, s in zip((b, c), others, strict=True))  # type: ignore[union-attr]
        assert said(fold(make_shard(), [a, b, c])) == [("v1", 1), ("v1", 2), ("v1", 3)]

    def test_a_missing_record_stops_the_shard(self) -> None:
        a, b = records(*[do(A, "add", 1)] * 2)
        with pytest.raises(MissingRecord, match=r"wrote 6\.0 after .*5.* but the last that arrived is None"):
            fold(make_shard(), [written(a, 6, 0, (5, 0))])
        with pytest.raises(MissingRecord, match=r"toy\.in/0/1: "):
            fold(make_shard(), [written(a, 5), written(b, 7, 0, (6, 0))])

    @pytest.mark.parametrize("prev", [None, (4, 0)])
    def test_two_histories_of_one_writer_stop_the_shard(self, prev: tuple[int, int] | None) -> None:
        a, b = records(*[do(A, "add", 1)] * 2)
        with pytest.raises(ForkedWriter):
            fold(make_shard(), [written(a, 5), written(b, 6, 0, prev)])

    def test_the_mark_moves_before_the_record_is_decoded(self) -> None:
        junk, again = records((A.encode(), b"junk"), (A.encode(), b"junk"))
        shard = make_shard()
        outputs = fold(shard, [written(junk, 5), written(again, 5)])
        assert codes(outputs) == ["BAD_MAGIC"]
        assert (shard.counts.dead_lettered, shard.counts.duplicate) == (1, 1)

    def test_broadcasts_with_an_origin_are_filtered_like_the_rest(self) -> None:
        shard = make_shard()
        fold(shard, [written(record, 5) for record in records(*[toys.broadcast(Tick(0))] * 2)])
        assert (shard.counts.ticks, shard.counts.duplicate) == (1, 1)

    def test_on_a_clients_topic_a_forged_origin_proves_nothing(self) -> None:
        class FromClients(toys.Toy):
            from_clients = True

        forged = [written(record, 10**9, 0, (10**8, 0)) for record in records(*[do(A, "add", 1)] * 2)]
        shard = make_shard(processor=FromClients())
        assert said(fold(shard, forged)) == [("v1", 1), ("v1", 2)]
        assert shard.marks == {}

    @pytest.mark.parametrize(
        "event", [Tick(0), Version("toy", 99, "id"), Version("toy", 2, "id"), Rule("id", "n", 1, True, {})], ids=str
    )
    def test_on_a_clients_topic_nobody_can_tick_rule_or_stop_a_stage(self, event: Any) -> None:
        class FromClients(toys.Toy):
            from_clients = True

        shard = make_shard(processor=FromClients())
        assert codes(fold(shard, records(toys.broadcast(event), do(A, "add", 1)))[:1]) == ["UNEXPECTED_TYPE"]
        assert (shard.version, shard.counts.dead_lettered, shard.counts.applied) == (1, 1, 1)

    def test_the_marks_are_part_of_the_state(self) -> None:
        a, b = records(*[do(A, "add", 1)] * 2)
        shard, restored = make_shard(), make_shard()
        shard.step(written(a, 5))
        restore_shard(restored, encode_shard(shard))
        assert restored.step(written(b, 5)) == []


class TestLine7WritesAreGapless:
    """The writer is FoldLog's; what the engine gives it is an explicit partition for every record."""

    def test_every_output_says_where_it_goes(self) -> None:
        outputs = fold(make_shard(), records(do(A, "say", 9)))
        assert [o.partition for o in outputs] == [partition_of(o.key or b"", toys.OUT.partitions) for o in outputs]

    def test_a_dead_letter_without_key_goes_where_it_came_from(self) -> None:
        shard = Shard(toys.TOY, "toy.in", 5, 40, toys.EVENTS.decode, Topic("dead", 3))
        (output,) = fold(shard, records((None, None)))
        assert (output.topic, output.partition, output.key) == ("dead", 2, None)
        (output,) = fold(shard, records((b"key", None), first=1))
        assert (output.partition, output.key) == (partition_of(b"key", 3), b"key")


class TestLine8AGapIsAnError:
    @pytest.mark.parametrize("offsets", [(1,), (0, 2), (0, 0), (0, 1, 0)])
    def test_offsets_follow_one_another_from_zero(self, offsets: tuple[int, ...]) -> None:
        log = [records(do(A, "add"))[0]._replace(offset=offset) for offset in offsets]
        with pytest.raises(Gap, match=f"got {offsets[-1]}"):
            fold(make_shard(), log)

    def test_a_re_created_topic_is_told_by_the_record_before(self) -> None:
        log = records(*[do(A, "add", i) for i in range(4)])
        shard = make_shard()
        fold(shard, log[:2])
        restored = make_shard()
        restore_shard(restored, encode_shard(shard))
        assert [r.offset for r in skip_folded(restored, log)] == [2, 3]
        for other in (
            log[1]._replace(at=log[1].at + 1),
            log[1]._replace(value=b"x"),
            log[1]._replace(key=None),
            log[1]._replace(offset=2),
        ):
            with pytest.raises(Gap, match="re-created or cut"):
                restored.check_before(other)

    def test_a_topic_cut_below_the_snapshot_stops(self) -> None:
        log = records(*[do(A, "add", i) for i in range(4)])
        shard = make_shard()
        fold(shard, log[:3])
        with pytest.raises(Gap, match="ends before offset 3"):
            list(skip_folded(shard, log[:2]))
        with pytest.raises(Gap, match="re-created or cut"):
            list(skip_folded(shard, log[3:]))


class TestLine9RestoreFromTheNewestWholeSnapshot:
    def test_a_torn_one_is_passed_over(self, tmp_path: Any) -> None:
        store, shard = SnapshotStore(str(tmp_path)), make_shard()
        paths = []
        for record in records(*[do(A, "add", i) for i in range(3)]):
            shard.step(record)
            paths.append(store.write(shard))
        whole = Path(paths[2]).read_bytes()
        for torn in (b"", whole[:20], whole[:-1], whole[:60] + b"\xff" + whole[61:], whole + b"\0"):
            Path(paths[2]).write_bytes(torn)
            restored = make_shard()
            assert store.restore(restored)
            assert restored.offset == 2

    def test_without_a_snapshot_the_log_begins_at_zero(self, tmp_path: Any) -> None:
        shard = make_shard()
        assert not SnapshotStore(str(tmp_path)).restore(shard)
        assert shard.offset == 0


class TestLine10OnlyBadRecordMakesADeadLetter:
    def test_with_all_that_is_needed_to_send_it_again(self) -> None:
        (record,) = records(do(A, "refuse"))
        outputs = fold(make_shard(), [record])
        assert letters(outputs) == [
            DeadLetter(
                id="toy/toy.in/0/0",
                stage="toy",
                topic="toy.in",
                partition=0,
                offset=0,
                at=1000,
                code="REFUSED",
                detail="as told",
                attempt=0,
                key=record.key,
                value=record.value,
                headers=(),
            )
        ]

    @pytest.mark.parametrize(
        ("item", "code"),
        [
            ((A.encode(), None), "EMPTY_VALUE"),
            ((A.encode(), b""), "EMPTY_VALUE"),
            ((A.encode(), b"{}"), "BAD_MAGIC"),
            ((A.encode(), b"\0\0\0\0\x63"), "UNKNOWN_SCHEMA"),
            ((A.encode(), toys.EVENTS.encode(toys.Unread(A))), "UNEXPECTED_TYPE"),
            (do(A, "refuse"), "REFUSED"),
        ],
    )
    def test_what_is_refused(self, item: tuple[bytes | None, bytes | None], code: str) -> None:
        shard = make_shard()
        assert codes(fold(shard, records(item, do(A, "add")))) == [code]
        assert (shard.counts.dead_lettered, shard.counts.applied) == (1, 1)

    def test_any_other_exception_stops_the_shard(self) -> None:
        with pytest.raises(RuntimeError, match="a bug"):
            fold(make_shard(), records(do(A, "crash")))

    @pytest.mark.parametrize("n", [1, 2])
    def test_a_refusal_after_something_was_done_stops_the_shard(self, n: int) -> None:
        with pytest.raises(WrongState, match="REFUSED raised after something was done"):
            fold(make_shard(), records(do(A, "refuse", n)))

    def test_what_deadlines_gave_before_it_stands(self) -> None:
        class Upserts(toys.Toy):
            def on_deadline(self, key, entity, deadline, context):  # type: ignore[no-untyped-def]
                context.upsert(toys.STATES, key, toys.Said(key, "rang", 0), 1)
                return entity

        shard = make_shard(processor=Upserts())
        outputs = fold(shard, records(do(A, "add"), do(A, "alarm", 1), (A.encode(), b"")))
        assert [o.topic for o in outputs[2:]] == ["toy.states", DEAD_LETTERS.name]


class TestLine11VersionsAreRecords:
    def test_a_version_is_in_force_from_where_it_stands(self) -> None:
        outputs = fold(make_shard(), records(do(A, "add"), toys.broadcast(Version("toy", 2, "x")), do(A, "add")))
        assert [text for text, _ in said(outputs)] == ["v1", "v2"]

    def test_numbers_only_rise(self) -> None:
        shard = make_shard()
        pins = [toys.broadcast(Version("toy", number, "x")) for number in (2, 1, 2)]
        fold(shard, records(*pins))
        assert (shard.version, shard.counts.applied, shard.counts.duplicate) == (2, 1, 2)

    def test_code_that_does_not_know_it_stops_before_any_output(self) -> None:
        with pytest.raises(UnknownVersion, match=r"needs rules 3, this code knows \(1, 2\)"):
            fold(make_shard(), records(toys.broadcast(Version("toy", 3, "x")), do(A, "add")))

    def test_other_stages_pass_it_by(self) -> None:
        shard = make_shard()
        fold(shard, records(toys.broadcast(Version("another", 9, "x"))))
        assert (shard.version, shard.counts.applied) == (1, 1)

    def test_it_is_part_of_the_state(self) -> None:
        shard, restored = make_shard(), make_shard()
        fold(shard, records(toys.broadcast(Version("toy", 2, "x"))))
        restore_shard(restored, encode_shard(shard))
        assert said(fold(restored, records(do(A, "add"), first=1))) == [("v2", 0)]


class TestCounts:
    def test_they_add_up_to_the_offset(self) -> None:
        shard = make_shard()
        items = [do(A, what) for what in ("add", "late", "duplicate", "refuse")]
        extra = [(None, None), toys.broadcast(Tick(0)), toys.broadcast(Rule("r", "r", 1, True, {}))]
        log = records(*items, *extra, toys.broadcast(Version("toy", 1, "x")))
        fold(shard, [*log, written(log[0]._replace(offset=8), 5), written(log[0]._replace(offset=9), 5)])
        assert shard.counts.as_dict() == {"applied": 3, "dead_lettered": 2, "duplicate": 3, "late": 1, "ticks": 1}
        assert sum(shard.counts.as_dict().values()) == shard.offset == 10

    def test_what_a_deadline_counts_is_not_the_records(self) -> None:
        class Counting(toys.Toy):
            def on_deadline(self, key, entity, deadline, context):  # type: ignore[no-untyped-def]
                context.count_as_late()
                return entity

        shard = make_shard(processor=Counting())
        fold(shard, records(do(A, "add"), do(A, "alarm", 1), do(A, "add")))
        assert shard.counts.as_dict()["applied"] == 3


def test_bad_record_tells_code_and_detail() -> None:
    error = BadRecord("CODE", "detail")
    assert (error.code, error.detail) == ("CODE", "detail")
