"""Two chained stages over a real broker, lanes and pipelines in this process: with every fault the outputs are a plain fold's."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from confluent_kafka import TopicPartition

from stack.kafka import Broker
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.stack.hops_check import Hops
from tests.stack.hops_job import Local
from tests.transforms import hops
from transforms.fold import Gap
from transforms.fold_bounded import Engine
from transforms.fold_log import FoldLog, FoldLogKnobs
from transforms.lane_types import Claim, LaneKnobs, Summary
from transforms.lanes import Connections, Lane
from transforms.log_reader import LogReader, TopicLookup, WrongTopic
from transforms.log_writer import LogWriter, WriteFailed, WriteKnobs
from transforms.snapshots import SnapshotStore

KNOBS = LaneKnobs(stay_ms=20, step_records=50, snapshot_records=100, snapshot_share=1)
START = Claim("", ())


@pytest.fixture
def topics(broker: Broker) -> Hops:
    made = Hops(broker.bootstrap)
    made.make_topics()
    return made


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(str(tmp_path / "snapshots"))


@pytest.fixture
def make_lane(topics: Hops, store: SnapshotStore) -> Iterator[Any]:
    made: list[Lane] = []

    def make(engine: Engine, knobs: LaneKnobs = KNOBS, write: WriteKnobs = WriteKnobs(), **settings: Any) -> Lane:
        stage = engine.stage
        properties = {**topics.settings, **settings}
        connections = Connections(
            reader=lambda: LogReader(properties, stage.topic.name, "g", stage.processor.from_clients),
            writer=lambda: LogWriter(properties, write),
            topic=lambda: TopicLookup(properties, stage.topic.name, 10),
        )
        made.append(Lane(engine, 0, range(stage.topic.partitions), connections, store, knobs))
        return made[-1]

    yield make
    for lane in made:
        lane.drop()


def run(lane: Lane, claim: Claim = START) -> Claim:
    """Turns until the lane has been idle for some."""
    idle = 0
    while idle < 10:
        claim, summary = lane.turn(claim)
        idle = 0 if summary.records else idle + 1
    return claim


def test_kills_zombies_old_claims_and_lost_snapshots(topics: Hops, make_lane: Any, store: SnapshotStore) -> None:
    rng = Random(5)
    engines = {"debit": hops.debit_engine(), "credit": hops.credit_engine()}
    held = {name: [make_lane(engine)] for name, engine in engines.items()}
    claims = {name: [START] for name in engines}
    for step in range(70):
        name = rng.choice(list(engines))
        roll = rng.random()
        if step % 15 == 0:
            topics.pay(300)
        if roll < 0.1:
            held[name][rng.randrange(len(held[name]))].drop()  # what was not acknowledged is dropped too
        elif roll < 0.2 and len(held[name]) < 3:
            held[name].append(make_lane(engines[name]))  # it and its predecessor both write
        elif roll < 0.3:
            claims[name].append(rng.choice(claims[name]))
        elif roll < 0.4:
            for folder in Path(store.root).glob(f"{name}/*-{rng.randrange(4)}"):
                shutil.rmtree(folder)
        claims[name].append(rng.choice(held[name]).turn(claims[name][-1])[0])
    run(held["debit"][0], claims["debit"][-1])
    run(held["credit"][0], claims["credit"][-1])
    assert topics.differences() == []
    assert topics.repeats() > 100


def test_lost_acknowledgements_stop_the_lane_and_change_nothing(topics: Hops, make_lane: Any) -> None:
    """The broker has the outputs but the lane gave up waiting for it."""
    topics.pay(500)
    lane = make_lane(hops.debit_engine(), write=WriteKnobs(flush_timeout_s=1e-6))
    failures = 0
    for _ in range(40):
        try:
            lane.turn(START)
        except WriteFailed as error:
            failures += "not acknowledged" in str(error)
    assert failures > 0
    claim = run(make_lane(hops.debit_engine()))
    run(make_lane(hops.credit_engine()))
    assert sum(place.offset for place in claim.places) == 500
    assert topics.differences() == []


def test_a_delivery_error_stops_the_lane(topics: Hops, make_lane: Any) -> None:
    topics.pay(500)
    lane = make_lane(hops.debit_engine(), **{"topic.metadata.propagation.max.ms": 1000})
    topics.admin.delete_topics([hops.LEGS.name])[hops.LEGS.name].result(10)
    with pytest.raises(WriteFailed, match=r"[Uu]nknown (topic|partition)"):
        for _ in range(100):
            lane.turn(START)


@pytest.mark.parametrize("lease_ms", [0, 500])
def test_a_broker_that_is_killed_and_comes_back(broker: Broker, topics: Hops, make_lane: Any, lease_ms: int) -> None:
    """The lane waits for it, with what it holds."""
    topics.pay(3000)
    lane = make_lane(hops.debit_engine(), LaneKnobs(stay_ms=100, step_records=100, lease_ms=lease_ms))
    claim, _ = lane.turn(START)
    broker.service.process.kill(signal.SIGKILL)
    back = threading.Timer(1, broker.service.start)
    back.start()
    refolded, end = 0, time.monotonic() + 60
    while sum(place.offset for place in claim.places) < 3000:
        assert time.monotonic() < end
        claim, summary = lane.turn(claim)
        refolded += summary.refolded
    back.join()
    broker.service.wait()
    assert refolded == 0
    lane.drop()
    run(make_lane(hops.credit_engine()))
    assert topics.differences() == []


def test_retention_overtakes(topics: Hops, make_lane: Any) -> None:
    topics.pay(1000)
    claim = run(make_lane(hops.debit_engine()))
    topics.pay(1000)
    place = TopicPartition(hops.IN.name, 2, claim.places[2].offset + 10)
    topics.admin.delete_records([place])[place].result(10)
    with pytest.raises(Gap, match=r"hop\.in/2/\d+: the log begins at \d+: retention has overtaken"):
        make_lane(hops.debit_engine()).turn(claim)


def test_retention_overtakes_a_lane_that_reads(topics: Hops, make_lane: Any) -> None:
    topics.pay(1000)
    lane = make_lane(hops.debit_engine())
    claim = run(lane)
    places = [TopicPartition(hops.IN.name, n, -1) for n in range(4)]
    topics.pay(1000)
    lane._reader.close()  # nothing is fetched ahead
    lane._reader = LogReader(topics.settings, hops.IN.name, "g", True)
    for done in topics.admin.delete_records(places).values():
        done.result(10)
    with pytest.raises(Gap, match=r"hop\.in/\d/\d+: the log begins at \d+: retention has overtaken"):
        for _ in range(100):
            claim, _ = lane.turn(claim)


def test_a_topic_that_was_re_created(topics: Hops, make_lane: Any) -> None:
    topics.pay(500)
    claim = run(make_lane(hops.debit_engine()))
    topics.make_topics()
    topics.pay(500)
    for there in (claim, START):
        with pytest.raises(WrongTopic, match=r"hop\.in: .*re-created"):
            make_lane(hops.debit_engine()).turn(there)


def test_snapshots_of_some_partitions_alone(topics: Hops, make_lane: Any, store: SnapshotStore) -> None:
    """A restore that reads some partitions and not others, after which all must go on."""
    topics.pay(2000)
    claim = run(make_lane(hops.debit_engine()))
    folders = sorted(Path(store.root, "debit").iterdir())
    assert len(folders) == 4
    shutil.rmtree(folders[1])
    lane = make_lane(hops.debit_engine(), replace(KNOBS, stall_s=4))
    claim, summary = lane.turn(claim)
    assert summary.refolded > 0
    topics.pay(2000)
    claim = run(lane, claim)
    assert sum(place.offset for place in claim.places) == 4000
    run(make_lane(hops.credit_engine()))
    assert topics.differences() == []


def test_bounded_in_a_pipeline(topics: Hops, store: SnapshotStore, make_pipeline: MakePipeline, tmp_path: Path) -> None:
    """Both stages as pipelines on FnApiRunner, to the end of their topics; the second time nothing is left."""
    topics.pay(1500)
    folder = tmp_path / "summaries"
    folder.mkdir()
    for attempt in (1, 2):
        for engine in (hops.debit_engine, hops.credit_engine):
            topic = engine().stage.topic
            until = {number: len(log) for number, log in topics.read(topic.name, topic.partitions).items()}
            pipeline = make_pipeline()
            knobs = FoldLogKnobs(lane=LaneKnobs(stay_ms=100))
            folded = pipeline | FoldLog(engine, Local(topics.bootstrap), store, 2, knobs, until=until)
            _ = folded | beam.Map(_note, str(folder / f"{attempt}")).with_output_types(bytes)
            assert_no_pickled_coders(pipeline)
            pipeline.run().wait_until_finish()
    assert topics.differences() == []
    assert topics.repeats() == 0
    lines = (folder / "1").read_text().splitlines()
    assert sum(int(line.split()[0]) for line in lines) > 3000
    assert sum(int(line.split()[0]) for line in (folder / "2").read_text().splitlines()) == 0
    assert {line.split()[1] for line in lines} == {str(os.getpid())}


def _note(summary: Summary, path: str) -> bytes:
    with Path(path).open("a") as file:
        file.write(f"{summary.records} {summary.worker.split(':')[1]}\n")
    return b""
