"""A real Kafka broker, KRaft, one node: for the stack, and alone for tests (`running_broker`)."""

import os
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stack import artifacts, tls, tools
from stack.errors import StackError
from stack.services import HOST, Service
from stack.tls import Files

HEAP = "512m"

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # One node: what is written to itself is all the replication there is.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "default.replication.factor": "1",
    "num.partitions": "4",
    "auto.create.topics.enable": "false",  # a topic without its settings is a mistake
    "delete.topic.enable": "true",
    "group.initial.rebalance.delay.ms": "0",
    # Retention and deletion at the pace of tests: the defaults are 5 min, 30 s and 1 min.
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    # A broker that comes back after kill -9 checks its segments with both cores.
    "num.recovery.threads.per.data.dir": "2",
    # A thread per core and no more: each request goes through two of them, and to wake one costs more than most requests.
    "num.network.threads": str(max(1, (os.cpu_count() or 2) // 2)),
    "num.io.threads": str(max(2, os.cpu_count() or 2)),
}
"""What does not depend on folder and ports. Topics choose LogAppendTime themselves (`message.timestamp.type`)."""


@dataclass(frozen=True)
class Sasl:
    """A second listener with SASL_SSL and SCRAM-SHA-512 on `port`, for the users given with their passwords.

    With `client_certificate` the broker also wants a certificate of the client (mTLS). PLAIN is open to the same users.
    """

    port: int
    users: Mapping[str, str]
    client_certificate: bool = False


class Kafka(Service):
    """The broker: plain on `port`, its controller beside it, with `sasl` a secure listener as well."""

    def __init__(self, folder: Path, port: int, controller_port: int, sasl: Sasl | None = None, name="kafka") -> None:
        super().__init__(folder, name, port)
        self.controller_port = controller_port
        self.sasl = sasl
        self.home = folder / name
        self.configuration = self.home / "server.properties"
        self._client: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """What clients call bootstrap.servers."""
        return f"{HOST}:{self.port}"

    def properties(self) -> str:
        """The text of server.properties."""
        listeners = {"PLAINTEXT": (self.port, "PLAINTEXT"), "CONTROLLER": (self.controller_port, "PLAINTEXT")}
        settings = dict(SETTINGS)
        if self.sasl:
            listeners["SECURE"] = (self.sasl.port, "SASL_SSL")
            settings |= secure_settings(self.sasl, Files(self.home / "tls"))
        settings["listeners"] = ",".join(f"{name}://{HOST}:{port}" for name, (port, _) in listeners.items())
        settings["advertised.listeners"] = ",".join(
            f"{name}://{HOST}:{port}" for name, (port, _) in listeners.items() if name != "CONTROLLER"
        )
        settings["listener.security.protocol.map"] = ",".join(f"{name}:{how}" for name, (_, how) in listeners.items())
        settings["controller.quorum.voters"] = f"1@{HOST}:{self.controller_port}"
        settings["log.dirs"] = str(self.home / "data")
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def listens_on(self) -> list[int]:
        return [self.port, self.controller_port, *([self.sasl.port] if self.sasl else [])]

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if self.sasl:
            tls.make(Files(self.home / "tls"))
        self.configuration.touch(mode=0o600)  # it may hold the passwords of PLAIN
        self.configuration.write_text(self.properties(), encoding="utf-8")
        if not (self.home / "data" / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        arguments = ["format", "--cluster-id", new_cluster_id(), "--config", str(self.configuration)]
        users = self.sasl.users if self.sasl else {}
        for user, password in users.items():
            # Users stand in the metadata log from its start: the broker needs no user to be told of users.
            arguments += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        command = [*self._java("128m"), "kafka.tools.StorageTool", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"{self.name}: cannot format {self.home / 'data'}: {' '.join(done.stderr.split())[:300]}")

    def _java(self, heap: str) -> list[str]:
        return [
            tools.java(),
            f"-Xmx{heap}",
            "-Xms64m",
            *tools.jvm(),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
            "-cp",
            f"{artifacts.kafka_libs()}/*",
        ]

    def command(self) -> list[str]:
        return [*self._java(HEAP), "kafka.Kafka", str(self.configuration)]

    def ill(self) -> str:
        if self._client is None:
            settings = {"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 2000}
            self._client = AdminClient({**settings, "reconnect.backoff.max.ms": 200, "error_cb": lambda error: None})
        try:
            found = self._client.list_topics(timeout=2.0)
        except KafkaException as error:
            return f"no metadata: {error.args[0].name()}"
        return "" if found.brokers else "no broker in the metadata"


def new_cluster_id() -> str:
    """As Kafka makes its ids: none that begins with a dash, which its own commands would take for an option."""
    while (made := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return made


def secure_settings(sasl: Sasl, files: Files) -> dict[str, str]:
    """What the secure listener adds to server.properties."""
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    plain = " ".join(f'user_{user}="{password}"' for user, password in sasl.users.items())
    secure = "listener.name.secure"
    return {
        f"{secure}.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        f"{secure}.scram-sha-512.sasl.jaas.config": scram,
        f"{secure}.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {plain};"
        ),
        f"{secure}.ssl.keystore.type": "PEM",
        f"{secure}.ssl.keystore.location": str(files.server_keystore),
        f"{secure}.ssl.truststore.type": "PEM",
        f"{secure}.ssl.truststore.location": str(files.ca),
        f"{secure}.ssl.client.auth": "required" if sasl.client_certificate else "none",
    }


@dataclass(frozen=True)
class Broker:
    """A running broker as tests see it. `tls` has the files that a client needs; None without SASL."""

    bootstrap: str
    service: Kafka
    secure_bootstrap: str | None = None
    tls: Files | None = None


@contextmanager
def running_broker(
    folder: Path | str,
    port: int,
    controller_port: int | None = None,
    sasl_port: int | None = None,
    users: Mapping[str, str] | None = None,
    client_certificate: bool = False,
) -> Iterator[Broker]:
    """A broker alone, for the length of a `with`: plain on `port`, its controller on `controller_port` (`port` + 1).

    With `users` (name to password) it also listens on `sasl_port` (`port` + 2), SASL_SSL, SCRAM-SHA-512 or PLAIN. Data
    that stands in `folder` from before is kept; the folder stays afterwards.
    """
    place = Path(folder).absolute()
    sasl = Sasl(sasl_port or port + 2, dict(users), client_certificate) if users else None
    service = Kafka(place, port, controller_port or port + 1, sasl)
    try:
        service.start()
        service.wait()
        files = Files(service.home / "tls") if sasl else None
        secure = f"{HOST}:{sasl.port}" if sasl else None
        yield Broker(service.bootstrap, service, secure, files)
    finally:
        service.process.stop()
