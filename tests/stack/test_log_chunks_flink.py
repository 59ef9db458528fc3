"""The chunk source live on a real Flink cluster, through windows into PostgreSQL, with its worker killed: every record counted once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer

from stack.cluster import Stack
from stack.postgres import Postgres
from stack.services import wait_until
from tests.stack.chunks_job import PARTITIONS, TOPIC
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.topic_settings import TopicSettings

PATIENCE = 180  # seconds: two busy cores
NAME = "chunks"


def url(stack: Stack) -> str:
    service = stack.service("postgres")
    assert isinstance(service, Postgres)
    return service.url


@contextmanager
def running_job(stack: Stack, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *(sys.executable, "-m", "tests.stack.chunks_job", f"--bootstrap={stack.bootstrap}", f"--job_name={NAME}"),
        *(f"--database={url(stack)}", "--runner=PortableRunner", f"--job_endpoint={stack.job_endpoint}"),
        *("--environment_type=EXTERNAL", f"--environment_config={stack.worker_endpoint()}", "--parallelism=2"),
        *("--checkpointing_interval=1000", "--finish_bundle_before_checkpointing", "--max_bundle_time_mills=20"),
    ]
    with (folder / "job.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            stack.rest.end(NAME, PATIENCE)
            process.kill()
            process.wait()


class Writer:
    def __init__(self, stack: Stack) -> None:
        topics = KafkaTopics(kafka_settings(stack.bootstrap, environment={}))
        topics.create([TopicSettings(TOPIC, PARTITIONS, replicas=1, in_sync=1)])
        topics.close()
        self.producer = Producer({"bootstrap.servers": stack.bootstrap, "linger.ms": 5})
        self.written = Counter[str]()

    def write(self, count: int) -> None:
        for n in range(count):
            key = f"k{n % 50}"
            self.written[key] += 1
            self.producer.produce(TOPIC, b"x", key.encode(), n % PARTITIONS)
            if n % 500 == 0:
                self.producer.flush(30)
        assert self.producer.flush(30) == 0

    def tick(self) -> None:
        """What moves the watermark on every partition."""
        for partition in range(PARTITIONS):
            self.producer.produce(TOPIC, b"", b"tick", partition)
        self.producer.flush(30)


def counted(stack: Stack) -> Counter[str]:
    with psycopg.connect(url(stack)) as connection:
        if connection.execute("SELECT to_regclass('chunk_counts')").fetchone() == (None,):
            return Counter()
        found = connection.execute("SELECT name, sum(records) FROM chunk_counts WHERE name <> 'tick' GROUP BY name")
        return Counter({name: int(total) for name, total in found.fetchall()})


def test_windows_of_a_live_log_through_a_killed_worker(stack: Stack, tmp_path: Path) -> None:
    writer = Writer(stack)

    def all_counted() -> bool:
        writer.tick()
        time.sleep(0.5)
        return counted(stack) == writer.written

    with running_job(stack, tmp_path):
        writer.write(5000)
        assert wait_until(all_counted, PATIENCE), (counted(stack), (tmp_path / "job.log").read_text()[-2000:])
        before = stack.worker_pool().workers()
        writer.write(5000)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        writer.write(5000)
        assert wait_until(all_counted, PATIENCE), (counted(stack), (tmp_path / "job.log").read_text()[-2000:])
        assert not set(stack.worker_pool().workers()) & set(before)


@pytest.fixture(autouse=True)
def _no_table(stack: Stack) -> None:
    with psycopg.connect(url(stack)) as connection:
        connection.execute("DROP TABLE IF EXISTS chunk_counts")
