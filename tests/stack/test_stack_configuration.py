"""What is written for Kafka and Flink, and the shape of a stack: texts, without any process."""

import json
import uuid
from pathlib import Path

import pytest

from stack import tools
from stack.cluster import KINDS, Stack
from stack.errors import StackError
from stack.flink import SETTINGS, TASKMANAGER_HEAP, configuration
from stack.kafka import Kafka, Sasl, new_cluster_id
from stack.ports import Ports


def properties(kafka: Kafka) -> dict[str, str]:
    return dict(line.split("=", 1) for line in kafka.properties().splitlines())


def test_kafka_listens_on_loopback_only() -> None:
    found = properties(Kafka(Path("/x"), 9092, 9093))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092"
    assert found["log.dirs"] == "/x/kafka/data"
    assert found["auto.create.topics.enable"] == "false"


def test_the_secure_listener_is_beside_the_plain_one() -> None:
    found = properties(Kafka(Path("/x"), 9092, 9093, Sasl(9094, {"a": "b"})))
    assert found["listeners"].endswith(",SECURE://127.0.0.1:9094")
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092,SECURE://127.0.0.1:9094"
    assert "SECURE:SASL_SSL" in found["listener.security.protocol.map"]
    assert found["listener.name.secure.ssl.client.auth"] == "none"
    mutual = properties(Kafka(Path("/x"), 9092, 9093, Sasl(9094, {"a": "b"}, client_certificate=True)))
    assert mutual["listener.name.secure.ssl.client.auth"] == "required"


def test_a_cluster_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 64 began with a dash, and Kafka's own command then refused to make the broker's folder."""
    drawn = [uuid.UUID(bytes=bytes([first] * 16)) for first in (0xF8, 0xFB, 0x00)]
    monkeypatch.setattr(uuid, "uuid4", lambda: drawn.pop(0))
    assert new_cluster_id() == "A" * 22
    assert drawn == []


def test_flags_of_every_jvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tools.JVM_VARIABLE, raising=False)
    assert tools.jvm()[1:2] == ["-XX:TieredStopAtLevel=1"]
    monkeypatch.setenv(tools.JVM_VARIABLE, "-XX:+UseZGC -Xlog:gc")
    assert tools.jvm()[1:3] == ["-XX:+UseZGC", "-Xlog:gc"]
    monkeypatch.setenv(tools.JVM_VARIABLE, "")
    assert tools.jvm() == ["-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]


def test_every_address_of_flink_is_loopback() -> None:
    text = configuration(Path("/x"), Ports.of(20000), 3)
    found = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in text.splitlines())}
    addresses = [key for key in found if key.endswith(("address", "host"))]
    assert len(addresses) == 6
    assert {found[key] for key in addresses} == {"127.0.0.1"}
    assert found["taskmanager.numberOfTaskSlots"] == "3"
    assert found["state.checkpoints.dir"] == "file:///x/flink/checkpoints"


def test_the_heap_that_flink_is_told_of_is_the_heap_that_it_gets() -> None:
    parts = ("taskmanager.memory.task.heap.size", "taskmanager.memory.framework.heap.size")
    assert sum(int(SETTINGS[part].rstrip("m")) for part in parts) == int(TASKMANAGER_HEAP.rstrip("m"))


def test_services_of_a_shape(tmp_path: Path) -> None:
    stack = Stack(tmp_path, 20000, taskmanagers=2, workers=1)
    names = ["postgres", "kafka", "jobmanager", "taskmanager-1", "taskmanager-2", "jobserver", "workers-1"]
    assert list(stack.services) == names
    assert list(Stack(tmp_path, 20000, only=["kafka"]).services) == ["kafka"]
    assert (stack.bootstrap, stack.job_endpoint, stack.worker_endpoint()) == (
        "127.0.0.1:20092",
        "127.0.0.1:20099",
        "127.0.0.1:20070",
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"taskmanagers": 0}, "--taskmanagers 0: 1 to 10"),
        ({"taskmanagers": 11}, "--taskmanagers 11: 1 to 10"),
        ({"workers": -1}, "--workers -1: 0 to 10"),
        ({"slots": 0}, "--slots 0: at least 1"),
        ({"only": ["kafka", "zookeeper"]}, f"--only kafka,zookeeper: zookeeper is none of {', '.join(KINDS)}"),
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path: Path, shape: dict, message: str) -> None:
    with pytest.raises(StackError, match=message):
        Stack(tmp_path, 20000, **shape)


def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="zookeeper: no such service: there are kafka"):
        Stack(tmp_path, 20000, only=["kafka"]).kill("zookeeper")
