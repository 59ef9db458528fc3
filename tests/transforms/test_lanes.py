"""Lanes over a broker in memory: turns, restoring, faults; what is written must be what a plain fold writes."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.rails import Tick, Version
from tests.transforms import hops
from tests.transforms.brokers import Broker, FakeReader
from tests.transforms.hops import BALANCES, EVENTS, IN, LEGS, LETTERS, PAID, TOPICS
from transforms import lanes, log_writer
from transforms.fetched import Fetched
from transforms.fold import ForkedWriter, Gap, MissingRecord, Shard, UnknownVersion
from transforms.fold_bounded import Engine
from transforms.kafka_headers import Headings
from transforms.lane_types import Claim, LaneKnobs, LaneStalled, Summary, SummaryCoder
from transforms.lanes import Lane
from transforms.log_reader import ReadFailed, WrongTopic
from transforms.log_writer import LogWriter, WriteFailed, WriteKnobs
from transforms.snapshots import SnapshotStore, encode_shard

NOW = LaneKnobs(stay_ms=0, step_records=9, snapshot_share=1)
START = Claim("", ())


@pytest.fixture
def broker() -> Broker:
    return Broker(TOPICS)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(str(tmp_path / "snapshots"))


def pay(broker: Broker, count: int, seed: int = 1) -> None:
    for partition, key, value in hops.payments(count, seed):
        broker.append(IN.name, partition, key, value)


def make_lane(broker: Broker, store: SnapshotStore, engine: Engine | None = None, **more: Any) -> Lane:
    engine = engine or hops.debit_engine()
    topic = engine.stage.topic
    partitions = more.pop("partitions", range(topic.partitions))
    knobs = more.pop("knobs", NOW)
    return Lane(engine, 0, partitions, broker.connections(topic), store, knobs, **more)


def run(lane: Lane, claim: Claim = START) -> tuple[Claim, list[Summary]]:
    """Turns until nothing is left."""
    summaries = []
    while True:
        claim, summary = lane.turn(claim)
        summaries.append(summary)
        if not summary.records:
            return claim, summaries


def check(broker: Broker, engine: Engine, written: list[str]) -> None:
    """What stands on the topics `written` is, repeats apart, what a plain fold of the stage's topic writes."""
    topic = engine.stage.topic.name
    outputs = hops.plain_fold(engine, broker.ids[topic], broker.records(topic))
    wanted, stage = hops.streams(outputs), engine.stage.processor.stage
    found = {}
    for name in written:
        streams = hops.streams_on(name, broker.records(name))
        found.update({place: lines for place, lines in streams.items() if place[2] == stage})
    assert found == wanted
    newest: dict[Any, Any] = {}
    for output in outputs:
        if output.version is not None:
            newest[output.topic, output.key] = output.version, EVENTS.encode(output.event)
    told: dict[Any, Any] = {}
    for name, key, version, value in broker.versions:
        told[name, key] = max((version, value), told.get((name, key), (-1, b"")))
    if any(output.version is not None for output in outputs):
        assert told == newest


def check_debit(broker: Broker) -> None:
    check(broker, hops.debit_engine(), [LEGS.name, LETTERS.name])


class TestATurn:
    def test_folds_and_writes_what_a_plain_fold_writes(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 300)
        claim, summaries = run(make_lane(broker, store))
        check_debit(broker)
        log = broker.records(IN.name)
        assert [place.offset for place in claim.places] == [len(log[n]) for n in range(4)]
        assert sum(summary.records for summary in summaries) == 300
        assert sum(summary.outputs for summary in summaries) == len(broker.versions) + sum(
            len(those) for name in (LEGS.name, LETTERS.name) for those in broker.records(name).values()
        )

    def test_two_stages_in_a_row(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 300)
        run(make_lane(broker, store))
        run(make_lane(broker, store, hops.credit_engine(), headings=Headings(False, False)))
        check(broker, hops.credit_engine(), [PAID.name, LETTERS.name])
        assert sum(map(len, broker.records(PAID.name).values())) > 300

    @pytest.mark.parametrize("knobs", [NOW, replace(NOW, step_records=1), LaneKnobs(stay_ms=0, flush="step")])
    def test_steps_of_any_size_write_the_same(self, broker: Broker, store: SnapshotStore, knobs: LaneKnobs) -> None:
        pay(broker, 120)
        run(make_lane(broker, store, knobs=knobs))
        check_debit(broker)

    def test_its_summary_says_what_was_done(self, broker: Broker, store: SnapshotStore, monkeypatch: Any) -> None:
        broker.append(IN.name, 2, None, EVENTS.encode(Tick(1)))
        pay(broker, 40)
        now = broker.now + 1000
        monkeypatch.setattr("transforms.lanes.time.time", lambda: now / 1000)
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0), partitions=(2, 0))
        claim, summary = lane.turn(START)
        log = broker.records(IN.name)
        assert summary.stage == "debit" and summary.lane == 0 and summary.worker.count(":") == 1
        assert summary.records == len(log[2]) + len(log[0]) == sum(summary.counts.values())
        assert summary.counts["late"] == 1 and summary.counts["dead_lettered"] >= 1
        assert summary.clock == min(log[2][-1].at, log[0][-1].at)
        assert summary.most == now - min(log[2][0].at, log[0][0].at)
        assert 0 < summary.p50 <= summary.p99 <= summary.most
        assert summary.partitions == (2, 0) and summary.offsets == (len(log[2]), len(log[0]))
        assert summary.lag == summary.refolded == summary.snapshots == summary.unsaved == 0
        assert 0 < summary.entities < len({record.key for n in (0, 2) for record in log[n]})
        coder = SummaryCoder()
        assert coder.decode(coder.encode(summary)) == summary and coder.is_deterministic()
        with pytest.raises(ValueError, match="Summary: TRUNCATED"):
            coder.decode(coder.encode(summary)[:-1])
        assert lane.turn(claim)[1].clock == summary.clock

    def test_an_idle_lane_moves_with_the_ticks(self, broker: Broker, store: SnapshotStore) -> None:
        lane = make_lane(broker, store)
        claim, summary = lane.turn(START)
        assert (summary.clock, summary.p50, claim.topic) == (-1, 0, "id-of-hop.in")
        for _ in range(2):
            for number in range(4):
                broker.append(IN.name, number, None, EVENTS.encode(Tick(1)))
            claim, summary = lane.turn(claim)
            assert summary.clock == broker.now - 3000

    def test_tells_the_consumer_group_how_far_it_is(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 40)
        lane = make_lane(broker, store, knobs=replace(NOW, commit_s=1e-9))
        run(lane)
        assert broker.committed == {(IN.name, n): len(log) for n, log in broker.records(IN.name).items()}

    def test_outputs_of_one_cause_share_its_trace(self, broker: Broker, store: SnapshotStore) -> None:
        for _, key, value in hops.payments(30):
            broker.append(IN.name, IN.partition_of(key), key, value)
        run(make_lane(broker, store))
        run(make_lane(broker, store, hops.credit_engine()))
        traces: dict[bytes | None, set[str]] = {}
        for topic in (LEGS, PAID):
            for log in broker.logs[topic.name].values():
                for record, trace in log:
                    traces.setdefault(trace, set()).add(EVENTS.decode(record.value or b"").id)
        assert None not in traces and all(len(ids) == 1 for ids in traces.values()) and len(traces) > 20


class TestRestoring:
    def test_memory_lost(self, broker: Broker, store: SnapshotStore) -> None:
        """Without a snapshot all is folded again, without writing, up to the claim."""
        pay(broker, 100)
        claim, _ = make_lane(broker, store).turn(START)
        done = sum(place.offset for place in claim.places)
        before = sum(map(len, broker.records(LEGS.name).values()))
        _, summary = make_lane(broker, store, partitions=range(4)).turn(claim)
        assert summary.refolded == done > 0
        run(make_lane(broker, store), claim)
        check_debit(broker)
        assert before > 0

    def test_what_is_claimed_is_not_written_again(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 100)
        claim, _ = run(make_lane(broker, store))
        before = {name: broker.records(name) for name in (LEGS.name, LETTERS.name)}
        versions = len(broker.versions)
        again, summaries = run(make_lane(broker, store), claim)
        assert again == claim and summaries[0].refolded == 100
        assert {name: broker.records(name) for name in before} == before and len(broker.versions) == versions

    def test_a_claim_ahead_of_memory(self, broker: Broker, store: SnapshotStore) -> None:
        """Another process has had the lane in between."""
        pay(broker, 60)
        first, other = make_lane(broker, store), make_lane(broker, store)
        claim, _ = first.turn(START)
        for _ in range(2):
            claim, _ = other.turn(claim)
        claim, summary = first.turn(claim)
        assert summary.refolded > 0
        run(first, claim)
        check_debit(broker)

    def test_a_claim_behind_memory(self, broker: Broker, store: SnapshotStore) -> None:
        """The runner has gone back to an older checkpoint: memory is flushed, so it is further and as good."""
        pay(broker, 60)
        lane = make_lane(broker, store)
        old, _ = lane.turn(START)
        newer, _ = lane.turn(old)
        reached, summary = lane.turn(old)
        assert summary.refolded == 0 and sum(p.offset for p in reached.places) > sum(p.offset for p in newer.places)
        run(lane, reached)
        check_debit(broker)

    def test_claims_that_are_partly_ahead(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 60)
        lane, other = make_lane(broker, store), make_lane(broker, store)
        old, _ = lane.turn(START)
        new, _ = other.turn(other.turn(old)[0])
        mixed = Claim(old.topic, (*old.places[:2], *new.places[2:]))
        claim, _ = lane.turn(mixed)
        run(lane, claim)
        check_debit(broker)

    @pytest.mark.parametrize("missing", [(), (1,), (0, 2), (0, 1, 2, 3)])
    def test_snapshots_that_some_partitions_do_not_have(
        self, broker: Broker, store: SnapshotStore, missing: tuple[int, ...]
    ) -> None:
        """Mixed restores once stopped partitions for good."""
        pay(broker, 80)
        saver = make_lane(broker, store, knobs=replace(NOW, snapshot_records=1))
        claim = START
        for _ in range(8):
            claim, _ = saver.turn(claim)
        for number in missing:
            for file in Path(store.root, "debit", f"id-of-hop.in-{number}").glob("*"):
                file.unlink()
        for there in (claim, START, Claim(claim.topic, claim.places[1:])):
            run(make_lane(broker, store), there)
            check_debit(broker)

    def test_a_snapshot_beyond_the_claim_is_taken(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 80)
        lane = make_lane(broker, store, knobs=replace(NOW, snapshot_records=1))
        old, _ = lane.turn(START)
        run(lane, old)
        for number in range(4):
            assert len(store.offsets("debit", "id-of-hop.in", number)) > 0
        newest = {n: store.offsets("debit", "id-of-hop.in", n)[-1] for n in range(4)}
        claim, summary = make_lane(broker, store, knobs=replace(NOW, step_records=1)).turn(old)
        assert summary.refolded == 0
        assert all(place.offset >= newest[place.partition] for place in claim.places)
        check_debit(broker)

    def test_torn_snapshots_are_passed_over(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 80)
        claim, _ = run(make_lane(broker, store, knobs=replace(NOW, snapshot_records=1)))
        for file in Path(store.root, "debit", "id-of-hop.in-0").glob("*"):
            file.write_bytes(file.read_bytes()[:-1])
        pay(broker, 20, 2)
        run(make_lane(broker, store), claim)
        check_debit(broker)

    def test_without_any_claim_snapshots_do(self, broker: Broker, store: SnapshotStore) -> None:
        """All checkpoints are gone."""
        pay(broker, 80)
        run(make_lane(broker, store, knobs=replace(NOW, snapshot_records=1)))
        pay(broker, 20, 2)
        _, summaries = run(make_lane(broker, store))
        assert sum(summary.records for summary in summaries) < 100
        check_debit(broker)

    def test_other_lanes_take_over_from_snapshots(self, broker: Broker, store: SnapshotStore) -> None:
        """Rescaling: one lane becomes four, then two."""
        pay(broker, 80)
        save = replace(NOW, snapshot_records=1)
        run(make_lane(broker, store, knobs=save))
        for lanes_ in (4, 2):
            pay(broker, 40, lanes_)
            for number in range(lanes_):
                run(make_lane(broker, store, partitions=range(number, 4, lanes_), knobs=save))
            check_debit(broker)


class TestAnyFaults:
    @pytest.mark.parametrize("seed", range(12))
    def test_everything_takes_effect_once(self, broker: Broker, store: SnapshotStore, seed: int) -> None:
        """Two chained stages; lanes die, double, lose acknowledgements and claims, snapshots vanish; then they come to rest."""
        rng = Random(seed)
        engines = {"debit": hops.debit_engine(), "credit": hops.credit_engine()}
        knobs = replace(NOW, snapshot_records=10, lease_ms=5 * (seed % 2))
        held = {name: [make_lane(broker, store, engine, knobs=knobs)] for name, engine in engines.items()}
        claims: dict[str, list[Claim]] = {name: [START] for name in engines}
        pay(broker, 30, seed)
        for step in range(150):
            name = rng.choice(list(engines))
            roll = rng.random()
            if step < 120 and roll < 0.05:
                pay(broker, 10, 1000 * seed + step)
            elif roll < 0.10:
                broker.fail_writes_after = rng.randrange(20)
            elif roll < 0.15:
                broker.lose_acknowledgements = True
            elif roll < 0.20:
                held[name][rng.randrange(len(held[name]))] = make_lane(broker, store, engines[name], knobs=knobs)
            elif roll < 0.25 and len(held[name]) < 3:
                held[name].append(make_lane(broker, store, engines[name], knobs=knobs))  # a zombie stays behind
            elif roll < 0.30:
                claims[name].append(rng.choice(claims[name]))
            elif roll < 0.33:
                for file in Path(store.root).glob(f"{name}/*-{rng.randrange(4)}/*.snapshot"):
                    file.unlink()
            with contextlib.suppress(WriteFailed):
                claims[name].append(rng.choice(held[name]).turn(claims[name][-1])[0])
        end_of_leases()
        broker.fail_writes_after, broker.lose_acknowledgements = None, False
        for name in ("debit", "credit"):
            run(make_lane(broker, store, engines[name]), claims[name][-1])
        check_debit(broker)
        check(broker, hops.credit_engine(), [PAID.name, LETTERS.name])

    def test_without_the_filter_it_would_not(self, broker: Broker, store: SnapshotStore, monkeypatch: Any) -> None:
        """The control: the second stage doubles what the first has written twice."""
        pay(broker, 40)
        run(make_lane(broker, store))
        run(make_lane(broker, store))  # the same job once more, without its claims
        monkeypatch.setattr(hops.Credit, "from_clients", True)
        run(make_lane(broker, store, hops.credit_engine()))
        legs = sum(map(len, broker.records(LEGS.name).values()))
        assert sum(map(len, broker.records(PAID.name).values())) == legs
        monkeypatch.undo()
        with pytest.raises(AssertionError):
            check(broker, hops.credit_engine(), [PAID.name, LETTERS.name])

    def test_after_a_failure_the_memory_is_gone(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 40)
        lane = make_lane(broker, store)
        claim, _ = lane.turn(START)
        broker.fail_writes_after = 3
        with pytest.raises(WriteFailed, match="no broker"):
            lane.turn(claim)
        claim, summary = lane.turn(claim)
        assert summary.refolded > 0
        run(lane, claim)
        check_debit(broker)

    def test_a_stage_that_stops_writes_nothing_of_the_record(self, broker: Broker, store: SnapshotStore) -> None:
        broker.append(LEGS.name, 0, None, EVENTS.encode(Version("credit", 9, "v")))
        with pytest.raises(UnknownVersion, match="needs rules 9"):
            make_lane(broker, store, hops.credit_engine()).turn(START)
        assert not any(broker.records(PAID.name).values())

    def test_a_writer_with_a_hole_stops_the_reader(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 40)
        run(make_lane(broker, store))
        log = broker.logs[LEGS.name][0]
        del log[1]
        for n, (record, trace) in enumerate(log):
            log[n] = record._replace(offset=n), trace
        with pytest.raises((MissingRecord, ForkedWriter)):
            run(make_lane(broker, store, hops.credit_engine()))


def end_of_leases() -> None:
    while any(thread.name.startswith("lane-") for thread in threading.enumerate()):
        time.sleep(0.002)


class TestBetweenTurns:
    LEASED = LaneKnobs(stay_ms=0, step_records=9, lease_ms=2000)

    def wait(self, done: Any) -> None:
        end = time.monotonic() + 10
        while not done():
            assert time.monotonic() < end
            time.sleep(0.005)

    def test_it_folds_on(self, broker: Broker, store: SnapshotStore) -> None:
        """What comes between two turns is written before the second one begins, and claimed by it."""
        lane = make_lane(broker, store, knobs=self.LEASED)
        claim, _ = lane.turn(START)
        pay(broker, 100)
        legs = broker.logs[LEGS.name].values()
        self.wait(lambda: lane._tally.records == 100 and sum(map(len, legs)) > 50)
        began = time.monotonic()
        reached, summary = lane.turn(claim)
        assert time.monotonic() - began < 1.5, "a turn does not wait for the end of the lease"
        assert (summary.records, summary.refolded) == (100, 0) and sum(p.offset for p in reached.places) == 100
        check_debit(broker)

    def test_not_for_longer_than_the_lease(self, broker: Broker, store: SnapshotStore) -> None:
        lane = make_lane(broker, store, knobs=replace(self.LEASED, lease_ms=1))
        lane.turn(START)
        end_of_leases()
        pay(broker, 10)
        assert not any(broker.records(LEGS.name).values())

    def test_an_error_is_the_next_turns(self, broker: Broker, store: SnapshotStore) -> None:
        lane = make_lane(broker, store, knobs=self.LEASED)
        claim, _ = lane.turn(START)
        broker.fail_writes_after = 5
        pay(broker, 100)
        self.wait(lambda: lane._desks is None)
        with pytest.raises(WriteFailed, match="no broker"):
            lane.turn(claim)
        run(lane, claim)
        check_debit(broker)

    def test_a_lane_that_was_dropped_does_not(self, broker: Broker, store: SnapshotStore) -> None:
        lane = make_lane(broker, store)
        lane._fold_on()
        assert lane._desks is None and lane._error is None


class PatientReader(FakeReader):
    """Waits for as long as it may where there is nothing, as the real one does."""

    def read(self, most: int, timeout: float) -> list[Fetched]:
        found = super().read(most, timeout)
        if not found:
            time.sleep(timeout)
        return found


class TestWhatIsKeptBack:
    """With the real writer, before a producer that notes when a leg comes."""

    @pytest.fixture
    def legs(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        times: list[float] = []

        class Producer:
            def __init__(self, *_: Any, **__: Any) -> None: ...

            def produce(self, topic: str, *_: Any) -> None:
                if topic == LEGS.name:
                    times.append(time.monotonic())

            def poll(self, timeout: float) -> int:
                return 0

            def flush(self, timeout: float) -> int:
                return 0

        monkeypatch.setattr(log_writer, "Producer", Producer)
        return times

    def lane(self, broker: Broker, store: SnapshotStore, hold_ms: int, **knobs: int) -> Lane:
        engine, keeping = hops.debit_engine(), WriteKnobs(hold_ms=hold_ms, held=frozenset({LEGS.name}))
        connections = replace(
            broker.connections(IN),
            reader=lambda: PatientReader(broker, IN.name),  # type: ignore[arg-type,return-value]
            writer=lambda: LogWriter({}, keeping),
        )
        return Lane(engine, 0, range(IN.partitions), connections, store, LaneKnobs(**knobs))

    def test_it_leaves_on_time_though_nothing_comes(
        self, broker: Broker, store: SnapshotStore, legs: list[float]
    ) -> None:
        pay(broker, 10)
        began = time.monotonic()
        self.lane(broker, store, 20, stay_ms=2_000).turn(START)
        assert legs and max(legs) - began < 1, "a turn that waits for records lets go what it keeps back"

    def test_it_does_not_wait_for_a_turn_that_may_never_come(
        self, broker: Broker, store: SnapshotStore, legs: list[float]
    ) -> None:
        lane = self.lane(broker, store, 60_000, stay_ms=0, lease_ms=300)
        lane.turn(START)
        pay(broker, 10)
        end_of_leases()
        assert lane._tally.records == 10 and legs


class TestSnapshots:
    def test_one_in_a_turn_that_is_most_due(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 40)
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, snapshot_records=1, snapshot_share=1))
        claim, summary = lane.turn(START)
        taken = [summary.snapshots]
        for _ in range(4):
            claim, summary = lane.turn(claim)
            taken.append(summary.snapshots)
        assert taken == [1, 1, 1, 1, 0]

    def test_by_time_too(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 40)
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, snapshot_s=1e-9))
        assert lane.turn(START)[1].snapshots == 1

    def test_they_take_no_more_than_their_share(
        self, broker: Broker, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Four shards whose snapshots take 2 s each, and a share of a tenth: each rests for 72 s."""
        clock = [1000.0]
        monkeypatch.setattr(lanes.time, "monotonic", lambda: clock[0])
        write = store.write

        def slowly(shard: Shard) -> str:
            clock[0] += 2
            return write(shard)

        monkeypatch.setattr(store, "write", slowly)
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, snapshot_records=1, snapshot_share=0.1))
        taken, claim = [], START
        for later in (0, 0, 0, 0, 63, 3):  # the first rests since 6 s then, since 69 s, since 72 s
            clock[0] += later
            pay(broker, 40)
            claim, summary = lane.turn(claim)
            taken.append(summary.snapshots)
        assert taken == [1, 1, 1, 1, 0, 1]

    def test_one_that_cannot_be_written_is_told(
        self, broker: Broker, store: SnapshotStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A full disk: the lane goes on."""
        pay(broker, 40)
        (tmp_path / "file").write_text("")
        bad = SnapshotStore(str(tmp_path / "file" / "below"))
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, snapshot_records=1))
        lane._store = bad
        with caplog.at_level(logging.WARNING):
            _, summary = lane.turn(START)
        assert (summary.snapshots, summary.unsaved) == (0, 1)
        assert "no snapshot at" in caplog.text
        check_debit(broker)

    def test_it_is_the_shard_of_a_plain_fold(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 60)
        lane = make_lane(broker, store, knobs=replace(NOW, snapshot_records=1), until=dict.fromkeys(range(4), 5))
        run(lane)
        for number, log in broker.records(IN.name).items():
            engine = hops.debit_engine()
            engine = replace(engine, stage=replace(engine.stage, topic=replace(IN, id="id-of-hop.in")))
            shard = engine.shard(number)
            for record in log[:5]:
                shard.step(record)
            (file,) = Path(store.root, "debit", f"id-of-hop.in-{number}").glob("*5.snapshot")
            assert file.read_bytes() == encode_shard(shard)


class TestBounded:
    def test_ends_at_its_offsets(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 100)
        until = {0: 3, 1: 0, 2: 7, 3: 9}
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=5), until=until)
        claim, _ = run(lane)
        assert {place.partition: place.offset for place in claim.places} == until
        assert claim.reaches(until) and not claim.reaches(None) and not START.reaches(until)
        full = broker.logs[IN.name]
        broker.logs[IN.name] = {n: log[: until[n]] for n, log in full.items()}
        check_debit(broker)

    def test_the_last_snapshots_are_taken_at_the_end(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 100)
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0), until={0: 3, 1: 4, 2: 7, 3: 9})
        _, summaries = run(lane)
        assert summaries[0].snapshots == 4


class TestRefusals:
    def test_a_log_whose_beginning_is_gone(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 40)
        broker.lows[IN.name, 1] = 2
        with pytest.raises(Gap, match=r"hop\.in/1/0: the log begins at 2 and debit has no snapshot"):
            make_lane(broker, store).turn(START)

    def test_retention_that_overtakes_a_snapshot(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 80)
        run(make_lane(broker, store, until=dict.fromkeys(range(4), 3)))
        broker.lows[IN.name, 1] = 5
        with pytest.raises(Gap, match=r"hop\.in/1/3: the log begins at 5: retention .* 2 records are lost"):
            make_lane(broker, store).turn(START)

    def test_a_log_that_begins_where_the_snapshot_stands(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 80)
        run(make_lane(broker, store, until=dict.fromkeys(range(4), 3)))
        for number in range(4):
            broker.lows[IN.name, number] = 3
        run(make_lane(broker, store))
        check_debit(broker)

    @pytest.mark.parametrize("with_claim", [True, False])
    def test_a_log_that_was_cut(self, broker: Broker, store: SnapshotStore, with_claim: bool) -> None:
        pay(broker, 80)
        claim, _ = run(make_lane(broker, store, until=None if with_claim else dict.fromkeys(range(4), 5)))
        broker.logs[IN.name][2] = broker.logs[IN.name][2][:4]
        with pytest.raises(Gap, match=r"hop\.in/2/\d+: the log ends at 4"):
            make_lane(broker, store).turn(claim if with_claim else START)

    @pytest.mark.parametrize("with_claim", [True, False])
    def test_another_log_below_the_snapshot_or_claim(
        self, broker: Broker, store: SnapshotStore, with_claim: bool
    ) -> None:
        pay(broker, 80)
        claim, _ = run(make_lane(broker, store, until=None if with_claim else dict.fromkeys(range(4), 5)))
        place = claim.places[3].offset - 1
        record, trace = broker.logs[IN.name][3][place]
        broker.logs[IN.name][3][place] = record._replace(at=record.at + 1), trace
        with pytest.raises(Gap, match="the record before it is another one"):
            make_lane(broker, store).turn(claim if with_claim else START)

    def test_a_topic_that_was_re_created(self, broker: Broker, store: SnapshotStore) -> None:
        pay(broker, 80)
        claim, _ = run(make_lane(broker, store, until=dict.fromkeys(range(4), 5)))
        broker.ids[IN.name] = "another"
        with pytest.raises(WrongTopic, match=r"its id is another, the claim is for id-of-hop\.in"):
            make_lane(broker, store).turn(claim)
        with pytest.raises(WrongTopic, match=r"its id is another, but debit has snapshots of id-of-hop\.in"):
            make_lane(broker, store).turn(START)

    def test_a_topic_that_is_re_created_under_a_lane(self, broker: Broker, store: SnapshotStore) -> None:
        lane = make_lane(broker, store, knobs=replace(NOW, stall_s=1e-9))
        claim, _ = lane.turn(START)
        broker.ids[IN.name] = "another"
        with pytest.raises(WrongTopic, match=r"was re-created: its id is another, expected id-of-hop\.in"):
            lane.turn(claim)

    def test_a_topic_of_another_id_than_the_stage_names(self, broker: Broker, store: SnapshotStore) -> None:
        engine = hops.debit_engine()
        named = replace(engine, stage=replace(engine.stage, topic=replace(IN, id="mine")))
        with pytest.raises(WrongTopic, match=r"its id is id-of-hop\.in, expected mine"):
            make_lane(broker, store, named).turn(START)

    def test_a_topic_with_other_partitions(self, broker: Broker, store: SnapshotStore) -> None:
        engine = hops.debit_engine()
        fewer = replace(engine, stage=replace(engine.stage, topic=replace(IN, partitions=3)))
        with pytest.raises(WrongTopic, match=r"hop\.in: has 4 partitions, expected 3"):
            make_lane(broker, store, fewer).turn(START)

    def test_a_lane_that_stands_still(self, broker: Broker, store: SnapshotStore, monkeypatch: Any) -> None:
        pay(broker, 40)
        monkeypatch.setattr(FakeReader, "deaf", (2,))
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, stall_s=1e-9))
        claim, _ = lane.turn(START)
        with pytest.raises(LaneStalled, match=r"debit/id-of-hop\.in/2/0: nothing read"):
            lane.turn(claim)

    def test_a_broker_that_does_not_answer_costs_nothing(
        self, broker: Broker, store: SnapshotStore, monkeypatch: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: Any) -> None:
            raise ReadFailed("no answer")

        pay(broker, 40)
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, stall_s=1e-9))
        claim, _ = lane.turn(START)
        monkeypatch.setattr(FakeReader, "bounds", fail)
        with caplog.at_level(logging.WARNING):
            claim, summary = lane.turn(claim)
        assert summary.refolded == 0 and "no answer" in caplog.text
        monkeypatch.undo()
        assert lane.turn(claim)[1].refolded == 0

    def test_a_lane_that_has_nothing_to_read_does_not(self, broker: Broker, store: SnapshotStore) -> None:
        lane = make_lane(broker, store, knobs=LaneKnobs(stay_ms=0, stall_s=1e-9))
        claim, _ = lane.turn(START)
        for n in range(3):
            pay(broker, 10, n)  # between two looks there is always something new
            claim, summary = lane.turn(claim)
        assert summary.lag == 0

    def test_a_restore_that_stands_still(self, broker: Broker, store: SnapshotStore, monkeypatch: Any) -> None:
        pay(broker, 40)
        claim, _ = run(make_lane(broker, store))
        monkeypatch.setattr(FakeReader, "deaf", (2,))
        with pytest.raises(LaneStalled, match=r"hop\.in: nothing comes at \{2: 0\}"):
            make_lane(broker, store, knobs=replace(NOW, stall_s=1e-9)).turn(claim)

    @pytest.mark.parametrize(
        ("knobs", "message"),
        [
            ({"stay_ms": -1}, "stay_ms must be from 0 to 10000, got -1"),
            ({"stay_ms": 10_001}, "got 10001"),
            ({"step_records": 0}, "step_records and snapshot_records must be >= 1, got 0"),
            ({"snapshot_records": 0}, "got 2000, 0"),
            ({"stall_s": 0}, "snapshot_s, stall_s and commit_s must be > 0"),
            ({"snapshot_share": 0}, "snapshot_share must be above 0 and at most 1, got 0"),
            ({"snapshot_share": 1.1}, "got 1.1"),
            ({"lease_ms": -1}, "lease_ms must be from 0 to 60000, got -1"),
            ({"flush": "never"}, "flush must be step or turn, got 'never'"),
        ],
    )
    def test_knobs(self, knobs: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            LaneKnobs(**knobs)


class TestSharedLanes:
    @pytest.fixture(autouse=True)
    def no_lanes(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(lanes, "_lanes", {})
        yield

    def test_one_for_all_who_ask(self, broker: Broker, store: SnapshotStore) -> None:
        made = [lanes.shared_lane(("job", n), lambda: make_lane(broker, store)) for n in (0, 0, 1)]
        assert made[0] is made[1] is not made[2]

    def test_one_that_moved_away_is_closed(self, broker: Broker, store: SnapshotStore) -> None:
        lane = lanes.shared_lane("a", lambda: make_lane(broker, store))
        lane.turn(START)
        writer: Any = lane._writer
        lane.used_at -= lanes._IDLE_S + 1
        lanes.shared_lane("b", lambda: make_lane(broker, store))
        assert writer.closed and list(lanes._lanes) == ["b"]
        assert BALANCES.partitions == 2
