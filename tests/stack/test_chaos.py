"""A short chaos run on a stack of its own: five faults of different kinds, no violation, and controls that double."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import hostile, retention
from chaos.checks import control_sink
from chaos.load import Load
from chaos.market import REPLAYED
from chaos.reading import read_all
from chaos.usual_sink import USUAL
from payments import topics
from pipelines import chaos
from pipelines.topics import ALL, make_topics
from stack.kafka import Broker
from stack.ports import BASE_VARIABLE
from stack.services import wait_until
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.kafka_topics import KafkaTopics

KINDS = ("worker-kill", "taskmanager-kill", "lost-acks", "torn-snapshot", "clock-jump")


def test_five_faults(
    free_ports: int, stack_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(stack_folder))
    monkeypatch.setenv(BASE_VARIABLE, str(free_ports + 100))  # the command takes the hundred after it
    results = stack_folder / "chaos.json"
    flags = ["--faults=5", "--seed=5", f"--kinds={','.join(KINDS)}", "--rate=60", f"--results={results}"]
    status = chaos.run(flags)
    told = capfd.readouterr().out
    assert status == 0, told
    found = json.loads(results.read_text())
    assert sorted(each["kind"] for each in found["outcomes"]) == sorted(KINDS)
    assert all(each["fresh_s"] is not None for each in found["outcomes"])
    assert found["violations"] == [] and found["regenerated"] > 1000
    assert all(control["doubled"] > 0 for control in found["controls"]) and len(found["controls"]) == 2
    assert "no violation" in told


def test_auctions_through_faults(
    free_ports: int, stack_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bids with money behind them while a worker and the broker are killed: nothing is lost, decided twice, or held for ever."""
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(stack_folder))
    monkeypatch.setenv(BASE_VARIABLE, str(free_ports + 100))
    status = chaos.run(["--auctions", "--faults=2", "--seed=3", "--kinds=worker-kill,broker-kill", "--rate=30"])
    told = capfd.readouterr().out
    assert status == 0, told
    assert "no violation" in told and f"replay of {', '.join(REPLAYED)}: " in told
    assert "purchased" in told and "sold" in told


@pytest.fixture
def settings(broker: Broker) -> Iterator[KafkaSettings]:
    """Of a broker with the payment topics, which are gone afterwards."""
    found = kafka_settings(broker.bootstrap, environment={})
    make_topics(found)
    kafka = KafkaTopics(found)
    kafka.create([USUAL])
    yield found
    names = [USUAL.name, *(topic.name for topic in ALL)]
    kafka.delete(names)
    assert wait_until(lambda: not kafka.find(names), 30)
    kafka.close()


def test_retention_that_overtakes_a_stopped_lane_is_refused(broker: Broker, tmp_path: Path) -> None:
    said = retention.overtake(kafka_settings(broker.bootstrap, environment={}), tmp_path)
    assert retention.WORDS in said and said.startswith("TOPIC/"), said


def test_the_load_is_paced_and_goes_on_after_a_pause(settings: KafkaSettings) -> None:
    load = Load(settings, rate=200, accounts=60, seed=3)
    load.start()
    load.start()  # once is enough
    time.sleep(4)
    load.pause()
    first = load.payments
    assert 100 < first < 1000
    load.start()
    assert wait_until(lambda: load.payments > first, 10)
    load.pause()
    assert load.failures == 0
    hostiles = hostile.lines("h", "4000001234567899")
    hostile.append(settings, hostiles)
    load.write(hostile.payments("p", 7, "a", "b"))
    incoming = list(read_all(settings, topics.INCOMING.name, topics.INCOMING.partitions, True))
    assert len(incoming) == load.payments + len(hostiles) + 7
    assert len({(record.key, record.value) for record in incoming}) > 0.9 * len(incoming)


def test_the_control_counts_what_stands_twice(settings: KafkaSettings) -> None:
    assert control_sink(settings)[1:3] == (0, 0)
    load = Load(settings, rate=1, accounts=60, seed=3)
    load.write([(USUAL.name, 0, None, value) for value in (b"1/0", b"1/1", b"1/0", b"1/0")])
    assert control_sink(settings)[1:3] == (4, 2)
